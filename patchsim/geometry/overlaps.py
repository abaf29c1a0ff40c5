"""Which windows of a map overlap a box, by intersection over union."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Box = tuple[int, int, int, int]  # y, x, height, width, in pixels

_ROWS_AT_ONCE = 64  # a large kernel overlaps millions of windows; this bounds the memory


def overlapping(
    shape: tuple[int, ...],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    box: Box,
    overlap: float,
) -> Iterator[tuple[tuple[slice, slice], NDArray[np.bool_]]]:
    """Yield where the windows of a map overlap a box by more than a limit.

    Parameters
    ----------
    shape : (rows, cols)
        The map's shape.
    kernel : (height, width)
        The size of a window.
    stride : (y, x)
    box : (y, x, height, width)
        In pixels.
    overlap : float
        The largest allowed intersection over union, 0 to 1.

    Yields
    ------
    index : (slice, slice)
        A part of the map.
    exceeds : bool array
        For each cell of the part, whether its window's intersection over union with the box
        exceeds `overlap`.
    """
    if overlap >= 1:  # no intersection over union exceeds 1
        return
    y, x, box_height, box_width = box
    height, width = kernel
    rows = _touching(y, box_height, height, stride[0], shape[0])
    cols = _touching(x, box_width, width, stride[1], shape[1])
    if not rows or not cols:
        return
    shared_heights = _shared_lengths(rows, stride[0], height, y, box_height)
    shared_widths = _shared_lengths(cols, stride[1], width, x, box_width)
    for first in range(0, len(rows), _ROWS_AT_ONCE):
        intersection = shared_heights[first : first + _ROWS_AT_ONCE, None] * shared_widths
        union = box_height * box_width + height * width - intersection
        top = rows.start + first
        index = slice(top, top + len(intersection)), slice(cols.start, cols.stop)
        yield index, intersection > overlap * union


def _touching(start: int, length: int, window: int, step: int, count: int) -> range:
    """Return the cells whose windows share a pixel with the interval [start, start + length).

    Along one axis: `window` is a window's length, `step` the stride, `count` the number of cells.
    """
    first = max(0, (start - window) // step + 1)
    return range(first, max(first, min(count, -(-(start + length) // step))))


def _shared_lengths(
    cells: range, step: int, window: int, start: int, length: int
) -> NDArray[np.int64]:
    """Return how many pixels each cell's window shares with [start, start + length)."""
    begin = np.arange(cells.start, cells.stop, dtype=np.int64) * step
    return np.minimum(begin + window, start + length) - np.maximum(begin, start)
