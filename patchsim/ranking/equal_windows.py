"""Windows of equal pixels: what one of them scores, all do.

The ground of a drawn picture, stripes and gradients tie in thousands of windows, which for floats
no engine sums exactly. Equal windows are told by fingerprints: sums of their pixels' bits with
random factors modulo 2^64 (universal hashing: J. L. Carter and M. N. Wegman, J. Computer and System
Sciences 18, 1979), which are equal for different ones by a chance of about 2^-60.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from patchsim.engines import Bounds
from patchsim.geometry import tiles
from patchsim.geometry.tiles import Tile
from patchsim.metrics import Exact, Visibility
from patchsim.types import Pixels

_Words = NDArray[np.uint64]


def scores(
    image: Pixels,
    size: tuple[int, int],
    stride: tuple[int, int],
    exact: Exact,
    visible: Visibility | None = None,
) -> Callable[[Tile], Bounds]:
    """The scores of those windows of a tile that have an equal; of the others nothing is stated.

    Parameters
    ----------
    image : array [H, W, C]
    size : (height, width)
        Of a window.
    stride : (y, x)
    exact : (y, x) -> float
        What a window scores.
    visible : Visibility, optional
        Of the image; windows of which other pixels are visible are not equal.
    """
    random = np.random.default_rng()
    factors = [
        random.integers(0, 1 << 64, count, np.uint64) | np.uint64(1)
        for count in (image.shape[2] + (visible is not None), *size)
    ]

    def block(tile: Tile) -> Bounds:
        shape = (tile.rows, tile.cols)
        source = tile.source(size, stride)
        part = np.ascontiguousarray(image[source])
        if visible is not None:
            part = np.dstack([part, visible.levels[source].astype(part.dtype)])
        marks = _fingerprints(part, factors, stride).reshape(-1)
        _, firsts, which, counts = np.unique(
            marks, return_index=True, return_inverse=True, return_counts=True
        )
        repeated = np.flatnonzero(counts > 1)
        known = np.full(len(counts), np.nan)
        for number in repeated.tolist():
            row, col = divmod(int(firsts[number]), tile.cols)
            known[number] = exact((tile.top + row) * stride[0], (tile.left + col) * stride[1])
        found = known[which.reshape(shape)]
        single = np.isnan(found)
        return Bounds(np.where(single, 0.0, found), np.where(single, np.inf, 0.0))

    return block


def _fingerprints(pixels: Pixels, factors: list[_Words], stride: tuple[int, int]) -> _Words:
    """Of every window of [H, W, C]: [rows, cols]."""
    channels, down, across = factors
    rows, cols = tiles.map_shape(pixels.shape[:2], (len(down), len(across)), stride)
    # As integers, which are equal where the values are: 0 and -0 have different bits.
    bits = (pixels + 0).view(np.dtype(f"u{pixels.itemsize}")).astype(np.uint64)
    bits ^= bits >> np.uint64(29)  # so that values in proportion are not
    values = (bits * channels).sum(2, dtype=np.uint64)
    values ^= values >> np.uint64(32)
    lines = np.zeros((len(values), cols), np.uint64)
    for number, factor in enumerate(across):
        lines += factor * values[:, number :: stride[1]][:, :cols]
    found = np.zeros((rows, cols), np.uint64)
    for number, factor in enumerate(down):
        found += factor * lines[number :: stride[0]][:rows]
    return found
