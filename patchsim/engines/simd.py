"""Direct sums of absolute differences in C, with the processor's vector instructions."""

from __future__ import annotations

import os
from functools import cache
from types import ModuleType

import numpy as np

from patchsim import metrics, tiles
from patchsim.engines import Bounds, Problem, Score
from patchsim.errors import InputError
from patchsim.metrics import Pixels

OWN_THREADS = False

# Forces a variant: avx512, avx2, sse2 or portable.
VARIANT_SETTING = "PATCHSIM_SIMD"

_TYPES = {"uint8": "B", "uint16": "H", "float32": "f"}

# Absolute differences a second and thread of each variant, by type; Linux, 2 cores of an AMD EPYC
# (Zen 4), gcc 12: PATCHSIM_SIMD=... python benchmarks/engines.py
RATES = {
    "avx512": {"uint8": 60e9, "uint16": 12e9, "float32": 4e9},
    "avx2": {"uint8": 40e9, "uint16": 8e9, "float32": 4e9},
    "sse2": {"uint8": 20e9, "uint16": 2e9, "float32": 2e9},
    "portable": {"uint8": 2e9, "uint16": 2e9, "float32": 2e9},
}
# What a window costs beside its differences, and a kernel row of a window, whose last vector is
# not full.
WINDOW_SECONDS = 1e-8
ROW_SECONDS = 1e-9


def refuse(problem: Problem) -> str | None:
    if problem.metric != "sad":
        return f"it computes sad, not {problem.metric}"
    if problem.device != "cpu":
        return "it runs on the cpu"
    if problem.dtype not in _TYPES:
        return f"it takes {', '.join(_TYPES)}, not {problem.dtype}"
    if _extension() is None:
        return "its C extension was not built (install again where there is a C compiler)"
    return None


def start_up(problem: Problem) -> float:  # noqa: ARG001 - the same for all
    return 0.0


def seconds(problem: Problem) -> float:
    rows, cols = problem.map_shape
    rate = RATES[variant()][problem.dtype]
    each = WINDOW_SECONDS + problem.kernel[0] * ROW_SECONDS
    return (problem.differences / rate + rows * cols * each) / problem.threads


def working_bytes(problem: Problem, rows: int, cols: int) -> int:
    extension = _extension()
    assert extension is not None, "refuse says so"
    tile = tiles.extent((rows, cols), problem.kernel[:2], problem.stride)
    form = _TYPES[problem.dtype]
    scratch: int = extension.scratch(
        form, (*tile, problem.kernel[2]), problem.kernel, problem.stride
    )
    # The planes that the extension makes, the kernel; sums and scores.
    return scratch + problem.taps * np.dtype(problem.dtype).itemsize + rows * cols * 24


def prepare(kernel: Pixels, problem: Problem) -> Score:
    extension = _extension()
    assert extension is not None, "refuse says so"
    taps = np.ascontiguousarray(kernel)
    chosen = variant()
    stride_y, stride_x = problem.stride
    # u is half a unit in the last place; n roundings one after another are off by at most
    # n u / (1 - n u), relative to a sum of what is not negative (Higham, Accuracy and Stability of
    # Numerical Algorithms, 2nd ed., section 4.2). One more than there are, for the denominator and
    # because the sum found stands for the true one; the float64 part as in the engine `unfold`. A
    # sum of 0 is exact.
    rounding = 2.0 * (problem.taps + 3) * 2.0**-53
    if extension.roundings(chosen):
        rounding += (extension.roundings(chosen) + 1) * 2.0**-24

    def score(pixels: Pixels) -> Bounds:
        sums = np.empty(tiles.map_shape(pixels.shape[:2], taps.shape[:2], problem.stride))
        extension.sums(pixels, taps, None, sums, stride_y, stride_x, chosen)
        scores = metrics.similarity(sums, problem.taps, problem.span)
        if problem.dtype != "float32":
            return Bounds(scores)
        # And 2 u of float64 for the subtraction from 1.
        return Bounds(scores, np.where(sums == 0, 0.0, (1 - scores) * rounding + 2.0**-52))

    return score


@cache
def _extension() -> ModuleType | None:
    try:
        from patchsim.engines import _sad  # type: ignore[attr-defined]
    except ImportError:
        return None
    return _sad  # type: ignore[no-any-return]


def variant() -> str:
    """The best variant that runs here, or the one that is forced.

    Raises
    ------
    InputError
        If the one that is forced does not run here.
    """
    extension = _extension()
    here: list[str] = extension.variants() if extension else ["portable"]
    forced = os.environ.get(VARIANT_SETTING)
    if forced is None:
        return here[0]
    if forced not in here:
        raise InputError(f"{VARIANT_SETTING}={forced} is not here; there are {', '.join(here)}")
    return forced
