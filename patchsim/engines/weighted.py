"""`ssd`, `ncc` and `zncc` with weights, by Fourier transforms.

With a and b the pixels and the kernel less constants, w the weights and W their sum, X = sum w a b,
S = sum w a and E = sum w a^2 over a window, T = sum w b and B = sum w b^2, the scores are those of
the engine `fft` with W for n. The sums over a window are themselves products, of the image with w
and wb, and all transforms are in float64: next to each other the errors of E and of X would be as
large as what is left of them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchsim import metrics
from patchsim.engines import Bounds, Problem, SharedScore
from patchsim.engines.correlation import DOUBLE, ROUNDING, Products, Spectra, host, placed
from patchsim.engines.shared import Shared
from patchsim.metrics import FLAT, Kernel, Pixels

_UNIT = 2.0**-53  # the rounding of one operation in float64
_FITS = 2.0**62  # integers up to here are exact in 64 bits
_WHOLE = 2.0**53  # and up to here in float64
_SURELY = 0.25  # what is off by less than that rounds to the right integer

_Floats = NDArray[np.float64]


def prepare(kernel: Kernel, problem: Problem, constants: NDArray[Any]) -> SharedScore:
    """The engine `fft`'s where a kernel has weights; the constants are of the channels."""
    reference = _Kernel(kernel, problem, constants)
    formula = {"ssd": _ssd, "ncc": _ncc, "zncc": _zncc}[problem.metric]

    def score(shared: Shared, windows: tuple[int, int]) -> Bounds:
        scores, error = formula(_Tile(shared, windows, reference))
        return Bounds(scores, np.minimum(error, 2.0))

    return score


class _Kernel:
    """What is done once for the kernel; its values are less their constants."""

    def __init__(self, kernel: Kernel, problem: Problem, constants: NDArray[Any]) -> None:
        assert kernel.weights is not None
        self.problem = problem
        self.integers = kernel.pixels.dtype.kind == "u"
        self.weight = int(kernel.weights.sum(dtype=np.int64))  # W
        self.constants = constants.astype(np.float64)
        values = _planes(kernel.pixels, self.constants)
        heavy = kernel.weights * values
        self.sums = heavy.sum((1, 2))  # T, [C]
        self.squares = float((heavy * values).sum())  # B
        weights = kernel.weights.astype(np.float64)
        self.weights = Products([placed(weights, problem.device)])
        self.products = Products(list(placed(heavy, problem.device)))
        self.weights_norm = float(np.linalg.norm(weights))
        self.norm = float(np.linalg.norm(heavy))
        self.spread = self.weight * self.squares - float((self.sums**2).sum())
        if self.integers:
            # Its terms may be longer than float64 holds, which what is left must not show.
            terms = (int(total) ** 2 for total in self.sums.tolist())
            self.spread = float(self.weight * int(self.squares) - sum(terms))

    def constants_of(self, pixels: Pixels) -> _Floats:
        """The mean of each channel, whole for integers."""
        means: _Floats = pixels.mean((0, 1), dtype=np.float64)
        return np.rint(means) if self.integers else means


class _Image:
    """What of the pixels alone goes into the sums: transforms of them and of their squares."""

    def __init__(self, shared: Shared, kernel: _Kernel) -> None:
        moved = kernel.problem.metric == "zncc"
        constants = kernel.constants_of(shared.pixels) if moved else kernel.constants
        values = _planes(shared.pixels, constants)
        squares: _Floats = (values**2).sum(0)
        self.norm = math.sqrt(squares.sum())
        self.norm_of_squares = float(np.linalg.norm(squares))
        self.largest_norm = max(float(np.linalg.norm(plane)) for plane in values)
        device, longest = kernel.problem.device, shared.extent or shared.pixels.shape[:2]
        self.values = Spectra(placed(values, device), longest)
        self.squares = Spectra([placed(squares, device)], longest)


class _Tile:
    """Sums over the windows of a tile [H, W, C], each with the most that it may be off."""

    def __init__(self, shared: Shared, windows: tuple[int, int], kernel: _Kernel) -> None:
        self.kernel = kernel
        self._windows = windows
        self._image = shared.once("weighted", lambda: _Image(shared, kernel))

    def products(self) -> tuple[_Floats, float]:
        """X, [rows, cols]."""
        norm = self._image.norm * self.kernel.norm
        return self._over(self.kernel.products, self._image.values, norm)

    def energy(self) -> tuple[_Floats, float]:
        """E, [rows, cols]; not below 0."""
        norm = self._image.norm_of_squares * self.kernel.weights_norm
        found, off = self._over(self.kernel.weights, self._image.squares, norm)
        return np.maximum(found, 0), off

    def sums(self) -> tuple[_Floats, float]:
        """S, [C, rows, cols]."""
        norm = self._image.largest_norm * self.kernel.weights_norm
        planes = self._image.values.each()
        found = [self._over(self.kernel.weights, plane, norm) for plane in planes]
        return np.array([plane for plane, _ in found]), found[0][1]

    def _over(self, taps: Products, planes: Spectra, norm: float) -> tuple[_Floats, float]:
        problem = self.kernel.problem
        rows, cols = self._windows
        sums = host(taps.through(planes))
        found = sums[:: problem.stride[0], :: problem.stride[1]][:rows, :cols]
        off = norm * ROUNDING[DOUBLE]
        if self.kernel.integers and off < _SURELY:
            return np.rint(found), 0.0
        return found, off


def _ssd(tile: _Tile) -> tuple[_Floats, _Floats | float]:
    kernel, problem = tile.kernel, tile.kernel.problem
    (products, off), (energy, more) = tile.products(), tile.energy()
    scale = problem.span**2
    differences = energy - 2 * products + kernel.squares
    size = float((energy + 2 * np.abs(products)).max()) + kernel.squares
    error = (2 * off + more) / (problem.total_weight * scale)
    if error or not kernel.integers or size >= _WHOLE:
        error += _rounding(problem) * size / (problem.total_weight * scale) + 4 * _UNIT
    scores = metrics.similarity(np.maximum(differences, 0), problem.total_weight, scale)
    return scores, error


def _ncc(tile: _Tile) -> tuple[_Floats, _Floats | float]:
    kernel = tile.kernel
    (products, off), (energy, more) = tile.products(), tile.energy()
    return _correlated(kernel, products, off, energy, more, energy, kernel.squares)


def _zncc(tile: _Tile) -> tuple[_Floats, _Floats | float]:
    kernel, weight = tile.kernel, tile.kernel.weight
    (products, off), (energy, more) = tile.products(), tile.energy()
    sums, each = tile.sums()
    between = (sums * kernel.sums[:, None, None]).sum(0)
    terms = (sums**2).sum(0)
    wide = weight * max(float(energy.max()), kernel.squares, 1.0)
    if kernel.integers and off == more == each == 0 and wide < _FITS:
        whole = sums.astype(np.int64)
        numerator = weight * products.astype(np.int64)
        numerator -= np.tensordot(kernel.sums.astype(np.int64), whole, 1)
        spread = weight * energy.astype(np.int64) - (whole**2).sum(0)
        return _correlated(
            kernel, numerator.astype(np.float64), 0.0, spread.astype(np.float64), 0.0, 0.0,
            kernel.spread,
        )  # fmt: skip
    size = weight * energy + terms
    around = each * (2 * np.abs(sums).sum(0) + len(sums) * each)
    return _correlated(
        kernel,
        weight * products - between,
        weight * off
        + each * float(np.abs(kernel.sums).sum())
        + 4 * _UNIT * (weight * np.abs(products) + np.abs(between)),
        np.maximum(weight * energy - terms, 0),
        weight * more + around + 4 * _UNIT * size,
        size,
        kernel.spread,
    )  # fmt: skip


def _correlated(
    kernel: _Kernel,
    numerator: _Floats,
    off: _Floats | float,
    spread: _Floats,
    spread_off: _Floats | float,
    size: _Floats | float,
    own: float,
) -> tuple[_Floats, _Floats | float]:
    """Scores numerator / sqrt(spread x own); `size` is that of the spread's terms."""
    scores = metrics.correlation(numerator, spread, own)
    if kernel.integers and np.max(off) == np.max(spread_off) == 0:
        return scores, 0.0
    # Of sums of floats, here and in `metrics.exact`.
    spread_off = spread_off + _rounding(kernel.problem) * size
    off = off + _rounding(kernel.problem) * np.sqrt(np.asarray(size) * own)
    roots = np.sqrt(spread * own)
    with np.errstate(divide="ignore", invalid="ignore"):
        error = off / roots + spread_off / np.maximum(spread - spread_off, 0)
    # What may be flat may have any score, or 0.
    doubtful = (spread <= 2 * spread_off + 2 * FLAT * np.asarray(size)) | ~np.isfinite(error)
    return scores, np.where(doubtful, 2.0, error + 8 * _UNIT)


def _rounding(problem: Problem) -> float:
    """Of a sum of a window's values in float64, of its terms' size; whole ones have none."""
    return 0.0 if problem.dtype.startswith("uint") else 4.0 * (problem.taps + 8) * _UNIT


def _planes(pixels: Pixels, constants: NDArray[Any]) -> _Floats:
    """[H, W, C] -> float64 [C, H, W], less the constants of the channels."""
    planes: _Floats = pixels.transpose(2, 0, 1) - constants[:, None, None]
    return np.ascontiguousarray(planes)
