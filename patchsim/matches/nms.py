"""The matches among the windows of one or more kernels: non-maximum suppression, best first.

The best window of all is a match, and windows that overlap it are suppressed; then the best of the
rest is one, and so on. Each kernel is asked for its best window alone, so that few windows need
exact scores.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from patchsim.ranking.contract import Windows
from patchsim.ranking.score_map import ScoreMap

if TYPE_CHECKING:
    from patchsim.ranking.block_maxima import BlockMaxima

Accepts = Callable[[int, int, int], bool]


@dataclass(frozen=True, slots=True)
class Peak:
    """A match.

    Attributes
    ----------
    y, x : int
        The top-left pixel in the image.
    score : float
        Exact.
    index : int
        Which of the sequence of windows the match comes from.
    """

    y: int
    x: int
    score: float
    index: int


class BestFirst:
    """Matches among the windows of several kernels, in one order; uses the windows up.

    Equal scores rank by smaller y, then smaller x, then the earlier kernel.

    Parameters
    ----------
    windows : sequence of Windows
        The windows of each kernel, with the scores of all tiles.
    origins : sequence of (y, x)
        Where in the image each kernel's first window lies.
    overlap : float
        Two matches have at most this intersection over union.
    accepts : (index, y, x) -> bool, optional
        Whether a window of one of the sequence, (y, x) from its first, may be a match. One that may
        not is left out, and suppresses no other.
    asked : (index, found) -> None, optional
        Called where the windows of one of the sequence are asked for their best, which takes most
        of the time, with the number of matches so far.
    """

    def __init__(
        self,
        windows: Sequence[Windows],
        origins: Sequence[tuple[int, int]],
        *,
        overlap: float,
        accepts: Accepts | None = None,
        asked: Callable[[int, int], None] | None = None,
    ) -> None:
        self._accepts, self._asked = accepts, asked
        self._windows, self._origins, self._overlap = windows, origins, overlap
        self._peaks: list[Peak] = []
        self._applied = [0] * len(windows)  # how many peaks have suppressed windows of a kernel
        # For each kernel: minus its upper bound, or minus the exact score of its best window after
        # the peaks that were applied; is exact; y and x in the image; its index.
        self._heap = [(-one.upper_bound, False, 0, 0, i) for i, one in enumerate(windows)]
        heapq.heapify(self._heap)

    def best(
        self, most: int | None, lowest: float | None, *, accepts_all: bool = False
    ) -> list[Peak]:
        """Return the next matches, best first, which overlap none that came before.

        Parameters
        ----------
        most : int or None
            The largest number of matches; None for all.
        lowest : float or None
            The lowest score of a match.
        accepts_all : bool
            Whether every window may be one.
        """
        accepts = None if accepts_all else self._accepts
        lowest = -math.inf if lowest is None else lowest
        first, heap = len(self._peaks), self._heap
        floor = lowest  # some window left has at least this score
        if most is None:
            self._take_all(lowest, accepts)
        while heap and -heap[0][0] >= lowest and (most is None or len(self._peaks) - first < most):
            minus_score, is_exact, y, x, index = heap[0]
            top, left = self._origins[index]
            if is_exact and self._applied[index] == len(self._peaks):
                if accepts is None or accepts(index, y - top, x - left):
                    self._peaks.append(Peak(y, x, -minus_score, index))
                else:  # its place in the heap is that of the windows that are left
                    heapq.heapreplace(heap, (minus_score, False, 0, 0, index))
                self._windows[index].suppress(y - top, x - left)
                floor = lowest
                continue
            self._apply_peaks(index)
            if self._asked is not None:
                self._asked(index, len(self._peaks))
            best = self._windows[index].best(floor)
            if best is not None:
                y, x, score = best
                floor = max(floor, score)
                heapq.heapreplace(heap, (-score, True, y + top, x + left, index))
                continue
            # No window reaches the floor, which may be lower for the next match.
            bound = math.nextafter(min(-minus_score, floor), -math.inf)
            if bound > -math.inf:
                heapq.heapreplace(heap, (-bound, False, 0, 0, index))
            else:
                heapq.heappop(heap)
        return self._peaks[first:]

    def can_be_match(self, peak: Peak) -> bool:
        """Return whether a match that was found with `accepts_all` may be one."""
        top, left = self._origins[peak.index]
        return self._accepts is None or self._accepts(peak.index, peak.y - top, peak.x - left)

    def _take_all(self, lowest: float, accepts: Accepts | None) -> None:
        """Find the matches from a score on in lists or block by block, if all kernels can.

        It may end early; what it leaves is for the search window by window.
        """
        count = len(self._windows)
        score_maps = [one for one in self._windows if isinstance(one, ScoreMap) and one.can_list]
        maxima: list[BlockMaxima] = []
        if not score_maps:
            from patchsim.ranking.block_maxima import BlockMaxima  # few searches make them

            maxima = [w for w in self._windows if isinstance(w, BlockMaxima) and w.can_sweep]
        if count not in (len(score_maps), len(maxima)):
            return
        for index in range(count):
            self._apply_peaks(index)
        peaks: Iterable[tuple[int, int, float, int]]
        if len(score_maps) == count:
            from patchsim.matches import listed_windows  # few searches are for many

            peaks = listed_windows.peaks_from(
                score_maps, self._origins, lowest, overlap=self._overlap, accepts=accepts
            )
        else:
            from patchsim.matches import swept_blocks

            peaks = swept_blocks.peaks_from(
                maxima, self._origins, lowest, overlap=self._overlap, accepts=accepts
            )
        self._peaks += [Peak(*peak) for peak in peaks]
        self._applied = [len(self._peaks)] * count

    def _apply_peaks(self, index: int) -> None:
        """Suppress the windows of a kernel that overlap the matches since it was last asked."""
        top, left = self._origins[index]
        for peak in self._peaks[self._applied[index] :]:
            box = peak.y - top, peak.x - left, *self._windows[peak.index].kernel
            self._windows[index].suppress_overlapping(box, self._overlap)
        self._applied[index] = len(self._peaks)


def resolve(
    windows: Sequence[Windows],
    origins: Sequence[tuple[int, int]],
    *,
    top: int | None,
    threshold: float | None,
    overlap: float,
) -> list[Peak]:
    """Return the matches among the windows of several kernels, as `BestFirst` finds them.

    Parameters
    ----------
    top : int or None
        The largest number of matches; None for all.
    threshold : float or None
        The lowest score of a match.
    """
    return BestFirst(windows, origins, overlap=overlap).best(top, threshold)
