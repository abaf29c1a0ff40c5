"""Slides that OpenSlide reads have, by windows and whole, the pixels of which they were made.

The files are minimal ones of Hamamatsu's VMS, a text beside JPEGs; none is of the maker.
"""

from __future__ import annotations

import sys

import numpy as np
import pytest
from PIL import Image

import patchsim
from patchsim import InputError
from patchsim.pictures import large, slide_source, windowed
from patchsim.pictures.opening import open_source

pytest.importorskip("openslide", reason="the extra slide is not installed")

LARGE = {"max_pixels": 5000, "memory": "40MB"}  # too large to be read whole


@pytest.fixture
def slide(tmp_path, rng):
    """A slide of 800x640 pixels, and these pixels."""
    shown = rng.integers(0, 256, (40, 50, 3), np.uint8).repeat(16, 0).repeat(16, 1)
    return made(tmp_path / "slide.vms", shown)


def made(path, shown):
    options = {"quality": 95, "subsampling": 0, "restart_marker_rows": 1}
    Image.fromarray(shown).save(path.with_name("tiles.jpg"), **options)
    Image.fromarray(shown[::8, ::8]).save(path.with_name("map.jpg"), **options)
    path.write_text(
        "[Virtual Microscope Specimen]\nNoJpegColumns=1\nNoJpegRows=1\nImageFile=tiles.jpg\n"
        "MapFile=map.jpg\nMacroImage=map.jpg\nSourceLens=20\nPhysicalWidth=1000\n"
        "PhysicalHeight=1000\n"
    )
    return path, np.asarray(Image.open(path.with_name("tiles.jpg")))


def opened(path, **options):
    given = {"memory": 40_000_000, "alpha": True, "ignore_alpha": False, **options}
    return large.open_by_windows(path, **given)


def test_pixels_are_those_of_which_it_was_made(slide):
    path, shown = slide
    picture, whole = opened(path), open_source(path, name="image")
    assert windowed.of(picture.pixels) is not None
    np.testing.assert_array_equal(whole.pixels, shown)
    np.testing.assert_array_equal(picture.pixels[0:640, 0:800], shown)
    np.testing.assert_array_equal(picture.pixels[37:601, 300:777], shown[37:601, 300:777])
    assert picture.alpha is whole.alpha is None


def test_matches_are_those_of_the_array(slide):
    path, shown = slide
    kernel = shown[123:160, 505:550].copy()
    alone = patchsim.match(shown, kernel, top=5)
    for options in (LARGE, {}):
        found = patchsim.match(path, kernel, top=5, **options)
        assert [(m.x, m.y, m.score) for m in found] == [(m.x, m.y, m.score) for m in alone]
    assert (alone.best.x, alone.best.y, alone.best.score) == (505, 123, 1)


def test_a_window_of_a_level_does_not_depend_on_where_it_is_read(slide, monkeypatch):
    monkeypatch.setattr(slide_source, "_CHUNK", 96)
    path, shown = slide
    picture = opened(path, level=1)
    assert picture.pixels.shape == (320, 400, 3)
    whole = picture.pixels[0:320, 0:400]
    np.testing.assert_array_equal(picture.pixels[33:190, 71:333], whole[33:190, 71:333])
    means = shown.reshape(320, 2, 400, 2, 3).mean((1, 3))
    assert np.abs(whole - means).mean() < 4  # the JPEG's own reduction
    assert "level 1 of 0 to 6 is searched, of 400x320 pixels" in picture.notices[0]
    found = patchsim.match(path, whole[100:140, 50:90].copy(), level=1, top=1)
    assert (found.best.x, found.best.y, found.best.score) == (50, 100, 1)


def test_what_was_not_scanned_does_not_count(slide, monkeypatch):
    import openslide

    path, _ = slide
    read = openslide.OpenSlide.read_region

    def with_a_gap(self, corner, level, size):
        region = read(self, corner, level, size)
        if corner[0] == 0:
            region.putalpha(0)
        return region

    monkeypatch.setattr(openslide.OpenSlide, "read_region", with_a_gap)
    for picture in (opened(path), open_source(path, name="image")):
        levels = picture.alpha[0:640, 0:800]
        assert (levels[:, :512] == 0).all()
        assert (levels[:, 512:] == 255).all()


def test_a_scan_of_a_folder_finds_it(slide):
    path, shown = slide
    results = patchsim.scan(path.parent, shown[123:160, 505:550].copy(), threshold=1.0)
    assert [result.image.rpartition("/")[2] for result in results if result] == [
        "slide.vms", "tiles.jpg"
    ]  # fmt: skip


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "OpenSlide does not know its format"),
        (b"[Virtual Microscope Specimen]\nNoJpegColumns=1\n", "OpenSlide"),
        (b"\xff\xd8 a picture", "OpenSlide does not know its format"),
    ],
)
def test_what_is_no_slide_is_told(tmp_path, content, text, whole):
    path = tmp_path / "slide.vms"
    path.write_bytes(content)
    with pytest.raises(InputError, match=text):
        open_source(path, name="image") if whole else opened(path)


def test_damage_is_told_with_its_place(slide):
    path, _ = slide
    tiles = path.with_name("tiles.jpg")
    content = tiles.read_bytes()
    tiles.write_bytes(content[: len(content) // 2])
    picture = opened(path, ignore_alpha=True)
    with pytest.raises(InputError, match="cannot be decoded"):
        picture.pixels[0:640, 0:800]


@pytest.mark.parametrize("name", ["slide.vms", "tiles.jpg"])
def test_a_slide_that_changes_is_an_error(slide, name):
    path, _ = slide
    picture = opened(path, ignore_alpha=True)
    with path.with_name(name).open("ab") as file:
        file.write(b"\n")
    with pytest.raises(InputError, match="changed while it was read"):
        picture.pixels[0:64, 0:64]


def test_a_level_that_is_not_there_is_told(slide):
    with pytest.raises(InputError, match="has levels from 0 to 6; there is no level 9"):
        patchsim.match(slide[0], slide[1][:9, :9].copy(), level=9)


def test_without_the_package_its_install_is_told(slide, monkeypatch):
    monkeypatch.setitem(sys.modules, "openslide", None)
    with pytest.raises(InputError, match="needs OpenSlide: pip install openslide-python"):
        patchsim.match(slide[0], slide[1][:9, :9].copy())
