"""The race of contestants: they run in turn, and medians and ratios are printed."""

from __future__ import annotations

import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from patchsim.machine import devices

ROUNDS = 5
SLOW_SECONDS = 20.0  # a contestant that takes longer runs once
BURST_SECONDS = 0.05  # a contestant that takes less runs several times in a row

Contestants = Mapping[str, Callable[[], Any]]  # the last one is the reference


@dataclass
class Result:
    """The time of one contestant in one case.

    Attributes
    ----------
    table, case, name : str
    milliseconds : float
    ratio : float
        The time of the reference over this time; more is faster.
    agrees : bool
        Whether the answer is that of the exact search.
    """

    table: str
    case: str
    name: str
    milliseconds: float
    ratio: float
    agrees: bool


def race(
    table: str,
    case: object,
    contestants: Contestants,
    answer: Any = None,
    shares: Mapping[str, int] | None = None,
) -> list[Result]:
    """Time contestants in turn, and print and return the medians.

    Parameters
    ----------
    table : str
        The heading.
    case : object
        Its text is printed.
    contestants : mapping from names to functions
        The functions return their answers. The last one is the reference.
    answer : optional
        The right answer, by default that of the first contestant.
    shares : mapping from names to int, optional
        Contestants that do a part of the work, and the factor that makes it the whole work.
    """
    first, agrees = _first_round(contestants, answer)
    times = _rounds(contestants, first)
    medians = {
        name: statistics.median(times[name]) * (shares or {}).get(name, 1) for name in contestants
    }
    reference = medians[list(contestants)[-1]]
    results = [
        Result(table, str(case), name, median * 1e3, reference / median, agrees[name])
        for name, median in medians.items()
    ]
    _print(results)
    return results


def _first_round(contestants: Contestants, answer: Any) -> tuple[dict[str, float], dict[str, bool]]:
    """Run each contestant once: its seconds, and whether its answer is right."""
    seconds, agrees = {}, {}
    for name, run in contestants.items():
        start = time.perf_counter()
        given = run()
        seconds[name] = time.perf_counter() - start
        answer = given if answer is None else answer
        agrees[name] = bool(np.allclose(given, answer, rtol=0, atol=1e-5))
    return seconds, agrees


def _rounds(contestants: Contestants, first: Mapping[str, float]) -> dict[str, list[float]]:
    """Run contestants in turn, so that a change of the machine's speed changes all times."""
    times = {name: [first[name]] if first[name] > SLOW_SECONDS else [] for name in contestants}
    for _ in range(ROUNDS):
        for name, run in contestants.items():
            if first[name] <= SLOW_SECONDS:
                # A short search runs several times in a row, as it does where it is needed often.
                burst = [_seconds(run) for _ in range(max(1, int(BURST_SECONDS / first[name])))]
                times[name].append(statistics.median(burst))
    return times


def _seconds(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _print(results: list[Result]) -> None:
    print(f"\n{results[0].table}: {results[0].case}")
    for result in results:
        name = result.name if result.agrees else f"{result.name} *"
        print(f"  {name:38}{result.milliseconds:10.2f} ms{result.ratio:9.2f}x")
    sys.stdout.flush()


def versions() -> dict[str, str]:
    packages = ["numpy", "scipy", "torch", "opencv-python-headless", "scikit-image", "corrmatch"]
    installed = {name: metadata.version(name) for name in [*packages, "pyvips"]}
    return {"python": platform.python_version(), **installed}


def machine() -> str:
    model = platform.processor()
    if os.path.exists("/proc/cpuinfo"):  # noqa: PTH110 - no path of ours
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        model = next(line for line in text.splitlines() if "model name" in line).split(":")[1]
    return f"{model.strip()}, {devices.cpu_count()} CPUs, {platform.platform()}"
