"""Lower bounds of how much the windows of one kernel differ from it, for the search without a map.

A window that is removed, because it is a match or overlaps one, is marked in the bounds that exist.
Bounds that are made later get the same marks.
"""

from __future__ import annotations

import threading

import numpy as np

from patchsim.engines import REMOVED, LowerBounds, Search
from patchsim.geometry.overlaps import Box, overlapping
from patchsim.geometry.tiles import Tile


class WindowBounds:
    """Lower bounds of the windows' differences, without the windows that were removed.

    Parameters
    ----------
    search : Search
    blocks : list of Tile
    most : int or None
        The most blocks whose bounds are kept; those of others are made again when they are asked
        for, coarse as at first. With None the bounds of all windows are kept.
    """

    def __init__(self, search: Search, blocks: list[Tile], most: int | None) -> None:
        problem = search.problem
        self.kernel, self.stride = problem.match_size, problem.stride
        self.suppressed: list[tuple[int, int]] = []  # single windows, y and x
        self.boxes: list[tuple[Box, float]] = []  # with the overlap from which on windows go
        self._search, self._blocks = search, blocks
        self._all: LowerBounds | None = (
            np.empty(problem.map_shape, np.uint16) if most is None else None
        )
        self._by_block: dict[int, LowerBounds] = {}
        self._most = most or 0
        self._lock = threading.Lock()  # blocks are compared by several threads

    def compute(self, tile: Tile) -> LowerBounds:
        """Make the bounds of a tile, kept if all are; return the least of each block in it."""
        if self._all is not None:
            return self._search.bound(tile, self._all, tile)
        return self._search.bound(tile, *_apart(tile))

    def of_block(self, block: int) -> tuple[LowerBounds, Tile]:
        """Return an array that holds the bounds of a block, and where they lie in it."""
        tile = self._blocks[block]
        if self._all is not None:
            return self._all, tile
        bounds = self._by_block.get(block)
        if bounds is None:
            bounds, _ = self._again(tile)
        self._store(block, bounds)
        return bounds, Tile(0, 0, tile.rows, tile.cols)

    def is_removed(self, block: int) -> bool:
        """Return whether a block has no window left."""
        bounds, place = self.of_block(block)
        return bool((bounds[place.index] == REMOVED).all())

    def of_tile(self, tile: Tile) -> tuple[LowerBounds, Tile]:
        """Return an array that holds the bounds of a tile, and where; `keep` comes after."""
        if self._all is not None:
            return self._all, tile
        return self._again(tile)

    def _again(self, tile: Tile) -> tuple[LowerBounds, Tile]:
        bounds, place = _apart(tile)
        self._search.bound(tile, bounds, place)
        self._suppress_in(tile, bounds, self.suppressed, self.boxes)
        return bounds, place

    def keep(self, block: int, tile: Tile, bounds: LowerBounds) -> None:
        """Keep the bounds of a block of a tile that were raised, if not all are kept anyway."""
        if self._all is None:
            raised = bounds[self._blocks[block].within(tile)].copy()
            before = self._by_block.get(block)
            self._store(block, raised if before is None else np.maximum(raised, before))

    def _store(self, block: int, bounds: LowerBounds) -> None:
        """Keep the bounds of a block; those least recently used go where there are too many."""
        with self._lock:
            self._by_block.pop(block, None)
            self._by_block[block] = bounds
            while len(self._by_block) > self._most:
                del self._by_block[next(iter(self._by_block))]

    def suppress(self, y: int, x: int) -> None:
        """Remove one window."""
        self.suppressed.append((y, x))
        if self._all is not None:
            self._all[y // self.stride[0], x // self.stride[1]] = REMOVED
        for block, bounds in self._by_block.items():
            self._suppress_in(self._blocks[block], bounds, [(y, x)], [])

    def suppress_overlapping(self, box: Box, overlap: float) -> None:
        """Remove windows whose intersection over union with the box is larger."""
        self.boxes.append((box, overlap))
        if self._all is not None:
            shape = self._all.shape
            for index, is_over in overlapping(shape, self.kernel, self.stride, box, overlap):
                self._all[index][is_over] = REMOVED
        for block, bounds in self._by_block.items():
            self._suppress_in(self._blocks[block], bounds, [], [(box, overlap)])

    def _suppress_in(
        self,
        tile: Tile,
        bounds: LowerBounds,
        windows: list[tuple[int, int]],
        boxes: list[tuple[Box, float]],
    ) -> None:
        """Remove windows in the bounds of a tile."""
        top, left = tile.top * self.stride[0], tile.left * self.stride[1]
        for y, x in windows:
            row, col = (y - top) // self.stride[0], (x - left) // self.stride[1]
            if 0 <= row < tile.rows and 0 <= col < tile.cols:
                bounds[row, col] = REMOVED
        for (y, x, height, width), overlap in boxes:
            box = y - top, x - left, height, width
            over = overlapping(bounds.shape, self.kernel, self.stride, box, overlap)
            for index, is_over in over:
                bounds[index][is_over] = REMOVED

    def clear(self) -> None:
        """Free the bounds."""
        self._all, self._by_block = None, {}


def _apart(tile: Tile) -> tuple[LowerBounds, Tile]:
    """Return an array for the bounds of a tile alone, and where they lie in it."""
    return np.empty((tile.rows, tile.cols), np.uint16), Tile(0, 0, tile.rows, tile.cols)
