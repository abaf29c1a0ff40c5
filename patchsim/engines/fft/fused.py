"""`ssd`, `ncc` and `zncc` on the CPU in C: from pixels to scores in one pass.

`_correlation.h` has the method and the formulas. The scores are float32; their errors are stated
for each block of windows.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np
from numpy.typing import NDArray

from patchsim.engines import extensions
from patchsim.engines.contract import BlockBounds, Bounds, Problem, Seen, SharedScore
from patchsim.engines.tile_cache import Shared
from patchsim.geometry import blocks
from patchsim.metrics import INTEGER_RANGE, Kernel
from patchsim.numerics.precision import EXACT_IN_FLOAT64, EXACT_IN_INT64

# The largest error of a score in a map, unless the tolerance is larger.
MAP_ERROR = 1e-5

# Of a transform of 256 x 256 pixels so many windows have to be left. With fewer, longer transforms
# are faster; measured with kernels of 64 to 192 on an AMD EPYC (Zen 4).
_LEAST_WINDOWS = 11_000

_FORMATS = {"uint8": "B", "uint16": "H", "float32": "f"}

# Seconds, by variant: of a transform of two tiles of a channel, there or back; of a pixel of a
# channel, copied and summed; of a window's score. Linux, one core of an AMD EPYC (Zen 4), gcc 12.
COSTS = {
    "avx512": (1.2e-4, 9e-10, 1.2e-9),
    "avx2": (1.4e-4, 1e-9, 1.3e-9),
    "sse2": (2.6e-4, 1.6e-9, 2.5e-9),
}
# Not measured, because no such machine was at hand; their vectors are as wide as those of SSE2.
COSTS["neon"] = COSTS["portable"] = COSTS["sse2"]

# The time of a tile: short enough that progress moves and an interrupt is answered.
_TILE_SECONDS = 0.1
_WIDEST = 4096  # windows of a tile, whole blocks

_extension = partial(extensions.extension, "_correlation")
_variant = partial(extensions.variant, "_correlation")


def takes(problem: Problem) -> bool:
    """Return whether the C extension was built and scores this problem as it is asked for."""
    extension = _extension()
    if (
        extension is None
        or problem.device != "cpu"
        or problem.metric == "sad"
        or problem.dtype not in _FORMATS
        or problem.exact
        or problem.weight_sum is not None
        or problem.opaque_level is not None
        or problem.kernel[2] > extension.MOST_CHANNELS
    ):
        return False
    height, width, channels = problem.kernel
    if height > extension.SIDE or width > extension.SIDE:
        return False
    left = (extension.SIDE + 1 - height) * (extension.SIDE + 1 - width)
    return left >= _LEAST_WINDOWS and _fits(height * width, channels, problem.dtype)


def _fits(pixels: int, channels: int, dtype: str) -> bool:
    """Return whether n E - sum S^2 is exact: in float64 for bytes, modulo 2^64 for 16 bits."""
    if dtype not in INTEGER_RANGE:
        return True
    largest = float(pixels) ** 2 * channels * INTEGER_RANGE[dtype] ** 2
    return largest < EXACT_IN_FLOAT64 if dtype == "uint8" else largest / 4 < EXACT_IN_INT64


def prepare(kernel: Kernel, problem: Problem) -> SharedScore:
    """Transform a kernel without weights; the result scores tiles of an image all visible."""
    extension = _extension()
    assert extension is not None, "takes says so"
    variant = _variant()
    pixels = kernel.pixels.astype(np.float64)
    means = pixels.mean((0, 1))
    taps = np.ascontiguousarray((pixels - means).transpose(2, 0, 1))  # [C, h, w]
    # Near 1, so that no square overflows or vanishes; the power of two changes no digit.
    gain = 2.0 ** math.frexp(float(abs(taps).max()))[1]
    taps /= gain
    spectra = _aligned(len(taps) * extension.TILE_VALUES)
    extension.spectrum(taps=taps, out=spectra, variant=variant)
    own = _own(kernel, problem.metric)
    limit = max(MAP_ERROR, problem.tolerance)

    def score(shared: Shared, windows: tuple[int, int], _seen: Seen | None = None) -> Bounds:
        image = shared.under(windows, problem.kernel[:2], problem.stride)
        if image.strides[1:] != (image.shape[2] * image.itemsize, image.itemsize):
            image = np.ascontiguousarray(image)
        found = np.empty(windows, np.float32)
        grid = blocks.grid_shape(windows)
        maxima, errors = np.empty(grid, np.float32), np.empty(grid, np.float32)
        extension.scores(
            image=image,
            spectra=spectra,
            taps=taps,
            means=means,
            map=found,
            maxima=maxima,
            errors=errors,
            metric=problem.metric,
            gain=gain,
            own=own,
            total=problem.taps * problem.data_range**2,
            limit=limit,
            stride_y=problem.stride[0],
            stride_x=problem.stride[1],
            block=blocks.BLOCK,
            variant=variant,
        )
        return Bounds(found, float(errors.max()), blocks=BlockBounds(maxima, errors))

    return score


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


def _aligned(count: int) -> NDArray[np.float32]:
    """Return an array that begins at a multiple of 64 bytes, where vectors are read fastest."""
    spare = np.empty(count + 16, np.float32)
    first = -spare.ctypes.data % 64 // spare.itemsize
    return spare[first : first + count]


def seconds(problem: Problem) -> float:
    """Estimate the seconds of the work."""
    transform, pixel, window = COSTS[_variant()]
    rows, cols = problem.map_shape
    tall, wide = _windows_of_transform(problem)
    bands, channels = -(-rows // tall), problem.kernel[2]
    pairs = -(-bands * -(-cols // wide) // 2)
    # Rows of pixels under two bands are read for both.
    pixels = problem.image[1] * channels * (rows * problem.stride[0] + bands * problem.kernel[0])
    work = pairs * transform * (channels + 1) + pixels * pixel + rows * cols * window
    return work / problem.threads


def _windows_of_transform(problem: Problem) -> tuple[int, int]:
    extension = _extension()
    assert extension is not None, "takes says so"
    (height, width), stride = problem.kernel[:2], problem.stride
    side: int = extension.SIDE
    return (side - height) // stride[0] + 1, (side - width) // stride[1] + 1


def best_tile(problem: Problem) -> tuple[int, int]:
    """Return a tile of whole blocks, for each thread one or some of `_TILE_SECONDS`."""
    rows, cols = problem.map_shape
    count = max(problem.threads, seconds(problem) * problem.threads / _TILE_SECONDS)
    wide = min(cols, _WIDEST)
    share = max(1, int(rows * cols / (count * wide)))
    tall = _windows_of_transform(problem)[0]
    # Whole transforms, in as many blocks as they fill.
    block = blocks.BLOCK
    filled = -(-share // tall) * tall // block * block
    return min(rows, filled if filled >= share else -(-share // block) * block), wide


def working_bytes(problem: Problem, rows: int, cols: int) -> int:
    """Return the bytes of scoring a tile, beside its pixels and `Bounds.estimate_bytes`."""
    extension = _extension()
    assert extension is not None, "takes says so"
    scratch: int = extension.scratch(
        format=_FORMATS[problem.dtype],
        windows=(rows, cols),
        kernel_shape=problem.kernel,
        stride=problem.stride,
        block=blocks.BLOCK,
    )
    scores = 4 * rows * cols
    kernel = 0 if problem.kernel_count > 1 else kernel_bytes(problem)
    # A tile whose scores could be off by too much is transformed in float64.
    values: int = extension.TILE_VALUES
    again = 2 * 8 * problem.kernel[2] * values
    return scratch + scores + kernel + again - Bounds.estimate_bytes(rows, cols)


def kernel_bytes(problem: Problem) -> int:
    """Return the bytes of a prepared kernel: its transforms and its values as float64."""
    extension = _extension()
    assert extension is not None, "takes says so"
    values: int = extension.TILE_VALUES
    return 4 * problem.kernel[2] * values + 3 * 8 * problem.taps
