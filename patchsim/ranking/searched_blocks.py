"""The blocks of a map during a search by bounds: what is known of each, and the incumbent."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from patchsim.engines import REMOVED, LowerBounds
from patchsim.geometry import tiles
from patchsim.geometry.blocks import block_index, grid_shape
from patchsim.geometry.tiles import Tile


@lru_cache(maxsize=1)
def _tiles(shape: tuple[int, int], side: int) -> list[Tile]:
    """Return the blocks of a map; kept, as many kernels have maps of one shape."""
    return list(tiles.split(shape, (side, side)))


class SearchedBlocks:
    """The blocks of one map, numbered row by row.

    Parameters
    ----------
    shape : (rows, cols)
        The shape of the map.
    side : int
        Windows along a side of a block.

    Attributes
    ----------
    tiles : list of Tile
        The windows of each block.
    least_bounds : uint16 array [block rows, block cols]
        The least bound of the differences of a block's windows.
    upper_bounds : float64 array [blocks]
        The score that no window of a block exceeds.
    best_scores : float64 array [blocks]
        The best score of a block, -inf where it is not known.
    incumbent : float
        The score that a window left has at least, or the floor of the search.
    """

    def __init__(self, shape: tuple[int, int], side: int) -> None:
        self.tiles = _tiles(shape, side)
        count = len(self.tiles)
        self.least_bounds: LowerBounds = np.full(grid_shape(shape), REMOVED, np.uint16)
        self.upper_bounds: NDArray[np.float64] = np.full(count, -math.inf)
        self.best_scores: NDArray[np.float64] = np.full(count, -math.inf)
        self.incumbent = -math.inf
        self._best_cells = np.zeros((count, 2), np.int64)

    def put(self, tile: Tile, least_bounds: LowerBounds) -> None:
        """Store the least bounds of the blocks in a tile."""
        stored = self.least_bounds[block_index(tile)]
        np.minimum(stored, least_bounds, out=stored)

    def numbers(self, tile: Tile) -> NDArray[np.int64]:
        """Return the numbers of the blocks in a tile, row by row."""
        down, across = block_index(tile)
        rows = np.arange(down.start, down.stop) * self.least_bounds.shape[1]
        columns = np.arange(across.start, across.stop)
        numbers: NDArray[np.int64] = np.add.outer(rows, columns).ravel()
        return numbers

    def open_from(self, floor: float) -> list[int]:
        """Return the blocks that could hold the best window of those from a floor, best first."""
        self.incumbent = max(floor, float(self.best_scores.max()))
        is_open = self.upper_bounds > self.best_scores
        blocks = np.flatnonzero(is_open & (self.upper_bounds >= self.incumbent))
        order: list[int] = blocks[np.argsort(-self.upper_bounds[blocks])].tolist()
        return order

    def still_open(self, blocks: Iterable[int]) -> list[int]:
        """Return the blocks that could hold the best window."""
        numbers = np.fromiter(blocks, np.intp)
        still: list[int] = numbers[self.upper_bounds[numbers] >= self.incumbent].tolist()
        return still

    def best_first(self, blocks: list[int]) -> list[int]:
        """Return blocks in the order of their upper bounds."""
        return [blocks[place] for place in np.argsort(-self.upper_bounds[blocks], kind="stable")]

    def is_decided(self, block: int) -> bool:
        """Return whether the best window of a block is known, or worse than the incumbent."""
        upper_bound = self.upper_bounds[block]
        return bool(upper_bound < self.incumbent or upper_bound == self.best_scores[block])

    def exclude(self, block: int, incumbent: float) -> None:
        """Store that no window of a block scores as much as an incumbent."""
        self.upper_bounds[block] = math.nextafter(incumbent, -math.inf)

    def store_best(self, block: int, row: int, col: int, score: float) -> None:
        """Store the best window of a block; row and col are those within the block."""
        tile = self.tiles[block]
        self._best_cells[block] = tile.top + row, tile.left + col
        self.upper_bounds[block] = self.best_scores[block] = score
        self.incumbent = max(self.incumbent, score)

    def best(self, floor: float) -> tuple[int, int, float] | None:
        """Return row, col and score of the best window that is known, or None below a floor."""
        score = float(self.best_scores.max())
        if score < floor or score == -math.inf:
            return None
        row, col = min(self._best_cells[self.best_scores == score].tolist())
        return row, col, score

    def forget(self, is_removed: Callable[[int, int], bool]) -> None:
        """Forget the best windows of blocks that are removed, by their row and col."""
        for block in np.flatnonzero(self.best_scores > -math.inf).tolist():
            if is_removed(*self._best_cells[block].tolist()):
                self.best_scores[block] = -math.inf
