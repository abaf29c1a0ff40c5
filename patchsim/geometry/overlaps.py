"""Which windows of a map overlap a box, by intersection over union."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

_ROWS_AT_ONCE = 64  # large kernels overlap in millions of cells


def overlapping(
    shape: tuple[int, ...],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    box: tuple[int, int, int, int],
    overlap: float,
) -> Iterator[tuple[tuple[slice, slice], NDArray[np.bool_]]]:
    """Parts of a map (rows, cols), and where in them windows overlap the box by more.

    Parameters
    ----------
    shape, kernel, stride
        Of the map: (rows, cols), (height, width), (y, x).
    box : (y, x, height, width)
    overlap : float
        Intersection over union.
    """
    if overlap >= 1:  # which no intersection over union exceeds
        return
    y, x, box_height, box_width = box
    height, width = kernel
    rows = _touching(y, box_height, height, stride[0], shape[0])
    cols = _touching(x, box_width, width, stride[1], shape[1])
    if not rows or not cols:
        return
    tall = _shared(rows, stride[0], height, y, box_height)
    wide = _shared(cols, stride[1], width, x, box_width)
    for first in range(0, len(rows), _ROWS_AT_ONCE):
        shared = tall[first : first + _ROWS_AT_ONCE, None] * wide
        union = box_height * box_width + height * width - shared
        top = rows.start + first
        part = slice(top, top + len(shared)), slice(cols.start, cols.stop)
        yield part, shared > overlap * union


def _touching(start: int, length: int, own: int, step: int, count: int) -> range:
    """Cells whose windows (`own` pixels from cell x step) share a pixel with the interval."""
    first = max(0, (start - own) // step + 1)
    return range(first, max(first, min(count, -(-(start + length) // step))))


def _shared(cells: range, step: int, own: int, start: int, length: int) -> NDArray[np.int64]:
    """How many pixels each cell's window shares with the interval."""
    begin = np.arange(cells.start, cells.stop, dtype=np.int64) * step
    return np.minimum(begin + own, start + length) - np.maximum(begin, start)
