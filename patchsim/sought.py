"""What is searched for: every kernel, or every pose of it, with what it is searched in and how."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from patchsim import metrics, plan, tiles
from patchsim.asked import Poses
from patchsim.engines import Problem, cells
from patchsim.errors import InputError, shown
from patchsim.metrics import Kernel, Pixels, Visible
from patchsim.options import AUTO, Options
from patchsim.peaks import Windows
from patchsim.plan import Plan
from patchsim.poses import AS_IT_IS, Pose, Posing
from patchsim.scene import Scene

if TYPE_CHECKING:
    from patchsim.outputs import Outputs


@dataclass(frozen=True)
class Sought:
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
    visible : Visible, optional
        How much of the pixels is, where not all are as visible.
    """

    number: int
    pose: Pose
    kernel: Kernel
    pixels: Pixels
    origin: tuple[int, int]
    plan: Plan
    visible: Visible | None = None

    def label(self, names: Sequence[str]) -> str:
        """What messages call it; the kernels' names come behind the image's."""
        name = names[1 + self.number]
        return name if self.pose == AS_IT_IS else f"{name} ({self.pose})"

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of its windows."""
        return self.plan.problem.kernel[:2]


Scored = tuple[Sought, Windows]  # with the scores of its windows


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
        stride=tiles.clamped(stride or options.stride, extent),
        metric=options.metric,
        span=scene.span,
        device="cpu",
        threads=threads or options.threads,
        tolerance=options.tolerance,
        map_wanted=map_wanted,
        weight=None if kernel.weights is None else int(kernel.weights.sum(dtype="int64")),
        heaviest=1 if kernel.weights is None else int(kernel.weights.max()),
        cells=None if map_wanted or kernel.weights is None else cells.count(kernel.weights),
        per_channel=kernel.weights is not None and kernel.weights.ndim == 3,
    )
    if scene.visible is None:
        return found
    return found.where_visible(scene.visible.most, options.min_visible)


def each(
    scene: Scene,
    poses: Poses | None,
    options: Options,
    engine: str,
    wanted: Outputs,
    *,
    subpixel: bool,
) -> list[Sought]:
    """Every kernel in every pose, with its plan.

    Raises
    ------
    InputError
        If a kernel fits in no pose, or memory does not suffice.
    """
    shown_as = list(_as_they_are(scene) if poses is None else _posed(scene, poses, options.metric))
    kernels = [kernel for _, _, kernel in shown_as]
    sizes = [kernel.pixels.shape[:2] for kernel in kernels]
    area = scene.area
    # So many places of low scores take longer to find without a map than the map.
    many = engine == "auto" and options.threshold == AUTO
    problems = [
        problem(scene, options, kernel, area.extent(size), map_wanted=wanted.keeps_map or many)
        for kernel, size in zip(kernels, sizes, strict=True)
    ]
    held = holding(scene, sizes, wanted, max(math.prod(p.map_shape) for p in problems))
    held += sum(kernel.nbytes for kernel in kernels) if poses else 0
    held += sum(plan.map_bytes(one, kept=wanted.keeps_map) for one in problems)
    if subpixel:
        from patchsim import subpixel as refinement

        held += max(plan.map_bytes(refinement.cell(p), kept=False) for p in problems)
    plans = [
        plan.make(one, engine=engine, device=options.device, memory=options.memory, held=held)
        for one in problems
    ]
    under = area.under(scene.image, sizes, scene.zero)
    return [
        Sought(number, pose, kernel, pixels, area.origin(kernel.pixels.shape[:2]), chosen, visible)
        for (number, pose, kernel), pixels, chosen, visible in zip(
            shown_as, under, plans, scene.seen(sizes), strict=True
        )
    ]


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


def _as_they_are(scene: Scene) -> Iterator[tuple[int, Pose, Kernel]]:
    for number, kernel in enumerate(scene.kernels):
        scene.area.check_kernel(kernel.pixels.shape[:2], scene.names[1 + number])
        yield number, AS_IT_IS, kernel


def _posed(scene: Scene, poses: Poses, metric: str) -> Iterator[tuple[int, Pose, Kernel]]:
    for number, kernel in enumerate(scene.kernels):
        posing = Posing(kernel)
        found = [(pose, fitting(scene, posing, pose, metric)) for pose in poses.each]
        able = [(number, pose, one) for pose, one in found if one is not None]
        if not able:
            raise nothing_fits(scene, number, poses)
        yield from able


def fitting(scene: Scene, posing: Posing, pose: Pose, metric: str) -> Kernel | None:
    """The posed kernel, if it fits the area and the metric can score it."""
    if not scene.area.fits(pose.box(posing.kernel.pixels.shape[:2])):
        return None
    one = posing(pose)
    return one if one is not None and metrics.scores(one, metric) else None


def nothing_fits(scene: Scene, number: int, poses: Poses) -> InputError:
    """Of a kernel that can be searched in no pose."""
    height, width, _ = scene.kernels[number].pixels.shape
    rows, cols = scene.area.size
    least = min(poses.each, key=lambda pose: pose.scale)
    box = least.box((height, width))
    kernel = f"kernel {shown(scene.names[1 + number])} of {width}x{height} pixels"
    if scene.area.fits(box):
        return InputError(f"{kernel} keeps no contrast in its poses; give larger scales")
    return InputError(
        f"{kernel} takes {box[1]}x{box[0]} even at {least}, more than the"
        f" {shown(scene.area.name)} with {cols}x{rows};"
        "\ngive smaller scales, or --padding edge (padding='edge')"
    )
