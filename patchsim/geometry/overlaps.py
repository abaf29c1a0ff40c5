"""Which windows of a map overlap a box, by intersection over union."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Box = tuple[int, int, int, int]  # y, x, height, width, in pixels

_ROWS_AT_ONCE = 64  # a large kernel overlaps millions of windows; this bounds the memory
_MOST_KEPT = 1 << 14  # windows around a box that are kept for the next one


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
    rows = _clipped(_touching(y, box_height, height, stride[0]), shape[0])
    cols = _clipped(_touching(x, box_width, width, stride[1]), shape[1])
    if not rows or not cols:
        return
    (down, from_y), (across, from_x) = (
        divmod(place, step) for place, step in zip((y, x), stride, strict=True)
    )
    if len(rows) * len(cols) <= _MOST_KEPT:
        # Windows lie alike around all boxes of one size that lie alike between the windows.
        size = box_height, box_width
        exceeds, first_row, first_col = _around(kernel, stride, size, (from_y, from_x), overlap)
        top, left = rows.start - down - first_row, cols.start - across - first_col
        too_much = exceeds[top : top + len(rows), left : left + len(cols)]
        yield (slice(rows.start, rows.stop), slice(cols.start, cols.stop)), too_much
        return
    shared_heights = _shared_lengths(rows, stride[0], height, y, box_height)
    shared_widths = _shared_lengths(cols, stride[1], width, x, box_width)
    for first in range(0, len(rows), _ROWS_AT_ONCE):
        top = rows.start + first
        shared = shared_heights[first : first + _ROWS_AT_ONCE]
        index = slice(top, top + len(shared)), slice(cols.start, cols.stop)
        yield index, _exceeds(shared, shared_widths, kernel, (box_height, box_width), overlap)


def is_overlapping(first: Box, second: Box, overlap: float) -> bool:
    """Return whether the intersection over union of two boxes exceeds a limit."""
    shared = 1
    for axis in (0, 1):
        end = min(first[axis] + first[2 + axis], second[axis] + second[2 + axis])
        shared *= max(0, end - max(first[axis], second[axis]))
    return bool(_is_over(shared, first[2] * first[3] + second[2] * second[3], overlap))


@lru_cache(maxsize=16)
def _around(
    kernel: tuple[int, int],
    stride: tuple[int, int],
    size: tuple[int, int],
    place: tuple[int, int],
    overlap: float,
) -> tuple[NDArray[np.bool_], int, int]:
    """Return which windows around a box of some size overlap it too much, and the first one's cell.

    The box lies at `place`, and cells count from the origin, so that there are negative ones.
    """
    touching = [_touching(*axis) for axis in zip(place, size, kernel, stride, strict=True)]
    shared = [
        _shared_lengths(cells, step, window, start, length)
        for cells, step, window, start, length in zip(
            touching, stride, kernel, place, size, strict=True
        )
    ]
    exceeds = _exceeds(shared[0], shared[1], kernel, size, overlap)
    exceeds.flags.writeable = False
    return exceeds, touching[0].start, touching[1].start


def _exceeds(
    shared_heights: NDArray[np.int64],
    shared_widths: NDArray[np.int64],
    kernel: tuple[int, int],
    size: tuple[int, int],
    overlap: float,
) -> NDArray[np.bool_]:
    shared = shared_heights[:, None] * shared_widths
    is_over: NDArray[np.bool_] = _is_over(shared, math.prod(size) + math.prod(kernel), overlap)
    return is_over


def _is_over(shared: Any, areas: int, overlap: float) -> Any:
    """Return whether what boxes share, in pixels, is too much of their union; `areas` is the sum.

    A quotient is rounded once, as a limit such as 0.7 is, so that equal ones compare as equal.
    """
    return shared / (areas - shared) > overlap


def _touching(start: int, length: int, window: int, step: int) -> range:
    """Return the cells whose windows share a pixel with the interval [start, start + length).

    Along one axis: `window` is a window's length, `step` the stride. Cells may be negative.
    """
    return range((start - window) // step + 1, -(-(start + length) // step))


def _clipped(cells: range, count: int) -> range:
    first = max(0, cells.start)
    return range(first, max(first, min(count, cells.stop)))


def _shared_lengths(
    cells: range, step: int, window: int, start: int, length: int
) -> NDArray[np.int64]:
    """Return how many pixels each cell's window shares with [start, start + length)."""
    begin = np.arange(cells.start, cells.stop, dtype=np.int64) * step
    return np.minimum(begin + window, start + length) - np.maximum(begin, start)
