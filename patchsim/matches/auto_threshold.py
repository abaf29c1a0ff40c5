"""A threshold found from the scores alone: the gap between matches and unrelated places.

Places that are unrelated to the kernel differ from it by d = 1 - score, and near 0 the share of
them that differ by less than d grows like a power of d. The logarithms of such differences, in
order, have gaps that are, times their rank, independent and exponential with one mean (A. Renyi,
Acta Math. Hung. 4, 1953; I. Weissman, JASA 73, 1978; for powers B. M. Hill, Ann. Statist. 3, 1975).
A gap that is too large for the mean of the gaps behind it separates matches from unrelated places.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from patchsim.metrics.written import told

# The probability of finding a gap among unrelated places.
LEVEL = 0.01
# Smaller differences count as identical; otherwise one pixel could make the largest gap of all.
IDENTICAL = 1e-4
# The number of gaps behind one that it is compared with: fewer tell little, more reach places whose
# differences are distributed otherwise.
FEWEST, MOST = 8, 24
# The fewest distinct scores that tell anything: one gap, and those behind it.
NEEDED = FEWEST + 2
# The distinct scores that are compared, and the places that may be taken until there are as many.
DISTINCT, PLACES = 96, 1024
_TOO_FEW = (
    f"threshold auto compares places that do not overlap and score differently; it needs {NEEDED}"
)
# How far a match must be on the way from a window of the kernel's mean alone, at 0, to an identical
# one, at 1: a skill score (A. H. Murphy, Mon. Wea. Rev. 116, 1988).
SKILL = 0.3

# The least relative gap between the differences of the last match and the next place. Scores that
# lie closer do not separate matches, however rare their gap is among many similar ones.
APART = 0.05

_EQUAL = 1e-9  # equal correlations may differ by rounding


@dataclass(frozen=True)
class Gap:
    """The gap below the matches.

    Attributes
    ----------
    count : int
        The number of places above it.
    threshold : float
        A short number within the gap, which the scores above reach.
    above, below : float
        The scores on both sides.
    times : float
        The gap divided by the mean of the gaps behind it.
    """

    count: int
    threshold: float
    above: float
    below: float
    times: float


def find_gap(scores: Sequence[float], plain: Sequence[float]) -> Gap | None:
    """Find the most significant gap among the scores of the best places, or None.

    Divided by the mean of n gaps behind it, a gap is distributed as F(2, 2n): it is larger than x
    with a probability of (1 + x / n)^-n. The k-th gap may have ``LEVEL / (k (k + 1))``, which sums
    up to `LEVEL`. Equal scores count as one: in drawings they are copies of one place.

    Parameters
    ----------
    scores : sequence of float
        The scores of places that do not overlap, best first, at most 1.
    plain : sequence of float
        For each place, the score of a window with the kernel's mean in every pixel. Where it is
        that of an identical window, as of glyphs and stamps of one colour, no place is on the way
        between the two, and the gap alone is judged.

    Returns
    -------
    Gap or None
        None, too, if there are fewer than `NEEDED` distinct scores.
    """
    logs = _minus_log_differences(scores)
    ends = _ends_of_runs(logs)
    if len(ends) < NEEDED:
        return None
    gaps = -np.diff(logs[ends]) * np.arange(1, len(ends))
    way = 1 - np.asarray(plain)
    lowest = np.where(way > IDENTICAL, 1 - (1 - SKILL) * way, -np.inf)
    skilled = int(np.argmin(np.append(np.asarray(scores) >= lowest, False)))
    best, least_chance = None, math.log(LEVEL)
    for rank, gap in enumerate(gaps[:-FEWEST].tolist(), 1):
        count = int(ends[rank - 1]) + 1
        if count > skilled:
            break
        behind = gaps[rank : rank + MOST]
        if gap < rank * APART:
            continue
        times = gap / float(behind.mean())
        chance = math.log(rank * (rank + 1)) - len(behind) * math.log1p(times / len(behind))
        if chance < least_chance:
            least_chance = chance
            above, below = scores[count - 1], scores[count]
            best = Gap(count, shortest_between(below, above), above, below, times)
    return best


def count_distinct(scores: Sequence[float]) -> int:
    """Return how many distinct scores there are for `find_gap`; the scores are in order."""
    return len(_ends_of_runs(_minus_log_differences(scores)))


def _minus_log_differences(scores: Sequence[float]) -> NDArray[np.float64]:
    """Return -log(1 - score)."""
    return -np.log(np.maximum(1 - np.asarray(scores, np.float64), IDENTICAL))


def _ends_of_runs(logs: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the last index of each run of equal values."""
    is_last = np.append(np.diff(logs) < -_EQUAL, True)
    return np.flatnonzero(is_last[: len(logs)])


def shortest_between(low: float, high: float) -> float:
    """Return the shortest number near the middle that is above `low` and at most `high`."""
    middle = low + (high - low) / 2
    rounded = (round(middle, digits) for digits in range(2, 18))
    return next((value for value in rounded if low < value <= high), high)


def describe(gap: Gap | None, scores: Sequence[float]) -> str:
    """Return a message about the threshold that was found among scores, best first."""
    if gap is None:
        count = count_distinct(scores)
        if count < NEEDED:
            return too_few(f"has {count}")
        text = f"threshold auto: no place stands out; the best scores {told(scores[0])}"
        most = count - 1 - FEWEST  # as in `find_gap`
        if most >= FEWEST:
            return text
        return (
            f"{text};\nof {count} places it tells at most {most} apart, because a gap is compared"
            f" with {FEWEST} behind it; for more give a number,"
            " like --threshold 0.9 (threshold=0.9)"
        )
    return (
        f"threshold auto: {gap.threshold}, between match {gap.count} at {told(gap.above)} and the"
        f" next place at {told(gap.below)} ({gap.times:.0f} times the usual gap)"
    )


def too_few(number: str) -> str:
    """Return the message for a search with too few places; `number` says how many, with a verb."""
    return (
        f"{_TOO_FEW}, and this search {number};\n"
        "give a number, like --threshold 0.9 (threshold=0.9)"
    )


def is_too_few(message: str) -> bool:
    """Return whether a message is one of `too_few`, perhaps behind a name."""
    return _TOO_FEW in message
