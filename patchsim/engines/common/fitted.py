"""|a-b| as a sum of products, with functions that are made for the values of one kernel.

`lowrank` takes sines and cosines, which approximate |a-b| for any kernel. Of a kernel whose values
are known only these count, as often as they occur, and fewer products do:

    |a-b| ~ f0(a) + g0(b) + f1(a) g1(b) + f2(a) g2(b) + ...

f0 is a mean of |a-b| over the kernel's values. It takes no product, because it is summed over
windows. f1, f2 ... are the first eigenvectors of what is left, weighted by how often values occur
(principal components). Between knots they are straight lines. Then the g of each value are those
whose largest error over all a is about least, by reweighted least squares (C. L. Lawson, 1961).
That error is computed exactly: over a it is straight between the knots and the value itself. Its
sum over the kernel's values bounds what the sum of a window may be off by.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from patchsim.engines.common.lowrank import between
from patchsim.types import Pixels

_Floats = NDArray[np.float64]

KNOTS = 33  # of the extension's curves
_AT = np.linspace(0, 1, KNOTS)
MOST_PRODUCTS = 5  # with more, `lowrank` has about as few
# The values of a channel are told apart by so many levels of their range: bytes all are.
_MOST_LEVELS = 256
# Powers of the frequencies that weight f0, and the eigenvectors, and the least weight of all knots
# together. Largest errors are to be small, not squares, so that frequent values count more: of six
# kernels of photographs errors were within a tenth of the least ones (by linear programming, of f
# and g in turn), with powers of 1 up to a fourth above these.
_POWER_OF_MEAN, _POWER, _LEAST_WEIGHT = 1.4, 1.5, 1e-3
# How many times the root mean square of what the eigenvectors leave an error is: at least; and
# about, which grows with each product. Fits that would surely be off by too much are not made.
_LEAST_OVER_ROOT, _OVER_ROOT, _MORE = 1.6, 1.5, 0.25
_ROUNDS = 8  # of the reweighting: twice as many make errors smaller by a hundredth
# Systems of equations stay solvable where weights or errors vanish.
_RIDGE, _LEAST_OFF, _LEAST_SHARE = 1e-9, 1e-12, 1e-3
_AT_ONCE = 1 << 16  # pixels


class Fit(NamedTuple):
    """Functions for the values of a kernel.

    Attributes
    ----------
    products : int
        For a channel.
    middles, halves : float64 arrays [C]
        The middle of each channel's range and half of its width, exact in float32.
    curves : float64 array [C, 1 + products, KNOTS]
        f0, in units of pixels, and f1, f2 ... at points evenly over the ranges.
    factors : list of float64 arrays [levels, 1 + products]
        Of each channel g0 and g1, g2 ... of the levels of its values, in units of pixels.
    residual : float
        How far the sum of |a-b| over a window may be off.
    """

    products: int
    middles: _Floats
    halves: _Floats
    curves: _Floats
    factors: list[_Floats]
    residual: float

    @property
    def key(self) -> tuple[int, bytes, bytes, bytes]:
        """Return what is equal of equal functions of the image."""
        arrays = self.middles, self.halves, self.curves
        middles, halves, curves = (array.tobytes() for array in arrays)
        return self.products, middles, halves, curves

    def taps(self, kernel: Pixels) -> tuple[_Floats, float]:
        """Return what the curves are multiplied with, [products x C, h, w], and the sum of g0."""
        height, width, count = kernel.shape
        taps, total = np.empty((self.products, count, height * width)), 0.0
        for number, channel in enumerate(_channels(kernel)):
            factors = self.factors[number]
            for some in _slices(height * width):
                taps[:, number, some] = factors.T[1:, channel.level_of[some]]
            total += float(np.frombuffer(channel.counts, np.int64) @ factors[:, 0])
        return taps.reshape(-1, height, width), total


class _Channel(NamedTuple):
    """The values of a kernel's channel: their range, and the level of each pixel's value."""

    middle: float
    half: float
    level_of: NDArray[np.uint8]  # [pixels]
    counts: bytes  # int64, of each level's pixels
    off: float  # the sum of how far pixels are from their levels

    @property
    def width(self) -> float:
        return 2 * self.half

    def root_error(self, products: int) -> float:
        """Return the sum of root mean square errors of the pixels."""
        return self.width * _root_error(self.counts, products)


def of(kernel: Pixels, limit: float, most: int) -> Fit | None:
    """Return the fit with fewest products whose error is within a limit.

    Parameters
    ----------
    kernel : array [h, w, C]
    limit : float
        The largest error of the mean of |a-b|.
    most : int
        Products for a channel, at most.

    Returns
    -------
    Fit or None
        None if that takes more products.
    """
    channels, allowed = _channels_and_allowed(kernel, limit)
    for products in range(1, min(most, MOST_PRODUCTS) + 1):
        fits = _fits(channels, products, allowed)
        if fits is None:
            continue
        widths = np.array([channel.width for channel in channels])
        errors = [width * error for width, (_, _, error) in zip(widths, fits, strict=True)]
        curves = np.stack([curves for curves, _, _ in fits])
        curves[:, 0] *= widths[:, None]
        return Fit(
            products,
            np.array([channel.middle for channel in channels]),
            np.array([channel.half for channel in channels]),
            curves,
            [width * factors for width, (_, factors, _) in zip(widths, fits, strict=True)],
            float(sum(errors) + sum(channel.off for channel in channels)),
        )
    return None


def expected_products(kernel: Pixels, limit: float, most: int) -> int:
    """Return about how many products a fit takes: `most` where that is not fewer; as for `of`."""
    channels, allowed = _channels_and_allowed(kernel, limit)
    for products in range(1, min(most, MOST_PRODUCTS + 1)):
        roots = sum(channel.root_error(products) for channel in channels)
        if (_OVER_ROOT + _MORE * products) * roots <= allowed:
            return products
    return most


def _channels_and_allowed(kernel: Pixels, limit: float) -> tuple[list[_Channel], float]:
    """Return the channels, and the largest sum of errors for values that are their levels."""
    channels = list(_channels(kernel))
    return channels, limit * kernel.size - sum(channel.off for channel in channels)


def _fits(
    channels: list[_Channel], products: int, allowed: float
) -> list[tuple[_Floats, _Floats, float]] | None:
    """Return the fit of each channel, or None if their errors together are larger than allowed."""
    at_least = [_LEAST_OVER_ROOT * channel.root_error(products) for channel in channels]
    fits = []
    for i, channel in enumerate(channels):
        if sum(at_least[i:]) > allowed:
            return None
        fits.append(_fit(channel.counts, products))
        allowed -= channel.width * fits[-1][2]
    return fits if allowed >= 0 else None


def _channels(kernel: Pixels) -> Iterator[_Channel]:
    for pixels in kernel.reshape(-1, kernel.shape[2]).T:
        low, high = pixels.min(), pixels.max()
        values = between(np.array(low, np.float64), np.array(high, np.float64))
        middle, half = float(values.middles), float(values.halves)
        is_told = pixels.dtype.kind == "u" and high - low < _MOST_LEVELS
        level_count = int(high - low) + 1 if is_told else _MOST_LEVELS
        level_of, off = np.empty(pixels.size, np.uint8), 0.0
        counts = np.zeros(level_count, np.int64)
        for some in _slices(pixels.size):
            shares = pixels[some].astype(np.float64) - (middle - half)
            shares *= (level_count - 1) / (2 * half or 1)
            level_of[some] = np.rint(shares)
            off += float(np.abs(shares - level_of[some]).sum())
            counts += np.bincount(level_of[some], minlength=level_count)
        off *= 2 * half / max(1, level_count - 1)
        yield _Channel(middle, half, level_of, counts.tobytes(), off)


def _slices(count: int) -> Iterator[slice]:
    """Yield slices of pixels that are few enough for arrays in double precision beside them."""
    return (slice(first, first + _AT_ONCE) for first in range(0, count, _AT_ONCE))


def _root_error(counts: bytes, products: int) -> float:
    """Return the sum of root mean square errors of a channel's pixels, in units of its range."""
    of_levels = np.frombuffer(counts, np.int64)
    if len(of_levels) == 1:
        return 0.0
    basis = _basis(counts)
    left = basis.left - basis.vectors[:, :products] @ (basis.vectors[:, :products].T @ basis.left)
    roots = np.sqrt((left * left).mean(axis=0))
    return float(basis.frequencies @ roots) * int(of_levels.sum())


class _Basis(NamedTuple):
    """The functions of a channel at the knots, and all that fits take of its values."""

    frequencies: _Floats  # of the kernel's values
    mean: _Floats  # f0
    left: _Floats  # |a-b| - f0(a), less its mean over a: [a, b]
    vectors: _Floats  # its eigenvectors, the first ones first: [a, MOST_PRODUCTS]


@lru_cache(maxsize=64)
def _basis(counts: bytes) -> _Basis:
    of_levels = np.frombuffer(counts, np.int64)
    nearest = np.rint(np.arange(len(of_levels)) * ((KNOTS - 1) / (len(of_levels) - 1)))
    frequencies = np.bincount(nearest.astype(np.intp), of_levels, KNOTS) / of_levels.sum()
    weights = frequencies * (1 - _LEAST_WEIGHT) + _LEAST_WEIGHT / KNOTS
    apart = np.abs(_AT[:, None] - _AT)
    of_mean = weights**_POWER_OF_MEAN
    mean = apart @ (of_mean / of_mean.sum())
    left = apart - mean[:, None]
    left -= left.mean(axis=0)
    _, vectors = np.linalg.eigh((left * weights**_POWER) @ left.T)
    return _Basis(frequencies, mean, left, vectors[:, : -MOST_PRODUCTS - 1 : -1])


@lru_cache(maxsize=64)
def _fit(counts: bytes, products: int) -> tuple[_Floats, _Floats, float]:
    """Return the curves and factors of a channel, in units of its range, and the sum of errors."""
    of_levels = np.frombuffer(counts, np.int64)
    if len(of_levels) == 1:
        return np.zeros((1 + products, KNOTS)), np.zeros((1, 1 + products)), 0.0
    basis = _basis(counts)
    curves = np.column_stack([basis.mean, basis.vectors[:, :products]])
    curves[:, 1:] /= np.abs(curves[:, 1:]).max(axis=0)
    levels = np.flatnonzero(of_levels)
    values = levels / (len(of_levels) - 1)
    # Hat functions of the knots, at the values themselves.
    hats = np.maximum(0, 1 - np.abs(values[:, None] - _AT) * (KNOTS - 1))
    of_values, errors = _least_largest(curves, hats @ curves, np.abs(values[:, None] - _AT))
    factors = np.zeros((len(of_levels), 1 + products))
    factors[levels] = of_values
    return np.ascontiguousarray(curves.T), factors, float(of_levels[levels] @ errors)


def _least_largest(
    at_knots: _Floats, at_values: _Floats, apart: _Floats
) -> tuple[_Floats, _Floats]:
    """Return the factors of each value whose largest errors are small, and these errors.

    Parameters
    ----------
    at_knots : array [KNOTS, 1 + products]
        f0, f1, f2 ...
    at_values : array [values, 1 + products]
        The same at the values themselves.
    apart : array [values, KNOTS]
        |a-b|.
    """
    wanted, wanted_there = apart - at_knots[:, 0], -at_values[:, 0]
    at_knots, at_values = at_knots.copy(), at_values.copy()
    at_knots[:, 0] = at_values[:, 0] = 1  # for g0
    count = at_knots.shape[1]
    squares = (at_knots[:, :, None] * at_knots[:, None, :]).reshape(len(at_knots), -1)
    squares_there = (at_values[:, :, None] * at_values[:, None, :]).reshape(len(at_values), -1)
    weights, weights_there = np.ones_like(wanted), np.ones(len(at_values))
    best, errors = np.zeros((len(at_values), count)), np.full(len(at_values), np.inf)
    for _ in range(_ROUNDS):
        system = weights @ squares + weights_there[:, None] * squares_there
        right = (weights * wanted) @ at_knots + (weights_there * wanted_there)[:, None] * at_values
        system = system.reshape(-1, count, count) + _RIDGE * np.eye(count)
        factors = np.linalg.solve(system, right[..., None])[..., 0]
        off = np.abs(wanted - factors @ at_knots.T)
        off_there = np.abs(wanted_there - (factors * at_values).sum(axis=1))
        largest = np.maximum(off.max(axis=1), off_there)
        is_better = largest < errors
        best[is_better], errors[is_better] = factors[is_better], largest[is_better]
        divisor = np.maximum(largest, _LEAST_OFF)
        off, off_there = off / divisor[:, None] + _LEAST_SHARE, off_there / divisor + _LEAST_SHARE
        weights *= off * np.sqrt(off)
        weights_there *= off_there * np.sqrt(off_there)
        total = weights.sum(axis=1) + weights_there
        weights /= total[:, None]
        weights_there /= total
    return best, errors
