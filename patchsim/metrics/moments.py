"""Exact sums over the pixels of one window, a part at a time so that memory is bounded."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchsim.geometry import tiles
from patchsim.metrics.formulas import FLAT, Formula
from patchsim.metrics.weights import channel_totals
from patchsim.types import Pixels

# How many values are converted to int64 or float64 at a time.
_WIDE_VALUES = 1 << 16


def wide_chunks(weights: NDArray[Any] | None, *pictures: Pixels) -> Iterator[tuple[Any, ...]]:
    """Yield weights and pixels as int64 or float64, a part at a time, so that memory is bounded.

    They are in C order, so that the order of a sum of floats does not depend on the layout.
    """
    wide = np.int64 if pictures[0].dtype.kind == "u" else np.float64
    height, width, channels = pictures[0].shape
    limit = _WIDE_VALUES
    if weights is not None:
        weights = weights.reshape(height, width, -1)
        # A square of a 16-bit value takes 32 bits, a uint16 weight up to 16 more. The sum of 2^15
        # such products fits into 63 bits.
        limit >>= weights.itemsize - 1
    cols = min(width, max(1, limit // channels))
    for tile in tiles.split((height, width), (max(1, limit // (cols * channels)), cols)):
        chunk_weights = 1 if weights is None else weights[tile.index].astype(wide, order="C")
        yield chunk_weights, *(picture[tile.index].astype(wide, order="C") for picture in pictures)


@dataclass(frozen=True)
class Moments:
    """Sums over a picture, in Python's unbounded integers or float64.

    For `zncc` the squares and products of integers after subtraction of the mean are fractions.
    They are scaled by a common multiple of the channels' weight sums, so that they stay integers.

    Attributes
    ----------
    means : float64 array [C] or None
        The channels' means; None for integers and for `ncc`.
    sums : list of int
        The channels' sums; empty for floats and for `ncc`.
    spread : float
        The sum of squares, for `zncc` after the mean is subtracted, times `scale`.
    scale : int
    shares : list of int
        `scale` divided by each channel's weight sum.
    """

    means: NDArray[np.float64] | None
    sums: list[int]
    spread: float
    scale: int
    shares: list[int]

    @classmethod
    def from_pixels(
        cls, pixels: Pixels, formula: Formula, weights: NDArray[Any] | None = None
    ) -> Moments:
        """Return the sums that a correlation needs of one picture [h, w, C]."""
        if not formula.subtracts_means:
            chunks = wide_chunks(weights, pixels)
            energy = sum((w * chunk * chunk).sum().item() for w, chunk in chunks)
            return cls(None, [], energy, 1, [])
        # Every sum of a channel with weight 0 is 0, so any divisor gives its mean.
        counts = [count or 1 for count in channel_totals(pixels.shape, weights)]
        scale = math.lcm(*counts)
        shares = [scale // count for count in counts]
        sums = [(w * chunk).sum((0, 1)) for w, chunk in wide_chunks(weights, pixels)]
        squares = [(w * chunk * chunk).sum((0, 1)) for w, chunk in wide_chunks(weights, pixels)]
        if pixels.dtype.kind == "u":
            totals = [sum(channel) for channel in zip(*(s.tolist() for s in sums), strict=True)]
            square = sum(int(chunk.sum()) for chunk in squares)
            spread = scale * square - _dot(shares, totals, totals)
            return cls(None, totals, spread, scale, shares)
        means = np.sum(sums, axis=0) / counts
        chunks = wide_chunks(weights, pixels)
        spread = np.sum([(w * (chunk - means) ** 2).sum((0, 1)) for w, chunk in chunks], axis=0)
        is_flat = np.all(spread <= FLAT * np.sum(squares, axis=0))
        return cls(means, [], 0.0 if is_flat else float(spread.sum()), 1, [])

    def products(
        self, kernel: Moments, window: Pixels, taps: Pixels, weights: NDArray[Any] | None
    ) -> float:
        """Return the sum of products of a window and a kernel, scaled like `spread`.

        Parameters
        ----------
        kernel : Moments
            Those of the kernel; `self` has the window's.
        window, taps : array [h, w, C]
            The pixels of the window and of the kernel.
        weights : integer array [h, w] or [h, w, C], optional
        """
        chunks = wide_chunks(weights, window, taps)
        if self.means is not None and kernel.means is not None:
            # Summed in the order of `spread`, so that identical windows score exactly 1.
            centred = [
                (w * ((a - self.means) * (b - kernel.means))).sum((0, 1)) for w, a, b in chunks
            ]
            return float(np.sum(centred, axis=0).sum())
        total: float = sum((w * a * b).sum().item() for w, a, b in chunks)
        return self.scale * total - _dot(self.shares, self.sums, kernel.sums)


def _dot(*factors: list[int]) -> int:
    return sum(math.prod(terms) for terms in zip(*factors, strict=True))
