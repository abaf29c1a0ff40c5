"""The windows of blocks, compared one by one as far as a limit of rows allows."""

from __future__ import annotations

import math
import sys
import time
from contextlib import closing

import numpy as np

from patchsim.engines import REMOVED, Search
from patchsim.machine.threads import in_order
from patchsim.ranking.score_map import ScoreMap
from patchsim.ranking.search_budget import SearchBudget
from patchsim.ranking.searched_blocks import SearchedBlocks
from patchsim.ranking.window_bounds import WindowBounds

# As many rows of windows as take so many seconds are compared in each anyway: the look at the block
# takes about as long.
_ROWS_SECONDS = 2e-5
AT_ONCE = 32  # blocks that a thread takes, best first


class ComparedWindows:
    """Decides which window of a block is the best, by its scores or by a look at its windows.

    Parameters
    ----------
    search : Search
    bounds : WindowBounds
    blocks : SearchedBlocks
    budget : SearchBudget
        It is told of the time that is spent.
    threads : int

    Attributes
    ----------
    score_maps : dict of int to ScoreMap
        The scores of blocks that were scored as a whole.
    """

    def __init__(
        self,
        search: Search,
        bounds: WindowBounds,
        blocks: SearchedBlocks,
        budget: SearchBudget,
        threads: int,
    ) -> None:
        self.score_maps: dict[int, ScoreMap] = {}
        self._search, self._bounds, self._blocks = search, bounds, blocks
        self._budget, self._threads = budget, threads
        self._rows_most = sys.maxsize  # so many rows of a block's windows are compared one by one
        count = len(blocks.tiles)
        self._windows_compared = np.zeros(count, np.int64)
        self._rows_compared = np.zeros(count, np.int64)

    @property
    def windows_evaluated(self) -> int:
        """The number of windows that were scored one by one."""
        of_scores = sum(score_map.windows_evaluated for score_map in self.score_maps.values())
        return int(self._windows_compared.sum()) + of_scores

    def allow(self, seconds: float) -> None:
        """Allow the rows of windows in each block that are compared in so many seconds."""
        rows = max(seconds, _ROWS_SECONDS) / self._search.row_seconds
        self._rows_most = int(min(rows, sys.maxsize))

    def decide_until(self, blocks: list[int], end: float, at_once: int) -> list[int]:
        """Look at blocks, until the budget has spent so many seconds; return those undecided.

        The time is read whenever each thread has looked at `at_once` blocks.
        """
        count = at_once * self._threads
        undecided: list[int] = []
        while blocks and self._budget.spent < end:
            undecided += self.decide_all(blocks[:count])
            blocks = self._blocks.still_open(blocks[count:])
        return undecided + blocks

    def decide_all(self, blocks: list[int]) -> list[int]:
        """Return the blocks that `decide` leaves undecided."""

        def undecided_of(chunk: list[int]) -> tuple[list[int], float]:
            started = time.thread_time()
            undecided = [block for block in chunk if not self.decide(block)]
            return undecided, time.thread_time() - started

        # The first block alone: it gives an incumbent for the others.
        (undecided, seconds), others = undecided_of(blocks[:1]), blocks[1:]
        self._budget.spent += seconds
        size = max(1, min(AT_ONCE, -(-len(others) // self._threads)))
        chunks = [others[i : i + size] for i in range(0, len(others), size)]
        parallel = min(self._threads, max(1, len(chunks)))
        with closing(in_order(undecided_of, chunks, parallel)) as results:
            for result, seconds in results:
                undecided += result
                self._budget.spent += seconds
        return undecided

    def decide(self, block: int) -> bool:
        """Find the best window of a block; False if too many would have to be compared."""
        if self._blocks.is_decided(block):
            return True
        score_map = self.score_maps.get(block)
        if score_map is None:
            return self._compare(block)
        bounds, place = self._bounds.of_block(block)
        score_map.upper_bounds[bounds[place.index] == REMOVED] = -math.inf
        incumbent = self._blocks.incumbent
        best = score_map.best(incumbent)
        if best is None:
            self._blocks.exclude(block, incumbent)
        else:
            y, x, score = best
            stride = self._search.problem.stride
            self._blocks.store_best(block, y // stride[0], x // stride[1], score)
        return True

    def _compare(self, block: int) -> bool:
        """Compare the windows of a block that could be the best; False if that takes too long."""
        incumbent = self._blocks.incumbent
        look = self._search.look(
            self._blocks.tiles[block],
            *self._bounds.of_block(block),
            incumbent,
            self._rows_most - int(self._rows_compared[block]),
        )
        self._windows_compared[block] += look.evaluated
        self._rows_compared[block] += look.compared
        if look.row >= 0:
            if look.done:
                self._blocks.store_best(block, look.row, look.col, look.score)
            self._blocks.incumbent = max(self._blocks.incumbent, look.score)
        elif look.done:
            self._blocks.exclude(block, incumbent)
        return look.done
