"""Makes the stores that keep the scores of windows, and tells them how a block is scored again."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from patchsim import engines, metrics
from patchsim.engines import Bounds
from patchsim.execution import runner
from patchsim.geometry.tiles import Tile
from patchsim.metrics import Kernel, Visibility
from patchsim.planning.planner import Plan
from patchsim.ranking import equal_windows
from patchsim.ranking.block_cache import BlockCache
from patchsim.ranking.block_maxima import BlockMaxima
from patchsim.ranking.score_map import ScoreMap
from patchsim.search import block_scores
from patchsim.search.prepared import PreparedKernel
from patchsim.types import Pixels

OPEN_BYTES = 16 << 20  # for open blocks of maps that are kept: 400 of them


def score_map(
    plan: Plan,
    image: Pixels,
    exact: metrics.Exact,
    visible: Visibility | None,
    keeps_map: bool,
    exactly: PreparedKernel | None,
) -> ScoreMap:
    """Make the map for the scores of all windows, exact where the best one could be.

    `exact` scores windows exactly; `exactly` is the kernel, prepared for the exact plan if there
    is one.
    """
    problem = plan.problem
    size, stride = problem.kernel[:2], problem.stride
    blocks = (
        partial(block_scores.score_blocks, exactly.plan, image, visible, exactly)
        if exactly
        else partial(
            block_scores.one_by_one, equal_windows.scores(image, size, stride, exact, visible)
        )
    )
    return ScoreMap(
        problem.map_shape,
        problem.match_size,
        stride,
        exact,
        evaluate_blocks=blocks,
        keeps_map=keeps_map,
    )


def kept_blocks(
    plan: Plan,
    image: Pixels,
    exact: metrics.Exact,
    visible: Visibility | None,
    keeps_map: bool,
    opened: BlockCache,
    exactly: PreparedKernel | None,
) -> BlockMaxima:
    """Make the store of an engine that bounds blocks itself: the map, and each block's bound.

    `exact` scores windows exactly; `exactly` is the kernel, prepared for the exact plan if there
    is one.
    """
    problem = plan.problem
    size, stride = problem.kernel[:2], problem.stride
    evaluate: Callable[[Tile], Bounds]
    if exactly:
        evaluate = partial(block_scores.score_block, exactly.plan, image, visible, exactly)
    else:
        evaluate = equal_windows.scores(image, size, stride, exact, visible)
    return BlockMaxima(
        problem.map_shape,
        problem.match_size,
        stride,
        exact,
        None,
        opened,
        evaluate_block=evaluate,
        keeps_map=keeps_map,
    )


def whole_map(
    plan: Plan,
    image: Pixels,
    exact: metrics.Exact,
    visible: Visibility | None,
    keeps_map: bool,
    opened: BlockCache,
    exactly: PreparedKernel | None,
) -> ScoreMap | BlockMaxima:
    """Make the store of a map that is kept: by blocks if the engine bounds them, or by windows."""
    engine = engines.load(plan.engine)
    if engines.has_map(engine) and engine.can_bound_blocks(plan.problem):
        return kept_blocks(plan, image, exact, visible, keeps_map, opened, exactly)
    return score_map(plan, image, exact, visible, keeps_map, exactly)


def block_maxima(
    plan: Plan,
    image: Pixels,
    kernel: Kernel,
    exact: metrics.Exact,
    visible: Visibility | None,
    keeps_map: bool,
    block_cache: BlockCache,
) -> BlockMaxima:
    """Make the store of each block's best bound; a block is scored again when it is asked for."""
    problem = plan.problem
    size, stride = problem.kernel[:2], problem.stride
    # Kernels are prepared anew: their planes would take more memory than all blocks' bests.
    if plan.exact_plan:
        prepared = partial(runner.prepare, plan.exact_plan, kernel)
        rescore, equal = (
            partial(block_scores.score_blocks, plan.exact_plan, image, visible, prepared),
            None,
        )
    else:
        rescore = partial(
            block_scores.rescore, plan, image, visible, partial(runner.prepare, plan, kernel)
        )
        equal = equal_windows.scores(image, size, stride, exact, visible)
    return BlockMaxima(
        problem.map_shape,
        problem.match_size,
        stride,
        exact,
        rescore,
        block_cache,
        evaluate_block=equal,
        keeps_map=keeps_map,
    )
