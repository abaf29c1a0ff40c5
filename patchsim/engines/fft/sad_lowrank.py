"""`sad` within a tolerance, by the sums of products of `common.lowrank`."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from patchsim import metrics
from patchsim.engines.common import lowrank
from patchsim.engines.common.lowrank import products_needed
from patchsim.engines.common.tile_sizes import TileSizes
from patchsim.engines.contract import Bounds, Seen, SharedScorer
from patchsim.engines.problem import Problem
from patchsim.engines.tile_cache import Cached, Shared
from patchsim.metrics import INTEGER_RANGE, Kernel
from patchsim.numerics.array_api import Array, cast, like, namespace, to_device, to_numpy
from patchsim.numerics.overlap_save import Products, Spectra, norm_of, products_bytes, rounding
from patchsim.numerics.precision import DOUBLE, SINGLE


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
    """Return the peak bytes of scoring a tile, beside the kernels' spectra."""
    problem, score_bytes = sizes.problem, 8 * sizes.windows
    planes = problem.kernel[2] * (products_needed(problem) or 1)
    # Indices and a plane of floats; where levels are counted, their squares for every index.
    indices = 8 * problem.kernel[2] * sizes.pixels
    pixels = sizes.uploaded + indices + 4 * sizes.pixels
    transforming = pixels + products_bytes(sizes.transform, 4, planes)
    products, kept = transforming, kept_bytes(sizes)
    if problem.opaque_level is not None:
        transforming = max(transforming, pixels + indices + 16 * sizes.pixels)
    if problem.kernel_count > 1:
        transforming = max(transforming - products + pixels, pixels + sizes.plane(4))
        products = products_bytes(sizes.transform, 4, planes)
    peak = max(transforming, products, sizes.plane(4) + score_bytes, 5 * score_bytes)
    if problem.opaque_level is not None:
        # Sums and a total; the levels, their spectrum, and what it becomes.
        transform = 8 * sizes.pixels + products_bytes(sizes.transform, 8, 1)
        transform += sizes.spectrum(8) if problem.kernel_count == 1 else 0
        peak = max(peak, 2 * score_bytes + transform, 7 * score_bytes + sizes.plane(8))
    return kept + peak


def kept_bytes(sizes: TileSizes) -> int:
    """Return the bytes that kernels share of a tile."""
    if sizes.problem.kernel_count == 1:
        return 0
    planes = sizes.problem.kernel[2] * (products_needed(sizes.problem) or 1)
    levels = 0 if sizes.problem.opaque_level is None else sizes.spectrum(8)
    return planes * sizes.spectrum(4) + levels


def kernel_bytes(sizes: TileSizes) -> int:
    """Return the bytes of a kernel's planes and their spectra."""
    problem = sizes.problem
    planes = problem.kernel[2] * (products_needed(problem) or 1)
    taps = problem.kernel[0] * problem.kernel[1]
    shades = 2 if problem.has_channel_weights else 1
    opaque = planes * (4 * taps + sizes.kernel_spectra(4)) + 16 * problem.taps * shades
    return opaque if problem.opaque_level is None else opaque + 8 * taps + sizes.kernel_spectra(8)


class _TileFields:
    """Kept of a tile: transforms and their norms."""

    def __init__(self) -> None:
        # The terms of all pixels, and of pixels times their visibility.
        self.terms: tuple[Cached[tuple[Spectra, float]], Cached[tuple[Spectra, float]]]
        self.terms = Cached(), Cached()
        self.levels: Cached[tuple[Spectra, float]] = Cached()


def prepare(kernel: Kernel, problem: Problem) -> SharedScorer:
    """Prepare a kernel for `sad`, on any device and with any visibility."""
    sums = _Sums(kernel, problem)
    if problem.opaque_level is not None:
        return _visible_score(sums, problem)
    offset = sums.offsets.sum()
    certified = 2 * sums.error * offset
    total = problem.total_weight * problem.data_range

    def score(shared: Shared, windows: tuple[int, int], _seen: Seen | None = None) -> Bounds:
        window_sums, off = sums.of(shared, windows, None)
        scores = metrics.similarity(window_sums + offset, problem.total_weight, problem.data_range)
        return Bounds(
            to_numpy(scores.clip(None, 1.0)),
            np.full(windows, (certified + off) / total + 2.0**-51),
        )

    return score


def _visible_score(sums: _Sums, problem: Problem) -> SharedScorer:
    """Return the function that scores images of which not all pixels are equally visible."""
    taps_of_levels = sums.offsets.sum(0)
    offsets = Products([to_device(taps_of_levels, problem.device)])
    offset_norm = norm_of(taps_of_levels)
    worst = sums.error * INTEGER_RANGE[problem.dtype]

    def of_levels(levels: Array, longest: tuple[int, int]) -> tuple[Spectra, float]:
        values = cast(levels, DOUBLE)
        return Spectra([values], longest), norm_of(values)

    def score(shared: Shared, windows: tuple[int, int], seen: Seen | None = None) -> Bounds:
        assert seen is not None
        assert shared.levels is not None
        levels = to_device(shared.levels, problem.device)
        window_sums, off = sums.of(shared, windows, levels)
        longest = shared.extent or shared.pixels.shape[:2]
        spectra, level_norm = shared.fields(_TileFields).levels.get(
            lambda: of_levels(levels, longest)
        )
        offset = _strided(offsets.through(spectra), problem.stride, windows)
        off += rounding(DOUBLE, problem.device) * offset_norm * level_norm
        total = to_device(seen.total, problem.device)
        scores = metrics.similarity(window_sums + offset, total, problem.data_range)
        error = worst / problem.data_range + off / (seen.total * problem.data_range) + 2.0**-51
        return Bounds(to_numpy(scores.clip(0.0, 1.0)), error)

    return score


class _Sums:
    """The sums of the products of a kernel's terms and an image's.

    Attributes
    ----------
    error : float
        How far |a-b| may be off, over the range of a byte.
    offsets : float64 array [C, h, w]
        What the kernel alone adds to the sum, for each value: half of the range, times its weight.
    """

    def __init__(self, kernel: Kernel, problem: Problem) -> None:
        values = lowrank.full_range(problem)
        every = values.angles(np.arange(INTEGER_RANGE[problem.dtype] + 1)[:, None])[:, 0]
        self._problem = problem
        self.error = lowrank.LARGEST_ERRORS[values.products]
        singles = np.stack([*lowrank.waves(every, values.products)]).astype(np.float32)
        self._energy = (singles.astype(np.float64) ** 2).sum(0)
        self._image_terms = to_device(singles, problem.device)
        counts = np.ones((1, 1, 1))
        if kernel.weights is not None:
            counts = np.atleast_3d(kernel.weights).astype(np.float64)
        squares, weighted = 0.0, []  # in single precision at once: there are many large arrays
        for factor in lowrank.factors(kernel.pixels, values):
            factor *= counts
            squares += float(np.vdot(factor, factor))
            weighted.append(factor.transpose(2, 0, 1).astype(np.float32, order="C"))
        self._norm = math.sqrt(squares)
        factors = [
            to_device(factor[channel], problem.device)
            for channel in range(kernel.pixels.shape[2])
            for factor in weighted
        ]
        halves = np.broadcast_to(counts * values.halves, kernel.pixels.shape)
        self.offsets = halves.transpose(2, 0, 1)
        self._products = Products(factors)

    def of(
        self, shared: Shared, windows: tuple[int, int], levels: Array | None
    ) -> tuple[Array, float]:
        """Return the sums of a tile's windows, float64 [rows, cols], and how far they may be off.

        Parameters
        ----------
        levels : Array [H, W], optional
            The visibility of the tile's pixels.
        """
        longest, device = shared.extent, self._problem.device

        def kept() -> tuple[Spectra, float]:
            assert longest is not None
            planes, norm = self._planes_and_norm(shared, levels)
            return Spectra(planes, longest), norm

        if longest is None:
            planes, image_norm = self._planes_and_norm(shared, levels)
            products = self._products.over(planes)
        else:
            spectra, image_norm = shared.fields(_TileFields).terms[levels is not None].get(kept)
            products = self._products.through(spectra)
        off = rounding(SINGLE, device) * self._norm * image_norm
        return cast(_strided(products, self._problem.stride, windows), DOUBLE), off

    def _planes_and_norm(
        self, shared: Shared, levels: Array | None
    ) -> tuple[Iterator[Array], float]:
        channels = _channels(to_device(shared.pixels, self._problem.device))
        return self._planes(channels, levels), self._image_norm(channels, levels)

    def _planes(self, channels: Array, levels: Array | None) -> Iterator[Array]:
        """Yield the planes of the image's terms, times visibility."""
        xp = namespace(self._image_terms)
        plane = xp.empty(channels.shape[1:], **like(self._image_terms))  # one after the other
        for channel in channels:
            for term in self._image_terms:
                _look_up(term, channel, plane)
                if levels is not None:
                    xp.multiply(plane, levels, out=plane)
                yield plane

    def _image_norm(self, channels: Array, levels: Array | None) -> float:
        """Return the norm of all planes of the image's terms together."""
        xp, often = namespace(channels), None
        if levels is not None:
            often = xp.broadcast_to(cast(levels, DOUBLE) ** 2, channels.shape).reshape(-1)
        counts = xp.bincount(channels.reshape(-1), often, minlength=len(self._energy))
        return math.sqrt(self._energy @ to_numpy(counts))


def _strided(products: Array, stride: tuple[int, int], windows: tuple[int, int]) -> Array:
    rows, cols = windows
    return products[:: stride[0], :: stride[1]][:rows, :cols]
