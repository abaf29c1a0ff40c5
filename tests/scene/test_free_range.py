"""`ncc` and `zncc` need no data range, because their scores do not depend on it."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import load

import patchsim
from patchsim import InputError
from patchsim.pictures.reader import Picture
from patchsim.scene import value_range


@pytest.fixture
def drawing(rng):
    """Smooth random heights [40, 60], with a mean near 0 and steps of about 1."""
    return np.cumsum(rng.normal(size=(40, 60)), 1)


@pytest.mark.parametrize("metric", ["ncc", "zncc"])
@pytest.mark.parametrize("scale", [40.0, -1e6, 1e-9, 1e30, 2.0**1015])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_floats_of_any_size_score_like_small_ones(metric, scale, dtype, drawing):
    if dtype == np.float32 and abs(scale) > 1e36:
        scale = 2.0**110
    image = (drawing * scale).astype(dtype)
    kernel = image[13:24, 31:45].copy()
    kernel[3] *= dtype(0.5)
    found = patchsim.match(image, kernel, metric=metric, map=True)
    unit = float(np.abs(image.astype(np.float64)).max())
    low = -1 if image.min() < 0 else 0
    small = patchsim.match(
        image / unit, kernel / unit, metric=metric, map=True, data_range=(low, 1)
    )
    assert (found.best.x, found.best.y) == (31, 13) == (small.best.x, small.best.y)
    assert found.best.score == pytest.approx(small.best.score, abs=1e-6)
    np.testing.assert_allclose(found.map, small.map, atol=1e-5)


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.uint32])
def test_integers_need_none(dtype, drawing):
    image = (drawing * 3 + (200 if dtype == np.uint32 else 0)).astype(dtype)
    best = patchsim.match(image, image[13:24, 31:45], metric="zncc").best
    assert (best.x, best.y, best.score) == (31, 13, pytest.approx(1))


def test_bytes_beside_floats_of_their_size(rng):
    image = rng.integers(0, 256, (40, 60), dtype=np.uint8)
    best = patchsim.match(image, image[13:24, 31:45] * 1.0, metric="ncc").best
    assert (best.x, best.y, best.score) == (31, 13, pytest.approx(1))


def test_one_matcher_takes_images_of_several_sizes(drawing):
    matcher = patchsim.Matcher(drawing[13:24, 31:45] * 100, metric="zncc", padding="zero")
    for scale in (100, 1e9, 0.01):
        best = matcher.match(drawing * scale).best
        assert (best.x, best.y, best.score) == (31, 13, pytest.approx(1))


@pytest.mark.parametrize(
    ("metric", "options"), [("sad", {}), ("ssd", {}), ("zncc", {"color": "lab"})]
)
def test_where_scores_depend_on_the_range_it_is_asked_for(metric, options, drawing):
    image = np.dstack([drawing * 100] * 3)
    with pytest.raises(InputError, match="outside 0 to 1"):
        patchsim.match(image, image[13:24, 31:45], metric=metric, **options)


def test_numbers_are_still_asked_for(drawing):
    for value, remedy in ((np.nan, "or replace it"), (np.inf, "replace it, or put NaN there")):
        drawing[3, 5] = value
        with pytest.raises(InputError, match=f"a value {value} at x=5, y=3; .*{remedy}") as error:
            patchsim.match(drawing, drawing[13:24, 31:45], metric="zncc")
        assert "data" not in str(error.value)  # whose range says nothing of such a value


@pytest.mark.parametrize("region", [None, (20, 10, 35, 30)])
def test_the_overlay_spans_the_values(region, drawing, tmp_path):
    image = drawing * 1000
    if region is not None:  # the region itself has usual values
        image[10:, 20:] = np.random.default_rng(5).random((30, 40))
    path = tmp_path / "o.png"
    patchsim.match(
        image, image[13:24, 31:45], metric="zncc", overlay=path, region=region, threshold=0.9
    )
    pixels = np.asarray(load(path).convert("RGB"))[:, :15, 0]  # left of the box
    expected = (image - image.min()) / np.ptp(image) * 255
    np.testing.assert_allclose(pixels, expected[:, :15], atol=1)


@pytest.mark.parametrize("value", [0.0, 7.0, -3e15, 1e16, -1e16, 1e300, float(np.finfo(float).max)])
def test_the_range_in_which_one_value_is_drawn_is_not_empty(value):
    image = Picture("image", np.full((2, 2, 1), value))
    low, high = value_range.drawn(image)
    assert low <= value <= high
    assert 0 < high - low < np.inf
