"""The matchers that drop-ins keep, and the data range of floats."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

import patchsim.matching.matcher
from patchsim.compat import maps, opencv


@pytest.fixture
def made(monkeypatch):
    """Count the matchers that are made."""
    kernels = []

    def counted(kernel, **options):
        kernels.append(kernel)
        return patchsim.Matcher(kernel, **options)

    monkeypatch.setattr(maps, "Matcher", counted)
    maps._kept_matcher.cache_clear()
    return kernels


def squares(image, kernel):
    windows = sliding_window_view(image.astype(float), kernel.shape)
    return ((windows - kernel) ** 2).sum((2, 3))


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_images_of_other_sizes_and_values_find_the_kernel_prepared(dtype, made):
    rng = np.random.default_rng(3)
    scale = 255 if dtype == np.uint8 else 1
    kernel = (rng.random((9, 8)) * scale).astype(dtype)
    for size in ((30, 40), (70, 50), (20, 20)):
        image = (rng.random(size) * scale).astype(dtype)
        scores = opencv.matchTemplate(image, kernel, opencv.TM_SQDIFF)
        np.testing.assert_allclose(scores, squares(image, kernel), rtol=2e-5)
    assert len(made) == 1
    opencv.matchTemplate(image, kernel[::-1].copy(), opencv.TM_SQDIFF)
    assert len(made) == 2


def test_a_large_kernel_is_not_kept(made):
    kernel = np.random.default_rng(3).integers(0, 256, (1025, 1024), np.uint8)
    for _ in range(2):
        assert opencv.matchTemplate(kernel, kernel, opencv.TM_CCORR_NORMED)[0, 0] == 1
    assert len(made) == 2
    assert maps._kept_matcher.cache_info().currsize == 0


@pytest.mark.parametrize("value", [0.0, 0.5, -3.0, 1e16, -1e16, float(np.finfo(np.float32).max)])
@pytest.mark.parametrize("other", [1, 0.75, -1])
def test_the_range_of_values_holds_them_and_is_not_empty(value, other):
    one, two = np.full((3, 3, 1), value, np.float32), np.full((2, 2, 1), value * other, np.float32)
    low, high = maps.value_range(one, two)
    ends = sorted([float(one[0, 0, 0]), float(two[0, 0, 0])])
    assert low <= ends[0] <= ends[1] <= high
    assert 0 < high - low <= max(1.25 * (ends[1] - ends[0]), 2, 2 * math.ulp(value))


@pytest.mark.parametrize("value", [0, 1e16, -1e16])
def test_constant_pictures_do_not_differ_however_large_the_value(value):
    image = np.full((6, 7), value, np.float32)
    assert not opencv.matchTemplate(image, image[:2, :3], opencv.TM_SQDIFF).any()
