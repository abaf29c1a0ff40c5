"""AVIF, JPEG 2000, JPEG XL, HDR, icons, TGA, QOI, PCX, SGI, PAM and PFM, within limits."""

from __future__ import annotations

import io
import struct
import sys

import imagecodecs
import numpy as np
import pytest
from helpers import load
from PIL import Image

from patchsim import InputError
from patchsim.pictures import jpegxl_header
from patchsim.pictures.reader import open_picture


def opened(path, **options):
    return open_picture(path, name="image", **options)


@pytest.fixture
def color(astronaut):
    return np.ascontiguousarray(astronaut[:40, 180:230])


def written(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    return tmp_path / name


@pytest.mark.parametrize("suffix", ["qoi", "tga", "pcx", "sgi", "jp2", "j2k", "ico"])
def test_lossless_formats_give_the_pixels(suffix, color, save):
    options = {"ico": {"sizes": [(50, 40)]}}.get(suffix, {})
    picture = opened(save(f"a.{suffix}", color, **options))
    np.testing.assert_array_equal(picture.pixels, color)
    assert picture.alpha is None
    assert picture.notices == ()


@pytest.mark.parametrize("suffix", ["qoi", "tga", "sgi", "jp2", "ico"])
def test_their_alpha_stands_beside_the_pixels(suffix, color, save, rng):
    alpha = rng.integers(0, 256, color.shape[:2], dtype=np.uint8)
    options = {"ico": {"sizes": [(50, 40)]}}.get(suffix, {})
    picture = opened(save(f"a.{suffix}", np.dstack([color, alpha]), **options))
    np.testing.assert_array_equal(picture.alpha, alpha)
    np.testing.assert_array_equal(picture.pixels, color)


def test_runs_and_palettes_of_tga(color, save):
    palette = Image.fromarray(color).quantize(16)
    for picture in (Image.fromarray(color), Image.fromarray(color).convert("L"), palette):
        path = save("a.tga", picture, compression="tga_rle")
        expected = np.asarray(picture.convert("RGB" if picture.mode == "P" else picture.mode))
        np.testing.assert_array_equal(opened(path).pixels.squeeze(), expected)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", ["u1", "u2"])
@pytest.mark.parametrize("coded", [False, True])
def test_sgi_of_8_and_16_bits(channels, dtype, coded, tmp_path, rng):
    most = np.iinfo(dtype).max
    values = rng.integers(0, most, (40, 150, channels), dtype, endpoint=True)
    values[:, 20:149] = values[:, 20:21]  # longer than a run can be
    planes = np.moveaxis(values[::-1], -1, 0).astype(f">{dtype}")
    if coded:
        rows = [sgi_row(row) for row in planes.reshape(-1, 150)]
        places = 512 + 8 * len(rows) + np.cumsum([0, *map(len, rows)])[:-1]
        table = [*places.tolist(), *map(len, rows)]
        body = struct.pack(f">{len(table)}I", *table) + b"".join(rows)
    else:
        body = planes.tobytes()
    head = struct.pack(
        ">HBBHHHH",
        474,
        coded,
        np.dtype(dtype).itemsize,
        2 if channels == 1 else 3,
        150,
        40,
        channels,
    )
    path = written(tmp_path, "a.sgi", head.ljust(512, b"\0") + body)
    picture = opened(path)
    colors = channels - (channels in (2, 4))
    assert picture.pixels.dtype == dtype
    np.testing.assert_array_equal(picture.pixels, values[..., :colors])
    if channels in (2, 4):
        np.testing.assert_array_equal(picture.alpha, np.rint(values[..., -1] / most * 255))
    if dtype == "u1" and channels != 2 and not coded:
        expected = np.asarray(load(path)).reshape(40, 150, channels)
        np.testing.assert_array_equal(picture.pixels, expected[..., :colors])
    with pytest.raises(
        InputError, match=r"damaged or cut short: (a row|its [\d,]+ bytes cannot hold)"
    ):
        opened(written(tmp_path, "a.sgi", path.read_bytes()[:-3]))


def sgi_row(row):
    """A row in runs: values as they are, then repeated ones, without a mark of its end."""
    codes, x = [], 0
    while x < len(row):
        same = 1
        while x + same < len(row) and row[x + same] == row[x] and same < 127:
            same += 1
        codes += [same, row[x]] if same > 1 else [129, row[x]]
        x += same
    return np.array(codes, row.dtype).tobytes()


def test_avif_of_8_bits_is_as_pillow_decodes_it(color, save):
    path = save("a.avif", color, quality=90)
    np.testing.assert_array_equal(opened(path).pixels, load(path))
    exif = Image.Exif()
    exif[0x0112] = 6
    path = save("b.avif", color, exif=exif)
    assert opened(path).pixels.shape == (50, 40, 3)


@pytest.mark.parametrize("bits", [10, 12])
@pytest.mark.parametrize("channels", [3, 4])
def test_avif_of_more_bits_keeps_them(bits, channels, color, tmp_path):
    largest = (1 << bits) - 1
    deep = (color.astype(np.uint32) * largest // 255).astype(np.uint16)
    deep[:2] += np.arange(50, dtype=np.uint16)[:, None] % 3
    deep = np.minimum(deep, largest)
    if channels == 4:
        deep = np.dstack([deep, np.full(deep.shape[:2], largest // 2, np.uint16)])
    content = imagecodecs.avif_encode(deep, level=100, bitspersample=bits, matrix=0)
    picture = opened(written(tmp_path, "a.avif", content))
    np.testing.assert_array_equal(picture.pixels, deep[..., :3])
    assert picture.notices == (
        f"{tmp_path / 'a.avif'} has values of {bits} bits;"
        f" --data-range 0:{largest} compares them with others of such a range,"
        " --metric zncc with any",
    )
    if channels == 4:
        assert (picture.alpha == np.rint(largest // 2 / largest * 255)).all()


@pytest.mark.parametrize("bits", [12, 16])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_jpeg_2000_of_more_bits_keeps_them(bits, channels, tmp_path, rng):
    shape = (40, 50, channels)[: 2 if channels == 1 else 3]
    deep = rng.integers(0, 1 << bits, shape, dtype=np.uint16)
    content = imagecodecs.jpeg2k_encode(deep, level=0, reversible=True, bitspersample=bits)
    picture = opened(written(tmp_path, "a.jp2", content))
    np.testing.assert_array_equal(picture.pixels, np.atleast_3d(deep)[..., :3])
    assert len(picture.notices) == (bits == 12)
    if channels == 4:
        expected = np.rint(deep[..., 3] / ((1 << bits) - 1) * 255)
        np.testing.assert_array_equal(picture.alpha, expected)


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("container", [False, True])
def test_jpeg_xl_gives_the_values(dtype, channels, container, tmp_path, rng):
    shape = (40, 50, channels)
    values = rng.random(shape).astype("f4") if dtype == "f4" else rng.integers(
        0, np.iinfo(dtype).max, shape, dtype, endpoint=True
    )  # fmt: skip
    stored = values[..., 0] if channels == 1 else values
    content = imagecodecs.jpegxl_encode(stored, lossless=True, usecontainer=container)
    picture = opened(written(tmp_path, "a.jxl", content))
    colors = channels - (channels in (2, 4))
    np.testing.assert_array_equal(picture.pixels, values[..., :colors])
    if channels in (2, 4):
        largest = 1 if dtype == "f4" else np.iinfo(dtype).max
        expected = np.rint(values[..., -1].astype(float) / largest * 255)
        np.testing.assert_array_equal(picture.alpha, expected)


@pytest.mark.parametrize("size", [(8, 8), (256, 64), (40, 50), (300, 400), (9, 12), (513, 4097)])
def test_the_size_that_a_jpeg_xl_states(size):
    content = imagecodecs.jpegxl_encode(np.zeros(size, np.uint8), lossless=True)
    assert jpegxl_header.read(content)[:2] == size
    boxed = imagecodecs.jpegxl_encode(np.zeros(size, np.uint8), lossless=True, usecontainer=True)
    assert jpegxl_header.read(boxed)[:2] == size


def test_radiance_gives_floats(tmp_path, rng):
    stored = rng.integers(0, 256, (5, 7, 4), dtype=np.uint8)
    stored[..., 3] = rng.integers(120, 136, (5, 7))
    head = b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 5 +X 7\n"
    path = written(tmp_path, "a.hdr", head + stored.tobytes())
    picture = opened(path)
    assert picture.pixels.dtype == np.float32
    # Ward's format: a mantissa of 8 bits times a shared power of two.
    exact = stored[..., :3] * 2.0 ** (stored[..., 3:].astype(float) - 128 - 8)
    np.testing.assert_array_equal(picture.pixels, exact.astype(np.float32))


def test_the_largest_picture_of_an_icon(color, tmp_path, save):
    sizes = [(16, 16), (32, 32), (48, 48)]
    square = np.ascontiguousarray(color[:40, :40])
    for form in ("png", "bmp"):
        path = save(
            "a.ico", Image.fromarray(square).resize((48, 48)), sizes=sizes, bitmap_format=form
        )
        picture = opened(path)
        expected = np.asarray(Image.fromarray(square).resize((48, 48)))
        np.testing.assert_array_equal(picture.pixels, expected)
        assert picture.notices == (f"{path} has 3 pictures; the largest is used",)
    with pytest.raises(InputError, match="pixels, more than 100"):
        opened(path, max_pixels=100)
    # A picture may be larger than the list says.
    file = io.BytesIO()
    Image.fromarray(np.zeros((300, 400, 3), np.uint8)).save(file, "PNG")
    content = file.getvalue()
    entry = struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(content), 22)
    path = written(tmp_path, "b.ico", b"\0\0\1\0\1\0" + entry + content)
    with pytest.raises(InputError, match="400x300 = 120,000 pixels, more than 1,000"):
        opened(path, max_pixels=1000)
    assert opened(path).pixels.shape == (300, 400, 3)


@pytest.mark.parametrize("form", ["png", "bmp"])
@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA"])
def test_an_icon_that_ends_within_its_picture_is_damaged(form, mode, color, tmp_path, save):
    picture = Image.fromarray(color[:33, :33]).convert(mode)
    sound = save("a.ico", picture, sizes=[(33, 33)], bitmap_format=form)
    read = opened(sound)
    expected = np.asarray(picture.convert("RGB"))
    np.testing.assert_array_equal(np.broadcast_to(read.pixels, expected.shape), expected)
    assert read.alpha is None
    content = sound.read_bytes()
    followed = opened(written(tmp_path, "b.ico", content + bytes(500)))
    np.testing.assert_array_equal(followed.pixels, read.pixels)
    for end in (len(content) // 2, len(content) - 30):
        with pytest.raises(InputError, match=r"an icon file \(ICO\) that is damaged or cut short"):
            opened(written(tmp_path, "b.ico", content[:end]))
    if form == "bmp":
        with pytest.raises(InputError, match=r"its picture ends after [\d,]+ of [\d,]+ bytes"):
            opened(written(tmp_path, "b.ico", content[:-1]))


@pytest.mark.parametrize("is_padded", [False, True])
@pytest.mark.parametrize("width", [16, 31, 32, 48])
def test_the_mask_of_an_icon(is_padded, width, tmp_path, rng):
    """Rows of a mask are filled up to 4 bytes; Pillow writes them without."""
    pixels = rng.integers(0, 256, (20, width, 3), dtype=np.uint8)
    hidden = rng.integers(0, 2, (20, width)).astype(bool)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "DIB")
    bitmap = bytearray(file.getvalue())
    bitmap[8:12] = struct.pack("<i", 40)
    rows = np.packbits(hidden[::-1], axis=1)
    rows = np.pad(rows, ((0, 0), (0, -rows.shape[1] % 4))) if is_padded else rows
    content = bytes(bitmap) + rows.tobytes()
    entry = struct.pack("<BBBBHHII", width, 20, 0, 0, 1, 24, len(content), 22)
    picture = opened(written(tmp_path, "a.ico", b"\0\0\1\0\1\0" + entry + content))
    np.testing.assert_array_equal(picture.pixels, pixels)
    np.testing.assert_array_equal(picture.alpha, np.where(hidden, 0, 255))


@pytest.mark.parametrize("white", [1, 100, 255, 256, 1000, 65535])
@pytest.mark.parametrize("kind", ["GRAYSCALE", "RGB_ALPHA", "other"])
def test_pam_of_any_depth(white, kind, tmp_path, rng):
    channels = {"GRAYSCALE": 1, "RGB_ALPHA": 4, "other": 5}[kind]
    values = rng.integers(0, white + 1, (70, 9, channels))
    head = (
        f"P7\n# a comment\nWIDTH 9\nHEIGHT 70\nDEPTH {channels}\nMAXVAL {white}\nTUPLTYPE {kind}\n"
    )
    content = head.encode() + b"ENDHDR\n" + values.astype(">u2" if white > 255 else "u1").tobytes()
    picture = opened(written(tmp_path, "a.pam", content))
    most = 65535 if white > 255 else 255
    expected = np.rint(values / white * most)
    colors = channels - (kind == "RGB_ALPHA")
    assert picture.pixels.dtype == (np.uint16 if white > 255 else np.uint8)
    np.testing.assert_array_equal(picture.pixels, expected[..., :colors])
    if kind == "RGB_ALPHA":
        np.testing.assert_array_equal(picture.alpha, np.rint(expected[..., 3] / most * 255))
    with pytest.raises(InputError, match=r"cut short: it ends in row \d+ of 70"):
        opened(written(tmp_path, "a.pam", content[:-30]))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("order", "<>")
def test_pfm_in_colour_and_grey(channels, order, tmp_path, rng):
    values = rng.random((6, 7, channels)).astype("f4")
    head = b"PF" if channels == 3 else b"Pf"
    head += b"\n7 6\n%s1.0\n" % (b"-" if order == "<" else b"")
    content = head + values[::-1].astype(f"{order}f4").tobytes()
    path = written(tmp_path, "a.pfm", content)
    picture = opened(path)
    np.testing.assert_array_equal(picture.pixels, values)
    if channels == 1:
        np.testing.assert_array_equal(picture.pixels[..., 0], load(path))
    with pytest.raises(InputError, match="damaged or cut short: it has"):
        opened(written(tmp_path, "a.pfm", content[:-1]))
    for broken in (b"PF\n7 6\n0\n", b"PF\n7 0\n1\n", b"PF\n7\n", b"PF 7 6 1.2.3 "):
        with pytest.raises(InputError, match="damaged or cut short"):
            opened(written(tmp_path, "a.pfm", broken + bytes(99)))


def encoded(kind, values):
    deep = values.astype(np.uint16) * 257
    if kind == "jxl":
        return imagecodecs.jpegxl_encode(values, lossless=True)
    if kind == "avif10":
        return imagecodecs.avif_encode(deep >> 6, level=100, speed=10, bitspersample=10)
    if kind == "jp2-16":
        return imagecodecs.jpeg2k_encode(deep, level=0, reversible=True)
    if kind == "pam":
        head = b"P7\nWIDTH %d\nHEIGHT %d\nDEPTH 3\nMAXVAL 255\nTUPLTYPE RGB\nENDHDR\n"
        return head % values.shape[1::-1] + values.tobytes()
    file = io.BytesIO()
    sizes = {"sizes": [values.shape[1::-1]]} if kind == "ico" else {}
    Image.fromarray(values).save(file, {"jp2": "JPEG2000"}.get(kind, kind), **sizes)
    return file.getvalue()


FORMATS = ["jxl", "avif", "avif10", "jp2", "jp2-16", "qoi", "tga", "pcx", "sgi", "ico", "pam"]


@pytest.mark.parametrize("kind", FORMATS)
def test_limits_hold_before_anything_is_decoded(kind, tmp_path, astronaut):
    path = written(
        tmp_path, f"a.{kind}", encoded(kind, np.ascontiguousarray(astronaut[:200, :250]))
    )
    with pytest.raises(InputError, match=r"250x200 = 50,000 pixels, more than 49,999;"):
        opened(path, max_pixels=49_999)
    with pytest.raises(InputError, match="to decode, but the memory is"):
        opened(path, memory=100_000)
    assert opened(path, max_pixels=50_000, memory=50_000_000).pixels.shape == (200, 250, 3)


@pytest.mark.parametrize("kind", FORMATS)
def test_damaged_files_are_refused_or_read_but_never_a_fault(kind, tmp_path, color, rng):
    whole = encoded(kind, color)
    refused = 0
    for share in (0.05, 0.3, 0.8):
        try:
            opened(written(tmp_path, "a", whole[: int(len(whole) * share)]), memory=50_000_000)
        except InputError as error:
            refused += 1
            assert str(error).count("\n") <= 1  # noqa: PT017 - a file that is cut may also be read
    assert refused == 3
    for _ in range(60):
        content = bytearray(whole)
        for place in rng.integers(0, min(len(content), 600), 3):
            content[place] = rng.integers(256)
        try:
            opened(written(tmp_path, "a", bytes(content)), memory=50_000_000)
        except InputError:
            continue


def test_what_to_install_where_the_packages_are_missing(tmp_path, color, monkeypatch):
    paths = [
        written(tmp_path, f"a.{kind}", encoded(kind, color)) for kind in ("jxl", "avif10", "jp2-16")
    ]
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    for path in paths:
        with pytest.raises(InputError, match=r"\npip install tifffile imagecodecs$"):
            opened(path)


@pytest.mark.parametrize(
    ("package", "name", "content"),
    [
        ("pi_heif", "a.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(40)),
        ("OpenEXR", "a.exr", b"\x76\x2f\x31\x01\x02" + bytes(60)),
        ("pydicom", "a.dcm", bytes(128) + b"DICM" + bytes(60)),
    ],
)
def test_a_reader_that_is_broken_is_not_told_as_missing(
    package, name, content, save, color, run, tmp_path, monkeypatch
):
    save("kernel.png", color[:5, :5])
    written(tmp_path, name, content)
    (tmp_path / f"{package}.py").write_text("raise ImportError('libx.so.1: cannot open it')")
    monkeypatch.syspath_prepend(tmp_path)
    for loaded in [one for one in sys.modules if one.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, loaded)
    code, _, err = run("match", tmp_path / name, tmp_path / "kernel.png", "--no-heatmap")
    assert code == 3
    assert err.startswith(f"patchsim: package {package} does not load: libx.so.1: cannot open it;")
    assert "not installed" not in err
