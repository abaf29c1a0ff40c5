"""Shared areas of convex polygons, beside closed forms and points that lie in both."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patchsim.geometry.polygons import area, bounds, intersection_area


def turned(x, y, width, height, degrees, *, mirrored=False):
    """The corners of a rectangle about its middle."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    own = [(-width, -height), (width, -height), (width, height), (-width, height)]
    if mirrored:
        own = own[::-1]
    return [(x + (a * cos + b * sin) / 2, y + (b * cos - a * sin) / 2) for a, b in own]


def test_upright_boxes_share_what_their_sides_share():
    first = turned(5, 5, 10, 10, 0)
    assert intersection_area(first, turned(8, 9, 10, 10, 0)) == 7 * 6
    assert intersection_area(first, turned(15, 5, 10, 10, 0)) == 0  # they touch
    assert intersection_area(first, turned(40, 5, 10, 10, 0)) == 0
    assert intersection_area(first, turned(5, 5, 4, 2, 0)) == 8  # one in the other
    assert intersection_area(first, first) == area(first) == 100


def test_a_square_and_its_eighth_of_a_turn_share_a_regular_octagon():
    side = 2.0
    shared = intersection_area(turned(0, 0, side, side, 0), turned(0, 0, side, side, 45))
    # An octagon around a circle of radius 1: eight triangles of height 1.
    assert shared == pytest.approx(8 * math.tan(math.pi / 8))


def test_a_long_box_across_another_shares_a_parallelogram():
    # Two strips of widths 2 and 3 that cross at 30 degrees.
    shared = intersection_area(turned(7, -3, 100, 2, 20), turned(7, -3, 100, 3, 50))
    assert shared == pytest.approx(2 * 3 / math.sin(math.radians(30)))


def test_a_triangle_and_its_mirror_image_share_a_hexagon():
    up = [(0.0, 0.0), (3.0, 3 * math.sqrt(3)), (6.0, 0.0)]
    down = [(x, 2 * math.sqrt(3) - y) for x, y in up]
    # A star of David: the hexagon is two thirds of either triangle.
    assert intersection_area(up, down) == pytest.approx(area(up) * 2 / 3)


def test_far_from_the_origin_areas_keep_their_digits():
    near = intersection_area(turned(0, 0, 4, 3, 25), turned(1, 1, 4, 3, -60))
    far = intersection_area(turned(1e7, 2e7, 4, 3, 25), turned(1e7 + 1, 2e7 + 1, 4, 3, -60))
    assert far == pytest.approx(near, abs=1e-6)


boxes = st.tuples(
    st.floats(-20, 20), st.floats(-20, 20), st.floats(0.5, 40), st.floats(0.5, 40),
    st.floats(-360, 360),
)  # fmt: skip


def holds(box, x, y):
    """Whether points lie in a turned box, in the box's own axes."""
    left, top, width, height, degrees = box
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    across = (x - left) * cos - (y - top) * sin
    down = (x - left) * sin + (y - top) * cos
    return (np.abs(across) <= width / 2) & (np.abs(down) <= height / 2)


@settings(deadline=None)
@given(boxes, boxes, st.booleans())
def test_turned_boxes_share_the_points_that_lie_in_both(first, second, mirrored):
    corners, others = turned(*first), turned(*second, mirrored=mirrored)
    left, top, right, bottom = bounds(corners)
    count = 500
    x = left + (np.arange(count) + 0.5) / count * (right - left)
    y = top + (np.arange(count) + 0.5) / count * (bottom - top)
    both = holds(first, x, y[:, None]) & holds(second, x, y[:, None])
    cell = (right - left) * (bottom - top) / count**2
    # The border of what is shared passes at most so many cells.
    found = intersection_area(corners, others)
    assert found == pytest.approx(both.sum() * cell, abs=4 * count * cell)
    assert intersection_area(others, corners) == pytest.approx(found, abs=1e-9)


@given(boxes)
def test_a_box_shares_itself_and_nothing_with_a_point(sides):
    box = turned(*sides)
    assert intersection_area(box, box) == pytest.approx(area(box))
    assert intersection_area(box, [box[0]] * 4) == 0
    assert area([]) == area(box[:2]) == 0
    left, top, right, bottom = bounds(box)
    around = [(left, top), (right, top), (right, bottom), (left, bottom)]
    assert intersection_area(box, around) == pytest.approx(area(box))
