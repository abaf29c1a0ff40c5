"""What a masked array of NumPy masks does not count: of the image or of a kernel."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import patchsim


@pytest.fixture
def image(astronaut):
    return astronaut[:120, :160].copy()


@pytest.mark.parametrize("metric", ["sad", "zncc"])
def test_masked_pixels_of_the_image_are_transparent(image, metric):
    kernel = image[30:50, 60:90].copy()
    mask = np.zeros(image.shape[:2], bool)
    mask[25:55, 50:95] = True
    masked = np.ma.masked_array(image, np.repeat(mask[..., None], 3, 2))
    found = patchsim.match(masked, kernel, metric=metric, map=True)
    alpha = np.where(mask, 0, 255).astype(np.uint8)
    expected = patchsim.match(
        Image.fromarray(np.dstack([image, alpha])), kernel, metric=metric, map=True
    )
    assert found.matches == expected.matches
    np.testing.assert_array_equal(found.map, expected.map)
    assert (found.best.x, found.best.y) != (60, 30)
    ignored = patchsim.match(masked, kernel, metric=metric, ignore_alpha=True)
    assert "transparent" in ignored.notices[0]


def test_a_pixel_is_masked_if_a_channel_is(image):
    mask = np.zeros(image.shape, bool)
    mask[40, 70, 1] = True
    found = patchsim.match(np.ma.masked_array(image, mask), image[30:50, 60:90], min_visible=1.0)
    assert (found.best.x, found.best.y) != (60, 30)


@pytest.mark.parametrize("metric", ["sad", "ssd", "ncc", "zncc"])
def test_masked_pixels_of_a_kernel_weigh_nothing(image, metric):
    kernel = image[30:50, 60:90].copy()
    mask = np.zeros(kernel.shape[:2], bool)
    mask[:8] = True
    other = kernel.copy()
    other[mask] = 255 - other[mask]
    masked = np.ma.masked_array(other, np.repeat(mask[..., None], 3, 2))
    found = patchsim.match(image, masked, metric=metric)
    assert (found.best.x, found.best.y, found.best.score) == (60, 30, 1.0)
    weights = np.where(mask, 0, 255).astype(np.uint8)
    assert found.matches == patchsim.match(image, other, mask=weights, metric=metric).matches


def test_nan_may_lie_below_a_mask(image):
    floats = image.astype(np.float32) / 255
    kernel = floats[30:50, 60:90].copy()
    floats[:20] = kernel[0] = np.nan
    found = patchsim.match(np.ma.masked_invalid(floats), np.ma.masked_invalid(kernel))
    assert (found.best.x, found.best.y, found.best.score) == (60, 30, 1.0)


def test_a_mask_of_nothing_changes_nothing(image):
    kernel = image[30:50, 60:90].copy()
    plain = patchsim.match(image, kernel)
    for mask in (np.ma.nomask, np.zeros(image.shape, bool)):
        assert patchsim.match(np.ma.masked_array(image, mask), kernel).matches == plain.matches
