"""The time of the best match alone in pictures of 16 bits and floats, in the picture or not."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from comparison.cases import FULL_HD, Case
from comparison.contestants import opencv, patchsim
from comparison.timing import Result, race
from patchsim.types import Pixels

CASES = [
    Case(*FULL_HD, 64, channels=channels, dtype=dtype, subject=subject)
    for subject, dtype, channels in itertools.product(
        ("photograph", "unrelated"), ("uint16", "float32"), (3, 1)
    )
]


def run(case: Case) -> list[Result]:
    image, kernel = (_with_fractions(picture, case.dtype) for picture in case.pictures())
    floats = image.astype(np.float32), kernel.astype(np.float32)
    results = []
    for metric, other in (("sad", "simd"), ("ssd", "fft")):
        search = functools.partial(patchsim, image, kernel, metric=metric)
        contestants: dict[str, Callable[[], Any]] = {
            f"patchsim {metric}": search,
            f"patchsim {metric}, {other}": functools.partial(search, engine=other),
            "OpenCV TM_SQDIFF of floats": functools.partial(opencv, *floats, "TM_SQDIFF"),
        }
        results += race(f"best match, {metric}", case, contestants)
    return results


def _with_fractions(picture: Pixels, dtype: str) -> Pixels:
    """Make 8-bit values, or these as floats up to 1, to values between them."""
    random = np.random.default_rng(picture.shape[0])
    levels = picture.astype(np.float64) * (1 if dtype == "uint16" else 255)
    levels = np.clip(levels + random.uniform(-0.5, 0.5, picture.shape), 0, 255)
    if dtype == "uint16":
        return np.rint(levels * 257).astype(np.uint16)
    return (levels / 255).astype(np.float32)
