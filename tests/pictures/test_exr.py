"""OpenEXR: channels, alpha, windows, parts, and what is refused."""

from __future__ import annotations

import struct
import sys
import threading

import numpy as np
import OpenEXR
import pytest

from patchsim import InputError, match
from patchsim.pictures import exr
from patchsim.pictures.reader import open_picture


def write(path, channels, **header):
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage, **header}
    OpenEXR.File(header, channels).write(str(path))
    return path


def opened(path, **options):
    return open_picture(path, name="a", **options)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_values_are_kept(dtype, tmp_path, rng):
    values = (rng.random((20, 30, 3)) * 3 - 1).astype(dtype)
    picture = opened(write(tmp_path / "a.exr", {"RGB": values}))
    assert picture.pixels.dtype == np.float32
    np.testing.assert_array_equal(picture.pixels, values)
    assert (picture.alpha, picture.notices, picture.profile) == (None, (), None)
    grey = opened(write(tmp_path / "y.exr", {"Y": values[..., 0].copy()}))
    np.testing.assert_array_equal(grey.pixels[..., 0], values[..., 0])
    with pytest.raises(InputError, match="outside 0 to 1"):
        match(tmp_path / "a.exr", values[2:5, 3:6].astype(np.float32))
    kernel = values[2:5, 3:6].astype(np.float32)
    best = match(tmp_path / "a.exr", kernel, data_range=(-1, 2)).best
    assert (best.x, best.y, best.score) == (3, 2, 1)


def test_colours_are_divided_by_their_alpha(tmp_path, rng):
    colors = rng.random((6, 8, 3)).astype(np.float32)
    opacity = np.linspace(0, 1, 48, dtype=np.float32).reshape(6, 8)
    stored = np.dstack([colors * opacity[..., None], opacity])
    picture = opened(write(tmp_path / "a.exr", {"RGBA": stored}))
    np.testing.assert_array_equal(picture.alpha, np.rint(opacity * 255))
    visible = opacity > 0
    np.testing.assert_allclose(picture.pixels[visible], colors[visible], rtol=1e-5)
    opaque = np.dstack([colors, np.ones_like(opacity)])
    assert opened(write(tmp_path / "b.exr", {"RGBA": opaque})).alpha is None


def test_other_channels(tmp_path, rng):
    planes = {name: rng.random((6, 8)).astype(np.float32) for name in ("Z", "B2", "X")}
    picture = opened(write(tmp_path / "a.exr", dict(planes)))
    np.testing.assert_array_equal(picture.pixels, np.dstack([planes[n] for n in ("B2", "X", "Z")]))
    rgb = rng.random((6, 8, 3)).astype(np.float32)
    path = write(tmp_path / "b.exr", {"RGB": rgb, "Z": planes["Z"]})
    assert opened(path).notices == (f"{path} has more channels (Z); R, G, B are used",)
    counts = {"id": rng.integers(0, 1 << 31, (6, 8)).astype(np.uint32)}
    assert opened(write(tmp_path / "c.exr", counts)).pixels.dtype == np.float64


def test_windows_and_parts_are_told(tmp_path, rng):
    rgb = rng.random((6, 8, 3)).astype(np.float32)
    windows = {
        "dataWindow": (np.array([3, 2], np.int32), np.array([10, 7], np.int32)),
        "displayWindow": (np.array([0, 0], np.int32), np.array([19, 9], np.int32)),
    }
    path = write(tmp_path / "a.exr", {"RGB": rgb}, **windows)
    picture = opened(path)
    np.testing.assert_array_equal(picture.pixels, rgb)
    assert picture.notices == (
        f"{path} has pixels in 8x6 of its display window, from x=3, y=2 on; positions count from"
        " there",
    )
    parts = [OpenEXR.Part({"name": n}, {"RGB": rgb * v}) for n, v in (("a", 1), ("b", 0.5))]
    OpenEXR.File(parts).write(str(tmp_path / "p.exr"))
    picture = opened(tmp_path / "p.exr")
    np.testing.assert_array_equal(picture.pixels, rgb)
    assert picture.notices == (f"{tmp_path / 'p.exr'} has 2 parts; the first is used",)


def test_nothing_is_printed_of_damaged_pixels(tmp_path, rng, capsys):
    path = write(tmp_path / "a.exr", {"RGB": rng.random((60, 80, 3)).astype(np.float32)})
    content = path.read_bytes()
    path.write_bytes(content[:-2000])
    stdout = sys.stdout
    with pytest.raises(InputError, match="damaged or cut short"):
        opened(path)
    assert sys.stdout is stdout
    muted = exr._Others(stdout)
    muted.write("mine")
    thread = threading.Thread(target=muted.write, args=("theirs",))
    thread.start()
    thread.join()
    assert capsys.readouterr().out == "theirs"


def test_what_cannot_be_read_is_refused(tmp_path, monkeypatch, rng):
    path = write(tmp_path / "a.exr", {"RGB": rng.random((60, 80, 3)).astype(np.float32)})
    with pytest.raises(InputError, match=r"takes .* to decode"):
        opened(path, memory=100_000)
    with pytest.raises(InputError, match="more than 4,000"):
        opened(path, max_pixels=4000)
    content = path.read_bytes()
    window = struct.pack("<4i", 0, 0, 79, 59)
    for side, says in ((30_000, "cannot hold"), (3_000, r"takes .* to decode")):
        huge = content.replace(window, struct.pack("<4i", 0, 0, side - 1, side - 1))
        (tmp_path / "huge.exr").write_bytes(huge)
        with pytest.raises(InputError, match=says):
            opened(tmp_path / "huge.exr", memory=200 << 20)
    for cut in (20, 300, len(content) - 100):
        (tmp_path / "cut.exr").write_bytes(content[:cut])
        with pytest.raises(InputError, match="damaged or cut short"):
            opened(tmp_path / "cut.exr")
    monkeypatch.setitem(sys.modules, "OpenEXR", None)
    with pytest.raises(InputError, match=r"is an OpenEXR picture; .*\npip install OpenEXR, or"):
        opened(path)
