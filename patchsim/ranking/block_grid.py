"""An upper bound of each block of a map, and the scores themselves if they are kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from threading import Lock
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from patchsim.engines import BlockBounds, Bounds
from patchsim.geometry.blocks import BLOCK, block_index, grid_shape, reduce_blocks
from patchsim.geometry.tiles import Tile
from patchsim.ranking.cell_queue import SUPPRESSED
from patchsim.ranking.score_map import ROUNDING


class Known(NamedTuple):
    """The knowledge of the windows of a kernel before a search, such as from an earlier one.

    Attributes
    ----------
    upper_bounds : float64 array [block rows, block columns]
        Those of a `BlockGrid` that took some tiles of the map; NaN where it took none.
    error : float
        The largest error of a score in these tiles.
    has : Tile -> bool
        Whether the windows of a tile are among them, so that they are not scored again.
    """

    upper_bounds: NDArray[np.float64]
    error: float
    has: Callable[[Tile], bool]


class BlockGrid:
    """The blocks of a map, numbered row by row, and what engines said of their windows.

    Parameters
    ----------
    shape : (rows, cols)
        The shape of the map.
    keeps_scores : bool
        Keep the scores in `scores`.
    keeps_errors : bool
        Keep the largest error of each block, too, and which windows are hidden, so that `bounds`
        gives the windows of a block again.
    """

    def __init__(self, shape: tuple[int, int], *, keeps_scores: bool, keeps_errors: bool) -> None:
        self.shape = shape
        self.error = 0.0  # the largest error of a score
        # Made for the first tile, because a tile of all windows is taken as it is.
        self.scores: NDArray[np.float32] | None = None
        self._keeps_scores = keeps_scores
        size = grid_shape(shape)
        self._block_cols = size[1]
        self.upper_bounds: NDArray[np.float64] = np.full(size, np.nan)
        self._errors: NDArray[np.float32] | None = None
        if keeps_errors:
            self._errors = np.zeros(size, np.float32)
        self._hidden: NDArray[np.bool_] | None = None  # windows, if any are
        self._lock = Lock()

    @property
    def has_errors(self) -> bool:
        """Whether the errors of scores are kept."""
        return self._errors is not None

    def put(self, tile: Tile, bounds: Bounds) -> None:
        """Take the scores of a tile; several threads may put different tiles at once."""
        if self._keeps_scores:
            self._put_scores(tile, bounds.map)
        if self._errors is not None and bounds.hidden is not None:
            with self._lock:
                if self._hidden is None:
                    self._hidden = np.zeros(self.shape, np.bool_)
            self._hidden[tile.index] = bounds.hidden
        error = bounds.error if isinstance(bounds.error, float) else float(np.max(bounds.error))
        with self._lock:
            self.error = max(self.error, error)
        if bounds.blocks is not None and tile.top % BLOCK == 0 and tile.left % BLOCK == 0:
            self._put_blocks(tile, bounds.blocks)
            return
        # By rows of blocks, so that the upper bounds of a whole tile are never in memory.
        top = 0
        while top < tile.rows:
            rows = min(BLOCK - (tile.top + top) % BLOCK, tile.rows - top)
            band = Tile(tile.top + top, tile.left, rows, tile.cols)
            self._put_band(band, bounds, np.s_[top : top + rows], has_errors=error > 0)
            top += rows

    def _put_scores(self, tile: Tile, scores: NDArray[np.floating]) -> None:
        """Keep the scores of a tile."""
        if scores.shape == self.shape and scores.dtype == np.float32:
            self.scores = scores
            return
        with self._lock:
            if self.scores is None:
                # Empty: a block without a score is noticed by its bound, which is NaN.
                self.scores = np.empty(self.shape, np.float32)
        self.scores[tile.index] = scores

    def put_bounds(self, top: int, upper_bounds: NDArray[np.float64], error: float) -> None:
        """Take the upper bounds of rows of blocks whose scores are not kept.

        Parameters
        ----------
        top : int
            The first row of windows, a multiple of `BLOCK`.
        upper_bounds : float64 array [block rows, block columns]
            At least the true score of each window of a block, or -inf if none is to be found there.
        error : float
            The largest error of a score.
        """
        first = top // BLOCK
        with self._lock:
            self.error = max(self.error, error)
            stored = self.upper_bounds[first : first + len(upper_bounds)]
            np.fmax(stored, upper_bounds, out=stored)

    def _put_blocks(self, tile: Tile, blocks: BlockBounds) -> None:
        """Store the maxima of a tile that begins with a block."""
        # The sum of a score and its error must not be rounded to less than the true score.
        upper_bounds = np.add(blocks.maxima, blocks.errors, dtype=np.float64)
        upper_bounds += (blocks.errors > 0) * ROUNDING
        if (tile.rows, tile.cols) == self.shape and self._errors is not None:
            self.upper_bounds, self._errors = upper_bounds, blocks.errors
            return
        self._store(tile, upper_bounds, blocks.errors)

    def _put_band(self, band: Tile, bounds: Bounds, rows: slice, *, has_errors: bool) -> None:
        """Store the maxima of a row of blocks, whose scores are these rows of the bounds."""
        upper_bounds = bounds.map[rows].astype(np.float64, copy=False)
        if has_errors:
            errors = np.asarray(bounds.error)
            # The sum of a score and its error must not be rounded to less than the true score.
            upper_bounds = upper_bounds + (errors[rows] if errors.ndim else errors) + ROUNDING
        if bounds.hidden is not None:
            upper_bounds = np.where(bounds.hidden[rows], SUPPRESSED, upper_bounds)
        maxima = reduce_blocks(np.maximum, upper_bounds, band)
        if np.isnan(maxima).any():
            raise ValueError(f"there are windows without a score in {band}")
        self._store(band, maxima, np.max(bounds.error))

    def _store(
        self, tile: Tile, upper_bounds: NDArray[np.float64], errors: NDArray[np.floating]
    ) -> None:
        """Store the upper bounds of a tile's blocks, and the errors of their scores."""
        index = block_index(tile)
        with self._lock:  # a tile that ends within a block shares that block with others
            stored = self.upper_bounds[index]
            np.fmax(stored, upper_bounds, out=stored)
            if self._errors is not None:
                stored_errors = self._errors[index]
                np.maximum(stored_errors, errors, out=stored_errors)

    def tile(self, block: int) -> Tile:
        """Return the windows of a block."""
        rows, cols = self.shape
        block_row, block_col = divmod(block, self._block_cols)
        top, left = block_row * BLOCK, block_col * BLOCK
        return Tile(top, left, min(BLOCK, rows - top), min(BLOCK, cols - left))

    def block(self, row: int, col: int) -> int:
        """Return the number of the block that has a window."""
        return row // BLOCK * self._block_cols + col // BLOCK

    def blocks(self, tile: Tile) -> Iterator[int]:
        """Yield the numbers of the blocks in a tile of whole blocks."""
        for row in range(tile.top, tile.top + tile.rows, BLOCK):
            for col in range(tile.left, tile.left + tile.cols, BLOCK):
                yield self.block(row, col)

    def bounds(self, tile: Tile) -> Bounds:
        """Return the scores of a block that are kept."""
        assert self.scores is not None
        assert self._errors is not None
        error = float(self._errors[tile.top // BLOCK, tile.left // BLOCK])
        hidden = None if self._hidden is None else self._hidden[tile.index]
        return Bounds(self.scores[tile.index], error, hidden)
