"""Run a plan on this machine, tile by tile; this module owns the threads."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing

from patchsim import engines
from patchsim.engines import Bounds, Problem, SharedTileScorer, TileScorer
from patchsim.engines.common import visibility
from patchsim.engines.tile_cache import Shared
from patchsim.geometry import tiles
from patchsim.geometry.tiles import Tile
from patchsim.machine.threads import in_order
from patchsim.metrics import Kernel, Visibility
from patchsim.planning import candidates
from patchsim.planning.planner import Plan
from patchsim.types import Pixels


def prepare(plan: Plan, kernel: Kernel) -> TileScorer:
    """Prepare a kernel with the plan's engine, on every device of the plan."""
    problem = plan.problem
    if problem.device == "cpu":
        return _prepare(plan.engine, kernel, problem)
    from patchsim.execution import oom, streams

    def prepare_on(device: str) -> TileScorer:
        on_device = problem._replace(device=device)
        with oom.refuse_when_full(device):
            return oom.split_when_full(_prepare(plan.engine, kernel, on_device), on_device)

    scorers = streams.prepare_on_each(problem.devices, prepare_on)
    return streams.DeviceQueues(problem.devices).dispatch(scorers)


def _prepare(name: str, kernel: Kernel, problem: Problem) -> TileScorer:
    engine = engines.load(name)
    assert engines.has_map(engine), "the plan says so"
    return visibility.prepare(engine, kernel.pixels, problem, kernel.weights)


def prepare_together(plans: Sequence[Plan], kernels: Sequence[Kernel]) -> list[SharedTileScorer]:
    """Prepare several kernels with an engine that shares tiles, or one kernel with any engine."""
    problems = [plan.problem for plan in plans]
    if len(plans) == 1:
        scorer = prepare(plans[0], kernels[0])
        return [lambda shared, _windows: scorer(shared.pixels, shared.levels)]
    if problems[0].device == "cpu":
        return _prepare_together(plans[0].engine, kernels, problems)
    from patchsim.execution import oom, streams

    names = problems[0].devices

    def prepare_on(device: str) -> list[SharedTileScorer]:
        on_device = [problem._replace(device=device) for problem in problems]
        with oom.refuse_when_full(device):
            scorers = _prepare_together(plans[0].engine, kernels, on_device)
        return oom.split_shared_when_full(scorers, on_device)

    # One thread compares all kernels with a tile, and so one device does.
    queues, scorers = streams.DeviceQueues(names), streams.prepare_on_each(names, prepare_on)
    return [queues.dispatch({name: scorers[name][i] for name in names}) for i in range(len(plans))]


def _prepare_together(
    name: str, kernels: Sequence[Kernel], problems: Sequence[Problem]
) -> list[SharedTileScorer]:
    engine = engines.load(name)
    assert engines.can_share(engine), "the plan says so"
    return visibility.prepare_together(engine, kernels, problems)


def run(
    plan: Plan,
    image: Pixels,
    scorer: TileScorer,
    todo: Iterable[Tile] | None = None,
    visible: Visibility | None = None,
) -> Generator[tuple[Tile, Bounds], None, None]:
    """Score every tile of the map, in order.

    Parameters
    ----------
    plan : Plan
    image : array [H, W, C]
    scorer : TileScorer
        The result of `prepare` for the plan.
    todo : iterable of Tile, optional
        Tiles to score instead of all, none larger than the plan's.
    visible : Visibility, optional
        The visibility of the image's pixels.

    Yields
    ------
    (Tile, Bounds)
    """
    problem = plan.problem

    def work(tile: Tile) -> Bounds:
        source = tile.source(problem.kernel[:2], problem.stride)
        if visible is None:
            return scorer(image[source])
        return scorer(image[source], visible.levels[source])

    if todo is None:
        todo = tiles.split(problem.map_shape, plan.tile)
    yield from in_order(lambda tile: (tile, work(tile)), todo, plan.parallel)


def run_together(
    plans: Sequence[Plan],
    image: Pixels,
    scorers: Sequence[SharedTileScorer],
    take: Callable[[int, Tile, Bounds], None],
    visible: Visibility | None = None,
    todo: Iterable[Tile] | None = None,
) -> Generator[Tile, None, None]:
    """Score every tile of several kernels' maps, each tile for all kernels before the next.

    Parameters
    ----------
    plans : sequence of Plan
        They have the same tile.
    image : array [H, W, C]
    scorers : sequence of SharedTileScorer
        One for each plan, from `prepare_together`.
    take : (number, Tile, Bounds) -> None
        Called with the plan's number for each tile or its pieces, in the thread that scored them.
    visible : Visibility, optional
        The visibility of the image's pixels.
    todo : iterable of Tile, optional
        Tiles to score instead of all, none larger than the plans'. They may go beyond single maps.

    Yields
    ------
    Tile
        A tile of one plan's map, once `take` was called for the tiles of all plans there.
    """
    size = _largest([plan.problem.kernel[:2] for plan in plans])
    stride = plans[0].problem.stride
    piece = candidates.piece_of(plans[0].chosen, plans[0].tile)
    extent = tiles.extent(piece, size, stride)

    def work(common: Tile) -> list[Tile]:
        source = common.source(size, stride)
        pixels = image[source]
        levels = None if visible is None else visible.levels[source]
        for inside in tiles.split((common.rows, common.cols), piece):
            under = inside.source(size, stride)
            shared = Shared(pixels[under], extent, None if levels is None else levels[under])
            place = Tile(
                common.top + inside.top, common.left + inside.left, inside.rows, inside.cols
            )
            for number, tile in clip_to_maps(place, plans):
                take(number, tile, scorers[number](shared, (tile.rows, tile.cols)))
        return [tile for _, tile in clip_to_maps(common, plans)]

    if todo is None:
        todo = common_tiles(plans)
    with closing(in_order(work, todo, plans[0].parallel)) as scored:
        for done in scored:
            yield from done


def common_tiles(plans: Sequence[Plan]) -> Iterator[Tile]:
    """Return the tiles of the smallest map that holds those of all plans."""
    return tiles.split(_largest([plan.problem.map_shape for plan in plans]), plans[0].tile)


def clip_to_maps(tile: Tile, plans: Sequence[Plan]) -> list[tuple[int, Tile]]:
    """Return the part of a tile inside each plan's map, with the plan's number."""
    clipped = []
    for number, plan in enumerate(plans):
        rows, cols = plan.problem.map_shape
        windows = min(tile.rows, rows - tile.top), min(tile.cols, cols - tile.left)
        if min(windows) > 0:
            clipped.append((number, Tile(tile.top, tile.left, *windows)))
    return clipped


def _largest(pairs: Sequence[tuple[int, int]]) -> tuple[int, int]:
    return max(first for first, _ in pairs), max(second for _, second in pairs)
