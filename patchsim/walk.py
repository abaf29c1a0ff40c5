"""Runs a plan on this machine, tile by tile; owns the threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from patchsim import engines, tiles
from patchsim.engines import Bounds
from patchsim.metrics import Pixels
from patchsim.plan import Plan
from patchsim.tiles import Tile

_Item = TypeVar("_Item")
_Done = TypeVar("_Done")


def run(
    plan: Plan, image: Pixels, kernel: Pixels, todo: Iterable[Tile] | None = None
) -> Generator[tuple[Tile, Bounds], None, None]:
    """Score every tile of the map, in order.

    Parameters
    ----------
    plan : Plan
    image, kernel : array [H, W, C], [h, w, C]
    todo : iterable of Tile, optional
        These instead, none larger than the plan's.

    Yields
    ------
    (Tile, Bounds)
    """
    problem = plan.problem
    score = engines.load(plan.engine).prepare(kernel, problem)

    def work(tile: Tile) -> Bounds:
        return score(image[tile.source(problem.kernel[:2], problem.stride)])

    if todo is None:
        todo = tiles.split(problem.map_shape, plan.tile)
    yield from in_order(lambda tile: (tile, work(tile)), todo, plan.parallel)


def in_order(
    work: Callable[[_Item], _Done], todo: Iterable[_Item], parallel: int
) -> Generator[_Done, None, None]:
    """What `work` makes of each item, so many at a time."""
    if parallel == 1:
        yield from map(work, todo)
        return
    with ThreadPoolExecutor(parallel, thread_name_prefix="patchsim") as pool:
        flying: deque[Future[_Done]] = deque()
        try:
            for item in todo:
                flying.append(pool.submit(work, item))
                # As many in flight as memory was planned for.
                if len(flying) == parallel:
                    yield flying.popleft().result()
            while flying:
                yield flying.popleft().result()
        finally:
            # Interrupted, or not read to the end: what has not started must not start.
            for future in flying:
                future.cancel()
