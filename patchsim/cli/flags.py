"""The table of the flags of `patchsim match`, and how a command takes a table of flags.

The modules `*_flags` beside it have the flags with their help. Typer gets every value as text, so
that messages about values are patchsim's own and repeat them.
"""

# Annotations are values here, and in all tables: as text, each of the flags would be compiled once
# more.

import inspect
from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, fields
from functools import partial
from typing import Annotated, Any, TypeVar

import typer

from patchsim.cli import (
    comparison_flags,
    criteria_flags,
    drawing_flags,
    part_flags,
    picture_flags,
    pose_flags,
    printing_flags,
    running_flags,
    wait_flags,
)

_Flags = TypeVar("_Flags")


def takes(
    table: type[_Flags], *, without: Sequence[str] = ()
) -> Callable[[Callable[[_Flags], int]], Callable[..., Callable[[], int]]]:
    """Make a command of Typer from a function that takes a table of flags.

    The command returns what is to be run then, outside the calls of Typer: Python keeps the frames
    of open calls in pieces of 16 KiB, and below so many calls imports take and free one again and
    again.

    Parameters
    ----------
    table : dataclass
        A flag a field: its name, its Typer annotation, which is no text, and its default.
    without : sequence of str
        Fields that the command has no flag for; they keep their defaults.
    """
    parameters = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if field.default is MISSING else field.default,
            annotation=field.type,
        )
        for field in fields(table)  # type: ignore[arg-type] # a dataclass
        if field.name not in without
    ]

    def decorate(function: Callable[[_Flags], int]) -> Callable[..., Callable[[], int]]:
        def command(**typed: Any) -> Callable[[], int]:
            return partial(function, table(**typed))

        command.__doc__ = function.__doc__
        # Typer asks for it, which typeshed does not say of functions.
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
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


class Flags:
    """A table of flags; those that are not given have their defaults, which the class has.

    What `dataclass` makes to set the fields takes longer to compile, of so many, than to read the
    words of a command.
    """

    def __init__(self, **given: Any) -> None:
        self.__dict__.update(given)


@dataclass(frozen=True, kw_only=True, init=False, eq=False, repr=False)
class MatchFlags(Flags):
    """The flags of `patchsim match` as they were typed, in the order of its help."""

    image: Image
    kernel: Kernel
    stride: comparison_flags.Stride = "1"
    region: picture_flags.Region = None
    frame: picture_flags.Frame = None
    level: picture_flags.Level = None
    padding: comparison_flags.Padding = "valid"
    metric: comparison_flags.Metric = "sad"
    color: comparison_flags.Color = "auto"
    ignore_profile: comparison_flags.IgnoreProfile = False
    top: criteria_flags.Top = None
    threshold: criteria_flags.Threshold = None
    overlap: criteria_flags.Overlap = "0.3"
    margin: criteria_flags.Margin = None
    per_kernel: criteria_flags.PerKernel = False
    strict: criteria_flags.Strict = False
    sort: criteria_flags.Sort = "score"
    subpixel: criteria_flags.Subpixel = False
    scales: pose_flags.Scales = None
    angles: pose_flags.Angles = None
    flips: pose_flags.Flips = None
    invert: pose_flags.Invert = False
    same_scale: pose_flags.SameScale = False
    exhaustive: pose_flags.Exhaustive = False
    max_poses: pose_flags.MaxPoses = None
    tolerance: drawing_flags.Tolerance = None
    mask: picture_flags.Mask = None
    transparent: picture_flags.Transparent = None
    image_mask: picture_flags.ImageMask = None
    ignore: picture_flags.Ignore = None
    nan: picture_flags.Nan = "refuse"
    worst: criteria_flags.Worst = None
    pixel_tolerance: criteria_flags.PixelTolerance = None
    max_differing: criteria_flags.MaxDiffering = None
    no_alpha: picture_flags.NoAlpha = False
    ignore_alpha: picture_flags.IgnoreAlpha = False
    no_trim: picture_flags.NoTrim = False
    min_visible: picture_flags.MinVisible = None
    channel_weights: comparison_flags.ChannelWeights = None
    data_range: comparison_flags.DataRange = None
    format: printing_flags.Format = "auto"
    columns: printing_flags.Columns = None
    no_header: printing_flags.NoHeader = False
    print: printing_flags.Print = None
    csv_safe: printing_flags.CsvSafe = False
    heatmap: drawing_flags.Heatmap = None
    heatmap_size: drawing_flags.HeatmapSize = None
    no_heatmap: drawing_flags.NoHeatmap = False
    blend: drawing_flags.Blend = None
    map: drawing_flags.Map = None
    resume: drawing_flags.Resume = None
    overlay: drawing_flags.Overlay = None
    labels: drawing_flags.Labels = None
    preview: drawing_flags.Preview = None
    report: drawing_flags.ReportPage = None
    force: running_flags.Force = False
    part: part_flags.Part = None
    part_file: part_flags.PartFile = None
    wait: wait_flags.Wait = None
    wait_gone: wait_flags.WaitGone = None
    interval: wait_flags.Interval = None
    quiet: running_flags.Quiet = False
    explain: running_flags.Explain = False
    device: running_flags.Device = "auto"
    engine: running_flags.Engine = "auto"
    memory: running_flags.Memory = None
    threads: running_flags.Threads = None
    max_pixels: running_flags.MaxPixels = None
    cluster: running_flags.Cluster = None
    debug: running_flags.Debug = False  # read by console.run, which meets usage errors, too
