"""Times every engine on the same searches, beside what the plan expects of it.

Run it as ``python benchmarks/engines.py``; with ``--record FILE`` the times are also written as
JSON, which ``tests/planning/test_planner.py`` reads to see that the plan chooses well. Maps are
compared before they are timed; engines run in turn, round by round. Medians of CPU times of one
thread are printed.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import scipy.fft  # noqa: F401 - imported, so that no search pays for it
import skimage.data
import torch  # noqa: F401 - the same

from patchsim import choices, engines, match
from patchsim.engines import Problem, simd
from patchsim.engines.common import sad_terms
from patchsim.metrics import INTEGER_RANGE, Kernel
from patchsim.types import Pixels

ROUNDS = 5
BEARABLE_SECONDS = 3.0  # expected; what takes longer is not run, and cannot be the best


def case(
    side: tuple[int, int], kernel: int, channels: int = 3, stride: int = 1, **options: Any
) -> Problem:
    dtype = options.pop("dtype", "uint8")
    return Problem(
        image=(*side, channels),
        kernel=(kernel, kernel, channels),
        dtype=dtype,
        stride=(stride, stride),
        metric=options.pop("metric", "sad"),
        data_range=INTEGER_RANGE.get(dtype, 1),
        device="cpu",
        threads=1,
        **options,
    )


SMALL, FULL_HD, UHD = (512, 512), (1080, 1920), (2160, 3840)
CASES = [
    case((101, 101), 9, 1, 2, dtype="float32"),
    case(SMALL, 32),
    case(SMALL, 32, tolerance=0.02),
    case(SMALL, 32, dtype="float32"),
    case(SMALL, 32, dtype="uint16"),
    case(SMALL, 32, stride=2),
    case((600, 1000), 9, 1),
    case(FULL_HD, 8, tolerance=0.02),
    case(FULL_HD, 64),
    case(FULL_HD, 64, tolerance=0.02),
    case(FULL_HD, 64, 1, tolerance=0.02),
    case(FULL_HD, 64, stride=2, tolerance=0.02),
    case(FULL_HD, 128, tolerance=0.02),
    case(FULL_HD, 64, metric="ssd"),
    case(FULL_HD, 64, metric="zncc"),
    case(UHD, 128, tolerance=0.02),
    case(UHD, 256, tolerance=0.02),
    case(UHD, 512, tolerance=0.02),
    case((200, 300), 16, map_wanted=False),
    case(SMALL, 32, map_wanted=False),
    case(FULL_HD, 64, map_wanted=False),
    case(FULL_HD, 64, metric="ssd", map_wanted=False),
    case(FULL_HD, 64, 1, map_wanted=False),
    case(UHD, 128, map_wanted=False),
]


def pictures(problem: Problem) -> tuple[Pixels, Pixels]:
    """Photographs side by side with noise, and a patch of them."""
    height, width, channels = problem.image
    random = np.random.default_rng(0)
    photo = skimage.data.astronaut()
    tiled = np.tile(photo, (-(-height // 512), -(-width // 512), 1))[:height, :width, :channels]
    image = np.clip(tiled + random.normal(0, 2, tiled.shape), 0, 255)
    if problem.dtype == "uint16":
        image = image * 257
    image = (image / 255 if problem.dtype == "float32" else image).astype(problem.dtype)
    top, left = height // 4 // 2 * 2, width // 5 // 2 * 2
    return image, image[top : top + problem.kernel[0], left : left + problem.kernel[1]].copy()


def counted(problem: Problem) -> Problem:
    """The problem with the products that its kernel needs, as a search counts them."""
    return sad_terms.counted(problem, Kernel(pictures(problem)[1]), "exact", "worthwhile")


def measured(problem: Problem) -> dict[str, float]:
    """Median seconds of each engine."""
    image, kernel = pictures(problem)
    names = [
        name
        for name in choices.ENGINES
        if engines.load(name).refuse(problem) is None
        and engines.load(name).seconds(problem) < BEARABLE_SECONDS
    ]
    times: dict[str, list[float]] = {name: [] for name in names}
    answer = None
    for number in range(ROUNDS + 1):
        for name in names:
            start = time.thread_time()
            report = match(
                image, kernel, top=1, margin=False, stride=problem.stride, metric=problem.metric,
                tolerance=problem.tolerance, engine=name, map=problem.map_wanted, threads=1,
            )  # fmt: skip
            seconds = time.thread_time() - start
            if number == 0:  # to warm up and to compare
                answer = answer or report
                assert report.best == answer.best, name
                if report.map is not None and answer.map is not None:
                    off = float(np.abs(report.map - answer.map).max())
                    assert off <= problem.tolerance + 1e-5, (name, off)
            else:
                times[name].append(seconds)
    return {name: statistics.median(values) for name, values in times.items()}


def title(problem: Problem) -> str:
    rows, cols, channels = problem.image
    step = f", stride {problem.stride[0]}" if problem.stride != (1, 1) else ""
    within = f" within {problem.tolerance:g}" if problem.tolerance else ""
    shape = f"{rows}x{cols}x{channels}/{problem.kernel[0]}{step}"
    best = "" if problem.map_wanted else ", best only"
    return f"{problem.metric}{within}, {shape}, {problem.dtype}{best}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Times every engine on the same searches.")
    parser.add_argument("--record", type=Path, metavar="FILE", help="write the times as JSON")
    arguments = parser.parse_args()
    print(f"{platform.platform()}; simd's variant: {simd.variant()}")
    records = []
    for problem in map(counted, CASES):
        times = measured(problem)
        print(f"\n{title(problem)}: {problem.differences:.2e} differences")
        for name, seconds in times.items():
            expected = engines.load(name).seconds(problem)
            print(
                f"  {name:10}{seconds * 1e3:10.2f} ms, expected {expected * 1e3:10.2f} ms"
                f" ({expected / seconds:.2f}x), {problem.differences / seconds / 1e9:7.2f} G/s"
            )
        plain = {key: value for key, value in problem._asdict().items() if key != "exact"}
        records.append({"problem": plain, "seconds": times})
    if arguments.record:
        record = {"variant": simd.variant(), "machine": platform.platform(), "cases": records}
        arguments.record.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
