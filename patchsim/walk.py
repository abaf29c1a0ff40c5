"""Runs a plan on this machine, tile by tile; owns the threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor

from patchsim import engines, tiles
from patchsim.engines import Bounds
from patchsim.metrics import Pixels
from patchsim.plan import Plan
from patchsim.tiles import Tile


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
    if plan.parallel == 1:
        for tile in todo:
            yield tile, work(tile)
        return
    with ThreadPoolExecutor(plan.parallel, thread_name_prefix="patchsim") as pool:
        flying: deque[tuple[Tile, Future[Bounds]]] = deque()
        try:
            for tile in todo:
                flying.append((tile, pool.submit(work, tile)))
                # As many in flight as memory was planned for.
                if len(flying) == plan.parallel:
                    oldest, future = flying.popleft()
                    yield oldest, future.result()
            while flying:
                oldest, future = flying.popleft()
                yield oldest, future.result()
        finally:
            # Interrupted, or not read to the end: what has not started must not start.
            for _, future in flying:
                future.cancel()
