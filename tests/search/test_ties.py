"""Of poses of one thing that score alike the one nearest to the kernel as given is reported."""

from __future__ import annotations

import numpy as np
import pytest

import patchsim

SEARCHES = pytest.mark.parametrize("exhaustive", [False, True])
ASKED = [
    {"scales": "0.5,1,1.5,2"},
    {"scales": "0.5:2"},
    {"scales": "0.5:2:0.25"},
    {"angles": "0,45,90", "scales": "1,2"},
    {"angles": "any"},
    {"angles": "-45:45", "scales": "0.7:1.5:0.1", "flips": "h,v"},
    {"scales": [2, 1, (1, 1.5)]},
]


def poses(report):
    return {(one.scale, one.angle, one.flip) for one in report}


@SEARCHES
@pytest.mark.parametrize("asked", ASKED)
def test_a_pixel_is_found_as_it_is(rng, asked, exhaustive):
    image = rng.permutation(2000).astype(np.uint16).reshape(40, 50) * 32
    kernel = image[7:8, 9:10]
    report = patchsim.match(image, kernel, **asked, top=1, exhaustive=exhaustive)
    assert (report.best.x, report.best.y, report.best.score) == (9, 7, 1)
    assert poses(report) == {(1, 0, "none")}


@SEARCHES
@pytest.mark.parametrize(
    ("asked", "least"),
    [
        ({"scales": "1.5:2"}, (1.5, 0)),
        ({"scales": "2,1.5"}, (1.5, 0)),
        ({"angles": "30:90"}, (1, 30)),
        ({"angles": "90,300,180"}, (1, 300)),
    ],
)
def test_where_the_kernel_as_it_is_is_not_asked_for_the_nearest_is_found(asked, least, exhaustive):
    image = np.full((60, 70), 50, np.uint8)
    image[20:29, 30:39] = 200
    kernel = np.full((1, 1), 200, np.uint8)
    report = patchsim.match(image, kernel, **asked, threshold=1, exhaustive=exhaustive)
    assert len(report) > 0
    assert poses(report) == {(*least, "none")}


@SEARCHES
@pytest.mark.parametrize("angles", ["180,90,0", "0:360:90", "any"])
def test_a_kernel_that_is_itself_when_turned_is_not_turned(angles, exhaustive):
    image = np.full((60, 60), 30, np.uint8)
    image[20:36, 20:36] = 200
    image[26:30, 26:30] = 90
    report = patchsim.match(
        image, image[16:40, 16:40], angles=angles, flips="h,v", top=1, exhaustive=exhaustive
    )
    assert report.best.score == 1
    assert poses(report) == {(1, 0, "none")}


def test_quarter_turns_in_windows_are_the_nearest():
    image = np.full((60, 60), 30, np.uint8)
    image[20:36, 20:36] = 200
    for angles, nearest in (("180,270", 270), ("90,180", 90), ("180,0,270", 0)):
        report = patchsim.match(image, image[16:40, 16:40], angles=angles, top=1)
        assert poses(report) == {(1, nearest, "none")}
