"""Runs plans, and returns the windows of each kernel with scores or bounds."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from functools import cache, partial

import numpy as np

from patchsim import engines, metrics
from patchsim.engines import Bounds, LowerBounds, Problem, TileScore
from patchsim.engines.tile_cache import Cached
from patchsim.execution import runner
from patchsim.geometry import tiles
from patchsim.geometry.blocks import BLOCK
from patchsim.geometry.tiles import Tile
from patchsim.machine.threads import in_order
from patchsim.metrics import Kernel, Visibility
from patchsim.planning.planner import Plan
from patchsim.ranking import equal_windows, pruned_windows
from patchsim.ranking.block_maxima import BlockCache, BlockMaxima
from patchsim.ranking.contract import Windows
from patchsim.ranking.score_map import ScoreMap
from patchsim.types import Pixels

_OPEN_BYTES = 16 << 20  # for open blocks of maps that are kept: 400 of them
_WORTH_A_TILE = 1.01  # how much slower than its blocks a tile may be: it is one call for many


def windows(
    plans: Sequence[Plan],
    image: Pixels,
    kernels: Sequence[Kernel],
    visible: Visibility | None = None,
    *,
    keeps_map: bool,
    advance: Callable[[Tile], None],
    block_cache: BlockCache | None = None,
) -> list[Windows]:
    """Score the windows of kernels that are searched together, for `nms.BestFirst`.

    Parameters
    ----------
    plans : sequence of Plan
        One for each kernel, from one `batching.Group`.
    image : array [H, W, C]
    kernels : sequence of Kernel
    visible : Visibility, optional
        The visibility of the image's pixels, where not all are visible.
    keeps_map : bool
        Keep the scores of all windows.
    advance : Tile -> None
        Called for each tile that is done.
    block_cache : BlockCache, optional
        Given where the scores of all windows take too much memory: the cache of open blocks.
    """
    pairs = list(zip(plans, kernels, strict=True))
    engine = engines.load(plans[0].engine)
    if not engine.HAS_MAP:
        return [*_pruned_windows(plans, image, kernels, advance, keeps_bounds=block_cache is None)]
    if block_cache is None and engines.has_map(engine) and engine.bounds_blocks(plans[0].problem):
        opened = BlockCache(_OPEN_BYTES)
        stores = [
            _kept_blocks(plan, image, kernel, visible, keeps_map, opened) for plan, kernel in pairs
        ]
        _score_all(plans, image, kernels, visible, stores, advance)
        return [*stores]
    if block_cache is None:
        score_maps = [_score_map(plan, image, kernel, visible, keeps_map) for plan, kernel in pairs]
        _score_all(plans, image, kernels, visible, score_maps, advance)
        for score_map in score_maps:
            score_map.evaluate_contenders()
        return [*score_maps]
    maxima = [
        _block_maxima(plan, image, kernel, visible, keeps_map, block_cache)
        for plan, kernel in pairs
    ]
    _score_all(plans, image, kernels, visible, maxima, advance)
    return [*maxima]


def _score_all(
    plans: Sequence[Plan],
    image: Pixels,
    kernels: Sequence[Kernel],
    visible: Visibility | None,
    stores: Sequence[ScoreMap | BlockMaxima],
    advance: Callable[[Tile], None],
) -> None:
    def take(number: int, tile: Tile, bounds: Bounds) -> None:
        stores[number].put(tile, bounds)

    # Closed at once where an observer raises, so that no thread is left working.
    scores = runner.prepare_together(plans, kernels)
    with closing(runner.run_together(plans, image, scores, take, visible)) as done:
        for tile in done:
            advance(tile)


def _score_map(
    plan: Plan,
    image: Pixels,
    kernel: Kernel,
    visible: Visibility | None,
    keeps_map: bool,
    exactly: Callable[[], TileScore] | None = None,
) -> ScoreMap:
    """Make the map for the scores of all windows, exact where the best one could be.

    The kernel may have been prepared for its exact plan, `exactly`.
    """
    problem = plan.problem
    size, stride = problem.kernel[:2], problem.stride
    exact = _exact_scores(problem, image, kernel, visible)
    blocks = (
        partial(
            _score_blocks,
            plan.exact_plan,
            image,
            visible,
            exactly or _prepared_once(plan.exact_plan, kernel),
        )
        if plan.exact_plan
        else partial(_one_by_one, equal_windows.scores(image, size, stride, exact, visible))
    )
    return ScoreMap(
        problem.map_shape,
        problem.match_size,
        stride,
        exact,
        evaluate_blocks=blocks,
        keeps_map=keeps_map,
    )


def _kept_blocks(
    plan: Plan,
    image: Pixels,
    kernel: Kernel,
    visible: Visibility | None,
    keeps_map: bool,
    opened: BlockCache,
    exactly: Callable[[], TileScore] | None = None,
) -> BlockMaxima:
    """Make the store of an engine that bounds blocks itself: the map, and each block's bound.

    The kernel may have been prepared for its exact plan, `exactly`.
    """
    problem = plan.problem
    size, stride = problem.kernel[:2], problem.stride
    exact = _exact_scores(problem, image, kernel, visible)
    evaluate: Callable[[Tile], Bounds]
    if plan.exact_plan:
        prepared = exactly or _prepared_once(plan.exact_plan, kernel)
        evaluate = partial(_score_block, plan.exact_plan, image, visible, prepared)
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


def _exact_scores(
    problem: Problem, image: Pixels, kernel: Kernel, visible: Visibility | None
) -> metrics.Exact:
    """Return the function that scores one window exactly."""
    return metrics.exact(
        image,
        kernel.pixels,
        problem.metric,
        problem.data_range,
        weights=kernel.weights,
        visible=visible,
    )


def _block_maxima(
    plan: Plan,
    image: Pixels,
    kernel: Kernel,
    visible: Visibility | None,
    keeps_map: bool,
    block_cache: BlockCache,
) -> BlockMaxima:
    """Make the store of each block's best bound; a block is scored again when it is asked for."""
    problem = plan.problem
    size, stride = problem.kernel[:2], problem.stride
    exact = _exact_scores(problem, image, kernel, visible)
    # Kernels are prepared anew: their planes would take more memory than all blocks' bests.
    if plan.exact_plan:
        prepared = partial(runner.prepare, plan.exact_plan, kernel)
        rescore, equal = partial(_score_blocks, plan.exact_plan, image, visible, prepared), None
    else:
        rescore = partial(_rescore, plan, image, visible, partial(runner.prepare, plan, kernel))
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


def _rescore(
    plan: Plan,
    image: Pixels,
    visible: Visibility | None,
    prepared: Callable[[], TileScore],
    blocks: Iterable[Tile],
) -> Generator[tuple[Tile, Bounds], None, None]:
    """Score blocks by the plan's engine, in tiles that fit its memory."""
    score = prepared()
    for block in blocks:
        shape = block.rows, block.cols
        found, error = np.full(shape, np.nan), np.full(shape, np.nan)
        hidden = None if visible is None else np.zeros(shape, np.bool_)
        parts = [
            Tile(block.top + part.top, block.left + part.left, part.rows, part.cols)
            for part in tiles.split(shape, plan.tile)
        ]
        for part, bounds in runner.run(plan, image, score, parts, visible):
            index = part.within(block)
            found[index], error[index] = bounds.map, bounds.error
            if hidden is not None and bounds.hidden is not None:
                hidden[index] = bounds.hidden
        yield block, Bounds(found, error, hidden)


def _one_by_one(
    block: Callable[[Tile], Bounds], wanted: Iterable[Tile]
) -> Generator[tuple[Tile, Bounds], None, None]:
    for tile in wanted:
        yield tile, block(tile)


def _score_blocks(
    plan: Plan,
    image: Pixels,
    visible: Visibility | None,
    prepared: Callable[[], TileScore],
    blocks: Iterable[Tile],
) -> Generator[tuple[Tile, Bounds], None, None]:
    """Score blocks by a plan for that, and their neighbours too where one call is quicker."""
    todo = list(blocks)
    if todo:
        yield from runner.run(plan, image, prepared(), _merged(todo, plan), visible)


def _score_block(
    exact_plan: Plan,
    image: Pixels,
    visible: Visibility | None,
    prepared: Callable[[], TileScore],
    block: Tile,
) -> Bounds:
    """Score one block alone."""
    ((_, bounds),) = runner.run(exact_plan, image, prepared(), [block], visible)
    return bounds


def _prepared_once(plan: Plan, kernel: Kernel) -> Callable[[], TileScore]:
    """Return a function that prepares the kernel at its first call."""
    prepared: Cached[TileScore] = Cached()
    return partial(prepared.get, partial(runner.prepare, plan, kernel))


def _merged(blocks: list[Tile], exact_plan: Plan) -> Iterator[Tile]:
    """Join neighbouring blocks, and take the whole tile where it costs no more than its blocks."""
    seconds = cache(exact_plan.seconds_of)
    inside = defaultdict(list)
    for block in blocks:  # each lies in one tile, which has whole ones
        inside[block.top // exact_plan.tile[0], block.left // exact_plan.tile[1]].append(block)
    rows, cols = exact_plan.problem.map_shape
    for (down, across), parts in sorted(inside.items()):
        top, left = down * exact_plan.tile[0], across * exact_plan.tile[1]
        tile = Tile(
            top, left, min(exact_plan.tile[0], rows - top), min(exact_plan.tile[1], cols - left)
        )
        runs = tiles.join_neighbours(parts)
        singly = sum(seconds(run.rows, run.cols) for run in runs)
        if seconds(tile.rows, tile.cols) <= singly * _WORTH_A_TILE:
            yield tile
        else:
            yield from runs


def _pruned_windows(
    plans: Sequence[Plan],
    image: Pixels,
    kernels: Sequence[Kernel],
    advance: Callable[[Tile], None],
    *,
    keeps_bounds: bool,
) -> list[pruned_windows.PrunedWindows]:
    """Bound all windows; a window that could be the best is scored when it is asked for."""
    pruned: list[pruned_windows.PrunedWindows] = []
    beside = None
    engine = engines.load(plans[0].engine)
    assert engines.is_search(engine)
    for plan, kernel in zip(plans, kernels, strict=True):
        beside = engine.search(image, kernel.pixels, plan.problem, kernel.weights, beside)
        evaluate_blocks, search_all, seconds, block_seconds = None, None, math.inf, math.inf
        size, stride = plan.problem.kernel[:2], plan.problem.stride
        exact = _exact_scores(plan.problem, image, kernel, None)
        score_exactly = equal_windows.scores(image, size, stride, exact)
        exactly = _prepared_once(plan.exact_plan, kernel) if plan.exact_plan else None
        if plan.exact_plan and exactly:
            score_exactly = partial(_score_block, plan.exact_plan, image, None, exactly)
        if plan.direct_plan:
            is_exact = plan.exact_plan and plan.exact_plan.chosen == plan.direct_plan.chosen
            prepared = (is_exact and exactly) or _prepared_once(plan.direct_plan, kernel)
            evaluate_blocks = partial(_score_blocks, plan.direct_plan, image, None, prepared)
            search_all = partial(_search_all, plan.direct_plan, image, kernel, exactly)
            seconds = plan.direct_plan.chosen.seconds
            block_seconds = plan.direct_plan.seconds_of(BLOCK, BLOCK)
        pruned.append(
            pruned_windows.PrunedWindows(
                beside,
                evaluate_blocks,
                plan.parallel,
                exact=exact,
                score_exactly=score_exactly,
                search_all=search_all,
                seconds=seconds,
                block_seconds=block_seconds,
                tile=plan.tile,
                keeps_bounds=keeps_bounds,
            )
        )

    def bound(common: Tile) -> list[tuple[int, Tile, LowerBounds]]:
        numbered = runner.clip_to_maps(common, plans)
        return [(number, *pruned[number].bound(tile)) for number, tile in numbered]

    with closing(in_order(bound, runner.common_tiles(plans), plans[0].parallel)) as bounded:
        for numbered in bounded:
            for number, tile, least_bounds in numbered:
                pruned[number].put(tile, least_bounds)
                advance(tile)
    for one in pruned:
        one.ready()
    return pruned


def _search_all(
    plan: Plan, image: Pixels, kernel: Kernel, exactly: Callable[[], TileScore] | None
) -> Windows:
    """Score all windows by a plan; the kernel may have been prepared for its exact plan."""
    engine = engines.load(plan.engine)
    store: BlockMaxima | ScoreMap
    if engines.has_map(engine) and engine.bounds_blocks(plan.problem):
        opened = BlockCache(_OPEN_BYTES)
        store = _kept_blocks(
            plan, image, kernel, None, keeps_map=False, opened=opened, exactly=exactly
        )
    else:
        store = _score_map(plan, image, kernel, None, keeps_map=False, exactly=exactly)
    _score_all([plan], image, [kernel], None, [store], lambda _tile: None)
    if isinstance(store, ScoreMap):
        store.evaluate_contenders()
    return store
