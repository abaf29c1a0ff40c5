"""Poses between the steps of ranges: planted ones are met, those on a step are kept."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.scenes import planted, turned_by

import patchsim


@pytest.mark.parametrize(
    ("scale", "angle", "metric"),
    [(1.0, 0, "sad"), (0.62, 97.5, "sad"), (1.47, 203, "ssd"), (1.21, 331, "zncc")],
)
def test_a_planted_kernel_is_found_between_the_steps(astronaut, coffee, scale, angle, metric):
    kernel = astronaut[90:154, 200:270]
    scene = planted(coffee, kernel, scale, angle, (333.3, 210.6))
    best = patchsim.match(
        scene, kernel, scales="0.5:1.6:0.1", angles="0:360:15", metric=metric, top=1
    ).best
    assert np.hypot(best.center[0] - 333.3, best.center[1] - 210.6) < 1.5
    assert abs(best.scale / scale - 1) < 0.03
    assert turned_by(best.angle, angle) < 1.5


def test_ranges_keep_all_that_reaches_the_threshold(rng):
    kernel = rng.integers(0, 256, (8, 8), np.uint8)
    scene = np.tile(kernel, (12, 12))
    for options in ({"scales": "1:1.2:0.2"}, {"scales": "1:1.2:0.02", "exhaustive": True}):
        report = patchsim.match(scene, kernel, threshold=0.999, overlap=0, **options)
        assert {(m.x, m.y) for m in report.matches} == {
            (8 * i, 8 * j) for i in range(12) for j in range(12)
        }


@pytest.mark.parametrize("angles", ["-10:10:2", "0:360:15"])
def test_copies_that_are_identical_on_a_step_stay_there(astronaut, coffee, angles):
    kernel = astronaut[90:130, 200:240]
    scene = coffee[:200, :300].copy()
    places = [(10, 20), (120, 33), (201, 140)]
    for x, y in places:
        scene[y : y + 40, x : x + 40] = kernel
    report = patchsim.match(scene, kernel, angles=angles, top=3)
    assert {(m.x, m.y, m.angle, m.score) for m in report.matches} == {
        (x, y, 0.0, 1.0) for x, y in places
    }


@pytest.mark.parametrize("part", [np.s_[:], np.s_[100:160]])
def test_kernels_as_wide_as_the_picture_are_found_in_the_pose_that_fits(coffee, part):
    report = patchsim.match(coffee, coffee[part], angles="-5:5:1", top=1)
    assert (report.best.angle, report.best.score, report.best.x) == (0.0, 1.0, 0)


def test_an_engine_without_maps_refines_a_full_search(rng):
    scene = rng.integers(0, 256, (60, 60), np.uint8)
    kernel = scene[20:32, 30:42].copy()
    best = patchsim.match(
        scene, kernel, angles="-10:10:2", exhaustive=True, engine="pruned", top=1
    ).best
    assert (best.x, best.y, best.angle, best.score) == (30, 20, 0.0, 1.0)
