"""Which way is up: EXIF before XMP, and what the formats store themselves."""

from __future__ import annotations

import struct

import numpy as np
import pytest
import tifffile
from helpers.chunks import chunk
from PIL import Image, PngImagePlugin

from patchsim.pictures import png
from patchsim.pictures.limits import Limits
from patchsim.pictures.reader import open_picture

GIVEN = np.arange(8 * 16 * 3, dtype=np.uint8).reshape(8, 16, 3) // 2 + 20
UPRIGHT = {1: GIVEN, 3: np.rot90(GIVEN, 2), 6: np.rot90(GIVEN, -1), 8: np.rot90(GIVEN)}

# Forms that programs write: an attribute (Adobe), an element (exiftool), single quotes.
FORMS = (
    '<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="{}"/>',
    "<rdf:Description><tiff:Orientation>{}</tiff:Orientation></rdf:Description>",
    "<rdf:Description tiff:Orientation='{}'/>",
    "<rdf:Description><tiff:Orientation>\n {}\n</tiff:Orientation></rdf:Description>",
)


def xmp_of(value, form=0):
    return f'<x:xmpmeta xmlns:x="adobe:ns:meta/">{FORMS[form].format(value)}</x:xmpmeta>'.encode()


def written(kind, path, exif, xmp):
    """A picture with these orientations in EXIF and XMP, None for neither."""
    picture = Image.fromarray(GIVEN)
    data = b""
    if exif is not None:
        made = Image.Exif()
        made[0x0112] = exif
        data = made.tobytes()
    options = {"exif": data} if data else {}
    if kind in ("png", "png16"):
        if kind == "png16":
            import imagecodecs

            content = imagecodecs.png_encode(GIVEN.astype(np.uint16) * 257)
        else:
            picture.save(path)
            content = path.read_bytes()
        extra = chunk(b"eXIf", data.removeprefix(b"Exif\0\0")) if data else b""
        extra += chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp) if xmp else b""
        path.write_bytes(content[:33] + extra + content[33:])
    elif kind in ("tiff", "tiff16"):
        tags = [(274, "H", 1, exif, True)] if exif is not None else []
        tags += [(700, "B", len(xmp), xmp, True)] if xmp else []
        pixels = GIVEN.astype(np.uint16) * 257 if kind == "tiff16" else GIVEN
        tifffile.imwrite(path, pixels, photometric="rgb", extratags=tags, metadata=None)
    elif kind == "jpeg":
        picture.save(path, quality=100, subsampling=0, xmp=xmp or b"", **options)
    else:
        picture.save(path, lossless=True, xmp=xmp or b"", **options)


@pytest.mark.parametrize("kind", ["png", "png16", "jpeg", "webp", "tiff", "tiff16"])
@pytest.mark.parametrize(
    ("exif", "xmp", "orientation"),
    [
        (6, 3, 6),
        (1, 3, 1),  # upright by EXIF, whatever XMP says
        (None, 6, 6),
        (None, 9, 1),
        (0, 8, 8),  # no orientation at all
        (9, 3, 3),
        (8, None, 8),
        (None, None, 1),
    ],
)
def test_exif_wins_and_xmp_fills_in(kind, exif, xmp, orientation, tmp_path):
    path = tmp_path / f"a.{kind.rstrip('16')}"
    written(kind, path, exif, None if xmp is None else xmp_of(xmp))
    found = open_picture(path, name="a").pixels
    if found.dtype == np.uint16:
        found = found // 257
    upright = UPRIGHT[orientation]
    assert found.shape == upright.shape
    # A JPEG is not exact.
    assert np.abs(found.astype(int) - upright).max() <= (4 if kind == "jpeg" else 0)


@pytest.mark.parametrize("form", range(len(FORMS)))
def test_each_form_of_xmp_is_understood(form, tmp_path):
    written("png", tmp_path / "a.png", None, xmp_of(8, form))
    np.testing.assert_array_equal(open_picture(tmp_path / "a.png", name="a").pixels, UPRIGHT[8])


def test_damaged_exif_data_leave_the_word_to_xmp(tmp_path):
    path = tmp_path / "a.png"
    written("png", path, None, xmp_of(6))
    content = path.read_bytes()
    damaged = chunk(b"eXIf", b"MM\0*" + struct.pack(">IHHHI", 8, 1, 0x0112, 99, 7))
    path.write_bytes(content[:33] + damaged + content[33:])
    np.testing.assert_array_equal(open_picture(path, name="a").pixels, UPRIGHT[6])


def test_in_an_avif_only_its_own_turns_count(tmp_path):
    picture = Image.fromarray(GIVEN)
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / "plain.avif", xmp=xmp_of(6), quality=100)
    picture.save(tmp_path / "turned.avif", xmp=xmp_of(3), exif=exif, quality=100)
    assert open_picture(tmp_path / "plain.avif", name="a").pixels.shape[:2] == (8, 16)
    assert open_picture(tmp_path / "turned.avif", name="a").pixels.shape[:2] == (16, 8)


@pytest.mark.parametrize("kind", ["png", "png16"])
@pytest.mark.parametrize("has_xmp", [False, True])
def test_what_stands_behind_the_pixels_of_a_png_counts(kind, has_xmp, tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    written(kind, path, None if has_xmp else 6, xmp_of(6) if has_xmp else b"")
    content = path.read_bytes()
    name = b"iTXt" if has_xmp else b"eXIf"
    begin = content.index(name) - 4
    end = begin + 12 + int.from_bytes(content[begin : begin + 4], "big")
    path.write_bytes(content[:begin] + content[end:-12] + content[begin:end] + content[-12:])
    np.testing.assert_array_equal(open_picture(path, name="image").pixels >> 8 * (kind == "png16"),
                                  UPRIGHT[6])  # fmt: skip

    def load(_):
        raise AssertionError("the picture is decoded to learn how it is turned")

    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", load)
    with path.open("rb") as stream:
        assert png.about(stream, Limits("a.png", 0, None)).orientation == 6


def test_a_pil_image_follows_the_same_rule(tmp_path):
    for exif, orientation in ((None, 8), (3, 3)):
        written("jpeg", tmp_path / "a.jpeg", exif, xmp_of(8))
        with Image.open(tmp_path / "a.jpeg") as image:
            assert open_picture(image, name="a").pixels.shape == UPRIGHT[orientation].shape
