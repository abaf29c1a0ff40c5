"""How scores, differences of wide values and differences of their bytes bound each other."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from patchsim import metrics
from patchsim.engines.problem import Problem
from patchsim.engines.pruned.score_scale import total

# A difference of floats is rounded as it is summed, a score as it is made of it.
_ROUNDED_SUM = 1e-9
_ROUNDED_SCORE = 2.0**-51


class WideScale:
    """The scale of one kernel's scores by `sad` or `ssd`, of 16 bits or floats.

    Parameters
    ----------
    problem : Problem
    step : float
        The values that one level of a byte stands for.
    off : float
        How far the bytes' difference, or for `ssd` its root, may be off in any window.

    Attributes
    ----------
    unseen : float
        A difference that a score may not show, however small the score's distance from 1.
    """

    def __init__(self, problem: Problem, step: float, off: float) -> None:
        self._step, self._off = step, off
        self._squared = problem.metric == "ssd"
        self._total, self._total_weight = total(problem), problem.total_weight
        span = problem.data_range
        self._span = span * span if self._squared else span
        self.unseen = self._total * _ROUNDED_SCORE

    def scores(self, differences: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the scores of differences."""
        return metrics.similarity(differences, self._total_weight, self._span)

    def upper_bounds(self, differences_of_bytes: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return upper bounds of scores from lower bounds of the bytes' differences."""
        if self._squared:
            roots = np.maximum(np.sqrt(differences_of_bytes) - self._off, 0)
            with np.errstate(over="ignore"):  # so are the true ones
                differences = (roots * self._step) ** 2
        else:
            differences = np.maximum(differences_of_bytes - self._off, 0) * self._step
        differences *= 1 - _ROUNDED_SUM
        return self.scores(differences)

    def largest_difference(self, score: float) -> float:
        """Return a difference that no window with at least this score exceeds."""
        return (1 - score) * self._total * (1 + _ROUNDED_SUM) + self.unseen

    def contending(self, sums: NDArray[np.float64]) -> float:
        """Return the largest difference that could be as good as the least of these."""
        return float(sums.min()) * (1 + _ROUNDED_SUM) + self.unseen

    def of_bytes(self, difference: float) -> int:
        """Return the largest difference that the bytes of windows up to this difference have."""
        if self._squared:
            root = math.sqrt(difference) / self._step + self._off
            bytes_apart = root * root  # infinite where `**` raises OverflowError
        else:
            bytes_apart = difference / self._step + self._off
        return int(min(bytes_apart * (1 + _ROUNDED_SUM) + 1, 2.0**62))
