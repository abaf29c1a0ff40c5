"""The time of `sad` for float32 pictures, beside a loop over the kernel's values in torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from comparison.cases import FULL_HD, Case
from comparison.contestants import patchsim, torch_taps
from comparison.timing import Result, race

CASES = [Case(*FULL_HD, 64, dtype="float32")]


def run(case: Case) -> list[Result]:
    image, kernel = case.pictures()
    contestants: dict[str, Callable[[], Any]] = {
        "patchsim sad": lambda: patchsim(image, kernel, map=True),
        "torch, tap by tap": lambda: torch_taps(image, kernel),
    }
    return race("float32", case, contestants)
