"""Cells of a kernel: none over a pixel that does not count, no two over one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from patchsim.engines.pruned import cells


def covered(found, shape):
    """How many cells lie over each pixel."""
    count = np.zeros(shape, int)
    for y, x in found.places.tolist():
        assert 0 <= y <= shape[0] - found.height
        assert 0 <= x <= shape[1] - found.width
        count[y : y + found.height, x : x + found.width] += 1
    return count


@given(
    st.integers(0, 10**6),
    st.sampled_from([(1, 1), (5, 40), (40, 40), (300, 17), (130, 700), (1, 40_000)]),
    st.sampled_from([0, 1, 2, 3, 255]),
    st.sampled_from([0.001, 0.1, 0.9, 1.0]),
    st.sampled_from([cells.COARSE, cells.FINE]),
)
@settings(deadline=None)
def test_they_lie_apart_where_all_pixels_weigh_enough(seed, shape, heaviest, share, target):
    rng = np.random.default_rng(seed)
    weights = rng.integers(0, heaviest, shape, np.uint8, endpoint=True)
    weights[rng.random(shape) > share] = 0
    found = cells.inside(weights, target)
    count = covered(found, weights.shape)
    assert count.max() <= 1
    assert (weights[count > 0] >= found.weight).all()
    assert found.area == count.sum()
    assert max(found.height, found.width) <= 256
    assert bool(found.area) == bool(weights.any())


@pytest.mark.parametrize("target", [4, 8])
@pytest.mark.parametrize("shape", [(1, 1), (3, 50), (64, 64), (61, 67), (1100, 37)])
def test_of_a_mask_that_is_white_they_are_about_as_many_as_without(shape, target):
    plain, white = cells.lattice(*shape, target), cells.inside(np.ones(shape, np.uint8), target)
    for found in (plain, white):
        assert covered(found, shape).max() == 1
        assert found.area >= 0.7 * shape[0] * shape[1]
        assert max(found.height, found.width) <= 256
    assert len(white.places) <= 4 * len(plain.places)


def test_they_are_smaller_where_what_counts_is_narrow():
    ring = np.zeros((64, 64), np.uint8)
    ring[4:60, 4:60] = 255
    ring[10:54, 10:54] = 0
    found = cells.inside(ring, cells.COARSE)
    assert found.height <= 6
    assert found.area >= 0.7 * np.count_nonzero(ring)


def test_a_weight_is_of_the_channel_that_counts_least():
    weights = np.full((20, 20, 3), 200, np.uint8)
    weights[..., 1] = 90
    assert cells.inside(weights, cells.COARSE).weight == 90
    weights[..., 2] = 0
    assert cells.count(weights) == 0


def test_the_heavy_part_decides_what_cells_weigh():
    weights = np.full((40, 40), 2, np.uint8)
    weights[5:35, 5:35] = 5  # 5 x 900 are more than 2 x 1600
    assert cells.inside(weights, cells.COARSE).weight == 5
    weights[...] = 2
    weights[14:26, 14:26] = 5  # and 5 x 144 are less
    assert cells.inside(weights, cells.COARSE).weight == 2


@given(
    arrays.arrays(np.uint8, st.tuples(*[st.integers(1, 12)] * 2, st.integers(1, 3))),
    st.data(),
)
def test_sums_of_all_places(values, data):
    height = data.draw(st.integers(1, values.shape[0]))
    width = data.draw(st.integers(1, values.shape[1]))
    windows = np.lib.stride_tricks.sliding_window_view(values, (height, width), (0, 1))
    places = np.argwhere(np.ones(windows.shape[:2], bool))
    found = cells.Cells(height, width, places).sums(cells.integral(values))
    expected = windows.sum((3, 4), dtype=np.int64).reshape(len(places), -1)
    np.testing.assert_array_equal(found, expected)


def test_sums_of_a_picture_whose_sum_passes_32_bits():
    above = cells.integral(np.full((4200, 4200, 1), 255, np.uint8))
    places = np.array([[0, 0], [0, 4000], [4000, 0], [4000, 4000]])
    assert (cells.Cells(200, 200, places).sums(above) == 200 * 200 * 255).all()
