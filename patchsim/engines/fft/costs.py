"""Time and memory of the engine `fft`, and the tiles that take least of both."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

import numpy as np

from patchsim.engines.common import lowrank, visibility
from patchsim.engines.contract import Bounds
from patchsim.engines.fft import passes
from patchsim.engines.problem import Problem
from patchsim.geometry import tiles
from patchsim.machine import devices
from patchsim.metrics import INTEGER_RANGE

if TYPE_CHECKING:
    from patchsim.engines.common.tile_sizes import TileSizes

# Seconds for each value, channel and doubling of a tile, there and back, in float32, and for each
# value of a running sum; Linux, one core of an AMD EPYC (Zen 4), scipy 1.17.
_TRANSFORM_SECONDS = 2.5e-10
_SUM_SECONDS = 1e-8

# The most that Python's objects take beside a tile's arrays; 7 to 50 kB were measured.
_OBJECT_BYTES = 1 << 16

# The time of a product of two transforms, as a share of that of a transform.
_PRODUCT_SHARE = 0.2

# No accelerator was at hand: what follows is counted, not measured. Transforms, window sums and
# scores take as long as their values take to be read and written, each in 8 bytes, at the bandwidth
# that `unfold` counts with.
_BANDWIDTH = 2.4e12

# Reads and writes of each value: of a transform (rows, columns and once more to append zeros, or
# because the way back overwrites what it takes); of a product of spectra, and its sum; of pixels as
# planes in three types, their squares and norm; of a sum over windows along both axes, which
# `box_sums._window_sums` shows; and of the arrays of a window that a formula passes through.
_TRANSFORM_PASSES = 6
_PRODUCT_PASSES = 6
_PLANE_PASSES = 16
_SUM_PASSES = 34
_SCORE_PASSES = 40


def _planes_transformed(problem: Problem) -> int:
    terms = lowrank.products_needed(problem) if problem.metric == "sad" else 1
    return problem.kernel[2] * (terms or 1)


def seconds(problem: Problem) -> float:
    if in_c := passes.of(problem):
        return in_c.seconds(problem)
    if problem.device != "cpu":
        return _seconds_elsewhere(problem) + visibility.seconds(problem)
    tile_count, values = _tile_count(problem), math.prod(_tile_extent(problem))
    transforms = tile_count * values * math.log2(values) * _TRANSFORM_SECONDS
    planes, more, scale = _planes_transformed(problem), 1, 1
    if _is_weighted(problem) and problem.metric != "sad":
        # In float64, and the window's sums by transforms, too.
        more, scale = _weighted_transforms(problem) + 1, 2
    if problem.kernel_count > 1:
        # Those of the pixels are shared; the kernel's own are one more tile's.
        per_plane = 1 / problem.kernel_count + 1 / tile_count + _PRODUCT_SHARE
        transforms *= scale * (planes * per_plane + more)
    else:
        transforms *= scale * (planes + more)
    sums = math.prod(problem.image) * _SUM_SECONDS * (2 if problem.metric == "zncc" else 1)
    work = transforms + sums / problem.kernel_count
    return work / problem.threads + visibility.seconds(problem)


def _seconds_elsewhere(problem: Problem) -> float:
    tile_count, values = _tile_count(problem), math.prod(_tile_extent(problem))
    rows, cols = best_tile(problem)
    channels, pixels = problem.kernel[2], tile_count * math.prod(_extent(problem, rows, cols))
    windows = math.prod(problem.map_shape)
    share = 1 / problem.kernel_count
    planes, summed = _planes_transformed(problem), _planes_summed(problem)
    # Transforms of the pixels, which kernels share; of the kernel, once; and those back.
    forward, backward = planes * (tile_count * share + 1), tile_count
    if _is_weighted(problem) and problem.metric != "sad":
        backward += tile_count * _weighted_transforms(problem)
    passes = values * (forward + backward) * _TRANSFORM_PASSES
    passes += tile_count * values * planes * _PRODUCT_PASSES
    passes += share * pixels * (channels * _PLANE_PASSES + summed * _SUM_PASSES)
    passes += windows * _SCORE_PASSES
    # About as many operations as passes, each of which reads two values or one and writes one.
    begun = (forward + backward) * _TRANSFORM_PASSES + tile_count * _SCORE_PASSES
    begun += tile_count * share * (_PLANE_PASSES + summed * _SUM_PASSES)
    moved = share * pixels * channels * np.dtype(problem.dtype).itemsize + windows * 2 * 8
    return (
        passes * 8 / _BANDWIDTH
        + begun / 2 * devices.OPERATION_SECONDS
        + moved / devices.BUS_BANDWIDTH
    )


def _planes_summed(problem: Problem) -> int:
    """How many planes are summed over windows, apart from those by transforms.

    Which windows have one value is found in passes over flags of a byte, which are left out.
    """
    if problem.metric == "sad" or _is_weighted(problem):
        return 0
    if problem.metric != "zncc":
        return 1
    channels = problem.kernel[2]
    return 1 + channels if problem.dtype in INTEGER_RANGE else 3 * channels


def _weighted_transforms(problem: Problem) -> int:
    """Those of `weighted` for a tile, there and back, beside those of image and kernel."""
    weighing = problem.kernel[2] if problem.has_channel_weights else 1
    count = 2 * weighing + 2
    if problem.metric == "zncc":
        count += 2 * problem.kernel[2]
    if problem.opaque_level is not None:
        count += 2
        if problem.metric == "zncc":
            count += 2 * problem.kernel[2]
    return count


def _is_weighted(problem: Problem) -> bool:
    return problem.weight_sum is not None or problem.opaque_level is not None


def best_tile(problem: Problem) -> tuple[int, int]:
    if in_c := passes.of(problem):
        return in_c.best_tile(problem)
    from patchsim.numerics.overlap_save import block_step  # as below, beside what C takes

    height, width, _ = problem.image
    windows = height - problem.kernel[0] + 1, width - problem.kernel[1] + 1
    rows, cols = block_step(windows, problem.kernel[:2], problem.device)
    return -(-rows // problem.stride[0]), -(-cols // problem.stride[1])


def _tile_count(problem: Problem) -> int:
    rows, cols = problem.map_shape
    step = best_tile(problem)
    return -(-rows // step[0]) * -(-cols // step[1])


def _extent(problem: Problem, rows: int, cols: int) -> tuple[int, int]:
    return tiles.extent((rows, cols), problem.kernel[:2], problem.stride)


def _tile_extent(problem: Problem) -> tuple[int, int]:
    """Return the height and width of the tile's transforms."""
    from patchsim.numerics.overlap_save import transform_length

    height, width = _extent(problem, *best_tile(problem))
    return transform_length(height), transform_length(width)


def working_bytes(problem: Problem, rows: int, cols: int) -> int:
    if in_c := passes.of(problem):
        return _working_bytes_in_c(in_c, problem, rows, cols)
    from patchsim.engines.common import hidden_pixels
    from patchsim.engines.common.tile_sizes import TileSizes

    sizes, bounds = TileSizes(problem, rows, cols), Bounds.estimate_bytes(rows, cols)
    # Without others a kernel's own counts here; with others the spectra of the pixels are kept.
    together = problem.kernel_count > 1
    of_kernel = 0 if together else _kernel_bytes(sizes)
    peak = _peak_bytes(sizes) + _device_bytes(sizes) + _OBJECT_BYTES
    if problem.opaque_level is None:
        return of_kernel + peak - bounds
    # Counts, and the windows that they hide; at last scores and errors without these.
    held, total = hidden_pixels.held_bytes(sizes), 8 * sizes.windows
    peak = max(hidden_pixels.counting_bytes(sizes), held + total + peak, held + 5 * total)
    unmasked, weights = visibility.everywhere(problem), hidden_pixels.counts_kernel_bytes(sizes)
    if together:
        # The windows of some kernels are all visible, those of others are not.
        every = TileSizes(unmasked, rows, cols)
        visible = working_bytes(unmasked, rows, cols) + bounds
        return max(peak + _kept_bytes(every), visible + _kept_bytes(sizes)) - bounds
    visible = working_bytes(unmasked, rows, cols) + bounds
    if sizes.is_whole_map:  # which is one tile, of one kind
        # Prepared before the first tile: in NumPy, planes of pixels and weights without spectra.
        in_c = passes.of(unmasked)
        prepared = in_c.kernel_bytes(unmasked) if in_c else 24 * problem.taps
        return max(prepared + of_kernel + weights + peak, visible) - bounds
    prepared = _kernel_bytes(TileSizes(unmasked, rows, cols))
    return max(prepared + peak, visible) + of_kernel + weights - bounds


def _working_bytes_in_c(in_c: passes.Pass, problem: Problem, rows: int, cols: int) -> int:
    partly = in_c.working_bytes(problem, rows, cols)
    if problem.opaque_level is None:
        return partly
    # A kernel is prepared for tiles that are all visible, too.
    unmasked = visibility.everywhere(problem)
    in_c_whole = passes.of(unmasked)
    assert in_c_whole is not None, "it takes what is visible, too"
    visible = in_c_whole.working_bytes(unmasked, rows, cols)
    if problem.kernel_count > 1:
        return max(partly, visible)
    return max(
        partly + in_c_whole.kernel_bytes(unmasked),
        visible + in_c.kernel_bytes(problem),
    )


class _Way(Protocol):
    """A module with a way to score a tile by transforms in NumPy or on a device."""

    def peak_bytes(self, sizes: TileSizes, /) -> int: ...

    def kept_bytes(self, sizes: TileSizes, /) -> int: ...

    def kernel_bytes(self, sizes: TileSizes, /) -> int: ...


def _way(problem: Problem) -> _Way:
    """Return what the pass in C does not take; few searches need these modules."""
    from patchsim.engines.fft import sad_lowrank, scores, weighted

    if problem.metric == "sad":
        return sad_lowrank
    return weighted if _is_weighted(problem) else scores


def _peak_bytes(sizes: TileSizes) -> int:
    """Return the peak bytes of scoring a tile, beside the kernels' own."""
    return _way(sizes.problem).peak_bytes(sizes)


def _kept_bytes(sizes: TileSizes) -> int:
    """Return the bytes that kernels share of a tile."""
    if passes.of(sizes.problem):
        return 0
    return _way(sizes.problem).kept_bytes(sizes)


def _kernel_bytes(sizes: TileSizes) -> int:
    """Return the bytes of a kernel's planes and their spectra."""
    problem = sizes.problem
    if in_c := passes.of(problem):
        return in_c.kernel_bytes(problem)
    return _way(problem).kernel_bytes(sizes)


def _device_bytes(sizes: TileSizes) -> int:
    """Return the bytes of a tile on a device beside what NumPy takes for it on the CPU."""
    problem = sizes.problem
    if problem.device == "cpu":
        return 0
    seen = 0
    if problem.opaque_level is not None:  # levels, counts and the total
        seen = sizes.pixels + 8 * (problem.kernel[2] + 1) * sizes.windows
    return seen + transform_bytes(sizes)


def transform_bytes(sizes: TileSizes) -> int:
    """Return the bytes that a transform takes on a device within.

    It copies what the way back overwrites, and cuFFT has arrays of its own. No card was at hand to
    measure them.
    """
    return 2 * sizes.spectrum(8)


def kernel_bytes(problem: Problem, rows: int, cols: int) -> int:
    if in_c := passes.of(problem):
        of_kernel = in_c.kernel_bytes(problem)
        if problem.opaque_level is None:
            return of_kernel
        return of_kernel + kernel_bytes(visibility.everywhere(problem), rows, cols)
    from patchsim.engines.common import hidden_pixels
    from patchsim.engines.common.tile_sizes import TileSizes

    sizes = TileSizes(problem, rows, cols)
    of_kernel, weights = _kernel_bytes(sizes), hidden_pixels.counts_kernel_bytes(sizes)
    if problem.opaque_level is None:
        return of_kernel
    visible = visibility.everywhere(problem)
    return of_kernel + weights + _kernel_bytes(TileSizes(visible, rows, cols))
