"""How a window differs from the kernel in places, which a mean over the window hides.

A *block* is a rectangle of the kernel. Along a side of L pixels there are n = L / 8 blocks,
rounded, at least 1 and at most 64, and n - 1 more that lie half a block further, so that what
differs is not cut in two. Edges are rounded to whole pixels.

The score of a block by `sad` or `ssd` is that of its pixels alone. By `ncc` and `zncc` the score of
a window is 1 - sum (i - k)^2 / 2, where i and k are its values and the kernel's (of `zncc` less
each channel's mean), divided by the root of the sum of their squares. That of a block is
1 - (W / B) sum (i - k)^2 / 2, with the sum over the block, W the weight of all values and B that of
the block. So the score of a window is by every metric the mean, by weight, of those of the blocks
that tile it, and no window scores less than its worst block, which may be negative.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from patchsim.metrics.formulas import Formula
from patchsim.types import Pixels

_SIDE = 8  # pixels of a block
_MOST = 64  # blocks along a side, without those between them
STEPS = 255  # of the data range, in which differences of pixels are given
_ROUNDING = 1e-4  # of floats that were 8 bits, in these steps
_EQUAL = 1e-12  # a correlated block that is so near to 1 differs by rounding


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


class Measured(NamedTuple):
    """The values of a window for the criteria that are asked for; None without them."""

    worst: float | None
    differing: Differing | None


def worst_block(
    window: Pixels, kernel: Pixels, weights: NDArray[Any] | None, span: float, formula: Formula
) -> float:
    """Return the lowest score of a block; 0 of a window that has none by a metric that correlates.

    Parameters
    ----------
    window, kernel : arrays [h, w, C]
    weights : array [h, w] or [h, w, C], optional
        Blocks in which nothing counts have no score.
    span : float
        The data range R.
    formula : Formula
        That of the metric.
    """
    counts = _counts(weights, kernel.shape)
    totals = _blocks(counts)
    counted = totals > 0
    if formula.correlates:
        one, other = (_normalized(values, counts, formula) for values in (window, kernel))
        if one is None or other is None:
            return 0.0
        sums = _blocks((one - other) ** 2 * counts)
        full = 2 / float(counts.sum())
        worst = float((1 - sums[counted] / (totals[counted] * full)).min(initial=1.0))
        return 1.0 if worst > 1 - _EQUAL else worst
    differences = _differences(window, kernel)
    sums = _blocks((differences**2 if formula.squares else differences) * counts)
    full = span * span if formula.squares else span
    return float((1 - sums[counted] / (totals[counted] * full)).min(initial=1.0))


def _normalized(
    values: NDArray[Any], counts: NDArray[Any], formula: Formula
) -> NDArray[np.float64] | None:
    """Return values whose squares, as they count, have the sum 1; None if all are 0."""
    values = values.astype(np.float64)
    if formula.subtracts_means:
        values = values - (values * counts).sum(0).sum(0) / np.maximum(counts.sum(0).sum(0), 1)
    # Values whose squares leave float64 are divided before; zeros stay zeros.
    values = values / max(float(np.abs(values * (counts > 0)).max()), np.finfo(np.float64).tiny)
    energy = float((values**2 * counts).sum())
    return values / np.sqrt(energy) if energy > 0 else None


def differing(
    window: Pixels,
    kernel: Pixels,
    weights: NDArray[Any] | None,
    span: float,
    tolerance: float,
) -> Differing:
    """Count the pixels that differ by more than a tolerance, in 255ths of the data range.

    Parameters
    ----------
    window, kernel : arrays [h, w, C]
    weights : array [h, w] or [h, w, C], optional
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


def _counts(weights: NDArray[Any] | None, shape: tuple[int, ...]) -> NDArray[Any]:
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
