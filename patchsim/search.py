"""From a plan to the windows of one kernel, scored as far as the matches need it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from functools import cache, partial

from patchsim import candidates, engines, metrics, peaks, tiles, uniform, walk
from patchsim.engines import Bounds, Score
from patchsim.metrics import Kernel, Pixels
from patchsim.plan import Plan
from patchsim.tiles import Tile

_WORTH_A_TILE = 1.01  # how much slower than its blocks a tile may be: it is one call for many


def windows(
    plan: Plan, image: Pixels, kernel: Kernel, *, keeps_map: bool, advance: Callable[[Tile], None]
) -> peaks.Windows:
    """What `peaks.resolve` asks of a kernel.

    Parameters
    ----------
    plan : Plan
    image : array [H, W, C]
    kernel : Kernel
    keeps_map : bool
        Keep the scores of all windows.
    advance : Tile -> None
        Called for each tile that is done.
    """
    if engines.searches(plan.engine):
        return _candidates(plan, image, kernel, advance)
    return _field(plan, image, kernel, keeps_map, advance)


def _field(
    plan: Plan, image: Pixels, kernel: Kernel, keeps_map: bool, advance: Callable[[Tile], None]
) -> peaks.Field:
    """The scores of all windows, exact where the best one could be."""
    problem = plan.problem
    size, stride = problem.kernel[:2], problem.stride
    exact = metrics.exact(image, kernel.pixels, problem.metric, problem.span, kernel.weights)
    block = (
        partial(_block, plan.direct, image, cache(partial(_prepared, plan.direct, kernel)))
        if plan.direct
        else uniform.scores(image, size, stride, exact)
    )
    field = peaks.Field(problem.map_shape, size, stride, exact, block=block, keeps_map=keeps_map)
    # Closed at once where an observer raises, so that no thread is left working.
    with closing(walk.run(plan, image, kernel)) as scored:
        for tile, bounds in scored:
            field.put(tile, bounds)
            advance(tile)
    contenders = field.contenders()
    if plan.direct:
        with closing(_exactly(plan.direct, image, kernel, contenders)) as scored:
            for tile, bounds in scored:
                field.settle_block(tile, bounds)
    else:
        for tile in contenders:
            field.settle_block(tile, block(tile))
    return field


def _prepared(direct: Plan, kernel: Kernel) -> Score:
    engine = engines.load(direct.engine)
    return engine.prepare(kernel.pixels, direct.problem, kernel.weights)


def _block(direct: Plan, image: Pixels, prepared: Callable[[], Score], tile: Tile) -> Bounds:
    return prepared()(image[tile.source(direct.problem.kernel[:2], direct.problem.stride)])


def _exactly(
    direct: Plan, image: Pixels, kernel: Kernel, blocks: Iterable[Tile]
) -> Generator[tuple[Tile, Bounds], None, None]:
    """The exact scores of some blocks, and of others where that is quicker."""
    todo = list(blocks)
    if todo:
        yield from walk.run(direct, image, kernel, _merged(todo, direct))


def _merged(blocks: list[Tile], direct: Plan) -> Iterator[Tile]:
    """Instead of blocks side by side one for all, and instead of many in a tile the tile."""
    seconds = cache(direct.seconds_of)
    inside = defaultdict(list)
    for block in blocks:  # each lies in one tile, which has whole ones
        inside[block.top // direct.tile[0], block.left // direct.tile[1]].append(block)
    for tile in tiles.split(direct.problem.map_shape, direct.tile):
        runs = tiles.side_by_side(inside[tile.top // direct.tile[0], tile.left // direct.tile[1]])
        singly = sum(seconds(run.rows, run.cols) for run in runs)
        if runs and seconds(tile.rows, tile.cols) <= singly * _WORTH_A_TILE:
            yield tile
        else:
            yield from runs


def _candidates(
    plan: Plan, image: Pixels, kernel: Kernel, advance: Callable[[Tile], None]
) -> candidates.Candidates:
    """Bounds of all windows; those that could be the best are scored when they are asked for."""
    problem = plan.problem
    search = engines.search(plan.engine, image, kernel, problem)
    direct = partial(_exactly, plan.direct, image, kernel) if plan.direct else None
    found = candidates.Candidates(search, direct, plan.parallel)
    todo = tiles.split(problem.map_shape, plan.tile)
    with closing(walk.in_order(found.bound, todo, plan.parallel)) as bounded:
        for tile in bounded:
            advance(tile)
    found.ready()
    return found
