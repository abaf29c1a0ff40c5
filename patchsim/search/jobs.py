"""What is searched for: every kernel, or every pose of it, with what it is searched in and how."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from patchsim import metrics
from patchsim.engines import Problem
from patchsim.engines.pruned import cells
from patchsim.errors import InputError, printable
from patchsim.geometry import tiles
from patchsim.geometry.area import Area
from patchsim.metrics import Kernel, Visibility
from patchsim.options import Options
from patchsim.planning.planner import Plan
from patchsim.poses.grid import Poses
from patchsim.poses.warp import UNCHANGED, Pose, PoseRenderer
from patchsim.ranking.contract import Windows
from patchsim.scene.build import Scene
from patchsim.types import Pixels

if TYPE_CHECKING:
    from patchsim.events import Observer
    from patchsim.output.targets import Outputs


@dataclass(frozen=True)
class Job:
    """A kernel in one pose, and what it is searched in.

    Attributes
    ----------
    number : int
        Of the kernel.
    pose : Pose
    kernel : Kernel
        In that pose.
    pixels : array [H, W, C]
        What its windows cover.
    origin : (y, x)
        Of the first window in the image.
    plan : Plan
    visible : Visibility, optional
        How much of the pixels is, where not all are as visible.
    common : Plan, optional
        What several that are searched for together have their plans from.
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
        """What messages call it; the kernels' names come behind the image's."""
        name = names[1 + self.number]
        return name if self.pose == UNCHANGED else f"{name} ({self.pose})"

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of its windows."""
        return self.plan.problem.kernel[:2]


MANY = 1000  # poses, whose cost is told before
_LEAST_PIXELS = 16  # of a kernel that was made smaller: fewer are found everywhere


class Scored(NamedTuple):
    """A job and the scores of its windows."""

    job: Job
    windows: Windows


def problem(
    scene: Scene,
    options: Options,
    kernel: Kernel,
    extent: tuple[int, int],
    *,
    stride: tuple[int, int] | None = None,
    map_wanted: bool,
    threads: int | None = None,
) -> Problem:
    """Of a kernel, in so much of the scene (height, width)."""
    found = Problem(
        image=(*extent, scene.image.shape[2]),
        kernel=kernel.pixels.shape,
        dtype=scene.image.dtype.name,
        stride=tiles.clamp_stride(stride or options.stride, extent),
        metric=options.metric,
        data_range=scene.span,
        device="cpu",
        threads=threads or options.threads,
        tolerance=options.tolerance,
        map_wanted=map_wanted,
        weight_sum=None if kernel.weights is None else int(kernel.weights.sum(dtype="int64")),
        max_weight=1 if kernel.weights is None else int(kernel.weights.max()),
        full_cells=None if map_wanted or kernel.weights is None else cells.count(kernel.weights),
        has_channel_weights=kernel.weights is not None and kernel.weights.ndim == 3,
    )
    if scene.visible is None:
        return found
    return found.where_visible(scene.visible.full_level, options.min_visible)


def by_plan(each: Sequence[Job]) -> list[tuple[Plan, list[int]]]:
    """The plans that some have in common, and which of them."""
    found: dict[int, tuple[Plan, list[int]]] = {}
    for i, one in enumerate(each):
        common = one.common or one.plan
        found.setdefault(id(common), (common, []))[1].append(i)
    return list(found.values())


def holding(
    scene: Scene, sizes: Sequence[tuple[int, int]], wanted: Outputs, largest_map: int
) -> int:
    """Bytes of the scene and of what is drawn of it."""
    image, drawn = scene.image, scene.drawn[0]
    held: int = image.nbytes + sum(one.nbytes for one in scene.kernels)
    held += 0 if drawn is image else drawn.nbytes
    each = image.shape[2] * image.itemsize
    if scene.visible is not None:
        held += scene.visible.levels.nbytes
        each += scene.visible.levels.itemsize
    held += math.prod(scene.area.padded_size(sizes)) * each
    return held + wanted.drawing_bytes(largest_map, drawn.shape[0] * drawn.shape[1])


def fitting(scene: Scene, posing: PoseRenderer, pose: Pose, metric: str) -> Kernel | None:
    """The posed kernel, if it fits the area and the metric can score it."""
    if not fits(scene.area, posing.kernel.pixels.shape[:2], pose):
        return None
    one = posing(pose)
    return one if one is not None and metrics.has_scores(one, metric) else None


def fits(area: Area, kernel: tuple[int, int], pose: Pose) -> bool:
    """Whether a kernel of (height, width) has windows in a pose, and pixels enough to tell it."""
    pixels = kernel[0] * kernel[1]
    enough = min(_LEAST_PIXELS, pixels)
    return area.has_windows(pose.box(kernel)) and round(pixels * pose.scale**2) >= enough


def nothing_fits(scene: Scene, number: int, poses: Poses) -> InputError:
    """Of a kernel that can be searched in no pose."""
    height, width, _ = scene.kernels[number].pixels.shape
    rows, cols = scene.area.size
    least = min(poses.all, key=lambda pose: math.prod(pose.box((height, width))))
    box = least.box((height, width))
    kernel = f"kernel {printable(scene.names[1 + number])} of {width}x{height} pixels"
    if scene.area.has_windows(box):
        return InputError(
            f"{kernel} keeps no contrast, or fewer than {_LEAST_PIXELS} pixels, in its poses;"
            " give larger scales"
        )
    return InputError(
        f"{kernel} takes {box[1]}x{box[0]} even at {least}, more than the"
        f" {printable(scene.area.name)} with {cols}x{rows};"
        "\ngive smaller scales, or --padding edge (padding='edge')"
    )


def warn(count: int, seconds: float, observer: Observer) -> None:
    """Tell what many poses cost."""
    if count > MANY:
        about = f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
        observer.notice(f"{count:,} poses are searched, which takes about {about}")
