"""Which windows are matches, from what score on, and how far each is ahead of its rival."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from patchsim.matches import auto_threshold
from patchsim.matches.nms import Contest, Peak
from patchsim.ranking.contract import Windows


@dataclass(frozen=True)
class Selection:
    """The matches of kernels that compete.

    Attributes
    ----------
    peaks : list of Peak
        Best first.
    margins : list of float or None
        Of each, how much more it scores than the best window, of all these kernels, that overlaps
        neither it nor a better match; None where there is none, or if they were not asked for.
    threshold : float or None
        The lowest score of a match: what was given, or found; None without one, and where nothing
        stands out.
    told : str or None
        How it was found.
    """

    peaks: list[Peak]
    margins: list[float | None]
    threshold: float | None
    told: str | None


def select(
    fields: Sequence[Windows],
    origins: Sequence[tuple[int, int]],
    *,
    groups: Sequence[Sequence[int]],
    top: int | None,
    threshold: float | str | None,
    overlap: float,
    margin: bool,
    plain: Callable[[int], float],
) -> list[Selection]:
    """The matches of each group of fields, which compete with each other alone.

    Parameters
    ----------
    fields, origins
        As for `nms.Contest`; the fields are used up.
    groups : sequence of sequences of int
        Numbers of fields; each is in one group.
    top : int or None
        How many matches a group has at the most; None for all.
    threshold : float, ``auto`` or None
        With ``auto`` each group has its own.
    overlap : float
        Of two windows with a larger intersection over union the lower one goes.
    margin : bool
        Find the margins, too.
    plain : int -> float
        What a window that has the mean of a field's kernel everywhere scores; asked for ``auto``.

    Raises
    ------
    InputError
        If ``auto`` has too few scores to tell.
    """
    selected = []
    for group in groups:
        contest = Contest([fields[i] for i in group], [origins[i] for i in group], overlap=overlap)
        if isinstance(threshold, str):
            found = _places(contest)
            scores = [peak.score for peak in found]
            bars = [plain(number) for number in group]
            ends = auto_threshold.find(scores, [bars[peak.field] for peak in found])
            told, lowest = auto_threshold.told(ends, scores[0]), ends.threshold if ends else None
            matches = found[: ends.count if ends else 0][:top]
        else:
            told, lowest = None, threshold
            matches = found = contest.best(top, threshold)
        margins: list[float | None] = [None] * len(matches)
        if margin and matches:
            # What follows in the list, whatever it scores, is what no match overlaps.
            rivals = found[1 : len(matches) + 1]
            if len(rivals) < len(matches):
                rivals += contest.best(1, None)
            for number, rival in enumerate(rivals):
                margins[number] = matches[number].score - rival.score
        matches = [replace(peak, field=group[peak.field]) for peak in matches]
        selected.append(Selection(matches, margins, lowest, told))
    return selected


def _places(contest: Contest) -> list[Peak]:
    """The best windows: as many as have enough different scores, if there are so many."""
    found: list[Peak] = []
    while len(found) < auto_threshold.PLACES:
        missing = auto_threshold.DIFFERENT - auto_threshold.different(
            [peak.score for peak in found]
        )
        more = contest.best(missing, None) if missing > 0 else []
        found += more
        if not more:
            break
    return found
