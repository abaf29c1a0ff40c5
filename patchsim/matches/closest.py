"""The best window of several kernels where none is a match, as far as little work tells it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from patchsim.matches.nms import Peak
from patchsim.ranking.contract import Windows

_LOOKS = 4  # kernels or poses that are looked at, those with the highest bounds


@dataclass(frozen=True, slots=True)
class Closest:
    """The best window, as far as it is known.

    Attributes
    ----------
    index : int
        Which of the sequence of windows it comes from, or could come from.
    peak : Peak or None
        The best window that was looked at.
    at_most : float
        The score that no window exceeds; that of `peak` if it is the best of all.
    """

    index: int
    peak: Peak | None
    at_most: float


def closest(windows: Sequence[Windows], origins: Sequence[tuple[int, int]]) -> Closest | None:
    """Return the best window that little work finds, or None if there is none at all.

    Parameters
    ----------
    windows, origins
        As for `nms.BestFirst`, after a search that found no match.
    """
    bounds = [one.upper_bound for one in windows]
    order = sorted(range(len(windows)), key=lambda i: -bounds[i])
    best: Peak | None = None
    for i in order[:_LOOKS]:
        if best is not None and bounds[i] <= best.score:
            break
        near = windows[i].closest(len(windows))
        bounds[i] = float("-inf") if near is None else near.at_most
        if near is not None and near.place is not None:
            y, x, score = near.place
            top, left = origins[i]
            if best is None or score > best.score:
                best = Peak(y + top, x + left, score, i)
    at_most = max(bounds, default=float("-inf"))
    if best is not None:
        return Closest(best.index, best, max(best.score, at_most))
    if at_most == float("-inf"):
        return None
    return Closest(bounds.index(at_most), None, at_most)
