"""How far the values of a tile's windows spread, which their scores need beside the products."""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np

from patchsim.engines.problem import Problem
from patchsim.numerics.array_api import Array, namespace
from patchsim.numerics.precision import UNIT_ROUNDOFF

# Windows of floats with smaller sums of squares are left to `metrics.exact`, which scales their
# values: their squares lose digits, or vanish.
LEAST_ENERGY = 2.0**-900


class Spread:
    """The spread of windows of integers, which kernels of one size share.

    For `ssd` and `ncc` it is the sum of squares.

    Parameters
    ----------
    values : Array float64 [rows, cols]
    """

    def __init__(self, values: Array) -> None:
        self.values = values
        self.largest = float(values.max())
        self._flat = values == 0

    @cached_property
    def inverse(self) -> Array:
        """1 / sqrt(values), and 0 where they are 0."""
        return inverse_root(self.values, 1.0)

    @cached_property
    def steepest(self) -> float:
        """The largest inverse."""
        return float(self.inverse.max())

    @cached_property
    def flat(self) -> Array | None:
        """Where the spread is 0, if it is so anywhere."""
        return self._flat if self._flat.any() else None


def inverse_root(spread: Array, kernel_spread: float) -> Array:
    """1 / sqrt(spread x own), and 0 where the spread is 0."""
    roots = namespace(spread).sqrt(spread) * math.sqrt(kernel_spread)
    # Over: of a window with next to nothing in it, any score.
    with np.errstate(divide="ignore", over="ignore"):
        spreads = 1.0 / roots
    spreads[~(roots > 0)] = 0.0
    return spreads


def float_rounding(problem: Problem) -> float:
    """Return the relative rounding of a window's sum in float64, here and in `metrics.exact`."""
    return 4.0 * (problem.taps + 8) * UNIT_ROUNDOFF
