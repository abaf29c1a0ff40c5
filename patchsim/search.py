"""From a plan to the windows of one kernel, scored as far as the matches need it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from functools import cache, partial

from patchsim import candidates, engines, metrics, peaks, tiles, uniform, walk
from patchsim.engines import Bounds, Score
from patchsim.metrics import Pixels
from patchsim.plan import Plan
from patchsim.tiles import Tile

# A tile of which so many blocks could hold the best window is scored as a whole.
_WHOLE = 1 / 8


def windows(
    plan: Plan, image: Pixels, kernel: Pixels, *, keeps_map: bool, advance: Callable[[Tile], None]
) -> peaks.Windows:
    """What `peaks.resolve` asks of a kernel.

    Parameters
    ----------
    plan : Plan
    image, kernel : array [H, W, C], [h, w, C]
    keeps_map : bool
        Keep the scores of all windows.
    advance : Tile -> None
        Called for each tile that is done.
    """
    if engines.searches(plan.engine):
        return _candidates(plan, image, kernel, advance)
    return _field(plan, image, kernel, keeps_map, advance)


def _field(
    plan: Plan, image: Pixels, kernel: Pixels, keeps_map: bool, advance: Callable[[Tile], None]
) -> peaks.Field:
    """The scores of all windows, exact where the best one could be."""
    problem = plan.problem
    size, stride = problem.kernel[:2], problem.stride
    exact = metrics.exact(image, kernel, problem.metric, problem.span)
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


def _prepared(direct: Plan, kernel: Pixels) -> Score:
    return engines.load(direct.engine).prepare(kernel, direct.problem)


def _block(direct: Plan, image: Pixels, prepared: Callable[[], Score], tile: Tile) -> Bounds:
    return prepared()(image[tile.source(direct.problem.kernel[:2], direct.problem.stride)])


def _exactly(
    direct: Plan, image: Pixels, kernel: Pixels, blocks: Iterable[Tile]
) -> Generator[tuple[Tile, Bounds], None, None]:
    """The exact scores of some blocks, and of others where that is quicker."""
    todo = list(blocks)
    if todo:
        merged = _merged(todo, direct.problem.map_shape, direct.tile)
        yield from walk.run(direct, image, kernel, merged)


def _merged(blocks: list[Tile], shape: tuple[int, int], largest: tuple[int, int]) -> Iterator[Tile]:
    """Instead of many blocks of a tile, the tile."""
    for tile in tiles.split(shape, largest):
        inside = [
            block
            for block in blocks
            if tile.top <= block.top < tile.top + tile.rows
            and tile.left <= block.left < tile.left + tile.cols
        ]
        if sum(block.cells for block in inside) > _WHOLE * tile.cells:
            yield tile
        else:
            yield from inside


def _candidates(
    plan: Plan, image: Pixels, kernel: Pixels, advance: Callable[[Tile], None]
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
