"""Lets an engine that shares tiles between kernels score one kernel alone."""

from __future__ import annotations

from patchsim.engines.contract import Bounds, Scorer, Seen, SharedScorer
from patchsim.engines.problem import Problem
from patchsim.engines.tile_cache import Shared
from patchsim.geometry import tiles
from patchsim.types import Pixels


def of_one(scorer: SharedScorer, problem: Problem) -> Scorer:
    """Return a scorer of pixels for a kernel that shares its tiles with no other."""
    size, stride = problem.kernel[:2], problem.stride

    def alone(pixels: Pixels, seen: Seen | None = None) -> Bounds:
        windows = tiles.map_shape(pixels.shape[:2], size, stride)
        if seen is None:
            return scorer(Shared(pixels), windows)
        return scorer(Shared(pixels, levels=seen.levels), windows, seen)

    return alone
