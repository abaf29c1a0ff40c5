"""Scores blocks of windows by a plan, as many as suit it in one call."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator
from functools import cache

import numpy as np

from patchsim.engines import Bounds, TileScore
from patchsim.execution import runner
from patchsim.geometry import tiles
from patchsim.geometry.tiles import Tile
from patchsim.metrics import Visibility
from patchsim.planning.planner import Plan
from patchsim.types import Pixels

_WORTH_A_TILE = 1.01  # how much slower than its blocks a tile may be: it is one call for many


def rescore(
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


def one_by_one(
    block: Callable[[Tile], Bounds], wanted: Iterable[Tile]
) -> Generator[tuple[Tile, Bounds], None, None]:
    for tile in wanted:
        yield tile, block(tile)


def score_blocks(
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


def score_block(
    exact_plan: Plan,
    image: Pixels,
    visible: Visibility | None,
    prepared: Callable[[], TileScore],
    block: Tile,
) -> Bounds:
    """Score one block alone."""
    ((_, bounds),) = runner.run(exact_plan, image, prepared(), [block], visible)
    return bounds


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
