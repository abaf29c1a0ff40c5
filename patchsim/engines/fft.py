"""Products by Fourier transforms: `ssd`, `ncc`, `zncc` and, within a tolerance, `sad`.

With a the pixels less a constant for each channel and b the kernel less another (which keep numbers
small and change no result), X = sum ab, S = sum a, E = sum a^2 over a window of n pixels, and T, B
the kernel's sums of b and b^2:

    ssd   sum (I-K)^2 = E - 2X + B       with the same constants for both
    ncc   X / sqrt(E B)                  with none
    zncc  (nX - ST) / sqrt((nE - S^2) (nB - T^2)), ST, S^2 and T^2 added over the channels

X comes from transforms and is off by their rounding; the other sums are exact for integers.
"""

from __future__ import annotations

import math
import sys
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchsim import devices, engines, metrics, tiles
from patchsim.engines import Bounds, Problem, Score, lowrank, visibility, weighted
from patchsim.engines.correlation import (
    DOUBLE,
    ROUNDING,
    SINGLE,
    Products,
    block_step,
    box_sums,
    host,
    placed,
    transform_length,
    uniform_windows,
)
from patchsim.metrics import FLAT, INTEGER_RANGE, Pixels, Weights

OWN_THREADS = False

# A tile that could be off by more than this, or the tolerance, is transformed in float64.
_ERROR = 1e-5

_UNIT = 2.0**-53  # the rounding of one operation in float64
_FITS = 2.0**62  # integers up to here are exact in 64 bits
_WHOLE = 2.0**53  # and up to here in float64

_SCIPY_IMPORT_SECONDS = 0.25  # on the same machine

# Seconds for each value, channel and doubling of a tile, there and back, in float32, and for each
# value of a running sum; Linux, one core of an AMD EPYC (Zen 4), scipy 1.17.
_TRANSFORM_SECONDS = 2.5e-10
_SUM_SECONDS = 1e-8

_Floats = NDArray[np.float64]
_Scores = tuple[_Floats, _Floats | float]  # and how far they may be off


def refuse(problem: Problem) -> str | None:
    if problem.metric == "sad":
        if problem.dtype != "uint8":
            return f"its sad takes uint8, not {problem.dtype}"
        if lowrank.products_needed(problem) is None:
            least = lowrank.LARGEST_ERRORS[-1] / problem.span
            return (
                f"its sad may be off by {least:.3f}, more than the tolerance {problem.tolerance:g}"
            )
    count = problem.kernel[0] * problem.kernel[1]
    if problem.metric == "zncc" and problem.dtype in INTEGER_RANGE:
        # The products of a window's sums and the kernel's, which are n / 2 at the most.
        largest = INTEGER_RANGE[problem.dtype]
        if count * count * problem.kernel[2] * largest / 2 >= _FITS:
            return "its sums over so many pixels do not fit 64 bits; use a smaller kernel"
    if problem.exact and problem.dtype not in INTEGER_RANGE:
        return f"its sums over {problem.dtype} are rounded"
    if problem.device.startswith("mps"):
        return "its sums need 64 bits, which the device mps does not have; use --device cpu"
    return None


def _planes_transformed(problem: Problem) -> int:
    terms = lowrank.products_needed(problem) if problem.metric == "sad" else 1
    return problem.kernel[2] * (terms or 1)


def start_up(problem: Problem) -> float:
    if problem.device != "cpu":
        return devices.torch_start_up()
    return 0.0 if "scipy.fft" in sys.modules else _SCIPY_IMPORT_SECONDS


def seconds(problem: Problem) -> float:
    rows, cols = problem.map_shape
    step = best_tile(problem)
    tile_count = -(-rows // step[0]) * -(-cols // step[1])
    values = math.prod(_tile_extent(problem))
    transforms = tile_count * values * math.log2(values) * _TRANSFORM_SECONDS
    transforms *= _planes_transformed(problem) + 1
    if _is_weighted(problem) and problem.metric != "sad":
        # In float64, and the window's sums by transforms, too.
        more = weighted.transforms(problem)
        transforms *= 2 * (1 + more / (_planes_transformed(problem) + 1))
    sums = math.prod(problem.image) * _SUM_SECONDS * (2 if problem.metric == "zncc" else 1)
    return (transforms + sums) / problem.threads + visibility.seconds(problem)


def _is_weighted(problem: Problem) -> bool:
    return problem.weight is not None or problem.most_visible is not None


def best_tile(problem: Problem) -> tuple[int, int]:
    height, width, _ = problem.image
    windows = height - problem.kernel[0] + 1, width - problem.kernel[1] + 1
    rows, cols = block_step(windows, problem.kernel[:2])
    return -(-rows // problem.stride[0]), -(-cols // problem.stride[1])


def _tile_extent(problem: Problem) -> tuple[int, int]:
    height, width = tiles.extent(best_tile(problem), problem.kernel[:2], problem.stride)
    return transform_length(height), transform_length(width)


def working_bytes(problem: Problem, rows: int, cols: int) -> int:
    height, width = tiles.extent((rows, cols), problem.kernel[:2], problem.stride)
    pixels, channels, planes = height * width, problem.kernel[2], _planes_transformed(problem)
    transformed = math.prod(map(min, _tile_extent(problem), (2 * height, 2 * width)))
    if problem.metric == "sad":
        # Indices and a plane; the kernel's planes and their spectra, one of the pixels, the sums;
        # the scores.
        taps = problem.kernel[0] * problem.kernel[1]
        factors = (taps + transformed) * planes * 4 + taps * channels * 16
        if problem.per_channel:
            factors += taps * channels * 16
        if problem.most_visible is not None:
            factors += 8 * (pixels * channels + transformed * 3 + rows * cols * 3)
        factors += visibility.working_bytes(problem, rows, cols)
        return pixels * (8 * channels + 8) + factors + transformed * 20 + rows * cols * 32
    if _is_weighted(problem):
        kept = weighted.working_values(problem, pixels, transformed, rows * cols)
        return 8 * kept + visibility.working_bytes(problem, rows, cols)
    # In 8 bytes: the pixels in planes; spectra of the kernel in both precisions; of the pixels, and
    # the sums; windows.
    values = pixels * (channels + 1) + transformed * (1.5 * planes + 4) + rows * cols * 9
    if problem.dtype not in INTEGER_RANGE or _extension() is None or problem.device != "cpu":
        # Running sums of pixels and squares.
        values += pixels * (7 * channels + 2) + rows * cols * 6 * channels
    return int(8 * values)


def prepare(kernel: Pixels, problem: Problem, weights: Weights | None = None) -> Score:
    if problem.metric == "sad":
        return lowrank.prepare(kernel, problem, weights)
    if weights is not None or problem.most_visible is not None:
        return weighted.prepare(kernel, problem, weights)
    reference = _Kernel(kernel, problem)
    formula = {"ssd": _ssd, "ncc": _ncc, "zncc": _zncc}[problem.metric]
    if problem.metric == "zncc" and not reference.integers:
        formula = _zncc_floats

    def score(pixels: Pixels) -> Bounds:
        return Bounds(*formula(_Tile(pixels, reference)))

    return score


class _Kernel:
    """What is done once for the kernel; its values are less their constants."""

    def __init__(self, kernel: Pixels, problem: Problem) -> None:
        self.problem = problem
        self.integers = kernel.dtype.kind == "u"
        self.pixels = math.prod(kernel.shape[:2])  # n
        self.constants = self.constants_of(kernel)
        planes = _planes(kernel, self.constants, self.constants.dtype)
        self.sums = planes.sum((1, 2))  # T, [C]
        self.squares = (planes * planes).sum().item()  # B
        self.norm = math.sqrt(self.squares)
        self.products = Products(placed(planes.astype(np.float64), problem.device))
        self.spread = self._spread()

    def constants_of(self, pixels: Pixels) -> NDArray[Any]:
        """The mean of each channel, whole for integers; for `ncc` 0."""
        if self.problem.metric == "ncc":
            return np.zeros(pixels.shape[2], np.int64 if self.integers else np.float64)
        means: NDArray[Any] = pixels.mean((0, 1), dtype=np.float64)
        return np.rint(means).astype(np.int64) if self.integers else means

    def _spread(self) -> float:
        """What `metrics.exact` takes for the kernel's spread; integers are scaled by n."""
        if self.problem.metric != "zncc":
            return float(self.squares)
        if self.integers:
            return float(self.pixels * self.squares - sum(t * t for t in self.sums.tolist()))
        return float(self.squares - (self.sums**2).sum() / self.pixels)


class _Tile:
    """The pixels of a tile [H, W, C], and sums over its windows [rows, cols]."""

    def __init__(self, pixels: Pixels, kernel: _Kernel) -> None:
        self.pixels = pixels
        self.kernel = kernel
        moved = kernel.problem.metric == "zncc"
        # Any constants will do here: those of some pixels are found sooner.
        self.constants = kernel.constants_of(pixels[::4, ::4]) if moved else kernel.constants

    def products(self, scale: _Floats | float) -> tuple[_Floats, _Floats | float]:
        """X, and how far the score may be off for it; `scale` makes scores of X."""
        kernel, problem = self.kernel, self.kernel.problem
        dtype = DOUBLE if problem.exact else SINGLE
        planes = _planes(self.pixels, self.constants, dtype)
        flat = planes.reshape(-1)
        # Not np.vdot, whose threads are not of this search.
        norm = math.sqrt(np.einsum("i,i->", flat, flat)) * kernel.norm
        if float(np.max(scale)) * norm * ROUNDING[dtype] > max(_ERROR, problem.tolerance):
            dtype = DOUBLE
            planes = _planes(self.pixels, self.constants, dtype)
        sums = host(kernel.products.over(placed(planes, problem.device)))
        found = sums[:: problem.stride[0], :: problem.stride[1]].astype(np.float64)
        off = norm * ROUNDING[dtype]
        if problem.exact and off < 0.25:
            return np.rint(found), 0.0  # the integers that they must be
        return found, scale * off

    def moments(self, *, centred: bool) -> tuple[_Floats, NDArray[Any]]:
        """E; or centred n E - S^2, and S T. Of integers, exact."""
        kernel, problem = self.kernel, self.kernel.problem
        extension = _extension()
        channels = len(self.constants)
        if (
            extension is None
            or problem.device != "cpu"
            or channels > extension.MOST_CHANNELS
            or problem.kernel[0] > extension.TALLEST
        ):
            return self._moments_by_box_sums(centred=centred)
        pixels = np.ascontiguousarray(self.pixels)
        shape = tiles.map_shape(pixels.shape[:2], problem.kernel[:2], problem.stride)
        spread = np.full(shape, np.nan)
        means = np.full(shape if centred else (0, 0), -1, np.int64)
        extension.moments(
            pixels,
            pixels.dtype.char,
            pixels.strides[0],
            channels,
            *problem.kernel[:2],
            *problem.stride,
            *shape,
            self.constants,
            kernel.sums if centred else kernel.sums[:0],
            spread,
            means,
        )
        return spread, means

    def _moments_by_box_sums(self, *, centred: bool) -> tuple[_Floats, NDArray[Any]]:
        kernel = self.kernel
        planes = _planes(self.pixels, self.constants, np.dtype(np.int64))
        energy = self.box_sums((planes * planes).sum(0))
        if not centred:
            return energy.astype(np.float64), np.zeros(0)
        sums = self.box_sums(planes)
        # In 64 bits the difference is right even where its terms overflow, if it fits itself;
        # where it does not, float64 has its leading digits.
        spread = (kernel.pixels * energy - (sums * sums).sum(0)).astype(np.float64)
        rounded = kernel.pixels * energy.astype(np.float64) - (sums.astype(np.float64) ** 2).sum(0)
        np.copyto(spread, rounded, where=rounded >= _FITS)
        return spread, (sums * kernel.sums[:, None, None]).sum(0)

    def box_sums(self, values: NDArray[Any]) -> NDArray[Any]:
        """Sums over every window, [..., H, W] -> [..., rows, cols]."""
        problem = self.kernel.problem
        return host(box_sums(placed(values, problem.device), problem.kernel[:2], problem.stride))


def _ssd(tile: _Tile) -> _Scores:
    kernel, problem = tile.kernel, tile.kernel.problem
    total = problem.taps * problem.span**2
    if kernel.integers:
        energy, _ = tile.moments(centred=False)
    else:
        energy = tile.box_sums((_planes(tile.pixels, tile.constants, DOUBLE) ** 2).sum(0))
    products, error = tile.products(2 / total)
    differences = energy - 2 * products + kernel.squares
    scores = metrics.similarity(differences, problem.taps, problem.span**2)
    size = energy + 2 * np.abs(products) + kernel.squares
    if not kernel.integers:
        error = error + _float_rounding(problem) * size / total
    elif size.max() >= _WHOLE:
        error = error + _UNIT
    return scores, _and_rounding(error)


def _ncc(tile: _Tile) -> _Scores:
    kernel = tile.kernel
    if kernel.integers:
        spread, _ = tile.moments(centred=False)
    else:
        spread = tile.box_sums((_planes(tile.pixels, tile.constants, DOUBLE) ** 2).sum(0))
    products, error = tile.products(_inverse_root(spread, kernel.spread))
    scores = metrics.correlation(products, spread, kernel.spread)
    if not kernel.integers:
        error = error + _float_rounding(kernel.problem)
    return scores, np.where(spread > 0, _and_rounding(error), 0.0)


def _zncc(tile: _Tile) -> _Scores:
    kernel, problem = tile.kernel, tile.kernel.problem
    count = kernel.pixels
    spread, means = tile.moments(centred=True)
    products, error = tile.products(count * _inverse_root(spread, kernel.spread))
    # The spreads bound the numerator, too.
    if np.max(error) == 0 and max(spread.max(), kernel.spread) < _FITS:
        numerator = (count * products.astype(np.int64) - means).astype(np.float64)
    else:
        numerator = count * products - means
        error = error + _UNIT
    scores = metrics.correlation(numerator, spread, kernel.spread)
    # Where the spread does not fit 64 bits it has lost some digits.
    lost = count * problem.taps * problem.span**2 / _FITS
    if lost > 1:
        error = error + lost * _UNIT
    return scores, np.where(spread > 0, _and_rounding(error), 0.0)


def _zncc_floats(tile: _Tile) -> _Scores:
    kernel, problem = tile.kernel, tile.kernel.problem
    count = kernel.pixels
    planes = _planes(tile.pixels, tile.constants, DOUBLE)
    sums, energy = tile.box_sums(planes), tile.box_sums(planes**2)
    raw = tile.box_sums(_planes(tile.pixels, 0 * tile.constants, DOUBLE) ** 2)
    spread = energy - sums**2 / count  # of each channel
    # Which sums of floats cannot tell.
    uniform = uniform_windows(tile.pixels, problem.kernel[:2], problem.stride)
    # Of these sums, and of those in `metrics.exact`.
    off = _float_rounding(problem) * energy
    flat = np.all(spread + off <= FLAT * raw, 0) | uniform
    clear = np.any(spread - off > FLAT * raw, 0) & ~flat
    total, off = np.where(clear, spread.sum(0), 0.0), off.sum(0)
    products, error = tile.products(_inverse_root(total, kernel.spread))
    numerator = products - (sums * kernel.sums[:, None, None]).sum(0) / count
    scores = metrics.correlation(numerator, total, kernel.spread)
    # A window whose spread may be rounding alone may have any score.
    error = error + np.divide(off, total, out=np.ones_like(off), where=total > 4 * off)
    error = error + _float_rounding(problem)
    return scores, np.where(flat, 0.0, _and_rounding(error))


def _inverse_root(spread: _Floats, own: float) -> _Floats:
    """1 / sqrt(spread x own), and 0 where the spread is 0."""
    roots = np.sqrt(spread) * math.sqrt(own)
    with np.errstate(over="ignore"):  # of a window with next to nothing in it: any score
        return np.divide(1.0, roots, out=np.zeros_like(spread), where=roots > 0)


def _and_rounding(error: _Floats | float) -> _Floats | float:
    """And of the formula itself, unless all of it is exact; no score is off by more than 2."""
    return np.where(np.greater(error, 0), np.minimum(error + 4 * _UNIT, 2.0), 0.0)


def _float_rounding(problem: Problem) -> float:
    """Of a sum of a window's values in float64, here and in `metrics.exact`, of its terms' size."""
    return 4.0 * (problem.taps + 8) * _UNIT


def _planes(pixels: Pixels, constants: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """[H, W, C] -> [C, H, W], less the constants of the channels."""
    planes = np.empty((pixels.shape[2], *pixels.shape[:2]), dtype)
    # Floats lose what they differ by if they are rounded before they are subtracted.
    within = DOUBLE if pixels.dtype.kind == "f" else dtype
    moved = constants.astype(within)[:, None, None]
    np.subtract(pixels.transpose(2, 0, 1), moved, out=planes, casting="unsafe", dtype=within)
    return planes


_extension = partial(engines.extension, "_moments")
