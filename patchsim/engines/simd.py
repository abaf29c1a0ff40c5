"""Direct sums of absolute differences in C, with the processor's vector instructions."""

from __future__ import annotations

import os
from functools import cache
from types import ModuleType

import numpy as np

from patchsim import metrics, tiles
from patchsim.engines import Bounds, Problem, Score
from patchsim.errors import InputError
from patchsim.metrics import INTEGER_RANGE, Pixels

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
    if problem.exact and problem.dtype not in INTEGER_RANGE:
        return f"its sums over {problem.dtype} are rounded"
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


def best_tile(problem: Problem) -> None:  # noqa: ARG001 - the same for all
    return None


def working_bytes(problem: Problem, rows: int, cols: int) -> int:
    height, width = tiles.extent((rows, cols), problem.kernel[:2], problem.stride)
    item = np.dtype(problem.dtype).itemsize
    pixels = height * width * problem.kernel[2] * item
    kernel = problem.kernel[0] * (problem.kernel[1] * problem.kernel[2] * item + 64)
    # The tile copied with room behind it; the kernel with padded rows; sums and scores.
    return pixels + kernel + rows * cols * 24 + 64


def prepare(kernel: Pixels, problem: Problem) -> Score:
    extension = _extension()
    assert extension is not None, "refuse says so"
    height, width, channels = problem.kernel
    item = kernel.dtype.itemsize
    run = width * channels * item
    multiple = extension.ROW_MULTIPLE
    padded = np.zeros((height, -(-run // multiple) * multiple), np.uint8)
    padded[:, :run] = np.ascontiguousarray(kernel).reshape(height, -1).view(np.uint8)
    taps = padded.tobytes()
    integers = kernel.dtype.kind == "u"
    # In float64, whose rounding is bounded as in the engine `unfold`.
    rounding = 2.0 * (problem.taps + 3) * 2.0**-53
    chosen = variant()
    stride_y, stride_x = problem.stride

    def score(pixels: Pixels) -> Bounds:
        rows, cols = tiles.map_shape(pixels.shape[:2], (height, width), problem.stride)
        # Vectors are loaded past the last pixel.
        room = np.empty(pixels.size * item + extension.PADDING, np.uint8)
        room[: -extension.PADDING].view(pixels.dtype).reshape(pixels.shape)[...] = pixels
        sums = np.full((rows, cols), -1, np.int64 if integers else np.float64)
        extension.sums(
            room,
            taps,
            sums,
            _TYPES[problem.dtype],
            pixels.shape[1] * channels * item,
            padded.shape[1],
            run,
            height,
            stride_y,
            stride_x * channels * item,
            rows,
            cols,
            chosen,
        )
        found = sums.astype(np.float64)
        scores = metrics.similarity(found, problem.taps, problem.span)
        if integers:
            return Bounds(scores)
        return Bounds(scores, np.where(found == 0, 0.0, (1 - scores) * rounding + 2.0**-52))

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
