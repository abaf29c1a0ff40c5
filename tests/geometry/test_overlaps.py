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
