"""Which block of a map a cell lies in; a block is a square of cells that is summarised at once."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchsim.geometry.tiles import Tile

BLOCK = 64  # cells along a side


def grid_shape(shape: tuple[int, int]) -> tuple[int, int]:
    """Return the block rows and block columns of a map of (rows, cols)."""
    return -(-shape[0] // BLOCK), -(-shape[1] // BLOCK)


def block_index(tile: Tile) -> tuple[slice, slice]:
    """Return the blocks that a tile has cells in, as an index into [block rows, block columns]."""
    return (
        slice(tile.top // BLOCK, (tile.top + tile.rows - 1) // BLOCK + 1),
        slice(tile.left // BLOCK, (tile.left + tile.cols - 1) // BLOCK + 1),
    )


def reduce_blocks(reduce: np.ufunc, cells: NDArray[Any], tile: Tile) -> NDArray[Any]:
    """Reduce a tile's cells to one value for each block.

    Parameters
    ----------
    reduce : ufunc
        How two cells become one, such as `numpy.maximum`.
    cells : array [rows, cols]
        The tile's cells.
    tile : Tile
        Where the cells lie in the map.

    Returns
    -------
    array [block rows, block columns]
        One value for each block of `block_index(tile)`; cells outside the tile do not count.
    """
    block_rows, block_cols = block_index(tile)
    tops = [max(0, row * BLOCK - tile.top) for row in range(block_rows.start, block_rows.stop)]
    lefts = [max(0, col * BLOCK - tile.left) for col in range(block_cols.start, block_cols.stop)]
    # Reduce along columns first: NumPy uses vector instructions for whole rows.
    lines = [
        reduce.reduce(cells[top:end], axis=0) for top, end in itertools.pairwise([*tops, tile.rows])
    ]
    reduced: NDArray[Any] = reduce.reduceat(lines, lefts, axis=1)
    return reduced
