"""Jobs: each kernel in each of its poses, the pixels it is searched in, and its plan."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from patchsim import metrics
from patchsim.engines import Problem, Reading
from patchsim.engines.common import sad_terms
from patchsim.engines.common.sad_terms import Counting, Fitting
from patchsim.errors import InputError, titled
from patchsim.geometry import tiles
from patchsim.geometry.area import NO_MARGINS, Area, Region
from patchsim.metrics import Kernel, Visibility
from patchsim.options import Options
from patchsim.pictures import windowed
from patchsim.planning.planner import Plan
from patchsim.poses.pose import UNCHANGED, Pose
from patchsim.ranking.contract import Windows
from patchsim.ranking.reduced_map import ReducedMap
from patchsim.scene.build import Scene
from patchsim.types import Pixels

if TYPE_CHECKING:
    from patchsim.events import Observer
    from patchsim.matches.pose_selection import Candidate
    from patchsim.output.targets import Outputs
    from patchsim.poses.grid import Poses
    from patchsim.poses.warp import PoseRenderer

MANY = 1000  # the cost of more kernels is announced, if it is large
LONG = 30.0  # seconds; that many kernels, or poses, take longer is announced
_COST = "searched, which takes about"
LEAST_PIXELS = 16  # a smaller posed kernel is found everywhere


class Job(NamedTuple):
    """A kernel in one pose, the pixels it is searched in, and its plan.

    Attributes
    ----------
    number : int
        The kernel's number, from 0.
    pose : Pose
    kernel : Kernel
        The kernel in that pose, trimmed.
    pixels : array [H, W, C]
        The pixels that its windows cover, padding included.
    origin : (y, x)
        The place in the image that the whole kernel has in the first window.
    plan : Plan
    visible : Visibility, optional
        The visibility of the pixels, where it varies.
    common : Plan, optional
        The plan of the group of kernels that are searched together.
    """

    number: int
    pose: Pose
    kernel: Kernel
    pixels: Pixels
    origin: tuple[int, int]
    plan: Plan
    visible: Visibility | None = None
    common: Plan | None = None

    def label(self, names: Sequence[str]) -> str:
        """Return the name for messages; `names` has the image's first, then the kernels'."""
        name = names[1 + self.number]
        return name if self.pose == UNCHANGED else f"{name} ({self.pose})"

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the matches, which are those of the whole kernel in the pose."""
        return self.kernel.whole_size


class Scored(NamedTuple):
    """A job and the scores of its windows; their reduced map, if the whole one is not kept."""

    job: Job
    windows: Windows
    reduced: ReducedMap | None = None

    @property
    def map(self) -> NDArray[np.float32] | None:
        """The scores of all windows, or of all squares of windows, if they were asked for."""
        return self.windows.map if self.reduced is None else self.reduced.scores


class Found(NamedTuple):
    """The result of a search.

    Attributes
    ----------
    scored : list of Scored
        The windows of each job; empty where poses were fitted without any, or nothing was searched.
    candidates : list of Candidate or None
        The fitted poses, if the matches are among these.
    missing : tuple of (x, y, width, height)
        The parts of the image whose windows could not be scored.
    """

    scored: list[Scored]
    candidates: list[Candidate] | None = None
    missing: tuple[Region, ...] = ()


def problem(
    scene: Scene,
    options: Options,
    kernel: Kernel,
    extent: tuple[int, int],
    *,
    stride: tuple[int, int] | None = None,
    map_wanted: bool,
    share_wanted: float = 0.0,
    counting: Counting = "exact",
    fitting: Fitting = "never",
    image_count: int = 1,
    threads: int | None = None,
) -> Problem:
    """Describe the search for a kernel in so much of the scene (height, width).

    To count the products that a kernel needs within a tolerance takes as long as the whole search
    for one that bounds find at once: it has as many as `counting` and `fitting` say.
    """
    skipped = scene.area.skipped(kernel.size, kernel.margins, options.stride)
    extent = extent[0] - skipped[0], extent[1] - skipped[1]
    described = Problem(
        image=(*extent, scene.image.shape[2]),
        kernel=kernel.pixels.shape,
        dtype=metrics.type_name(scene.image.dtype),
        stride=tiles.clamp_stride(stride or options.stride, extent),
        metric=options.metric,
        data_range=scene.span,
        device="cpu",
        threads=threads or options.threads,
        tolerance=options.tolerance,
        map_wanted=map_wanted,
        share_wanted=share_wanted,
        weight_sum=None if kernel.weights is None else int(kernel.weights.sum(dtype=np.int64)),
        max_weight=1 if kernel.weights is None else int(kernel.weights.max()),
        full_cells=None if map_wanted else _full_cells(kernel),
        has_channel_weights=kernel.weights is not None and kernel.weights.ndim == 3,
        whole_kernel=None if kernel.margins == NO_MARGINS else kernel.whole_size,
        image_count=image_count,
        skipped=skipped,
        reading=_reading(scene.image),
    )
    if scene.visible is not None:
        described = described.where_visible(scene.visible.full_level, options.min_visible)
    return sad_terms.counted(described, kernel, counting, fitting)


def _full_cells(kernel: Kernel) -> int | None:
    if kernel.weights is None:
        return None
    from patchsim.engines.pruned import cells  # where masks are searched without a map

    return cells.count(kernel.weights)


def _reading(image: Pixels) -> Reading | None:
    """Describe how the pixels are read, if not all are in memory."""
    picture = windowed.of(image)
    return None if picture is None else Reading(picture.reading, picture.pixel_bytes)


def origin(scene: Scene, kernel: Kernel, options: Options) -> tuple[int, int]:
    """Return the place (y, x) in the image that a whole kernel has in its first window."""
    down, across = scene.area.skipped(kernel.size, kernel.margins, options.stride)
    top, left = scene.area.origin(kernel.size)
    return top + down - kernel.margins.top, left + across - kernel.margins.left


def by_plan(jobs: Sequence[Job]) -> list[tuple[Plan, list[int]]]:
    """Return each plan that jobs have in common, and the numbers of these jobs."""
    groups: dict[int, tuple[Plan, list[int]]] = {}
    for i, job in enumerate(jobs):
        common = job.common or job.plan
        groups.setdefault(id(common), (common, []))[1].append(i)
    return list(groups.values())


def holding(
    scene: Scene, sizes: Sequence[tuple[int, int]], wanted: Outputs, largest_map: int
) -> int:
    """Return the bytes of the scene and of its drawings."""
    image, drawn = scene.image, scene.drawn[0]
    held: int = image.nbytes + sum(one.nbytes for one in scene.kernels)
    if drawn is not image and windowed.of(drawn) is None:  # else both keep the same chunks
        held += drawn.nbytes
    pixel_bytes = image.shape[2] * image.itemsize
    if scene.visible is not None:
        held += scene.visible.levels.nbytes
        pixel_bytes += scene.visible.levels.itemsize
    if windowed.of(image) is None:
        held += math.prod(scene.area.padded_size(sizes)) * pixel_bytes
    if windowed.of(drawn) is not None:
        return held  # it is reduced and drawn on behind the search, in the memory of the tiles
    return held + wanted.drawing_bytes(largest_map, drawn.shape[0] * drawn.shape[1])


def fitting(
    scene: Scene, number: int, posing: PoseRenderer, pose: Pose, metric: str
) -> Kernel | None:
    """Return a kernel in a pose if it fits the area and the metric can score it, else None.

    A kernel that has margins is trimmed after it was posed, so that it has the same pixels and
    places as the whole one.
    """
    trimmed = scene.trimmed[number]
    if not can_fit(scene.area, trimmed.size, pose):
        return None
    one = posing(pose)
    if one is not None and trimmed.margins != NO_MARGINS:
        one = one.trimmed()
    if one is None or not scene.area.has_windows(one.size):
        return None
    return one if metrics.has_scores(one, metric) else None


def can_fit(area: Area, kernel: tuple[int, int], pose: Pose) -> bool:
    """Return whether a kernel of (height, width) has windows in a pose, and enough pixels."""
    pixels = kernel[0] * kernel[1]
    enough = min(LEAST_PIXELS, pixels)
    return area.has_windows(pose.box(kernel)) and round(pixels * pose.scale**2) >= enough


def can_fit_in_some(area: Area, kernel: tuple[int, int], poses: Poses) -> bool:
    """Return whether a kernel of (height, width) fits the area in a pose, with enough pixels."""
    scales = poses.scales.values
    if poses.scales.is_range:
        pixels = math.prod(kernel)
        enough = math.sqrt(min(LEAST_PIXELS, pixels) / pixels)
        scales = (min(max(scales[0], enough), scales[-1]),)
    from patchsim.poses.grid import spacing  # as below, where poses are asked for

    _, degrees = spacing(kernel, poses.scales.largest)
    turns = poses.angles.spaced(degrees)
    sizes = [*(Pose(scale) for scale in scales), *poses.stretched]
    return any(can_fit(area, kernel, size._replace(angle=turn)) for size in sizes for turn in turns)


def least_pose(poses: Poses, kernel: tuple[int, int]) -> Pose:
    """Return the pose in which a kernel of (height, width) has the smallest box."""
    sizes = [*(Pose(scale) for scale in poses.scales.values[:1]), *poses.stretched]
    from patchsim.poses.grid import spacing

    _, degrees = spacing(kernel, min(size.scale for size in sizes))
    turns = poses.angles.spaced(degrees)
    turned = (size._replace(angle=angle) for size in sizes for angle in turns)
    return min(turned, key=lambda pose: math.prod(pose.box(kernel)))


def with_room(scene: Scene, options: Options) -> Scene:
    """Return a scene without the kernels that are too large for its area, in any pose.

    Raises
    ------
    InputError
        If no kernel is left, or, with `strict`, if one is too large.
    """
    faults = {}
    for number, kernel in enumerate(scene.trimmed):
        if options.poses is not None:
            if not can_fit_in_some(scene.area, kernel.size, options.poses):
                faults[number] = nothing_fits(scene, number, options.poses)
        elif not scene.area.has_windows(kernel.size):
            is_part = kernel.margins != NO_MARGINS
            faults[number] = scene.area.too_large(
                kernel.size, scene.names[1 + number], is_part=is_part
            )
    return scene.without(faults, strict=options.strict)


def nothing_fits(scene: Scene, number: int, poses: Poses) -> InputError:
    """Make the error for a kernel that can be searched in no pose."""
    trimmed = scene.trimmed[number]
    height, width = trimmed.size
    rows, cols = scene.area.size
    pose = least_pose(poses, (height, width))
    box = pose.box((height, width))
    counted = "" if trimmed.margins == NO_MARGINS else " that count"
    kernel = f"{titled('kernel', scene.names[1 + number])} of {width}x{height} pixels{counted}"
    if scene.area.has_windows(box):
        return InputError(
            f"{kernel} keeps no contrast, or fewer than {LEAST_PIXELS} pixels, in its poses;"
            " give larger scales"
        )
    return InputError(
        f"{kernel} takes {box[1]}x{box[0]} even at {pose}, more than the"
        f" {scene.area.name} with {cols}x{rows};"
        "\ngive smaller scales, or --padding edge (padding='edge')"
    )


def warn(jobs: Sequence[Job], observer: Observer, seconds: float | None = None) -> None:
    """Announce the cost of many kernels, or of poses, if their search takes long.

    Parameters
    ----------
    jobs : sequence of Job
    observer : Observer
    seconds : float, optional
        The expected seconds of an exhaustive search of poses, which the user may leave out.
    """
    if seconds is None and len(jobs) <= MANY:
        return
    expected = sum(job.plan.chosen.seconds for job in jobs) if seconds is None else seconds
    if expected <= LONG:
        return
    about = f"{expected:.0f} s" if expected < 100 else f"{expected / 60:.0f} min"
    what = "pose" if any(job.pose != UNCHANGED for job in jobs) else "kernel"
    are = " is" if len(jobs) == 1 else "s are"
    advice = ""
    if seconds is not None:
        advice = "; leave out --exhaustive (exhaustive=True) to search coarse to fine"
    observer.notice(f"{len(jobs):,} {what}{are} {_COST} {about}{advice}")


def is_cost(message: str) -> bool:
    """Return whether a message is one of `warn`."""
    return _COST in message
