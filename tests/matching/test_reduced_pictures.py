"""Overlays and pages of images that are read by windows show them reduced."""

from __future__ import annotations

import base64
import io
import re
import tracemalloc
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import patchsim
from patchsim.output import reduced_image, rgb
from patchsim.output.exporters import blend
from patchsim.output.report_parts import Match

LARGE = {"max_pixels": 2000, "memory": "40MB"}  # too large to be read whole


@pytest.fixture
def picture(rng):
    return rng.integers(0, 256, (90, 131, 3), dtype=np.uint8)


@pytest.fixture
def path(picture, tmp_path):
    np.save(tmp_path / "image.npy", picture)
    return tmp_path / "image.npy"


def side(most):
    return mock.patch.object(reduced_image, "_MOST_SIDE", most)


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
@pytest.mark.parametrize(("most", "factor"), [(200, 1), (131, 1), (50, 3), (9, 15)])
def test_a_pixel_is_the_mean_of_a_square(rng, tmp_path, dtype, most, factor):
    whole = rng.random((90, 131, 3)) if dtype == "f4" else rng.integers(0, 256, (90, 131, 3))
    whole = (whole * (257 if dtype == "u2" else 1)).astype(dtype)
    np.save(tmp_path / "image.npy", whole)
    with side(most), mock.patch.object(reduced_image, "_BAND_BYTES", 5000):
        report = patchsim.match(
            tmp_path / "image.npy",
            whole[7:27, 11:41].copy(),
            overlay=tmp_path / "o.png",
            labels=(),
            top=1,
            **LARGE,
        )
    assert report.plans[0].problem.reading
    span = {"u1": 255, "u2": 65535, "f4": 1}[dtype]
    expected = rgb.picture(whole, span, 0).reduce(factor)
    with Image.open(tmp_path / "o.png") as drawn:
        pixels = np.asarray(drawn)
    assert drawn.size == expected.size
    # Everything but the box is the picture.
    far = np.s_[(30 // factor) + 6 :]
    assert (pixels[far] == np.asarray(expected)[far]).all()
    assert (pixels != np.asarray(expected)).any()


def test_a_picture_that_is_not_reduced_has_the_overlay_of_memory(picture, path, tmp_path):
    kernel = picture[7:27, 11:41].copy()
    for options in ({}, {"region": (5, 5, 90, 70)}, {"color": "gray"}, {"padding": "edge"}):
        patchsim.match(path, kernel, overlay=tmp_path / "a.png", **options, **LARGE)
        patchsim.match(picture, kernel, overlay=tmp_path / "b.png", **options)
        assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_a_blend_that_is_not_reduced_is_that_of_memory(picture, path, tmp_path):
    kernel = picture[7:27, 11:41].copy()
    patchsim.match(path, kernel, blend=tmp_path / "a.png", engine="simd", **LARGE)
    patchsim.match(picture, kernel, blend=tmp_path / "b.png", engine="simd")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with side(50):
        patchsim.match(path, kernel, blend=tmp_path / "a.png", engine="simd", **LARGE)
    with Image.open(tmp_path / "a.png") as small, Image.open(tmp_path / "b.png") as large:
        assert large.height - small.height == 90 - 30  # and the bar below both


@given(
    st.integers(1, 40), st.integers(-40, 40), st.integers(1, 5), st.integers(1, 5),
    st.integers(1, 60), st.sampled_from([1, 3, 5, 7]), st.integers(1, 50),
)  # fmt: skip
def test_a_reduced_pixel_has_the_cell_of_its_center(
    size, origin, step, factor, count, reduced, pixels
):
    exact = blend.cells(size, origin, step, factor, (pixels * reduced, count))
    small = blend.cells(size, origin, step, factor, (pixels, count), reduced)
    assert (small == exact[reduced // 2 :: reduced]).all()


def test_boxes_stand_where_the_matches_are(picture, path, tmp_path):
    kernel = picture[40:60, 60:90].copy()
    with side(50):
        patchsim.match(path, kernel, overlay=tmp_path / "o.png", labels=(), top=1, **LARGE)
    with Image.open(tmp_path / "o.png") as drawn:
        pixels = np.asarray(drawn).astype(int)
    yellow = (pixels[..., :2] > 250).all(2) & (pixels[..., 2] < 5)
    rows, cols = np.nonzero(yellow)
    # The box is drawn two lines outside of the pixels that the match touches.
    assert (rows.min(), rows.max()) == (13 - 2, 19 + 2)
    assert (cols.min(), cols.max()) == (20 - 2, 29 + 2)


@pytest.mark.parametrize("corners", [None, ((31.0, 7.0), (31.0, 37.0), (11.0, 37.0), (11.0, 7.0))])
def test_matches_are_placed(corners):
    match = Match(x=11, y=7, width=20, height=30, score=1.0, kernel="k", corners=corners)
    view = reduced_image.View(np.zeros((4, 4, 3), np.uint8), 255.0, 0.0, 4)
    (placed,) = view.placed([match])
    assert (placed.x, placed.y, placed.width, placed.height) == (2, 1, 6, 9)
    assert placed.score == 1.0
    if corners:
        assert placed.corners == tuple((x / 4, y / 4) for x, y in corners)


@pytest.mark.parametrize("options", [{}, {"angles": "0,90", "flips": "h"}])
def test_a_page_has_crops_of_all_pixels(picture, path, tmp_path, options):
    kernel = picture[40:60, 60:90].copy()
    pages = []
    for source, more in ((path, LARGE), (picture, {})):
        with side(50):
            patchsim.match(source, kernel, report=tmp_path / "p.html", top=3, **options, **more)
        pages.append((tmp_path / "p.html").read_text())
    images = [re.findall(r"data:image/(?:png|jpeg);base64,([A-Za-z0-9+/=]+)", one) for one in pages]
    # The first is the image, and behind it are kernels, matches and differences.
    assert images[0][1:] == images[1][1:]
    assert len(images[0]) > 3
    with Image.open(io.BytesIO(base64.b64decode(images[0][0]))) as small:
        assert small.size == (44, 30)
    assert "shown reduced" in pages[0]
    assert 'viewBox="0 0 131 90"' in pages[0]


def test_the_command_says_how_an_overlay_is_reduced(picture, path, tmp_path, run):
    np.save(tmp_path / "kernel.npy", picture[40:60, 60:90])
    with side(50):
        code, _, err = run(
            "match", path.name, "kernel.npy", "--max-pixels", "2000", "--no-heatmap",
            "--overlay", "o.png", "--top", "1",
        )  # fmt: skip
    assert code == 0, err
    assert "overlay o.png: 1 box" in err
    assert ", each pixel the mean of 3x3" in err


def test_little_memory_makes_smaller_pictures():
    pixels = mock.Mock(spec=np.ndarray)
    assert reduced_image.view_of(pixels, 255.0, 0.0, 1, lambda count: count).pixels is pixels


def test_a_blend_takes_no_memory_for_floats_of_the_whole_map(rng, tmp_path):
    image = rng.integers(0, 256, (1400, 1400), np.uint8)
    np.save(tmp_path / "image.npy", image)
    peaks = []

    def measured(search, kernel, scores, *others):
        tracemalloc.start()
        canvas = draw(search, kernel, scores, *others)
        peaks.append(tracemalloc.get_traced_memory()[1] / scores.size)
        tracemalloc.stop()
        assert scores.size > 10 * search.view.pixels.size
        return canvas

    draw = blend.draw
    with side(100), mock.patch.object(blend, "draw", measured):
        patchsim.match(
            tmp_path / "image.npy", image[:9, :9].copy(), blend=tmp_path / "b.png", **LARGE
        )
    (peak,) = peaks
    assert peak < 3  # bytes a cell, of which one is its colour's number
