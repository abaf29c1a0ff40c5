"""Images by windows of which not all counts have the answers of the same images in memory."""

from __future__ import annotations

import tempfile
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import patchsim
from patchsim import InputError
from patchsim.pictures import windowed

LARGE = {"max_pixels": 1, "memory": "40MB"}  # too large to be read whole


def answer(report):
    """All that tells of the matches, bit for bit."""
    names = ("x", "y", "width", "height", "score", "margin", "x_subpixel", "y_subpixel")
    return [tuple(getattr(match, name) for name in names) for match in report]


def by_windows(path, kernel, **options):
    report = patchsim.match(path, kernel, **{**LARGE, **options})
    assert all(plan.problem.reading for plan in report.plans)
    return report


def opacity(rng, size, kind):
    """Levels [H, W]: holes, shades or hardly anything."""
    if kind == "shades":
        return rng.integers(0, 256, size, dtype=np.uint8)
    levels = np.full(size, 255, np.uint8)
    top, left = (int(rng.integers(0, length)) for length in size)
    if kind == "few":
        levels[:] = 0
        levels[top:, left:] = 255
    else:
        levels[top : top + 20, left : left + 25] = 0
    return levels


def save(folder, kind, image, alpha):
    rgba = np.dstack([image, alpha])
    path = Path(folder, f"image.{kind}")
    if kind == "npy":
        np.save(path, rgba)
    elif kind == "png":
        Image.fromarray(rgba).save(path)
    elif kind == "zarr":
        made = zarr.create_array(str(path), shape=rgba.shape, dtype="u1", chunks=(16, 24, 4))
        made[...] = rgba
    else:
        tifffile.imwrite(path, rgba, tile=(16, 32), photometric="rgb", extrasamples=("unassalpha",))
    return path


@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_transparent_and_masked_images(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 1 << 20), "seed"))
    height, width = data.draw(st.tuples(st.integers(24, 80), st.integers(24, 80)), "size")
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    tall, wide = data.draw(st.tuples(st.integers(2, 20), st.integers(2, 20)), "kernel")
    top, left = int(rng.integers(0, height - tall + 1)), int(rng.integers(0, width - wide + 1))
    kernel = image[top : top + tall, left : left + wide].copy()
    size = height, width
    alpha = opacity(rng, size, data.draw(st.sampled_from(["hole", "shades", "few"]), "alpha"))
    options = {
        "metric": data.draw(st.sampled_from(["sad", "ssd", "ncc", "zncc"]), "metric"),
        "engine": data.draw(st.sampled_from(["auto", "simd", "fft"]), "engine"),
        "padding": data.draw(
            st.sampled_from(["valid", "edge", "reflect", "zero", "transparent"]), "padding"
        ),
        "stride": data.draw(st.tuples(st.integers(1, 4), st.integers(1, 4)), "stride"),
        "min_visible": data.draw(st.sampled_from([0.2, 0.9, 1.0]), "visible"),
        "top": data.draw(st.integers(1, 12), "top"),
        "margin": data.draw(st.booleans(), "margin"),
        "subpixel": data.draw(st.booleans(), "subpixel"),
        "color": data.draw(st.sampled_from(["auto", "gray", "hsv", "lab"]), "color"),
    }
    if data.draw(st.booleans(), "has region"):
        options["region"] = left, top, width - left, height - top
    if data.draw(st.booleans(), "has mask"):
        options["image_mask"] = opacity(rng, size, data.draw(st.sampled_from(["hole", "shades"])))
    if data.draw(st.booleans(), "has boxes"):
        options["ignore"] = [(left - 3, top + 2, 9, 7)]
    kind = data.draw(st.sampled_from(["npy", "png", "zarr", "tif"]), "kind")
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch("patchsim.scene.by_windows._SMALL", 1 << 40),
    ):
        path = save(folder, kind, image, alpha)
        results = []
        for limits in ({}, LARGE):
            try:
                found = patchsim.match(path, kernel, **{**options, **limits})
                results.append(answer(found))
            except InputError as error:
                results.append(str(error))
    assert results[1] == results[0]


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_nan_that_does_not_count(rng, tmp_path, dtype):
    image = rng.random((60, 70, 2)).astype(dtype)
    kernel = image[20:31, 30:47].copy()
    image[25, 33, 1] = image[:10] = np.nan
    np.save(tmp_path / "image.npy", image)
    for metric in ("sad", "zncc"):
        options = {"nan": "ignore", "metric": metric, "margin": True}
        expected = answer(patchsim.match(image, kernel, **options))
        assert answer(by_windows(tmp_path / "image.npy", kernel, **options)) == expected
        assert expected[0][:2] == (30, 20)
    with pytest.raises(InputError, match="has a value nan at x=0, y=0"):
        patchsim.match(tmp_path / "image.npy", kernel, **LARGE)


def test_a_map_and_an_overlay_of_a_masked_image(rng, tmp_path):
    image = rng.integers(0, 256, (60, 70, 3), dtype=np.uint8)
    kernel = image[20:31, 30:47].copy()
    mask = opacity(rng, (60, 70), "hole")
    np.save(tmp_path / "image.npy", image)
    made = []
    for name, source, limits in (("a", image, {}), ("b", tmp_path / "image.npy", LARGE)):
        files = {"map": tmp_path / f"{name}.npy", "overlay": tmp_path / f"{name}.png"}
        patchsim.match(source, kernel, image_mask=mask, engine="simd", **files, **limits)
        made.append((np.load(files["map"]), files["overlay"].read_bytes()))
    assert (made[0][0] == made[1][0]).all()
    assert made[0][1] == made[1][1]


def test_a_small_region_is_read_whole(rng, tmp_path):
    image = rng.integers(0, 256, (60, 70, 3), dtype=np.uint8)
    path = save(tmp_path, "npy", image, opacity(rng, (60, 70), "shades"))
    options = {"region": (10, 10, 40, 40), "min_visible": 0.1}
    kernel = image[20:31, 20:37].copy()
    report = patchsim.match(path, kernel, **LARGE, **options)
    assert report.plans[0].problem.reading is None
    assert answer(report) == answer(patchsim.match(path, kernel, **options))


@pytest.mark.parametrize(("dtype", "most"), [("u1", 255), ("u2", 65535)])
def test_a_mask_that_is_too_large_to_be_read_whole(rng, tmp_path, dtype, most):
    image = rng.integers(0, 256, (60, 70, 3), dtype=np.uint8)
    kernel = image[20:31, 30:47].copy()
    np.save(tmp_path / "image.npy", image)
    mask = rng.integers(0, most + 1, (60, 70), dtype=dtype)
    np.save(tmp_path / "mask.npy", mask)
    expected = answer(patchsim.match(image, kernel, image_mask=mask))
    for limits in (LARGE, {**LARGE, "max_pixels": 4200}):  # the mask by windows, and in memory
        report = patchsim.match(
            tmp_path / "image.npy", kernel, image_mask=tmp_path / "mask.npy", **limits
        )
        assert answer(report) == expected
    report = patchsim.match(image, kernel, image_mask=tmp_path / "mask.npy", **LARGE)
    assert answer(report) == expected
    windows = patchsim.Matcher(kernel, image_mask=tmp_path / "mask.npy", **LARGE).fingerprint
    assert windows == patchsim.Matcher(kernel, image_mask=mask, **LARGE).fingerprint
    for other, says in (
        (np.dstack([mask, mask, mask // 2]), "is in colour; give one in grey"),
        (mask * 0, "is black everywhere"),
        (rng.random((60, 70)), "is read by windows, .*; give one of 8 or 16 bits"),
        (mask[:9], "give one of the same size"),
    ):
        np.save(tmp_path / "mask.npy", other)
        with pytest.raises(InputError, match=says):
            patchsim.match(
                tmp_path / "image.npy", kernel, image_mask=tmp_path / "mask.npy", **LARGE
            )


def test_nothing_that_counts(rng, tmp_path):
    image = rng.integers(0, 256, (60, 70, 3), dtype=np.uint8)
    alpha = np.full((60, 70), 255, np.uint8)
    alpha[:30] = 0
    path = save(tmp_path, "npy", image, alpha)
    for options, says in (
        ({"region": (0, 0, 70, 30)}, "is transparent everywhere, so nothing of it is visible"),
        ({"ignore": [(0, 30, 70, 30)]}, "no pixel of .* counts: its alpha, the image mask"),
        ({"image_mask": np.zeros((60, 70), np.uint8)}, "black everywhere, so no pixel of the ima"),
        ({"image_mask": np.zeros((6, 7), np.uint8)}, "is 7x6 pixels, image .* 70x60; give one of"),
    ):
        for limits in ({}, LARGE):
            with pytest.raises(InputError, match=says):
                patchsim.match(path, image[:9, :9], **options, **limits)


def test_invisible_values_do_not_matter(rng, tmp_path):
    image = rng.random((60, 70, 1))
    kernel = image[20:31, 30:47].copy()
    mask = np.full((60, 70), 255, np.uint8)
    mask[:16] = 0
    image[:16] = 9e9  # outside the range of values
    np.save(tmp_path / "image.npy", image)
    with mock.patch.object(windowed, "_BAND_BYTES", 4096):
        report = by_windows(tmp_path / "image.npy", kernel, image_mask=mask)
    assert answer(report) == answer(patchsim.match(image, kernel, image_mask=mask))
