"""Measures what `patchsim.engines.simd` plans with, and how well that predicts.

Run it as ``python benchmarks/simd_costs.py [VARIANT...]``; it takes some minutes.

Every type, alone and with a mask of shades, is timed in one thread over kernels of 1x1 to 256x256,
one and three channels, strides of 1 to 3; what lies in the C code's loops is counted by
`simd.work`. The costs printed are those that predict the times best, relative to them (non-negative
least squares); behind them stand the extremes and the quartiles of predicted by measured time.
"""

from __future__ import annotations

import itertools
import math
import os
import sys
import time
from collections.abc import Iterator

import numpy as np
from scipy.optimize import nnls

from patchsim.engines import Problem, simd
from patchsim.machine import extensions
from patchsim.metrics import INTEGER_RANGE

KERNELS = [
    (1, 1), (1, 64), (64, 1), (2, 2), (3, 3), (4, 4), (7, 7), (8, 8), (10, 9), (16, 16), (5, 40),
    (40, 5), (31, 31), (32, 32), (64, 64), (100, 20), (128, 128), (256, 256),
]  # fmt: skip
SHADE = 200
ROUNDS = 3
DIFFERENCES = 2e8  # about, in a case


def problems(kind: str) -> Iterator[Problem]:
    dtype, *shades = kind.split()
    span = INTEGER_RANGE.get(dtype, 1)
    for (height, width), channels, step in itertools.product(KERNELS, (1, 3), (1, 2, 3)):
        side = min(600, max(96, math.isqrt(int(DIFFERENCES / (height * width * channels)))))
        image = (side * step + height, side * step + width, channels)
        kernel = (height, width, channels)
        weight = height * width * SHADE if shades else None
        yield Problem(
            image, kernel, dtype, (step, step), "sad", span, "cpu", 1,
            weight_sum=weight, max_weight=SHADE if shades else 1,
        )  # fmt: skip


def measured(problem: Problem) -> float:
    random = np.random.default_rng(0)
    image, kernel = (
        (random.random(shape) * problem.data_range).astype(problem.dtype)
        for shape in (problem.image, problem.kernel)
    )
    shades = None if problem.weight_sum is None else np.full(kernel.shape[:2], SHADE, np.uint8)
    score = simd.prepare(kernel, problem, shades)
    times: list[float] = []
    while len(times) < 3 or sum(times) < 0.02:
        start = time.perf_counter()
        score(image)
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    for variant in sys.argv[1:] or simd.variants():
        os.environ[extensions.VARIANT_SETTING] = variant
        for kind in simd.COSTS[variant]:
            cases = list(problems(kind))
            rounds = np.array([[measured(case) for case in cases] for _ in range(ROUNDS)])
            times = rounds.min(axis=0)
            counts = np.array([simd.work(case) for case in cases], float)
            costs, _ = nnls(counts / times[:, None], np.ones(len(times)))
            ratios = np.quantile(counts @ costs / times, [0, 0.25, 0.5, 0.75, 1])
            print(
                f"{variant:9}{kind:15}({', '.join(f'{cost:.2g}' for cost in costs)})  predicted"
                f" / measured {' '.join(f'{ratio:.2f}' for ratio in ratios)}",
                flush=True,
            )


if __name__ == "__main__":
    main()
