"""Makes the stores that keep the scores of windows, and tells them how a block is scored again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from patchsim import engines, metrics
from patchsim.engines import Bounds
from patchsim.execution import runner
from patchsim.geometry.tiles import Tile
from patchsim.metrics import Kernel, Visibility
from patchsim.planning.planner import Plan
from patchsim.ranking.block_cache import BlockCache
from patchsim.ranking.score_map import ScoreMap
from patchsim.search import block_scores
from patchsim.search.prepared import PreparedKernel
from patchsim.types import Pixels

if TYPE_CHECKING:
    from patchsim.ranking.block_maxima import BlockMaxima, Rescore

OPEN_BYTES = 16 << 20  # for open blocks of maps that are kept: 400 of them


@dataclass(slots=True, eq=False, repr=False)
class StoreMaker:
    """Makes the store of the scores of one kernel's windows.

    Attributes
    ----------
    plan : Plan
    image : array [H, W, C]
    exact : metrics.Exact
        Scores windows exactly.
    visible : Visibility or None
        The visibility of the image's pixels, where not all are visible.
    keeps_map : bool
        Keep the scores of all windows.
    """

    plan: Plan
    image: Pixels
    exact: metrics.Exact
    visible: Visibility | None
    keeps_map: bool

    def of_all_windows(
        self, opened: BlockCache, exactly: PreparedKernel | None
    ) -> ScoreMap | BlockMaxima:
        """Make the store of a map: by blocks if the engine bounds them, or by windows.

        Where many windows are wanted, and blocks can be scored exactly, all scores are listed.

        `opened` holds open blocks; `exactly` is the kernel, prepared for the exact plan if there is
        one.
        """
        engine = engines.load(self.plan.engine)
        problem = self.plan.problem
        is_listed = exactly is not None and problem.share_wanted > 0
        if not is_listed and engines.has_map(engine) and engine.can_bound_blocks(problem):
            return self.by_blocks(opened, exactly)
        return self._by_windows(exactly)

    def _by_windows(self, exactly: PreparedKernel | None) -> ScoreMap:
        """Make the map for the scores of all windows, exact where the best one could be."""
        problem = self.plan.problem
        blocks = (
            partial(block_scores.score_blocks, exactly.plan, self.image, self.visible, exactly)
            if exactly
            else partial(block_scores.one_by_one, self._equal_windows())
        )
        return ScoreMap(
            problem.map_shape,
            problem.match_size,
            problem.stride,
            self.exact,
            evaluate_blocks=blocks,
            has_exact_blocks=exactly is not None,
            keeps_map=self.keeps_map,
        )

    def by_blocks(self, opened: BlockCache, exactly: PreparedKernel | None) -> BlockMaxima:
        """Make the store of an engine that bounds blocks itself: the map, and each block's bound.

        The parameters are those of `of_all_windows`.
        """
        evaluate: Callable[[Tile], Bounds]
        if exactly:
            evaluate = partial(
                block_scores.score_block, exactly.plan, self.image, self.visible, exactly
            )
        else:
            evaluate = self._equal_windows()
        return self._maxima(None, opened, evaluate)

    def of_block_maxima(self, kernel: Kernel, block_cache: BlockCache) -> BlockMaxima:
        """Make the store of each block's best bound; a block asked for is scored again."""
        plan, where = self.plan, (self.image, self.visible)
        # Kernels are prepared anew: their planes would take more memory than all blocks' bests.
        if plan.exact_plan:
            prepared = partial(runner.prepare, plan.exact_plan, kernel)
            rescore = partial(block_scores.score_blocks, plan.exact_plan, *where, prepared)
            return self._maxima(rescore, block_cache, None)
        rescore = partial(block_scores.rescore, plan, *where, partial(runner.prepare, plan, kernel))
        return self._maxima(rescore, block_cache, self._equal_windows())

    def _maxima(
        self,
        rescore: Rescore | None,
        cache: BlockCache,
        evaluate_block: Callable[[Tile], Bounds] | None,
    ) -> BlockMaxima:
        from patchsim.ranking.block_maxima import BlockMaxima  # most maps are of all windows

        problem = self.plan.problem
        return BlockMaxima(
            problem.map_shape,
            problem.match_size,
            problem.stride,
            self.exact,
            rescore,
            cache,
            evaluate_block=evaluate_block,
            keeps_map=self.keeps_map,
        )

    def _equal_windows(self) -> Callable[[Tile], Bounds]:
        """Return a function that scores the windows of a block, equal ones once."""
        from patchsim.ranking import equal_windows  # where no engine is exact

        problem = self.plan.problem
        return equal_windows.scores(
            self.image, problem.kernel[:2], problem.stride, self.exact, self.visible
        )
