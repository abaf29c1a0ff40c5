"""Formats, modes, orientation, alpha, depth; what is refused and what it says."""

from __future__ import annotations

import os
import queue
import struct
import threading
import warnings
import zlib

import numpy as np
import pytest
import tifffile
from helpers import load, png
from helpers.locked import locked
from PIL import ExifTags, Image

from patchsim import InputError
from patchsim.errors import printable
from patchsim.files import waits
from patchsim.machine.threads import Cancelled, cancel_by
from patchsim.pictures.reader import open_picture


def opened(source, **options):
    return open_picture(source, name="image", **options)


def test_inputs_that_cannot_be_looked_at_say_why(tmp_path, save, color):
    def check(path, reason):
        with pytest.raises(InputError) as refused:
            opened(path)
        assert str(refused.value) == f"{printable(path)} {reason}"

    with locked(tmp_path / "locked") as folder:
        check(folder / "a.png", "may not be read (permission denied); change its permissions")
    check("a" * 300, "cannot be read: File name too long; give another path")
    check(save("a.png", color) / "b.png", "cannot be read: Not a directory; give another path")
    check("a\0.png", "cannot be read: no name has a null character; check it")


def test_an_array_of_pil_whose_file_cannot_be_looked_at_is_read(tmp_path, color):
    image = Image.fromarray(color)
    with locked(tmp_path / "locked") as folder:
        image.filename = str(folder / "a.png")
        np.testing.assert_array_equal(opened(image).pixels, color)


@pytest.fixture
def color(astronaut):
    return astronaut[:40, 180:230]


@pytest.mark.parametrize("suffix", ["png", "tif", "bmp", "webp", "ppm"])
def test_lossless_formats_give_the_pixels(suffix, color, save):
    options = {"lossless": True} if suffix == "webp" else {}
    np.testing.assert_array_equal(opened(save(f"a.{suffix}", color, **options)).pixels, color)


def test_jpeg_gives_what_pillow_decodes(color, save):
    path = save("a.jpg", color)
    np.testing.assert_array_equal(opened(path).pixels, np.asarray(load(path)))


def test_gif_gives_its_first_frame_and_says_so(color, save):
    frames = [Image.fromarray(part).quantize(64) for part in (color, 255 - color)]
    path = save("a.gif", frames[0], save_all=True, append_images=frames[1:])
    picture = opened(path)
    np.testing.assert_array_equal(picture.pixels, np.asarray(frames[0].convert("RGB")))
    assert picture.notices == (f"{path} has several frames; the first is used",)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK"])
def test_eight_bit_modes(mode, color, save):
    image = Image.fromarray(color).convert(mode)
    found = opened(save("a.tif", image)).pixels
    expected = np.asarray(image.convert("L" if mode in "1L" else "RGB"))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found.squeeze(), expected)
    assert found.shape[2] == (1 if mode in "1L" else 3)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bit_grey_keeps_its_bits(suffix, save, rng):
    values = rng.integers(0, 65536, (20, 30), dtype=np.uint16)
    found = opened(save(f"a.{suffix}", values)).pixels
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found[..., 0], values)


def test_big_endian_sixteen_bit_tiff(tmp_path, rng):
    values = rng.integers(0, 65536, (20, 30), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", values, byteorder=">")
    np.testing.assert_array_equal(opened(tmp_path / "a.tif").pixels[..., 0], values)


def test_sixteen_bit_grey_pnm(tmp_path, rng):
    values = rng.integers(0, 65536, (4, 5), dtype=np.uint16)
    (tmp_path / "a.pgm").write_bytes(b"P5 5 4 65535\n" + values.astype(">u2").tobytes())
    found = opened(tmp_path / "a.pgm").pixels
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found[..., 0], values)


def test_floats_and_integers_of_32_bits(save):
    floats = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)
    np.testing.assert_array_equal(opened(save("f.tif", floats)).pixels[..., 0], floats)
    integers = np.arange(12, dtype=np.int32).reshape(3, 4) * 100_000
    found = opened(save("i.tif", integers)).pixels
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found[..., 0], integers)


def test_grey_tiffs_in_which_the_least_is_white(tmp_path, rng):
    values = rng.integers(0, 65536, (20, 30), dtype=np.uint16)
    for name, given in (("16", values), ("8", (values >> 8).astype(np.uint8))):
        stored = np.iinfo(given.dtype).max - given
        tifffile.imwrite(tmp_path / f"{name}.tif", stored, photometric="miniswhite")
        np.testing.assert_array_equal(opened(tmp_path / f"{name}.tif").pixels[..., 0], given)
    tifffile.imwrite(tmp_path / "f.tif", values / np.float32(65535), photometric="miniswhite")
    with pytest.raises(InputError, match="the least value is white"):
        opened(tmp_path / "f.tif")


def test_unsigned_and_signed_tiffs(tmp_path):
    large = np.array([[4_000_000_000, 5]], np.uint32)
    tifffile.imwrite(tmp_path / "u.tif", large)
    np.testing.assert_array_equal(opened(tmp_path / "u.tif").pixels[..., 0], large)
    tifffile.imwrite(tmp_path / "s16.tif", np.array([[-5, 300]], np.int16))
    picture = opened(tmp_path / "s16.tif")
    np.testing.assert_array_equal(picture.pixels[..., 0] - float(picture.shift), [[-5, 300]])
    tifffile.imwrite(tmp_path / "s8.tif", np.array([[-5, 7]], np.int8))
    picture = opened(tmp_path / "s8.tif")
    np.testing.assert_array_equal(picture.pixels[..., 0] - float(picture.shift), [[-5, 7]])


def test_a_loaded_pil_image_is_looked_at_in_its_file(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(png(np.zeros((4, 5, 3), np.uint16)))
    with Image.open(path) as image:
        image.load()
        with pytest.raises(InputError, match=r"of which Pillow keeps 8.*\ngive the path"):
            opened(image)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_damaged_bytes_are_refused_or_read_but_never_a_fault(suffix, color, save):
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a picture"
    whole = save(f"a.{suffix}", color, exif=exif).read_bytes()
    random = np.random.default_rng(5)
    path = save(f"b.{suffix}", color)
    refused = 0
    for _ in range(150):
        content = bytearray(whole)
        for place in random.integers(0, min(len(content), 400), 3):
            content[place] = random.integers(256)
        path.write_bytes(content)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                opened(path)
            except InputError:
                refused += 1
    assert refused > 5


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(orientation, suffix, color, save):
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = {
        1: color, 2: color[:, ::-1], 3: color[::-1, ::-1], 4: color[::-1],
        5: color.swapaxes(0, 1), 6: np.rot90(color, -1),
        7: np.rot90(color, -1)[::-1], 8: np.rot90(color),
    }[orientation]  # fmt: skip
    options = {"jpg": {"quality": 100, "subsampling": 0}, "webp": {"lossless": True}}
    path = save(f"a.{suffix}", color, exif=exif, **options.get(suffix, {}))
    found = opened(path).pixels
    assert found.shape == turned.shape
    assert np.abs(found.astype(int) - turned).max() <= (12 if suffix == "jpg" else 0)


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_alpha_stands_beside_the_pixels_where_it_shows(mode, color, save):
    image = Image.fromarray(color).convert(mode)
    assert opened(save("opaque.png", image)).alpha is None
    alpha = Image.new("L", image.size, 255)
    alpha.putpixel((3, 4), 254)
    image.putalpha(alpha)
    picture = opened(save("a.png", image))
    np.testing.assert_array_equal(picture.alpha, np.asarray(alpha))
    plain = np.asarray(Image.fromarray(color).convert("L" if mode == "LA" else "RGB"))
    np.testing.assert_array_equal(picture.pixels.squeeze(), plain)


def test_a_transparent_palette_entry_is_alpha_too(color, save):
    picture = Image.fromarray(color).quantize(16)
    alpha = opened(save("a.png", picture, transparency=3)).alpha
    np.testing.assert_array_equal(alpha, np.where(np.asarray(picture) == 3, 0, 255))


def test_a_transparent_value_of_16_bits_is_alpha_too(save, rng):
    values = rng.integers(0, 65536, (20, 30), dtype=np.uint16)
    values[3, 4] = values[5, 6] = 258
    picture = opened(save("a.png", values, transparency=258))
    np.testing.assert_array_equal(picture.pixels[..., 0], values)
    assert picture.alpha.dtype == np.uint8
    np.testing.assert_array_equal(picture.alpha, np.where(values == 258, 0, 255))
    absent = next(value for value in range(65536) if value not in values)
    assert opened(save("b.png", values, transparency=absent)).alpha is None


def test_alpha_is_turned_as_the_pixels_are(color, save):
    alpha = np.arange(color.shape[0] * color.shape[1], dtype=np.uint8).reshape(color.shape[:2])
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    picture = opened(save("a.png", np.dstack([color, alpha]), exif=exif))
    np.testing.assert_array_equal(picture.alpha, np.rot90(alpha, -1))
    np.testing.assert_array_equal(picture.pixels, np.rot90(color, -1))


def test_missing_folder_empty_and_no_picture(tmp_path):
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.png").write_text("not a picture")
    for name, says in (
        ("missing.png", "does not exist"),
        ("", "is a folder"),
        ("empty.png", r"is empty \(0 bytes\); download or save it again"),
        ("text.png", "is plain text; give the picture itself"),
    ):
        with pytest.raises(InputError, match=says):
            opened(tmp_path / name)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp", "bmp", "gif"])
@pytest.mark.parametrize("share", [0.05, 0.3, 0.9])
def test_truncated_pictures_are_refused(suffix, share, color, save):
    path = save(f"a.{suffix}", color)
    content = path.read_bytes()
    path.write_bytes(content[: max(1, int(len(content) * share))])
    with pytest.raises(InputError, match=r"damaged or cut short|not a picture"):
        opened(path)


def test_a_device_is_no_picture():
    with pytest.raises(InputError, match="neither a file nor a pipe"):
        opened("/dev/zero")


def test_a_named_pipe_is_read(tmp_path, color, save):
    content = save("a.png", color).read_bytes()
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(content,))
    writer.start()
    np.testing.assert_array_equal(opened(tmp_path / "pipe").pixels, color)
    writer.join()


def test_a_pipe_without_a_writer_is_told_of_and_its_wait_can_be_cancelled(tmp_path, monkeypatch):
    monkeypatch.setattr(waits, "_PATIENCE", 0)
    os.mkfifo(tmp_path / "pipe.png")
    told, ended, cancelled = queue.SimpleQueue(), queue.SimpleQueue(), threading.Event()
    monkeypatch.setattr(waits, "_tell", told.put)

    def read():
        cancel_by(cancelled)
        with pytest.raises(Cancelled):
            opened(tmp_path / "pipe.png")
        ended.put(True)

    threading.Thread(target=read, daemon=True).start()
    assert told.get(timeout=20).endswith(
        "pipe.png is a pipe whose end has not come yet; waiting for it"
    )
    assert ended.empty()
    cancelled.set()
    assert ended.get(timeout=20)
    assert told.empty()
    # A writer and none: the thread that opens the pipe ends with the test.
    (tmp_path / "pipe.png").write_bytes(b"")


def test_pixel_limit(color, save):
    path = save("a.png", color)
    with pytest.raises(InputError, match=r"50x40 = 2,000 pixels, more than 1,999;\n.*-pixels 2000"):
        opened(path, max_pixels=1999)
    assert opened(path, max_pixels=2000).pixels.shape == (40, 50, 3)


def test_a_picture_past_pillows_limit_is_refused_by_its_header(tmp_path):
    header = struct.pack(">IIBBBBB", 20000, 20000, 8, 2, 0, 0, 0)
    body = b"IHDR" + header
    png = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    (tmp_path / "bomb.png").write_bytes(png + struct.pack(">I", 0) + b"IDAT" + b"5\xaf\x06\x1e")
    with pytest.raises(InputError, match="its 45 bytes cannot hold 20000x20000 pixels"):
        opened(tmp_path / "bomb.png")
    os.truncate(tmp_path / "bomb.png", 1_200_000)  # more than 3 * 20000**2 / 1032
    limit = Image.MAX_IMAGE_PIXELS
    with pytest.raises(InputError, match=r"400,000,000 pixels.*\n.*--max-pixels"):
        opened(tmp_path / "bomb.png")
    assert limit == Image.MAX_IMAGE_PIXELS


def test_memory_limit_of_decoding(color, save):
    with pytest.raises(InputError, match=r"78.0 kB to decode, but the memory is 10.0 kB"):
        opened(save("a.png", color), memory=10_000)


def test_pil_images_are_taken(color):
    np.testing.assert_array_equal(opened(Image.fromarray(color)).pixels, color)
    assert opened(Image.fromarray(color).convert("L")).pixels.shape == (40, 50, 1)


@pytest.mark.parametrize("suffix", ["png", "tiff", "gif", "jpg", "bmp"])
def test_closed_pil_images_are_named_as_such(suffix, color, save):
    path = save(f"a.{suffix}", color)
    with Image.open(path) as left:
        pass
    closed = Image.open(path)
    closed.load()
    closed.close()
    unread = Image.open(path)
    unread.close()
    for image in (left, closed, unread):
        with pytest.raises(InputError, match=rf"a.{suffix} is a PIL image that is closed; keep it"):
            opened(image)
    gone = Image.new("L", (3, 3))
    gone.close()
    with pytest.raises(InputError, match=r"^image is a PIL image that is closed"):
        opened(gone)
    with Image.open(path) as loaded:
        loaded.load()
    assert opened(loaded).pixels.shape[:2] == (40, 50)


def test_empty_arrays_and_arrays_of_objects_are_named_as_such():
    with pytest.raises(InputError, match=r"it is empty: it has the shape \[0, 4, 3\]"):
        open_picture(np.zeros((0, 4, 3), np.uint8), name="it")
    with pytest.raises(InputError, match="it is an array of Python objects; convert it to uint8"):
        open_picture(np.zeros((2, 4), object), name="it")
