"""The time of a map of a small float32 picture with stride 2, beside plain NumPy and torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from comparison.cases import Case
from comparison.contestants import loop, unfold
from comparison.timing import Result, race
from patchsim import match
from patchsim.engines import Problem, simd
from patchsim.machine import devices

CASES = [Case(101, 101, 10, channels=1, stride=2, dtype="float32")]


def run(_case: Case) -> list[Result]:
    random = np.random.default_rng(0)
    image = random.random((101, 101, 1), dtype=np.float32)
    kernel = random.random((10, 9, 1), dtype=np.float32)
    work = Problem(
        image.shape, kernel.shape, "float32", (2, 2), "sad", 1.0, "cpu", devices.cpu_count()
    )
    score = simd.prepare(kernel, work)
    contestants: dict[str, Callable[[], Any]] = {
        "patchsim, the prepared engine": lambda: score(image).map,
        "patchsim.match": lambda: match(image, kernel, stride=2, map=True).map,
        "plain loop": lambda: loop(image, kernel, 2),
        "plain unfold": lambda: unfold(image, kernel, 2),
    }
    return race("small float32", "101x101/10x9 grey float32, stride 2", contestants)
