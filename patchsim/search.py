"""From a plan to the windows of one kernel, scored as far as the matches need it."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from functools import cache, partial

from patchsim import candidates, engines, metrics, peaks, repeats, tiles, walk
from patchsim.engines import Bounds, Score
from patchsim.metrics import Kernel, Pixels, Visible
from patchsim.plan import Plan
from patchsim.tiles import Tile

_WORTH_A_TILE = 1.01  # how much slower than its blocks a tile may be: it is one call for many


def windows(
    plan: Plan,
    image: Pixels,
    kernel: Kernel,
    visible: Visible | None = None,
    *,
    keeps_map: bool,
    advance: Callable[[Tile], None],
) -> peaks.Windows:
    """What `peaks.resolve` asks of a kernel.

    Parameters
    ----------
    plan : Plan
    image : array [H, W, C]
    kernel : Kernel
    visible : Visible, optional
        Of the image, where not all of it is as visible.
    keeps_map : bool
        Keep the scores of all windows.
    advance : Tile -> None
        Called for each tile that is done.
    """
    if engines.searches(plan.engine):
        return _candidates(plan, image, kernel, advance)
    return _field(plan, image, kernel, visible, keeps_map, advance)


def _field(
    plan: Plan,
    image: Pixels,
    kernel: Kernel,
    visible: Visible | None,
    keeps_map: bool,
    advance: Callable[[Tile], None],
) -> peaks.Field:
    """The scores of all windows, exact where the best one could be."""
    problem = plan.problem
    size, stride = problem.kernel[:2], problem.stride
    exact = metrics.exact(
        image, kernel.pixels, problem.metric, problem.span, kernel.weights, visible
    )
    blocks = (
        partial(
            _exactly, plan.direct, image, visible, cache(partial(walk.prepare, plan.direct, kernel))
        )
        if plan.direct
        else partial(_each, repeats.scores(image, size, stride, exact, visible))
    )
    field = peaks.Field(problem.map_shape, size, stride, exact, blocks=blocks, keeps_map=keeps_map)
    # Closed at once where an observer raises, so that no thread is left working.
    with closing(walk.run(plan, image, walk.prepare(plan, kernel), None, visible)) as scored:
        for tile, bounds in scored:
            field.put(tile, bounds)
            advance(tile)
    field.settle_contenders()
    return field


def _each(
    block: Callable[[Tile], Bounds], wanted: Iterable[Tile]
) -> Generator[tuple[Tile, Bounds], None, None]:
    for tile in wanted:
        yield tile, block(tile)


def _exactly(
    direct: Plan,
    image: Pixels,
    visible: Visible | None,
    prepared: Callable[[], Score],
    blocks: Iterable[Tile],
) -> Generator[tuple[Tile, Bounds], None, None]:
    """The exact scores of some blocks, and of others where that is quicker."""
    todo = list(blocks)
    if todo:
        yield from walk.run(direct, image, prepared(), _merged(todo, direct), visible)


def _merged(blocks: list[Tile], direct: Plan) -> Iterator[Tile]:
    """Instead of blocks side by side one for all, and instead of many in a tile the tile."""
    seconds = cache(direct.seconds_of)
    inside = defaultdict(list)
    for block in blocks:  # each lies in one tile, which has whole ones
        inside[block.top // direct.tile[0], block.left // direct.tile[1]].append(block)
    rows, cols = direct.problem.map_shape
    for (down, across), parts in sorted(inside.items()):
        top, left = down * direct.tile[0], across * direct.tile[1]
        tile = Tile(top, left, min(direct.tile[0], rows - top), min(direct.tile[1], cols - left))
        runs = tiles.side_by_side(parts)
        singly = sum(seconds(run.rows, run.cols) for run in runs)
        if seconds(tile.rows, tile.cols) <= singly * _WORTH_A_TILE:
            yield tile
        else:
            yield from runs


def _candidates(
    plan: Plan, image: Pixels, kernel: Kernel, advance: Callable[[Tile], None]
) -> candidates.Candidates:
    """Bounds of all windows; those that could be the best are scored when they are asked for."""
    problem = plan.problem
    search = engines.search(plan.engine, image, kernel, problem)
    direct, whole, patience = None, None, math.inf
    if plan.direct:
        prepared = cache(partial(walk.prepare, plan.direct, kernel))
        direct = partial(_exactly, plan.direct, image, None, prepared)
        whole = partial(_field, plan.direct, image, kernel, None, False, lambda _tile: None)
        patience = plan.direct.chosen.seconds
    found = candidates.Candidates(search, direct, plan.parallel, whole=whole, patience=patience)
    todo = tiles.split(problem.map_shape, plan.tile)
    with closing(walk.in_order(found.bound, todo, plan.parallel)) as bounded:
        for tile in bounded:
            advance(tile)
    found.ready()
    return found
