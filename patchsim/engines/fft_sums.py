"""Sums over the windows of a tile and over the kernel, of which `fft_scores` makes scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property, partial
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchsim import engines
from patchsim.engines import Problem
from patchsim.engines.correlation import DOUBLE, ROUNDING, SINGLE, Products, Spectra
from patchsim.engines.placing import host, placed
from patchsim.engines.shared import Shared
from patchsim.engines.window_sums import box_sums, uniform_windows
from patchsim.metrics import FLAT, Pixels

# A tile that could be off by more than this, or the tolerance, is transformed in float64.
_ERROR = 1e-5

UNIT = 2.0**-53  # the rounding of one operation in float64
FITS = 2.0**62  # integers up to here are exact in 64 bits

_Floats = NDArray[np.float64]


def constants_of(pictures: Sequence[Pixels], metric: str) -> NDArray[Any]:
    """The mean of each channel, whole for integers; for `ncc` 0."""
    whole = pictures[0].dtype.kind == "u"
    if metric == "ncc":
        return np.zeros(pictures[0].shape[2], np.int64 if whole else np.float64)
    means: NDArray[Any] = np.mean([p.mean((0, 1), dtype=np.float64) for p in pictures], 0)
    return np.rint(means).astype(np.int64) if whole else means


class Reference:
    """What is done once for the kernel; its values are less their constants."""

    def __init__(self, kernel: Pixels, problem: Problem, constants: NDArray[Any]) -> None:
        self.problem = problem
        self.integers = kernel.dtype.kind == "u"
        self.pixels = math.prod(kernel.shape[:2])  # n
        self.constants = constants
        planes = moved_planes(kernel, constants, constants.dtype)
        self.sums = planes.sum((1, 2))  # T, [C]
        self.squares = (planes * planes).sum().item()  # B
        self.norm = math.sqrt(self.squares)
        self.spread = self._spread()
        taps = planes.astype(np.float64)
        if problem.metric == "zncc" and self.integers and not problem.exact:
            # Then the products are n X - S T already, over n.
            taps -= (self.sums / self.pixels)[:, None, None]
            self.norm = math.sqrt(self.spread / self.pixels)
        self.products = Products(placed(taps, problem.device))

    def _spread(self) -> float:
        """What `metrics.exact` takes for the kernel's spread; integers are scaled by n."""
        if self.problem.metric != "zncc":
            return float(self.squares)
        if self.integers:
            return float(self.pixels * self.squares - sum(t * t for t in self.sums.tolist()))
        return float(self.squares - (self.sums**2).sum() / self.pixels)


class Tile:
    """The pixels of a tile [H, W, C], and sums over its windows [rows, cols]."""

    def __init__(self, shared: Shared, windows: tuple[int, int], kernel: Reference) -> None:
        problem = kernel.problem
        self.shared = shared
        self.kernel = kernel
        self.pixels = shared.under(windows, problem.kernel[:2], problem.stride)
        # What sums over windows depend on, beside the pixels.
        self.windows = windows, problem.kernel[:2]
        self._shape = windows
        self.constants = kernel.constants
        if problem.metric == "zncc":
            # Any constants will do here: those of some pixels are found sooner.
            self.constants = shared.once(
                "constants", lambda: constants_of([shared.pixels[::4, ::4]], "zncc")
            )

    def products(self, scale: float) -> tuple[_Floats, float]:
        """X, and how far it may be off; `scale` at the most makes scores of X."""
        kernel, problem, shared = self.kernel, self.kernel.problem, self.shared
        dtype = DOUBLE if problem.exact else SINGLE
        norm = shared.once("norm", partial(self._norm, dtype)) * kernel.norm
        if scale * norm * ROUNDING[dtype] > max(_ERROR, problem.tolerance):
            dtype = DOUBLE
        if shared.extent is None:
            sums = kernel.products.over(placed(self._planes(dtype), problem.device))
        else:
            sums = kernel.products.through(
                shared.once(("spectra", dtype), partial(self._spectra, dtype))
            )
        rows, cols = self._shape
        found = host(sums)[:: problem.stride[0], :: problem.stride[1]][:rows, :cols]
        off = norm * ROUNDING[dtype]
        if problem.exact and off < 0.25:
            return np.rint(found), 0.0  # the integers that they must be
        return found.astype(np.float64), off

    def _planes(self, dtype: np.dtype[Any]) -> NDArray[Any]:
        return self.shared.once(
            "planes", lambda: moved_planes(self.shared.pixels, self.constants, dtype), of=dtype
        )

    def _norm(self, dtype: np.dtype[Any]) -> float:
        flat = self._planes(dtype).reshape(-1)
        # Not np.vdot, whose threads are not of this search.
        return math.sqrt(np.einsum("i,i->", flat, flat))

    def _spectra(self, dtype: np.dtype[Any]) -> Spectra:
        assert self.shared.extent is not None
        made = Spectra(placed(self._planes(dtype), self.kernel.problem.device), self.shared.extent)
        self.shared.forget("planes")
        return made

    def spread(self) -> Spread:
        """Of integers: E, for `zncc` n E - S^2; the same for kernels of one size."""
        return self.shared.once("spread", self._spread, of=self.windows)

    def _spread(self) -> Spread:
        problem = self.kernel.problem
        weights = np.zeros_like(self.kernel.sums)
        values, _ = self.moments(weights if problem.metric == "zncc" else weights[:0])
        return Spread(values)

    def energy(self) -> _Floats:
        """Of floats: E, the same for kernels of one size."""
        return self.shared.once(
            "energy",
            lambda: self.box_sums((moved_planes(self.pixels, self.constants, DOUBLE) ** 2).sum(0)),
            of=self.windows,
        )

    def moments(self, weights: NDArray[np.int64]) -> tuple[_Floats, NDArray[Any]]:
        """E; or, with weights of the channels, n E - S^2, and S times the weights.

        Of integers, exact.
        """
        problem = self.kernel.problem
        extension = extension_for(problem)
        if extension is None:
            return self._moments_by_box_sums(weights)
        pixels = np.ascontiguousarray(self.pixels)
        shape = self._shape
        spread = np.full(shape, np.nan)
        means = np.full(shape if weights.size else (0, 0), -1, np.int64)
        extension.moments(
            pixels,
            pixels.dtype.char,
            pixels.strides[0],
            problem.kernel[2],
            *problem.kernel[:2],
            *problem.stride,
            *shape,
            self.constants,
            weights,
            spread,
            means,
        )
        return spread, means

    def _moments_by_box_sums(self, weights: NDArray[np.int64]) -> tuple[_Floats, NDArray[Any]]:
        kernel = self.kernel
        planes = moved_planes(self.pixels, self.constants, np.dtype(np.int64))
        energy = self.box_sums((planes * planes).sum(0))
        if not weights.size:
            return energy.astype(np.float64), np.zeros(0)
        sums = self.box_sums(planes)
        # In 64 bits the difference is right even where its terms overflow, if it fits itself;
        # where it does not, float64 has its leading digits.
        spread = (kernel.pixels * energy - (sums * sums).sum(0)).astype(np.float64)
        rounded = kernel.pixels * energy.astype(np.float64) - (sums.astype(np.float64) ** 2).sum(0)
        np.copyto(spread, rounded, where=rounded >= FITS)
        return spread, (sums * weights[:, None, None]).sum(0)

    def box_sums(self, values: NDArray[Any]) -> NDArray[Any]:
        """Sums over every window, [..., H, W] -> [..., rows, cols]."""
        problem = self.kernel.problem
        return host(box_sums(placed(values, problem.device), problem.kernel[:2], problem.stride))


class Spread:
    """What of the windows alone goes into their scores, of integers; for kernels of one size."""

    def __init__(self, values: _Floats) -> None:
        self.values = values
        self.largest = float(values.max())
        self._flat = values == 0

    @cached_property
    def inverse(self) -> _Floats:
        """1 / sqrt(values), and 0 where they are 0."""
        return inverse_root(self.values, 1.0)

    @cached_property
    def steepest(self) -> float:
        """The largest inverse."""
        return float(self.inverse.max())

    @cached_property
    def flat(self) -> NDArray[np.bool_] | None:
        """Where the spread is 0, if it is so anywhere."""
        return self._flat if self._flat.any() else None


class Contrast:
    """The same as `Spread` of floats, for `zncc`, with how far it may be off."""

    def __init__(self, tile: Tile) -> None:
        problem, count = tile.kernel.problem, tile.kernel.pixels
        planes = moved_planes(tile.pixels, tile.constants, DOUBLE)
        self.sums, energy = tile.box_sums(planes), tile.box_sums(planes**2)
        raw = tile.box_sums(moved_planes(tile.pixels, 0 * tile.constants, DOUBLE) ** 2)
        spread = energy - self.sums**2 / count  # of each channel
        # Which sums of floats cannot tell.
        uniform = uniform_windows(tile.pixels, problem.kernel[:2], problem.stride)
        # Of these sums, and of those in `metrics.exact`.
        off = float_rounding(problem) * energy
        self.flat = np.all(spread + off <= FLAT * raw, 0) | uniform
        clear = np.any(spread - off > FLAT * raw, 0) & ~self.flat
        self.total, off = np.where(clear, spread.sum(0), 0.0), off.sum(0)
        self.doubt = np.divide(off, self.total, out=np.ones_like(off), where=self.total > 4 * off)


def inverse_root(spread: _Floats, own: float) -> _Floats:
    """1 / sqrt(spread x own), and 0 where the spread is 0."""
    roots = np.sqrt(spread) * math.sqrt(own)
    with np.errstate(over="ignore"):  # of a window with next to nothing in it: any score
        return np.divide(1.0, roots, out=np.zeros_like(spread), where=roots > 0)


def float_rounding(problem: Problem) -> float:
    """Of a sum of a window's values in float64, here and in `metrics.exact`, of its terms' size."""
    return 4.0 * (problem.taps + 8) * UNIT


def moved_planes(pixels: Pixels, constants: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """[H, W, C] -> [C, H, W], less the constants of the channels."""
    planes = np.empty((pixels.shape[2], *pixels.shape[:2]), dtype)
    # Floats lose what they differ by if they are rounded before they are subtracted.
    within = DOUBLE if pixels.dtype.kind == "f" else dtype
    moved = constants.astype(within)[:, None, None]
    np.subtract(pixels.transpose(2, 0, 1), moved, out=planes, casting="unsafe", dtype=within)
    return planes


def extension_for(problem: Problem) -> ModuleType | None:
    """The C that sums the integers of windows, if it was built and takes the problem."""
    extension = _extension()
    if (
        extension is None
        or problem.device != "cpu"
        or problem.kernel[2] > extension.MOST_CHANNELS
        or problem.kernel[0] > extension.TALLEST
    ):
        return None
    return extension


_extension = partial(engines.extension, "_moments")
