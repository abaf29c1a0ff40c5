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
from collections.abc import Sequence
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchsim import devices, engines, metrics, tiles
from patchsim.engines import (
    Bounds,
    Problem,
    Score,
    Seen,
    SharedScore,
    lowrank,
    visibility,
    weighted,
)
from patchsim.engines.correlation import (
    DOUBLE,
    ROUNDING,
    SINGLE,
    Products,
    Spectra,
    block_step,
    box_sums,
    host,
    placed,
    transform_length,
    uniform_windows,
)
from patchsim.engines.shared import Shared
from patchsim.metrics import FLAT, INTEGER_RANGE, Kernel, Pixels, Weights

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

# Of the time of a transform, what the product of two takes.
_PRODUCT_SHARE = 0.2

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
    planes, more, scale = _planes_transformed(problem), 1, 1
    if _is_weighted(problem) and problem.metric != "sad":
        # In float64, and the window's sums by transforms, too.
        more, scale = weighted.transforms(problem) + 1, 2
    if problem.together > 1:
        # Those of the pixels are shared; the kernel's own are one more tile's.
        each = 1 / problem.together + 1 / tile_count + _PRODUCT_SHARE
        transforms *= scale * (planes * each + more)
    else:
        transforms *= scale * (planes + more)
    sums = math.prod(problem.image) * _SUM_SECONDS * (2 if problem.metric == "zncc" else 1)
    work = transforms + sums / problem.together
    return work / problem.threads + visibility.seconds(problem)


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
    transformed = _transformed(problem, height, width)
    together = problem.together > 1
    if together and problem.most_visible is not None:
        # Of some kernels all that their windows cover is visible, and of others not.
        whole = working_bytes(visibility.everywhere(problem), rows, cols)
    else:
        whole = 0
    # Without others a kernel's own counts here; with others the spectra of the pixels are kept.
    if problem.metric == "sad":
        # Indices and a plane; spectra; one of the pixels, the sums; the scores.
        own = 0 if together else _own_bytes(problem, transformed)
        kept = transformed * planes * 4 if together else 0
        if problem.most_visible is not None:
            kept += 8 * (pixels * channels + transformed * 3 + rows * cols * 3)
            kept += visibility.working_bytes(problem, rows, cols)
        kept += pixels * (8 * channels + 8) + transformed * 20 + rows * cols * 32
        return whole + own + kept
    if _is_weighted(problem):
        own = 0 if together else _own_bytes(problem, transformed)
        kept = weighted.working_values(problem, pixels, transformed, rows * cols)
        return whole + own + 8 * kept + visibility.working_bytes(problem, rows, cols)
    # In 8 bytes: the pixels in planes; spectra of the pixels in both precisions, or of the kernel;
    # of one plane, and the sums; windows.
    values = pixels * (channels + 1) + transformed * (1.5 * planes + 4) + rows * cols * 9
    if problem.dtype not in INTEGER_RANGE or _extension() is None or problem.device != "cpu":
        # Running sums of pixels and squares.
        values += pixels * (7 * channels + 2) + rows * cols * 6 * channels
    return int(8 * values)


def kernel_bytes(problem: Problem, rows: int, cols: int) -> int:
    extent = tiles.extent((rows, cols), problem.kernel[:2], problem.stride)
    own = _own_bytes(problem, _transformed(problem, *extent))
    if problem.most_visible is None:
        return own
    whole = kernel_bytes(visibility.everywhere(problem), rows, cols)
    return whole + own + visibility.kernel_bytes(problem, rows, cols)


def _own_bytes(problem: Problem, transformed: int) -> int:
    """Planes of a kernel and their spectra."""
    taps, planes = problem.kernel[0] * problem.kernel[1], _planes_transformed(problem)
    if problem.metric == "sad":
        shades = 2 if problem.per_channel else 1
        return (taps + transformed) * planes * 4 + taps * problem.kernel[2] * 16 * shades
    if _is_weighted(problem):
        return 8 * (taps + transformed) * weighted.planes_of_kernel(problem)
    return int(8 * planes * (taps + 1.5 * transformed))  # in both precisions


def _transformed(problem: Problem, height: int, width: int) -> int:
    """Values of a plane's transform."""
    return math.prod(map(min, _tile_extent(problem), (2 * height, 2 * width)))


def prepare(kernel: Pixels, problem: Problem, weights: Weights | None = None) -> Score:
    (score,) = prepare_together([Kernel(kernel, weights)], [problem])
    size, stride = kernel.shape[:2], problem.stride

    def alone(pixels: Pixels, seen: Seen | None = None) -> Bounds:
        windows = tiles.map_shape(pixels.shape[:2], size, stride)
        if seen is None:
            return score(Shared(pixels), windows)
        return score(Shared(pixels, levels=seen.levels), windows, seen)

    return alone


def prepare_together(kernels: Sequence[Kernel], problems: Sequence[Problem]) -> list[SharedScore]:
    """As `prepare`, for kernels that are compared with the same pixels in turn."""
    if problems[0].metric == "sad":
        return [lowrank.prepare(*pair) for pair in zip(kernels, problems, strict=True)]
    constants = _constants([kernel.pixels for kernel in kernels], problems[0].metric)
    each = [constants] * len(kernels)
    if problems[0].metric == "zncc":  # any constants would do; its own keep the most digits
        each = [_own_constants(kernel) for kernel in kernels]
    if kernels[0].weights is not None or problems[0].most_visible is not None:
        return [weighted.prepare(*pair) for pair in zip(kernels, problems, each, strict=True)]
    return [_prepare(*pair) for pair in zip(kernels, problems, each, strict=True)]


def _prepare(kernel: Kernel, problem: Problem, constants: NDArray[Any]) -> SharedScore:
    reference = _Kernel(kernel.pixels, problem, constants)
    formula = {"ssd": _ssd, "ncc": _ncc, "zncc": _zncc}[problem.metric]
    if problem.metric == "zncc" and not reference.integers:
        formula = _zncc_floats

    def score(shared: Shared, windows: tuple[int, int]) -> Bounds:
        return Bounds(*formula(_Tile(shared, windows, reference)))

    return score


def _own_constants(kernel: Kernel) -> NDArray[Any]:
    """The same of one kernel, by its weights: what does not count must not cost digits."""
    pixels, weights = kernel.pixels, kernel.weights
    if weights is None:
        return _constants([pixels], "zncc")
    values = np.broadcast_to(np.atleast_3d(weights), pixels.shape).astype(np.float64)
    # A channel that does not count at all has no mean.
    means: NDArray[Any] = (pixels * values).sum((0, 1)) / np.maximum(values.sum((0, 1)), 1)
    return np.rint(means).astype(np.int64) if pixels.dtype.kind == "u" else means


def _constants(pictures: Sequence[Pixels], metric: str) -> NDArray[Any]:
    """The mean of each channel, whole for integers; for `ncc` 0."""
    whole = pictures[0].dtype.kind == "u"
    if metric == "ncc":
        return np.zeros(pictures[0].shape[2], np.int64 if whole else np.float64)
    means: NDArray[Any] = np.mean([p.mean((0, 1), dtype=np.float64) for p in pictures], 0)
    return np.rint(means).astype(np.int64) if whole else means


class _Kernel:
    """What is done once for the kernel; its values are less their constants."""

    def __init__(self, kernel: Pixels, problem: Problem, constants: NDArray[Any]) -> None:
        self.problem = problem
        self.integers = kernel.dtype.kind == "u"
        self.pixels = math.prod(kernel.shape[:2])  # n
        self.constants = constants
        planes = _planes(kernel, constants, constants.dtype)
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


class _Tile:
    """The pixels of a tile [H, W, C], and sums over its windows [rows, cols]."""

    def __init__(self, shared: Shared, windows: tuple[int, int], kernel: _Kernel) -> None:
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
                "constants", lambda: _constants([shared.pixels[::4, ::4]], "zncc")
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
            "planes", lambda: _planes(self.shared.pixels, self.constants, dtype), of=dtype
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

    def spread(self) -> _Spread:
        """Of integers: E, for `zncc` n E - S^2; the same for kernels of one size."""
        return self.shared.once("spread", self._spread, of=self.windows)

    def _spread(self) -> _Spread:
        problem = self.kernel.problem
        weights = np.zeros_like(self.kernel.sums)
        values, _ = self.moments(weights if problem.metric == "zncc" else weights[:0])
        return _Spread(values)

    def energy(self) -> _Floats:
        """Of floats: E, the same for kernels of one size."""
        return self.shared.once(
            "energy",
            lambda: self.box_sums((_planes(self.pixels, self.constants, DOUBLE) ** 2).sum(0)),
            of=self.windows,
        )

    def moments(self, weights: NDArray[np.int64]) -> tuple[_Floats, NDArray[Any]]:
        """E; or, with weights of the channels, n E - S^2, and S times the weights.

        Of integers, exact.
        """
        problem = self.kernel.problem
        extension = _extension()
        channels = len(self.constants)
        if (
            extension is None
            or problem.device != "cpu"
            or channels > extension.MOST_CHANNELS
            or problem.kernel[0] > extension.TALLEST
        ):
            return self._moments_by_box_sums(weights)
        pixels = np.ascontiguousarray(self.pixels)
        shape = self._shape
        spread = np.full(shape, np.nan)
        means = np.full(shape if weights.size else (0, 0), -1, np.int64)
        extension.moments(
            pixels,
            pixels.dtype.char,
            pixels.strides[0],
            channels,
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
        planes = _planes(self.pixels, self.constants, np.dtype(np.int64))
        energy = self.box_sums((planes * planes).sum(0))
        if not weights.size:
            return energy.astype(np.float64), np.zeros(0)
        sums = self.box_sums(planes)
        # In 64 bits the difference is right even where its terms overflow, if it fits itself;
        # where it does not, float64 has its leading digits.
        spread = (kernel.pixels * energy - (sums * sums).sum(0)).astype(np.float64)
        rounded = kernel.pixels * energy.astype(np.float64) - (sums.astype(np.float64) ** 2).sum(0)
        np.copyto(spread, rounded, where=rounded >= _FITS)
        return spread, (sums * weights[:, None, None]).sum(0)

    def box_sums(self, values: NDArray[Any]) -> NDArray[Any]:
        """Sums over every window, [..., H, W] -> [..., rows, cols]."""
        problem = self.kernel.problem
        return host(box_sums(placed(values, problem.device), problem.kernel[:2], problem.stride))


class _Spread:
    """What of the windows alone goes into their scores, of integers; for kernels of one size."""

    def __init__(self, values: _Floats) -> None:
        self.values = values
        self.largest = float(values.max())
        self._flat = values == 0

    @cached_property
    def inverse(self) -> _Floats:
        """1 / sqrt(values), and 0 where they are 0."""
        return _inverse_root(self.values, 1.0)

    @cached_property
    def steepest(self) -> float:
        """The largest inverse."""
        return float(self.inverse.max())

    @cached_property
    def flat(self) -> NDArray[np.bool_] | None:
        """Where the spread is 0, if it is so anywhere."""
        return self._flat if self._flat.any() else None


def _ssd(tile: _Tile) -> _Scores:
    kernel, problem = tile.kernel, tile.kernel.problem
    total = problem.taps * problem.span**2
    spread = tile.spread() if kernel.integers else None
    energy = tile.energy() if spread is None else spread.values
    products, off = tile.products(2 / total)
    error: _Floats | float = 2 / total * off
    if spread is None:
        size = energy + 2 * np.abs(products) + kernel.squares
        error = error + _float_rounding(problem) * size / total
    elif (math.sqrt(spread.largest) + kernel.norm) ** 2 >= _WHOLE:  # Cauchy and Schwarz
        error += _UNIT
    products *= -2
    products += energy
    products += kernel.squares
    return metrics.similarity(products, problem.taps, problem.span**2), _and_rounding(error)


def _ncc(tile: _Tile) -> _Scores:
    kernel = tile.kernel
    if kernel.integers:
        if kernel.problem.exact:
            values = tile.spread().values
            return _exactly(tile, values, 1)
        return _correlated(tile, 1)
    spread = tile.energy()
    scale = _inverse_root(spread, kernel.spread)
    products, off = tile.products(float(scale.max()))
    scores = metrics.correlation(products, spread, kernel.spread)
    error = scale * off + _float_rounding(kernel.problem)
    return scores, np.where(spread > 0, _and_rounding(error), 0.0)


def _zncc(tile: _Tile) -> _Scores:
    kernel = tile.kernel
    if not kernel.problem.exact:
        return _correlated(tile, kernel.pixels)
    spread, means = tile.moments(kernel.sums)
    return _exactly(tile, spread, kernel.pixels, means)


def _correlated(tile: _Tile, count: int) -> _Scores:
    """Scores count X / sqrt(spread x the kernel's), of integers."""
    spread, own = tile.spread(), count / math.sqrt(tile.kernel.spread)
    products, off = tile.products(own * spread.steepest)
    products *= spread.inverse
    products *= own
    error = spread.inverse * (own * off)
    error += 8 * _UNIT + _lost(tile.kernel)
    if own * off * spread.steepest > 1:
        np.minimum(error, 2.0, out=error)  # no score is off by more
    if spread.flat is not None:
        error[spread.flat] = 0.0
    return np.clip(products, -1.0, 1.0, out=products), error


def _exactly(
    tile: _Tile, spread: _Floats, count: int, means: NDArray[np.int64] | None = None
) -> _Scores:
    """Scores (count X - means) / sqrt(spread x the kernel's), of integers that are exact."""
    kernel = tile.kernel
    scale = count * _inverse_root(spread, kernel.spread)
    products, off = tile.products(float(scale.max()))
    error: _Floats | float = scale * off
    # The spreads bound the numerator, too.
    if off == 0 and (means is None or max(float(spread.max()), kernel.spread) < _FITS):
        numerator = products
        if means is not None:
            numerator = (count * products.astype(np.int64) - means).astype(np.float64)
    else:
        numerator = products if means is None else count * products - means
        error = error + _UNIT
    scores = metrics.correlation(numerator, spread, kernel.spread)
    error = error + _lost(kernel)
    return scores, np.where(spread > 0, _and_rounding(error), 0.0)


def _lost(kernel: _Kernel) -> float:
    """By spreads that do not fit 64 bits, which have lost some digits."""
    problem = kernel.problem
    if problem.metric != "zncc":
        return 0.0
    lost = kernel.pixels * problem.taps * problem.span**2 / _FITS
    return lost * _UNIT if lost > 1 else 0.0


def _zncc_floats(tile: _Tile) -> _Scores:
    kernel, problem = tile.kernel, tile.kernel.problem
    found = tile.shared.once("contrast", partial(_Contrast, tile), of=tile.windows)
    count, total = kernel.pixels, found.total
    scale = _inverse_root(total, kernel.spread)
    products, off = tile.products(float(scale.max()))
    numerator = products - (found.sums * kernel.sums[:, None, None]).sum(0) / count
    scores = metrics.correlation(numerator, total, kernel.spread)
    # A window whose spread may be rounding alone may have any score.
    error = scale * off + found.doubt
    error = error + _float_rounding(problem)
    return scores, np.where(found.flat, 0.0, _and_rounding(error))


class _Contrast:
    """The same as `_Spread` of floats, for `zncc`, with how far it may be off."""

    def __init__(self, tile: _Tile) -> None:
        problem, count = tile.kernel.problem, tile.kernel.pixels
        planes = _planes(tile.pixels, tile.constants, DOUBLE)
        self.sums, energy = tile.box_sums(planes), tile.box_sums(planes**2)
        raw = tile.box_sums(_planes(tile.pixels, 0 * tile.constants, DOUBLE) ** 2)
        spread = energy - self.sums**2 / count  # of each channel
        # Which sums of floats cannot tell.
        uniform = uniform_windows(tile.pixels, problem.kernel[:2], problem.stride)
        # Of these sums, and of those in `metrics.exact`.
        off = _float_rounding(problem) * energy
        self.flat = np.all(spread + off <= FLAT * raw, 0) | uniform
        clear = np.any(spread - off > FLAT * raw, 0) & ~self.flat
        self.total, off = np.where(clear, spread.sum(0), 0.0), off.sum(0)
        self.doubt = np.divide(off, self.total, out=np.ones_like(off), where=self.total > 4 * off)


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
