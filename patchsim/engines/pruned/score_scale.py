"""The scores of differences between integers, and the largest difference that has a score."""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from patchsim import metrics
from patchsim.engines.problem import Problem

_Differences = TypeVar("_Differences", float, NDArray[np.float64])


class ScoreScale:
    """The scale of one kernel's scores by `sad` or `ssd`.

    Parameters
    ----------
    problem : Problem
    """

    def __init__(self, problem: Problem) -> None:
        # Looks at hundreds of blocks ask for these.
        self._total_weight, self._total = problem.total_weight, total(problem)
        power = 2 if problem.metric == "ssd" else 1
        self._span, self._largest = problem.data_range**power, 255**power
        self._last_limit = (math.nan, -1)  # a score, and the largest difference that has it

    def score(self, difference: int) -> float:
        """Return the score of a window with this difference."""
        return self.similarity(float(difference))

    def similarity(self, difference: _Differences) -> _Differences:
        """Return the scores of differences."""
        return metrics.similarity(difference, self._total_weight, self._span)

    def largest_difference(self, score: float) -> int:
        """Return the largest difference of bytes that has at least this score, or -1."""
        if (last := self._last_limit)[0] == score:
            return last[1]
        most = self._total_weight * self._largest
        guess = min(max((1 - score) * self._total, -1.0), most)
        difference = int(guess)
        while difference < most and self.score(difference + 1) >= score:
            difference += 1
        while difference >= 0 and self.score(difference) < score:
            difference -= 1
        self._last_limit = score, difference
        return difference


def total(problem: Problem) -> float:
    """Return the difference that scores 0."""
    return float(problem.total_weight * problem.data_range ** (2 if problem.metric == "ssd" else 1))
