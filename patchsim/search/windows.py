"""Runs plans, and returns the windows of each kernel with scores or bounds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

from patchsim import engines
from patchsim.engines import Bounds, LowerBounds
from patchsim.execution import runner
from patchsim.geometry.blocks import BLOCK
from patchsim.geometry.tiles import Tile
from patchsim.machine.threads import in_order
from patchsim.metrics import Exact, Kernel, Visibility
from patchsim.planning.planner import Plan
from patchsim.ranking.block_cache import BlockCache
from patchsim.ranking.contract import ScoreTaker, Windows
from patchsim.ranking.score_map import ScoreMap
from patchsim.search import block_scores
from patchsim.search.prepared import PreparedKernel, PreparedKernels
from patchsim.search.stores import OPEN_BYTES, StoreMaker
from patchsim.types import Pixels

if TYPE_CHECKING:
    from patchsim.ranking.block_grid import Known
    from patchsim.ranking.block_maxima import BlockMaxima
    from patchsim.ranking.pruned_windows import PrunedWindows

NONE: Mapping[int, int] = MappingProxyType({})
_RUN = 4  # blocks that lie side by side where bounds leave some open


def windows(
    plans: Sequence[Plan],
    image: Pixels,
    kernels: Sequence[Kernel],
    visible: Visibility | None = None,
    *,
    keeps_map: bool,
    advance: Callable[[Tile], None],
    block_cache: BlockCache | None = None,
    prepared: PreparedKernels | None = None,
    takers: Sequence[Sequence[ScoreTaker]] = (),
    opposites: Mapping[int, int] = NONE,
    known: Sequence[Known] = (),
) -> list[Windows]:
    """Score the windows of kernels that are searched together, for `nms.BestFirst`.

    Parameters
    ----------
    plans : sequence of Plan
        One for each kernel, from one `batching.Group`.
    image : array [H, W, C]
    kernels : sequence of Kernel
    visible : Visibility, optional
        The visibility of the image's pixels, where not all are visible.
    keeps_map : bool
        Keep the scores of all windows.
    advance : Tile -> None
        Called for each tile that is done.
    block_cache : BlockCache, optional
        Given where the scores of all windows take too much memory: the cache of open blocks.
    prepared : PreparedKernels, optional
        The kernels that the whole search keeps prepared, if this is only a part of it.
    takers : sequence of sequences of ScoreTaker
        Those of each kernel, if its map is wanted but not kept; they get the scores.
    opposites : mapping from int to int
        For kernels, by their places, the place of another one of the kernels that has the same
        scores with the other sign in all windows.
    known : sequence of Known
        What is known of the windows of each kernel, if anything is, with a `block_cache`: tiles
        that all kernels have are not scored.
    """
    prepared = prepared or PreparedKernels()
    pairs = list(zip(plans, kernels, strict=True))
    engine = engines.load(plans[0].engine)
    if not engine.HAS_MAP:
        return [*_pruned_windows(plans, image, kernels, advance, prepared, block_cache)]

    def maker(plan: Plan, kernel: Kernel) -> StoreMaker:
        exact = prepared.exact_score(plan, kernel).on(image, visible)
        return StoreMaker(plan, image, exact, visible, keeps_map)

    kept: Sequence[ScoreMap | BlockMaxima]
    if block_cache is not None:
        kept = maxima = [
            maker(plan, kernel).of_block_maxima(kernel, block_cache) for plan, kernel in pairs
        ]
        for store, earlier in zip(maxima, known, strict=bool(known)):
            store.put_bounds(0, earlier.upper_bounds, earlier.error)
    else:
        opened = BlockCache(OPEN_BYTES)
        kept = [
            maker(plan, kernel).of_all_windows(opened, prepared.exactly(plan, kernel))
            for plan, kernel in pairs
        ]
    todo = _left_to_score(plans, known, advance) if known else None
    score_all(
        plans,
        image,
        kernels,
        kept,
        visible=visible,
        advance=advance,
        prepared=prepared,
        takers=takers,
        opposites=opposites,
        todo=todo,
    )
    for one in kept:
        if isinstance(one, ScoreMap):
            one.evaluate_contenders()
    return [*kept]


def _left_to_score(
    plans: Sequence[Plan], known: Sequence[Known], advance: Callable[[Tile], None]
) -> Iterator[Tile]:
    """Yield the common tiles of plans that are not known of all kernels; the others are done."""
    for tile in runner.common_tiles(plans):
        parts = runner.clip_to_maps(tile, plans)
        if all(known[number].has(piece) for number, piece in parts):
            for _, piece in parts:
                advance(piece)
        else:
            yield tile


def unscored(
    plan: Plan,
    image: Pixels,
    kernel: Kernel,
    visible: Visibility | None,
    block_cache: BlockCache,
    prepared: PreparedKernels,
) -> BlockMaxima:
    """Return the windows of a kernel whose bounds are still to be put."""
    exact = prepared.exact_score(plan, kernel).on(image, visible)
    return StoreMaker(plan, image, exact, visible, False).of_block_maxima(kernel, block_cache)


def score_all(
    plans: Sequence[Plan],
    image: Pixels,
    kernels: Sequence[Kernel],
    kept: Sequence[ScoreTaker],
    *,
    visible: Visibility | None,
    advance: Callable[[Tile], None],
    prepared: PreparedKernels,
    takers: Sequence[Sequence[ScoreTaker]] = (),
    opposites: Mapping[int, int] = NONE,
    todo: Iterable[Tile] | None = None,
) -> None:
    """Score the windows of kernels that are searched together, and hand the scores over.

    Parameters
    ----------
    plans, image, kernels, visible, advance, prepared, takers, opposites
        As of `windows`.
    kept : sequence of ScoreTaker
        One for each kernel, which gets its scores.
    todo : iterable of Tile, optional
        The tiles to score instead of all, as of `runner.run_together`.
    """
    scored = [number for number in range(len(plans)) if number not in opposites]
    by_other = {other: number for number, other in opposites.items()}
    beside: list[Tile] = []  # tiles of kernels that are not scored themselves

    def put(number: int, tile: Tile, bounds: Bounds) -> None:
        for taker in takers[number] if takers else ():
            taker.put(tile, bounds)
        kept[number].put(tile, bounds)

    def take(place: int, tile: Tile, bounds: Bounds) -> None:
        number = scored[place]
        if number in by_other:
            put(by_other[number], tile, bounds.opposite())
            beside.append(tile)
        put(number, tile, bounds)

    plans_scored = [plans[number] for number in scored]
    scorers = prepared.together(plans_scored, [kernels[number] for number in scored])
    # Closed at once where an observer raises, so that no thread is left working.
    with closing(runner.run_together(plans_scored, image, scorers, take, visible, todo)) as done:
        for tile in done:
            advance(tile)
            while beside:
                advance(beside.pop())


def _pruned_windows(
    plans: Sequence[Plan],
    image: Pixels,
    kernels: Sequence[Kernel],
    advance: Callable[[Tile], None],
    prepared: PreparedKernels,
    block_cache: BlockCache | None,
) -> list[PrunedWindows]:
    """Bound all windows; a window that could be the best is scored when it is asked for."""
    from patchsim.ranking import equal_windows
    from patchsim.ranking.pruned_windows import PrunedWindows  # as its engine is

    pruned: list[PrunedWindows] = []
    beside = None
    engine = engines.load(plans[0].engine)
    assert engines.is_search(engine)
    for plan, kernel in zip(plans, kernels, strict=True):
        beside = engine.search(image, kernel.pixels, plan.problem, kernel.weights, beside)
        evaluate_blocks, search_all, seconds, block_seconds = None, None, math.inf, math.inf
        seconds_of_blocks: Callable[[Iterable[Tile]], float] | None = None
        size, stride = plan.problem.kernel[:2], plan.problem.stride
        exact = prepared.exact_score(plan, kernel).on(image)
        score_exactly = equal_windows.scores(image, size, stride, exact)
        exactly = prepared.exactly(plan, kernel)
        if exactly:
            score_exactly = partial(block_scores.score_block, exactly.plan, image, None, exactly)
        if plan.direct_plan:
            by_block = plan.direct_plan.for_blocks
            is_exact = exactly and exactly.plan.chosen == by_block.chosen
            directly = (is_exact and exactly) or prepared.add(by_block, kernel)
            evaluate_blocks = partial(block_scores.score_blocks, by_block, image, None, directly)
            given = image, kernel, exact, exactly, prepared, block_cache
            search_all = partial(_search_all, plan.direct_plan, *given)
            seconds_of_blocks = partial(block_scores.seconds, by_block)
            seconds = plan.direct_plan.seconds_of(*plan.problem.map_shape)
            block_seconds = by_block.seconds_of(BLOCK, _RUN * BLOCK) / _RUN
        pruned.append(
            PrunedWindows(
                beside,
                evaluate_blocks,
                plan.parallel,
                seconds_of_blocks=seconds_of_blocks,
                exact=exact,
                score_exactly=score_exactly,
                search_all=search_all,
                seconds=seconds,
                block_seconds=block_seconds,
                tile=plan.tile,
                is_short=block_cache is not None,
            )
        )

    _bound_all(pruned, plans, advance)
    return pruned


def _bound_all(
    pruned: Sequence[PrunedWindows],
    plans: Sequence[Plan],
    advance: Callable[[Tile], None],
) -> None:
    """Make the bounds of all windows, tile by tile in parallel."""

    def bound(common: Tile) -> list[tuple[int, Tile, LowerBounds]]:
        numbered = runner.clip_to_maps(common, plans)
        return [(number, *pruned[number].bound(tile)) for number, tile in numbered]

    with closing(in_order(bound, runner.common_tiles(plans), plans[0].parallel)) as bounded:
        for numbered in bounded:
            for number, tile, least_bounds in numbered:
                pruned[number].put(tile, least_bounds)
                advance(tile)
    for one in pruned:
        one.ready()


def _search_all(
    plan: Plan,
    image: Pixels,
    kernel: Kernel,
    exact: Exact,
    exactly: PreparedKernel | None,
    prepared: PreparedKernels,
    block_cache: BlockCache | None,
) -> Windows:
    """Score all windows by a plan; `exactly` is the kernel, prepared for the exact plan.

    With a `block_cache` the maxima of blocks are kept, and open blocks there.
    """
    maker = StoreMaker(plan, image, exact, None, keeps_map=False)
    store: ScoreMap | BlockMaxima
    if block_cache is not None:
        store = maker.of_block_maxima(kernel, block_cache)
    else:
        store = maker.of_all_windows(BlockCache(OPEN_BYTES), exactly)
    score_all(
        [plan],
        image,
        [kernel],
        [store],
        visible=None,
        advance=lambda _tile: None,
        prepared=prepared,
    )
    if isinstance(store, ScoreMap):
        store.evaluate_contenders()
    return store
