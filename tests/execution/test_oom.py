"""Tiles that a card's memory does not suffice for."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from patchsim.engines import Bounds, Problem, fft, simd
from patchsim.engines.common import visibility
from patchsim.engines.tile_cache import Cached, Shared
from patchsim.errors import MachineError
from patchsim.execution import oom
from patchsim.machine import devices
from patchsim.metrics import Kernel


class Kept:
    def __init__(self):
        self.transform = Cached()


@pytest.fixture(autouse=True)
def freed(monkeypatch):
    """Devices whose freed memory was given back."""
    found = []
    monkeypatch.setattr(devices, "release_cached_memory", found.append)
    return found


def limited(score, most, sizes):
    """A score that has memory for so many pixels."""

    def scored(pixels, *levels):
        if pixels.shape[0] * pixels.shape[1] > most:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        sizes.append(pixels.shape[:2])
        return score(pixels, *levels)

    return scored


@pytest.mark.parametrize("stride", [(1, 1), (2, 3)])
@pytest.mark.parametrize("most", [10**6, 300, 80, 56])
def test_halves_have_the_scores_of_the_whole(stride, most, rng, freed):
    image = rng.integers(0, 256, (29, 40, 2), dtype=np.uint8)
    kernel = image[3:10, 5:13].copy()
    problem = Problem(image.shape, kernel.shape, "uint8", stride, "sad", 255, "cpu", 1)
    whole = simd.prepare(kernel, problem)
    sizes = []
    found = oom.split_when_full(limited(whole, most, sizes), problem)(image)
    np.testing.assert_array_equal(found.map, whole(image).map)
    assert np.max(found.error) == 0
    assert found.hidden is None
    assert (len(sizes) == 1) == (most > image.size)
    assert all(a * b <= most for a, b in sizes)
    assert set(freed) == (set() if most > image.size else {"cpu"})


def test_what_was_too_large_is_not_tried_again(rng):
    image = rng.integers(0, 256, (30, 20, 1), dtype=np.uint8)
    kernel = image[:4, :4].copy()
    problem = Problem(image.shape, kernel.shape, "uint8", (1, 1), "sad", 255, "cpu", 1)
    tried = []
    small = limited(simd.prepare(kernel, problem), 200, [])

    def noted(pixels, levels=None):
        tried.append(len(pixels))
        return small(pixels, levels)

    score = oom.split_when_full(noted, problem)
    score(image)
    assert max(tried) == 30
    tried.clear()
    score(image)
    assert max(tried) == 10  # 7 rows of windows


@pytest.mark.parametrize("opaque_level", [None, 1])
def test_kernels_that_share_a_tile_in_halves(opaque_level, rng):
    image = rng.integers(0, 256, (24, 26, 1), dtype=np.uint8)
    levels = (rng.random((24, 26)) < 0.7).astype(np.uint8)
    kernels = [Kernel(image[y : y + 5, 3:9].copy()) for y in (2, 7)]
    problem = Problem(image.shape, (5, 6, 1), "uint8", (1, 2), "ssd", 255, "cpu", 1)
    shared = Shared(image, (24, 26))
    if opaque_level:
        problem = problem.where_visible(1, 0.5)
        shared = Shared(image, (24, 26), levels)
        scores = visibility.prepare_together(fft, kernels, [problem] * 2)
    else:
        scores = fft.prepare_together(kernels, [problem] * 2)
    calls = []

    def small(score):
        def scored(tile, windows):
            calls.append(windows)
            if tile.pixels.size > 400:
                tile.fields(Kept).transform.get(lambda: np.zeros(9))
                raise RuntimeError("HIP out of memory")
            return score(tile, windows)

        return scored

    halved = oom.split_shared_when_full([small(score) for score in scores], [problem] * 2)
    for score, within in zip(scores, halved, strict=True):
        expected = score(Shared(image, (24, 26), shared.levels), problem.map_shape)
        found = within(shared, problem.map_shape)
        np.testing.assert_allclose(found.map, expected.map, rtol=0, atol=1e-6)
        assert (found.hidden is None) == (expected.hidden is None)
        if opaque_level:
            np.testing.assert_array_equal(found.hidden, expected.hidden)
        assert not shared._fields
    assert calls.count(problem.map_shape) == 1 + 2  # together once, and once for each alone
    assert len(calls) > 4


def test_halves_of_what_is_not_visible_everywhere(rng):
    image = rng.integers(0, 256, (20, 20, 1), dtype=np.uint8)
    levels = (rng.random((20, 20)) < 0.4).astype(np.uint8)
    kernel = image[3:7, 5:9].copy()
    problem = Problem(image.shape, kernel.shape, "uint8", (1, 1), "sad", 255, "cpu", 1)
    problem = problem.where_visible(1, 0.5)
    whole = visibility.prepare(simd, kernel, problem)
    found = oom.split_when_full(limited(whole, 100, []), problem)(image, levels)
    expected = whole(image, levels)
    np.testing.assert_array_equal(found.map, expected.map)
    np.testing.assert_array_equal(found.hidden, expected.hidden)
    assert found.hidden.any()


def test_too_little_for_one_window_is_an_error_and_other_faults_stay():
    problem = Problem((9, 9, 3), (3, 4, 3), "uint8", (1, 1), "sad", 255, "cuda:0", 1)
    image = np.zeros((9, 9, 3), np.uint8)
    with pytest.raises(MachineError, match="cuda:0 does not suffice for one window of 4x3x3"):
        oom.split_when_full(limited(lambda *_: Bounds(np.zeros((1, 1))), 5, []), problem)(image)

    def broken(_pixels, _levels=None):
        raise RuntimeError("no kernel image is available")

    with pytest.raises(RuntimeError, match="no kernel image"):
        oom.split_when_full(broken, problem)(image)
