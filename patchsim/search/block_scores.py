"""Scores blocks of windows by a plan, as many as suit it in one call."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator

import numpy as np

from patchsim.engines import Bounds, TileScorer
from patchsim.execution import runner
from patchsim.geometry import tiles
from patchsim.geometry.tiles import Tile
from patchsim.metrics import Visibility
from patchsim.planning import candidates
from patchsim.planning.planner import Plan
from patchsim.types import Pixels

_CALL_SECONDS = 8e-5  # of the calls for a tile, from Python


def rescore(
    plan: Plan,
    image: Pixels,
    visible: Visibility | None,
    prepared: Callable[[], TileScorer],
    blocks: Iterable[Tile],
) -> Generator[tuple[Tile, Bounds], None, None]:
    """Score blocks by the plan's engine, in tiles that fit its memory."""
    scorer = prepared()
    for block in blocks:
        shape = block.rows, block.cols
        scores, error = np.full(shape, np.nan), np.full(shape, np.nan)
        hidden = None if visible is None else np.zeros(shape, np.bool_)
        parts = [
            Tile(block.top + tile.top, block.left + tile.left, tile.rows, tile.cols)
            for tile in tiles.split(shape, plan.tile)
        ]
        for tile, bounds in runner.run(plan, image, scorer, parts, visible):
            index = tile.within(block)
            scores[index], error[index] = bounds.map, bounds.error
            if hidden is not None and bounds.hidden is not None:
                hidden[index] = bounds.hidden
        yield block, Bounds(scores, error, hidden)


def one_by_one(
    block: Callable[[Tile], Bounds], wanted: Iterable[Tile]
) -> Generator[tuple[Tile, Bounds], None, None]:
    for tile in wanted:
        yield tile, block(tile)


def score_blocks(
    plan: Plan,
    image: Pixels,
    visible: Visibility | None,
    prepared: Callable[[], TileScorer],
    blocks: Iterable[Tile],
) -> Generator[tuple[Tile, Bounds], None, None]:
    """Score blocks by a plan for that, and their neighbours too where one call is quicker."""
    # Those of one shape follow each other, because transforms of the kernel are made for each.
    todo = sorted(_merged(list(blocks), plan), key=lambda tile: (tile.rows, tile.cols))
    if todo:
        yield from runner.run(plan, image, prepared(), todo, visible)


def score_block(
    exact_plan: Plan,
    image: Pixels,
    visible: Visibility | None,
    prepared: Callable[[], TileScorer],
    block: Tile,
) -> Bounds:
    """Score one block alone."""
    ((_, bounds),) = runner.run(exact_plan, image, prepared(), [block], visible)
    return bounds


def seconds(plan: Plan, blocks: Iterable[Tile]) -> float:
    """Return the estimated seconds of `score_blocks`, of one thread for each of the plan's."""
    return sum(_seconds_of(plan, tile) for tile in _merged(list(blocks), plan))


def _seconds_of(plan: Plan, tile: Tile) -> float:
    return plan.seconds_of(tile.rows, tile.cols) + _CALL_SECONDS / plan.problem.threads


def _merged(blocks: list[Tile], plan: Plan) -> Iterator[Tile]:
    """Join blocks of a row, and those of a piece, where they take no longer than in two calls."""
    inside = defaultdict(list)
    piece = candidates.piece_of(plan.chosen, plan.tile)
    for block in blocks:  # each lies in one piece, which has whole ones
        inside[block.top // piece[0], block.left // piece[1]].append(block)
    rows, cols = plan.problem.map_shape
    for (down, across), parts in sorted(inside.items()):
        top, left = down * piece[0], across * piece[1]
        tile = Tile(top, left, min(piece[0], rows - top), min(piece[1], cols - left))
        runs = _runs(tiles.join_neighbours(parts), plan)
        if _seconds_of(plan, tile) <= sum(_seconds_of(plan, run) for run in runs):
            yield tile
        else:
            yield from runs


def _runs(parts: list[Tile], plan: Plan) -> list[Tile]:
    """Join runs of blocks, as `tiles.join_neighbours` gives them, over gaps that take less."""
    joined = parts[:1]
    for run in parts[1:]:
        last = joined[-1]
        both = Tile(run.top, last.left, run.rows, run.left + run.cols - last.left)
        apart = _seconds_of(plan, last) + _seconds_of(plan, run)
        if (last.top, last.rows) == (run.top, run.rows) and _seconds_of(plan, both) <= apart:
            joined[-1] = both
        else:
            joined.append(run)
    return joined
