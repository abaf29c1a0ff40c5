"""The search of an array like the one before: only what depends on its pixels is done."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from patchsim import engines
from patchsim.engines import Bounds, MapEngine, TileScorer
from patchsim.geometry.tiles import Tile
from patchsim.matching import assemble, nothing_found, select_matches, ways
from patchsim.matching.array_kind import Kind
from patchsim.matching.best_alone import BestAlone
from patchsim.matching.ways import Directly, Soonest
from patchsim.metrics import ExactKernel
from patchsim.options import Options
from patchsim.output.notebook import ImageDisplay
from patchsim.output.report import Report
from patchsim.output.targets import Outputs
from patchsim.pictures.reader import Picture, of_array
from patchsim.planning import candidates
from patchsim.ranking.best_window import best_places, best_window
from patchsim.ranking.block_cache import BlockCache
from patchsim.scene import advice, flatness
from patchsim.scene.as_before import AsBefore
from patchsim.scene.build import Scene
from patchsim.scene.by_profile import ByProfile
from patchsim.search import windows
from patchsim.search.jobs import Found, Job, Scored
from patchsim.search.prepared import KeptKernels, PreparedKernels
from patchsim.search.stores import OPEN_BYTES, StoreMaker

if TYPE_CHECKING:
    from patchsim.matching.ways import SearchArray
    from patchsim.pictures.reader import Source
    from patchsim.planning.planner import Plan
    from patchsim.ranking.contract import Windows
    from patchsim.search.exhaustive import Exhaustive
    from patchsim.types import Pixels

_MOST_AT_ONCE = 1 << 18  # windows of a map whose sums stay in the cache until they are scores
_NO_PIXELS: Pixels = np.zeros((0, 0, 1), np.uint8)


class Repeated(NamedTuple):
    """All of a search for one kernel that does not depend on the pixels of the image.

    Attributes
    ----------
    kind : Kind
    options : Options
        Those of the search.
    kernels : sequence of Picture
        The kernel.
    scene : Scene
        It has no pixels, and the job has none either.
    job : Job
    outputs : Outputs
    kept : KeptKernels
    scorer : TileScorer or None
        Scores all windows of the map, if a plan has one tile.
    soonest : (Soonest, BestAlone) or None
        What finds the best window without a map, if that is all that is asked for, and reports it.
    exact : ExactKernel
    alone : BestAlone or None
        Reports the best few windows, if no other place matters.
    as_before : AsBefore
        Brings an image to the values that are compared.
    directly : Directly or None
        The search for images that a quick plan is left out for.
    """

    kind: Kind
    options: Options
    kernels: Sequence[Picture]
    scene: Scene
    job: Job
    outputs: Outputs
    kept: KeptKernels
    scorer: TileScorer | None
    soonest: tuple[Soonest, BestAlone] | None
    exact: ExactKernel
    alone: BestAlone | None
    as_before: AsBefore
    directly: Directly | None

    @classmethod
    def of(
        cls,
        kind: Kind,
        *,
        options: Options,
        kernels: Sequence[Picture],
        comparisons: ByProfile,
        scene: Scene,
        outputs: Outputs,
        search: Exhaustive,
        report: Report,
        kept: KeptKernels,
    ) -> Repeated | None:
        """Return what the next image of a kind needs, or None if it takes a search of its own.

        Parameters
        ----------
        kind : Kind
            That of the image that was searched.
        options, scene, outputs
            As for `assemble.report`.
        kernels : sequence of Picture
        comparisons : ByProfile
            How they are compared with images.
        search : Exhaustive
            That search.
        report : Report
        kept : KeptKernels
            The kernels that stay prepared.
        """
        if options.has_criteria or options.subpixel or not len(search.jobs) == len(kernels) == 1:
            return None
        (job,), (kernel,) = search.jobs, kernels
        plan, pixels = job.plan, job.pixels
        channels = kind.shape[2] if len(kind.shape) > 2 else 1
        # The windows are those of the array itself, and of all of it.
        is_whole = (
            pixels.shape == (*kind.shape[:2], channels)
            and kernel.pixels.shape[2] == channels
            and scene.visible is None
            and (options.region, options.padding) == (None, "valid")
            and options.poses is None
            and not options.invert
        )
        if not is_whole or search.block_cache is not None or plan.problem.device != "cpu":
            return None
        as_before = AsBefore.of(kind.dtype, kernel, comparisons, options, scene)
        if as_before is None:
            return None
        alone = BestAlone.of(report, job, options, keeps_map=kind.keeps_map)
        if report.notices:  # `alone` tells those of small values of the next image, too
            small = advice.small_values(Picture(scene.names[0], pixels), kernels, options)
            is_told = alone is not None and as_before.is_plain
            if not is_told or list(report.notices) != small:
                return None
        base = cls(
            kind=kind,
            options=options,
            kernels=kernels,
            scene=scene._replace(image=_NO_PIXELS, drawn=(_NO_PIXELS, *scene.drawn[1:])),
            job=job._replace(pixels=_NO_PIXELS),
            outputs=outputs,
            kept=kept,
            scorer=None,
            soonest=ways.soonest(plan, job.kernel, alone, pixels),
            exact=PreparedKernels(kept).exact_score(plan, job.kernel),
            alone=alone,
            as_before=as_before,
            directly=None,
        )
        # Bounds tell how close the best window came to a threshold, scores tell it more exactly.
        if options.threshold is not None:
            return base._by(plan)
        quick_plan, directly = ways.quickly(plan, job.kernel, base._search_by)
        made = base._by(quick_plan)
        return made._replace(directly=directly) if made else base._by(plan)

    def _search_by(self, plan: Plan) -> SearchArray | None:
        """Return `search` by a plan alone, or None if the kernel takes too much memory."""
        made = self._replace(soonest=None)._by(plan)
        return made and made.search

    def _by(self, plan: Plan) -> Repeated | None:
        """Return the same by a plan, or None if the kernel takes too much memory to be kept."""
        scorer, engine = None, engines.load(plan.engine)
        if engines.has_map(engine):
            kernel_bytes = candidates.kernel_bytes(plan.chosen, plan.tile)
            if not self.kept.has_room(kernel_bytes, plan.memory):
                return None
            if _is_one_tile(engine, plan, self.alone.place_count if self.alone else 0):
                scorer = PreparedKernels(self.kept).alone(plan, self.job.kernel)
        alone = self.alone and self.alone.with_plan(plan)
        return self._replace(job=self.job._replace(plan=plan), scorer=scorer, alone=alone)

    def search(self, image: Source, started: float) -> Report | None:
        """Return the report of an image of the kind, or None if it takes a search of its own.

        Parameters
        ----------
        image : array
        started : float
            When the search began, in seconds of `time.perf_counter`.
        """
        assert isinstance(image, np.ndarray), "it is of the kind"
        if self.directly is not None and (search := self.directly.for_next()) is not None:
            return search(image, started)
        options, scene = self.options, self.scene
        picture = of_array(image, scene.names[0])
        pixels = self.as_before.pixels(picture)
        if pixels is None or flatness.is_flat(pixels):
            return None
        # Nothing was told of the kernel, so that it is not flat.
        if advice.small_values(picture, self.kernels, options) != self._notices:
            return None
        shape = pixels.shape[:2]
        del picture  # whose pixels may be others
        if self.soonest is not None:
            soonest, alone = self.soonest
            best = soonest.best_of(pixels)
            if best is not None:
                return alone.report([best], 0.0, None, image, started)
        bounds = None if self.scorer is None else self.scorer(pixels)
        if self.alone is not None and bounds is not None:
            places = self._places(pixels, bounds, self.alone.place_count)
            if places is not None:
                self._tell_of(0, started)
                return self.alone.report(places, bounds.error, bounds.map, image, started)
        windows = self._windows(pixels, bounds)
        if self.alone is not None and self.alone.place_count == 1:
            best = windows.best(-math.inf)
            self._tell_of(windows.blocks_evaluated, started)
            if best is not None:
                return self.alone.report([best], windows.error, windows.map, image, started)
        findings = Found([Scored(self.job, windows)])
        margin = options.is_margin_wanted(keeps_map=self.kind.keeps_map)
        selections = select_matches.select(findings, options, scene, margin=margin)
        below = nothing_found.best_below(findings, selections, scene, options)
        self._tell_of(windows.blocks_evaluated, started)
        notices = (
            *self._notices,
            *select_matches.explanations(selections, options, scene),
            *nothing_found.reason(findings, selections, scene, options, below),
        )
        return assemble.report(
            findings,
            selections,
            scene,
            options,
            self.outputs,
            shape,
            notices,
            skipped=(),
            best_below=below,
            margin=margin,
            criteria=None,
            has_maps=self.kind.keeps_map,
            display=ImageDisplay(image),
            started=started,
        )

    def _places(
        self, pixels: Pixels, bounds: Bounds, count: int
    ) -> Sequence[tuple[int, int, float]] | None:
        """Return the best windows of a map that do not overlap, or None if a store has to tell."""
        problem, exact = self.job.plan.problem, self.exact.on(pixels)
        if count == 1:
            best = best_window(bounds, exact, problem.stride)
            return best and [best]
        if bounds.map.size > _MOST_AT_ONCE:
            return None
        size, overlap = problem.match_size, self.options.overlap
        return best_places(bounds, exact, size, problem.stride, overlap=overlap, count=count)

    def _tell_of(self, blocks_evaluated: int, started: float) -> None:
        """Tell of a quick search, if that is the plan's, how it was done."""
        if self.directly is not None:
            self.directly.tell(blocks_evaluated, time.perf_counter() - started)

    @property
    def _notices(self) -> list[str]:
        """The notices that each image has."""
        return list(self.alone.of_report["notices"]) if self.alone else []

    def _windows(self, pixels: Pixels, bounds: Bounds | None) -> Windows:
        """Store the scores of an image's windows, or score them if a plan has several tiles."""
        plan, prepared = self.job.plan, PreparedKernels(self.kept)
        if bounds is None:
            (store,) = windows.windows(
                [plan],
                pixels,
                [self.job.kernel],
                keeps_map=self.kind.keeps_map,
                advance=lambda _tile: None,
                prepared=prepared,
            )
            return store
        maker = StoreMaker(plan, pixels, self.exact.on(pixels), None, self.kind.keeps_map)
        make = maker.of_all_windows if bounds.blocks is None else maker.by_blocks
        store = make(BlockCache(OPEN_BYTES), prepared.exactly(plan, self.job.kernel))
        store.put(Tile(0, 0, *bounds.map.shape), bounds)
        return store


def _is_one_tile(engine: MapEngine, plan: Plan, place_count: int) -> bool:
    """Return whether one call of an engine scores a map, and its scores tell the best windows.

    `place_count` is 0 where other windows matter, too.
    """
    problem = plan.problem
    is_whole = plan.tile == problem.map_shape
    if engine.can_bound_blocks(problem):
        return is_whole
    # Without bounds of blocks, exact scores tell the best windows, and others with an error each
    # the best one.
    is_exact = engine.refuse(problem._replace(exact=True)) is None
    is_told = place_count > 0 if is_exact else place_count == 1
    return engine.IS_EXACT and is_told and (is_whole or _can_be_one_tile(plan))


def _can_be_one_tile(plan: Plan) -> bool:
    """Return whether a small map of some tiles, one after the other, takes no longer as one."""
    shape = plan.problem.map_shape
    if plan.parallel > 1 or math.prod(shape) > _MOST_AT_ONCE:
        return False
    return plan.resident + candidates.working_bytes(plan.chosen, shape, 1) <= plan.memory
