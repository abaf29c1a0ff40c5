"""Kernels that stay prepared from one image to the next."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from helpers.photographs import photograph

import patchsim
from patchsim.execution import runner
from patchsim.search import prepared
from patchsim.search.prepared import KeptKernels

IMAGE = photograph("astronaut")[:200, :220].copy()
KERNELS = [IMAGE[40:80, 30:72].copy(), IMAGE[100:140, 90:132].copy()]


@pytest.fixture
def made(monkeypatch):
    """The number of kernels in each call that prepared some."""
    calls = []

    def noted(function):
        def called(plans, kernels):
            calls.append(len(plans) if isinstance(plans, list | tuple) else 1)
            return function(plans, kernels)

        return called

    for name in ("prepare", "prepare_together"):
        monkeypatch.setattr(runner, name, noted(getattr(runner, name)))
    return calls


def answers(report):
    return [(match.x, match.y, match.kernel, match.score, match.margin) for match in report]


@pytest.mark.parametrize("metric", ["zncc", "ssd"])
@pytest.mark.parametrize("count", [1, 2])
def test_the_next_image_of_a_shape_finds_its_kernels_prepared(metric, count, made):
    matcher = patchsim.Matcher(KERNELS[:count], metric=metric, engine="fft", per_kernel=True)
    matcher.match(IMAGE)
    first = len(made)
    assert first
    turned = np.ascontiguousarray(IMAGE[::-1, ::-1])
    found = answers(matcher.match(turned))
    assert len(made) == first
    fresh = patchsim.match(turned, KERNELS[:count], metric=metric, engine="fft", per_kernel=True)
    assert found == answers(fresh)
    made.clear()
    matcher.match(IMAGE[:-1])  # of another shape
    assert made


def test_kernels_less_an_offset_are_those_of_the_next_image(made):
    kelvin = IMAGE.astype(np.float32) / 255 + 300
    kernels = [np.ascontiguousarray(kelvin[40:80, 30:72])]
    matcher = patchsim.Matcher(kernels, metric="zncc", engine="fft")
    matcher.match(kelvin)
    first, kept = len(made), matcher._kept.nbytes
    assert first
    assert kept
    for shift in range(1, 4):
        found = answers(matcher.match(np.roll(kelvin, shift, 1)))
        assert found[0][0] == 30 + shift
    assert (len(made), matcher._kept.nbytes) == (first, kept)
    far = kelvin.copy()
    far[..., 0] -= 200  # nothing is subtracted from this channel
    expected = answers(patchsim.match(far, kernels, metric="zncc", engine="fft"))
    assert answers(matcher.match(far)) == expected
    assert len(made) > first


def test_several_threads_share_what_is_kept(made):
    matcher = patchsim.Matcher(KERNELS, metric="zncc", engine="fft", per_kernel=True, threads=1)
    expected = answers(matcher.match(IMAGE))
    made.clear()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: answers(matcher.match(IMAGE)), range(8)))
    assert found == [expected] * 8
    assert made == []


def test_a_matcher_is_pickled_without_what_it_keeps(made):
    matcher = patchsim.Matcher(KERNELS[0], metric="zncc", engine="fft")
    expected = answers(matcher.match(IMAGE))
    copied = pickle.loads(pickle.dumps(matcher))
    made.clear()
    assert answers(copied.match(IMAGE)) == expected
    assert made


def test_as_many_bytes_are_kept_as_may_be(monkeypatch):
    monkeypatch.setattr(prepared, "_KEPT_BYTES", 100)
    monkeypatch.setattr(prepared, "_OBJECT_BYTES", 10)
    kept, calls = KeptKernels(), []

    def get(key, size=30, memory=1 << 30):
        def make():
            calls.append(key)
            return key

        return kept.get(make, [], key, size=size, memory=memory)

    for key in "abab":
        assert get(key) == key
    assert (calls, kept.nbytes) == (["a", "b"], 80)
    get("c")  # in the place of the one that was used least recently
    get("b")
    assert (calls, kept.nbytes) == (["a", "b", "c"], 80)
    get("a")
    get("large", size=91)
    get("large", size=91)
    assert (calls[3:], kept.nbytes) == (["a", "large", "large"], 80)
    get("d", memory=64 * 40)  # of little memory a share
    assert kept.nbytes == 40


def test_kernels_too_large_for_the_memory_are_prepared_for_each_image(made):
    matcher = patchsim.Matcher(KERNELS[0], metric="zncc", engine="fft", memory="16M")
    matcher.match(IMAGE)
    first = len(made)
    matcher.match(IMAGE)
    assert len(made) == 2 * first
