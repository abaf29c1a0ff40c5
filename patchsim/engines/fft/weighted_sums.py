"""Sums over windows of what has weights or is visible, of which `weighted` makes scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from patchsim.engines.common.tile_sizes import TileSizes
from patchsim.engines.contract import Seen
from patchsim.engines.fft.sums import means_of, moved
from patchsim.engines.problem import Problem
from patchsim.engines.tile_cache import Cached, Shared
from patchsim.metrics import Kernel
from patchsim.numerics.array_api import Array, cast, copied, like, namespace, to_device
from patchsim.numerics.box_sums import uniform_windows
from patchsim.numerics.overlap_save import Products, Spectra, norm_of, rounding
from patchsim.numerics.precision import DOUBLE, ROUNDING_MARGIN


class Sums(NamedTuple):
    """A sum over every window, [..., rows, cols], and the most that it may be off.

    [1, 1] or [C, 1, 1] where it is the same for all windows.
    """

    values: Array
    off: float = 0.0


class Reference:
    """The sums and transforms of a kernel, whose values are less their constants."""

    def __init__(self, kernel: Kernel, problem: Problem, constants: NDArray[Any]) -> None:
        self.problem = problem
        self.integers = kernel.pixels.dtype.kind == "u"
        constants = constants.astype(np.float64)
        self.constants = to_device(constants, problem.device)
        values = moved(kernel.pixels, constants, DOUBLE)
        weights = kernel.weights
        planes = np.ones((*values.shape[1:], 1)) if weights is None else np.atleast_3d(weights)
        weighing = planes.transpose(2, 0, 1).astype(np.float64)  # [C, h, w] or [1, h, w]
        heavy = weighing * values
        squares = (heavy * values).sum(0)
        self.weights = [self._taps([plane]) for plane in weighing]
        self.products = self._taps(list(heavy))
        if problem.opaque_level is None:
            everywhere = np.broadcast_to(weighing.sum((1, 2), keepdims=True), (len(heavy), 1, 1))
            self.counts = to_device(everywhere.astype(np.int64), problem.device)  # n
            self.sums = Sums(to_device(heavy.sum((1, 2), keepdims=True), problem.device))  # T
            self.squares = Sums(to_device(squares.sum(keepdims=True), problem.device))  # B
        else:
            self.heavy = [self._taps([plane]) for plane in heavy]
            self.heavy_squares = self._taps([squares])

    def _taps(self, planes: list[NDArray[np.float64]]) -> tuple[Products, float]:
        """And their norm."""
        norm = math.hypot(*map(norm_of, planes))
        return Products([to_device(plane, self.problem.device) for plane in planes]), norm


class _Planes(NamedTuple):
    """Transforms and norms of an image's planes."""

    spectra: Spectra
    norms: tuple[float, ...]

    def each(self) -> list[_Planes]:
        """The planes one by one."""
        pairs = zip(self.spectra.each(), self.norms, strict=True)
        return [_Planes(spectra, (norm,)) for spectra, norm in pairs]


class _Image:
    """The planes that depend on the pixels alone: va, va^2 and v."""

    def __init__(self, shared: Shared, kernel: Reference) -> None:
        problem = kernel.problem
        device, longest = problem.device, shared.extent or shared.pixels.shape[:2]

        def transformed(planes: Array) -> _Planes:
            return _Planes(Spectra(planes, longest), tuple(map(norm_of, planes)))

        pixels, self.constants = to_device(shared.pixels, device), kernel.constants
        if problem.metric == "zncc":
            self.constants = means_of(pixels, rounded=kernel.integers)
        values = moved(pixels, self.constants, DOUBLE)  # a
        visible, self.levels = values, None
        if problem.opaque_level is not None:
            assert shared.levels is not None
            levels = cast(to_device(shared.levels, device), DOUBLE)[None]
            visible, self.levels = levels * values, transformed(levels)
        squares = visible * values
        if len(kernel.weights) == 1:
            squares = squares.sum(0)[None]
        self.shown, self.squares = transformed(visible), transformed(squares)


def image_bytes(sizes: TileSizes) -> int:
    """Return the bytes of the spectra that are kept of a tile's pixels."""
    problem = sizes.problem
    planes = problem.kernel[2] + (problem.kernel[2] if problem.has_channel_weights else 1)
    return (planes + (problem.opaque_level is not None)) * sizes.spectrum(8)


def image_peak_bytes(sizes: TileSizes) -> int:
    """Return the peak bytes of making them, from the pixels where the device has these."""
    problem = sizes.problem
    plane, channels = 8 * sizes.pixels, problem.kernel[2]
    values, levels = channels * plane, 0
    if problem.opaque_level is not None:
        values, levels = 2 * values + plane, sizes.spectrum(8)
    summing = values + levels + channels * plane + plane
    squares = channels * plane if problem.has_channel_weights else plane
    # At last a plane with zeros appended.
    transforming = values + squares + image_bytes(sizes) + sizes.plane(8)
    return sizes.uploaded + max(summing, transforming)


class _TileFields:
    """Kept of a tile."""

    def __init__(self) -> None:
        self.visible: Cached[_Image] = Cached()  # as if all pixels were visible
        self.partly_visible: Cached[_Image] = Cached()
        self.uniform: Cached[Array] = Cached()


class Tile:
    """Sums over the windows of a tile [H, W, C]."""

    def __init__(
        self, shared: Shared, windows: tuple[int, int], kernel: Reference, seen: Seen | None
    ) -> None:
        self.kernel = kernel
        self.seen = seen
        self._shared = shared
        self._windows = windows
        fields = shared.fields(_TileFields)
        kept = fields.visible if kernel.problem.opaque_level is None else fields.partly_visible
        self._image = kept.get(lambda: _Image(shared, kernel))
        self.constants = self._image.constants

    @cached_property
    def total(self) -> int | Array:
        """Return n summed over the channels."""
        problem = self.kernel.problem
        if self.seen is None:
            return problem.total_weight
        return to_device(self.seen.total, problem.device)

    @cached_property
    def counts(self) -> Array:
        """n, [C, rows, cols] or [C, 1, 1]."""
        if self.seen is None:
            return self.kernel.counts
        return to_device(self.seen.counts, self.kernel.problem.device)

    def products(self) -> Sums:
        """X, [rows, cols]."""
        return self._over(self.kernel.products, self._image.shown)

    def energy(self) -> Sums:
        """E, [rows, cols]; not below 0."""
        pairs = zip(self.kernel.weights, self._image.squares.each(), strict=True)
        parts = (self._over(taps, plane) for taps, plane in pairs)
        total = next(parts)
        values, off = total.values, total.off
        for sums in parts:
            values += sums.values
            off += sums.off
        return _not_below_0(Sums(values, off))

    def sums(self) -> Sums:
        """S, [C, rows, cols]."""
        weights, planes = self.kernel.weights, self._image.shown.each()
        return self._stacked(weights * len(planes) if len(weights) == 1 else weights, planes)

    def kernel_sums(self) -> Sums:
        """T, [C, rows, cols] or [C, 1, 1]."""
        levels = self._image.levels
        if levels is None:
            return self.kernel.sums
        heavy = self.kernel.heavy
        return self._stacked(heavy, [levels] * len(heavy))

    def kernel_squares(self) -> Sums:
        """B, [rows, cols] or [1, 1]; not below 0."""
        levels = self._image.levels
        if levels is None:
            return self.kernel.squares
        return _not_below_0(self._over(self.kernel.heavy_squares, levels))

    def uniform(self) -> Array:
        """True for windows, [rows, cols], in which each channel has one value."""
        problem = self.kernel.problem
        size, stride = problem.kernel[:2], problem.stride

        def pixels() -> Array:
            return to_device(self._shared.under(self._windows, size, stride), problem.device)

        return self._shared.fields(_TileFields).uniform.get(
            lambda: uniform_windows(pixels(), size, stride),
            key=(self._windows, size),
        )

    def _stacked(
        self, products: Sequence[tuple[Products, float]], planes: Sequence[_Planes]
    ) -> Sums:
        pairs = zip(products, planes, strict=True)
        parts = (self._over(taps, plane) for taps, plane in pairs)
        first = next(parts)
        shape = len(planes), *first.values.shape
        stack, off = namespace(first.values).empty(shape, **like(first.values)), first.off
        stack[0] = first.values
        del first
        for number, sums in enumerate(parts, 1):
            stack[number] = sums.values
            off = max(off, sums.off)
        return Sums(stack, off)

    def _over(self, taps: tuple[Products, float], planes: _Planes) -> Sums:
        problem, (products, norm) = self.kernel.problem, taps
        rows, cols = self._windows
        sums = products.through(planes.spectra)
        at_stride = sums[:: problem.stride[0], :: problem.stride[1]][:rows, :cols]
        off = norm * math.hypot(*planes.norms) * rounding(DOUBLE, problem.device)
        if self.kernel.integers and off < ROUNDING_MARGIN:
            return Sums(namespace(at_stride).round(at_stride))
        return Sums(copied(at_stride), off)  # a part of it would hold all that the transform gave


def _not_below_0(sums: Sums) -> Sums:
    namespace(sums.values).clip(sums.values, 0, None, out=sums.values)
    return sums
