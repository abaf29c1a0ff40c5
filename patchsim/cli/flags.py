"""The flags of `patchsim match` with their help, and how a command takes a table of flags."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Annotated, Any, TypeVar, get_type_hints

import typer

from patchsim import choices


def one_of(words: Sequence[str], text: str, *, metavar: str | None = None) -> Any:
    """Return an option that takes one of some words, for its help and for a press of Tab.

    The words are not checked here, so that the command and Python refuse others alike.
    """

    def completed(incomplete: str) -> list[str]:
        return [word for word in words if word.startswith(incomplete)]

    return typer.Option(metavar=metavar or "|".join(words), help=text, autocompletion=completed)


_Flags = TypeVar("_Flags")


def takes(table: type[_Flags]) -> Callable[[Callable[[_Flags], int]], Callable[..., int]]:
    """Make a command of Typer from a function that takes a table of flags.

    Parameters
    ----------
    table : dataclass
        A flag a field: its name, its Typer annotation and its default.
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
    typer.Argument(metavar="IMAGE", help="The big picture or .npy; - reads standard input."),
]
Kernel = Annotated[
    list[str], typer.Argument(metavar="KERNEL", help="One or more small pictures to find.")
]
Stride = Annotated[
    str,
    typer.Option(metavar="N|NxM", help="Pixels between windows, in x and y."),
]
Region = Annotated[
    str | None,
    typer.Option(
        metavar="X,Y,W,H",
        help="Search only windows inside this box of the image, as results have it: x and y of"
        " its top-left pixel, width, height. The map is then of the box.",
    ),
]
Padding = Annotated[
    str,
    one_of(
        choices.PADDINGS,
        "How the image goes on beyond its border, so that kernels can hang over it: with"
        " its outermost pixels, mirrored at them, or with 0. valid: they cannot.",
    ),
]
Metric = Annotated[
    str,
    one_of(
        choices.METRICS,
        "How windows are compared: mean absolute or squared difference, cosine, or cosine"
        " less the mean (correlation), which brightness and contrast do not change.",
    ),
]
Color = Annotated[
    str,
    one_of(
        choices.COLORS,
        "What is compared: auto is grey with grey as grey, otherwise RGB; hsv has hue as"
        " a circle, lab differences as people see them.",
    ),
]
Top = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="How many matches at the most: 5, or with --threshold all.",
    ),
]
Threshold = Annotated[
    str | None,
    typer.Option(
        metavar="S|auto",
        help="The lowest score of a match; 1 is identical. Without one the best are"
        " printed however bad they are. auto: matches end where the scores of the best places"
        " have a gap too large for chance, if they have; it is told on stderr.",
    ),
]
Overlap = Annotated[
    float,
    typer.Option(
        metavar="F",
        help="Of two boxes with a larger intersection over union the lower one goes.",
    ),
]
NoMargin = Annotated[
    bool,
    typer.Option(
        "--no-margin",
        help="Leave out the margin, the score less that of the best place that no match"
        " overlaps: without a heatmap it can take longer than to find the best match.",
    ),
]
PerKernel = Annotated[
    bool,
    typer.Option(
        "--per-kernel",
        help="Each kernel has matches of its own, --top of them, which do not compete with"
        " those of the others.",
    ),
]
Subpixel = Annotated[
    bool,
    typer.Option(
        "--subpixel",
        help="Also print where matches lie between the pixels, as x_subpixel and y_subpixel;"
        " empty where the pixels do not tell.",
    ),
]
Scales = Annotated[
    str | None,
    typer.Option(
        metavar="LIST|LO:HI:STEP",
        help="Search the kernel scaled: 0.5,1,2 or 0.5:2:0.1; between the steps of a range the"
        " best are refined.",
    ),
]
Angles = Annotated[
    str | None,
    typer.Option(
        metavar="LIST|LO:HI:STEP",
        help="Search it turned, in degrees counter-clockwise: 0,90,180,270 or 0:360:15.",
    ),
]
Flips = Annotated[
    str | None,
    one_of(
        choices.FLIPS,
        "Search it mirrored, too: h changes left and right, v top and bottom.",
    ),
]
Exhaustive = Annotated[
    bool,
    typer.Option(
        "--exhaustive",
        help="Compare every pose with every window. Otherwise more than 8 poses are searched"
        " coarse to fine, which is faster and can miss what does not show in smaller pictures.",
    ),
]
MaxPoses = Annotated[
    int | None,
    typer.Option(metavar="N", help="More poses are refused, 10,000 by default."),
]
Tolerance = Annotated[
    float | None,
    typer.Option(
        metavar="T",
        help="How far scores of the heatmap or map may be off, which makes large kernels"
        " faster; matches are exact. By default 0.02, with --map 0.",
    ),
]
Mask = Annotated[
    str | None,
    typer.Option(
        metavar="PATH",
        help="How much each pixel of the kernel counts: white does, black does not, grey"
        " weighs. By default the kernel's alpha channel says so.",
        show_default=False,
    ),
]
IgnoreAlpha = Annotated[
    bool,
    typer.Option(
        "--ignore-alpha", help="Count transparent pixels of kernels and image like the others."
    ),
]
MinVisible = Annotated[
    float | None,
    typer.Option(
        metavar="F",
        help="In an image with transparent pixels windows are compared over what is visible;"
        " one of which a smaller share is visible, 0.5 by default, is no match.",
    ),
]
ChannelWeights = Annotated[
    str | None,
    typer.Option(
        metavar="W,W,...",
        help="How much each channel counts, of those that --color compares; 0 leaves one out.",
        show_default=False,
    ),
]
DataRange = Annotated[
    str | None,
    typer.Option(
        metavar="LO:HI",
        help="Range of the pixel values, which are then compared as they are: by default"
        " 0:255, 0:65535 for 16 bits, 0:1 for floats.",
    ),
]
Format = Annotated[
    str,
    one_of(
        choices.FORMATS,
        "How matches are printed; auto is a table on a terminal, tsv in a pipe.",
    ),
]
Heatmap = Annotated[
    str | None,
    typer.Option(
        metavar="PATH",
        help="Where the map is drawn: by default IMAGE.heatmap.png in this folder. {kernel}"
        " stands for the kernel's name.",
        show_default=False,
    ),
]
NoHeatmap = Annotated[bool, typer.Option("--no-heatmap", help="Draw no heatmap.")]
Map = Annotated[
    str | None,
    typer.Option(
        metavar="PATH",
        help="Write all scores as a float32 .npy of rows x cols.",
    ),
]
Overlay = Annotated[
    str | None,
    typer.Option(
        metavar="PATH",
        help="Draw the image with numbered boxes as a .png.",
    ),
]
Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="Print matches and errors alone."),
]
Explain = Annotated[
    bool,
    typer.Option(
        "--explain",
        help="Print how each kernel is searched for, and why, on stderr.",
    ),
]
Device = Annotated[
    str,
    one_of(
        choices.DEVICES,
        "Where to compute; cuda: on all NVIDIA cards, which share the work, cuda:0,cuda:1: on"
        " these, auto: on the CPU unless that takes long.",
        metavar="auto|cpu|cuda[:N]|mps|xpu",
    ),
]
Engine = Annotated[
    str,
    one_of(
        ("auto", *choices.ENGINES),
        "How to compute; the matches are the same. Only pruned draws no map.",
    ),
]
Memory = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        help="Memory the search may take, like 512MB or 2GiB: by default a quarter of what"
        " is available.",
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="CPU threads: by default the CPUs this process may use.",
    ),
]
MaxPixels = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="The largest picture to decode, 89,478,485 pixels by default.",
    ),
]
Debug = Annotated[
    bool,
    typer.Option("--debug", help="Show a traceback when something fails."),
]


@dataclass(frozen=True, kw_only=True)
class MatchFlags:
    """What is typed behind `patchsim match`, in the order of its help."""

    image: Image
    kernel: Kernel
    stride: Stride = "1"
    region: Region = None
    padding: Padding = "valid"
    metric: Metric = "sad"
    color: Color = "auto"
    top: Top = None
    threshold: Threshold = None
    overlap: Overlap = 0.3
    no_margin: NoMargin = False
    per_kernel: PerKernel = False
    subpixel: Subpixel = False
    scales: Scales = None
    angles: Angles = None
    flips: Flips = None
    exhaustive: Exhaustive = False
    max_poses: MaxPoses = None
    tolerance: Tolerance = None
    mask: Mask = None
    ignore_alpha: IgnoreAlpha = False
    min_visible: MinVisible = None
    channel_weights: ChannelWeights = None
    data_range: DataRange = None
    format: Format = "auto"
    heatmap: Heatmap = None
    no_heatmap: NoHeatmap = False
    map: Map = None
    overlay: Overlay = None
    quiet: Quiet = False
    explain: Explain = False
    device: Device = "auto"
    engine: Engine = "auto"
    memory: Memory = None
    threads: Threads = None
    max_pixels: MaxPixels = None
    debug: Debug = False  # read by console.run, which meets usage errors, too
