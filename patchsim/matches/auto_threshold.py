"""Where a list of scores falls into matches and the rest, by the scores alone.

Places that have nothing to do with the kernel differ from it by 1 - score, and near 0 the share of
them that differ by less than d goes like a power of d. The logarithms of such differences, in
order, have gaps that are, times their rank, independent and exponential with one mean (A. Renyi,
Acta Math. Hung. 4, 1953; I. Weissman, JASA 73, 1978; for powers B. M. Hill, Ann. Statist. 3, 1975).
A gap that is too large for the mean of those behind it has something else before it: matches.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from patchsim.errors import InputError

# The chance that there is a cut among places that have nothing to do with the kernel.
LEVEL = 0.01
# What differs by less is identical: else a single pixel could make the largest gap of all.
IDENTICAL = 1e-4
# How many gaps behind one it is compared with: fewer say little, more reach into places that are
# distributed otherwise.
FEWEST, MOST = 8, 24
# Different scores to look at, and places that may be taken until there are so many.
DIFFERENT, PLACES = 96, 1024
# How far a match has to be from a window of the kernel's mean alone, which is 0, on the way to an
# identical one, which is 1: a skill score (A. H. Murphy, Mon. Wea. Rev. 116, 1988).
SKILL = 0.3

# How much less the last match differs than the next place, at least, as a share: scores that lie
# closer do not part what stands out, however rare their gap is among many like them.
APART = 0.05

_EQUAL = 1e-9  # correlations that are equal may differ by rounding


@dataclass(frozen=True)
class Cut:
    """Where matches end.

    Attributes
    ----------
    count : int
        So many places stand out.
    threshold : float
        A short number that their scores reach and no other does.
    above, below : float
        The lowest of their scores and the highest of the others.
    times : float
        The gap between both over the mean of those behind it.
    """

    count: int
    threshold: float
    above: float
    below: float
    times: float


def find(scores: Sequence[float], plain: Sequence[float]) -> Cut | None:
    """The most significant gap among the scores of the best places, or None if none is.

    Over the mean of n gaps behind it, a gap is distributed as F(2, 2n): larger than x by a chance
    of (1 + x / n)^-n. The k-th may have a chance of ``LEVEL / (k (k + 1))``, which for all together
    are `LEVEL`. Equal scores count as one: in drawn pictures they are copies of one place.

    Parameters
    ----------
    scores : sequence of float
        Of places that do not overlap, best first, at most 1.
    plain : sequence of float
        What a window that has the mean of the place's kernel everywhere scores.

    Raises
    ------
    InputError
        If there are too few different scores to tell.
    """
    alike = _alike(scores)
    ends = _ends(alike)
    needed = FEWEST + 2
    if len(ends) < needed:
        raise InputError(
            f"threshold auto compares places that do not overlap and score differently; it needs"
            f" {needed}, and this search has {len(ends)}\n"
            "give a number, like --threshold 0.9 (threshold=0.9)"
        )
    gaps = -np.diff(alike[ends]) * np.arange(1, len(ends))
    bars = np.asarray(plain) + SKILL * (1 - np.asarray(plain))
    able = int(np.argmin(np.append(np.asarray(scores) >= bars, False)))
    found, least = None, math.log(LEVEL)
    for rank, gap in enumerate(gaps[:-FEWEST].tolist(), 1):
        count = int(ends[rank - 1]) + 1
        if count > able:
            break
        behind = gaps[rank : rank + MOST]
        if gap < rank * APART:
            continue
        times = gap / float(behind.mean())
        chance = -len(behind) * math.log1p(times / len(behind))
        if chance + math.log(rank * (rank + 1)) < least:
            least = chance + math.log(rank * (rank + 1))
            above, below = scores[count - 1], scores[count]
            found = Cut(count, between(below, above), above, below, times)
    return found


def different(scores: Sequence[float]) -> int:
    """How many different scores there are, in order, for `find`."""
    return len(_ends(_alike(scores)))


def _alike(scores: Sequence[float]) -> NDArray[np.float64]:
    """Minus the logarithms of the differences from 1."""
    return -np.log(np.maximum(1 - np.asarray(scores, np.float64), IDENTICAL))


def _ends(alike: NDArray[np.float64]) -> NDArray[np.intp]:
    """The last place of each run of equal ones."""
    last = np.append(np.diff(alike) < -_EQUAL, True)
    return np.flatnonzero(last[: len(alike)])


def between(low: float, high: float) -> float:
    """The shortest number near their middle that is above `low` and not above `high`."""
    middle = low + (high - low) / 2
    short = (round(middle, digits) for digits in range(2, 18))
    return next((value for value in short if low < value <= high), high)


def told(cut: Cut | None, best: float) -> str:
    """What a person should know of it."""
    if cut is None:
        return f"threshold auto: no place stands out; the best scores {best:.6g}"
    return (
        f"threshold auto: {cut.threshold}, between match {cut.count} at {cut.above:.6g} and the"
        f" next place at {cut.below:.6g} ({cut.times:.0f} times the usual gap)"
    )
