"""The speed of the exact map beside that of the instruction psadbw on registers alone."""

from __future__ import annotations

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from comparison.cases import FULL_HD, SMALL, Case
from comparison.contestants import patchsim
from comparison.timing import Result, race
from patchsim import match
from patchsim.engines import simd
from patchsim.execution import runner
from patchsim.machine import devices, extensions
from patchsim.metrics import Kernel

_THREADS = devices.cpu_count()

CASES = [Case(*SMALL, 32), Case(*FULL_HD, 64)]


def run(case: Case) -> list[Result]:
    extension = extensions.extension("_sad")
    assert extension is not None, "the engine simd was not built"
    image, kernel = case.pictures()
    rows, cols = case.height - case.kernel + 1, case.width - case.kernel + 1
    map_differences = rows * cols * kernel.size
    register_differences = 0.0

    def registers() -> bool:
        nonlocal register_differences
        with ThreadPoolExecutor(_THREADS) as pool:
            peak = functools.partial(extension.peak, simd.variant())
            register_differences = sum(pool.map(peak, [4000] * _THREADS))
        return bool(register_differences > 0)

    plan = match(image, kernel, map=True, top=1).plans[0]
    score = runner.prepare(plan, Kernel(kernel))
    contestants: dict[str, Callable[[], Any]] = {
        "patchsim sad, exact map": lambda: bool(patchsim(image, kernel, map=True)),
        "its prepared engine": lambda: all(runner.run(plan, image, score)),
        "psadbw on registers": registers,
    }
    results = race("share of psadbw", case, contestants)
    *rates, peak_rate = (
        count / result.milliseconds / 1e6
        for count, result in zip(
            (map_differences, map_differences, register_differences), results, strict=True
        )
    )
    for rate, result in zip(rates, results, strict=False):
        print(
            f"  {result.name}: {rate:.0f} of {peak_rate:.0f} G differences/s,"
            f" a share of {rate / peak_rate:.2f}"
        )
    return results
