"""Frames of animations and pages of TIFFs: each is what its file shows there."""

from __future__ import annotations

import contextlib
import io
import json
import sys

import numpy as np
import pytest
import tifffile
from PIL import Image

import patchsim
from patchsim import InputError, match
from patchsim.pictures import frames

PLACES = [(3, 4), (40, 7), (21, 30), (33, 18)]
GLYPH = np.random.default_rng(5).integers(0, 2, (8, 9, 3), dtype=np.uint8) * 200 + 20


def drawings():
    """Frames [4, 48, 64, 3] of a glyph that moves over a ground with few colours."""
    grounds = np.full((len(PLACES), 48, 64, 3), (30, 60, 90), np.uint8)
    grounds[:, ::6] = (90, 90, 20)
    for ground, (x, y) in zip(grounds, PLACES, strict=True):
        ground[y : y + 8, x : x + 9] = GLYPH
    return grounds


def animation(path):
    pictures = [Image.fromarray(one) for one in drawings()]
    options = {"lossless": True} if path.suffix == ".webp" else {}
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=50, **options)
    return path


@pytest.fixture(params=["a.gif", "a.png", "a.webp", "a.tif"])
def moving(request, tmp_path):
    return animation(tmp_path / request.param)


def read(source, frame="all"):
    return list(frames.open_frames(source, frame, name="image"))


def test_every_frame_is_what_is_shown(moving):
    numbered = read(moving)
    assert [number for number, _ in numbered] == [0, 1, 2, 3]
    for (number, picture), wanted in zip(numbered, drawings(), strict=True):
        np.testing.assert_array_equal(picture.pixels, wanted)
        assert (picture.notices, picture.alpha) == ((), None)
        ((alone, same),) = read(moving, number)
        assert alone == number
        np.testing.assert_array_equal(same.pixels, wanted)
    with Image.open(moving) as image:
        image.seek(2)
        for (_, picture), wanted in zip(read(image), drawings(), strict=True):
            np.testing.assert_array_equal(picture.pixels, wanted)
        assert image.tell() == 2
    with pytest.raises(InputError, match=r"has frames from 0 to 3; there is no frame 4"):
        read(moving, 4)


def test_matches_have_their_frames(moving):
    report = match(moving, GLYPH, frame="all", threshold=1)
    assert [(m.frame, m.x, m.y) for m in report] == [(i, *PLACES[i]) for i in range(4)]
    assert [(one.frame, one.width, one.height, one.threshold) for one in report.frames] == [
        (i, 64, 48, 1.0) for i in range(4)
    ]
    one = match(moving, GLYPH, frame=2, threshold=1, map=True)
    assert [(m.frame, m.x, m.y) for m in one] == [(2, *PLACES[2])]
    assert one.map.shape == (41, 56)
    first = match(moving, GLYPH, top=2)
    assert (first[0].frame, first[0].x, first.frames) == (None, PLACES[0][0], ())
    assert len(match(moving, GLYPH, frame="all", top=2)) == 8
    other = 255 - GLYPH
    nothing = match(moving, other, frame="all", threshold=0.99)
    assert len(nothing) == 0
    told = [text for text in nothing.notices if text.startswith("no match")]
    assert len(told) == 1
    assert told[0].startswith(
        "no match: nothing reached the threshold in any of 4 frames; the best"
    )
    assert nothing.best_below.score < 0.99


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_pages_of_tiffs_that_no_other_library_lists(byteorder, bigtiff, dtype, tmp_path, rng):
    """Colour of 16 bits, floats, both orders of bytes, 64 bits, and small copies between."""
    path = tmp_path / "pages.tif"
    pages = [(rng.random((20 + i, 30, 3)) * 255).astype(dtype) for i in range(3)]
    with tifffile.TiffWriter(path, byteorder=byteorder, bigtiff=bigtiff) as file:
        for page in pages:
            file.write(page, photometric="rgb", compression="zlib" if page is pages[1] else None)
            file.write(page[::2, ::2].copy(), photometric="rgb", subfiletype=1)
    numbered = read(path)
    assert [number for number, _ in numbered] == [0, 1, 2]
    for (_, picture), page in zip(numbered, pages, strict=True):
        np.testing.assert_array_equal(picture.pixels, page)
        assert picture.pixels.dtype == dtype
        assert picture.notices == ()


def test_what_has_one_frame(tmp_path, rng):
    pixels = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    for name in ("one.png", "one.bmp", "one.gif", "one.tif", "one.jpg"):
        Image.fromarray(pixels).save(tmp_path / name)
        ((number, picture),) = read(tmp_path / name)
        assert number == 0
        same = read(tmp_path / name, 0)[0][1]
        np.testing.assert_array_equal(same.pixels, picture.pixels)
        with pytest.raises(InputError, match="has one frame, of number 0; there is no frame 1"):
            read(tmp_path / name, 1)
    assert match(pixels, pixels[4:9, 5:11], frame=0, top=1).best.frame == 0
    with pytest.raises(InputError, match=r"^image has one frame, of number 0; there is no frame 3"):
        match(pixels, pixels[4:9, 5:11], frame=3)


@pytest.mark.parametrize("given", [-1, 1.5, "first", True, [0]])
def test_what_is_no_frame_is_refused(given):
    image = np.zeros((9, 9), np.uint8)
    with pytest.raises(InputError, match="is no frame; give a whole number from 0, or all"):
        match(image, image, frame=given)


def test_damaged_pages_are_told(tmp_path):
    path = animation(tmp_path / "a.tif")
    content = path.read_bytes()
    for length in (9, 200, len(content) // 2, len(content) - 300):
        path.write_bytes(content[:length])
        with pytest.raises(InputError):
            list(read(path))
    (tmp_path / "loop.tif").write_bytes(b"II*\0\x08\0\0\0\0\0\x08\0\0\0")
    with pytest.raises(InputError):
        read(tmp_path / "loop.tif")


def test_the_command(run, tmp_path, monkeypatch):
    animation(tmp_path / "a.gif")
    Image.fromarray(GLYPH).save("glyph.png")
    content = (tmp_path / "a.gif").read_bytes()
    words = ("glyph.png", "--threshold", "1", "--frame")
    code, out, err = run("match", tmp_path / "a.gif", *words, "all", "--columns", "frame,x,y")
    assert (code, err) == (0, "")
    lines = [f"{i}\t{x}\t{y}" for i, (x, y) in enumerate(PLACES)]
    assert out.splitlines() == ["frame\tx\ty", *lines]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    code, out, _ = run("match", "-", *words, "all", "--format", "json")
    found = json.loads(out)
    assert [one["frame"] for one in found["matches"]] == [0, 1, 2, 3]
    assert [one["frame"] for one in found["frames"]] == [0, 1, 2, 3]
    out = run("match", tmp_path / "a.gif", *words, "3", "--no-heatmap")[1]
    assert out.splitlines()[0].split("\t")[-3:] == ["frame", "center_x", "center_y"]
    assert out.splitlines()[1].split("\t")[-3:] == ["3", "37.5", "22.0"]
    code, _, err = run("match", tmp_path / "a.gif", *words, "all", "--overlay", "o.png")
    assert code == 2
    assert "and report are of one frame, and all are asked for" in err
    code, _, err = run("match", tmp_path / "a.gif", *words, "9")
    assert code == 2
    assert "has frames from 0 to 3; there is no frame 9" in err


def test_a_frame_within_less_memory_is_itself_or_is_refused(moving):
    wanted = match(moving, GLYPH, frame=2, top=1)
    found = []
    for memory in range(2_000, 200_000, 6_000):
        with contextlib.suppress(InputError):
            found.append(match(moving, GLYPH, frame=2, top=1, memory=memory).matches)
    assert 0 < len(found) < 33
    assert found == [wanted.matches] * len(found)


def test_a_page_is_read_by_windows_where_a_picture_of_its_own_is(tmp_path, rng):
    pages = rng.integers(0, 256, (2, 480, 640, 3), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "two.tif", pages, tile=(64, 64), photometric="rgb")
    tifffile.imwrite(tmp_path / "one.tif", pages[1], tile=(64, 64), photometric="rgb")
    given = {"kernel": pages[1, 50:60, 70:80], "top": 1, "overlay": tmp_path / "o.png"}
    drawn = []
    # There is room for the page, but not beside the overlay.
    for name, frame in (("one.tif", None), ("two.tif", 1)):
        report = match(tmp_path / name, frame=frame, memory=4_400_000, **given)
        assert (report.best.x, report.best.y) == (70, 50)
        with Image.open(given["overlay"]) as overlay:
            drawn.append(overlay.size)
    assert drawn == [(320, 240)] * 2


def test_notices_are_told_once(tmp_path):
    class Collecting(patchsim.Observer):
        def __init__(self):
            self.texts = []

        def notice(self, text):
            self.texts.append(text)

    path = animation(tmp_path / "a.gif")
    told = Collecting()
    flat = np.full((3, 3, 3), (30, 60, 90), np.uint8)
    report = match(path, flat, frame="all", top=1, observer=told)
    assert told.texts == ["kernel is flat (each channel has one value): every flat area of that"
                          " colour matches it"]  # fmt: skip
    assert report.notices == tuple(told.texts)


def test_a_notice_of_a_later_frame_is_a_line_that_names_it(tmp_path, rng):
    path = tmp_path / "pages.tif"
    frames = [rng.integers(0, most, (30, 40), dtype=np.uint16) for most in (65536, 3)]
    first, *others = (Image.fromarray(frame) for frame in frames)
    first.save(path, save_all=True, append_images=others)
    told = []

    class Told(patchsim.Observer):
        def notice(self, text):
            told.append(text)

    patchsim.match(path, frames[1][5:12, 5:12], frame="all", top=1, observer=Told())
    (notice,) = [text for text in told if "has values up to 2" in text]
    assert notice.startswith("frame 1: image ")
    assert "--data-range" in notice
    assert "\n" not in notice
