"""Which pixels a rectangle of the map needs, and how a map is cut into tiles."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from patchsim.checks import whole_number
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
        """Return where the tile lies in another tile that contains it."""
        return Tile(self.top - other.top, self.left - other.left, self.rows, self.cols).index

    def source(self, kernel: tuple[int, int], stride: tuple[int, int]) -> tuple[slice, slice]:
        """Return the pixels under the tile's windows, as an index into [H, W].

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
    """Return height and width of the pixels that (rows, cols) windows cover."""
    return (cells[0] - 1) * stride[0] + kernel[0], (cells[1] - 1) * stride[1] + kernel[1]


def map_shape(
    image: tuple[int, int], kernel: tuple[int, int], stride: tuple[int, int]
) -> tuple[int, int]:
    """Return rows and columns of the map; the kernel must fit into the image."""
    return (image[0] - kernel[0]) // stride[0] + 1, (image[1] - kernel[1]) // stride[1] + 1


def split(shape: tuple[int, int], tile: tuple[int, int]) -> Iterator[Tile]:
    """Cut a map of (rows, cols) into tiles of at most `tile` (rows, cols), row by row."""
    for top in range(0, shape[0], tile[0]):
        for left in range(0, shape[1], tile[1]):
            yield Tile(top, left, min(tile[0], shape[0] - top), min(tile[1], shape[1] - left))


def join_neighbours(separate: Iterable[Tile]) -> list[Tile]:
    """Join tiles that are neighbours in a row into one tile each; the cells stay the same."""
    joined: list[Tile] = []
    for tile in sorted(separate, key=lambda tile: (tile.top, tile.rows, tile.left)):
        last = joined[-1] if joined else None
        if (
            last
            and (last.top, last.rows) == (tile.top, tile.rows)
            and last.left + last.cols == tile.left
        ):
            joined[-1] = Tile(last.top, last.left, last.rows, last.cols + tile.cols)
        else:
            joined.append(tile)
    return joined


def stride_pair(stride: int | tuple[int, int]) -> tuple[int, int]:
    """Return a stride as (y, x).

    Raises
    ------
    InputError
        If the stride is neither an integer from 1 nor a pair of these.
    """
    steps = tuple(stride) if isinstance(stride, tuple | list) else (stride, stride)
    pair = [whole_number(step) or 0 for step in steps]
    if len(pair) != 2 or min(pair) < 1:
        raise InputError(
            f"stride {stride!r} is not possible; give a whole number from 1,"
            " or two as a tuple (y, x)"
        )
    return pair[0], pair[1]


def clamp_stride(stride: tuple[int, int], image: tuple[int, int]) -> tuple[int, int]:
    """Limit a stride to the image's size, which torch can handle; the map stays the same."""
    return min(stride[0], image[0]), min(stride[1], image[1])
