"""Times `match` with each engine beside the plain unfold, the plain loop and OpenCV.

Run it as ``python benchmarks/engines.py``.

The answers are compared before anything is timed. Contestants run in turn, round by round, so that
a machine that changes its speed changes it for all; medians and ratios are printed. For bytes, a
rate is also given as a share of psadbw on registers alone, the instruction that sums absolute
differences, timed in the same rounds in one thread and multiplied by the threads; vdbpsadbw does
twice its work, so that the share may exceed 1.

OpenCV is timed where ``cv2`` is installed: ``TM_SQDIFF``, its nearest metric, whose answers are
others.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from patchsim import devices, engines, match, metrics
from patchsim.engines import Problem, simd
from patchsim.metrics import INTEGER_RANGE, Pixels

ROUNDS = 5
UNFOLD_FITS = 4 << 30  # bytes of patches
LOOP_IS_BEARABLE = 20_000  # windows
FAST_ALONE = 3e9  # differences: more, and only `simd` and OpenCV are run


@dataclass(frozen=True)
class Case:
    name: str
    image: tuple[int, int, int]
    kernel: tuple[int, int, int]
    stride: tuple[int, int]
    dtype: str


CASES = [
    Case("101x101 / 10x9, stride 2", (101, 101, 1), (10, 9, 1), (2, 2), "float32"),
    Case("512x512 RGB / 32x32", (512, 512, 3), (32, 32, 3), (1, 1), "uint8"),
    Case("512x512 RGB / 32x32", (512, 512, 3), (32, 32, 3), (1, 1), "float32"),
    Case("512x512 RGB / 32x32, stride 2", (512, 512, 3), (32, 32, 3), (2, 2), "uint8"),
    Case("512x512 RGB / 32x32", (512, 512, 3), (32, 32, 3), (1, 1), "uint16"),
    Case("600x1000 gray / 9x9", (600, 1000, 1), (9, 9, 1), (1, 1), "uint8"),
    Case("1080x1920 RGB / 64x64", (1080, 1920, 3), (64, 64, 3), (1, 1), "uint8"),
    Case("1080x1920 RGB / 64x64", (1080, 1920, 3), (64, 64, 3), (1, 1), "float32"),
    Case("2160x3840 RGB / 128x128", (2160, 3840, 3), (128, 128, 3), (1, 1), "uint8"),
]


def pixels(case: Case, seed: int, shape: tuple[int, int, int]) -> Pixels:
    random = np.random.default_rng(seed)
    if case.dtype in INTEGER_RANGE:
        return random.integers(0, INTEGER_RANGE[case.dtype] + 1, shape).astype(case.dtype)
    return random.random(shape).astype(case.dtype)


def problem(case: Case) -> Problem:
    span = INTEGER_RANGE.get(case.dtype, 1)
    threads = devices.cpu_count()
    return Problem(
        case.image, case.kernel, case.dtype, case.stride, metrics.DEFAULT, span, "cpu", threads
    )


def plain_unfold(image: Pixels, kernel: Pixels, work: Problem) -> NDArray[np.float32]:
    patches = torch.from_numpy(image).permute(2, 0, 1).float()
    taps = torch.from_numpy(kernel).permute(2, 0, 1).float()
    for dimension in (0, 1):
        size, step = work.kernel[dimension], work.stride[dimension]
        patches = patches.unfold(1 + dimension, size, step)
    difference = (patches - taps[:, None, None]).abs().sum((0, 3, 4))
    return np.asarray(1 - difference / (work.taps * work.span))


def plain_loop(image: Pixels, kernel: Pixels, work: Problem) -> NDArray[np.float32]:
    wide, taps = image.astype(np.float32), kernel.astype(np.float32)
    rows, cols = work.map_shape
    found = np.empty((rows, cols), np.float32)
    for row in range(rows):
        for col in range(cols):
            y, x = row * work.stride[0], col * work.stride[1]
            patch = wide[y : y + work.kernel[0], x : x + work.kernel[1]]
            found[row, col] = 1 - np.abs(patch - taps).mean() / work.span
    return found


def contestants(case: Case, work: Problem) -> dict[str, Callable[[], NDArray[np.float32]]]:
    image, kernel = pixels(case, 0, case.image), pixels(case, 1, case.kernel)
    found: dict[str, Callable[[], NDArray[np.float32]]] = {}
    for name in engines.NAMES:
        if engines.load(name).refuse(work) or (name != "simd" and work.differences > FAST_ALONE):
            continue
        found[name] = functools.partial(
            _map, image, kernel, stride=case.stride, engine=name, map=True
        )
    rows, cols = work.map_shape
    if rows * cols <= LOOP_IS_BEARABLE:
        prepared = simd.prepare(kernel, work)
        found["simd, prepared"] = lambda: prepared(image).map.astype(np.float32)
        found["plain loop"] = lambda: plain_loop(image, kernel, work)
    if work.differences * 4 <= UNFOLD_FITS:
        found["plain unfold"] = lambda: plain_unfold(image, kernel, work)
    return found


def opencv(case: Case) -> Callable[[], Any] | None:
    """Its template matching on the same pictures, where it is installed and can do it."""
    if importlib.util.find_spec("cv2") is None or case.stride != (1, 1) or case.dtype == "uint16":
        return None
    cv2 = importlib.import_module("cv2")
    image, kernel = pixels(case, 0, case.image), pixels(case, 1, case.kernel)
    return functools.partial(cv2.matchTemplate, image, kernel, cv2.TM_SQDIFF)


def _map(*pictures: Pixels, **options: Any) -> NDArray[np.float32]:
    found = match(*pictures, **options).map
    assert found is not None
    return found


def timed(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def psadbw_rate() -> float:
    """Differences a second of psadbw in one thread, the best of some tries; 0 without it."""
    from patchsim.engines import _sad  # type: ignore[attr-defined]

    peak = functools.partial(_sad.peak, simd.variant(), 100)
    return float(peak() / min(timed(peak) for _ in range(20)))


def main() -> None:
    print(f"{platform.platform()}, {devices.cpu_count()} CPUs, {platform.processor()}")
    print(f"Python {platform.python_version()}, NumPy {np.__version__}, torch {torch.__version__}")
    print(f"simd's variant: {simd.variant()}")
    for case in CASES:
        work = problem(case)
        rivals: dict[str, Callable[[], Any]] = {**contestants(case, work)}
        answers = {name: run() for name, run in rivals.items()}
        first = next(iter(answers))
        for name, answer in answers.items():
            np.testing.assert_allclose(answer, answers[first], rtol=0, atol=2e-6, err_msg=name)
        if other := opencv(case):
            rivals["OpenCV"] = other
        times: dict[str, list[float]] = {name: [] for name in rivals}
        peaks = []
        for _ in range(ROUNDS):
            for name, run in rivals.items():
                times[name].append(timed(run))
            peaks.append(psadbw_rate() * work.threads)
        base = statistics.median(times[first])
        peak = statistics.median(peaks) if case.dtype == "uint8" else 0.0
        print(f"\n{case.name}, {case.dtype}: {work.differences:.2e} differences")
        for name, measured in times.items():
            median = statistics.median(measured)
            rate = work.differences / median
            share = f"  {rate / peak:5.2f} of psadbw" if peak and name == first else ""
            print(
                f"  {name:14}{median * 1e3:10.2f} ms  {rate / 1e9:6.2f} G/s"
                f"  {median / base:7.2f} x{share}"
            )


if __name__ == "__main__":
    main()
