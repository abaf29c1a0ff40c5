"""Memory that calls in C keep for the next call: no two of them have it at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
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
