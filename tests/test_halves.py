"""Tiles that a card's memory does not suffice for."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from patchsim.engines import Bounds, Problem, halves, simd, visibility
from patchsim.errors import MachineError


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
def test_halves_have_the_scores_of_the_whole(stride, most, rng):
    image = rng.integers(0, 256, (29, 40, 2), dtype=np.uint8)
    kernel = image[3:10, 5:13].copy()
    problem = Problem(image.shape, kernel.shape, "uint8", stride, "sad", 255, "cpu", 1)
    whole = simd.prepare(kernel, problem)
    sizes = []
    found = halves.within_memory(limited(whole, most, sizes), problem)(image)
    np.testing.assert_array_equal(found.map, whole(image).map)
    assert np.max(found.error) == 0
    assert found.hidden is None
    assert (len(sizes) == 1) == (most > image.size)
    assert all(a * b <= most for a, b in sizes)


def test_halves_of_what_is_not_visible_everywhere(rng):
    image = rng.integers(0, 256, (20, 20, 1), dtype=np.uint8)
    levels = (rng.random((20, 20)) < 0.4).astype(np.uint8)
    kernel = image[3:7, 5:9].copy()
    problem = Problem(image.shape, kernel.shape, "uint8", (1, 1), "sad", 255, "cpu", 1)
    problem = problem.where_visible(1, 0.5)
    whole = visibility.prepare(simd, kernel, problem)
    found = halves.within_memory(limited(whole, 100, []), problem)(image, levels)
    expected = whole(image, levels)
    np.testing.assert_array_equal(found.map, expected.map)
    np.testing.assert_array_equal(found.hidden, expected.hidden)
    assert found.hidden.any()


def test_too_little_for_one_window_is_an_error_and_other_faults_stay():
    problem = Problem((9, 9, 3), (3, 4, 3), "uint8", (1, 1), "sad", 255, "cuda:0", 1)
    image = np.zeros((9, 9, 3), np.uint8)
    with pytest.raises(MachineError, match="cuda:0 does not suffice for one window of 4x3x3"):
        halves.within_memory(limited(lambda _: Bounds(np.zeros((1, 1))), 5, []), problem)(image)

    def broken(_pixels):
        raise RuntimeError("no kernel image is available")

    with pytest.raises(RuntimeError, match="no kernel image"):
        halves.within_memory(broken, problem)(image)
