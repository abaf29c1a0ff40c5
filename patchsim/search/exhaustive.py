"""The exhaustive search: every kernel, in every pose of it, against every window."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from patchsim import engines
from patchsim.engines import Problem
from patchsim.errors import InputError
from patchsim.machine.memory import format_size
from patchsim.metrics import Kernel
from patchsim.options import AUTO, Options
from patchsim.planning import batching, planner
from patchsim.planning.batching import Group
from patchsim.planning.score_memory import budget_of
from patchsim.poses.grid import Poses
from patchsim.poses.warp import AS_IT_IS, Pose, Posing
from patchsim.ranking.block_maxima import BlockCache
from patchsim.ranking.contract import Windows
from patchsim.scene.build import Scene
from patchsim.search import jobs, windows
from patchsim.search.jobs import Scored, Sought
from patchsim.search.pose_scores import Views
from patchsim.search.refine import Refinement

if TYPE_CHECKING:
    from patchsim.events import Observer
    from patchsim.geometry.tiles import Tile
    from patchsim.output.targets import Outputs

FEW = 8  # poses are searched like this unasked: quick enough


class Exhaustive:
    """Of a scene's kernels, as they are or in poses; the best poses are refined.

    Parameters
    ----------
    scene : Scene
    poses : Poses or None
    options : Options
    engine : str
    wanted : Outputs
    per_kernel : bool
        Each kernel has matches of its own.
    subpixel : bool
        Matches will be located between the pixels, which takes memory.

    Raises
    ------
    InputError
        If a kernel fits in no pose, or memory does not suffice.
    """

    def __init__(
        self,
        scene: Scene,
        poses: Poses | None,
        options: Options,
        engine: str,
        wanted: Outputs,
        *,
        per_kernel: bool,
        subpixel: bool,
    ) -> None:
        self._names, self._keeps_map = scene.names, wanted.keeps_map
        if poses is not None:
            _check_memory(scene, poses, options.memory)
            posed = list(_posed(scene, poses, options.metric))
        else:
            posed = list(_as_they_are(scene))
        kernels = [kernel for _, _, kernel in posed]
        sizes = [kernel.pixels.shape[:2] for kernel in kernels]
        area = scene.area
        # So many places of low scores take longer to find without a map than the map.
        mapped = wanted.keeps_map or (engine == "auto" and options.threshold == AUTO)
        problems = [
            jobs.problem(scene, options, kernel, area.extent(size), map_wanted=mapped)
            for kernel, size in zip(kernels, sizes, strict=True)
        ]
        held = jobs.holding(scene, sizes, wanted, max(math.prod(p.map_shape) for p in problems))
        held += sum(kernel.nbytes for kernel in kernels) if poses else 0
        if subpixel:
            from patchsim.search import subpixel as refinement

            held += max(planner.map_bytes(refinement.cell(p), kept=False) for p in problems)
        self._groups, self._shelf = _grouped(problems, options, engine, held, kept=wanted.keeps_map)
        common = {number: group.common for group in self._groups for number in group.members}
        under = area.under(scene.image, sizes, scene.zero)
        plans, seen = batching.plans(self._groups), scene.seen(sizes)
        self._each = [
            Sought(*one, pixels, area.origin(size), chosen, visible, common[i])
            for i, (one, size, pixels, chosen, visible) in enumerate(
                zip(posed, sizes, under, plans, seen, strict=True)
            )
        ]
        self._refinement = None
        if poses is not None and poses.between:
            # Around a place windows are scored as a map, whatever searched all of them.
            drawing = "auto" if engine != "auto" and engines.searches(engine) else engine
            largest = max(poses.scales.values)
            views = Views(scene, options, drawing, wanted, largest, halved=False)
            self._refinement = Refinement(views, scene, poses, options, per_kernel=per_kernel)

    def run(self, observer: Observer) -> list[Scored]:
        """All that was sought, with the scores of its windows."""
        each = self._each
        jobs.warn(len(each), sum(one.plan.chosen.seconds for one in each), observer)
        for common, which in jobs.by_plan(each):
            observer.planned(common, [each[i].label(self._names) for i in which])
        found = self._score(observer)
        return found if self._refinement is None else self._refinement.of_searched(found)

    def _score(self, observer: Observer) -> list[Scored]:
        total = sum(math.prod(one.plan.problem.map_shape) for one in self._each)
        done = 0

        def advance(tile: Tile) -> None:
            nonlocal done
            done += tile.cells
            observer.progress(done, total)

        found: dict[int, Windows] = {}
        for group in self._groups:
            members = [self._each[i] for i in group.members]
            made = windows.windows(
                group.plans,
                members[0].pixels,
                [one.kernel for one in members],
                members[0].visible,
                keeps_map=self._keeps_map,
                advance=advance,
                shelf=self._shelf,
            )
            found.update(zip(group.members, made, strict=True))
        return [(one, found[i]) for i, one in enumerate(self._each)]


def _grouped(
    problems: Sequence[Problem], options: Options, engine: str, held: int, *, kept: bool
) -> tuple[list[Group], BlockCache | None]:
    """What is searched for together, and how scores are kept; with maps if `kept`."""
    make = partial(
        batching.make, problems, engine=engine, device=options.device, memory=options.memory
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
    return made, None if scores.shelf is None else BlockCache(scores.shelf)


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
        if jobs.fits(scene.area, size, pose)
    )
    if needed > memory:
        raise InputError(
            f"memory {format_size(memory)} does not suffice for {poses.count:,} poses;"
            f" {format_size(needed)} is the least"
        )


def _posed(scene: Scene, poses: Poses, metric: str) -> Iterator[tuple[int, Pose, Kernel]]:
    for number, kernel in enumerate(scene.kernels):
        posing = Posing(kernel)
        found = [(pose, jobs.fitting(scene, posing, pose, metric)) for pose in poses.each]
        able = [(number, pose, one) for pose, one in found if one is not None]
        if not able:
            raise jobs.nothing_fits(scene, number, poses)
        yield from able
