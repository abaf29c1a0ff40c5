"""Memory that calls in C keep for the next call: no two of them have it at once."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from helpers import ENVIRONMENT, peak_memory
from helpers.photographs import photograph

import patchsim

ROUNDS = 12


def test_searches_that_run_at_once_have_their_own_memory():
    picture = photograph("astronaut")[:300, :400]
    searches = []
    for number, (side, metric, engine) in enumerate(
        [
            (9, "sad", "simd"),
            (9, "zncc", "simd"),
            (24, "sad", "simd"),
            (24, "ssd", "fft"),
            (40, "zncc", "fft"),
            (64, "ncc", "fft"),
        ]
    ):
        image = picture[: 300 - 30 * number]  # takes another size of memory
        kernel = image[20 : 20 + side, 30 : 30 + side].copy()
        matcher = patchsim.Matcher(kernel, metric=metric, engine=engine, threads=1)
        searches.append((matcher, image, matcher.match(image, map=True).map.copy()))

    def repeat(search):
        matcher, image, expected = search
        return all(
            np.array_equal(matcher.match(image, map=True).map, expected) for _ in range(ROUNDS)
        )

    with ThreadPoolExecutor(2 * len(searches)) as pool:
        assert all(pool.map(repeat, searches * 2))


@pytest.mark.skipif(not peak_memory.is_measurable(), reason="the memory is not told here")
def test_a_call_that_needs_more_than_is_kept_has_the_memory_alone():
    """What smaller calls left is given back before it."""
    alone, behind_others = (
        int(subprocess.run(
            [sys.executable, "-c", SEARCHES, str(Path(peak_memory.__file__).parent), sizes],
            check=True, capture_output=True, text=True, env=ENVIRONMENT,
        ).stdout)
        for sizes in ("6500", "1000,6500")
    )  # fmt: skip
    assert behind_others < 1.05 * alone


# Prints the bytes that the largest of some calls takes, the last one, with what others left.
SEARCHES = """
import sys
import numpy as np
sys.path.insert(0, sys.argv[1])
import peak_memory
from patchsim.engines import Problem, fft
def search(width):
    image = np.zeros((1400, width, 3), np.float32)
    kernel = np.linspace(0, 1, 512 * 512 * 3, dtype=np.float32).reshape(512, 512, 3)
    work = Problem(image.shape, kernel.shape, "float32", (1, 1), "ssd", 1.0, "cpu", 1)
    fft.prepare(kernel, work)(image)
peak_memory.give_back_at_once()
search(520)
with peak_memory.resident_peak() as peak:
    for width in map(int, sys.argv[2].split(",")):
        search(width)
print(peak.bytes)
"""
