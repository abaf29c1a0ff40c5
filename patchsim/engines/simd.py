"""Direct sums in C, with the processor's vector instructions.

Sums of absolute differences are here. Sums of products, of which the other metrics are made, are in
`common.fused`.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np
from numpy.typing import NDArray

from patchsim import metrics
from patchsim.engines.common import fused, fused_costs, sharing, visibility
from patchsim.engines.common.fused_costs import FORMATS
from patchsim.engines.contract import Bounds, Scorer, Seen
from patchsim.engines.problem import Problem
from patchsim.geometry import tiles
from patchsim.machine import extensions
from patchsim.metrics import INTEGER_RANGE, Kernel
from patchsim.types import Pixels, Weights

OWN_THREADS = False
HAS_MAP = True
IS_EXACT = True
SHARES = False


# Seconds in one thread for what `work` counts, by variant and `kind`; Linux, 2 cores of an AMD EPYC
# (Zen 4), gcc 12 -O3: python benchmarks/simd_costs.py
# Bytes with shades in AVX-512 are those of a processor with VNNI. Those of float64 are those of
# float32 times what both took in turn on a busy machine.
COSTS = {
    "avx512": {
        "uint8": (4.5e-12, 1.4e-11, 1.2e-09, 4e-10),
        "uint16": (3.8e-11, 9.8e-12, 1.3e-09, 5e-10),
        "float32": (4e-11, 2e-11, 2.3e-09, 9.3e-10),
        "float64": (8.1e-11, 2e-11, 2.3e-09, 9.3e-10),
        "uint8 shades": (1.5e-11, 3.4e-12, 1.6e-09, 5.4e-10),
        "uint16 shades": (1.1e-10, 5.4e-11, 2.8e-09, 1e-09),
        "float32 shades": (4.9e-11, 1.5e-11, 2.5e-09, 7.3e-10),
        "float64 shades": (1.2e-10, 1.5e-11, 2.5e-09, 7.3e-10),
    },
    "avx2": {
        "uint8": (9e-12, 1.3e-11, 1.2e-09, 4.2e-10),
        "uint16": (4.7e-11, 4e-11, 1.6e-09, 6.4e-10),
        "float32": (5.3e-11, 5.2e-11, 2.7e-09, 1.1e-09),
        "float64": (9.8e-11, 5.2e-11, 2.7e-09, 1.1e-09),
        "uint8 shades": (3.4e-11, 0, 1.1e-09, 5.9e-10),
        "uint16 shades": (2.2e-10, 8.4e-11, 2.5e-09, 1.3e-09),
        "float32 shades": (8.9e-11, 4.3e-11, 2.3e-09, 1e-09),
        "float64 shades": (2.1e-10, 4.3e-11, 2.3e-09, 1e-09),
    },
    "sse2": {
        "uint8": (1.2e-11, 2.9e-10, 2.4e-09, 1.8e-09),
        "uint16": (1.1e-10, 7.3e-11, 2.5e-09, 9.5e-10),
        "float32": (1.2e-10, 7.1e-11, 3.2e-09, 1.3e-09),
        "float64": (1.6e-10, 7.1e-11, 2.2e-09, 1.3e-09),
        "uint8 shades": (9.5e-11, 2.9e-11, 1.8e-09, 8.3e-10),
        "uint16 shades": (3.9e-10, 2.9e-10, 3.7e-09, 1.9e-09),
        "float32 shades": (1.7e-10, 4.1e-11, 3.7e-09, 1.1e-09),
        "float64 shades": (3.3e-10, 4.1e-11, 2.2e-09, 1.1e-09),
    },
    "portable": {
        "uint8": (9.1e-11, 3.1e-10, 1.2e-11, 4.7e-10),
        "uint16": (2.3e-10, 9e-12, 8.9e-10, 4.1e-10),
        "float32": (4.1e-10, 5.7e-11, 4.4e-10, 1.4e-09),
        "float64": (2.4e-10, 5.7e-11, 4.4e-10, 1.4e-09),
        "uint8 shades": (1.1e-10, 2.6e-10, 5.1e-10, 3.3e-10),
        "uint16 shades": (5.1e-10, 1.6e-11, 1.9e-09, 4.2e-10),
        "float32 shades": (2.8e-10, 3.7e-11, 2.2e-09, 5.9e-10),
        "float64 shades": (2.6e-10, 3.7e-11, 2.2e-09, 5.9e-10),
    },
}
# Not measured, because no such machine was at hand; its vectors are as wide as those of SSE2.
COSTS["neon"] = COSTS["sse2"]
# Taps of bytes that are summed at once; a row's last ones count whole.
_GROUPS = {
    "uint8": {"avx512": 4, "avx2": 4, "sse2": 8, "neon": 4},
    "uint8 shades": {"avx512": 4, "avx2": 2, "sse2": 2},
}


# And for each window's score of `sad`, in NumPy, from its sum until it is stored; of floats it has
# an error, too.
_SCORE_SECONDS, _ERROR_SECONDS = 1.5e-9, 3.2e-9


def refuse(problem: Problem) -> str | None:
    if problem.metric != "sad":
        return fused.refusal(problem, is_direct=True)
    if problem.exact and problem.dtype not in INTEGER_RANGE:
        return f"its sums over {problem.dtype} are rounded"
    if problem.device != "cpu":
        return "it runs on the cpu"
    if problem.dtype not in FORMATS:
        return f"it takes {', '.join(FORMATS)}, not {problem.dtype}"
    if _extension() is None:
        return extensions.refusal("_sad")
    return None


def start_up(problem: Problem) -> float:  # noqa: ARG001 - equal for all problems
    return fused_costs.CALL_SECONDS


def seconds(problem: Problem) -> float:
    if problem.metric != "sad":
        return fused.seconds(problem, is_direct=True)
    costs = COSTS[variant()][kind(problem)]
    alone = sum(count * cost for count, cost in zip(work(problem), costs, strict=True))
    alone *= visibility.rounds(problem)
    of_score = _SCORE_SECONDS + (0 if problem.dtype in INTEGER_RANGE else _ERROR_SECONDS)
    alone += math.prod(problem.map_shape) * of_score
    return alone / problem.threads + visibility.seconds(problem)


def kind(problem: Problem) -> str:
    """Return the key of the sums' costs: the type, and whether weights multiply."""
    return problem.dtype + (" shades" if problem.max_weight > 1 else "")


def work(problem: Problem) -> tuple[int, int, int, int]:
    """Count the work: taps of all windows, kernel rows of all planes, windows, pixels."""
    rows, cols = problem.map_shape
    height, width, channels = problem.kernel
    step_y, step_x = problem.stride
    group = _GROUPS.get(kind(problem), {}).get(variant(), 1)
    phases = min(step_x, width)
    # Taps of a kernel row in the plane of each phase.
    widths = [-(-(width - phase) // step_x) for phase in range(phases)]
    taps = sum(-(-taps // group) * group for taps in widths)
    kernel_rows = rows * cols * channels * height
    pixels = rows * step_y * (cols + widths[0]) * channels * phases
    # A mask of bytes is two sums.
    sums = 2 if kind(problem) == "uint8" and problem.weight_sum is not None else 1
    return sums * kernel_rows * taps, sums * kernel_rows * phases, sums * rows * cols, pixels


def can_bound_blocks(problem: Problem) -> bool:
    return problem.metric != "sad"


def best_tile(problem: Problem) -> tuple[int, int] | None:
    if problem.metric != "sad":
        return fused.best_tile(problem, is_direct=True)
    return visibility.best_tile(problem)


def working_bytes(problem: Problem, rows: int, cols: int) -> int:
    if problem.metric != "sad":
        return fused.working_bytes(problem, rows, cols, is_direct=True)
    extension = _extension()
    assert extension is not None, "refuse says so"
    tile = tiles.extent((rows, cols), problem.kernel[:2], problem.stride)
    form = FORMATS[problem.dtype]
    shaded = problem.max_weight if problem.max_weight > 1 else 0
    scratch: int = extension.scratch(
        format=form,
        image_shape=(*tile, problem.kernel[2]),
        kernel_shape=problem.kernel,
        stride=problem.stride,
        max_weight=shaded,
    )
    # The extension's planes, which it keeps for the next tile. The sums and what the scores are
    # made from, of integers in their place unless pixels are hidden; of floats with errors and the
    # cells where these are 0.
    cells, is_in_place = rows * cols, problem.opaque_level is None
    scoring = cells * ((8 if is_in_place else 24) if problem.dtype in INTEGER_RANGE else 33)
    peak = scratch + scoring - Bounds.estimate_bytes(rows, cols)
    return peak + _taps_bytes(problem) + visibility.working_bytes(problem, rows, cols, peak)


def kernel_bytes(problem: Problem, rows: int, cols: int) -> int:
    if problem.metric != "sad":
        return fused.kernel_bytes(problem, is_direct=True)
    return _taps_bytes(problem) + visibility.kernel_bytes(problem, rows, cols)


def _taps_bytes(problem: Problem) -> int:
    return problem.taps * np.dtype(problem.dtype).itemsize


def prepare(kernel: Pixels, problem: Problem, weights: Weights | None = None) -> Scorer:
    if problem.metric != "sad":
        return sharing.of_one(fused.prepare(Kernel(kernel), problem, is_direct=True), problem)
    extension = _extension()
    assert extension is not None, "refuse says so"
    taps = np.ascontiguousarray(kernel)
    if weights is not None:
        weights = np.broadcast_to(np.atleast_3d(weights), taps.shape)  # of every value
    chosen = variant()
    stride_y, stride_x = problem.stride
    # u is half a unit in the last place; n roundings one after another are off by at most
    # n u / (1 - n u), relative to a sum of what is not negative (Higham, Accuracy and Stability of
    # Numerical Algorithms, 2nd ed., section 4.2). One more than there are, for the denominator and
    # because the sum found stands for the true one; the float64 part as in the engine `unfold`. A
    # product with a shade is one rounding more. A sum of 0 is exact.
    more = 1 if problem.max_weight > 1 else 0
    rounding = 2.0 * (problem.taps + 3 + more) * 2.0**-53
    if problem.dtype == "float32" and extension.roundings(chosen):
        rounding += (extension.roundings(chosen) + 1 + more) * 2.0**-24

    def differences(pixels: Pixels) -> NDArray[np.float64]:
        sums = np.empty(tiles.map_shape(pixels.shape[:2], taps.shape[:2], problem.stride))
        extension.sums(
            image=pixels,
            kernel=taps,
            weights=weights,
            out=sums,
            stride_y=stride_y,
            stride_x=stride_x,
            variant=chosen,
        )
        return sums

    if problem.opaque_level is not None:
        off = 0.0 if problem.dtype in INTEGER_RANGE else rounding
        from patchsim.engines.common import hidden_pixels

        return hidden_pixels.differences(differences, off, kernel, problem, weights)

    def score(pixels: Pixels, _seen: Seen | None = None) -> Bounds:
        sums = differences(pixels)
        total, span = problem.total_weight, problem.data_range
        if problem.dtype in INTEGER_RANGE:
            return Bounds(metrics.similarity(sums, total, span, out=sums))
        scores = metrics.similarity(sums, total, span)
        # The subtraction from 1 adds 2 u of float64.
        return Bounds(scores, np.where(sums == 0, 0.0, (1 - scores) * rounding + 2.0**-52))

    return score


_extension = partial(extensions.extension, "_sad")


def variants() -> list[str]:
    """Return the variants that run here, best first."""
    extension = _extension()
    return extension.variants() if extension else []


variant = partial(extensions.variant, "_sad")
