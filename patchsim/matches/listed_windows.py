"""Non-maximum suppression in lists of the windows that have a score or a higher one.

Many matches are found sooner by sorting their windows than by asking for one after another. The
lists are short: windows that the matches of a list suppress are in no later one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from patchsim.metrics import Indices
from patchsim.ranking.score_map import ScoreMap

# Windows that are worth a list, as many times as one has pixels: of fewer there are few matches.
_WORTH = 32
# Windows of a list: so many, or this share of a large map. Ties may make it so many times as long.
_AT_ONCE, _SHARE, _LONGER = 1 << 10, 1 / 256, 8
_LOOKED_AT = 128  # windows of which those that were suppressed are left out at once


def peaks_from(
    score_maps: Sequence[ScoreMap],
    origins: Sequence[tuple[int, int]],
    lowest: float,
    *,
    overlap: float,
    accepts: Callable[[int, int, int], bool] | None,
) -> Iterator[tuple[int, int, float, int]]:
    """Yield y, x, score and index of the matches, best first, and suppress what overlaps them.

    Parameters
    ----------
    score_maps : sequence of ScoreMap
        The windows of each kernel, all of which `can_list`.
    origins, overlap, accepts
        As for `nms.BestFirst`.
    lowest : float
        The lowest score of a match. The matches end above it where a list would be too long, and
        there are none where few windows have such a score.
    """
    reaching = (np.count_nonzero(one.upper_bounds >= lowest) for one in score_maps)
    if sum(reaching) < _WORTH * min(math.prod(one.kernel) for one in score_maps):
        return
    for one in score_maps:
        one.evaluate_from(lowest)
    count = max(_AT_ONCE, int(_SHARE * max(one.upper_bounds.size for one in score_maps)))
    level = np.inf
    while level > lowest:
        level = max(lowest, *(one.level(count) for one in score_maps))
        lengths = (np.count_nonzero(one.upper_bounds >= level) for one in score_maps)
        if sum(lengths) > _LONGER * count * len(score_maps):
            return
        for y, x, score, index in _listed(score_maps, origins, level):
            top, left = origins[index]
            one = score_maps[index]
            if not one.is_left(y - top, x - left):
                continue
            one.suppress(y - top, x - left)
            if accepts is not None and not accepts(index, y - top, x - left):
                continue
            yield y, x, score, index
            for other, (down, across) in zip(score_maps, origins, strict=True):
                other.suppress_overlapping((y - down, x - across, *one.kernel), overlap)


def _listed(
    score_maps: Sequence[ScoreMap], origins: Sequence[tuple[int, int]], lowest: float
) -> Iterator[tuple[int, int, float, int]]:
    """Yield y, x, score and index of the windows left from a score on, in the order of matches.

    Windows that are suppressed meanwhile are mostly left out.
    """
    columns = []
    for number, (one, (top, left)) in enumerate(zip(score_maps, origins, strict=True)):
        y, x, score = one.all_from(lowest)
        columns.append((y + top, x + left, score, np.full(len(y), number)))
    y, x, score, index = (np.concatenate(parts) for parts in zip(*columns, strict=True))
    order = np.lexsort((index, x, y, -score))
    y, x, score, index = y[order], x[order], score[order], index[order]
    for first in range(0, len(order), _LOOKED_AT):
        some = np.s_[first : first + _LOOKED_AT]
        kept = np.flatnonzero(_are_left(score_maps, origins, y[some], x[some], index[some])) + first
        yield from zip(*(values[kept].tolist() for values in (y, x, score, index)), strict=True)


def _are_left(
    score_maps: Sequence[ScoreMap],
    origins: Sequence[tuple[int, int]],
    y: Indices,
    x: Indices,
    index: Indices,
) -> NDArray[np.bool_]:
    """Return which windows, each of one of the score maps, were not suppressed."""
    if len(score_maps) == 1:
        return score_maps[0].are_left(y - origins[0][0], x - origins[0][1])
    is_left = np.empty(len(y), np.bool_)
    for number, (one, (top, left)) in enumerate(zip(score_maps, origins, strict=True)):
        of_one = index == number
        is_left[of_one] = one.are_left(y[of_one] - top, x[of_one] - left)
    return is_left
