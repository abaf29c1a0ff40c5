"""`ssd`, `ncc` and `zncc` with weights or of what is visible, by Fourier transforms.

With a and b the pixels and the kernel less constants, w the weights, v the visibility of the image
(1 where all is visible) and n = sum w v over a channel of a window, X = sum w v a b, S = sum w v a
and E = sum w v a^2, T = sum w v b and B = sum w v b^2:

    ssd   sum w v (I-K)^2 = E - 2X + B    with the same constants for both
    ncc   X / sqrt(E B)                   with none
    zncc  (X - ST / n) / sqrt((E - S^2 / n) (B - T^2 / n)), the quotients added over the channels

All sums are themselves products, of v, va and va^2 with w, wb and wb^2, and all transforms are in
float64: next to each other the errors of E and of X would be as large as what is left of them. For
`zncc` of integers numerator and spreads are taken times the least common multiple of all n, as in
`metrics.exact`, so that they stay integers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from patchsim import metrics
from patchsim.engines.common.tile_sizes import TileSizes
from patchsim.engines.contract import Bounds, Seen, SharedScorer
from patchsim.engines.fft.spreads import LEAST_ENERGY
from patchsim.engines.fft.weighted_sums import (
    Reference,
    Sums,
    Tile,
    image_bytes,
    image_peak_bytes,
)
from patchsim.engines.problem import Problem
from patchsim.engines.tile_cache import Shared
from patchsim.metrics import FLAT, INTEGER_RANGE, Kernel
from patchsim.numerics.array_api import Array, cast, copied, namespace, to_numpy
from patchsim.numerics.box_sums import uniform_windows_bytes
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
    """The engine `fft`'s where a kernel has weights, or not all of the image is visible.

    The constants are of the channels.
    """
    reference = Reference(kernel, problem, constants)
    formula = {"ssd": _ssd, "ncc": _ncc, "zncc": _zncc}[problem.metric]

    def score(shared: Shared, windows: tuple[int, int], seen: Seen | None = None) -> Bounds:
        scores, error = formula(Tile(shared, windows, reference, seen))
        most = min(error, 2.0) if isinstance(error, float) else to_numpy(error.clip(None, 2.0))
        return Bounds(to_numpy(scores), most)

    return score


def planes_of_kernel(problem: Problem) -> int:
    """How many a kernel has transforms of: its weights, their products with it and its squares."""
    channels = problem.kernel[2]
    planes = channels + (channels if problem.has_channel_weights else 1)
    if problem.opaque_level is None:
        return planes
    return planes + 1 + (channels if problem.metric == "zncc" else 0)


def peak_bytes(sizes: TileSizes) -> int:
    """Return the peak bytes of scoring a tile, beside the kernels' spectra.

    Scores take about as much whether their sums are exact integers, which depends on the picture,
    or not.
    """
    problem, windows = sizes.problem, 8 * sizes.windows
    channels, is_hidden = problem.kernel[2], problem.opaque_level is not None
    one = products_bytes(sizes.transform, 8, 1)
    several = products_bytes(sizes.transform, 8, channels)
    # X, and E, which is a sum over the channels; and B, which is one number where all is visible.
    sums = 3 if is_hidden else 2
    if problem.metric == "zncc":
        # S, and T where it is not one number.
        sums += (2 if is_hidden else 1) * channels
    summing = max(several, sums * windows + one)
    flags = 3 * sizes.windows
    scoring = flags + (sums + _scoring_values(problem)) * windows
    if problem.metric == "zncc":
        # For windows of one value pixels are copied to a device again, from a copy of their own.
        uniform = uniform_windows_bytes(sizes.extent, sizes.windows)
        scoring = max(scoring, sums * windows + uniform + 2 * sizes.uploaded)
    # A kernel's spectra are made when the first tile has its own.
    is_first = sizes.is_whole_map and problem.kernel_count == 1
    later = planes_of_kernel(problem) * sizes.kernel_spectra(8) if is_first else 0
    return max(image_peak_bytes(sizes) - later, image_bytes(sizes) + max(summing, scoring))


def _scoring_values(problem: Problem) -> int:
    """Return the values of each window, beside its sums, while it is scored."""
    is_hidden = problem.opaque_level is not None
    if problem.metric != "zncc":
        # Scores, how far they may be off, and what is made of a spread; of floats its rounding.
        of_floats = problem.metric == "ncc" and problem.dtype not in INTEGER_RANGE
        return 3 + is_hidden + of_floats
    # For floats the spread's size is made last. There are then both spreads, how far these and the
    # numerator may be off, the sizes, and what is made of a channel. For integers there are the
    # numerator, the spreads, the shares of n, and what they are made of.
    return 12 if is_hidden else 7


def kept_bytes(sizes: TileSizes) -> int:
    """Return the bytes that kernels share of a tile."""
    return image_bytes(sizes) + sizes.windows


def kernel_bytes(sizes: TileSizes) -> int:
    """Return the bytes of a kernel's planes and their spectra."""
    taps = sizes.problem.kernel[0] * sizes.problem.kernel[1]
    return planes_of_kernel(sizes.problem) * (8 * taps + sizes.kernel_spectra(8))


def _ssd(tile: Tile) -> _Scores:
    kernel, problem = tile.kernel, tile.kernel.problem
    products, energy, squares = tile.products(), tile.energy(), tile.kernel_squares()
    scale = problem.data_range**2
    differences = energy.values - 2 * products.values + squares.values
    size = float((energy.values + 2 * abs(products.values) + squares.values).max())
    off = 2 * products.off + energy.off + squares.off
    differences, total = differences.clip(0), tile.total
    if off or not kernel.integers or size >= EXACT_IN_FLOAT64 or not _is_to_the_last_digit(problem):
        error = (off + _rounding(problem) * size) / (total * scale) + 4 * UNIT_ROUNDOFF
        return metrics.similarity(differences, total, scale), error
    total = total if isinstance(total, int) else to_numpy(total)
    return metrics.similarity(to_numpy(differences), total, scale), 0.0


def _ncc(tile: Tile) -> _Scores:
    products, energy, squares = tile.products(), tile.energy(), tile.kernel_squares()
    if tile.kernel.integers and products.off == energy.off == squares.off == 0:
        return _exactly(tile, products.values, energy.values, squares.values)
    spread, kernel_spread = (
        _Spread(sums.values, sums.off, sums.values) for sums in (energy, squares)
    )
    return _correlated(tile, products.values, products.off, spread, kernel_spread)


def _zncc(tile: Tile) -> _Scores:
    products, energy, squares = tile.products(), tile.energy(), tile.kernel_squares()
    sums, own_sums = tile.sums(), tile.kernel_sums()
    every = (products, energy, squares, sums, own_sums)
    if tile.kernel.integers and all(moments.off == 0 for moments in every):
        exact = _whole_zncc(tile, *(moments.values for moments in every))
        if exact is not None:
            return _exactly(tile, *exact)
    uniform = tile.uniform()  # which sums of floats cannot tell
    numerator, off = _less_means(products, sums, own_sums, tile)[:2]
    spread = _spread(energy, sums, tile.constants, tile)
    # All windows may share these sums, so that they are not overwritten.
    squares = Sums(copied(squares.values), squares.off)
    kernel_spread = _spread(squares, own_sums, tile.kernel.constants, tile)
    scores, error = _correlated(tile, numerator, off, spread, kernel_spread)
    scores[uniform] = error[uniform] = 0.0
    return scores, error


class _Spread(NamedTuple):
    """A value under a root, how far it may be off, and the size of the terms that it is made of."""

    values: Array
    off: Array | float
    size: Array


def _less_means(
    total: Sums, one: Sums, other: Sums, tile: Tile
) -> tuple[Array, Array | float, Array]:
    """X - S T / n, added over the channels, in place of X; E - S^2 / n or B - T^2 / n likewise.

    Returns how far it may be off, too, and the size of its terms.
    """
    xp, values = namespace(total.values), total.values
    off: Array | float = total.off
    size: Array = abs(values)
    for of_one, of_other, count in zip(one.values, other.values, tile.counts, strict=True):
        some = cast(count.clip(1), DOUBLE)  # which NumPy would do in buffers, again each time
        if one.off and other.off:
            off = off + one.off * other.off / some
        for factor, values_of in ((one.off, of_other), (other.off, of_one)):
            if factor:
                term = abs(values_of)
                term *= factor
                off = off + xp.divide(term, some)
        term = of_one * of_other
        term /= some
        values -= term
        size += xp.abs(term, out=term)
    return values, off + _few(tile.kernel) * size, size


def _spread(energy: Sums, sums: Sums, constants: Array, tile: Tile) -> _Spread:
    """E - S^2 / n or B - T^2 / n, in place of E or B; not below 0."""
    # The size of the values as they are, which tell whether it is flat.
    raw = copied(energy.values)
    for moved, of_one, count in zip(constants, sums.values, tile.counts, strict=True):
        raw += 2 * moved * of_one
        raw += moved**2 * cast(count, DOUBLE)
    values, off, size = _less_means(energy, sums, sums, tile)
    xp = namespace(raw)
    xp.clip(values, 0, None, out=values)
    return _Spread(values, off, xp.maximum(size, raw, out=raw))


def _whole_zncc(
    tile: Tile, products: Any, energy: Any, squares: Any, sums: Any, own_sums: Any
) -> tuple[Array, ...] | None:
    """Numerator and spreads times a common multiple of all n, if they fit 64 bits."""
    counts = tile.counts.clip(1)
    multiple = counts[0]
    for count in counts[1:]:
        more = count // namespace(count).gcd(multiple, count)
        if float(multiple.max()) * float(more.max()) >= EXACT_IN_INT64:
            return None
        multiple = multiple * more
    largest = max(float(energy.max()), float(squares.max()), 1.0)
    if float(multiple.max()) * largest >= EXACT_IN_INT64:
        return None
    shares = multiple // counts

    def less(total: Array, one: Array, other: Array) -> Array:
        product = cast(total, LONG) * multiple
        for of_one, of_other, share in zip(one, other, shares, strict=True):
            product -= cast(of_one, LONG) * cast(of_other, LONG) * share
        return product

    return (
        less(products, sums, own_sums),
        less(energy, sums, sums),
        less(squares, own_sums, own_sums),
    )


def _exactly(tile: Tile, numerator: Array, spread: Array, kernel_spread: Array) -> _Scores:
    """Scores numerator / sqrt(spread x kernel_spread), of integers that are exact."""
    if _is_to_the_last_digit(tile.kernel.problem):
        return metrics.correlation(*_in_full(tile, numerator, spread, kernel_spread)), 0.0
    spread, kernel_spread = cast(spread, DOUBLE), cast(kernel_spread, DOUBLE)
    scores = metrics.correlation(cast(numerator, DOUBLE), spread, kernel_spread)
    return scores, 8 * UNIT_ROUNDOFF * cast(spread * kernel_spread > 0, DOUBLE)


def _is_to_the_last_digit(problem: Problem) -> bool:
    """Whether what is exact is to be rounded as `metrics.exact` rounds it.

    Only NumPy does, and to bring the sums from a device to the CPU takes longer than to make them.
    """
    return problem.exact or problem.device == "cpu"


def _in_full(tile: Tile, *parts: Array) -> Iterator[NDArray[np.float64]]:
    """Yield the integers of a correlation as `metrics.exact` has them.

    Where all that counts is visible they are integers without visibility, which is a factor. On
    the CPU, because torch's roots and quotients may be rounded otherwise.
    """
    factor: Any = None
    if tile.seen is not None:
        problem = tile.kernel.problem
        most = problem.opaque_level or 1
        is_all_visible = tile.seen.total == most * problem.total_weight
        factor = np.where(is_all_visible, most**2 if problem.metric == "zncc" else most, 1)
    for values in parts:
        integers = to_numpy(values) if factor is None else to_numpy(values) // factor
        yield integers.astype(np.float64, copy=False)


def _correlated(
    tile: Tile, numerator: Array, off: Array | float, spread: _Spread, kernel_spread: _Spread
) -> tuple[Array, Array]:
    """Scores numerator / sqrt(spread x own), and what they may be off by."""
    scores = metrics.correlation(numerator, spread.values, kernel_spread.values)
    # The rounding of sums of floats, here and in `metrics.exact`.
    rounding, xp = _rounding(tile.kernel.problem), namespace(scores)
    error = (
        xp.sqrt(spread.size * kernel_spread.size) * rounding if rounding else xp.zeros_like(scores)
    )
    error += off
    roots = spread.values * kernel_spread.values
    xp.sqrt(roots, out=roots)
    doubtful = roots == 0
    with np.errstate(divide="ignore", invalid="ignore"):
        xp.divide(error, roots, out=error)
        del roots
        for moments in [spread, kernel_spread]:
            around = moments.off + moments.size * rounding if rounding else moments.off
            # A window that may be flat may have any score, or 0.
            flat = moments.size * (2 * FLAT)
            flat += around
            flat += around
            doubtful |= moments.values <= flat
            if rounding:
                doubtful |= moments.size < LEAST_ENERGY
            room = xp.subtract(moments.values, around, out=flat)
            xp.clip(room, 0, None, out=room)
            error += xp.divide(around, room, out=room)
    error += 8 * UNIT_ROUNDOFF
    error[doubtful | ~xp.isfinite(error)] = 2.0
    return scores, error


def _few(kernel: Reference) -> float:
    """The rounding of a sum over the channels."""
    return (4 + kernel.problem.kernel[2]) * UNIT_ROUNDOFF


def _rounding(problem: Problem) -> float:
    """Return the relative rounding of a window's sum in float64; sums of integers have none."""
    return 0.0 if problem.dtype.startswith("uint") else 4.0 * (problem.taps + 8) * UNIT_ROUNDOFF
