"""A list of angles gives the angle of it that scores best, however close together they are."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from skimage import data

from patchsim import match
from patchsim.registration import listed_angles

SIZES = {17.1: 64, 17.4: 64, 17.6: 150, 17.2: 40, -162.7: 100}


def planted(angle):
    """A photograph and a kernel that lies in it turned, by OpenCV's resampling."""
    photo, size = data.camera(), SIZES[angle]
    kernel = photo[200 : 200 + size, 180 : 180 + size]
    middle = (size - 1) / 2
    turn = cv2.getRotationMatrix2D((middle, middle), angle, 1)
    turn[:, 2] += (97.3, 101.6)
    image = cv2.resize(photo, (360, 360))
    turned = cv2.warpAffine(kernel, turn, image.shape, flags=cv2.INTER_CUBIC)
    covered = cv2.warpAffine(np.full_like(kernel, 255), turn, image.shape) > 0
    image[covered] = turned[covered]
    return image, kernel


@pytest.mark.parametrize("metric", ["sad", "ssd", "ncc", "zncc"])
@pytest.mark.parametrize("angle", SIZES)
def test_the_angle_that_scores_best_alone_is_found_in_a_list(angle, metric):
    image, kernel = planted(angle)
    near = np.arange(round(angle) - 2, round(angle) + 3)
    alone = {int(one): match(image, kernel, angles=one, metric=metric, top=1).best for one in near}
    best = max(alone.values(), key=lambda found: found.score)
    for listed in (near, np.arange(-180, 180)):
        found = match(image, kernel, angles=listed.tolist(), metric=metric, top=1).best
        assert found.angle == best.angle
        assert found.score == pytest.approx(best.score, abs=1e-6)


@pytest.mark.parametrize("angle", SIZES)
def test_an_exhaustive_search_of_a_list_finds_it_too(angle):
    image, kernel = planted(angle)
    near = np.arange(round(angle) - 2, round(angle) + 3).tolist()
    quick, exhaustive = (
        match(image, kernel, angles=near, metric="zncc", top=1, exhaustive=wish).best
        for wish in (False, True)
    )
    assert exhaustive.angle == quick.angle
    assert exhaustive.score == pytest.approx(quick.score, abs=1e-6)


def test_angles_on_both_sides_of_a_full_turn_are_neighbours():
    image, kernel = planted(17.4)
    turned = np.ascontiguousarray(np.rot90(image, 2))  # where the kernel lies at 197.4 degrees
    listed = [-163, *range(-150, 150, 10), 196]  # -163 is 197
    found = match(turned, kernel, angles=listed, metric="zncc", top=1).best
    assert found.angle % 360 == 197


@pytest.mark.parametrize("spacing", [0.0, 0.5, 1.0, 3.0, 100.0])
def test_each_angle_lies_near_one_that_is_looked_at(spacing):
    angles = np.sort(np.random.default_rng(3).uniform(0, 20, 40))
    kept = listed_angles.thinned(angles, spacing)
    assert set(kept) <= set(angles)
    assert np.abs(angles[:, None] - kept).min(1).max() <= spacing / 2
    assert (np.diff(kept) > spacing / 2).all()
