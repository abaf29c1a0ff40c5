"""Scores of windows in an image that is not visible everywhere, for every engine.

Where all of a tile is visible it is scored as if all of the image were. What the others take is in
`hidden_pixels`, which few searches load.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from patchsim.engines.contract import (
    Bounds,
    MapEngine,
    Seen,
    SharedScorer,
    SharedTileScorer,
    SharingEngine,
    TileScorer,
)
from patchsim.engines.problem import Problem
from patchsim.engines.tile_cache import Shared
from patchsim.geometry import tiles
from patchsim.metrics import Kernel
from patchsim.types import Pixels, Weights


def prepare(
    engine: MapEngine, kernel: Pixels, problem: Problem, weights: Weights | None = None
) -> TileScorer:
    """Prepare an engine for a kernel; the result takes pixels and their visibility."""
    score_visible = engine.prepare(kernel, everywhere(problem), weights)
    if problem.opaque_level is None:
        return lambda pixels, _levels=None: score_visible(pixels)
    from patchsim.engines.common import hidden_pixels  # as below, where some are hidden

    score_partly = engine.prepare(kernel, problem, weights)
    counts_of = hidden_pixels.counts_of_levels(problem, weights)

    def score(pixels: Pixels, levels: NDArray[np.uint8] | None = None) -> Bounds:
        assert levels is not None
        return _scores(
            problem,
            levels,
            counts_of,
            states_hidden=engine.can_bound_blocks(problem),
            score_visible=lambda: score_visible(pixels),
            score_partly=lambda seen: score_partly(pixels, seen),
        )

    return score


def prepare_together(
    engine: SharingEngine, kernels: Sequence[Kernel], problems: Sequence[Problem]
) -> list[SharedTileScorer]:
    """Prepare an engine for kernels that are compared with the same pixels in turn."""
    visible_scorers = engine.prepare_together(
        kernels, [everywhere(problem) for problem in problems]
    )
    if problems[0].opaque_level is None:
        return list(visible_scorers)
    from patchsim.engines.common import hidden_pixels

    partial_scorers = engine.prepare_together(kernels, problems)

    def of_one(
        kernel: Kernel, problem: Problem, score_visible: SharedScorer, score_partly: SharedScorer
    ) -> SharedTileScorer:
        counts_of = hidden_pixels.counts_of_levels(problem, kernel.weights)

        def score(shared: Shared, windows: tuple[int, int]) -> Bounds:
            assert shared.levels is not None
            height, width = tiles.extent(windows, problem.kernel[:2], problem.stride)
            return _scores(
                problem,
                shared.levels[:height, :width],
                counts_of,
                states_hidden=engine.can_bound_blocks(problem),
                score_visible=lambda: score_visible(shared, windows),
                score_partly=lambda seen: score_partly(shared, windows, seen),
            )

        return score

    return [
        of_one(*one)
        for one in zip(kernels, problems, visible_scorers, partial_scorers, strict=True)
    ]


def everywhere(problem: Problem) -> Problem:
    """Return the problem for an image that is visible everywhere."""
    if problem.opaque_level is None:
        return problem
    return problem._replace(opaque_level=None, min_visible_weight=0)


def _scores(
    problem: Problem,
    levels: NDArray[np.uint8],
    counts_of: Callable[[NDArray[np.uint8]], NDArray[np.int64]],
    *,
    states_hidden: bool,
    score_visible: Callable[[], Bounds],
    score_partly: Callable[[Seen], Bounds],
) -> Bounds:
    """Score a tile by `score_visible` where all of it is visible, by `score_partly` elsewhere.

    An engine that bounds blocks has to know which windows are hidden, and states them.
    """
    if (levels == problem.opaque_level).all():
        return score_visible()
    seen = Seen(levels, counts_of)
    if states_hidden:
        return score_partly(seen)
    hidden = seen.counts.sum(0) < problem.min_visible_weight
    if hidden.all():
        return Bounds(np.zeros(hidden.shape), 0.0, hidden)
    bounds = score_partly(seen)
    error = bounds.error
    if not isinstance(error, float):
        error = np.where(hidden, 0.0, error)
    return Bounds(np.where(hidden, 0.0, bounds.map), error, hidden)


def rounds(problem: Problem) -> int:
    """Return how often `hidden_pixels.differences` needs the sums over all pixels of a tile."""
    return 1 if problem.opaque_level is None else problem.opaque_level.bit_length()


def seconds(problem: Problem) -> float:
    """Estimate the seconds that hidden pixels add to an engine's own, beside `rounds`."""
    if problem.opaque_level is None:
        return 0.0
    from patchsim.engines.common import hidden_pixels

    return hidden_pixels.seconds(problem)


def best_tile(problem: Problem) -> tuple[int, int] | None:
    """Return the best tile of an engine that needs transforms only where pixels are hidden."""
    if problem.opaque_level is None:
        return None
    from patchsim.engines.common import hidden_pixels

    return hidden_pixels.transform_tile(problem)


def working_bytes(problem: Problem, rows: int, cols: int, engine_bytes: int = 0) -> int:
    """Return the bytes that `prepare` and `hidden_pixels.differences` add to an engine's own.

    Less is added to an engine whose own bytes for a tile are known, as not all is needed at a time.
    """
    if problem.opaque_level is None:
        return 0
    from patchsim.engines.common import hidden_pixels

    return hidden_pixels.working_bytes(problem, rows, cols, engine_bytes)


def kernel_bytes(problem: Problem, rows: int, cols: int) -> int:
    """Return the bytes that `prepare_together` adds to an engine's own for each kernel."""
    if problem.opaque_level is None:
        return 0
    from patchsim.engines.common import hidden_pixels

    return hidden_pixels.kernel_bytes(problem, rows, cols)
