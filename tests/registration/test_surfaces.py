"""Steps to the maximum by parabolas: closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest

from patchsim.registration.surfaces import SIZES, climbed

ALL = (True, True, True, True)
NONE = np.full(4, math.inf)
REACH = np.array([20.0, 50.0])
TOPS = np.array([[10.04, 7.97, 0.31, 0.12], [-3.05, 2.02, -1.2, -0.4]])
# In pixels at a corner: far less than a round's poses lie apart.
STARTS = TOPS + np.array([[0.09, -0.06, 0.002, -0.003], [0.04, 0.1, 0.001, 0.001]])


def ridge(poses):
    """A parabola whose axes lie between the parameters', about the top that is nearer."""
    which = np.abs(poses[:, None] - TOPS).sum(2).argmin(1)
    apart = poses - TOPS[which]
    apart[:, 2:] *= REACH[which, None]
    mixed = apart @ np.array([[1, 0.4, 0, 0.3], [0, 1, 0.2, 0], [0, 0, 0.3, 0.1], [0.5, 0, 0, 0.4]])
    return 0.9 - (mixed**2).sum(1)


def test_the_top_of_a_parabola_is_reached():
    found = climbed(ridge, STARTS, REACH, ALL, -NONE, NONE)
    assert found == pytest.approx(TOPS, abs=1e-9)


def test_what_is_not_free_stays():
    found = climbed(ridge, STARTS, REACH, (True, True, False, False), -NONE, NONE)
    assert (found[:, 2:] == STARTS[:, 2:]).all()
    assert (ridge(found) > ridge(STARTS)).all()
    for step in ((1e-3, 0, 0, 0), (0, 1e-3, 0, 0)):  # it is the best place
        assert (ridge(found) > ridge(found + step)).all()
        assert (ridge(found) > ridge(found - np.array(step))).all()


def test_a_top_beyond_the_range_ends_at_it():
    high = np.array([math.inf, math.inf, 0.3, math.inf])
    found = climbed(ridge, STARTS[:1].clip(None, high), REACH[:1], ALL, -NONE, high)
    assert found[0, 2] == 0.3


@pytest.mark.parametrize("value", [lambda poses: np.zeros(len(poses)), lambda poses: poses[:, 0]])
def test_without_a_top_steps_end(value):
    found = climbed(value, STARTS, REACH, ALL, -NONE, NONE)
    assert (value(found) >= value(STARTS)).all()
    assert np.abs(found[:, :2] - STARTS[:, :2]).max() <= 2.5 * sum(SIZES)


def test_a_sum_of_absolute_differences_is_no_parabola_and_falls_nowhere(rng):
    centres = rng.normal(0, 0.05, (200, 4))
    apart = [1, 1, 20, 20]

    def value(poses):
        return -np.abs((poses[:, None] - centres) * apart).sum((1, 2))

    start = np.array([[0.1, -0.1, 0.004, 0.0]])
    found = climbed(value, start, REACH[:1], ALL, -NONE, NONE)
    best = np.median(centres, 0)[None]
    assert value(start)[0] < value(found)[0]
    assert value(found)[0] == pytest.approx(value(best)[0], rel=2e-3)
    assert climbed(value, start[:0], REACH[:0], ALL, -NONE, NONE).shape == (0, 4)
