"""Windows of one value: what one of them scores, all that look the same do.

The ground of a drawn picture ties in thousands of windows, which for floats no engine sums exactly.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from patchsim.engines import Bounds
from patchsim.engines.correlation import uniform_windows
from patchsim.metrics import Exact, Pixels
from patchsim.tiles import Tile


def scores(
    image: Pixels, size: tuple[int, int], stride: tuple[int, int], exact: Exact
) -> Callable[[Tile], Bounds]:
    """The scores of a tile as far as its windows are uniform; of the others nothing is stated."""

    def block(tile: Tile) -> Bounds:
        part = image[tile.source(size, stride)]
        uniform = uniform_windows(part, size, stride)
        found, error = np.zeros(uniform.shape), np.full(uniform.shape, np.inf)
        cells = np.argwhere(uniform)
        colours = part[cells[:, 0] * stride[0], cells[:, 1] * stride[1]]
        _, firsts, which = np.unique(colours, axis=0, return_index=True, return_inverse=True)
        known = [
            exact((tile.top + row) * stride[0], (tile.left + col) * stride[1])
            for row, col in cells[firsts].tolist()
        ]
        found[uniform] = np.array(known, dtype=np.float64)[which.reshape(-1)]
        error[uniform] = 0.0
        return Bounds(found, error)

    return block
