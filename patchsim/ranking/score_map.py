"""The scores of one map, exact as far as the matches need it: best first, block by block.

A map may be off by what its engine states; a match may not. So windows are taken in the order of
the best score that they could have, scored exactly when their turn comes, and put back; a window
that is still first with its exact score is the best. Where many windows of a block have their turn,
the whole block is scored exactly at once.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import closing
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from patchsim.engines import Bounds
from patchsim.geometry.blocks import BLOCK
from patchsim.geometry.overlaps import overlapping
from patchsim.geometry.tiles import Tile
from patchsim.metrics import Exact

# Windows of a block that are scored one by one; more take longer than the block's 4096 together,
# by a kernel of 64x64: 0.1 ms each, and 1 ms.
SINGLES = 12
# And before all others are looked at, which takes as long as some of them.
_MANY = 64
ROUNDING = 2.0**-51  # more than that of a sum of two values within +-2
_GONE = -np.inf  # dropped: reported, or overlapping what was


class Field:
    """The scores of one kernel's windows, as good as they are known.

    Parameters
    ----------
    shape : (rows, cols)
    kernel : (height, width)
    stride : (y, x)
    exact : (y, x) -> float
        The exact score of the window whose top-left pixel is there.
    blocks : list of Tile -> (Tile, Bounds), optional
        The scores of these tiles, in tiles that hold them; exact where the error is 0, others do
        not count.
    keeps_map : bool
        Keep the scores in `map`, too.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        kernel: tuple[int, int],
        stride: tuple[int, int],
        exact: Exact,
        *,
        blocks: Callable[[list[Tile]], Generator[tuple[Tile, Bounds], None, None]] | None = None,
        keeps_map: bool = False,
    ) -> None:
        # The exact score where `settled`, elsewhere the highest that it could be.
        self.highest: NDArray[np.float64] = np.full(shape, np.nan)
        self.settled: NDArray[np.bool_] = np.zeros(shape, dtype=bool)
        self.map: NDArray[np.float32] | None = None
        if keeps_map:
            self.map = np.full(shape, np.nan, dtype=np.float32)
        self.kernel = kernel
        self.stride = stride
        self.singly, self.blocks = 0, 0  # settled so far
        self.error = 0.0  # no score of the map was off by more
        self._lock = Lock()
        self._exact = exact
        self._blocks = blocks
        self._patience = _MANY  # windows scored one by one before others are looked at
        self._asked: Counter[tuple[int, int]] = Counter()
        self._tried: set[tuple[int, int]] = set()  # blocks that were scored as a whole
        # The first cell of each block: minus its score, settled, row, col, the block's corner.
        self._heap: list[tuple[float, bool, int, int, tuple[int, int]]] | None = None

    def put(self, tile: Tile, bounds: Bounds) -> None:
        """Take the scores of a tile; several threads may at once, of different tiles."""
        highest, settled = self.highest[tile.index], self.settled[tile.index]
        if self.map is not None:
            self.map[tile.index] = bounds.map
        if isinstance(bounds.error, float) and bounds.error == 0:
            highest[...] = bounds.map
            settled[...] = True
        else:
            self._bound(bounds, highest, settled)
        if bounds.hidden is not None:
            highest[bounds.hidden] = _GONE
            settled[bounds.hidden] = True

    def _bound(
        self, bounds: Bounds, highest: NDArray[np.float64], settled: NDArray[np.bool_]
    ) -> None:
        """Fill a tile of `highest` and `settled`."""
        np.equal(bounds.error, 0.0, out=settled)
        np.add(bounds.map, bounds.error, out=highest)
        # The sum of a score and its error must not be rounded to less than the true score.
        np.add(highest, ROUNDING, out=highest)
        np.copyto(highest, bounds.map, where=settled)
        off = float(np.max(bounds.error))
        with self._lock:
            self.error = max(self.error, off)

    def settle(self, row: int, col: int) -> None:
        """Replace what a window's score could be by what it is, or all of its block."""
        corner = row - row % BLOCK, col - col % BLOCK
        self._asked[corner] += 1
        self._patience -= 1
        if self._blocks is not None and self._patience < 0:
            self.settle_contenders()
        elif self._blocks is not None and self._asked[corner] > SINGLES:
            self._settle_all([self._tile(*corner)])
        self._settle_one(row, col)

    def _settle_one(self, row: int, col: int) -> None:
        if self.settled[row, col]:
            return
        score = self._exact(row * self.stride[0], col * self.stride[1])
        self.highest[row, col] = score
        self.settled[row, col] = True
        self.singly += 1
        if self.map is not None:
            self.map[row, col] = score

    def settle_contenders(self) -> None:
        """The same for blocks with many windows that could be the best, together."""
        if self.error == 0 or self._blocks is None:
            return
        before = self.blocks
        self._settle_all(self._contenders())
        # If there are few in each block, looking again soon would take longer than settling them.
        self._patience = _MANY if self.blocks > before else 4 * _MANY

    def _settle_all(self, tiles: list[Tile]) -> None:
        assert self._blocks is not None
        todo = [tile for tile in tiles if (tile.top, tile.left) not in self._tried]
        if todo:
            with closing(self._blocks(todo)) as scored:
                for tile, scores in scored:
                    self._settle_block(tile, scores)

    def _settle_block(self, tile: Tile, scores: Bounds) -> None:
        known = np.equal(scores.error, 0.0) & ~self.settled[tile.index]
        if self.map is not None:
            np.copyto(self.map[tile.index], scores.map, where=known, casting="same_kind")
        highest = self.highest[tile.index]
        np.copyto(highest, scores.map, where=known & (highest > _GONE))
        self.settled[tile.index] |= known
        corners = {
            (tile.top + top, tile.left + left)
            for top in range(0, tile.rows, BLOCK)
            for left in range(0, tile.cols, BLOCK)
        }
        self._tried |= corners
        self.blocks = len(self._tried)

    def _contenders(self) -> list[Tile]:
        """Blocks with many windows that could be the best of those left."""
        # A window that is known to be good leaves fewer that could be better.
        first = np.unravel_index(int(self.highest.argmax()), self.highest.shape)
        self._settle_one(*map(int, first))
        surely = float(np.max(self.highest, initial=_GONE, where=self.settled))
        rows, cols = self.highest.shape
        found = []
        for top in range(0, rows, BLOCK):
            band = np.s_[top : top + BLOCK]
            could = (self.highest[band] >= surely) & ~self.settled[band]
            counts = np.add.reduceat(could.sum(0), range(0, cols, BLOCK))
            many = np.flatnonzero(counts > SINGLES)
            found += [self._tile(top, left * BLOCK) for left in many.tolist()]
        return found

    @property
    def block_count(self) -> int:
        """Blocks of the map."""
        return math.prod(-(-length // BLOCK) for length in self.highest.shape)

    def _tile(self, top: int, left: int) -> Tile:
        rows, cols = self.highest.shape
        return Tile(top, left, min(BLOCK, rows - top), min(BLOCK, cols - left))

    @property
    def ceiling(self) -> float:
        """No window that is left scores more."""
        heap = self._ready()
        return -heap[0][0] if heap else _GONE

    def _ready(self) -> list[tuple[float, bool, int, int, tuple[int, int]]]:
        if self._heap is None:
            self._heap = []
            rows, cols = self.highest.shape
            for top in range(0, rows, BLOCK):
                for left in range(0, cols, BLOCK):
                    self._push((top, left))
        return self._heap

    def best(self, floor: float) -> tuple[int, int, float] | None:
        """The best window left, y, x and its exact score, or None if none reaches the floor."""
        heap = self._ready()
        while heap and -heap[0][0] >= floor:
            minus, settled, row, col, corner = heap[0]
            # Dropped cells stay in the heap until their turn.
            if self.highest[row, col] == -minus:
                if settled:
                    return row * self.stride[0], col * self.stride[1], -minus
                self.settle(row, col)
            heapq.heappop(heap)
            self._push(corner)
        return None

    def _push(self, corner: tuple[int, int]) -> None:
        assert self._heap is not None
        row, col = self._first(*corner)
        value = float(self.highest[row, col])
        if math.isnan(value):
            raise ValueError(f"there is no score in row {row}, col {col}")
        if value > _GONE:
            # Of equal values those not settled come first: they could come down.
            heapq.heappush(self._heap, (-value, bool(self.settled[row, col]), row, col, corner))

    def drop(self, y: int, x: int) -> None:
        """Drop one window."""
        self.highest[y // self.stride[0], x // self.stride[1]] = _GONE

    def _first(self, top: int, left: int) -> tuple[int, int]:
        """The first cell of the block at (top, left): highest, unsettled before settled."""
        block = np.s_[top : top + BLOCK, left : left + BLOCK]
        values = self.highest[block]
        row, col = divmod(int(values.argmax()), values.shape[1])
        settled = self.settled[block]
        if self.error > 0 and settled[row, col] and values[row, col] > _GONE:
            # An equal cell that is not settled could yet prove better or worse: look at it first.
            open_cells = (values == values[row, col]) & ~settled
            if open_cells.any():
                row, col = divmod(int(open_cells.argmax()), values.shape[1])
        return top + row, left + col

    def drop_overlapping(self, box: tuple[int, int, int, int], overlap: float) -> None:
        """Drop windows whose intersection over union with the box (y, x, h, w) is larger."""
        shape = self.highest.shape
        for part, over in overlapping(shape, self.kernel, self.stride, box, overlap):
            self.highest[part][over] = _GONE
