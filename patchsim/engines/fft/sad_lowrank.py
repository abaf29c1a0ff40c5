"""`sad` within a tolerance, by the sums of products of `common.lowrank`."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from patchsim import metrics
from patchsim.engines.common.lowrank import VALUES, products_needed, terms_of
from patchsim.engines.contract import Bounds, Problem, Seen, SharedScore
from patchsim.engines.tile_cache import Cached, Shared
from patchsim.metrics import Kernel
from patchsim.numerics.array_api import Array, cast, like, namespace, to_device, to_numpy
from patchsim.numerics.overlap_save import Products, Spectra, norm_of, rounding
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
        counts = xp.bincount(channels.reshape(-1), often, minlength=VALUES)
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
