"""Windows with equal pixels have equal scores, so that one of them is scored for all.

The background of drawings, stripes and gradients ties in thousands of windows, which no engine sums
exactly for floats. Equal windows are recognised by fingerprints: sums of their pixels' bits with
random factors modulo 2^64 (universal hashing: J. L. Carter and M. N. Wegman, J. Computer and System
Sciences 18, 1979). Different windows have equal fingerprints with a probability below 2^-50.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchsim.engines import Bounds
from patchsim.geometry import tiles
from patchsim.geometry.tiles import Tile
from patchsim.metrics import Exact, Visibility
from patchsim.types import Pixels

_Words = NDArray[np.uint64]

_ODD = np.uint64(0x9E3779B97F4A7C15)  # 2^64 divided by the golden ratio, to an odd number
_VALUES = 1 << 16  # that are turned to words at a time, which a cache of a core holds


def scores(
    image: Pixels,
    size: tuple[int, int],
    stride: tuple[int, int],
    exact: Exact,
    visible: Visibility | None = None,
) -> Callable[[Tile], Bounds]:
    """Return a function that scores the windows of a tile that equal another window of it.

    Windows without an equal get an infinite error, so that nothing is stated about them.

    Parameters
    ----------
    image : array [H, W, C]
    size : (height, width)
        The size of a window.
    stride : (y, x)
    exact : int64 arrays (y, x) -> float64 array
        The exact scores of the windows with these top-left pixels.
    visible : Visibility, optional
        The visibility of the image's pixels; windows are equal only where it is equal, too.
    """

    @cache
    def factors() -> list[_Words]:  # when they are needed, which they rarely are
        random = np.random.default_rng()
        return [
            random.integers(0, 1 << 64, count, np.uint64) | np.uint64(1)
            for count in (image.shape[2] + (visible is not None), *size)
        ]

    def score_block(tile: Tile) -> Bounds:
        shape = (tile.rows, tile.cols)
        source = tile.source(size, stride)
        levels = None if visible is None else visible.levels[source]
        fingerprints = _fingerprints(image[source], levels, factors(), stride).reshape(-1)
        _, firsts, inverse, counts = np.unique(
            fingerprints, return_index=True, return_inverse=True, return_counts=True
        )
        group_scores, has_equals = np.full(len(counts), np.nan), counts > 1
        if has_equals.any():
            rows, cols = np.divmod(firsts[has_equals], tile.cols)
            group_scores[has_equals] = exact(
                (tile.top + rows) * stride[0], (tile.left + cols) * stride[1]
            )
        tile_scores = group_scores[inverse.reshape(shape)]
        is_unique = np.isnan(tile_scores)
        return Bounds(np.where(is_unique, 0.0, tile_scores), np.where(is_unique, np.inf, 0.0))

    return score_block


def _fingerprints(
    pixels: Pixels, levels: NDArray[Any] | None, factors: list[_Words], stride: tuple[int, int]
) -> _Words:
    """Return the fingerprint of every window of the pixels [H, W, C], [rows, cols].

    Some rows of pixels are taken at a time: a block of windows that lie far apart has many pixels.
    """
    channels, down, across = factors
    rows, cols = tiles.map_shape(pixels.shape[:2], (len(down), len(across)), stride)
    height, width = pixels.shape[:2]
    lines = np.zeros((height, cols), np.uint64)
    step = max(1, _VALUES // (width * len(channels)))
    for top in range(0, height, step):
        slab = slice(top, top + step)
        taken = pixels[slab]
        if levels is not None:
            taken = np.dstack([taken, levels[slab].astype(taken.dtype)])
        values = _mixed_values(taken, channels)
        for number, factor in enumerate(across):
            lines[slab] += factor * values[:, number :: stride[1]][:, :cols]
    fingerprints = np.zeros((rows, cols), np.uint64)
    for number, factor in enumerate(down):
        fingerprints += factor * lines[number :: stride[0]][:rows]
    return fingerprints


def _mixed_values(pixels: Pixels, channels: _Words) -> _Words:
    """Return a word for each pixel, in which all bits of its channels count."""
    # 0 and -0 are equal but have different bits; adding 0 makes both +0.
    bits = (pixels + 0).view(np.dtype(f"u{pixels.itemsize}")).astype(np.uint64)
    # Many values have bits that end in zeros, as 0.5 has. Sums modulo 2^64 of such multiples of a
    # power of two would often be equal, so their high bits are mixed into the low ones.
    bits ^= bits >> np.uint64(32)
    bits *= _ODD
    bits ^= bits >> np.uint64(32)
    values: _Words = (bits * channels).sum(2, dtype=np.uint64)
    values ^= values >> np.uint64(32)
    return values
