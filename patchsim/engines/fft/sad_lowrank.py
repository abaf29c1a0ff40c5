"""|a-b| of two bytes as a short sum of products, f1(a) g1(b) + f2(a) g2(b) + ... + offset(b).

A sum of absolute differences is then a few sums of products, whatever the kernel's size. The f are
cosines and sines of odd multiples of pi a / 256, of which the Fourier series of |a-b| as a triangle
wave is made (they leave less over than as many singular vectors of the table of |a-b|). For each b
the g(b) and the offset are those with the least largest error over all a, by Lawson's iteration:
least squares whose weights grow where the error is (C. L. Lawson, Contributions to the theory of
linear least maximum approximation, 1961). What is left over for any a bounds the error for any
picture.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from patchsim import metrics
from patchsim.engines.common.tile_sizes import TileSizes
from patchsim.engines.contract import Bounds, Problem, Seen, SharedScore
from patchsim.engines.tile_cache import Cached, Shared
from patchsim.metrics import Kernel
from patchsim.numerics.array_api import Array, cast, like, namespace, to_device, to_numpy
from patchsim.numerics.overlap_save import Products, Spectra, norm_of, products_bytes, rounding
from patchsim.numerics.precision import DOUBLE, SINGLE

_VALUES = 256
_ROUNDS = 30

# Grey levels that approximations with 1, 2, 3 ... products are off at the most; they are made when
# they are needed, which takes longer than to know this.
LARGEST_ERRORS = (
    63.943,
    15.61,
    14.436,
    7.263,
    6.98,
    4.534,
    4.452,
    3.299,
    3.252,
    2.565,
    2.534,
    2.108,
    2.137,
    1.796,
    1.769,
    1.564,
)


@dataclass(frozen=True)
class Terms:
    """An approximation of |a-b|.

    Attributes
    ----------
    image, kernel : float64 array [terms, 256]
        f(a) and g(b).
    offset : float64 array [256]
        Of each b.
    residual : float64 array [256]
        No a is further off than this, for each b.
    """

    image: NDArray[np.float64]
    kernel: NDArray[np.float64]
    offset: NDArray[np.float64]
    residual: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.image)


@functools.cache
def terms_of(count: int) -> Terms:
    """The approximation with that many products."""
    values = np.arange(_VALUES, dtype=np.float64)
    table = np.abs(values[:, None] - values)
    angles = np.pi * (values - values.mean()) / _VALUES
    waves = [wave(odd * angles) for odd in range(1, count + 1, 2) for wave in (np.sin, np.cos)]
    basis = np.column_stack([*waves[:count], np.ones(_VALUES)])  # [a, terms and the offset]
    squares = (basis[:, :, None] * basis[:, None]).reshape(_VALUES, -1)
    weights = np.full_like(table, 1 / _VALUES)
    factors = np.zeros((_VALUES, count + 1))
    residual = np.full(_VALUES, np.inf)
    for _ in range(_ROUNDS):
        # Least squares for each b, with its own weights for the a.
        normal = (weights.T @ squares).reshape(_VALUES, count + 1, count + 1)
        right = (weights * table).T @ basis
        found = np.linalg.solve(normal, right[..., None])[..., 0]
        errors = np.abs(table - basis @ found.T)
        largest = errors.max(0)
        better = largest < residual
        factors[better], residual[better] = found[better], largest[better]
        weights *= errors / largest + 1e-3
        weights /= weights.sum(0)
    return Terms(basis[:, :-1].T, factors[:, :-1].T, factors[:, -1], residual)


def products_needed(problem: Problem) -> int | None:
    """For a channel, or None if the tolerance is too small."""
    error = 0.0 if problem.exact else problem.tolerance * problem.data_range
    return next((n for n, most in enumerate(LARGEST_ERRORS, 1) if most <= error), None)


def _channels(pixels: Array) -> Array:
    """[C, H, W], in the type of an index, which `take` would make of them for each term."""
    if isinstance(pixels, np.ndarray):
        return pixels.transpose(2, 0, 1).astype(np.intp, order="C")
    return pixels.permute(2, 0, 1).long().contiguous()


def _look_up(term: Array, indices: Array, into: Array) -> None:
    if isinstance(term, np.ndarray):
        np.take(term, indices, out=into, mode="wrap")  # indices are not checked
    else:
        namespace(term).take(term, indices, out=into)


def peak_bytes(sizes: TileSizes) -> int:
    """Return the peak bytes of scoring a tile on the CPU, beside the kernels' spectra."""
    problem, scores = sizes.problem, 8 * sizes.windows
    planes = problem.kernel[2] * (products_needed(problem) or 1)
    # Indices and a plane of floats; where levels are counted, their squares for every index.
    indices = 8 * problem.kernel[2] * sizes.pixels
    pixels = indices + 4 * sizes.pixels
    transforming = pixels + products_bytes(sizes.transform, 4, planes)
    products, kept = transforming, kept_bytes(sizes)
    if problem.opaque_level is not None:
        transforming = max(transforming, pixels + indices + 16 * sizes.pixels)
    if problem.kernel_count > 1:
        transforming = max(transforming - products + pixels, pixels + sizes.plane(4))
        products = products_bytes(sizes.transform, 4, planes)
    peak = max(transforming, products, sizes.plane(4) + scores, 5 * scores)
    if problem.opaque_level is not None:
        # Sums and a total; the levels, their spectrum, and what it becomes.
        transform = 8 * sizes.pixels + products_bytes(sizes.transform, 8, 1)
        transform += sizes.spectrum(8) if problem.kernel_count == 1 else 0
        peak = max(peak, 2 * scores + transform, 7 * scores + sizes.plane(8))
    return kept + peak


def kept_bytes(sizes: TileSizes) -> int:
    """Return the bytes that kernels share of a tile on the CPU."""
    if sizes.problem.kernel_count == 1:
        return 0
    planes = sizes.problem.kernel[2] * (products_needed(sizes.problem) or 1)
    levels = 0 if sizes.problem.opaque_level is None else sizes.spectrum(8)
    return planes * sizes.spectrum(4) + levels


def kernel_bytes(sizes: TileSizes) -> int:
    """Return the bytes of a kernel's planes and their spectra on the CPU."""
    problem = sizes.problem
    planes = problem.kernel[2] * (products_needed(problem) or 1)
    taps = problem.kernel[0] * problem.kernel[1]
    shades = 2 if problem.has_channel_weights else 1
    own = planes * (4 * taps + sizes.kernel_spectra(4)) + 16 * problem.taps * shades
    return own if problem.opaque_level is None else own + 8 * taps + sizes.kernel_spectra(8)


class _TileFields:
    """Kept of a tile: transforms and their norms."""

    def __init__(self) -> None:
        # Of all pixels, and of pixels times their visibility.
        self.terms: tuple[Cached[tuple[Spectra, float]], Cached[tuple[Spectra, float]]]
        self.terms = Cached(), Cached()
        self.levels: Cached[tuple[Spectra, float]] = Cached()


def prepare(kernel: Kernel, problem: Problem) -> SharedScore:
    """The engine `fft`'s for `sad`."""
    count = products_needed(problem)
    assert count is not None, "refuse says so"
    terms = terms_of(count)
    singles = terms.image.astype(np.float32)
    energy = (singles.astype(np.float64) ** 2).sum(0)
    image_terms = to_device(singles, problem.device)
    taps = kernel.pixels.transpose(2, 0, 1)  # [C, h, w]
    # [C, h, w], as the taps, or [1, h, w]
    counts = np.ones((1, 1, 1))
    if kernel.weights is not None:
        counts = np.atleast_3d(kernel.weights).transpose(2, 0, 1).astype(np.float64)
    factors = [
        to_device((each * term[channel]).astype(np.float32), problem.device)
        for each, channel in zip(np.broadcast_to(counts, taps.shape), taps, strict=True)
        for term in terms.kernel
    ]
    norm = math.sqrt((counts**2 * (terms.kernel**2).sum(0)[taps]).sum())
    offsets = counts * terms.offset[taps]
    products = Products(factors)

    def planes(channels: Array, levels: Array | None) -> Iterator[Array]:
        """Of the terms, times visibility."""
        xp = namespace(image_terms)
        plane = xp.empty(channels.shape[1:], **like(image_terms))  # one after the other
        for channel in channels:
            for term in image_terms:
                _look_up(term, channel, plane)
                if levels is not None:
                    xp.multiply(plane, levels, out=plane)
                yield plane

    def image_norm(channels: Array, levels: Array | None) -> float:
        xp, often = namespace(channels), None
        if levels is not None:
            often = xp.broadcast_to(cast(levels, DOUBLE) ** 2, channels.shape).reshape(-1)
        counts = xp.bincount(channels.reshape(-1), often, minlength=_VALUES)
        return math.sqrt(energy @ to_numpy(counts))

    def sums(shared: Shared, windows: tuple[int, int], levels: Array | None) -> tuple[Array, float]:
        """Of the products, float64 [rows, cols], and what they may be off by."""
        longest = shared.extent

        def planes_and_norm() -> tuple[Iterator[Array], float]:
            channels = _channels(to_device(shared.pixels, problem.device))
            return planes(channels, levels), image_norm(channels, levels)

        def kept() -> tuple[Spectra, float]:
            assert longest is not None
            found, norm = planes_and_norm()
            return Spectra(found, longest), norm

        if longest is None:
            each, image = planes_and_norm()
            found = products.over(each)
        else:
            spectra, image = shared.fields(_TileFields).terms[levels is not None].get(kept)
            found = products.through(spectra)
        off = rounding(SINGLE, problem.device) * norm * image
        return cast(strided(found, windows), DOUBLE), off

    def strided(found: Array, windows: tuple[int, int]) -> Array:
        rows, cols = windows
        return found[:: problem.stride[0], :: problem.stride[1]][:rows, :cols]

    if problem.opaque_level is not None:
        taps_of_levels = offsets.sum(0)
        shown = Products([to_device(taps_of_levels, problem.device)])
        offset_norm = norm_of(taps_of_levels)
        worst = terms.residual[taps[np.broadcast_to(counts, taps.shape) > 0]].max()

        def of_levels(levels: Array, longest: tuple[int, int]) -> tuple[Spectra, float]:
            values = cast(levels, DOUBLE)
            return Spectra([values], longest), norm_of(values)

        def visible(shared: Shared, windows: tuple[int, int], seen: Seen | None = None) -> Bounds:
            assert seen is not None
            assert shared.levels is not None
            levels = to_device(shared.levels, problem.device)
            found, off = sums(shared, windows, levels)
            longest = shared.extent or shared.pixels.shape[:2]
            spectra, level_norm = shared.fields(_TileFields).levels.get(
                lambda: of_levels(levels, longest)
            )
            offset = strided(shown.through(spectra), windows)
            off += rounding(DOUBLE, problem.device) * offset_norm * level_norm
            total = to_device(seen.total, problem.device)
            scores = metrics.similarity(found + offset, total, problem.data_range)
            error = worst / problem.data_range + off / (seen.total * problem.data_range) + 2.0**-51
            return Bounds(to_numpy(scores.clip(0.0, 1.0)), error)

        return visible

    offset = offsets.sum()
    certified = (counts * terms.residual[taps]).sum()
    total = problem.total_weight * problem.data_range

    def score(shared: Shared, windows: tuple[int, int], _seen: Seen | None = None) -> Bounds:
        found, off = sums(shared, windows, None)
        scores = metrics.similarity(found + offset, problem.total_weight, problem.data_range)
        return Bounds(
            to_numpy(scores.clip(None, 1.0)),
            np.full(windows, (certified + off) / total + 2.0**-51),
        )

    return score
