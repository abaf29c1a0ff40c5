"""The chunks of a PNG: transparent values, texts, animations, and what follows faults in them."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from helpers import load
from helpers.chunks import chunk
from PIL import Image, PngImagePlugin

from patchsim import InputError
from patchsim.pictures import pillow_reader
from patchsim.pictures.limits import Limits
from patchsim.pictures.png import about
from patchsim.pictures.reader import open_picture


def opened(source, **options):
    return open_picture(source, name="image", **options)


def grey(values, bits, *chunks):
    """A grey PNG of 1, 2, 4, 8 or 16 bits."""
    height, width = values.shape
    if bits == 16:
        rows = [row.astype(">u2").tobytes() for row in values]
    else:
        shifts = np.arange(bits - 1, -1, -1)
        flags = (values[..., None] >> shifts & 1).astype(np.uint8).reshape(height, -1)
        rows = [row.tobytes() for row in np.packbits(flags, axis=1)]
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + body + chunk(b"IEND")


def inserted(content, *chunks, before=b"IDAT"):
    at = content.index(before) - 4
    return content[:at] + b"".join(chunks) + content[at:]


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_a_transparent_value_of_grey_is_alpha(bits, tmp_path, rng):
    values = rng.integers(0, 1 << bits, (12, 13))
    transparent = int(values[3, 4])
    # Of fewer bits than 16 only the lower bits count.
    stored = transparent | (0 if bits == 16 else 0xFF << bits & 0xFFFF)
    path = tmp_path / "a.png"
    path.write_bytes(grey(values, bits, chunk(b"tRNS", struct.pack(">H", stored))))
    picture = opened(path)
    scale = 1 if bits >= 8 else 255 // ((1 << bits) - 1)
    np.testing.assert_array_equal(picture.pixels[..., 0], values * scale)
    np.testing.assert_array_equal(picture.alpha, np.where(values == transparent, 0, 255))
    if bits in (2, 4):
        with Image.open(path) as image, pytest.raises(InputError, match="a transparent value"):
            opened(image)


@pytest.mark.parametrize("kind", ["zTXt", "iTXt", "iCCP"])
def test_texts_and_profiles_of_any_size_do_not_matter(kind, tmp_path, save, astronaut):
    given = astronaut[:20, :30]
    packed = zlib.compress(b"x" * 3_000_000)
    data = {
        "zTXt": b"workflow\0\0" + packed,
        "iTXt": b"workflow\0\1\0\0\0" + packed,
        "iCCP": b"profile\0\0" + packed,
    }[kind]
    content = save("a.png", given).read_bytes()
    for place in (b"IDAT", b"IEND"):
        if kind == "iCCP" and place == b"IEND":
            continue
        path = tmp_path / "b.png"
        path.write_bytes(inserted(content, chunk(kind.encode(), data), before=place))
        np.testing.assert_array_equal(opened(path).pixels, given)
        with (
            path.open("rb") as file,
            pytest.raises(ValueError, match="too large"),
            Image.open(io.BytesIO(file.read())) as image,
        ):
            image.load()  # so that the test can fail


def test_an_orientation_in_texts_is_kept(tmp_path, save, astronaut):
    given = astronaut[:20, :30]
    turned = np.rot90(given, -1)
    exif = Image.Exif()
    exif[0x0112] = 6
    profile = exif.tobytes().hex().encode()
    text = b"\nexif\n%8d\n%s\n" % (len(profile) // 2, profile)
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf tiff:Orientation="6"/></x:xmpmeta>'
    content = save("a.png", given).read_bytes()
    for data in (
        chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(text)),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp),
    ):
        (tmp_path / "b.png").write_bytes(inserted(content, data))
        np.testing.assert_array_equal(opened(tmp_path / "b.png").pixels, turned)


def test_faults_in_an_animation_do_not_matter(tmp_path, astronaut):
    first, second = astronaut[:20, :30], astronaut[50:70, :30]
    path = tmp_path / "a.png"
    Image.fromarray(first).save(path, save_all=True, append_images=[Image.fromarray(second)])
    whole = path.read_bytes()
    assert opened(path).notices == (f"{path} has several frames; the first is used",)
    at = whole.rindex(b"fcTL") + 4
    path.write_bytes(whole[:at] + b"\0\0\0\7" + whole[at + 4 :])  # a wrong number, a wrong CRC
    picture = opened(path)
    np.testing.assert_array_equal(picture.pixels, first)
    assert picture.notices == (f"{path} has several frames; the first is used",)


def test_very_many_chunks_take_little_memory(tmp_path, save, astronaut):
    given = astronaut[:20, :30]
    content = save("a.png", given).read_bytes()
    (tmp_path / "b.png").write_bytes(inserted(content, chunk(b"teSt") * 150_000))
    np.testing.assert_array_equal(opened(tmp_path / "b.png").pixels, given)


def test_pixels_in_very_many_chunks_take_little_memory(tmp_path, astronaut):
    """Pillow and libvips cut pixels into chunks of 8 to 64 kB."""
    rows = b"".join(b"\0" + row.tobytes() for row in astronaut[:200, :200])
    packed = zlib.compress(rows, 0)
    head = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 200, 200, 8, 2, 0, 0, 0))
    for name, length in (("one", len(packed)), ("many", 5)):
        pieces = (packed[at : at + length] for at in range(0, len(packed), length))
        content = b"".join(chunk(b"IDAT", piece) for piece in pieces)
        (tmp_path / f"{name}.png").write_bytes(head + content + chunk(b"IEND"))
    peaks = {}
    for name in ("one", "many"):
        with (tmp_path / f"{name}.png").open("rb") as stream:
            about(stream, Limits(name, 0, None))  # what a first call imports
            tracemalloc.start()
            about(stream, Limits(name, 0, None))
            peaks[name] = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        np.testing.assert_array_equal(
            opened(tmp_path / f"{name}.png").pixels, astronaut[:200, :200]
        )
    assert peaks["many"] < peaks["one"] + 50_000


def test_a_png_whose_header_is_broken_is_named(tmp_path):
    for content in (b"\x89PNG\r\n\x1a\n", b"\x89PNG\r\n\x1a\n" + chunk(b"IDAT", b"x" * 40)):
        (tmp_path / "a.png").write_bytes(content)
        with pytest.raises(InputError, match="is a PNG that is damaged or cut short"):
            opened(tmp_path / "a.png")


def test_a_gif_smaller_than_its_canvas_is_transparent_around(tmp_path, save, astronaut):
    picture = Image.fromarray(astronaut[:20, :30]).quantize(16)
    content = bytearray(save("a.gif", picture).read_bytes())
    content[6:10] = struct.pack("<HH", 40, 25)
    at = content.index(b"\x2c")  # the image descriptor
    content[at + 1 : at + 5] = struct.pack("<HH", 4, 3)
    (tmp_path / "b.gif").write_bytes(bytes(content))
    read = opened(tmp_path / "b.gif")
    expected = np.zeros((25, 40), np.uint8)
    expected[3:23, 4:34] = 255
    np.testing.assert_array_equal(read.alpha, expected)
    inner = np.asarray(load(tmp_path / "a.gif").convert("RGB"))
    np.testing.assert_array_equal(read.pixels[3:23, 4:34], inner)


def test_pillows_limit_stays_for_other_threads(save, astronaut, monkeypatch):
    path = save("a.png", astronaut[:20, :30])
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # 600 pixels are six times as many
    seen = []
    factory, accept = Image.OPEN["PNG"]

    def watched(file, name):
        seen.append(Image.MAX_IMAGE_PIXELS)
        return factory(file, name)

    monkeypatch.setitem(Image.OPEN, "PNG", (watched, accept))
    np.testing.assert_array_equal(opened(path).pixels, astronaut[:20, :30])
    assert seen == [100]


def test_a_pillow_without_a_reader_reads_the_others(save, astronaut, monkeypatch):
    path = save("a.webp", astronaut[:20, :30], lossless=True)
    monkeypatch.delitem(Image.OPEN, "PPM", raising=False)
    monkeypatch.setitem(pillow_reader.READERS, "PPM", "NoSuchPlugin")
    np.testing.assert_array_equal(opened(path).pixels, astronaut[:20, :30])


def test_each_format_is_opened_by_its_own_reader(save, astronaut):
    for suffix in ("png", "jpg", "tif", "webp", "bmp", "gif", "ppm"):
        with save(f"a.{suffix}", astronaut[:20, :30]).open("rb") as file:
            image, _ = pillow_reader.open_image(file, Limits("a", 10**9, None))
            assert image.format in pillow_reader.READERS
            assert image.size == (30, 20)
    assert PngImagePlugin.PngImageFile.format in pillow_reader.READERS


def png(width, height, color, interlace, data, *chunks):
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, color, 0, 0, interlace))
    return b"".join([b"\x89PNG\r\n\x1a\n", head, *chunks, chunk(b"IDAT", data), chunk(b"IEND")])


def passes(width, height):
    """The columns and rows of the seven passes of Adam7."""
    for number in range(7):
        x, y = [(0, 0), (4, 0), (0, 4), (2, 0), (0, 2), (1, 0), (0, 1)][number]
        step_x, step_y = [(8, 8), (8, 8), (4, 8), (4, 4), (2, 4), (2, 2), (1, 2)][number]
        yield -(-(width - x) // step_x), -(-(height - y) // step_y)


@pytest.mark.parametrize("interlace", [0, 1])
@pytest.mark.parametrize(("color", "channels"), [(0, 1), (2, 3), (3, 1), (4, 2), (6, 4)])
def test_pixels_that_end_early_in_sound_data_are_damage(interlace, color, channels, tmp_path, rng):
    """Pillow leaves these rows empty without a word."""
    width, height = 37, 29
    sizes = list(passes(width, height)) if interlace else [(width, height)]
    raw = b"".join(
        b"\0" + rng.integers(1, 3, cols * channels, np.uint8).tobytes()
        for cols, rows in sizes
        for _ in range(rows)
        if cols
    )
    palette = [chunk(b"PLTE", bytes(range(12)))] if color == 3 else []
    path = tmp_path / "picture.png"
    path.write_bytes(png(width, height, color, interlace, zlib.compress(raw), *palette))
    assert open_picture(path, name="picture").pixels.shape[:2] == (height, width)
    for part in (len(raw) // 2, len(raw) - (1 + width * channels), len(raw) - 2 * width * channels):
        data = zlib.compress(raw[:part])
        path.write_bytes(png(width, height, color, interlace, data, *palette))
        with pytest.raises(InputError, match="damaged or cut short"):
            open_picture(path, name="picture")


@pytest.mark.parametrize("mode", ["L", "P", "RGB", "RGBA", "1"])
def test_pictures_with_empty_last_rows_are_sound(mode, save):
    for size in ((1, 1), (9, 1), (1, 9), (40, 30)):
        path = save("picture.png", Image.new(mode, size))
        assert not open_picture(path, name="picture").pixels.any()
