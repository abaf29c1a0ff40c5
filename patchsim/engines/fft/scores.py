"""`ssd`, `ncc` and `zncc` of a tile from sums over its windows, and how far they may be off.

With a the pixels less a constant for each channel and b the kernel less another (which keep numbers
small and change no result), X = sum ab, S = sum a, E = sum a^2 over a window of n pixels, and T, B
the kernel's sums of b and b^2:

    ssd   sum (I-K)^2 = E - 2X + B       with the same constants for both
    ncc   X / sqrt(E B)                  with none
    zncc  (nX - ST) / sqrt((nE - S^2) (nB - T^2)), ST, S^2 and T^2 added over the channels

X comes from transforms and is off by their rounding; the other sums are exact for integers. Where X
is, too, the last root and quotient are NumPy's, wherever the sums were made: torch's are rounded
otherwise than those of `metrics.exact` (on a card x / c is x times 1 / c).
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchsim import metrics
from patchsim.engines.common.tile_sizes import TileSizes
from patchsim.engines.contract import Bounds, Seen, SharedScorer
from patchsim.engines.fft.spreads import LEAST_ENERGY, float_rounding, inverse_root
from patchsim.engines.fft.sums import Reference, Tile, can_need_double, moments_bytes
from patchsim.engines.problem import Problem
from patchsim.engines.tile_cache import Cached, Shared
from patchsim.metrics import FLAT, INTEGER_RANGE, Kernel
from patchsim.numerics.array_api import Array, cast, namespace, to_numpy
from patchsim.numerics.box_sums import box_sums_bytes, uniform_windows, uniform_windows_bytes
from patchsim.numerics.overlap_save import products_bytes
from patchsim.numerics.precision import (
    DOUBLE,
    EXACT_IN_FLOAT64,
    EXACT_IN_INT64,
    LONG,
    UNIT_ROUNDOFF,
)

_Scores = tuple[Array, Array | float]  # and how far they may be off


def prepare(kernel: Kernel, problem: Problem, constants: NDArray[Any]) -> SharedScorer:
    """The engine `fft`'s where a kernel has no weights and all of the image is visible.

    The constants are of the channels.
    """
    reference = Reference(kernel.pixels, problem, constants)
    formula = {"ssd": _ssd, "ncc": _ncc, "zncc": _zncc}[problem.metric]
    if problem.metric == "zncc" and not reference.integers:
        formula = _zncc_floats

    def score(shared: Shared, windows: tuple[int, int], _seen: Seen | None = None) -> Bounds:
        scores, error = formula(Tile(shared, windows, reference))
        return Bounds(to_numpy(scores), error if isinstance(error, float) else to_numpy(error))

    return score


def peak_bytes(sizes: TileSizes) -> int:
    """Return the peak bytes of scoring a tile, beside the kernels' spectra."""
    problem, score_bytes = sizes.problem, 8 * sizes.windows
    channels, floats = problem.kernel[2], problem.dtype not in INTEGER_RANGE
    is_contrast = floats and problem.metric == "zncc"
    summing = Contrast.peak_bytes(sizes) if is_contrast else moments_bytes(sizes)
    kept = _spread_bytes(sizes)
    itemsize = 8 if can_need_double(sizes) else 4
    planes = itemsize * channels * sizes.pixels
    products = products_bytes(sizes.transform, itemsize, channels)
    scoring = (6 if floats else 5) * score_bytes
    if problem.kernel_count == 1:
        # The sums of the first tile come before a kernel's spectra are made.
        is_first = sizes.is_whole_map and not problem.exact
        later = kernel_bytes(sizes) - 8 * problem.taps if is_first else 0
        return sizes.uploaded + max(summing - later, kept + planes + max(products, scoring))
    spectra = kept_bytes(sizes) - kept
    transforming = kept + planes + spectra + sizes.plane(itemsize)
    return sizes.uploaded + max(summing, transforming, kept + spectra + max(products, scoring))


def kept_bytes(sizes: TileSizes) -> int:
    """Return the bytes that kernels share of a tile."""
    spectra = sum(map(sizes.spectrum, _precisions_of_tile(sizes)))
    return _spread_bytes(sizes) + sizes.problem.kernel[2] * spectra


def _spread_bytes(sizes: TileSizes) -> int:
    """Return the bytes of the sums that are made before the products."""
    problem, sums = sizes.problem, 8 * sizes.windows
    if problem.dtype not in INTEGER_RANGE and problem.metric == "zncc":
        return sums * (problem.kernel[2] + 3) + sizes.windows  # `Contrast` and a scale
    # Spreads and what they become: means, a scale or inverse roots; and where they are 0.
    count = {"ssd": 1, "ncc": 2, "zncc": 3 if problem.exact else 2}[problem.metric]
    return sums * count + sizes.windows


def kernel_bytes(sizes: TileSizes) -> int:
    """Return the bytes of a kernel's planes and their spectra."""
    itemsizes = _precisions_of_tile(sizes)
    if not sizes.is_whole_map and not sizes.problem.exact:
        itemsizes = {4, *itemsizes}  # of one tile or another
    return 8 * sizes.problem.taps + sizes.problem.kernel[2] * sizes.kernel_spectra(*itemsizes)


def _precisions_of_tile(sizes: TileSizes) -> set[int]:
    """Return the sizes of the values, in bytes, that a tile is transformed in for all kernels."""
    if not can_need_double(sizes):
        return {4}
    # For `ssd` it depends on the kernel; correlations are divided by its norm.
    several = sizes.problem.kernel_count > 1 and sizes.problem.metric == "ssd"
    return {4, 8} if several and not sizes.problem.exact else {8}


def _ssd(tile: Tile) -> _Scores:
    kernel, problem = tile.kernel, tile.kernel.problem
    total = problem.taps * problem.data_range**2
    spread = tile.spread() if kernel.integers else None
    energy = tile.energy() if spread is None else spread.values
    products, off = tile.products(2 / total)
    error: Array | float = 2 / total * off
    if spread is None:
        size = energy + 2 * abs(products) + kernel.squares
        error = error + float_rounding(problem) * size / total
    elif (math.sqrt(spread.largest) + kernel.norm) ** 2 >= EXACT_IN_FLOAT64:  # Cauchy and Schwarz
        error += UNIT_ROUNDOFF
    products *= -2
    products += energy
    products += kernel.squares
    if spread is not None and error == 0:
        products = to_numpy(products)
    return metrics.similarity(products, problem.taps, problem.data_range**2), _and_rounding(error)


def _ncc(tile: Tile) -> _Scores:
    kernel = tile.kernel
    if kernel.integers:
        if kernel.problem.exact:
            values = tile.spread().values
            return _exactly(tile, values, 1)
        return _correlated(tile, 1)
    spread = tile.energy()
    scale = inverse_root(spread, kernel.spread)
    products, off = tile.products(float(scale.max()))
    scores = metrics.correlation(products, spread, kernel.spread)
    error = scale * off + float_rounding(kernel.problem)
    xp = namespace(spread)
    error = xp.where(spread > 0, _and_rounding(error), 0.0)
    del products, scale  # before the sums that follow, which take as much
    is_lost = spread < LEAST_ENERGY
    if is_lost.any():  # but not where all is 0
        is_lost &= tile.box_sums(cast((tile.pixels != 0).any(-1), DOUBLE)) > 0
        error = xp.where(is_lost, 2.0, error)
    return scores, error


def _zncc(tile: Tile) -> _Scores:
    kernel = tile.kernel
    if not kernel.problem.exact:
        return _correlated(tile, kernel.pixels)
    spread, means = tile.moments(kernel.sums)
    return _exactly(tile, spread, kernel.pixels, means)


def _correlated(tile: Tile, count: int) -> _Scores:
    """Scores count X / sqrt(spread x the kernel's), of integers."""
    spread, factor = tile.spread(), count / math.sqrt(tile.kernel.spread)
    xp = namespace(spread.values)
    products, off = tile.products(factor * spread.steepest)
    products *= spread.inverse
    products *= factor
    error = spread.inverse * (factor * off)
    error += 8 * UNIT_ROUNDOFF + _lost(tile.kernel)
    if factor * off * spread.steepest > 1:
        xp.clip(error, None, 2.0, out=error)  # no score is off by more
    if spread.flat is not None:
        error[spread.flat] = 0.0
    return xp.clip(products, -1.0, 1.0, out=products), error


def _exactly(tile: Tile, spread: Array, count: int, means: Array | None = None) -> _Scores:
    """Scores (count X - means) / sqrt(spread x the kernel's), of integers that are exact."""
    kernel = tile.kernel
    scale = count * inverse_root(spread, kernel.spread)
    products, off = tile.products(float(scale.max()))
    # The spreads bound the numerator, too.
    if off == 0 and (means is None or max(float(spread.max()), kernel.spread) < EXACT_IN_INT64):
        error: Array | float = 0.0
        if means is not None:
            products = cast(count * cast(products, LONG) - means, DOUBLE)
        numerator, spread = to_numpy(products), to_numpy(spread)
    else:
        error = scale * off + UNIT_ROUNDOFF
        numerator = products if means is None else count * products - means
    scores = metrics.correlation(numerator, spread, kernel.spread)
    error = error + _lost(kernel)
    return scores, namespace(spread).where(spread > 0, _and_rounding(error), 0.0)


def _lost(kernel: Reference) -> float:
    """By spreads that do not fit 64 bits, which have lost some digits."""
    problem = kernel.problem
    if problem.metric != "zncc":
        return 0.0
    lost = kernel.pixels * problem.taps * problem.data_range**2 / EXACT_IN_INT64
    return lost * UNIT_ROUNDOFF if lost > 1 else 0.0


def _zncc_floats(tile: Tile) -> _Scores:
    kernel, problem = tile.kernel, tile.kernel.problem
    contrast = tile.shared.fields(_ContrastFields).contrast.get(
        partial(Contrast, tile), key=tile.windows
    )
    count, total = kernel.pixels, contrast.total
    scale = inverse_root(total, kernel.spread)
    products, off = tile.products(float(scale.max()))
    numerator = products - (contrast.sums * kernel.sums[:, None, None]).sum(0) / count
    scores = metrics.correlation(numerator, total, kernel.spread)
    # A window whose spread may be rounding alone may have any score.
    error = scale * off + contrast.doubt
    error = error + float_rounding(problem)
    return scores, namespace(total).where(contrast.flat, 0.0, _and_rounding(error))


def _and_rounding(error: Array | float) -> Array | float:
    """And of the formula itself, unless all of it is exact; no score is off by more than 2."""
    if isinstance(error, float):
        return min(error + 4 * UNIT_ROUNDOFF, 2.0) if error > 0 else 0.0
    xp = namespace(error)
    return xp.where(error > 0, xp.clip(error + 4 * UNIT_ROUNDOFF, None, 2.0), 0.0)


class _ContrastFields:
    """Kept of a tile of floats, for `zncc`."""

    def __init__(self) -> None:
        self.contrast: Cached[Contrast] = Cached()


class Contrast:
    """The spread of floats for `zncc`, with how far it may be off."""

    def __init__(self, tile: Tile) -> None:
        problem, count = tile.kernel.problem, tile.kernel.pixels
        planes = tile.moved(DOUBLE)
        xp = namespace(planes)
        self.sums, energy = tile.box_sums(planes), tile.box_sums(planes**2)
        raw = tile.box_sums(tile.moved(DOUBLE, 0 * tile.constants) ** 2)
        spread = energy - self.sums**2 / count  # of each channel
        # Which sums of floats cannot tell.
        uniform = uniform_windows(tile.pixels, problem.kernel[:2], problem.stride)
        # The rounding of these sums, and of those in `metrics.exact`.
        off = float_rounding(problem) * energy
        is_lost = raw.sum(0) < LEAST_ENERGY
        self.flat = ((spread + off <= FLAT * raw).all(0) & ~is_lost) | uniform
        clear = (spread - off > FLAT * raw).any(0) & ~self.flat & ~is_lost
        self.total, off = xp.where(clear, spread.sum(0), 0.0), off.sum(0)
        with np.errstate(divide="ignore", invalid="ignore"):
            self.doubt = xp.where(self.total > 4 * off, off / self.total, 1.0)

    @staticmethod
    def peak_bytes(sizes: TileSizes) -> int:
        """Return the peak bytes of making it."""
        problem = sizes.problem
        channels, size, stride = problem.kernel[2], problem.kernel[:2], problem.stride
        planes, sums = 8 * sizes.pixels * channels, 8 * sizes.windows * channels
        # Planes and their squares; two sums over windows, while a third is made. Then four, and
        # which windows are uniform; five, and two more in between.
        summing = planes + 2 * sums + channels * box_sums_bytes(sizes.extent, size, stride)
        uniform = uniform_windows_bytes(sizes.extent, sizes.windows)
        return planes + max(summing, 4 * sums + uniform, 7 * sums)
