"""`ssd`, `ncc` and `zncc` with weights, or of what is visible, in C and in one pass.

`_correlation_weighted.h` has the method and the formulas: all sums over windows come from Fourier
transforms in float64. The scores are float32; their errors are stated for each block of windows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchsim.engines.common import kernel_limit, kernel_parts
from patchsim.engines.common.fused_costs import FORMATS
from patchsim.engines.common.kernel_parts import (
    Cut,
    DoubleWork,
    aligned,
    best_double_cut,
    square_cut,
)
from patchsim.engines.contract import BlockBounds, Bounds, Seen, SharedScorer
from patchsim.engines.problem import Problem
from patchsim.engines.tile_cache import Shared
from patchsim.geometry import blocks
from patchsim.machine import extensions
from patchsim.metrics import INTEGER_RANGE, Kernel

_METRICS = ("ssd", "ncc", "zncc")
_LOST = 2.0**-40  # smaller values, beside the mean, would be lost in the rounding of differences

# Transforms for a window, over those of a kernel in one part; with more, longer transforms are
# faster (`fft.weighted`), beside which `zncc` of floats takes more. Measured with round kernels of
# 128 to 640 in 1920x1080 on an AMD EPYC.
_MOST_TRANSFORMS, _MOST_OF_FLOATS = 1.3e-4, 2e-4

# Seconds, by variant: of a transform of two tiles of 256x256, there or back, in float64; of a
# product of two transforms, added up; of a pixel of a channel, copied and surveyed; of a term of a
# window's score. Linux, one core of an AMD EPYC (Zen 4), gcc 12.
COSTS = {
    "avx512": (2.3e-4, 9e-5, 1.5e-9, 1.8e-9),
    "avx2": (3.2e-4, 1e-4, 1.5e-9, 2.2e-9),
    "sse2": (6e-4, 1.5e-4, 3e-9, 4.5e-9),
}
COSTS["avxvnni"] = COSTS["avx2"]
# Not measured, because no such machine was at hand; their vectors are as wide as those of SSE2.
COSTS["dotprod"] = COSTS["neon"] = COSTS["portable"] = COSTS["sse2"]

# The time of a tile: short enough that progress moves and an interrupt is answered.
_TILE_SECONDS = 0.1
_WIDEST = 4096  # windows of a tile, whole blocks


def can_take(problem: Problem) -> bool:
    """Return whether the C extension was built and scores this problem as it is asked for."""
    return refusal(problem) is None


def refusal(problem: Problem) -> str | None:
    """Return why it does not score this problem, or None."""
    extension = kernel_parts.extension()
    if extension is None:
        return extensions.refusal("_correlation")
    if problem.device != "cpu":
        return "it runs on the cpu"
    if problem.metric not in _METRICS:
        return f"it takes {', '.join(_METRICS)}, not {problem.metric}"
    if problem.dtype not in FORMATS:
        return f"it takes {', '.join(FORMATS)}, not {problem.dtype}"
    if problem.exact:
        return "its scores are rounded to float32"
    channels = problem.kernel[2]
    if channels > extension.MOST_WEIGHTED_CHANNELS:
        return f"it takes up to {extension.MOST_WEIGHTED_CHANNELS} channels"
    is_slow = problem.metric == "zncc" and problem.dtype not in INTEGER_RANGE
    # Parts of the image that are all visible have to be taken, too.
    cut_for = partial(_cut_for, problem._replace(opaque_level=None))
    most = _MOST_OF_FLOATS if is_slow else _MOST_TRANSFORMS
    if kernel_limit.is_too_large(problem.kernel, problem.stride, most, cut_for):
        return "its transforms are too short for the kernel"
    return None


def _weight_planes(problem: Problem) -> int:
    return problem.kernel[2] if problem.has_channel_weights else 1


def _transforms(problem: Problem) -> tuple[int, int]:
    """Return the planes of the image that are transformed, and those that come back."""
    channels, weighing = problem.kernel[2], _weight_planes(problem)
    forward = channels + weighing
    backward = {"ssd": 1, "ncc": 2, "zncc": 2 + channels}[problem.metric]
    if problem.opaque_level is None:
        return forward, backward
    return forward + 1, backward + weighing + {"ssd": 0, "ncc": 1, "zncc": 1 + channels}[
        problem.metric
    ]


def _products(problem: Problem) -> int:
    """Return the products of an image's transform and one of the kernel, of a part of it."""
    channels, weighing = problem.kernel[2], _weight_planes(problem)
    sums = channels if problem.metric == "zncc" else 0
    count = channels + weighing + sums
    return count if problem.opaque_level is None else count + weighing + sums + 1


def cut_of(problem: Problem) -> Cut:
    """Return how a kernel is cut, and the sides of transforms; equal ones for maps of one shape."""
    rows, cols = problem.map_shape
    # Each thread has a part of the map's rows.
    return _cut_for(problem, (-(-rows // problem.threads), cols))


def _cut_for(problem: Problem, windows: tuple[int, int]) -> Cut:
    height, width, _ = problem.kernel
    extension = kernel_parts.extension()
    assert extension is not None, "takes says so"
    is_small = max(height, width) <= extension.SIDE // 2
    # Searches by bounds, which are those of `ssd` without a map, leave it single blocks, and count
    # on how long transforms of one shape take for these.
    if is_small and problem.metric == "ssd" and not problem.map_wanted:
        return square_cut((height, width), windows, problem.stride)
    forward, backward = _transforms(problem)
    work = DoubleWork(forward, _products(problem), backward)
    return best_double_cut((height, width), work, windows, problem.stride)


def prepare_together(kernels: Sequence[Kernel], problems: Sequence[Problem]) -> list[SharedScorer]:
    """Prepare kernels, each for itself."""
    return [prepare(*pair) for pair in zip(kernels, problems, strict=True)]


def prepare(kernel: Kernel, problem: Problem) -> SharedScorer:
    """Prepare a kernel; the result scores tiles of an image."""
    extension = kernel_parts.extension()
    assert extension is not None, "takes says so"
    planes, of_kernel = _planes(kernel, problem)
    has_levels, cut = problem.opaque_level is not None, cut_of(problem)
    cuts = {**cut.arguments, "variant": kernel_parts.variant()}
    spectra = aligned(len(planes) * cut.kernel_values, np.float64)
    extension.spectrum(taps=planes, out=spectra, terms=1, **cuts)
    arguments: dict[str, Any] = {
        "spectra": spectra,
        "planes": planes,
        "metric": problem.metric,
        "total": problem.data_range**2 * (1 if has_levels else problem.total_weight),
        "limit": kernel_parts.error_limit(problem),
        "least": float(problem.min_visible_weight),
        "stride_y": problem.stride[0],
        "stride_x": problem.stride[1],
        "block": blocks.BLOCK,
        "weight_planes": _weight_planes(problem),
        **of_kernel,
        **cuts,
    }

    def score(shared: Shared, windows: tuple[int, int], _seen: Seen | None = None) -> Bounds:
        pixels = shared.under(windows, problem.kernel[:2], problem.stride)
        image = kernel_parts.rows_without_gaps(pixels)
        scores = np.empty(windows, np.float32)
        grid = blocks.grid_shape(windows)
        maxima, errors = np.empty(grid, np.float32), np.empty(grid, np.float32)
        levels, hidden = np.empty((0, 0), np.uint8), np.empty((0, 0), np.bool_)
        if has_levels:
            assert shared.levels is not None
            levels = shared.levels[: image.shape[0], : image.shape[1]]
            levels = levels if levels.strides[1] == 1 else np.ascontiguousarray(levels)
            hidden = np.empty(windows, np.bool_)
        extension.weighted_scores(
            image=image,
            levels=levels,
            map=scores,
            maxima=maxima,
            errors=errors,
            hidden=hidden,
            **arguments,
        )
        return Bounds(
            scores,
            float(errors.max()),
            hidden if has_levels else None,
            BlockBounds(maxima, errors),
        )

    return score


def _planes(kernel: Kernel, problem: Problem) -> tuple[NDArray[np.float64], dict[str, Any]]:
    """Return the kernel's planes, [planes, h, w], and what the extension takes beside them."""
    pixels = kernel.pixels.transpose(2, 0, 1).astype(np.float64)
    weights = np.ones((1, *pixels.shape[1:]))
    if kernel.weights is not None:
        weights = np.atleast_3d(kernel.weights).transpose(2, 0, 1).astype(np.float64)
    every = np.broadcast_to(weights, pixels.shape)
    means = np.zeros(len(pixels))
    if problem.metric != "ncc":
        # A channel that does not count at all has no mean.
        means = (every * pixels).sum((1, 2)) / np.maximum(every.sum((1, 2)), 1)
        if problem.opaque_level is not None and kernel.pixels.dtype.kind == "u":
            means = np.rint(means)  # so that sums over what is visible are integers
        elif problem.opaque_level is not None and problem.metric == "zncc":
            # Visible values may be so dark that the mean would leave no digit of them.
            sizes = np.abs(pixels)
            is_lost = (every > 0) & (sizes > 0) & (sizes < _LOST * np.abs(means)[:, None, None])
            means[is_lost.any((1, 2))] = 0
    values = pixels - means[:, None, None]
    taps = every * values * (-2 if problem.metric == "ssd" else 1)
    squares = (every * values * values).sum(0)[None]
    levels = [] if problem.opaque_level is None else [squares]
    planes = np.ascontiguousarray(np.concatenate([taps, weights, *levels]))
    return planes, {"means": means, "own": float(squares.sum())}


def seconds(problem: Problem) -> float:
    """Estimate the seconds of the work."""
    transform, product, pixel, term = COSTS[kernel_parts.variant()]
    rows, cols = problem.map_shape
    cut, channels = cut_of(problem), problem.kernel[2]
    bands = -(-rows // cut.windows(problem.kernel[:2], problem.stride)[0])
    pairs = cut.pairs * problem.threads * cut.transform
    forward, backward = _transforms(problem)
    transforms = math.prod(cut.parts) * forward + backward
    products = math.prod(cut.parts) * _products(problem)
    pixels = channels * problem.image[1] * (rows * problem.stride[0] + bands * problem.kernel[0])
    terms = rows * cols * (backward + (0 if problem.metric == "ssd" else 1))
    work = pairs * (transforms * transform + products * product) + pixels * pixel + terms * term
    return work / problem.threads


def best_tile(problem: Problem) -> tuple[int, int]:
    """Return a tile of whole blocks, for each thread one or some of `_TILE_SECONDS`."""
    rows, cols = problem.map_shape
    count = max(problem.threads, seconds(problem) * problem.threads / _TILE_SECONDS)
    wide = min(cols, _WIDEST)
    share = max(1, int(rows * cols / (count * wide)))
    block = blocks.BLOCK
    tall = -(-share // block) * block
    # Whole transforms, in as many blocks as they fill.
    height = cut_of(problem).windows(problem.kernel[:2], problem.stride)[0]
    filled = -(-share // height) * height // block * block
    return min(rows, filled if filled >= share else tall), wide


def working_bytes(problem: Problem, rows: int, cols: int) -> int:
    """Return the bytes of scoring a tile, beside its pixels and `Bounds.estimate_bytes`."""
    extension = kernel_parts.extension()
    assert extension is not None, "takes says so"
    has_levels = problem.opaque_level is not None
    scratch: int = extension.weighted_scratch(
        format=FORMATS[problem.dtype],
        windows=(rows, cols),
        kernel_shape=problem.kernel,
        has_levels=has_levels,
        metric=problem.metric,
        stride=problem.stride,
        block=blocks.BLOCK,
        weight_planes=_weight_planes(problem),
        **cut_of(problem).arguments,
    )
    kernel = 0 if problem.kernel_count > 1 else kernel_bytes(problem)
    score_bytes = (5 if has_levels else 4) * rows * cols
    return scratch + score_bytes + kernel - Bounds.estimate_bytes(rows, cols)


def kernel_bytes(problem: Problem) -> int:
    """Return the bytes of a prepared kernel: its transforms and its planes, as float64."""
    height, width, channels = problem.kernel
    planes = channels + _weight_planes(problem) + (problem.opaque_level is not None)
    return 8 * planes * (cut_of(problem).kernel_values + height * width)
