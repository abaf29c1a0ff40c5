"""Rectangles of the map and the rectangles of pixels they come from; integers only."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from patchsim.errors import InputError


@dataclass(frozen=True, slots=True)
class Tile:
    """A rectangle of map cells."""

    top: int
    left: int
    rows: int
    cols: int

    @property
    def cells(self) -> int:
        return self.rows * self.cols

    @property
    def index(self) -> tuple[slice, slice]:
        """Where the tile lies in a [rows, cols] map."""
        return slice(self.top, self.top + self.rows), slice(self.left, self.left + self.cols)

    def within(self, other: Tile) -> tuple[slice, slice]:
        """Where the tile lies in another that holds it."""
        return Tile(self.top - other.top, self.left - other.left, self.rows, self.cols).index

    def source(self, kernel: tuple[int, int], stride: tuple[int, int]) -> tuple[slice, slice]:
        """The pixels under the tile's windows, as an index into [H, W].

        Parameters
        ----------
        kernel : (height, width)
        stride : (y, x)
        """
        rows, cols = extent((self.rows, self.cols), kernel, stride)
        top, left = self.top * stride[0], self.left * stride[1]
        return slice(top, top + rows), slice(left, left + cols)


def extent(
    cells: tuple[int, int], kernel: tuple[int, int], stride: tuple[int, int]
) -> tuple[int, int]:
    """Height and width of the pixels that a block of (rows, cols) windows covers."""
    return (cells[0] - 1) * stride[0] + kernel[0], (cells[1] - 1) * stride[1] + kernel[1]


def map_shape(
    image: tuple[int, int], kernel: tuple[int, int], stride: tuple[int, int]
) -> tuple[int, int]:
    """Rows and columns of the map; the kernel must fit into the image."""
    return (image[0] - kernel[0]) // stride[0] + 1, (image[1] - kernel[1]) // stride[1] + 1


def split(shape: tuple[int, int], tile: tuple[int, int]) -> Iterator[Tile]:
    """Cut a map of (rows, cols) into tiles of at most `tile` (rows, cols), row by row."""
    for top in range(0, shape[0], tile[0]):
        for left in range(0, shape[1], tile[1]):
            yield Tile(top, left, min(tile[0], shape[0] - top), min(tile[1], shape[1] - left))


def join_neighbours(parts: Iterable[Tile]) -> list[Tile]:
    """The same cells with neighbours in a row as one tile."""
    runs: list[Tile] = []
    for part in sorted(parts, key=lambda tile: (tile.top, tile.rows, tile.left)):
        last = runs[-1] if runs else None
        if (
            last
            and (last.top, last.rows) == (part.top, part.rows)
            and last.left + last.cols == part.left
        ):
            runs[-1] = Tile(last.top, last.left, last.rows, last.cols + part.cols)
        else:
            runs.append(part)
    return runs


def stride_pair(stride: int | tuple[int, int]) -> tuple[int, int]:
    """(y, x) from an int or a pair; both at least 1."""
    given = tuple(stride) if isinstance(stride, tuple | list) else (stride, stride)
    try:
        # NumPy's integers are steps too; True is an int to Python, but no step.
        pair = [0 if isinstance(step, bool) else operator.index(step) for step in given]
    except TypeError:
        pair = []
    if len(pair) != 2 or min(pair) < 1:
        raise InputError(f"stride {stride!r} is not possible; give a whole number from 1, or two")
    return pair[0], pair[1]


def clamp_stride(stride: tuple[int, int], image: tuple[int, int]) -> tuple[int, int]:
    """The same map from steps no larger than the image, which torch can count."""
    return min(stride[0], image[0]), min(stride[1], image[1])
