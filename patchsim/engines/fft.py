"""Products by Fourier transforms: `ssd`, `ncc`, `zncc` and, within a tolerance, `sad`.

`fft_scores` says how the first three are made of sums over windows, `weighted` how they are where
pixels have weights or are hidden, `lowrank` how `sad` is.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchsim import devices, tiles
from patchsim.engines import (
    Bounds,
    Problem,
    Score,
    Seen,
    SharedScore,
    fft_scores,
    lowrank,
    visibility,
    weighted,
)
from patchsim.engines.correlation import block_step, transform_length
from patchsim.engines.fft_sums import FITS, constants_of, extension_for
from patchsim.engines.shared import Shared
from patchsim.metrics import INTEGER_RANGE, Kernel, Pixels, Weights

OWN_THREADS = False

_SCIPY_IMPORT_SECONDS = 0.25  # on the same machine

# Seconds for each value, channel and doubling of a tile, there and back, in float32, and for each
# value of a running sum; Linux, one core of an AMD EPYC (Zen 4), scipy 1.17.
_TRANSFORM_SECONDS = 2.5e-10
_SUM_SECONDS = 1e-8

# Of the time of a transform, what the product of two takes.
_PRODUCT_SHARE = 0.2


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
        if count * count * problem.kernel[2] * largest / 2 >= FITS:
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
    if problem.dtype not in INTEGER_RANGE or extension_for(problem) is None:
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
    constants = constants_of([kernel.pixels for kernel in kernels], problems[0].metric)
    each = [constants] * len(kernels)
    if problems[0].metric == "zncc":  # any constants would do; its own keep the most digits
        each = [_own_constants(kernel) for kernel in kernels]
    if kernels[0].weights is not None or problems[0].most_visible is not None:
        return [weighted.prepare(*pair) for pair in zip(kernels, problems, each, strict=True)]
    return [fft_scores.prepare(*pair) for pair in zip(kernels, problems, each, strict=True)]


def _own_constants(kernel: Kernel) -> NDArray[Any]:
    """The same of one kernel, by its weights: what does not count must not cost digits."""
    pixels, weights = kernel.pixels, kernel.weights
    if weights is None:
        return constants_of([pixels], "zncc")
    values = np.broadcast_to(np.atleast_3d(weights), pixels.shape).astype(np.float64)
    # A channel that does not count at all has no mean.
    means: NDArray[Any] = (pixels * values).sum((0, 1)) / np.maximum(values.sum((0, 1)), 1)
    return np.rint(means).astype(np.int64) if pixels.dtype.kind == "u" else means
