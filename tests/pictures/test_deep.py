"""Colour of 16 bits, floats and any number of channels, from TIFF, PNG, PPM and .npy files."""

from __future__ import annotations

import io
import os
import struct
import sys
import threading
import tracemalloc
import warnings
import zlib

import imagecodecs
import numpy as np
import pytest
import tifffile
from helpers import load, png
from helpers import patchsim as command
from PIL import Image

import patchsim
from patchsim import InputError
from patchsim.pictures.reader import open_picture


def opened(source, **options):
    return open_picture(source, name="image", **options)


def values(rng, shape, dtype):
    if np.dtype(dtype).kind == "f":
        return rng.random(shape).astype(dtype)
    return rng.integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


@pytest.fixture
def tiff(tmp_path):
    def write(array, **options):
        tifffile.imwrite(tmp_path / "a.tif", array, **options)
        return tmp_path / "a.tif"

    return write


@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "zstd", "lzma", "packbits"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("tile", [None, (16, 32)])
@pytest.mark.parametrize("bigtiff", [False, True])
def test_sixteen_bit_colour_tiff(compression, byteorder, tile, bigtiff, tiff, rng):
    given = values(rng, (40, 50, 3), np.uint16)
    path = tiff(
        given,
        photometric="rgb",
        compression=compression,
        byteorder=byteorder,
        tile=tile,
        bigtiff=bigtiff,
        predictor=compression in ("zlib", "lzw", "zstd"),
    )
    found = opened(path).pixels
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, given)


@pytest.mark.parametrize("channels", [2, 3, 4, 5, 7, 20])
@pytest.mark.parametrize("dtype", ["u1", "u2", "f2", "f4", "f8", "i2", "u4"])
@pytest.mark.parametrize("planar", [False, True])
def test_channels_of_a_tiff(channels, dtype, planar, tiff, rng):
    given = values(rng, (6, 9, channels), dtype)
    stored = np.moveaxis(given, 2, 0) if planar else given
    path = tiff(stored, photometric="minisblack", planarconfig="separate" if planar else "contig")
    picture = opened(path)
    found = picture.pixels
    kept = {"u1": "u1", "u2": "u2", "f2": "f4", "f4": "f4", "i2": "u2"}.get(dtype, "f8")
    assert found.dtype == kept
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found - float(picture.shift), given)


@pytest.mark.parametrize("dtype", ["f2", "f8"])
def test_grey_floats_that_pillow_does_not_read(dtype, tiff, rng):
    given = values(rng, (6, 9), dtype)
    np.testing.assert_array_equal(opened(tiff(given)).pixels[..., 0], given)


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_extra_samples_are_alpha_where_the_file_says_so(dtype, tiff, rng):
    given = values(rng, (6, 9, 5), dtype)
    path = tiff(given, photometric="rgb", extrasamples=["unspecified", "unassalpha"])
    picture = opened(path)
    np.testing.assert_array_equal(picture.pixels, given[..., :4])
    full = 1 if dtype == "f4" else np.iinfo(dtype).max
    expected = np.rint(np.clip(given[..., 4] / full, 0, 1) * 255)
    np.testing.assert_array_equal(picture.alpha, expected)
    given[..., 4] = full
    assert opened(tiff(given, photometric="rgb", extrasamples=[0, 2])).alpha is None


def test_a_fourth_sample_of_rgb_without_a_word_is_alpha_in_8_and_16_bits(tiff, rng):
    for dtype in (np.uint8, np.uint16):
        given = values(rng, (6, 9, 4), dtype)
        path = tiff(given, photometric="rgb", extrasamples=["unassalpha"])
        content = path.read_bytes()
        tag = struct.pack("<HHI", 338, 3, 1)
        assert content.count(tag) == 1
        # A private tag in place of ExtraSamples; tags may then be out of order.
        path.write_bytes(content.replace(tag, struct.pack("<HHI", 65400, 3, 1)))
        np.testing.assert_array_equal(opened(path).pixels, given[..., :3])


def test_colours_multiplied_by_alpha_are_divided_by_it(tiff, rng):
    given = values(rng, (6, 9, 4), np.uint16)
    colors, alpha = given[..., :3].astype(int), given[..., 3:].astype(int)
    alpha[0, 0] = 0
    stored = np.concatenate([colors * alpha // 65535, alpha], -1)
    picture = opened(tiff(stored.astype(np.uint16), photometric="rgb", extrasamples=["assocalpha"]))
    exact = np.minimum(stored[..., :3] * 65535 // np.maximum(alpha, 1), 65535)
    np.testing.assert_array_equal(picture.pixels, exact)
    assert (np.abs(picture.pixels - colors) * alpha)[alpha[..., 0] > 0].max() <= 2 * 65535
    given[..., 3] = 65535
    path = tiff(given, photometric="rgb", extrasamples=["assocalpha"])
    np.testing.assert_array_equal(opened(path).pixels, given[..., :3])


def test_white_as_zero_in_two_channels(tiff, rng):
    given = values(rng, (6, 9, 2), np.uint16)
    path = tiff(65535 - given, photometric="miniswhite", planarconfig="contig")
    np.testing.assert_array_equal(opened(path).pixels, given)
    with pytest.raises(InputError, match="the least value is white"):
        opened(tiff(given / 65535, photometric="miniswhite", planarconfig="contig"))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_deep_pictures(orientation, tiff, tmp_path, rng):
    given = values(rng, (6, 9, 3), np.uint16)
    turned = {
        1: given, 2: given[:, ::-1], 3: given[::-1, ::-1], 4: given[::-1],
        5: given.swapaxes(0, 1), 6: np.rot90(given, -1),
        7: np.rot90(given, -1)[::-1], 8: np.rot90(given),
    }[orientation]  # fmt: skip
    path = tiff(given, photometric="rgb", extratags=[(274, "H", 1, orientation, True)])
    np.testing.assert_array_equal(opened(path).pixels, turned)
    exif = Image.Exif()
    exif[0x0112] = orientation
    chunk = (b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))
    (tmp_path / "a.png").write_bytes(png(given, chunk))
    np.testing.assert_array_equal(opened(tmp_path / "a.png").pixels, turned)


def twelve_bits(array):
    """A TIFF of 12-bit grey, each two values packed into three bytes, big end first."""
    height, width = array.shape
    first, second = array[:, ::2].astype(int), array[:, 1::2].astype(int)
    packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=2)
    data = packed.astype(np.uint8).tobytes()
    tags = {256: width, 257: height, 258: 12, 259: 1, 262: 1, 273: 0, 277: 1, 278: height,
            279: len(data)}  # fmt: skip
    tags[273] = 8 + 2 + 12 * len(tags) + 4
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + data


def test_twelve_bits_stay_what_they_are_with_a_word_on_their_range(tmp_path, rng):
    given = rng.integers(0, 4096, (6, 8))
    path = tmp_path / "a.tif"
    path.write_bytes(twelve_bits(given))
    picture = opened(path)
    assert picture.pixels.dtype == np.uint16
    np.testing.assert_array_equal(picture.pixels[..., 0], given)
    assert picture.notices == (
        f"{path} has values of 12 bits; --data-range 0:4095 compares them with others of such a"
        " range, --metric zncc with any",
    )


def test_the_first_of_several_pages(tiff, rng):
    given = values(rng, (3, 6, 9, 3), np.uint16)
    path = tiff(given, photometric="rgb")
    picture = opened(path)
    np.testing.assert_array_equal(picture.pixels, given[0])
    assert picture.notices == (f"{path} has several pages; the first is used",)


@pytest.mark.parametrize(
    ("shape", "dtype", "options", "says"),
    [
        ((6, 9, 4), "u2", {"photometric": "separated"}, "colours SEPARATED in 16 bits"),
        ((16, 16, 3), "u2", {"photometric": "rgb", "compression": "png"}, "by PNG,"),
        ((6, 9), "u8", {}, "an array of uint64"),
        ((6, 9), "c8", {}, "an array of complex64"),
        ((5, 16, 16), "u1", {"volumetric": True, "tile": (1, 16, 16)}, "a volume of 5 slices"),
    ],
)
def test_tiffs_that_are_no_pictures_here(shape, dtype, options, says, tiff):
    with pytest.raises(InputError, match=says):
        opened(tiff(np.ones(shape, dtype), **options))


def test_channels_of_different_bits_are_named(tmp_path, rng):
    path = tmp_path / "a.tif"
    Image.fromarray(rng.integers(0, 256, (6, 9, 3), dtype=np.uint8)).save(path)
    content = path.read_bytes()
    assert content.count(struct.pack("<3H", 8, 8, 8)) == 1
    path.write_bytes(content.replace(struct.pack("<3H", 8, 8, 8), struct.pack("<3H", 8, 8, 7)))
    with pytest.raises(InputError, match="has values of 8, 8, 7 bits, which cannot be read"):
        opened(path)


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_sixteen_bit_png(channels, tmp_path, rng):
    given = values(rng, (7, 9, channels), np.uint16)
    path = tmp_path / "a.png"
    for content in (imagecodecs.png_encode(given), png(given)):
        path.write_bytes(content)
        picture = opened(path)
        assert picture.pixels.dtype == np.uint16
        np.testing.assert_array_equal(picture.pixels, given[..., : 1 if channels == 2 else 3])
        if channels == 3:
            assert picture.alpha is None
        else:
            np.testing.assert_array_equal(picture.alpha, np.rint(given[..., -1] / 257))


def test_what_a_png_says_of_its_colours_changes_no_value(tmp_path, rng, capfd):
    given = values(rng, (7, 9, 3), np.uint16)
    chunks = [
        (b"gAMA", struct.pack(">I", 45455)),
        (b"cHRM", struct.pack(">8I", *range(8))),
        (b"iCCP", b"x\0\0" + zlib.compress(b"no profile")),
        (b"sBIT", bytes([12, 12, 12])),
        (b"bKGD", bytes(6)),
    ]
    (tmp_path / "a.png").write_bytes(png(given, *chunks))
    np.testing.assert_array_equal(opened(tmp_path / "a.png").pixels, given)
    (tmp_path / "b.png").write_bytes(png(given, (b"tRNS", given[0, 0].astype(">u2").tobytes())))
    picture = opened(tmp_path / "b.png")
    np.testing.assert_array_equal(picture.pixels, given)
    expected = np.where((given == given[0, 0]).all(-1), 0, 255)
    np.testing.assert_array_equal(picture.alpha, expected)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("most", [65535, 1000, 256, 40000])
def test_sixteen_bit_ppm_is_scaled_as_pillow_scales_grey(most, tmp_path, rng):
    given = rng.integers(0, most, (70, 9, 3), dtype=np.uint16, endpoint=True)
    content = given.astype(">u2").tobytes()
    (tmp_path / "a.ppm").write_bytes(b"P6\n# a comment\n9 70\n%d\n" % most + content)
    (tmp_path / "a.pgm").write_bytes(b"P5 27 70 %d\n" % most + content)
    found = opened(tmp_path / "a.ppm").pixels
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found.reshape(70, 27), load(tmp_path / "a.pgm"))
    if most == 65535:
        np.testing.assert_array_equal(found, given)


def test_plain_sixteen_bit_ppm_is_refused(tmp_path):
    (tmp_path / "a.ppm").write_text("P3 1 1 65535\n60000 2 3\n")
    with pytest.raises(InputError, match="of which Pillow keeps 8;\nsave it as binary PPM"):
        opened(tmp_path / "a.ppm")


@pytest.mark.parametrize("dtype", ["u1", "u2", ">u2", "f2", "f4", ">f8", "?", "i4", "i1"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(6, 9), (6, 9, 1), (6, 9, 5)])
def test_npy_gives_what_the_array_gives(dtype, order, shape, tmp_path, rng):
    given = np.asarray(rng.integers(0, 2, shape) if dtype == "?" else rng.random(shape) * 100)
    given = np.asarray(given.astype(dtype), order=order)
    np.save(tmp_path / "a.npy", given)
    picture = opened(tmp_path / "a.npy")
    found, expected = picture.pixels, opened(given).pixels
    assert found.dtype == expected.dtype
    assert found.flags.c_contiguous
    np.testing.assert_array_equal(found, expected)
    scaled = given.astype(float) * (255 if dtype == "?" else 1)
    np.testing.assert_array_equal(found.reshape(shape) - float(picture.shift), scaled)


def test_npy_through_a_pipe(tmp_path, rng):
    given = rng.random((6, 9, 4))
    file = io.BytesIO()
    np.save(file, given)
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(file.getvalue(),))
    writer.start()
    np.testing.assert_array_equal(opened(tmp_path / "pipe").pixels, given)
    writer.join()


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (np.array([[{}]]), "an array of Python objects; convert it"),
        (np.array([[1, 2], [3]], object), "an array of Python objects; convert it"),
        (np.ones((2, 3), "c16"), "an array of complex128"),
        (np.ones((2, 3), "u8"), "an array of uint64"),
        (np.ones((2, 3), [("a", "u1")]), "an array of"),
        (np.ones(3), r"has the shape \[3\]"),
        (np.ones((0, 3)), r"is empty: it has the shape \[0, 3\]"),
        (np.ones((1, 1, 1, 1)), r"has the shape \[1, 1, 1, 1\]"),
    ],
)
def test_npy_that_is_no_picture(array, says, tmp_path):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(InputError, match=says) as raised:
        opened(tmp_path / "a.npy")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("content", [b"{'descr': 3}", b"{" * 30, b"x" * 70_000, b"\xff" * 30])
def test_a_broken_header_of_npy_has_no_words_of_numpy(content, tmp_path):
    content = content.ljust(20_000)
    head = b"\x93NUMPY\x02\0" + struct.pack("<I", len(content))
    (tmp_path / "a.npy").write_bytes(head + content)
    with pytest.raises(InputError, match=r"is a .npy that is damaged or cut short: (its|a) header"):
        opened(tmp_path / "a.npy")


def test_damaged_npy(tmp_path):
    file = io.BytesIO()
    np.save(file, np.ones((6, 9)))
    whole = file.getvalue()
    lies = whole.replace(b"(6, 9), }          ", b"(999999999, 99999)}")
    odd = whole.replace(b"(6, 9)", b"(6, -)")
    for content in (whole[:-1], whole + b"x", whole[:40], whole[:7], odd, b"\x93NUMPY\x07\0"):
        (tmp_path / "a.npy").write_bytes(content)
        with pytest.raises(InputError, match=r"is a .npy that is damaged or cut short: ") as raised:
            opened(tmp_path / "a.npy")
        assert str(raised.value).count("\n") == 1
    (tmp_path / "a.npy").write_bytes(lies)
    with pytest.raises(InputError, match="bytes cannot hold 99999x999999999 pixels;\ndownload"):
        opened(tmp_path / "a.npy")


@pytest.mark.parametrize("kind", ["npy", "tif", "png", "ppm"])
def test_limits_are_asked_before_anything_is_decoded(kind, tmp_path, rng):
    given = values(rng, (500, 400, 3), np.uint16)
    path = tmp_path / f"a.{kind}"
    if kind == "npy":
        np.save(path, given)
    elif kind == "tif":
        tifffile.imwrite(path, given, photometric="rgb", compression="zlib")
    elif kind == "png":
        path.write_bytes(png(given))
    else:
        path.write_bytes(b"P6 400 500 65535\n" + given.astype(">u2").tobytes())
    with pytest.raises(InputError, match=r"400x500 = 200,000 pixels, more than 199,999;"):
        opened(path, max_pixels=199_999)
    opened(path, memory=100_000_000)  # what is imported stays
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=r"to decode, but the memory is 1.0 MB"):
            opened(path, memory=1_000_000)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
        low, high = 0, 100_000_000
        while high - low > 1000:  # the least that is accepted
            middle = (low + high) // 2
            try:
                opened(path, memory=middle)
                high = middle
            except InputError:
                low = middle
        tracemalloc.reset_peak()
        opened(path, memory=high)
        assert tracemalloc.get_traced_memory()[1] < high + 200_000
    finally:
        tracemalloc.stop()


def test_huge_headers_of_tiffs(tiff):
    path = tiff(np.zeros((4, 5, 3), np.uint16), photometric="rgb", tile=(16, 16))
    whole = path.read_bytes()

    def changed(tag, value):
        at = whole.index(struct.pack("<H", tag), 8)
        kind, count = struct.unpack("<HI", whole[at + 2 : at + 8])
        assert count == 1
        packed = struct.pack("<I", value) if kind == 4 else struct.pack("<HH", value, 0)
        path.write_bytes(whole[: at + 8] + packed + whole[at + 12 :])
        return path

    with pytest.raises(InputError, match="bytes cannot hold 60000x4 pixels"):
        opened(changed(256, 60_000), max_pixels=100_000)
    with pytest.raises(InputError, match="to decode, but the memory is"):
        opened(changed(322, 65_520), memory=1_000_000)  # a tile's width
    with pytest.raises(InputError):
        opened(changed(277, 65_535), memory=1_000_000)  # samples a pixel


@pytest.mark.parametrize("kind", ["npy", "tif", "tile", "png", "ppm"])
def test_damaged_deep_pictures_are_refused_or_read_but_never_a_fault(kind, tmp_path, rng):
    given = values(rng, (20, 30, 3), np.uint16)
    path = tmp_path / "a"
    if kind == "npy":
        np.save(path.with_suffix(".npy"), given)
        path = path.with_suffix(".npy")
    elif kind in ("tif", "tile"):
        tile = (16, 16) if kind == "tile" else None
        tifffile.imwrite(path, given, photometric="rgb", compression="zlib", tile=tile)
    else:
        head = b"P6 30 20 65535\n"
        path.write_bytes(png(given) if kind == "png" else head + given.astype(">u2").tobytes())
    whole = path.read_bytes()
    for share in (0.02, 0.3, 0.9):
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(InputError, match=r"damaged|cut short|not a picture"):
            opened(path)
    refused = 0
    for _ in range(200):
        content = bytearray(whole)
        for place in rng.integers(0, min(len(content), 400), 3):
            content[place] = rng.integers(256)
        path.write_bytes(content)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                opened(path, memory=10_000_000)
            except InputError:
                refused += 1
    assert refused > 5


def test_what_to_install_where_the_packages_are_missing(tmp_path, tiff, rng, monkeypatch):
    given = values(rng, (6, 9, 3), np.uint16)
    path = tiff(given, photometric="rgb")
    (tmp_path / "a.png").write_bytes(png(given))
    tifffile.imwrite(tmp_path / "b.tif", given.astype(float), photometric="rgb")
    tifffile.imwrite(tmp_path / "grey.tif", given[..., 0])
    for name in ("imagecodecs", "tifffile"):
        monkeypatch.setitem(sys.modules, name, None)
        if name == "tifffile":
            monkeypatch.delitem(sys.modules, "imagecodecs")
        for deep in (path, tmp_path / "b.tif"):
            with pytest.raises(InputError, match=r"\npip install tifffile imagecodecs$"):
                opened(deep)
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    with pytest.raises(InputError, match=r"Pillow keeps 8.*\npip install tifffile imagecodecs$"):
        opened(tmp_path / "a.png")
    np.testing.assert_array_equal(opened(tmp_path / "grey.tif").pixels[..., 0], given[..., 0])


@pytest.mark.parametrize("kind", ["png", "tif", "npy"])
def test_sixteen_bit_colour_from_the_command_to_the_overlay(kind, run, tmp_path, astronaut):
    deep = astronaut[:60, 180:250].astype(np.uint16) * 257
    if kind == "png":
        (tmp_path / "a.png").write_bytes(png(deep))
    elif kind == "tif":
        tifffile.imwrite(tmp_path / "a.tif", deep, photometric="rgb")
    else:
        np.save(tmp_path / "a.npy", deep)
    Image.fromarray(astronaut[20:30, 210:222]).save(tmp_path / "k.png")
    code, out, _ = run(
        "match",
        f"a.{kind}",
        "k.png",
        "--top",
        1,
        "--no-margin",
        "--overlay",
        "o.png",
        "--map",
        "m.npy",
    )
    assert code == 0
    assert out.splitlines()[1] == "30\t20\t12\t10\t1.0\tk.png\t36.0\t25.0"
    drawn = np.asarray(load(tmp_path / "o.png"))
    np.testing.assert_array_equal(drawn[50:, :20], astronaut[50:60, 180:200])
    assert np.load(tmp_path / "m.npy").shape == (60 - 10 + 1, 70 - 12 + 1)


@pytest.mark.parametrize("metric", ["sad", "zncc"])
def test_channels_with_channels_and_floats_with_a_range(metric, run, tmp_path, rng):
    given = rng.normal(0, 3, (40, 50, 6))
    tifffile.imwrite(tmp_path / "a.tif", given, photometric="minisblack", planarconfig="contig")
    np.save(tmp_path / "k.npy", given[7:19, 11:21])
    code, _, err = run("match", "a.tif", "k.npy", "--metric", metric)
    needs_range = metric in ("sad", "ssd")
    assert (code, "--data-range LO:HI" in err) == (2 if needs_range else 0, needs_range)
    options = ("--metric", metric, "--data-range=-20:20", "--top", 1, "--overlay", "o.png")
    code, out, _ = run("match", "a.tif", "k.npy", *options)
    assert code == 0
    assert out.splitlines()[1].split("\t")[:4] == ["11", "7", "10", "12"]
    drawn = np.asarray(load(tmp_path / "o.png"))
    expected = np.rint((given[30:, 30:, :3] + 20) / 40 * 255)
    np.testing.assert_array_equal(drawn[30:, 30:], expected)
    np.save(tmp_path / "k.npy", given[7:19, 11:21, :5])
    code, _, err = run("match", "a.tif", "k.npy", *options)
    assert (code, "differ in channels" in err) == (2, True)


def test_npy_from_standard_input(tmp_path, rng):
    given = values(rng, (30, 40, 2), np.uint8)
    np.save(tmp_path / "k.npy", given[5:15, 8:20])
    np.save(tmp_path / "a.npy", given)
    with (tmp_path / "a.npy").open("rb") as file:
        process = command(
            "match",
            "-",
            "k.npy",
            "--top",
            1,
            "--no-margin",
            "--no-heatmap",
            stdin=file,
            cwd=tmp_path,
        )
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert out.splitlines()[1] == "8\t5\t12\t10\t1.0\tk.npy\t14.0\t10.0"


def test_deep_pictures_are_matched_exactly(tmp_path, rng):
    """16 bits beside 8: the score is the mean over widened values."""
    given = values(rng, (12, 14, 3), np.uint16)
    small = values(rng, (4, 5, 3), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", given, photometric="rgb")
    np.save(tmp_path / "k.npy", small)
    report = patchsim.match(tmp_path / "a.tif", tmp_path / "k.npy", map=True)
    wide = small.astype(int) * 257
    for y in range(12 - 4 + 1):
        for x in range(14 - 5 + 1):
            total = np.abs(given[y : y + 4, x : x + 5].astype(int) - wide).sum()
            assert report.map[y, x] == pytest.approx(1 - total / (60 * 65535), abs=1e-7)
