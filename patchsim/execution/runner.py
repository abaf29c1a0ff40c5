"""Runs a plan on this machine, tile by tile; owns the threads."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace

from patchsim import engines
from patchsim.engines import Bounds, Problem, SharedTileScore, TileScore
from patchsim.engines.common import visibility
from patchsim.engines.tile_cache import Shared
from patchsim.geometry import tiles
from patchsim.geometry.tiles import Tile
from patchsim.machine.threads import in_order
from patchsim.metrics import Kernel, Visibility
from patchsim.planning.planner import Plan
from patchsim.types import Pixels


def prepare(plan: Plan, kernel: Kernel) -> TileScore:
    """What the plan's engine does once for the kernel."""
    problem = plan.problem
    if problem.device == "cpu":
        return _prepare(plan.engine, kernel, problem)
    from patchsim.execution import oom, streams

    def on(device: str) -> TileScore:
        own = replace(problem, device=device)
        with oom.preparing(device):
            return oom.within_memory(_prepare(plan.engine, kernel, own), own)

    return streams.Lanes(problem.devices).dealt(streams.on_each(problem.devices, on))


def _prepare(name: str, kernel: Kernel, problem: Problem) -> TileScore:
    engine = engines.load(name)
    assert engines.has_map(engine), "the plan says so"
    return visibility.prepare(engine, kernel.pixels, problem, kernel.weights)


def prepare_together(plans: Sequence[Plan], kernels: Sequence[Kernel]) -> list[SharedTileScore]:
    """The same for several kernels, with an engine that shares, or for one with any."""
    problems = [chosen.problem for chosen in plans]
    if len(plans) == 1:
        score = prepare(plans[0], kernels[0])
        return [lambda shared, _windows: score(shared.pixels, shared.levels)]
    if problems[0].device == "cpu":
        return _prepare_together(plans[0].engine, kernels, problems)
    from patchsim.execution import oom, streams

    names = problems[0].devices

    def on(device: str) -> list[SharedTileScore]:
        own = [replace(problem, device=device) for problem in problems]
        with oom.preparing(device):
            scores = _prepare_together(plans[0].engine, kernels, own)
        return oom.within_memory_together(scores, own)

    # Of one tile all kernels are compared by one thread, and so on one device.
    shared, each = streams.Lanes(names), streams.on_each(names, on)
    return [
        shared.dealt({name: each[name][number] for name in names}) for number in range(len(plans))
    ]


def _prepare_together(
    name: str, kernels: Sequence[Kernel], problems: Sequence[Problem]
) -> list[SharedTileScore]:
    engine = engines.load(name)
    assert engines.can_share(engine), "the plan says so"
    return visibility.prepare_together(engine, kernels, problems)


def run(
    plan: Plan,
    image: Pixels,
    score: TileScore,
    todo: Iterable[Tile] | None = None,
    visible: Visibility | None = None,
) -> Generator[tuple[Tile, Bounds], None, None]:
    """Score every tile of the map, in order.

    Parameters
    ----------
    plan : Plan
    image : array [H, W, C]
    score : TileScore
        As `prepare` made it for the plan.
    todo : iterable of Tile, optional
        These instead, none larger than the plan's.
    visible : Visibility, optional
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


def run_together(
    plans: Sequence[Plan],
    image: Pixels,
    scores: Sequence[SharedTileScore],
    take: Callable[[int, Tile, Bounds], None],
    visible: Visibility | None = None,
) -> Generator[Tile, None, None]:
    """Score every tile of several kernels' maps: a tile of all before the next.

    Parameters
    ----------
    plans : sequence of Plan
        With the same tile.
    image : array [H, W, C]
    scores : sequence of SharedTileScore
        One a plan, of kernels that were prepared together.
    take : (number, Tile, Bounds) -> None
        Called for each tile of each plan, in the thread that scored it.
    visible : Visibility, optional
        Of the image.

    Yields
    ------
    Tile
        Of one plan's map, once all plans' tiles there are taken.
    """
    size, stride = (
        _largest([chosen.problem.kernel[:2] for chosen in plans]),
        plans[0].problem.stride,
    )
    extent = tiles.extent(plans[0].tile, size, stride)

    def work(place: Tile) -> list[Tile]:
        source = place.source(size, stride)
        shared = Shared(image[source], extent, None if visible is None else visible.levels[source])
        parts = parts_at(place, plans)
        for number, part in parts:
            take(number, part, scores[number](shared, (part.rows, part.cols)))
        return [part for _, part in parts]

    with closing(in_order(work, places(plans), plans[0].parallel)) as found:
        for done in found:
            yield from done


def places(plans: Sequence[Plan]) -> Iterator[Tile]:
    """The tiles of several kernels' maps, as large as the largest of them."""
    return tiles.split(_largest([chosen.problem.map_shape for chosen in plans]), plans[0].tile)


def parts_at(place: Tile, plans: Sequence[Plan]) -> list[tuple[int, Tile]]:
    """What of a tile lies in each plan's map, and the plan's number; larger kernels have less."""
    found = []
    for number, chosen in enumerate(plans):
        rows, cols = chosen.problem.map_shape
        windows = min(place.rows, rows - place.top), min(place.cols, cols - place.left)
        if min(windows) > 0:
            found.append((number, Tile(place.top, place.left, *windows)))
    return found


def _largest(pairs: Sequence[tuple[int, int]]) -> tuple[int, int]:
    return max(first for first, _ in pairs), max(second for _, second in pairs)
