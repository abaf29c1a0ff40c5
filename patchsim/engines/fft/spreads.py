"""What of the windows of a tile alone goes into their scores: how far their values spread."""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np

from patchsim.engines.contract import Problem
from patchsim.numerics.array_api import Array, namespace
from patchsim.numerics.precision import UNIT_ROUNDOFF


class Spread:
    """Of integers, the same for kernels of one size; for `ssd` and `ncc` the sum of squares.

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


def inverse_root(spread: Array, own: float) -> Array:
    """1 / sqrt(spread x own), and 0 where the spread is 0."""
    roots = namespace(spread).sqrt(spread) * math.sqrt(own)
    # Over: of a window with next to nothing in it, any score.
    with np.errstate(divide="ignore", over="ignore"):
        found = 1.0 / roots
    found[~(roots > 0)] = 0.0
    return found


def float_rounding(problem: Problem) -> float:
    """Of a sum of a window's values in float64, here and in `metrics.exact`, of its terms' size."""
    return 4.0 * (problem.taps + 8) * UNIT_ROUNDOFF
