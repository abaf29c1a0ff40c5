"""Runs plans, and returns the windows of each kernel with scores or bounds."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from functools import cache, partial

import numpy as np

from patchsim import engines, metrics
from patchsim.engines import Bounds, Least, TileScore
from patchsim.execution import runner
from patchsim.geometry import tiles
from patchsim.geometry.tiles import Tile
from patchsim.machine.threads import in_order
from patchsim.metrics import Kernel, Visibility
from patchsim.planning.planner import Plan
from patchsim.ranking import equal_windows, pruned_windows
from patchsim.ranking.block_maxima import BlockCache, BlockMaxima
from patchsim.ranking.contract import Windows
from patchsim.ranking.score_map import ScoreMap
from patchsim.types import Pixels

_WORTH_A_TILE = 1.01  # how much slower than its blocks a tile may be: it is one call for many


def windows(
    plans: Sequence[Plan],
    image: Pixels,
    kernels: Sequence[Kernel],
    visible: Visibility | None = None,
    *,
    keeps_map: bool,
    advance: Callable[[Tile], None],
    shelf: BlockCache | None = None,
) -> list[Windows]:
    """Score the windows of kernels that are searched together, for `nms.BestFirst`.

    Parameters
    ----------
    plans : sequence of Plan
        One a kernel, of a `batching.Group`.
    image : array [H, W, C]
    kernels : sequence of Kernel
    visible : Visibility, optional
        Of the image, where not all of it is as visible.
    keeps_map : bool
        Keep the scores of all windows.
    advance : Tile -> None
        Called for each tile that is done.
    shelf : BlockCache, optional
        Where the scores of all windows take too much memory, for the blocks that are looked into.
    """
    each = list(zip(plans, kernels, strict=True))
    if not engines.load(plans[0].engine).HAS_MAP:
        return [*_candidates(plans, image, kernels, advance, keeps_bounds=shelf is None)]
    if shelf is None:
        fields = [_field(chosen, image, kernel, visible, keeps_map) for chosen, kernel in each]
        _score_all(plans, image, kernels, visible, fields, advance)
        for field in fields:
            field.evaluate_contenders()
        return [*fields]
    sketches = [
        _sketch(chosen, image, kernel, visible, keeps_map, shelf) for chosen, kernel in each
    ]
    _score_all(plans, image, kernels, visible, sketches, advance)
    return [*sketches]


def _score_all(
    plans: Sequence[Plan],
    image: Pixels,
    kernels: Sequence[Kernel],
    visible: Visibility | None,
    fields: Sequence[ScoreMap | BlockMaxima],
    advance: Callable[[Tile], None],
) -> None:
    def take(number: int, tile: Tile, bounds: Bounds) -> None:
        fields[number].put(tile, bounds)

    # Closed at once where an observer raises, so that no thread is left working.
    scores = runner.prepare_together(plans, kernels)
    with closing(runner.run_together(plans, image, scores, take, visible)) as done:
        for tile in done:
            advance(tile)


def _field(
    plan: Plan, image: Pixels, kernel: Kernel, visible: Visibility | None, keeps_map: bool
) -> ScoreMap:
    """Make the map for the scores of all windows, exact where the best one could be."""
    problem = plan.problem
    size, stride = problem.kernel[:2], problem.stride
    exact = metrics.exact(
        image, kernel.pixels, problem.metric, problem.data_range, kernel.weights, visible
    )
    blocks = (
        partial(
            _exactly,
            plan.exact_plan,
            image,
            visible,
            cache(partial(runner.prepare, plan.exact_plan, kernel)),
        )
        if plan.exact_plan
        else partial(_each, equal_windows.scores(image, size, stride, exact, visible))
    )
    return ScoreMap(
        problem.map_shape, size, stride, exact, evaluate_blocks=blocks, keeps_map=keeps_map
    )


def _sketch(
    plan: Plan,
    image: Pixels,
    kernel: Kernel,
    visible: Visibility | None,
    keeps_map: bool,
    shelf: BlockCache,
) -> BlockMaxima:
    """Make the store of each block's best bound; a block is scored again when it is asked for."""
    problem = plan.problem
    size, stride = problem.kernel[:2], problem.stride
    exact = metrics.exact(
        image, kernel.pixels, problem.metric, problem.data_range, kernel.weights, visible
    )
    # Kernels are prepared anew: their planes would take more memory than all blocks' bests.
    if plan.exact_plan:
        prepared = partial(runner.prepare, plan.exact_plan, kernel)
        again, equal = partial(_exactly, plan.exact_plan, image, visible, prepared), None
    else:
        again = partial(_again, plan, image, visible, partial(runner.prepare, plan, kernel))
        equal = equal_windows.scores(image, size, stride, exact, visible)
    return BlockMaxima(
        problem.map_shape, size, stride, exact, again, shelf, score_equal=equal, keeps_map=keeps_map
    )


def _again(
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


def _each(
    block: Callable[[Tile], Bounds], wanted: Iterable[Tile]
) -> Generator[tuple[Tile, Bounds], None, None]:
    for tile in wanted:
        yield tile, block(tile)


def _exactly(
    direct: Plan,
    image: Pixels,
    visible: Visibility | None,
    prepared: Callable[[], TileScore],
    blocks: Iterable[Tile],
) -> Generator[tuple[Tile, Bounds], None, None]:
    """Score blocks exactly, and their neighbours too where one call is quicker."""
    todo = list(blocks)
    if todo:
        yield from runner.run(direct, image, prepared(), _merged(todo, direct), visible)


def _merged(blocks: list[Tile], direct: Plan) -> Iterator[Tile]:
    """Join neighbouring blocks, and take the whole tile where it costs no more than its blocks."""
    seconds = cache(direct.seconds_of)
    inside = defaultdict(list)
    for block in blocks:  # each lies in one tile, which has whole ones
        inside[block.top // direct.tile[0], block.left // direct.tile[1]].append(block)
    rows, cols = direct.problem.map_shape
    for (down, across), parts in sorted(inside.items()):
        top, left = down * direct.tile[0], across * direct.tile[1]
        tile = Tile(top, left, min(direct.tile[0], rows - top), min(direct.tile[1], cols - left))
        runs = tiles.join_neighbours(parts)
        singly = sum(seconds(run.rows, run.cols) for run in runs)
        if seconds(tile.rows, tile.cols) <= singly * _WORTH_A_TILE:
            yield tile
        else:
            yield from runs


def _candidates(
    plans: Sequence[Plan],
    image: Pixels,
    kernels: Sequence[Kernel],
    advance: Callable[[Tile], None],
    *,
    keeps_bounds: bool,
) -> list[pruned_windows.PrunedWindows]:
    """Bound all windows; a window that could be the best is scored when it is asked for."""
    found: list[pruned_windows.PrunedWindows] = []
    beside = None
    engine = engines.load(plans[0].engine)
    assert engines.is_search(engine)
    for plan, kernel in zip(plans, kernels, strict=True):
        beside = engine.search(image, kernel.pixels, plan.problem, kernel.weights, beside)
        direct, whole, patience = None, None, math.inf
        if plan.exact_plan:
            prepared = cache(partial(runner.prepare, plan.exact_plan, kernel))
            direct = partial(_exactly, plan.exact_plan, image, None, prepared)
            whole = partial(_whole, plan.exact_plan, image, kernel)
            patience = plan.exact_plan.chosen.seconds
        found.append(
            pruned_windows.PrunedWindows(
                beside,
                direct,
                plan.parallel,
                search_all=whole,
                seconds=patience,
                keeps_bounds=keeps_bounds,
            )
        )

    def bound(place: Tile) -> list[tuple[int, Tile, Least]]:
        parts = runner.clip_to_maps(place, plans)
        return [(number, *found[number].bound(part)) for number, part in parts]

    with closing(in_order(bound, runner.common_tiles(plans), plans[0].parallel)) as bounded:
        for parts in bounded:
            for number, tile, lowest in parts:
                found[number].put(tile, lowest)
                advance(tile)
    for one in found:
        one.ready()
    return found


def _whole(plan: Plan, image: Pixels, kernel: Kernel) -> ScoreMap:
    field = _field(plan, image, kernel, None, keeps_map=False)
    _score_all([plan], image, [kernel], None, [field], lambda _tile: None)
    field.evaluate_contenders()
    return field
