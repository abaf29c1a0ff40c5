"""Which windows are matches, from what score on, and how far each is ahead of other places."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from patchsim.matches.nms import Accepts, BestFirst, Peak
from patchsim.ranking.contract import Windows


class Selection(NamedTuple):
    """The matches of kernels that compete.

    Attributes
    ----------
    peaks : list of Peak
        Best first.
    margins : list of float or None
        For each match, its score minus that of the best window, of all these kernels, that is no
        match and overlaps none; None if there is no such window or none was asked for.
    threshold : float or None
        The lowest score of a match: given, or found; None without one, and where no place stands
        out.
    message : str or None
        How the threshold was found.
    best_below : Peak or None
        The best window, where ``auto`` found no match.
    """

    peaks: list[Peak]
    margins: list[float | None]
    threshold: float | None
    message: str | None
    best_below: Peak | None = None


def select(
    windows: Sequence[Windows],
    origins: Sequence[tuple[int, int]],
    *,
    groups: Sequence[Sequence[int]],
    top: int | None,
    threshold: float | str | None,
    overlap: float,
    margin: bool,
    plain: Callable[[int], float],
    accepts: Accepts | None = None,
    floor: float | None = None,
) -> list[Selection]:
    """Return the matches of each group of kernels; only kernels of a group compete.

    Parameters
    ----------
    windows, origins
        As for `nms.BestFirst`; the windows are used up.
    groups : sequence of sequences of int
        Indices of windows; each is in one group.
    top : int or None
        The largest number of matches in a group; None for all.
    threshold : float, ``auto`` or None
        With ``auto`` each group has its own.
    overlap : float
        Two matches have at most this intersection over union.
    margin : bool
        Find the margins, too.
    plain : int -> float
        The score of a window with the kernel's mean in every pixel; called for ``auto``.
    accepts : (index, y, x) -> bool, optional
        As for `nms.BestFirst`; but ``auto`` finds its threshold from the scores of all places, and
        then leaves out those that are refused. Margins do not ask it, because they would ask of all
        windows: theirs is the best place that was not refused.
    floor : float, optional
        A score that all windows have which are accepted.
    """
    selected = []
    for group in groups:
        best_first = BestFirst(
            [windows[i] for i in group],
            [origins[i] for i in group],
            overlap=overlap,
            accepts=_of_group(accepts, group),
        )
        if isinstance(threshold, str):
            from patchsim.matches import auto_threshold  # few thresholds are `auto`

            peaks = _places(best_first)
            scores = [peak.score for peak in peaks]
            plain_scores = [plain(i) for i in group]
            gap = auto_threshold.find_gap(scores, [plain_scores[peak.index] for peak in peaks])
            message = auto_threshold.describe(gap, scores)
            lowest = gap.threshold if gap else None
            count = gap.count if gap else 0
            if accepts is not None:
                reaching = [peak for peak in peaks[:count] if best_first.can_be_match(peak)]
                peaks, count = reaching + peaks[count:], len(reaching)
            matches = peaks[:count][:top]
        else:
            message, lowest = None, threshold
            bounds = [one for one in (threshold, floor) if one is not None]
            matches = peaks = best_first.best(top, max(bounds, default=None))
        margins: list[float | None] = [None] * len(matches)
        if margin and matches:
            margins = _margins(matches, peaks, best_first)
        below = _numbered(peaks[:1], group)[0] if peaks and not matches else None
        matches = _numbered(matches, group)
        selected.append(Selection(matches, margins, lowest, message, below))
    return selected


def _of_group(accepts: Accepts | None, group: Sequence[int]) -> Accepts | None:
    """Number the windows that are asked about as in all groups."""
    return accepts and (lambda index, y, x: accepts(group[index], y, x))


def _numbered(peaks: Sequence[Peak], group: Sequence[int]) -> list[Peak]:
    """Number the windows of peaks as in all groups."""
    return [Peak(peak.y, peak.x, peak.score, group[peak.index]) for peak in peaks]


def _margins(
    matches: Sequence[Peak], peaks: Sequence[Peak], best_first: BestFirst
) -> list[float | None]:
    """Return how far each match is ahead of the next peak behind all of them."""
    behind = list(peaks[len(matches) :]) or best_first.best(
        1, None, accepts_all=True
    )  # whatever it scores
    return [match.score - behind[0].score if behind else None for match in matches]


def _places(best_first: BestFirst) -> list[Peak]:
    """Return the best windows, as many as have enough distinct scores, if there are as many."""
    from patchsim.matches import auto_threshold

    peaks: list[Peak] = []
    while len(peaks) < auto_threshold.PLACES:
        distinct = auto_threshold.count_distinct([peak.score for peak in peaks])
        missing = auto_threshold.DISTINCT - distinct
        more = best_first.best(missing, None, accepts_all=True) if missing > 0 else []
        peaks += more
        if not more:
            break
    return peaks
