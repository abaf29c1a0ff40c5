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

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchsim import metrics
from patchsim.engines.common.tile_sizes import TileSizes
from patchsim.engines.contract import Bounds, Problem, Seen, SharedScore
from patchsim.engines.fft.weighted_sums import (
    Reference,
    Sums,
    Tile,
    image_bytes,
    image_peak_bytes,
)
from patchsim.engines.tile_cache import Shared
from patchsim.metrics import FLAT, INTEGER_RANGE, Kernel
from patchsim.numerics.array_api import Array, cast, namespace, to_numpy
from patchsim.numerics.box_sums import uniform_windows_bytes
from patchsim.numerics.overlap_save import products_bytes, rounding
from patchsim.numerics.precision import (
    DOUBLE,
    EXACT_IN_FLOAT64,
    EXACT_IN_INT64,
    LONG,
    ROUNDING_MARGIN,
    UNIT_ROUNDOFF,
)

_Scores = tuple[Array, Array | float]  # and how far they may be off


def prepare(kernel: Kernel, problem: Problem, constants: NDArray[Any]) -> SharedScore:
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


def transforms(problem: Problem) -> int:
    """Forward and backward, of a tile, beside those of the products of image and kernel."""
    weighing = problem.kernel[2] if problem.has_channel_weights else 1
    count = 2 * weighing + 2
    if problem.metric == "zncc":
        count += 2 * problem.kernel[2]
    if problem.opaque_level is not None:
        count += 2
        if problem.metric == "zncc":
            count += 2 * problem.kernel[2]
    return count


def working_values(problem: Problem, pixels: int, transformed: int, windows: int) -> int:
    """Values in 8 bytes that a tile takes, of so many pixels, in a transform, and windows."""
    channels = problem.kernel[2]
    # The pixels, their planes and squares; spectra of both, of a product, and sums; windows.
    planes, spectra, sums = 3 * channels + 3, channels + 5, 2 * channels + 12
    if problem.has_channel_weights:
        spectra += channels - 1
        sums += channels
    if problem.opaque_level is not None:
        planes += channels + 2
        spectra += 1
        sums += 3 * channels + 8
    return pixels * planes + transformed * spectra + windows * sums


def planes_of_kernel(problem: Problem) -> int:
    """How many a kernel has transforms of: its weights, their products with it and its squares."""
    channels = problem.kernel[2]
    planes = channels + (channels if problem.has_channel_weights else 1)
    if problem.opaque_level is None:
        return planes
    return planes + 1 + (channels if problem.metric == "zncc" else 0)


def peak_bytes(sizes: TileSizes) -> int:
    """Return the peak bytes of scoring a tile on the CPU, beside the kernels' spectra."""
    problem, scores = sizes.problem, 8 * sizes.windows
    channels, is_hidden = problem.kernel[2], problem.opaque_level is not None
    one = products_bytes(sizes.transform, 8, 1)
    # Sums that are exact are rounded; others remain parts of arrays as large as a transform.
    each = scores if _must_be_exact(sizes) else sizes.plane(8)
    kept = image_bytes(sizes)
    several = products_bytes(sizes.transform, 8, channels)
    # X and E, and B, which is one number where all is visible; the next while there are others.
    sums = (3 if is_hidden else 2) * each
    peak = max(several, 2 * each + one)
    if problem.metric != "zncc":
        passed = 4 if _may_be_exact(problem) or problem.metric == "ssd" else 8
        if is_hidden and passed == 4:
            passed = 6  # the total or what counts, too
        return max(image_peak_bytes(sizes), kept + max(peak, sums + passed * scores))
    stacks = channels * scores
    # S, and T where it is not one number; one sum after the other, and all of them in one array.
    before = sums + (stacks if is_hidden else 0)
    peak = max(peak, before + channels * each + max(one, stacks))
    # Then n, quotients by it and what a difference of products passes through.
    varying = 7 if is_hidden else 3
    if _may_be_exact(problem):
        peak = max(peak, sums + varying * stacks + 4 * scores)
    if not _must_be_whole(sizes):
        peak = max(peak, sums + (9 if is_hidden else 7) * stacks + 8 * scores)
        # At last S and a product; numerator, spreads and scores; and which windows are uniform.
        uniform = uniform_windows_bytes(sizes.extent, channels, problem.kernel[:2], problem.stride)
        kept_sums = (3 if is_hidden else 2) * stacks + (12 if is_hidden else 9) * scores
        flags = 3 * sizes.windows  # which scores are doubtful, and their parts
        peak = max(peak, sums + kept_sums + flags + uniform)
    return max(image_peak_bytes(sizes), kept + peak)


def _may_be_exact(problem: Problem) -> bool:
    return problem.dtype in INTEGER_RANGE


def _must_be_exact(sizes: TileSizes) -> bool:
    """Return whether sums are exact integers, whatever the picture."""
    problem = sizes.problem
    if problem.dtype not in INTEGER_RANGE:
        return False
    largest = INTEGER_RANGE[problem.dtype] ** 2 * problem.max_weight * (problem.opaque_level or 1)
    norms = math.sqrt(sizes.pixels * problem.kernel[2] * problem.taps)
    return largest * norms * rounding(DOUBLE) < ROUNDING_MARGIN


def _must_be_whole(sizes: TileSizes) -> bool:
    """Return whether numerator and spreads of `zncc` fit 64 bits, whatever the picture."""
    problem, channels = sizes.problem, sizes.problem.kernel[2]
    if not _must_be_exact(sizes):
        return False
    counts = problem.total_weight * (problem.opaque_level or 1) / channels
    multiples = channels if problem.has_channel_weights else 1
    energy = counts * channels * INTEGER_RANGE[problem.dtype] ** 2
    return counts**multiples * energy < EXACT_IN_INT64


def kept_bytes(sizes: TileSizes) -> int:
    """Return the bytes that kernels share of a tile on the CPU."""
    return image_bytes(sizes) + sizes.windows


def kernel_bytes(sizes: TileSizes) -> int:
    """Return the bytes of a kernel's planes and their spectra on the CPU."""
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
    if off or not kernel.integers or size >= EXACT_IN_FLOAT64 or not _to_the_last_digit(problem):
        error = (off + _rounding(problem) * size) / (total * scale) + 4 * UNIT_ROUNDOFF
        return metrics.similarity(differences, total, scale), error
    total = total if isinstance(total, int) else to_numpy(total)
    return metrics.similarity(to_numpy(differences), total, scale), 0.0


def _ncc(tile: Tile) -> _Scores:
    products, energy, squares = tile.products(), tile.energy(), tile.kernel_squares()
    if tile.kernel.integers and products.off == energy.off == squares.off == 0:
        return _exactly(tile, products.values, energy.values, squares.values)
    own = _Spread(squares.values, squares.off, squares.values)
    return _correlated(tile, products, _Spread(energy.values, energy.off, energy.values), own)


def _zncc(tile: Tile) -> _Scores:
    products, energy, squares = tile.products(), tile.energy(), tile.kernel_squares()
    sums, own_sums = tile.sums(), tile.kernel_sums()
    every = (products, energy, squares, sums, own_sums)
    if tile.kernel.integers and all(each.off == 0 for each in every):
        found = _whole_zncc(tile, *(each.values for each in every))
        if found is not None:
            return _exactly(tile, *found)
    counts = tile.counts.clip(1)
    between = sums.values * own_sums.values / counts
    off = sums.off * abs(own_sums.values) + own_sums.off * abs(sums.values)
    off = ((off + sums.off * own_sums.off) / counts).sum(0)
    size = abs(products.values) + abs(between).sum(0)
    numerator = Sums(
        products.values - between.sum(0), products.off + off + _few(tile.kernel) * size
    )
    spread = _spread(energy, sums, tile.constants, tile.counts, tile.kernel)
    own = _spread(squares, own_sums, tile.kernel.constants, tile.counts, tile.kernel)
    scores, error = _correlated(tile, numerator, spread, own)
    uniform = tile.uniform()  # which sums of floats cannot tell
    xp = namespace(uniform)
    return xp.where(uniform, 0.0, scores), xp.where(uniform, 0.0, error)


@dataclass(frozen=True)
class _Spread:
    """A value under a root, how far it may be off, and the size of the terms that it is made of."""

    values: Array
    off: Array | float
    size: Array


def _spread(
    energy: Sums, sums: Sums, constants: Array, counts: Array, kernel: Reference
) -> _Spread:
    """E - S^2 / n over all channels."""
    some = counts.clip(1)
    terms = (sums.values**2 / some).sum(0)
    off = ((2 * abs(sums.values) * sums.off + sums.off**2) / some).sum(0)
    # Of the values as they are, which tell whether it is flat.
    moved = constants[:, None, None]
    raw = energy.values + (2 * moved * sums.values + moved**2 * counts).sum(0)
    size = energy.values + terms
    return _Spread(
        (energy.values - terms).clip(0),
        energy.off + off + _few(kernel) * size,
        namespace(terms).maximum(size, raw),
    )


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

    def less(whole: Array, one: Array, other: Array) -> Array:
        terms = shares * cast(one, LONG) * cast(other, LONG)
        return multiple * cast(whole, LONG) - terms.sum(0)

    return (
        less(products, sums, own_sums),
        less(energy, sums, sums),
        less(squares, own_sums, own_sums),
    )


def _exactly(tile: Tile, numerator: Array, spread: Array, own: Array) -> _Scores:
    """Scores numerator / sqrt(spread x own), of integers that are exact."""
    if _to_the_last_digit(tile.kernel.problem):
        return metrics.correlation(*_in_full(tile, numerator, spread, own)), 0.0
    spread, own = cast(spread, DOUBLE), cast(own, DOUBLE)
    scores = metrics.correlation(cast(numerator, DOUBLE), spread, own)
    return scores, 8 * UNIT_ROUNDOFF * cast(spread * own > 0, DOUBLE)


def _to_the_last_digit(problem: Problem) -> bool:
    """Whether what is exact is to be rounded as `metrics.exact` rounds it.

    Only NumPy does, and to bring the sums from a device to the CPU takes longer than to make them.
    """
    return problem.exact or problem.device == "cpu"


def _in_full(tile: Tile, *parts: Array) -> Iterator[NDArray[np.float64]]:
    """Yield the integers of a correlation as `metrics.exact` has them.

    Where all that counts is visible they are integers without visibility, which is a factor. On
    the CPU, because torch's roots and quotients may be rounded otherwise.
    """
    factor: Any = 1
    if tile.seen is not None:
        problem = tile.kernel.problem
        most = problem.opaque_level or 1
        whole = tile.seen.total == most * problem.total_weight
        factor = np.where(whole, most**2 if problem.metric == "zncc" else most, 1)
    for part in parts:
        yield (to_numpy(part) // factor).astype(np.float64)


def _correlated(tile: Tile, numerator: Sums, spread: _Spread, own: _Spread) -> _Scores:
    """Scores numerator / sqrt(spread x own), and what they may be off by."""
    scores = metrics.correlation(numerator.values, spread.values, own.values)
    # Of sums of floats, here and in `metrics.exact`.
    rounding = _rounding(tile.kernel.problem)
    xp = namespace(scores)
    off = numerator.off + rounding * xp.sqrt(spread.size * own.size)
    roots = xp.sqrt(spread.values * own.values)
    both = [spread, own]
    doubtful = roots == 0
    with np.errstate(divide="ignore", invalid="ignore"):
        error = off / roots
        for each in both:
            around = each.off + rounding * each.size
            error = error + around / (each.values - around).clip(0)
            # What may be flat may have any score, or 0.
            doubtful |= each.values <= 2 * around + 2 * FLAT * each.size
    doubtful |= ~xp.isfinite(error)
    return scores, xp.where(doubtful, 2.0, error + 8 * UNIT_ROUNDOFF)


def _few(kernel: Reference) -> float:
    """The rounding of a sum over the channels."""
    return (4 + kernel.problem.kernel[2]) * UNIT_ROUNDOFF


def _rounding(problem: Problem) -> float:
    """Return the relative rounding of a window's sum in float64; sums of integers have none."""
    return 0.0 if problem.dtype.startswith("uint") else 4.0 * (problem.taps + 8) * UNIT_ROUNDOFF
