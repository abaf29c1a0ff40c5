"""Whether scores lie within the errors that an engine states."""

from __future__ import annotations

import numpy as np

from patchsim.geometry import blocks


def check(bounds, truth, error=1e-5):
    """The scores lie within what is stated, and the blocks state what the cells are."""
    assert bounds.map.dtype == np.float32
    off = np.abs(bounds.map - truth)
    assert bounds.error <= 1.1 * error
    assert off.max() <= bounds.error
    assert bounds.blocks is not None
    side = blocks.BLOCK
    for row, col in np.ndindex(blocks.grid_shape(truth.shape)):
        cells = np.s_[row * side : (row + 1) * side, col * side : (col + 1) * side]
        assert bounds.blocks.maxima[row, col] == bounds.map[cells].max()
        assert off[cells].max() <= bounds.blocks.errors[row, col] <= bounds.error


def cell_errors(bounds):
    rows, cols = bounds.map.shape
    side = np.ones((blocks.BLOCK, blocks.BLOCK))
    return np.kron(bounds.blocks.errors, side)[:rows, :cols]
