"""Parts of the picture that do not count: a mask of the image, boxes, NaN, and GDAL's no data."""

from __future__ import annotations

import numpy as np
import pytest
from oracle import score_map
from PIL import Image

from patchsim import InputError, Matcher, match
from patchsim.pictures.nodata import GDAL_NODATA

METRICS = ["sad", "ssd", "ncc", "zncc"]


@pytest.fixture
def image(rng):
    return rng.integers(0, 256, (24, 30, 3), dtype=np.uint8)


def expected(metric, image, kernel, levels, weights=None, *, span=255, least=0.5):
    """The scores by nested loops, of windows of which enough is visible; 0 for the others."""
    return score_map(
        metric, image.tolist(), kernel.tolist(), span=span, visible=levels.tolist(),
        weights=None if weights is None else weights.tolist(), min_visible=least,
    )  # fmt: skip


@pytest.mark.parametrize("metric", METRICS)
def test_a_mask_of_the_image_weighs_its_pixels(metric, image):
    kernel = image[9:14, 11:18].copy()
    mask = np.full((24, 30), 255, np.uint8)
    mask[8:12, 12:20], mask[:, :4] = 51, 0
    found = match(image, kernel, metric=metric, image_mask=mask, map=True, top=1)
    levels = (mask // 51).astype(int)
    np.testing.assert_allclose(found.map, expected(metric, image, kernel, levels), atol=2e-6)
    assert (found.best.x, found.best.y, found.best.score) == (11, 9, pytest.approx(1))


@pytest.mark.parametrize("metric", METRICS)
def test_boxes_and_alpha_and_a_mask_together(metric, image):
    kernel = image[9:14, 11:18].copy()
    alpha = np.full((24, 30), 200, np.uint8)
    alpha[3:7] = 40
    mask = np.full((24, 30), 250, np.uint8)
    mask[:, 20:] = 100
    boxes = [(0, 0, 6, 9), (16, 9, 3, 2), (28, 20, 99, 99)]
    rgba = Image.fromarray(np.dstack([image, alpha]))
    found = match(rgba, kernel, metric=metric, image_mask=mask, ignore=boxes, map=True, top=1)
    levels = (alpha // 40).astype(int) * (mask // 50)
    levels[:9, :6] = levels[9:11, 16:19] = levels[20:, 28:] = 0
    np.testing.assert_allclose(found.map, expected(metric, image, kernel, levels), atol=2e-6)
    # Alpha can be left out; what is named does not count all the same.
    found = match(
        rgba, kernel, metric=metric, ignore=boxes, ignore_alpha=True, min_visible=0.8, map=True
    )
    levels = np.ones((24, 30), int)
    levels[:9, :6] = levels[9:11, 16:19] = levels[20:, 28:] = 0
    wanted = expected(metric, image, kernel, levels, least=0.8)
    np.testing.assert_allclose(found.map, wanted, atol=2e-6)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nan_of_image_and_kernel_do_not_count(metric, dtype, image):
    values = (image / 255).astype(dtype)
    kernel = values[9:14, 11:18].copy()
    kernel[1, 2, 0] = kernel[3, 3, 2] = values[10, 14, 1] = values[2, 2] = np.nan
    with pytest.raises(InputError, match="nan at x=2, y=2"):
        match(values, kernel[2:3])
    found = match(values, kernel, metric=metric, nan="ignore", map=True, top=1)
    levels = (~np.isnan(values).any(2)).astype(int)
    weights = (~np.isnan(kernel).any(2)).astype(int)
    finite, taps = np.nan_to_num(values, nan=0.5), np.nan_to_num(kernel, nan=0.25)
    wanted = expected(metric, finite, taps, levels, weights, span=1)
    np.testing.assert_allclose(found.map, wanted, atol=2e-6)
    assert (found.best.x, found.best.y, found.best.score) == (11, 9, pytest.approx(1))


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_no_data_of_a_geotiff_does_not_count(dtype, image, tmp_path):
    grey = image[..., 0].astype(dtype)
    kernel = grey[9:14, 11:18].copy()
    value = {"uint8": 7, "int16": -9999, "float32": -3.4028235e38}[dtype]
    grey[grey == 7] = 8
    grey[10:12, 12:15] = value
    path = tmp_path / "dem.tif"
    if dtype == "int16":
        tifffile = pytest.importorskip("tifffile")
        tifffile.imwrite(path, grey, extratags=[(GDAL_NODATA, 2, 0, str(value), True)])
    else:
        Image.fromarray(grey).save(path, tiffinfo={GDAL_NODATA: str(value)})
    scale = {} if dtype == "uint8" else {"data_range": (0, 255)}
    found = match(path, kernel, map=True, **scale)
    levels = np.ones(grey.shape, int)
    levels[10:12, 12:15] = 0
    shown = np.where(levels == 0, 100, grey).astype(float)
    wanted = expected("sad", shown[..., None], kernel[..., None].astype(float), levels)
    np.testing.assert_allclose(found.map, wanted, atol=2e-6)
    assert (found.best.x, found.best.y, found.best.score) == (11, 9, 1)
    assert "has 6 pixels of no data (GDAL_NODATA" in found.notices[0]


def test_an_overlay_of_what_does_not_count_is_drawn(image, tmp_path):
    values = image / 255
    values[:5] = np.nan
    path = tmp_path / "found.png"
    match(values, values[9:14, 11:18], nan="ignore", ignore=(20, 20, 5, 3), overlay=path, top=1)
    drawn = np.asarray(Image.open(path).convert("RGB"))
    np.testing.assert_array_equal(drawn[20:, 20:], image[20:, 20:])
    assert (drawn[:5] == 0).all()


def test_from_the_shell(run, save, image):
    mask = np.full((24, 30), 255, np.uint8)
    mask[9:14, 11:18] = 0
    for name, picture in (("screen", image), ("icon", image[9:14, 11:18]), ("mask", mask)):
        save(f"{name}.png", picture)
    plain = ["match", "screen.png", "icon.png", "--no-heatmap", "--threshold", "1", "--top", "1"]
    assert run(*plain)[:2] == (0, "x\ty\twidth\theight\tscore\tkernel\tcenter_x\tcenter_y\n"
        "11\t9\t7\t5\t1.0\ticon.png\t14.5\t11.5\n")  # fmt: skip
    assert run(*plain, "--image-mask", "mask.png")[0] == 1
    assert run(*plain, "--ignore", "11,9,7,2", "--ignore", "11,12,7,2")[0] == 1
    code, _, told = run(*plain, "--ignore", "30,0,2,2", "--nan", "ignore")
    assert code == 0
    assert "screen.png has no pixel in the box 30,0,2,2 that is ignored" in told
    code, _, told = run(*plain, "--ignore", "1,2,3")
    assert code == 2
    assert "ignore '1,2,3' is no box; give X,Y,W,H" in told
    code, _, told = run(*plain, "--image-mask", "mask.png", "--overlay", "mask.png")
    assert code == 2
    np.testing.assert_array_equal(np.asarray(Image.open("mask.png")), mask)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"image_mask": np.zeros((24, 30), np.uint8)}, "black everywhere"),
        ({"image_mask": np.ones((5, 7), np.uint8)}, "7x5 pixels"),
        ({"ignore": (0, 0, 30, 24)}, "no pixel of image counts"),
        ({"ignore": (0, 0, 0, 4)}, "ignore 0,0,0,4 is empty"),
        ({"ignore": [(0, 0, 1, 4), "1"]}, "ignore '1' is not four"),
        ({"ignore": 3}, "ignore 3 is not four"),
        ({"nan": "drop"}, "nan 'drop' is unknown"),
    ],
)
def test_what_cannot_be_used_is_refused(options, says, image):
    with pytest.raises(InputError, match=says):
        match(image, image[9:14, 11:18], **options)


def test_a_kernel_of_nan_alone_is_refused(image):
    values = image / 255
    with pytest.raises(InputError, match="NaN wherever it counts"):
        match(values, np.full((3, 3, 3), np.nan), nan="ignore")


def test_a_matcher_keeps_the_mask_of_its_images(image):
    mask = np.ones((24, 30), bool)
    mask[9:14, 11:18] = False
    matcher = Matcher(image[9:14, 11:18], image_mask=mask, ignore=(0, 0, 2, 2), threshold=1)
    assert not matcher.match(image)
    assert matcher.match(np.roll(image, 8, 0)).best.y == 17
