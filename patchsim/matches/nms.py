"""The matches among the windows of one or more kernels: non-maximum suppression, best first.

The best window of all is a match, and those that overlap it are dropped; then the best of what is
left, and so on. A kernel's windows are asked for their best alone, so that few need exact scores.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass

from patchsim.ranking.contract import Windows


@dataclass(frozen=True, slots=True)
class Peak:
    """A match: its top-left pixel in the image, its exact score, and which field it lies in."""

    y: int
    x: int
    score: float
    field: int


class Contest:
    """The best windows of all fields together, some after others; the fields are used up.

    Equal scores rank by smaller y, then smaller x, then the earlier field.

    Parameters
    ----------
    fields : sequence of Windows
        Complete.
    origins : sequence of (y, x)
        Where in the image each field has its first window.
    overlap : float
        Of two windows with a larger intersection over union the lower one goes.
    """

    def __init__(
        self, fields: Sequence[Windows], origins: Sequence[tuple[int, int]], *, overlap: float
    ) -> None:
        self._fields, self._origins, self._overlap = fields, origins, overlap
        self._peaks: list[Peak] = []
        self._heard = [0] * len(fields)  # how many peaks have dropped windows of a field
        # Minus the most that a field's windows could score, or what its best one does score if it
        # has heard of all peaks; whether it is that; y and x in the image, field.
        self._heap = [(-field.ceiling, False, 0, 0, n) for n, field in enumerate(fields)]
        heapq.heapify(self._heap)

    def best(self, most: int | None, lowest: float | None) -> list[Peak]:
        """The best windows that overlap none that were found before, best first.

        Parameters
        ----------
        most : int or None
            How many; None for all.
        lowest : float or None
            The least score.
        """
        least = -math.inf if lowest is None else lowest
        first, heap = len(self._peaks), self._heap
        floor = least  # some window left has at least this score
        while heap and -heap[0][0] >= least and (most is None or len(self._peaks) - first < most):
            minus, settled, y, x, number = heap[0]
            field, (top_y, left_x) = self._fields[number], self._origins[number]
            if settled and self._heard[number] == len(self._peaks):
                self._peaks.append(Peak(y, x, -minus, number))
                field.drop(y - top_y, x - left_x)
                floor = least
                continue
            self._tell(number)
            found = field.best(floor)
            if found is not None:
                floor = max(floor, found[2])
                y, x = found[0] + top_y, found[1] + left_x
                heapq.heapreplace(heap, (-found[2], True, y, x, number))
                continue
            # None reaches the floor, which may be lower for the next peak.
            below = math.nextafter(min(-minus, floor), -math.inf)
            if below > -math.inf:
                heapq.heapreplace(heap, (-below, False, 0, 0, number))
            else:
                heapq.heappop(heap)
        return self._peaks[first:]

    def _tell(self, number: int) -> None:
        """Drop the windows of a field that overlap the peaks that it has not heard of."""
        field, (top_y, left_x) = self._fields[number], self._origins[number]
        for peak in self._peaks[self._heard[number] :]:
            box = peak.y - top_y, peak.x - left_x, *self._fields[peak.field].kernel
            field.drop_overlapping(box, self._overlap)
        self._heard[number] = len(self._peaks)


def resolve(
    fields: Sequence[Windows],
    origins: Sequence[tuple[int, int]],
    *,
    top: int | None,
    threshold: float | None,
    overlap: float,
) -> list[Peak]:
    """The best windows of all fields together, as a `Contest` has them.

    Parameters
    ----------
    top : int or None
        How many at the most; None for all.
    threshold : float or None
        The lowest score.
    """
    return Contest(fields, origins, overlap=overlap).best(top, threshold)
