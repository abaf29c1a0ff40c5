"""The windows that were removed from a map of blocks, kept for blocks that are opened later."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from patchsim.geometry.blocks import BLOCK, grid_shape
from patchsim.geometry.overlaps import Box


class RemovedWindows:
    """Single windows, and boxes whose windows were removed, by the blocks that they touch.

    Parameters
    ----------
    shape : (rows, cols)
        The shape of the map.
    kernel : (height, width)
    stride : (y, x)
    """

    def __init__(
        self, shape: tuple[int, int], kernel: tuple[int, int], stride: tuple[int, int]
    ) -> None:
        self.removals = 0  # how often windows were removed
        self._grid = grid_shape(shape)
        self._kernel, self._stride = kernel, stride
        self._windows: dict[int, list[tuple[int, int]]] = {}
        self._boxes: dict[int, list[tuple[Box, float]]] = {}

    def add_window(self, block: int, y: int, x: int) -> None:
        """Remove one window, which lies in this block."""
        self._windows.setdefault(block, []).append((y, x))
        self.removals += 1

    def add_box(self, box: Box, overlap: float) -> None:
        """Remove windows whose intersection over union with the box (y, x, h, w) is larger."""
        removed = box, overlap
        for block in self.blocks_touching(box):
            self._boxes.setdefault(block, []).append(removed)
        self.removals += 1

    def windows(self, block: int) -> Sequence[tuple[int, int]]:
        """Return y and x of the single windows that were removed from a block."""
        return self._windows.get(block, ())

    def boxes(self, block: int) -> Sequence[tuple[Box, float]]:
        """Return the boxes that touch a block, with the overlap, in the order of removal."""
        return self._boxes.get(block, ())

    def blocks_touching(self, box: Box) -> Iterator[int]:
        """Yield the blocks in which a window can share a pixel with a box."""
        touched = []
        for axis in (0, 1):
            start, length, stride = box[axis], box[2 + axis], self._stride[axis]
            first = max(0, (start - self._kernel[axis]) // stride // BLOCK)
            last = min(self._grid[axis] - 1, (start + length) // stride // BLOCK)
            touched.append(range(first, last + 1))
        for row in touched[0]:
            for col in touched[1]:
                yield row * self._grid[1] + col
