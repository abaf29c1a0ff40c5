"""`ssd`, `ncc`, `zncc` and `sad` within a tolerance, in C: from pixels to scores in one pass.

`_correlation.h` has the method and the formulas. The products of windows with the kernel come from
Fourier transforms (the engine `fft`), or from direct sums (the engine `simd`), which are faster for
small kernels. The scores are float32; their errors are stated for each block of windows.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchsim.engines.common import kernel_parts, lowrank
from patchsim.engines.common.kernel_parts import aligned, cut, windows_of_transform
from patchsim.engines.contract import BlockBounds, Bounds, Problem, Seen, SharedScore
from patchsim.engines.tile_cache import Shared
from patchsim.geometry import blocks
from patchsim.machine import extensions
from patchsim.metrics import INTEGER_RANGE, Kernel
from patchsim.numerics.precision import EXACT_IN_FLOAT64, EXACT_IN_INT64

# No score of `ssd` from transforms in float32 is off by so much.
_SSD_ERROR = 1e-3

# Transforms for a window, over those of all channels and the way back; with more, longer transforms
# are faster (`fft.scores`), except of floats. Measured with kernels of 128 to 400 on an AMD EPYC.
_MOST_TRANSFORMS = {"uint8": 1.6e-4, "uint16": 1.6e-4, "float32": 1e-3, "sad": 9e-5}

_FORMATS = {"uint8": "B", "uint16": "H", "float32": "f"}

# Seconds, by variant: of a transform of two tiles of a channel, there or back; of a product in a
# direct sum; of a pixel of a channel, copied and summed; of a window's score. Linux, one core of an
# AMD EPYC (Zen 4), gcc 12.
COSTS = {
    "avx512": (9e-5, 4.5e-12, 1.2e-9, 2.8e-9),
    "avx2": (1e-4, 1.2e-11, 1.3e-9, 2.8e-9),
    "sse2": (1.8e-4, 2.7e-11, 2e-9, 5e-9),
}
# Seconds of a product in a direct sum of 16 bits or floats, in double precision, on that machine.
DOUBLES = {"avx512": 4.5e-11, "avx2": 7.5e-11, "sse2": 1.9e-10}
# Not measured, because no such machine was at hand; their vectors are as wide as those of SSE2.
COSTS["neon"] = COSTS["portable"] = COSTS["sse2"]
DOUBLES["neon"] = DOUBLES["portable"] = DOUBLES["sse2"]
# How much longer transforms take of `ncc`, and of `zncc`, that must be as exact as in a map, and by
# how much more over the kernel's side: dark windows, and those of little contrast, are made again;
# a small one has less contrast. Photographs of 1920x1080 with kernels of 4 to 64 on an AMD EPYC.
_AGAIN = {"ncc": (1.6, 0), "zncc": (1.3, 16)}
# How much longer transforms take of bytes that are looked up, and the share of the rest that is
# left where no pixels are summed over windows.
_LOOK_UPS, _ALONE = 2.2, 0.5
# How much longer pixels and scores of floats take, which are summed in float64.
_FLOATS = 2.0

# The time of a tile: short enough that progress moves and an interrupt is answered.
_TILE_SECONDS = 0.1
_MOST_CHANNELS_OF_SAD = 16
_WIDEST = 4096  # windows of a tile, whole blocks


def takes(problem: Problem, *, is_direct: bool = False) -> bool:
    """Return whether the C extension was built and scores this problem as it is asked for."""
    return refusal(problem, is_direct=is_direct) is None


def refusal(problem: Problem, *, is_direct: bool) -> str | None:
    """Return why it does not score this problem, or None."""
    extension = kernel_parts.extension()
    if extension is None:
        return extensions.refusal("_correlation")
    if problem.device != "cpu":
        return "it runs on the cpu"
    if problem.metric == "sad":
        return _refusal_of_sad(problem, is_direct=is_direct)
    if problem.dtype not in _FORMATS:
        return f"it takes {', '.join(_FORMATS)}, not {problem.dtype}"
    if problem.exact:
        return "its scores are rounded to float32"
    if problem.weight_sum is not None or problem.opaque_level is not None:
        return f"its {problem.metric} takes no masks"
    height, width, channels = problem.kernel
    if channels > extension.MOST_CHANNELS:
        return f"its {problem.metric} takes {extension.MOST_CHANNELS} channels"
    if not _fits(height, width, channels, problem.dtype):
        return "its sums over so many pixels do not fit 64 bits; use a smaller kernel"
    if is_direct:
        return _refusal_of_direct_sums(problem)
    if cut(_planes(problem))[1] > _MOST_TRANSFORMS[problem.dtype]:
        return "its transforms are too short for the kernel"
    return None


def _refusal_of_sad(problem: Problem, *, is_direct: bool) -> str | None:
    if is_direct or problem.dtype != "uint8" or lowrank.products_needed(problem) is None:
        return "it approximates the sad of uint8, within a tolerance"
    if problem.opaque_level is not None:
        return "its sad takes images all visible"
    if problem.kernel[2] > _MOST_CHANNELS_OF_SAD:
        return f"its sad takes {_MOST_CHANNELS_OF_SAD} channels"
    if cut(_planes(problem))[1] > _MOST_TRANSFORMS["sad"]:
        return "its transforms are too short for the kernel"
    return None


def _planes(problem: Problem) -> tuple[int, int, int]:
    """Return the kernel's size, with a plane for each term of each channel."""
    height, width, channels = problem.kernel
    return height, width, channels * _terms(problem)


def _terms(problem: Problem) -> int:
    return (lowrank.products_needed(problem) or 1) if problem.metric == "sad" else 1


def _refusal_of_direct_sums(problem: Problem) -> str | None:
    extension = kernel_parts.extension()
    assert extension is not None
    if problem.stride != (1, 1):
        return f"its {problem.metric} takes a stride of 1"
    if not _taps_at_once(problem):
        return f"this processor has no instruction for its {problem.metric} of {problem.dtype}"
    if max(problem.kernel[:2]) > extension.SIDE:
        return f"its {problem.metric} takes kernels of {extension.SIDE} pixels a side"
    if problem.dtype == "uint8" and problem.taps * 255 * 128 >= 1 << 31:
        return "its sums over so many pixels do not fit 32 bits; use a smaller kernel"
    return None


def _fits(height: int, width: int, channels: int, dtype: str) -> bool:
    """Return whether n E - sum S^2 is exact: in float64 for bytes, modulo 2^64 for 16 bits."""
    if dtype not in INTEGER_RANGE:
        return True
    largest = float(height * width) ** 2 * channels * INTEGER_RANGE[dtype] ** 2
    if dtype == "uint8":  # whose squares are summed along columns in 32 bits
        return largest < EXACT_IN_FLOAT64 and height * channels * 255**2 < 1 << 31
    return largest / 4 < EXACT_IN_INT64


def prepare(kernel: Kernel, problem: Problem, *, is_direct: bool = False) -> SharedScore:
    """Prepare a kernel; the result scores tiles of an image all visible.

    The kernel may have weights if the metric is `sad`.
    """
    extension = kernel_parts.extension()
    assert extension is not None, "takes says so"
    variant = kernel_parts.variant()
    if problem.metric == "sad":
        taps, of_metric = _terms_of_sad(kernel, problem)
    else:
        taps, of_metric = _less_means(kernel, problem)
    # Near 1, so that no square overflows or vanishes; the power of two changes no digit.
    gain = 2.0 ** math.frexp(float(abs(taps).max()))[1]
    taps /= gain
    spectra = np.empty(0, np.float32)
    parts = (1, 1) if is_direct else cut(_planes(problem))[0]
    cuts = {"parts_y": parts[0], "parts_x": parts[1], "terms": _terms(problem), "variant": variant}
    if not is_direct:
        spectra = aligned(math.prod(parts) * len(taps) * extension.TILE_VALUES, np.float32)
        extension.spectrum(taps=taps, out=spectra, **cuts)
    arguments: dict[str, Any] = {
        "spectra": spectra,
        "taps": taps,
        "metric": problem.metric,
        "gain": gain,
        "limit": kernel_parts.error_limit(problem),
        "stride_y": problem.stride[0],
        "stride_x": problem.stride[1],
        "block": blocks.BLOCK,
        "is_direct": is_direct,
        **of_metric,
        **cuts,
    }

    def score(shared: Shared, windows: tuple[int, int], _seen: Seen | None = None) -> Bounds:
        pixels = shared.under(windows, problem.kernel[:2], problem.stride)
        image = kernel_parts.rows_without_gaps(pixels)
        found = np.empty(windows, np.float32)
        grid = blocks.grid_shape(windows)
        maxima, errors = np.empty(grid, np.float32), np.empty(grid, np.float32)
        extension.scores(image=image, map=found, maxima=maxima, errors=errors, **arguments)
        return Bounds(found, float(errors.max()), blocks=BlockBounds(maxima, errors))

    return score


def _less_means(kernel: Kernel, problem: Problem) -> tuple[NDArray[np.float64], dict[str, Any]]:
    """Return the kernel less its means, [C, h, w], and what the extension takes beside it."""
    pixels = kernel.pixels.astype(np.float64)
    means = pixels.mean((0, 1))
    return np.ascontiguousarray((pixels - means).transpose(2, 0, 1)), {
        "means": means,
        "own": _own(kernel, problem.metric),
        "total": problem.taps * problem.data_range**2,
        "offset": 0.0,
        "residual": 0.0,
    }


def _terms_of_sad(kernel: Kernel, problem: Problem) -> tuple[NDArray[np.float64], dict[str, Any]]:
    """Return the kernel's factors, [terms x C, h, w], and what the extension takes beside them."""
    terms = lowrank.terms_of(_terms(problem))
    pixels = kernel.pixels.transpose(2, 0, 1)  # [C, h, w]
    weights = np.ones((1, 1, 1))
    if kernel.weights is not None:
        weights = np.atleast_3d(kernel.weights).transpose(2, 0, 1).astype(np.float64)
    taps = np.concatenate([weights * term[pixels] for term in terms.kernel])
    return np.ascontiguousarray(taps), {
        "means": np.zeros(len(pixels)),
        "own": 0.0,
        "total": problem.total_weight * problem.data_range,
        "offset": float((weights * terms.offset[pixels]).sum()),
        "residual": float((weights * terms.residual[pixels]).sum()),
    }


def _own(kernel: Kernel, metric: str) -> float:
    """Return what the kernel contributes to the root: sum K^2, for `zncc` n sum K^2 - sum T^2."""
    if kernel.pixels.dtype.kind == "f":
        values = kernel.pixels.astype(np.float64)
        if metric == "zncc":
            values -= values.mean((0, 1))
        pixels = values[..., 0].size if metric == "zncc" else 1
        return float(pixels * (values * values).sum())
    values = kernel.pixels.astype(np.uint64)
    energy = int((values * values).sum())
    if metric != "zncc":
        return float(energy)
    sums = values.sum((0, 1)).tolist()
    count = kernel.pixels.shape[0] * kernel.pixels.shape[1]
    return float(count * energy - sum(total * total for total in sums))


def seconds(problem: Problem, *, is_direct: bool = False) -> float:
    """Estimate the seconds of the work."""
    transform, product, pixel, window = COSTS[kernel_parts.variant()]
    rows, cols = problem.map_shape
    height, width, channels = problem.kernel
    scoring, pixels = rows * cols * window, problem.image[1] * channels
    if is_direct:
        at_once = _taps_at_once(problem)
        products = rows * cols * channels * (height + 2) * (-(-width // at_once) * at_once)
        product = product if problem.dtype == "uint8" else DOUBLES[kernel_parts.variant()]
        # Rows of pixels under two bands of 96 windows are copied for both.
        pixels *= rows + -(-rows // 96) * height
        sums = (pixels * pixel + scoring) * (1 if problem.dtype in INTEGER_RANGE else _FLOATS)
        return (products * product + sums) / problem.threads
    tall, wide = _windows_of_transform(problem)
    bands = -(-rows // tall)
    pairs = -(-bands * -(-cols // wide) // 2)
    pixels *= rows * problem.stride[0] + bands * height
    planes = _planes(problem)
    work = pairs * transform * (math.prod(cut(planes)[0]) * planes[2] + 1)
    sums = pixels * pixel + scoring
    if problem.metric == "sad":  # which looks pixels up, and sums none over windows
        work, sums = work * _LOOK_UPS, sums * _ALONE
    if problem.dtype not in INTEGER_RANGE:
        sums *= _FLOATS
    if problem.metric in _AGAIN and kernel_parts.is_made_again(problem):
        least, of_small = _AGAIN[problem.metric]
        again = least + of_small / math.sqrt(height * width)
        work, sums = work * again, sums * again
    return (work + sums) / problem.threads


def _taps_at_once(problem: Problem) -> int:
    """Return how many taps an instruction multiplies in direct sums, 0 if there is none."""
    extension = kernel_parts.extension()
    assert extension is not None, "takes says so"
    taps: int = extension.taps(kernel_parts.variant(), _FORMATS[problem.dtype])
    return taps


def _windows_of_transform(problem: Problem) -> tuple[int, int]:
    parts = cut(_planes(problem))[0]
    return windows_of_transform(problem.kernel[:2], parts, problem.stride)


def best_tile(problem: Problem, *, is_direct: bool = False) -> tuple[int, int]:
    """Return a tile of whole blocks, for each thread one or some of `_TILE_SECONDS`."""
    rows, cols = problem.map_shape
    work = seconds(problem, is_direct=is_direct) * problem.threads
    count = max(problem.threads, work / _TILE_SECONDS)
    wide = min(cols, _WIDEST)
    share = max(1, int(rows * cols / (count * wide)))
    block = blocks.BLOCK
    tall = -(-share // block) * block
    if not is_direct:  # whole transforms, in as many blocks as they fill
        height = _windows_of_transform(problem)[0]
        filled = -(-share // height) * height // block * block
        tall = filled if filled >= share else tall
    return min(rows, tall), wide


def working_bytes(problem: Problem, rows: int, cols: int, *, is_direct: bool = False) -> int:
    """Return the bytes of scoring a tile, beside its pixels and `Bounds.estimate_bytes`."""
    extension = kernel_parts.extension()
    assert extension is not None, "takes says so"
    parts = (1, 1) if is_direct else cut(_planes(problem))[0]
    scratch: int = extension.scratch(
        format=_FORMATS[problem.dtype],
        windows=(rows, cols),
        kernel_shape=problem.kernel,
        stride=problem.stride,
        block=blocks.BLOCK,
        is_direct=is_direct,
        parts_y=parts[0],
        parts_x=parts[1],
        terms=_terms(problem),
        variant=kernel_parts.variant(),
    )
    scores = 4 * rows * cols
    kernel = 0 if problem.kernel_count > 1 else kernel_bytes(problem, is_direct=is_direct)
    if not is_direct and _can_repeat(problem):
        values: int = extension.TILE_VALUES
        scratch += 8 * ((math.prod(parts) + 1) * problem.kernel[2] + 1) * values
    return scratch + scores + kernel - Bounds.estimate_bytes(rows, cols)


def _can_repeat(problem: Problem) -> bool:
    """Return whether tiles whose scores could be off by too much are transformed in float64.

    Correlations of windows of little contrast may be. A score of `ssd` is off by no more than
    4e-4: R / 2 bounds the norms of a tile and of the kernel. Those of `sad` have a tolerance.
    """
    if problem.metric == "sad":
        return False
    return problem.metric != "ssd" or kernel_parts.error_limit(problem) < _SSD_ERROR


def kernel_bytes(problem: Problem, *, is_direct: bool = False) -> int:
    """Return the bytes of a prepared kernel: its transforms and its values as float64."""
    extension = kernel_parts.extension()
    assert extension is not None, "takes says so"
    values: int = extension.TILE_VALUES
    values *= 0 if is_direct else math.prod(cut(_planes(problem))[0])
    return _terms(problem) * (4 * problem.kernel[2] * values + 3 * 8 * problem.taps)
