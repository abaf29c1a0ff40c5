"""The first cell of each block of a score map, best first."""

from __future__ import annotations

import heapq
import math

import numpy as np
from numpy.typing import NDArray

from patchsim.geometry.blocks import BLOCK, reduce_blocks
from patchsim.geometry.tiles import Tile

SUPPRESSED = -np.inf  # the upper bound of a match, or of a window that overlaps one
_UNKNOWN = -1  # the row and column of a block's first cell before they are looked up

# Minus the upper bound of a cell, whether that is exact, its row and column, its block's corner.
# Among equal values inexact ones come first, as their scores may be lower.
Cell = tuple[float, bool, int, int, tuple[int, int]]


class CellQueue:
    """A heap with the highest cell of each block, as it was when it was put.

    Parameters
    ----------
    upper_bounds : float64 array [rows, cols]
        They are lowered from outside, after which the first cell may be out of date.
    is_exact : bool array [rows, cols]
    has_errors : bool
        Whether any cell was put that is not exact.

    Raises
    ------
    ValueError
        If a cell is NaN.
    """

    def __init__(
        self, upper_bounds: NDArray[np.float64], is_exact: NDArray[np.bool_], *, has_errors: bool
    ) -> None:
        self._upper_bounds, self._is_exact, self._has_errors = upper_bounds, is_exact, has_errors
        self._heap: list[Cell] = []
        self._fill()

    @property
    def first(self) -> Cell | None:
        """The cell with the highest upper bound, or None if all are suppressed."""
        while self._heap and self._heap[0][2] == _UNKNOWN:
            self.replace_first()
        return self._heap[0] if self._heap else None

    def replace_first(self) -> None:
        """Put the cell that is now the highest of its block in place of the first one."""
        *_, corner = heapq.heappop(self._heap)
        self._push(*corner)

    def _fill(self) -> None:
        """Put the highest value of each block; its cell is looked up in its turn."""
        rows, cols = self._upper_bounds.shape
        if max(rows, cols) <= BLOCK:
            self._push(0, 0)
            return
        highest = reduce_blocks(np.maximum, self._upper_bounds, Tile(0, 0, rows, cols))
        for down, across in np.argwhere(np.isnan(highest))[:1].tolist():
            self._push(down * BLOCK, across * BLOCK)  # it says which score is missing
        for (down, across), value in np.ndenumerate(highest):
            if value > SUPPRESSED:
                corner = down * BLOCK, across * BLOCK
                self._heap.append((-float(value), False, _UNKNOWN, _UNKNOWN, corner))
        heapq.heapify(self._heap)

    def _push(self, top: int, left: int) -> None:
        """Put the first cell of a block."""
        row, col = self._highest(top, left)
        value = float(self._upper_bounds[row, col])
        if math.isnan(value):
            raise ValueError(f"there is no score in row {row}, col {col}")
        if value > SUPPRESSED:
            is_exact = bool(self._is_exact[row, col])
            heapq.heappush(self._heap, (-value, is_exact, row, col, (top, left)))

    def _highest(self, top: int, left: int) -> tuple[int, int]:
        """Return row and col of a block's highest cell; inexact ones come before exact ones."""
        block = np.s_[top : top + BLOCK, left : left + BLOCK]
        values = self._upper_bounds[block]
        row, col = divmod(int(values.argmax()), values.shape[1])
        is_exact = self._is_exact[block]
        if self._has_errors and is_exact[row, col] and values[row, col] > SUPPRESSED:
            # An equal cell that is not exact could prove to be worse: it is evaluated first.
            is_open = (values == values[row, col]) & ~is_exact
            if is_open.any():
                row, col = divmod(int(is_open.argmax()), values.shape[1])
        return top + row, left + col
