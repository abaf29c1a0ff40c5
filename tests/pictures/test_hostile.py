"""Small pictures in files that ask for much memory or time are refused before they take it."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from patchsim import InputError
from patchsim.pictures import metadata
from patchsim.pictures.reader import open_picture

SIDE = 64
MB = 1 << 20


@pytest.fixture(scope="module")
def color():
    return np.random.default_rng(16).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)


def encoded(color, form, **options):
    file = io.BytesIO()
    Image.fromarray(color).save(file, form, **options)
    return file.getvalue()


def png(color, name, more, *, is_last=False):
    """A PNG with one more chunk, before or behind its pixels."""
    plain = encoded(color, "PNG")
    chunk = struct.pack(">I", len(more)) + name + more + struct.pack(">I", zlib.crc32(name + more))
    at = plain.index(b"IEND") - 4 if is_last else 33
    return plain[:at] + chunk + plain[at:]


def jpeg(color, marker, size):
    """A JPEG with segments of this kind before its pixels."""
    plain = encoded(color, "JPEG")
    segment = b"\xff" + marker + struct.pack(">H", 65535) + b"a" * 65533
    return plain[:2] + segment * (size // len(segment) + 1) + plain[2:]


def gif(color, size):
    """A GIF with a comment before its first frame."""
    plain = encoded(color, "GIF")
    at = 13 + 3 * (2 << (plain[10] & 7))
    block = b"\xff" + b"c" * 255
    return plain[:at] + b"\x21\xfe" + block * (size // 256 + 1) + b"\0" + plain[at:]


def webp(color, size):
    """A WebP with XMP behind its pixels."""
    body = encoded(color, "WEBP")[8:] + b"XMP " + struct.pack("<I", size) + bytes(size)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def tiff(tag, kind, values, *, form="<"):
    """A grey TIFF of zeros with a tag whose values (type number, bytes) lie outside the directory.

    `form` is ``<`` or ``>``, and ends in ``Q`` for BigTIFF.
    """
    order, is_big = form[0], form.endswith("Q")
    size = {2: 1, 3: 2, 4: 4}[kind]
    head = 16 if is_big else 8
    fixed = {256: SIDE, 257: SIDE, 258: 8, 259: 1, 262: 1, 273: head, 277: 1, 278: SIDE,
             279: SIDE**2}  # fmt: skip
    entries = {number: (16 if is_big else 4, 1, value) for number, value in fixed.items()}
    entries[tag] = (kind, len(values) // size, head + SIDE**2)
    place = head + SIDE**2 + len(values)
    word, count = (f"{order}HHQQ", f"{order}Q") if is_big else (f"{order}HHII", f"{order}H")
    start = (b"II" if order == "<" else b"MM") + (
        struct.pack(f"{order}HHHQ", 43, 8, 0, place) if is_big
        else struct.pack(f"{order}HI", 42, place)
    )  # fmt: skip
    directory = b"".join(struct.pack(word, number, *entries[number]) for number in sorted(entries))
    return start + bytes(SIDE**2) + values + struct.pack(count, len(entries)) + directory + bytes(8)


def ppm(color, *, header=b"", kind=b"P6"):
    if kind == b"P6":
        return b"P6\n" + header + b"64 64 255\n" + color.tobytes()
    return b"P3\n64 64 255\n" + header + " ".join(map(str, color.ravel())).encode()


# Each makes a file of so many bytes beside the pixels.
FILES = {
    "eXIf of a PNG": lambda color, size: png(color, b"eXIf", b"MM\0*" + bytes(size)),
    "eXIf behind the pixels": lambda color, size: png(
        color, b"eXIf", b"MM\0*" + bytes(size), is_last=True
    ),
    "APP15 of a JPEG": lambda color, size: jpeg(color, b"\xef", size),
    "comments of a JPEG": lambda color, size: jpeg(color, b"\xfe", size),
    "a comment of a GIF": gif,
    "XMP of a WebP": webp,
    "a text of a TIFF": lambda _, size: tiff(270, 2, b"a" * size),
    "a text of a BigTIFF": lambda _, size: tiff(270, 2, b"a" * size, form="<Q"),
    "a text of a big-endian BigTIFF": lambda _, size: tiff(270, 2, b"a" * size, form=">Q"),
    "places in a TIFF": lambda _, size: tiff(273, 4, struct.pack("<I", 8) * (size // 4)),
}


@pytest.fixture
def write(tmp_path):
    def written(content):
        path = tmp_path / "a"
        path.write_bytes(content)
        return path

    return written


def opened(path, **options):
    return open_picture(path, name="image", **options)


@pytest.mark.parametrize("kind", FILES)
def test_much_beside_the_pixels_needs_the_memory_that_it_takes(kind, color, write):
    path = write(FILES[kind](color, 2 * MB))
    with pytest.raises(InputError, match=r"takes .* MB to decode, but the memory is 5.0 MB"):
        opened(path, memory=5_000_000)
    assert opened(path, memory=50_000_000).pixels.shape[:2] == (SIDE, SIDE)


@pytest.mark.parametrize("kind", [kind for kind in FILES if "WebP" not in kind])
def test_more_beside_the_pixels_than_pictures_have_is_refused(kind, color, write, monkeypatch):
    monkeypatch.setattr(metadata, "MOST", 2_000_000)
    path = write(FILES[kind](color, 2 * MB))
    with pytest.raises(InputError) as refused:
        opened(path)
    assert str(refused.value).startswith(f"{path} has 2.")
    assert " of texts, profiles or comments, more than 2.0 MB;\nsave it" in str(refused.value)


@pytest.mark.parametrize("kind", FILES)
def test_a_megabyte_beside_the_pixels_changes_nothing(kind, color, write):
    expected = opened(write(FILES[kind](color, 1000))).pixels
    found = opened(write(FILES[kind](color, 1_000_000)), memory=20_000_000).pixels
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("form", ["<", ">", "<Q", ">Q"])
@pytest.mark.parametrize("tag", [258, 274, 338])
def test_tags_of_a_few_values_have_few(tag, form, write):
    path = write(tiff(tag, 3, struct.pack(f"{form[0]}H", 8) * 70_000, form=form))
    with pytest.raises(InputError, match=f"damaged or cut short: its tag {tag} has 70,000 values"):
        opened(path)


@pytest.mark.parametrize("form", ["<", ">", "<Q", ">Q"])
def test_sound_directories_are_passed(form, write):
    picture = opened(write(tiff(270, 2, b"a" * 1000, form=form)))
    np.testing.assert_array_equal(picture.pixels, np.zeros((SIDE, SIDE, 1)))


def test_directories_in_a_circle_or_cut_short_end(write):
    whole = tiff(270, 2, b"a" * 1000)
    place = int.from_bytes(whole[4:8], "little")
    circle = whole[:-8] + struct.pack("<I", place) + bytes(4)
    assert opened(write(circle)).pixels.shape[:2] == (SIDE, SIDE)
    for end in (place + 1, place + 2, place + 20, len(whole) - 9):
        with pytest.raises(InputError, match=r"damaged or cut short|cannot be read"):
            opened(write(whole[:end]))


def scans(color, count):
    """A progressive JPEG whose last scan is repeated."""
    plain = encoded(color, "JPEG", progressive=True)
    last = plain[plain.rindex(b"\xff\xda") : -2]
    own = plain.count(b"\xff\xda")
    return plain[:-2] + last * (count - own) + plain[-2:]


def test_a_jpeg_may_have_100_scans(color, write):
    assert opened(write(scans(color, 100))).pixels.shape == (SIDE, SIDE, 3)
    with pytest.raises(InputError, match="is a JPEG of more than 100 scans"):
        opened(write(scans(color, 101)))


def test_scans_of_other_pictures_in_a_jpeg_do_not_count(color, write):
    plain = encoded(color, "JPEG", progressive=True)
    thumbnail = b"\xff\xda" * 200
    segment = b"\xff\xef" + struct.pack(">H", 2 + len(thumbnail)) + thumbnail
    picture = opened(write(plain[:2] + segment + plain[2:] + scans(color, 90)))
    np.testing.assert_array_equal(picture.pixels, opened(write(plain)).pixels)


def test_a_tiff_of_jpeg_may_not_have_more_scans(color, write):
    tifffile = pytest.importorskip("tifffile")
    path = write(b"")
    data = scans(color, 101)
    with tifffile.TiffWriter(path) as file:
        file.write(
            iter([data]), shape=(SIDE, SIDE, 3), dtype=np.uint8, photometric="ycbcr",
            compression="jpeg", rowsperstrip=SIDE, planarconfig="contig",
            extratags=[(529, 5, 3, (2126, 10000, 7152, 10000, 722, 10000), True)],
        )  # fmt: skip
    with pytest.raises(InputError, match="is a JPEG of more than 100 scans"):
        opened(path)


@pytest.mark.parametrize("header", [b"#" + b"a" * 100_000 + b"\n", b"#\n" * 50_000, b" " * 100_000])
def test_a_pnm_with_a_long_header_is_refused(header, color, write):
    with pytest.raises(InputError, match="has a header of more than 65,536 bytes; save it without"):
        opened(write(ppm(color, header=header)))
    short = opened(write(ppm(color, header=header[:1000].rstrip() + b"\n"))).pixels
    np.testing.assert_array_equal(short, color)


def test_a_pnm_whose_pixels_look_like_text_is_read(write):
    for value in b" #\n":
        flat = np.full((SIDE * 2, SIDE * 4, 3), value, np.uint8)
        content = b"P6 # a comment\n256 128\n255 " + flat.tobytes()
        np.testing.assert_array_equal(opened(write(content)).pixels, flat)


def test_a_pnm_of_text_has_few_comments(color, write):
    few = opened(write(ppm(color, kind=b"P3", header=b"# 1\n" * 9000)))
    np.testing.assert_array_equal(few.pixels, color)
    with pytest.raises(InputError, match=r"has 11,000 comments, more than 10,000; save it without"):
        opened(write(ppm(color, kind=b"P3", header=b"# 1\n" * 11000)))


@pytest.mark.parametrize(("tag", "told"), [(259, "is compressed by "), (262, "has the colours ")])
def test_texts_in_tags_of_numbers_are_escaped_and_cut(tmp_path, tag, told):
    """A TIFF's compression or colours may be stated as a text, which its message then tells."""
    text = b"\x1b]0;owned\x07" + b"A" * 5000 + b"\0"
    width, height, bits, one = (4, 1, 4), (4, 1, 4), (3, 1, 16), (3, 1, 1)
    tags = {256: width, 257: height, 258: bits, 259: one, 262: one, 273: (4, 1, 8), 277: one,
            278: height, 279: (4, 1, 32)}  # fmt: skip
    tags[tag] = (2, len(text), 8 + 32)
    entries = b"".join(struct.pack("<HHII", key, *tags[key]) for key in tags)
    directory = struct.pack("<H", len(tags)) + entries + bytes(4)
    content = bytes(range(32)) + text
    path = tmp_path / "a.tif"
    path.write_bytes(struct.pack("<4sI", b"II*\0", 8 + len(content)) + content + directory)
    with pytest.raises(InputError) as raised:
        open_picture(path, name="image")
    message = str(raised.value)
    assert f"{path} {told}\\x1b]0;owned\\x07AAA" in message
    assert "\x1b" not in message
    assert message.count("A") < 200
