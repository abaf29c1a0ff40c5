"""The flags of `patchsim match` with their help, and how a command takes a table of flags.

Typer gets every value as text, so that messages about values are patchsim's own and repeat them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Annotated, Any, TypeVar, get_type_hints

import typer

from patchsim import choices
from patchsim.cli.criteria_flags import MaxDiffering, PixelTolerance, Worst
from patchsim.cli.drawing_flags import (
    Blend,
    Heatmap,
    HeatmapSize,
    Labels,
    Map,
    NoHeatmap,
    Overlay,
    Preview,
)
from patchsim.cli.picture_flags import Frame, Ignore, ImageMask, Level, Nan, Transparent
from patchsim.cli.wait_flags import Interval, Wait, WaitGone
from patchsim.cli.words import completing, completing_list, device, one_of

_Flags = TypeVar("_Flags")


def takes(
    table: type[_Flags], *, without: Sequence[str] = ()
) -> Callable[[Callable[[_Flags], int]], Callable[..., int]]:
    """Make a command of Typer from a function that takes a table of flags.

    Parameters
    ----------
    table : dataclass
        A flag a field: its name, its Typer annotation and its default.
    without : sequence of str
        Fields that the command has no flag for; they keep their defaults.
    """
    hints = get_type_hints(table, include_extras=True)
    parameters = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if field.default is MISSING else field.default,
            annotation=hints[field.name],
        )
        for field in fields(table)  # type: ignore[arg-type] # a dataclass
        if field.name not in without
    ]

    def decorate(function: Callable[[_Flags], int]) -> Callable[..., int]:
        def command(**typed: Any) -> int:
            return function(table(**typed))

        command.__doc__ = function.__doc__
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        command.__annotations__ = hints
        return command

    return decorate


Image = Annotated[
    str,
    typer.Argument(
        metavar="IMAGE", help="The picture to search, or a .npy; - reads standard input."
    ),
]
Kernel = Annotated[
    list[str], typer.Argument(metavar="KERNEL", help="One or more small pictures to find.")
]
Stride = Annotated[
    str,
    typer.Option(metavar="N|NxM", help="Step between windows in pixels: one number, or x and y."),
]
Region = Annotated[
    str | None,
    typer.Option(
        metavar="X,Y,W,H",
        help="Search only windows inside this box of the image: x and y of its top-left pixel,"
        " width, height. The map then covers the box.",
    ),
]
Padding = Annotated[
    str,
    one_of(
        choices.PADDINGS,
        "How the image continues beyond its border, so that kernels may hang over it: edge"
        " repeats the outermost pixels, reflect mirrors at them, zero adds 0; with transparent what"
        " hangs over does not count. With valid kernels stay inside.",
    ),
]
Metric = Annotated[
    str,
    one_of(
        choices.METRICS,
        "How windows are compared: sad is the mean absolute difference, ssd the mean squared"
        " difference, ncc the cosine, zncc the correlation coefficient, which brightness and"
        " contrast do not change.",
    ),
]
Color = Annotated[
    str,
    one_of(
        choices.COLORS,
        "The colour space: auto compares grey pictures as grey and others as RGB, hsv treats"
        " hue as a circle, lab measures differences as people see them, edges compares gradients,"
        " for themes and hover states.",
    ),
]
IgnoreProfile = Annotated[
    bool,
    typer.Option(
        "--ignore-profile",
        help="Compare the values of pictures as they are, whatever their colour profiles. Otherwise"
        " pictures whose profiles differ are converted to sRGB.",
    ),
]
Top = Annotated[
    str | None,
    typer.Option(
        metavar="N",
        help="The largest number of matches: by default 5, or all with --threshold.",
    ),
]
Threshold = Annotated[
    str | None,
    typer.Option(
        metavar="S|auto",
        autocompletion=completing(("auto",)),
        help="The lowest score of a match; 1 is identical. Without a threshold the best windows"
        " are printed however low they score. auto finds a threshold where the best scores have"
        " a gap that is too large for chance, and prints it on stderr.",
    ),
]
Overlap = Annotated[
    str,
    typer.Option(
        metavar="F",
        help="The largest intersection over union of two matches; if two windows overlap more,"
        " only the better one is a match.",
    ),
]
Margin = Annotated[
    bool | None,
    typer.Option(
        "--margin/--no-margin",
        help="Whether to print the margin, a match's score minus that of the best place that is no"
        " match. By default it is left out where it can take longer than the search: by sad and"
        " ssd with neither heatmap nor map.",
        show_default=False,
    ),
]
PerKernel = Annotated[
    bool,
    typer.Option(
        "--per-kernel",
        help="Report up to --top matches for each kernel. Matches of different kernels then do"
        " not compete.",
    ),
]
Strict = Annotated[
    bool,
    typer.Option(
        "--strict",
        help="End with exit code 2 if one of several kernels cannot be used. Otherwise a notice"
        " tells why it is left out, and the others are searched for.",
    ),
]
Sort = Annotated[
    str,
    one_of(
        choices.SORTS,
        "The order of the matches: score has the best first; reading goes line by line from the"
        " top, each from the left.",
    ),
]
Subpixel = Annotated[
    bool,
    typer.Option(
        "--subpixel",
        help="Also print each position to a fraction of a pixel, as x_subpixel and y_subpixel;"
        " both are empty where the pixels do not determine it.",
    ),
]
Scales = Annotated[
    str | None,
    typer.Option(
        metavar="LIST|LO:HI[:STEP]",
        help="Search the kernel at these scales: a list 0.5,1,2 as it is, or all of a range 0.5:2."
        " 1.25x1 in a list is width and height apart. A step, as in 0.5:2:0.1, is the coarsest"
        " spacing that a search may begin with.",
    ),
]
Angles = Annotated[
    str | None,
    typer.Option(
        metavar="any|LIST|LO:HI[:STEP]",
        autocompletion=completing(("any",)),
        help="Search the kernel turned counter-clockwise by these degrees: any, all of a range"
        " -5:5, or a list 0,90 as it is. A step is as for --scales.",
    ),
]
Flips = Annotated[
    str | None,
    one_of(
        choices.FLIPS,
        "Also search the kernel mirrored: h swaps left and right, v swaps top and bottom.",
    ),
]
Invert = Annotated[
    bool,
    typer.Option(
        "--invert",
        help="Also search the kernel inverted, light on dark: a value v becomes low + high - v of"
        " the data range. Adds the column inverted.",
    ),
]
SameScale = Annotated[
    bool,
    typer.Option(
        "--same-scale",
        help="All matches have one scale, that of --scales for which there is most evidence, as in"
        " a screenshot.",
    ),
]
Exhaustive = Annotated[
    bool,
    typer.Option(
        "--exhaustive",
        help="Compare every pose of lists and steps with every window, and then fit the best."
        " Otherwise poses are searched coarse to fine, which is faster, takes no stride, and can"
        " miss a match whose detail is lost in smaller pictures.",
    ),
]
MaxPoses = Annotated[
    str | None,
    typer.Option(metavar="N", help="The largest number of poses, 10,000 by default."),
]
Tolerance = Annotated[
    str | None,
    typer.Option(
        metavar="T",
        help="The largest error of scores in the heatmap or map; a larger one makes large kernels"
        " faster. Matches are always exact. By default 0.02, or 0 with --map (in Python 0).",
    ),
]
Mask = Annotated[
    str | None,
    typer.Option(
        metavar="PATH",
        help="A picture that weights the pixels of the kernel: white counts, black does not, grey"
        " counts in part. By default the kernel's alpha channel is its mask.",
        show_default=False,
    ),
]
NoAlpha = Annotated[
    bool,
    typer.Option(
        "--no-alpha",
        help="Compare all four channels of a .npy of 8 bits; otherwise its fourth is alpha.",
    ),
]
IgnoreAlpha = Annotated[
    bool,
    typer.Option("--ignore-alpha", help="Treat transparent pixels of kernels and image as opaque."),
]
NoTrim = Annotated[
    bool,
    typer.Option(
        "--no-trim",
        help="Do not let transparent margins of a kernel, or black ones of its mask, hang over the"
        " border of the image: the whole kernel lies inside.",
    ),
]
MinVisible = Annotated[
    str | None,
    typer.Option(
        metavar="F",
        help="The smallest visible share of a match, 0.5 by default, in an image with transparent"
        " pixels. A window is compared over its visible pixels.",
    ),
]
ChannelWeights = Annotated[
    str | None,
    typer.Option(
        metavar="W,W,...",
        help="The weight of each channel that --color compares; 0 leaves a channel out.",
        show_default=False,
    ),
]
DataRange = Annotated[
    str | None,
    typer.Option(
        metavar="LO:HI",
        help="The range of the pixel values, by default 0:255 for 8 bits, 0:65535 for 16 bits, 0:1"
        " for floats. With it values of different types are compared without scaling. ncc and zncc"
        " need none.",
    ),
]
Format = Annotated[
    str,
    one_of(
        choices.FORMATS,
        "The format of the printed matches; auto is a table on a terminal, tsv in a pipe.",
    ),
]
Columns = Annotated[
    str | None,
    typer.Option(
        metavar="NAME,NAME,...",
        autocompletion=completing_list(choices.COLUMNS),
        help="What to print of each match, in this order: any key of the JSON output; click_x and"
        " click_y, the pixel in the middle; x1, y1 to x4, y4, the corners from the top left on.",
        show_default=False,
    ),
]
NoHeader = Annotated[
    bool, typer.Option("--no-header", help="Print matches without the names of the columns.")
]
Print = Annotated[
    str | None,
    typer.Option(
        metavar="TEMPLATE",
        help="Print a line for each match, with the names of --columns in braces:"
        " '{click_x} {click_y}'. \\t is a tab, \\n a new line.",
        show_default=False,
    ),
]
CsvSafe = Annotated[
    bool,
    typer.Option(
        "--csv-safe",
        help="With --format csv put an apostrophe before names that a spreadsheet would compute:"
        " those that begin with = + - @.",
    ),
]
ReportPage = Annotated[
    str | None,
    typer.Option(
        "--report",
        metavar="PATH",
        help="Write a .html page to look at: the image with its matches, the map over it, a"
        " threshold to move, kernels, plan.",
    ),
]
Force = Annotated[
    bool,
    typer.Option("--force", help="Replace files that are read-only, too."),
]
Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="Print only matches and errors."),
]
Explain = Annotated[
    bool,
    typer.Option(
        "--explain",
        help="Print the plan of each kernel on stderr: engine, tiles, memory and the reasons.",
    ),
]
Device = Annotated[
    str,
    device(
        "The device that computes. auto takes the CPU unless that would take long; cuda takes"
        " all NVIDIA cards, cuda:0,cuda:1 takes these two."
    ),
]
Engine = Annotated[
    str,
    one_of(
        ("auto", *choices.ENGINES),
        "The algorithm that computes the scores; all give the same matches. pruned draws no map.",
    ),
]
Memory = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        help="The memory that the search may use, such as 512MB or 2GiB, by default a quarter of"
        " what is available.",
    ),
]
Threads = Annotated[
    str | None,
    typer.Option(
        metavar="N",
        help="The number of CPU threads, by default one for each CPU that this process may use.",
    ),
]
MaxPixels = Annotated[
    str | None,
    typer.Option(
        metavar="N",
        help="The largest number of pixels of a picture that is read whole, 89,478,485 by default.",
    ),
]
Debug = Annotated[
    bool,
    typer.Option("--debug", help="Print a traceback when something fails."),
]


@dataclass(frozen=True, kw_only=True)
class MatchFlags:
    """The flags of `patchsim match` as they were typed, in the order of its help."""

    image: Image
    kernel: Kernel
    stride: Stride = "1"
    region: Region = None
    frame: Frame = None
    level: Level = None
    padding: Padding = "valid"
    metric: Metric = "sad"
    color: Color = "auto"
    ignore_profile: IgnoreProfile = False
    top: Top = None
    threshold: Threshold = None
    overlap: Overlap = "0.3"
    margin: Margin = None
    per_kernel: PerKernel = False
    strict: Strict = False
    sort: Sort = "score"
    subpixel: Subpixel = False
    scales: Scales = None
    angles: Angles = None
    flips: Flips = None
    invert: Invert = False
    same_scale: SameScale = False
    exhaustive: Exhaustive = False
    max_poses: MaxPoses = None
    tolerance: Tolerance = None
    mask: Mask = None
    transparent: Transparent = None
    image_mask: ImageMask = None
    ignore: Ignore = None
    nan: Nan = "refuse"
    worst: Worst = None
    pixel_tolerance: PixelTolerance = None
    max_differing: MaxDiffering = None
    no_alpha: NoAlpha = False
    ignore_alpha: IgnoreAlpha = False
    no_trim: NoTrim = False
    min_visible: MinVisible = None
    channel_weights: ChannelWeights = None
    data_range: DataRange = None
    format: Format = "auto"
    columns: Columns = None
    no_header: NoHeader = False
    print: Print = None
    csv_safe: CsvSafe = False
    heatmap: Heatmap = None
    heatmap_size: HeatmapSize = None
    no_heatmap: NoHeatmap = False
    blend: Blend = None
    map: Map = None
    overlay: Overlay = None
    labels: Labels = None
    preview: Preview = None
    report: ReportPage = None
    force: Force = False
    wait: Wait = None
    wait_gone: WaitGone = None
    interval: Interval = None
    quiet: Quiet = False
    explain: Explain = False
    device: Device = "auto"
    engine: Engine = "auto"
    memory: Memory = None
    threads: Threads = None
    max_pixels: MaxPixels = None
    debug: Debug = False  # read by console.run, which meets usage errors, too
