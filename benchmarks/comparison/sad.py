"""The time of the mean absolute difference; no rival has it, so they compute the squared one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from comparison.cases import FULL_HD, SMALL, UHD, Case
from comparison.contestants import opencv, patchsim
from comparison.timing import Result, race

CASES = [
    Case(*SMALL, 32),
    Case(*SMALL, 32, channels=1),
    Case(*FULL_HD, 64),
    Case(*FULL_HD, 64, channels=1),
    Case(*FULL_HD, 64, stride=2),
    Case(*FULL_HD, 64, subject="unrelated"),
    Case(*FULL_HD, 64, subject="noise"),
    Case(*UHD, 128),
    Case(*UHD, 128, subject="unrelated"),
    Case(*UHD, 128, subject="noise"),
    Case(*UHD, 256),
    Case(*UHD, 512),
]


def run(case: Case) -> list[Result]:
    image, kernel = case.pictures()
    stride = case.stride
    contestants: dict[str, Callable[[], Any]] = {
        "patchsim sad, exact map": lambda: patchsim(image, kernel, map=True, stride=stride),
        "patchsim sad, map within 0.02": lambda: patchsim(
            image, kernel, map=True, tolerance=0.02, stride=stride
        ),
        "patchsim sad, best match only": lambda: patchsim(image, kernel, stride=stride),
    }
    answer = contestants["patchsim sad, exact map"]()
    if stride == 1:
        contestants["OpenCV TM_SQDIFF"] = lambda: opencv(image, kernel, "TM_SQDIFF")
    return race("sad", case, contestants, answer)
