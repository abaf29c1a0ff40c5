"""What is searched for: every kernel, or every pose of it, with what it is searched in and how."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from patchsim import budget, groups, metrics, plan, tiles
from patchsim.area import Area
from patchsim.asked import Poses
from patchsim.contest import Windows
from patchsim.engines import Problem, cells
from patchsim.errors import InputError, shown
from patchsim.groups import Group
from patchsim.metrics import Kernel, Pixels, Visible
from patchsim.options import AUTO, Options
from patchsim.plan import Plan
from patchsim.poses import AS_IT_IS, Pose, Posing
from patchsim.scene import Scene
from patchsim.sketch import Shelf, budget_of

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
    common : Plan, optional
        What several that are searched for together have their plans from.
    """

    number: int
    pose: Pose
    kernel: Kernel
    pixels: Pixels
    origin: tuple[int, int]
    plan: Plan
    visible: Visible | None = None
    common: Plan | None = None

    def label(self, names: Sequence[str]) -> str:
        """What messages call it; the kernels' names come behind the image's."""
        name = names[1 + self.number]
        return name if self.pose == AS_IT_IS else f"{name} ({self.pose})"

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of its windows."""
        return self.plan.problem.kernel[:2]


_LEAST_PIXELS = 16  # of a kernel that was made smaller: fewer are found everywhere

Scored = tuple[Sought, Windows]  # with the scores of its windows


@dataclass(frozen=True)
class Searches:
    """All that is searched for in full.

    Attributes
    ----------
    each : list of Sought
    groups : list of Group
        Which of them are searched for together; those of a group have the same pixels.
    shelf : Shelf or None
        Where not all scores are kept, for the blocks that are looked into.
    """

    each: list[Sought]
    groups: list[Group]
    shelf: Shelf | None


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
) -> Searches:
    """Every kernel in every pose, with its plan.

    Raises
    ------
    InputError
        If a kernel fits in no pose, or memory does not suffice.
    """
    if poses is not None:
        _check_memory(scene, poses, options.memory)
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
    if subpixel:
        from patchsim import subpixel as refinement

        held += max(plan.map_bytes(refinement.cell(p), kept=False) for p in problems)
    grouped, shelf = _grouped(problems, options, engine, held, kept=wanted.keeps_map)
    common = {number: group.common for group in grouped for number in group.members}
    under = area.under(scene.image, sizes, scene.zero)
    found = [
        Sought(*one, pixels, area.origin(size), chosen, visible, common[i])
        for i, (one, size, pixels, chosen, visible) in enumerate(
            zip(shown_as, sizes, under, groups.plans(grouped), scene.seen(sizes), strict=True)
        )
    ]
    return Searches(found, grouped, shelf)


def _grouped(
    problems: Sequence[Problem], options: Options, engine: str, held: int, *, kept: bool
) -> tuple[list[Group], Shelf | None]:
    """What is searched for together, and how scores are kept; with maps if `kept`."""
    make = partial(
        groups.make, problems, engine=engine, device=options.device, memory=options.memory
    )
    # Where tiles find no room beside scores that are kept at ease, as few of these as can be.
    ample, least = (
        budget_of(problems, memory, kept=kept) for memory in (max(0, options.memory - held), 0)
    )
    try:
        scores = ample
        made = make(held=held + scores.held, searching=held + scores.searching)
    except InputError:
        scores = least
        made = make(held=held + scores.held, searching=held + scores.searching)
    return made, None if scores.shelf is None else Shelf(scores.shelf)


def by_plan(each: Sequence[Sought]) -> list[tuple[Plan, list[int]]]:
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


def _as_they_are(scene: Scene) -> Iterator[tuple[int, Pose, Kernel]]:
    for number, kernel in enumerate(scene.kernels):
        scene.area.check_kernel(kernel.pixels.shape[:2], scene.names[1 + number])
        yield number, AS_IT_IS, kernel


def _check_memory(scene: Scene, poses: Poses, memory: int) -> None:
    """Refuse poses that are too large all together, before any is made."""
    each = scene.image.shape[2] * scene.image.itemsize
    needed = scene.image.nbytes + each * sum(
        math.prod(pose.box(size))
        for size in scene.sizes
        for pose in poses.each
        if fits(scene.area, size, pose)
    )
    if needed > memory:
        raise InputError(
            f"memory {budget.text(memory)} does not suffice for {poses.count:,} poses;"
            f" {budget.text(needed)} is the least"
        )


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
    if not fits(scene.area, posing.kernel.pixels.shape[:2], pose):
        return None
    one = posing(pose)
    return one if one is not None and metrics.scores(one, metric) else None


def fits(area: Area, kernel: tuple[int, int], pose: Pose) -> bool:
    """Whether a kernel of (height, width) has windows in a pose, and pixels enough to tell it."""
    pixels = kernel[0] * kernel[1]
    enough = min(_LEAST_PIXELS, pixels)
    return area.fits(pose.box(kernel)) and round(pixels * pose.scale**2) >= enough


def nothing_fits(scene: Scene, number: int, poses: Poses) -> InputError:
    """Of a kernel that can be searched in no pose."""
    height, width, _ = scene.kernels[number].pixels.shape
    rows, cols = scene.area.size
    least = min(poses.each, key=lambda pose: math.prod(pose.box((height, width))))
    box = least.box((height, width))
    kernel = f"kernel {shown(scene.names[1 + number])} of {width}x{height} pixels"
    if scene.area.fits(box):
        return InputError(
            f"{kernel} keeps no contrast, or fewer than {_LEAST_PIXELS} pixels, in its poses;"
            " give larger scales"
        )
    return InputError(
        f"{kernel} takes {box[1]}x{box[0]} even at {least}, more than the"
        f" {shown(scene.area.name)} with {cols}x{rows};"
        "\ngive smaller scales, or --padding edge (padding='edge')"
    )
