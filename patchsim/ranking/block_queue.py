"""The blocks of one kernel's windows in order: the block that may hold the best window first.

A map of 10^10 windows has 2.4 million blocks. Their upper bounds stay in an array of 8 bytes a
block; only the best of them become entries of a heap, more as those are used up.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Sequence
from itertools import takewhile

import numpy as np
from numpy.typing import NDArray

# Minus the block's upper bound, or minus the exact score of its best window as it was at that
# number of suppressions; is exact; row, col; block; suppressions. Bounds come before equal scores.
Entry = tuple[float, bool, int, int, int, int]

_FIRST_ENTRIES = 4096
_GROWTH = 4  # each time the entries are used up, to the most that are made at once
_MOST_ENTRIES = 1 << 16


class BlockQueue:
    """The blocks with the highest upper bounds or scores.

    Parameters
    ----------
    upper_bounds : float64 array [rows, cols]
        Of each block; -inf of those that have no window left. The queue uses the array up.
    """

    def __init__(self, upper_bounds: NDArray[np.float64]) -> None:
        self._rest = upper_bounds.reshape(-1)  # -inf where a block is in the heap
        self._bound_of_rest = float(self._rest.max(initial=-math.inf))
        self._heap: list[Entry] = []
        self._entries = _FIRST_ENTRIES  # how many are taken next

    @staticmethod
    def estimate_bytes(blocks: int) -> int:
        """Return the bytes of a queue of so many blocks until its first entries are used up.

        8 bytes for the bound of each, as many again while entries are chosen, and the entries.
        """
        return 16 * blocks + 168 * min(blocks, _FIRST_ENTRIES)

    @property
    def first(self) -> Entry | None:
        """The entry with the highest bound or score, or None if no block is left."""
        heap = self._heap
        while self._bound_of_rest > -math.inf:
            # Equal bounds in the rest come behind those in the heap, but before scores.
            if heap and heap[0][:2] <= (-self._bound_of_rest, False):
                break
            self._take()
        return heap[0] if heap else None

    @property
    def second_bound(self) -> float:
        """The highest bound or score of the blocks but the first; -inf if there is none."""
        return max(self._bound_of_rest, *(-entry[0] for entry in self._heap[1:3]), -math.inf)

    def _take(self) -> None:
        """Turn the best of the rest into entries; of equal ones the first blocks."""
        rest, count = self._rest, self._entries
        blocks: Sequence[int]
        self._entries = min(self._entries * _GROWTH, max(self._entries, _MOST_ENTRIES))
        if count < len(rest):
            lowest = np.partition(rest, -count)[-count]
            chosen = np.flatnonzero(rest > lowest)
            if lowest > -math.inf:
                equal = np.flatnonzero(rest == lowest)[: count - len(chosen)]
                chosen = np.concatenate([chosen, equal])
            blocks, bounds = chosen.tolist(), rest[chosen].tolist()
            rest[chosen] = -math.inf
        else:
            blocks, bounds = range(len(rest)), rest.tolist()
            rest.fill(-math.inf)
        self._heap += [
            (-bound, False, 0, 0, block, 0)
            for bound, block in zip(bounds, blocks, strict=True)
            if bound > -math.inf
        ]
        heapq.heapify(self._heap)
        self._bound_of_rest = float(rest.max())

    def replace_first(self, entry: Entry) -> None:
        """Put another entry in place of the first one."""
        heapq.heapreplace(self._heap, entry)

    def drop_first(self) -> None:
        """Remove the first entry: no window of its block is left."""
        heapq.heappop(self._heap)

    def in_order(self) -> Iterator[Entry]:
        """Yield entries in order, as long as no block of the rest comes between.

        The first few take little time, however many there are. The queue must not change meanwhile.
        """
        if self.first is None:
            return
        last = (-self._bound_of_rest, False)
        yield from takewhile(lambda entry: entry[:2] <= last, _sorted(self._heap))


def _sorted(heap: list[Entry]) -> Iterator[Entry]:
    """Yield the entries of a heap in order."""
    nearest = [(entry, 0) for entry in heap[:1]]
    while nearest:
        entry, place = heapq.heappop(nearest)
        yield entry
        for below in (2 * place + 1, 2 * place + 2):
            if below < len(heap):
                heapq.heappush(nearest, (heap[below], below))
