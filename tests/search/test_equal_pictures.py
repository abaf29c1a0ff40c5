"""Poses of a picture score the same in whatever type and range its values are kept."""

from __future__ import annotations

import numpy as np
import pytest

import patchsim

# Places are fitted until the score grows by less than about this.
_SETTLED = 3e-5
ASKED = [
    {"angles": "13"},
    {"angles": "5:20", "scales": "0.8:1.3"},
    {"scales": "1.2", "exhaustive": True},
]


@pytest.fixture(scope="module")
def picture():
    """Black and white, whose edges the cubic exceeds most, [60, 70]."""
    rng = np.random.default_rng(7)
    large = np.kron(rng.random((12, 14)) < 0.5, np.ones((5, 5), bool))
    return np.roll(large, (2, 1), (0, 1))


def found(image, asked, **options):
    # Turned and scaled poses of it score far less than 1.
    kernel = image[20:44, 25:50]
    return patchsim.match(image, kernel, **asked, top=1, **options).best


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("metric", ["sad", "ssd", "ncc", "zncc"])
def test_equal_pictures_have_equal_scores(picture, asked, metric):
    usual = found(picture.astype(np.float64), asked, metric=metric)
    assert usual.score < 0.97
    kept = [
        (picture * np.uint8(255), {}),
        (picture * np.uint16(65535), {}),
        (picture.astype(np.float32), {}),
        (picture * np.uint16(4095), {"data_range": (0, 4095)}),
        (picture * np.float32(200), {"data_range": (0, 200)}),
        (picture * np.uint8(200), {"data_range": (0, 200)}),
    ]
    if metric != "ncc":  # which depends on where 0 is
        kept.append((picture * np.int16(300) - np.int16(100), {"data_range": (-100, 200)}))
        kept.append((picture * 50 + 1000.0, {"data_range": (1000, 1050)}))
    for image, options in kept:
        best = found(image, asked, metric=metric, **options)
        assert best.score == pytest.approx(usual.score, abs=_SETTLED)
        assert np.abs(np.subtract(best.corners, usual.corners)).max() < 0.05


@pytest.mark.parametrize("asked", ASKED)
def test_floats_without_a_range_score_as_the_integers_they_were(picture, asked):
    usual = found(picture * np.uint8(255), asked, metric="zncc")
    wide = found(picture * 255.0, asked, metric="zncc")  # of which 0 to 256 is taken for the range
    assert wide.score == pytest.approx(usual.score, abs=1e-3)
    # Values that vary little are compared less an offset, and so are the ends of their range.
    light = 1 - picture / 15
    usual = found(picture * np.uint16(4369) ^ np.uint16(65535), asked, metric="zncc")
    for dtype in (np.float32, np.float64):
        best = found(light.astype(dtype), asked, metric="zncc")
        assert best.score == pytest.approx(usual.score, abs=_SETTLED)
