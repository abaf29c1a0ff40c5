"""Pixels of an image that are not visible: what they add to a search, its time and memory.

A sum of absolute differences over what is visible is made of plain ones: with b the bits of a
visibility v, w the weights, and I the image with 0 where the bit is not set,

    sum w v |I-K| = sum over b of 2^b (sum w |I_b - K| - sum w (1 - v_b) |K|)

of which the last sums, over all b, are one correlation.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from patchsim import metrics
from patchsim.engines.common.tile_sizes import TileSizes
from patchsim.engines.contract import Bounds, Scorer, Seen
from patchsim.engines.problem import Problem
from patchsim.geometry import tiles
from patchsim.metrics import INTEGER_RANGE
from patchsim.numerics.box_sums import box_sums, box_sums_bytes
from patchsim.numerics.overlap_save import (
    Products,
    block_step,
    norm_of,
    products_bytes,
    rounding,
    transform_length,
)
from patchsim.numerics.precision import DOUBLE, ROUNDING_MARGIN
from patchsim.types import Pixels, Weights

_Floats = NDArray[np.float64]

# For each value and doubling of a tile, there and back, in float64, and for each of a sum over
# windows; Linux, one core of an AMD EPYC (Zen 4), scipy 1.17.
_TRANSFORM_SECONDS = 5e-10
_SUM_SECONDS = 2e-8


def counts_of_levels(
    problem: Problem, weights: Weights | None
) -> Callable[[NDArray[np.uint8]], NDArray[np.int64]]:
    """Return a function from a tile's levels to `Seen.counts`."""
    size, stride, channels = problem.kernel[:2], problem.stride, problem.kernel[2]
    weighing: list[Products] = []
    if weights is not None:
        planes = np.atleast_3d(weights).transpose(2, 0, 1).astype(np.float64)
        weighing = [Products([plane]) for plane in planes]

    def count(levels: NDArray[np.uint8]) -> NDArray[np.int64]:
        if weighing:
            # Levels have 8 bits, so that the transforms' sums surely round to the right integers.
            values = levels.astype(np.float64)
            sums = [plane.over([values])[:: stride[0], :: stride[1]] for plane in weighing]
            seen = np.rint(sums).astype(np.int64)
        else:
            seen = box_sums(levels.astype(np.int64), size, stride)[None]
        every: NDArray[np.int64] = np.broadcast_to(seen, (channels, *seen.shape[1:]))
        return every

    return count


def differences(
    sums: Callable[[Pixels], _Floats],
    share: float,
    kernel: Pixels,
    problem: Problem,
    weights: Weights | None,
) -> Scorer:
    """Return a scorer by `sad` of the visible pixels, from sums over all pixels.

    Parameters
    ----------
    sums : pixels -> float64 array [rows, cols]
        Sums of absolute differences; of integers exact.
    share : float
        The relative error of these sums; 0 for integers.
    """
    assert problem.opaque_level is not None
    bits = problem.opaque_level.bit_length()
    full = (1 << bits) - 1
    weighing = 1 if weights is None else weights.reshape(*kernel.shape[:2], -1).astype(np.float64)
    taps = (weighing * np.abs(kernel.astype(np.float64))).sum(2)
    products, norm = Products([taps]), norm_of(taps)
    are_integers = kernel.dtype.kind == "u"

    def score(pixels: Pixels, seen: Seen | None = None) -> Bounds:
        assert seen is not None
        hidden = (full - seen.levels).astype(np.float64)
        covered = products.over([hidden])[:: problem.stride[0], :: problem.stride[1]]
        off = norm_of(hidden) * norm * rounding(DOUBLE)
        if are_integers and off < ROUNDING_MARGIN:
            covered, off = np.rint(covered), 0.0
        added = np.zeros(covered.shape)
        for bit in range(bits):
            bit_plane = (seen.levels >> bit & 1).astype(pixels.dtype)
            added += (1 << bit) * sums(pixels * bit_plane[..., None])
        total = seen.total
        scores = metrics.similarity(np.maximum(added - covered, 0.0), total, problem.data_range)
        if off == share == 0:
            return Bounds(scores)
        return Bounds(scores, (off + share * added) / (total * problem.data_range) + 2.0**-51)

    return score


def seconds(problem: Problem) -> float:
    """Estimate the seconds that they add to an engine's own, beside `visibility.rounds`."""
    rows, cols = problem.map_shape
    step = transform_tile(problem)
    values = _transformed(problem, *step)
    tile_count = -(-rows // step[0]) * -(-cols // step[1])
    transforms = tile_count * _planes(problem) * values * math.log2(values) * _TRANSFORM_SECONDS
    return (transforms + math.prod(problem.image[:2]) * _SUM_SECONDS) / problem.threads


def transform_tile(problem: Problem) -> tuple[int, int]:
    """Return the tile (rows, cols) whose transforms waste least."""
    height, width, _ = problem.image
    windows = height - problem.kernel[0] + 1, width - problem.kernel[1] + 1
    rows, cols = block_step(windows, problem.kernel[:2])
    return -(-rows // problem.stride[0]), -(-cols // problem.stride[1])


def working_bytes(problem: Problem, rows: int, cols: int, engine_bytes: int = 0) -> int:
    """Return the bytes that `prepare` of `visibility`, and `differences`, add for a tile.

    They are beside the bytes of an engine itself; less is added where these are known, as not all
    is needed at a time.
    """
    sizes = TileSizes(problem, rows, cols)
    held, itemsize = held_bytes(sizes), np.dtype(problem.dtype).itemsize
    hidden, score_bytes, bounds = (
        8 * sizes.pixels,
        8 * sizes.windows,
        Bounds.estimate_bytes(rows, cols),
    )
    # The levels turned round, and what they cover.
    covering = sizes.pixels + products_bytes(sizes.transform, 8, 1)
    covered = sizes.plane(8) if problem.dtype not in INTEGER_RANGE else score_bytes
    # The pixels of a bit, while an engine sums them; then the scores' parts.
    masked = sizes.pixels * itemsize * (1 + problem.kernel[2])
    summing = covered + score_bytes + masked + engine_bytes + bounds
    scoring = held + hidden + max(covering, summing, covered + 6 * score_bytes)
    kernel = _planes(problem) * sizes.spectra(8)
    return kernel + max(counting_bytes(sizes), scoring) - engine_bytes - bounds


def counting_bytes(sizes: TileSizes) -> int:
    """Return the peak bytes of the function that `counts_of_levels` returns."""
    problem, values = sizes.problem, 8 * sizes.pixels
    if problem.weight_sum is None:
        return values + box_sums_bytes(sizes.extent, problem.kernel[:2], problem.stride)
    # Sums of all planes, each as large as a transform; then they are rounded and made integers.
    planes, counts = _planes_of_weights(problem), 8 * sizes.windows
    last = (planes - 1) * sizes.plane(8) + products_bytes(sizes.transform, 8, 1)
    return max(values + last, values + planes * (sizes.plane(8) + 2 * counts))


def held_bytes(sizes: TileSizes) -> int:
    """Return the bytes of counts and of hidden windows, which are held until a tile is scored."""
    return (8 * _planes_of_weights(sizes.problem) + 1) * sizes.windows


def counts_kernel_bytes(sizes: TileSizes) -> int:
    """Return the bytes of the weights' spectra, by which levels are counted."""
    if sizes.problem.weight_sum is None:
        return 0
    taps = sizes.problem.kernel[0] * sizes.problem.kernel[1]
    return _planes_of_weights(sizes.problem) * (8 * taps + sizes.spectra(8))


def kernel_bytes(problem: Problem, rows: int, cols: int) -> int:
    """Return the bytes that `prepare_together` of `visibility` adds for each kernel."""
    taps = problem.kernel[0] * problem.kernel[1]
    return _planes(problem) * (8 * taps + TileSizes(problem, rows, cols).spectra(8))


def _planes(problem: Problem) -> int:
    """Return the number of planes, of weights and kernel, that levels are correlated with."""
    return 1 if problem.weight_sum is None else 1 + _planes_of_weights(problem)


def _planes_of_weights(problem: Problem) -> int:
    return problem.kernel[2] if problem.has_channel_weights else 1


def _transformed(problem: Problem, rows: int, cols: int) -> int:
    height, width = tiles.extent((rows, cols), problem.kernel[:2], problem.stride)
    return transform_length(height) * transform_length(width)
