"""Bounds of the area that turned rectangles share, beside what they share and closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from patchsim.geometry import polygons
from patchsim.geometry.turned_boxes import TurnedBoxes
from patchsim.poses.pose import Pose
from patchsim.registration.fitted import corners


def bounds_of(rows):
    """The least and most [n, n] that boxes of x, y, degrees, width and height share."""
    x, y, degrees, width, height = np.array(rows, float).T
    boxes = TurnedBoxes(x, y, np.radians(degrees), width / 2, height / 2)
    return boxes.shared(slice(None))


def test_boxes_of_one_angle_share_what_their_sides_share():
    along = 3 * np.cos(np.radians(30)), -3 * np.sin(np.radians(30))  # y points down
    for found in bounds_of([(5, 7, 30, 10, 6), (5 + along[0], 7 + along[1], 210, 10, 6)]):
        assert found == pytest.approx(np.array([[60, 42], [42, 60]]))


def test_a_box_inside_another_is_shared_and_one_beside_it_is_not():
    boxes = [(0, 0, 0, 20, 20), (1, 2, 90, 4, 3), (30, 0, 45, 4, 3), (12, 0, 0, 4, 20)]
    least, most = bounds_of(boxes)
    assert most[0] == pytest.approx([400, 12, 0, 0])
    assert least[0] == pytest.approx([400, 12 * (3 / 4) ** 2, 0, 0])


def test_what_boxes_share_lies_between_the_bounds(rng):
    rows = np.column_stack(
        [rng.random((60, 2)) * 60, rng.random(60) * 720 - 360, rng.random((60, 2)) * 30 + 1]
    )
    rows[30:] = rows[:30] + rng.normal(0, 0.3, (30, 5)) ** 2
    rows[30:, 2] += 180
    least, most = bounds_of(rows)
    frames = [
        corners((height, width), x, y, Pose(1.0, degrees)) for x, y, degrees, width, height in rows
    ]
    shared = np.array([[polygons.intersection_area(a, b) for b in frames] for a in frames])
    assert (most >= shared - 1e-9).all()
    assert (least <= shared + 1e-9).all()
    # Of many pairs they tell that they share nothing, and of boxes that are nearly one most of it.
    assert (most[shared == 0] == 0).mean() > 0.8
    one, other = np.arange(30), np.arange(30, 60)
    assert np.median(least[one, other] / shared[one, other]) > 0.9
