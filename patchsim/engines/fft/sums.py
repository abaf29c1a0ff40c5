"""Sums over the windows of a tile and over the kernel, of which `scores` makes scores.

They are made where the problem's device is; only what the C extension sums is NumPy's alone.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchsim.engines.common.tile_sizes import TileSizes
from patchsim.engines.fft import window_moments
from patchsim.engines.fft.spreads import Spread
from patchsim.engines.problem import Problem
from patchsim.engines.tile_cache import Cached, Shared
from patchsim.geometry import tiles
from patchsim.metrics import INTEGER_RANGE
from patchsim.numerics.array_api import Array, cast, namespace, to_device
from patchsim.numerics.box_sums import box_sums, box_sums_bytes
from patchsim.numerics.overlap_save import Products, Spectra, norm_of, rounding
from patchsim.numerics.precision import DOUBLE, EXACT_IN_INT64, LONG, SINGLE
from patchsim.types import Pixels

# A tile that could be off by more than this, or the tolerance, is transformed in float64.
_ERROR = 1e-5
# So is a tile of floats whose squares add up to less than the least normal number of float32, or
# whose products with the kernel would be off by less: float32 has no digits for them.
_SMALLEST = 2.0**-126


def constants_of(pictures: Sequence[Pixels], metric: str) -> NDArray[Any]:
    """The mean of each channel, whole for integers; for `ncc` 0."""
    are_integers = pictures[0].dtype.kind == "u"
    if metric == "ncc":
        return np.zeros(pictures[0].shape[2], np.int64 if are_integers else np.float64)
    means: NDArray[Any] = np.mean([means_of(p, rounded=False) for p in pictures], 0)
    return np.rint(means).astype(np.int64) if are_integers else means


def means_of(pixels: Array, *, rounded: bool) -> Array:
    """Return the mean of each channel of [H, W, C], float64 [C], or the nearest integer."""
    means = cast(pixels, DOUBLE).mean(0).mean(0)
    return namespace(means).round(means) if rounded else means


class Reference:
    """The sums and transforms of a kernel, whose values are less their constants."""

    def __init__(self, kernel: Pixels, problem: Problem, constants: NDArray[Any]) -> None:
        self.problem = problem
        self.integers = kernel.dtype.kind == "u"
        self.pixels = math.prod(kernel.shape[:2])  # n
        self.constants = to_device(constants, problem.device)
        planes = moved(kernel, constants, constants.dtype)
        sums = planes.sum((1, 2))
        self.sums = to_device(sums, problem.device)  # T, [C]
        self.squares = (planes * planes).sum().item()  # B
        self.norm = math.sqrt(self.squares)
        self.spread = self._spread(sums)
        taps = planes.astype(np.float64)
        if problem.metric == "zncc" and self.integers and not problem.exact:
            # Then the products are n X - S T already, over n.
            taps -= (sums / self.pixels)[:, None, None]
            self.norm = math.sqrt(self.spread / self.pixels)
        self.products = Products(to_device(taps, problem.device))

    def _spread(self, sums: NDArray[Any]) -> float:
        """Return the kernel's spread as `metrics.exact` has it; that of integers is scaled by n."""
        if self.problem.metric != "zncc":
            return float(self.squares)
        if self.integers:
            return float(self.pixels * self.squares - sum(t * t for t in sums.tolist()))
        return float(self.squares - (sums**2).sum() / self.pixels)


class TileFields:
    """Kept of a tile; sums over windows for kernels of one size."""

    def __init__(self) -> None:
        self.on_device: Cached[Array] = Cached()
        self.constants: Cached[Array] = Cached()
        self.norm: Cached[float] = Cached()
        self.planes: Cached[Array] = Cached()
        self.spectra: defaultdict[np.dtype[Any], Cached[Spectra]] = defaultdict(Cached)
        self.spread: Cached[Spread] = Cached()
        self.energy: Cached[Array] = Cached()


class Tile:
    """The pixels of a tile [H, W, C], and sums over its windows [rows, cols]."""

    def __init__(self, shared: Shared, windows: tuple[int, int], kernel: Reference) -> None:
        problem = kernel.problem
        self.shared = shared
        self.kernel = kernel
        self._fields = shared.fields(TileFields)
        self._all = self._fields.on_device.get(lambda: to_device(shared.pixels, problem.device))
        height, width = tiles.extent(windows, problem.kernel[:2], problem.stride)
        self.pixels = self._all[:height, :width]
        # Sums over windows depend on these, beside the pixels.
        self.windows = windows, problem.kernel[:2]
        self._shape = windows
        self.constants = kernel.constants
        if problem.metric == "zncc":
            # Any constants will do here: those of some pixels are found sooner.
            self.constants = self._fields.constants.get(self._some_means)

    def _some_means(self) -> Array:
        means = means_of(self._all[::4, ::4], rounded=self.kernel.integers)
        return cast(means, LONG) if self.kernel.integers else means

    def products(self, scale: float) -> tuple[Array, float]:
        """X, and how far it may be off; `scale` at the most makes scores of X."""
        kernel, problem, shared = self.kernel, self.kernel.problem, self.shared
        dtype = DOUBLE if problem.exact else SINGLE
        norm = self._norm(dtype)
        off = norm * kernel.norm * rounding(dtype, problem.device)
        can_underflow = problem.metric != "ssd" and not kernel.integers
        is_small = can_underflow and min(off, norm * norm) < _SMALLEST
        if is_small or scale * off > max(_ERROR, problem.tolerance):
            dtype = DOUBLE
        if is_small:
            norm = self._norm(dtype)
        if shared.extent is None:
            sums = kernel.products.over(self._planes(dtype))
        else:
            spectra = self._fields.spectra[dtype].get(partial(self._spectra, dtype))
            sums = kernel.products.through(spectra)
        rows, cols = self._shape
        at_stride = sums[:: problem.stride[0], :: problem.stride[1]][:rows, :cols]
        off = norm * kernel.norm * rounding(dtype, problem.device)
        if problem.exact and off < 0.25:
            return namespace(at_stride).round(at_stride), 0.0  # the integers that they must be
        return cast(at_stride, DOUBLE), off

    def _planes(self, dtype: np.dtype[Any]) -> Array:
        return self._fields.planes.get(lambda: moved(self._all, self.constants, dtype), key=dtype)

    def _norm(self, dtype: np.dtype[Any]) -> float:
        return self._fields.norm.get(lambda: norm_of(self._planes(dtype)), key=dtype)

    def _spectra(self, dtype: np.dtype[Any]) -> Spectra:
        assert self.shared.extent is not None
        made = Spectra(self._planes(dtype), self.shared.extent)
        self._fields.planes.clear()
        return made

    def spread(self) -> Spread:
        """Return E of integers, or n E - S^2 for `zncc`; kernels of one size share it."""
        return self._fields.spread.get(lambda: Spread(self.moments()[0]), key=self.windows)

    def energy(self) -> Array:
        """Return E of floats; kernels of one size share it."""
        return self._fields.energy.get(
            lambda: self.box_sums((self.moved(DOUBLE) ** 2).sum(0)), key=self.windows
        )

    def moments(self, weights: Array | None = None) -> tuple[Array, Array]:
        """E, for `zncc` n E - S^2; and, with weights [C] of the channels, S times these.

        Of integers, exact.
        """
        problem = self.kernel.problem
        centred = problem.metric == "zncc"
        if weights is None:
            weights = 0 * self.kernel.sums
        if not _is_in_c(problem):
            return self._moments_by_box_sums(weights) if centred else (self._squares(), None)
        return window_moments.moments(
            self.pixels,
            problem.kernel[:2],
            problem.stride,
            self.constants,
            weights if centred else None,
        )

    def _squares(self) -> Array:
        planes = self.moved(LONG)
        return cast(self.box_sums((planes * planes).sum(0)), DOUBLE)

    def _moments_by_box_sums(self, weights: Array) -> tuple[Array, Array]:
        planes = self.moved(LONG)
        count, energy = self.kernel.pixels, self.box_sums((planes * planes).sum(0))
        # In 64 bits the difference is right even where its terms overflow, if it fits itself;
        # where it does not, float64 has its leading digits.
        spread, rounded = count * energy, count * cast(energy, DOUBLE)
        means = 0 * energy
        for plane, weight in zip(planes, weights, strict=True):
            sums = self.box_sums(plane)
            spread -= sums * sums
            rounded -= cast(sums, DOUBLE) ** 2
            means += weight * sums
        return namespace(spread).where(
            rounded >= EXACT_IN_INT64, rounded, cast(spread, DOUBLE)
        ), means

    def moved(self, dtype: np.dtype[Any], constants: Array | None = None) -> Array:
        """The pixels in planes [C, H, W], less constants of the channels."""
        return moved(self.pixels, self.constants if constants is None else constants, dtype)

    def box_sums(self, values: Array) -> Array:
        """Sums over every window, [..., H, W] -> [..., rows, cols]."""
        problem = self.kernel.problem
        return box_sums(values, problem.kernel[:2], problem.stride)


def can_need_double(sizes: TileSizes) -> bool:
    """Return whether a tile may have to be transformed in float64."""
    problem = sizes.problem
    if problem.exact or problem.metric != "ssd":
        return True  # of correlations it depends on the windows' contrast
    # By the range R of N pixels and n of the kernel: the norm of the pixels is at most R sqrt(N),
    # and that of the kernel R sqrt(n) / 2 if its own means are subtracted.
    ratio = sizes.pixels * problem.kernel[2] / problem.taps
    error = (
        math.sqrt(ratio)
        * rounding(SINGLE, problem.device)
        * (1 if problem.kernel_count == 1 else 2)
    )
    return error > max(_ERROR, problem.tolerance)


def moments_bytes(sizes: TileSizes) -> int:
    """Return the peak bytes of `Tile.moments`, or of `energy`."""
    problem, score_bytes = sizes.problem, 8 * sizes.windows
    is_whole = problem.dtype in INTEGER_RANGE
    if is_whole and _is_in_c(problem):
        values = sizes.pixels * problem.kernel[2]
        return window_moments.moments_bytes(values, np.dtype(problem.dtype).itemsize, sizes.windows)
    planes = 8 * sizes.pixels * problem.kernel[2]
    box = box_sums_bytes(sizes.extent, problem.kernel[:2], problem.stride)
    # Planes, their squares and the sum of these over the channels. Then this sum, and sums over
    # windows, for which planes of integers are kept; for `zncc` what is made of the sums, too,
    # while the planes are summed.
    held = 8 * sizes.pixels
    if is_whole:
        held = planes + (max(held, 4 * score_bytes) if problem.metric == "zncc" else held)
    return max(2 * planes + 8 * sizes.pixels, held + box)


def moved(pixels: Array, constants: Array, dtype: np.dtype[Any]) -> Array:
    """[H, W, C] -> [C, H, W], less the constants of the channels."""
    # Floats lose what they differ by if they are rounded before they are subtracted.
    if isinstance(pixels, np.ndarray):
        within = DOUBLE if pixels.dtype.kind == "f" else dtype
        planes = np.empty((pixels.shape[2], *pixels.shape[:2]), dtype)
        moved = constants.astype(within)[:, None, None]
        np.subtract(pixels.transpose(2, 0, 1), moved, out=planes, casting="unsafe", dtype=within)
        return planes
    within = DOUBLE if pixels.is_floating_point() else dtype
    shape, xp = (pixels.shape[2], *pixels.shape[:2]), namespace(pixels)
    planes = xp.empty(shape, dtype=getattr(xp, dtype.name), device=pixels.device)
    for plane, channel, constant in zip(planes, pixels.unbind(2), constants, strict=True):
        # One by one, so that little is in a wider type.
        plane.copy_(cast(channel, within) - cast(constant, within))
    return planes


def _is_in_c(problem: Problem) -> bool:
    """Return whether integers are summed over windows in C."""
    return problem.device == "cpu" and window_moments.has_moments(
        problem.kernel[0], problem.kernel[2]
    )
