"""Which windows overlap a box, against the intersection over union of each."""

from __future__ import annotations

import numpy as np
import oracle
import pytest

from patchsim.geometry.overlaps import overlapping


@pytest.mark.parametrize("overlap", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("stride", [(1, 1), (2, 3)])
@pytest.mark.parametrize("box", [(5, 7, 9, 4), (-6, 60, 9, 4), (70, 3, 80, 6), (300, 0, 2, 2)])
def test_windows_that_overlap_a_box_by_more_are_marked_once(box, stride, overlap):
    shape, kernel = (150, 40), (70, 5)  # taller than the rows that are looked at together
    marked = np.zeros(shape, int)
    for part, over in overlapping(shape, kernel, stride, box, overlap):
        marked[part] += over
    y, x, height, width = box
    wanted = [
        [
            oracle.overlap((x, y, width, height), (col * stride[1], row * stride[0], *kernel[::-1]))
            > overlap
            for col in range(shape[1])
        ]
        for row in range(shape[0])
    ]
    np.testing.assert_array_equal(marked, wanted)


@pytest.mark.parametrize("size", [(66, 68), (66, 17), (66, 34), (3, 51), (1, 17)])
def test_an_overlap_of_exactly_the_limit_is_allowed(size):
    """Windows that share 14 of 17 columns overlap by 14 of 20, which is 0.7 as it is written."""
    marked = np.zeros((1, 60), bool)
    for part, over in overlapping((1, 60), size, (1, 1), (0, 0, *size), 0.7):
        marked[part] |= over
    assert marked[0].tolist() == [shift < 3 * size[1] // 17 for shift in range(60)]
