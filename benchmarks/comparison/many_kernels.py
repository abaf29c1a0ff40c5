"""The time of many kernels in one run, beside one run for each kernel."""

from __future__ import annotations

import functools
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from comparison.cases import FULL_HD, Case, noisy
from comparison.contestants import Place, opencv, patchsim
from comparison.timing import Result, race
from patchsim import match
from patchsim.types import Pixels

_MANY = 100  # kernels
_SOME = 5  # kernels that stand for all where each has a process of its own

CASES = [Case(*FULL_HD, 32)]


def run(case: Case) -> list[Result]:
    image, _ = case.pictures()
    random = np.random.default_rng(case.kernel)
    tops = random.integers(0, image.shape[0] - case.kernel, _MANY)
    lefts = random.integers(0, image.shape[1] - case.kernel, _MANY)
    kernels = [
        noisy(image[top : top + case.kernel, left : left + case.kernel], random)
        for top, left in zip(tops, lefts, strict=True)
    ]
    results = []
    searches: list[tuple[str, str, dict[str, Any]]] = [
        ("sad, best matches only", "TM_SQDIFF", {}),
        ("sad, maps", "TM_SQDIFF", {"map": True}),
        ("ssd, maps", "TM_SQDIFF", {"map": True, "metric": "ssd"}),
        ("zncc, best matches only", "TM_CCOEFF_NORMED", {"metric": "zncc"}),
        ("zncc within 0.02, maps", "TM_CCOEFF_NORMED",
         {"map": True, "metric": "zncc", "tolerance": 0.02}),
    ]  # fmt: skip

    def together(**options: Any) -> list[Place]:
        report = match(image, kernels, top=1, per_kernel=True, margin=False, **options)
        return [(best.x, best.y) for best in report]

    def singly(**options: Any) -> list[Place]:
        return [patchsim(image, kernel, **options) for kernel in kernels]

    def others(mode: str) -> list[Place]:
        return [opencv(image, kernel, mode) for kernel in kernels]

    for name, mode, options in searches:
        contestants: dict[str, Callable[[], Any]] = {
            f"patchsim {name}, one run": functools.partial(together, **options),
            f"patchsim {name}, {_MANY} runs": functools.partial(singly, **options),
            f"OpenCV {mode} in a loop": functools.partial(others, mode),
        }
        results += race(f"{_MANY} kernels", case, contestants)
    return results + _processes(case, image, kernels)


_OPENCV_SCRIPT = """
import sys, cv2
image = cv2.imread(sys.argv[1])
for name in sys.argv[2:]:
    _, _, place, _ = cv2.minMaxLoc(cv2.matchTemplate(image, cv2.imread(name), cv2.TM_SQDIFF))
    print(*place)
"""


def _processes(case: Case, image: Pixels, kernels: list[Pixels]) -> list[Result]:
    """Time whole processes; a few runs with one kernel stand for all of them."""
    words = [str(Path(sys.executable).with_name("patchsim")), "match", "big.png"]
    options = ["--top", "1", "--per-kernel", "--no-heatmap", "-q"]
    names = [f"{number:03}.png" for number in range(len(kernels))]
    with tempfile.TemporaryDirectory() as folder:
        for name, pixels in zip(["big.png", *names], [image, *kernels], strict=True):
            Image.fromarray(pixels).save(Path(folder, name))

        def places(words: list[str]) -> list[Place]:
            done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=True)
            lines = (line.split() for line in done.stdout.splitlines())
            return [(int(x), int(y)) for x, y, *_ in lines if x != "x"]

        singly = f"patchsim match, {len(kernels)} runs ({_SOME}, times {len(kernels) // _SOME})"
        contestants: dict[str, Callable[[], Any]] = {
            "patchsim match, one run": lambda: places([*words, *names, *options])[:_SOME],
            singly: lambda: [places([*words, name, *options])[0] for name in names[:_SOME]],
            "a script with OpenCV, one run": lambda: places(
                [sys.executable, "-c", _OPENCV_SCRIPT, "big.png", *names]
            )[:_SOME],
        }
        shares = {singly: len(kernels) // _SOME}
        return race(f"{_MANY} kernels, whole process", case, contestants, shares=shares)
