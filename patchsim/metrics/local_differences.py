"""How a window differs from the kernel in places, which a mean over the window hides.

A *block* is a rectangle of the kernel. Along a side of L pixels there are n = L / 8 blocks,
rounded, at least 1 and at most 64, and n - 1 more that lie half a block further, so that what
differs is not cut in two. Edges are rounded to whole pixels.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from patchsim.types import Pixels, Weights

_SIDE = 8  # pixels of a block
_MOST = 64  # blocks along a side, without those between them
STEPS = 255  # of the data range, in which differences of pixels are given
_ROUNDING = 1e-4  # of floats that were 8 bits, in these steps


class Differing(NamedTuple):
    """How many pixels of a window differ by more than a tolerance.

    Attributes
    ----------
    pixels : int
        The number of pixels that count, in one channel at least.
    share : float
        Their share of the weight of all pixels.
    largest : float
        The largest difference of all channels that count, in 255ths of the data range.
    """

    pixels: int
    share: float
    largest: float


def worst_block(
    window: Pixels, kernel: Pixels, weights: Weights | None, span: float, *, squares: bool
) -> float:
    """Return the lowest score of a block, by `sad`, or by `ssd` with `squares`.

    Parameters
    ----------
    window, kernel : arrays [h, w, C]
    weights : unsigned array [h, w] or [h, w, C], optional
        Blocks in which nothing counts have no score.
    span : float
        The data range R.
    squares : bool
    """
    differences = _differences(window, kernel)
    counts = _counts(weights, kernel.shape)
    sums = _blocks((differences**2 if squares else differences) * counts)
    totals = _blocks(counts)
    full = span * span if squares else span
    counted = totals > 0
    return float((1 - sums[counted] / (totals[counted] * full)).min(initial=1.0))


def differing(
    window: Pixels, kernel: Pixels, weights: Weights | None, span: float, tolerance: float
) -> Differing:
    """Count the pixels that differ by more than a tolerance, in 255ths of the data range.

    Parameters
    ----------
    window, kernel : arrays [h, w, C]
    weights : unsigned array [h, w] or [h, w, C], optional
    span : float
    tolerance : float
    """
    steps = _differences(window, kernel) * STEPS
    counts = _counts(weights, kernel.shape)
    steps = np.where(counts > 0, steps, 0)
    rounding = _ROUNDING if kernel.dtype.kind == "f" else 0
    is_over = (steps > (tolerance + rounding) * span).any(axis=2)
    by_pixel = counts.sum(axis=2)
    share = float(by_pixel[is_over].sum() / by_pixel.sum())
    return Differing(int(is_over.sum()), share, float(steps.max()) / span)


def _differences(window: Pixels, kernel: Pixels) -> NDArray[np.float64]:
    return np.abs(window.astype(np.float64) - kernel.astype(np.float64))


def _counts(weights: Weights | None, shape: tuple[int, ...]) -> NDArray[Any]:
    """Return the weights of all values [h, w, C] in float64."""
    counts = np.ones(1) if weights is None else weights.astype(np.float64)
    return np.broadcast_to(counts[..., None] if counts.ndim == 2 else counts, shape)


def _blocks(values: NDArray[Any]) -> NDArray[np.float64]:
    """Return the sums of values [h, w, C] over all blocks."""
    sums = values.sum(axis=2)
    for axis in (0, 1):
        sums = np.add.reduceat(sums, _halves(sums.shape[axis]), axis=axis)
        if sums.shape[axis] > 1:
            ahead = np.delete(sums, 0, axis=axis)
            sums = np.delete(sums, -1, axis=axis) + ahead
    return np.asarray(sums, np.float64)


def _halves(length: int) -> NDArray[np.int64]:
    """Return where the halves of blocks begin."""
    count = min(_MOST, max(1, round(length / _SIDE)))
    if count == 1:
        return np.zeros(1, np.int64)
    edges = np.rint(np.arange(2 * count) * (length / (2 * count)))
    return np.asarray(edges, np.int64)
