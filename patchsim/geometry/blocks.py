"""Blocks of a map: squares of cells whose best is known."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchsim.geometry.tiles import Tile

BLOCK = 64  # cells along a side


def block_index(tile: Tile) -> tuple[slice, slice]:
    """The blocks that a tile has cells in, as an index into [block rows, block columns]."""
    return (
        slice(tile.top // BLOCK, (tile.top + tile.rows - 1) // BLOCK + 1),
        slice(tile.left // BLOCK, (tile.left + tile.cols - 1) // BLOCK + 1),
    )


def reduce_blocks(reduce: np.ufunc, cells: NDArray[Any], tile: Tile) -> NDArray[Any]:
    """What is left of a tile's cells, [rows, cols], for each of its blocks."""
    down, across = block_index(tile)
    tops = [max(0, row * BLOCK - tile.top) for row in range(down.start, down.stop)]
    lefts = [max(0, col * BLOCK - tile.left) for col in range(across.start, across.stop)]
    # Whole rows first: vector instructions.
    lines = [
        reduce.reduce(cells[top:end], axis=0) for top, end in itertools.pairwise([*tops, tile.rows])
    ]
    reduced: NDArray[Any] = reduce.reduceat(lines, lefts, axis=1)
    return reduced
