"""Levels are halved once each, whichever thread asks first."""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import patchsim
from patchsim.registration.levels import Levels


def test_threads_that_ask_at_once_get_the_same_level():
    both = threading.Barrier(2)

    def smaller(size: int) -> int:
        with contextlib.suppress(threading.BrokenBarrierError):
            both.wait(timeout=0.2)  # for another thread that makes the same level
        return size // 2

    levels = Levels(64, smaller)
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(levels.__getitem__, [1, 1])) == [32, 32]
    assert [levels[k] for k in range(4)] == [64, 32, 16, 8]


@pytest.mark.parametrize(
    "poses", [{"scales": "2,3"}, {"scales": "0.8:1.3", "angles": "any"}], ids=["list", "range"]
)
@pytest.mark.parametrize("how", [{"threads": 2}, {"threads": 5, "memory": "16MB"}], ids=str)
def test_threads_and_memory_do_not_change_what_noise_scores(rng, poses, how):
    picture = rng.integers(0, 256, (260, 300), dtype=np.uint8)
    kernel = rng.integers(0, 256, (22, 24), dtype=np.uint8)

    def found(**given: object) -> list[tuple[float, ...]]:
        report = patchsim.match(picture, kernel, metric="zncc", top=3, **poses, **given)
        return [(m.x, m.y, m.score, m.scale, m.angle) for m in report.matches]

    assert found(**how) == found(threads=1)
