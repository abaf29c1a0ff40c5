"""Runs a plan on this machine, tile by tile; owns the threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from patchsim import engines, tiles
from patchsim.engines import Bounds, Score
from patchsim.metrics import Kernel, Pixels, Visible
from patchsim.plan import Plan
from patchsim.tiles import Tile

_Item = TypeVar("_Item")
_Done = TypeVar("_Done")


def prepare(plan: Plan, kernel: Kernel) -> Score:
    """What the plan's engine does once for the kernel."""
    engine, problem = engines.load(plan.engine), plan.problem
    if problem.most_visible is None:
        score = engine.prepare(kernel.pixels, problem, kernel.weights)
    else:
        from patchsim.engines import visibility

        score = visibility.prepare(engine, kernel.pixels, problem, kernel.weights)
    if problem.device == "cpu":
        return score
    from patchsim.engines import halves

    return halves.within_memory(score, problem)


def run(
    plan: Plan,
    image: Pixels,
    score: Score,
    todo: Iterable[Tile] | None = None,
    visible: Visible | None = None,
) -> Generator[tuple[Tile, Bounds], None, None]:
    """Score every tile of the map, in order.

    Parameters
    ----------
    plan : Plan
    image : array [H, W, C]
    score : Score
        As `prepare` made it for the plan.
    todo : iterable of Tile, optional
        These instead, none larger than the plan's.
    visible : Visible, optional
        Of the image.

    Yields
    ------
    (Tile, Bounds)
    """
    problem = plan.problem

    def work(tile: Tile) -> Bounds:
        source = tile.source(problem.kernel[:2], problem.stride)
        if visible is None:
            return score(image[source])
        return score(image[source], visible.levels[source])

    if todo is None:
        todo = tiles.split(problem.map_shape, plan.tile)
    yield from in_order(lambda tile: (tile, work(tile)), todo, plan.parallel)


def in_order(
    work: Callable[[_Item], _Done], todo: Iterable[_Item], parallel: int
) -> Generator[_Done, None, None]:
    """What `work` makes of each item, so many at a time.

    The caller's thread takes part: if it only waited, Linux would often wake the others on the
    processor that it leaves, and two tiles of some milliseconds would run one after the other. At
    most twice as many items are begun and not yet asked for.
    """
    if parallel == 1:
        yield from map(work, todo)
        return
    with ThreadPoolExecutor(parallel - 1, thread_name_prefix="patchsim") as pool:
        flying: deque[_Flight[_Item, _Done]] = deque()
        try:
            for item in todo:
                flying.append(_Flight(item, pool.submit(work, item)))
                full = len(flying) == 2 * parallel
                while full and not flying[0].future.done() and _take_part(work, flying):
                    pass
                while flying and (flying[0].future.done() or len(flying) == 2 * parallel):
                    yield flying.popleft().future.result()
            while flying:
                while not flying[0].future.done() and _take_part(work, flying):
                    pass
                yield flying.popleft().future.result()
        finally:
            # Interrupted, or not read to the end: what has not started must not start.
            for flight in flying:
                flight.future.cancel()


@dataclass
class _Flight(Generic[_Item, _Done]):
    item: _Item
    future: Future[_Done]


def _take_part(work: Callable[[_Item], _Done], flying: Iterable[_Flight[_Item, _Done]]) -> bool:
    """Do here what no thread has begun; False if there is nothing."""
    for flight in flying:
        if flight.future.cancel():
            flight.future = Future()
            flight.future.set_result(work(flight.item))
            return True
    return False
