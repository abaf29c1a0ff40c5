"""`sad` within a tolerance, by the sums of products of `common.lowrank`."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from patchsim import metrics
from patchsim.engines.common.lowrank import VALUES, products_needed, terms_of
from patchsim.engines.common.tile_sizes import TileSizes
from patchsim.engines.contract import Bounds, Problem, Seen, SharedScore
from patchsim.engines.tile_cache import Cached, Shared
from patchsim.metrics import Kernel
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
    """Prepare a kernel for `sad`, on any device and with any visibility."""
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
        """Yield the planes of the terms, times visibility."""
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
        counts = xp.bincount(channels.reshape(-1), often, minlength=VALUES)
        return math.sqrt(energy @ to_numpy(counts))

    def sums(shared: Shared, windows: tuple[int, int], levels: Array | None) -> tuple[Array, float]:
        """Return the sums of the products, float64 [rows, cols], and how far they may be off."""
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
