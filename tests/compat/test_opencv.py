"""matchTemplate against OpenCV's: all methods, types, channels and masks."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import skimage.data
from helpers.grids import thinned
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view

from patchsim.compat import opencv
from patchsim.errors import InputError

METHODS = {
    name: getattr(cv2, name)
    for name in (
        "TM_SQDIFF",
        "TM_SQDIFF_NORMED",
        "TM_CCORR",
        "TM_CCORR_NORMED",
        "TM_CCOEFF",
        "TM_CCOEFF_NORMED",
    )
}


def formula(pixels, templ, method, mask):
    """The formulas of OpenCV's documentation in float64; NaN where they divide by 0."""
    often = np.ones(templ.shape[:2]) if mask is None else np.atleast_3d(mask)[..., 0] > 0
    often = often[..., None] * np.ones(np.atleast_3d(templ).shape)
    taps, wide = np.atleast_3d(templ).astype(float), np.atleast_3d(pixels).astype(float)
    windows = sliding_window_view(wide, taps.shape)[:, :, 0]  # [rows, cols, h, w, C]
    if method == cv2.TM_SQDIFF:
        return (often * (windows - taps) ** 2).sum((2, 3, 4))
    if method in (cv2.TM_CCOEFF, cv2.TM_CCOEFF_NORMED):
        taps = taps - (often * taps).sum((0, 1)) / often.sum((0, 1))
        means = (often * windows).sum((2, 3), keepdims=True) / often.sum((0, 1))
        windows = windows - means
    top = (often * windows * taps).sum((2, 3, 4))
    if method in (cv2.TM_CCORR, cv2.TM_CCOEFF):
        return top
    under = np.sqrt((often * windows**2).sum((2, 3, 4)) * (often * taps**2).sum())
    if method == cv2.TM_SQDIFF_NORMED:
        top = (often * (windows - taps) ** 2).sum((2, 3, 4))
    with np.errstate(all="ignore"):
        scores = top / under
    return np.minimum(scores, 1) if mask is None and method == cv2.TM_SQDIFF_NORMED else scores


def check(pixels, templ, method, mask=None):
    """OpenCV's float32 transforms are off by up to a thousandth, the drop-in by far less."""
    peer = cv2.matchTemplate(pixels, templ, method, mask=mask)
    found = opencv.matchTemplate(pixels, templ, method, mask=mask)
    assert found.dtype == peer.dtype
    assert found.shape == peer.shape
    assert np.isfinite(found).all()
    largest = 1 if method % 2 else float(max(abs(pixels).max(), abs(templ).max())) ** 2 * templ.size
    truth = formula(pixels, templ, method, mask)
    known = np.isfinite(truth)
    np.testing.assert_allclose(found[known], truth[known], rtol=1e-6, atol=1e-6 * largest)
    known = np.isfinite(peer)
    np.testing.assert_allclose(found[known], peer[known], rtol=0, atol=2e-3 * largest)
    return found, peer


def test_names_are_those_of_opencv():
    assert {name: getattr(opencv, name) for name in METHODS} == METHODS


@thinned(
    method=[*METHODS.values()],
    dtype=[np.uint8, np.float32],
    channels=[1, 3],
    masked=[False, True],
)
def test_photographs(method, dtype, channels, masked):
    pixels = skimage.data.astronaut()[20:90, 30:120].astype(dtype)
    pixels = pixels if channels == 3 else np.ascontiguousarray(pixels[..., 1])
    templ = pixels[40:63, 50:79].copy()
    mask = None
    if masked:
        mask = np.zeros(templ.shape[:2], np.uint8)
        cv2.circle(mask, (14, 11), 9, 255, -1)
        mask = np.repeat(mask[..., None], 3, 2) if channels == 3 else mask
        mask = mask if dtype == np.uint8 else (mask > 0).astype(np.float32)
    found, peer = check(pixels, templ, method, mask)
    best = np.argmin if method in (cv2.TM_SQDIFF, cv2.TM_SQDIFF_NORMED) else np.argmax
    assert best(found) == best(peer)


@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_any_picture(data, seed):
    rng = np.random.default_rng(seed)
    method = data.draw(st.sampled_from(list(METHODS.values())))
    dtype = data.draw(st.sampled_from(["uint8", "float32"]))
    channels = data.draw(st.integers(1, 4))
    height, width = data.draw(st.tuples(st.integers(2, 12), st.integers(2, 12)))
    size = (height + data.draw(st.integers(0, 20)), width + data.draw(st.integers(0, 20)), channels)
    pixels = rng.integers(0, 256, size).astype(dtype)
    templ = rng.integers(0, 256, (height, width, channels)).astype(dtype)
    check(pixels, templ, method)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_pictures_without_contrast_or_light(method):
    dark, grey = np.zeros((5, 6), np.uint8), np.full((5, 6), 9, np.uint8)
    spot = dark.copy()
    spot[0, 0] = 7
    for pixels in (dark, grey, spot):
        for templ in (dark[:2, :2], grey[:2, :2], spot[:2, :2]):
            check(pixels, templ, method)
            everything = np.ones((2, 2), np.uint8)
            masked = opencv.matchTemplate(pixels, templ, method, mask=everything)
            assert np.isfinite(masked).all()


def test_floats_far_from_zero_and_below_it(rng):
    pixels = (rng.random((40, 50)) * 1e4 - 7e3).astype(np.float32)
    for method in METHODS.values():
        check(pixels, pixels[5:15, 8:29].copy(), method)


def test_an_image_that_is_smaller_changes_places():
    picture = np.random.default_rng(3).integers(0, 256, (9, 11), np.uint8)
    small = picture[:4, :5].copy()
    for method in METHODS.values():
        found = opencv.matchTemplate(small, picture, method)
        np.testing.assert_array_equal(found, opencv.matchTemplate(picture, small, method))
        assert found.shape == cv2.matchTemplate(small, picture, method).shape
    with pytest.raises(InputError, match=r"templ \[9, 11\] is larger than image \[20, 5\]"):
        opencv.matchTemplate(np.zeros((20, 5), np.uint8), picture, cv2.TM_CCOEFF_NORMED)


def test_a_result_is_filled():
    picture = np.random.default_rng(3).integers(0, 256, (9, 11), np.uint8)
    given = np.full((8, 10), np.nan, np.float32)
    assert opencv.matchTemplate(picture, picture[:2, :2], opencv.TM_CCORR, given) is given
    np.testing.assert_array_equal(
        given, opencv.matchTemplate(picture, picture[:2, :2], opencv.TM_CCORR)
    )
    other = np.zeros((8, 10))
    assert opencv.matchTemplate(picture, picture[:2, :2], opencv.TM_CCORR, other) is not other


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"method": 6}, "method 6 is none of OpenCV's"),
        ({"method": True}, "method True is none"),
        ({"image": np.zeros((9, 9), np.uint16)}, "has the type uint16 and templ uint8"),
        ({"image": np.zeros((9, 9, 3), np.uint8)}, "image has 3 channels and templ 1"),
        ({"image": np.zeros(9, np.uint8)}, r"has the shape \[9\]"),
        ({"image": np.zeros((0, 9), np.uint8)}, "with pixels"),
        ({"mask": np.zeros((2, 3), np.uint8)}, "mask is 0 everywhere"),
        ({"mask": np.ones((3, 3), np.uint8)}, "mask has the shape"),
        ({"mask": np.array([[0, 0.5, 1]] * 2, np.float32)}, "weights or channels that differ"),
        ({"mask": np.ones((2, 3), np.int32)}, "mask has the type int32"),
    ],
)
def test_bad_arguments(changes, words):
    arguments = {
        "image": np.zeros((9, 9), np.uint8),
        "templ": np.arange(6, dtype=np.uint8).reshape(2, 3),
        "method": opencv.TM_CCOEFF_NORMED,
    }
    with pytest.raises(InputError, match=words):
        opencv.matchTemplate(**{**arguments, **changes})


def test_values_that_are_not_finite():
    picture = np.full((9, 9), np.nan, np.float32)
    with pytest.raises(InputError, match="image has values that are not finite"):
        opencv.matchTemplate(picture, np.ones((2, 2), np.float32), opencv.TM_CCORR)
