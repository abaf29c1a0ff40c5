"""Floats that vary little: what all share is taken off, exactly, where no score depends on it."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import patchsim
from patchsim.scene import value_range


def pressure(rng, dtype, offset=101325.0):
    """Air pressure in pascals, of two sensors."""
    return (offset + 0.08 * rng.random((60, 80, 2))).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("offset", [101325.0, -101325.0])
@pytest.mark.parametrize("padding", ["valid", "zero", "edge"])
def test_a_contrast_of_a_millionth_is_found(dtype, offset, padding, rng):
    image = pressure(rng, dtype, offset)
    kernel = image[20:33, 40:58].copy()
    options = {"metric": "zncc", "data_range": (-2e5, 2e5), "padding": padding, "map": True}
    found = patchsim.match(image, kernel, **options)
    assert (found.best.x, found.best.y, found.best.score) == (40, 20, 1.0)
    # The same differences on nothing.
    of_differences = image - image.dtype.type(offset), kernel - kernel.dtype.type(offset)
    expected = patchsim.match(*of_differences, **options | {"padding": "valid"})
    rows, cols = expected.map.shape
    top, left = (found.map.shape[0] - rows) // 2, (found.map.shape[1] - cols) // 2
    inside = found.map[top : top + rows, left : left + cols]
    np.testing.assert_allclose(inside, expected.map, rtol=0, atol=2e-5)


def test_a_kept_matcher_takes_each_image_by_itself(rng):
    image = pressure(rng, np.float64)
    dark = image.copy()
    dark[:5] = 0
    matcher = patchsim.Matcher(image[20:33, 40:58].copy(), metric="zncc", data_range=(0, 2e5))
    assert matcher.match(image).best.score == 1.0
    with pytest.raises(patchsim.InputError, match="less than a millionth"):
        matcher.match(dark)
    assert matcher.match(image).best.score == 1.0


def test_only_what_is_exact_is_subtracted(rng):
    image = pressure(rng, np.float32)
    offset = value_range.exact_offset(image, [image[:9, :9]])
    assert offset.dtype == np.float32
    exact = image.astype(np.float64) - offset.astype(np.float64)
    np.testing.assert_array_equal((image - offset).astype(np.float64), exact)
    image[30, 40, 1] *= 0.8
    assert value_range.exact_offset(image, [image[:9, :9]]).tolist() == [offset[0], 0]
    assert value_range.exact_offset(rng.random((9, 9, 1)), [rng.random((4, 4, 1))]) is None


def test_an_overlay_shows_the_image_itself(tmp_path, rng):
    image = (0.9 + 0.05 * rng.random((60, 80, 3))).astype(np.float32)
    kernel = image[20:33, 40:58].copy()
    shown = []
    for metric in ("zncc", "sad"):
        patchsim.match(image, kernel, metric=metric, overlay=tmp_path / f"{metric}.png", top=1)
        shown.append(np.array(Image.open(tmp_path / f"{metric}.png")))
    np.testing.assert_array_equal(*shown)
