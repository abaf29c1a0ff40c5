"""Profiles beyond 8 bits: applied where the decoder gives them and white is known, or told."""

from __future__ import annotations

import shutil
import struct
import subprocess

import imagecodecs
import numpy as np
import OpenEXR
import pytest
from helpers import dicoms, icc
from PIL import Image

from patchsim import match
from patchsim.pictures import jpegxl_header
from patchsim.pictures.reader import open_picture


def jp2(pixels, bits, profile):
    """A JPEG 2000 with a profile in place of its colour space (ISO/IEC 15444-1, I.5.3)."""
    content = imagecodecs.jpeg2k_encode(pixels, level=0, reversible=True, bitspersample=bits,
                                        codecformat="jp2")  # fmt: skip
    at = content.index(b"colr") - 4
    length = int.from_bytes(content[at : at + 4], "big")
    box = struct.pack(">I4s3B", 11 + len(profile), b"colr", 2, 0, 0) + profile
    content = content[:at] + box + content[at + length :]
    place = content.index(b"jp2h") - 4
    whole = int.from_bytes(content[place : place + 4], "big") + len(box) - length
    return content[:place] + struct.pack(">I", whole) + content[place + 4 :]


@pytest.mark.parametrize("bits", [8, 16])
def test_the_profile_of_jpeg_2000_is_applied_at_any_depth(bits, tmp_path, save, astronaut):
    pixels = astronaut[:60, :80]
    deep = pixels if bits == 8 else pixels.astype(np.uint16) * 257
    (tmp_path / "a.jp2").write_bytes(jp2(deep, bits, icc.P3))
    assert open_picture(tmp_path / "a.jp2", name="a").profile == icc.P3
    kernel = save("k.png", pixels[20:40, 30:60], icc_profile=icc.P3)
    report = match(tmp_path / "a.jp2", kernel)
    assert (report.best.x, report.best.y, report.best.score) == (30, 20, 1)
    assert report.notices == ()
    report = match(tmp_path / "a.jp2", save("s.png", pixels[20:40, 30:60]))
    assert report.best.score < 0.999
    assert "the colour profiles differ: " in report.notices[0]
    assert "a.jp2 (" in report.notices[0]
    (tmp_path / "s.jp2").write_bytes(imagecodecs.jpeg2k_encode(deep, level=0, codecformat="jp2"))
    assert open_picture(tmp_path / "s.jp2", name="a").profile == b""


def test_a_profile_of_values_in_a_range_of_their_own_is_told(tmp_path, save, astronaut):
    pixels = astronaut[:60, :80]
    (tmp_path / "a.jp2").write_bytes(jp2(pixels.astype(np.uint16) * 16, 12, icc.P3))
    says = f"{tmp_path / 'a.jp2'} has a colour profile, which is not applied to values of 12 bits"
    kernel = save("k.png", pixels[20:40, 30:60])
    options = {"metric": "zncc", "top": 1}
    assert says in match(tmp_path / "a.jp2", kernel, **options).notices
    assert says not in match(tmp_path / "a.jp2", kernel, ignore_profile=True, **options).notices
    # A picture of the same profile has the same colours, whether it is applied or not.
    kernel = save("k.png", pixels[20:40, 30:60], icc_profile=icc.P3)
    assert says not in match(tmp_path / "a.jp2", kernel, **options).notices


class Bits:
    """Fields of a header, written bit by bit, the lowest first."""

    def __init__(self):
        self.value = self.length = 0

    def put(self, *fields):
        for value, count in fields:
            self.value |= value << self.length
            self.length += count
        return self

    def data(self):
        return self.value.to_bytes(64, "little")


def header(*colors, extra=()):
    """A JPEG XL of 40x24 pixels of 16 bits (ISO/IEC 18181-1, D.2 and D.3), with colour fields."""
    bits = Bits().put((1, 1), (2, 5), (0, 3), (4, 5), (0, 1))  # 8 (2 + 1) high, 8 (4 + 1) wide
    bits.put(*(extra or ((0, 1),)))
    bits.put((0, 1), (3, 2), (15, 6), (0, 1), (1, 2), (1, 1), (0, 1))  # depth, an alpha channel
    return b"\xff\x0a" + bits.put(*colors).data()


RGB, D65, NO_GAMMA, SRGB_CURVE = (0, 2), (1, 2), (0, 1), ((2, 2), (11, 4))
BT_709, P3 = ((1, 2),), ((2, 2), (9, 4))  # primaries
ANIMATED = ((1, 1), (2, 3), (0, 1), (0, 1), (1, 1), (0, 2), (0, 2), (0, 2), (0, 1))


@pytest.mark.parametrize("extra", [(), ANIMATED])
def test_the_colours_of_a_jpeg_xl_are_told_by_its_header(extra):
    def colors(*fields):
        found = jpegxl_header.read(header(*fields, extra=extra))
        assert found[:2] == (24, 40)
        return found.colors

    described = ((0, 1), (0, 1), RGB, D65)  # not by default, no ICC profile
    assert colors((1, 1)) is None
    assert colors(*described, *BT_709, NO_GAMMA, *SRGB_CURVE) is None
    wide = colors(*described, *P3, NO_GAMMA, *SRGB_CURVE)
    profile = colors((0, 1), (1, 1), (12345, 64))
    other = colors((0, 1), (1, 1), (54321, 64))
    assert None not in (wide, profile, other)
    assert len({wide, profile, other}) == 3
    assert colors(*described, *BT_709, (1, 1), (4545, 24)) is not None


def test_a_jpeg_xl_of_srgb_and_pictures_of_profiles(tmp_path, save, astronaut):
    pixels = astronaut[:60, :80]
    (tmp_path / "a.jxl").write_bytes(imagecodecs.jpegxl_encode(pixels, lossless=True))
    assert open_picture(tmp_path / "a.jxl", name="a").profile == b""
    kernel = save("k.png", pixels[20:40, 30:60], icc_profile=icc.P3)
    assert "k.png (" in match(tmp_path / "a.jxl", kernel).notices[0]
    if shutil.which("ffmpeg") is None:
        pytest.skip("ffmpeg, which keeps the profile, is not installed")
    wide = save("a.png", pixels, icc_profile=icc.P3)
    command = ["ffmpeg", "-loglevel", "error", "-i", wide, "-c:v", "libjxl", "-distance", "0"]
    subprocess.run([*command, tmp_path / "wide.jxl"], check=True)
    plain = save("k.png", pixels[20:40, 30:60])
    (notice,) = match(tmp_path / "wide.jxl", plain).notices
    assert notice == (
        f"{tmp_path / 'wide.jxl'} has a colour profile other than sRGB, which is not applied: its"
        " decoder does not give it;\nif colours matter, convert it to PNG"
    )
    assert match(tmp_path / "wide.jxl", tmp_path / "wide.jxl").notices == ()


def test_stated_primaries_are_told(tmp_path, astronaut):
    floats = np.float32(astronaut[:60, :80]) / 255
    content = imagecodecs.rgbe_encode(floats, header=True)
    at = content.index(b"\n") + 1
    wide = b"PRIMARIES=0.680 0.320 0.265 0.690 0.150 0.060 0.3127 0.3290\n"
    usual = b"PRIMARIES=0.640 0.330 0.290 0.600 0.150 0.060 0.333 0.333\n"
    for name, more in (("wide", wide), ("usual", usual), ("none", b"")):
        (tmp_path / f"{name}.hdr").write_bytes(content[:at] + more + content[at:])
    options = {"type": OpenEXR.scanlineimage, "chromaticities": (
        0.680, 0.320, 0.265, 0.690, 0.150, 0.060, 0.3127, 0.3290)}  # fmt: skip
    OpenEXR.File(options, {"RGB": floats}).write(str(tmp_path / "wide.exr"))
    Image.fromarray(astronaut[20:40, 30:60]).save(tmp_path / "k.png")
    for name in ("wide.hdr", "wide.exr"):
        notices = match(tmp_path / name, tmp_path / "k.png").notices
        assert any("has primaries other than those of sRGB" in notice for notice in notices)
    for name in ("usual.hdr", "none.hdr"):
        notices = match(tmp_path / name, tmp_path / "k.png").notices
        assert not any("primaries" in notice for notice in notices)


def test_profiles_of_bmp_dicom_and_gif(tmp_path, astronaut):
    pixels = astronaut[:24, :32]
    head = struct.pack("<IiiHHIIiiII", 124, 32, -24, 1, 24, 0, 0, 0, 0, 0, 0)
    head = (head + bytes(16) + b"DEBM" + bytes(52)).ljust(112, b"\0")
    body = pixels[..., ::-1].tobytes()
    head += struct.pack("<III", 124 + len(body), len(icc.P3), 0)
    content = struct.pack("<IHHI", 14 + 124 + len(body) + len(icc.P3), 0, 0, 14 + 124)
    (tmp_path / "a.bmp").write_bytes(b"BM" + content + head + body + icc.P3)
    picture = open_picture(tmp_path / "a.bmp", name="a")
    np.testing.assert_array_equal(picture.pixels, pixels)
    assert picture.profile == icc.P3
    dicoms.write(tmp_path / "a.dcm", pixels, color="RGB", ICCProfile=icc.P3)
    assert open_picture(tmp_path / "a.dcm", name="a").profile == icc.P3
    Image.fromarray(pixels).save(tmp_path / "a.gif")
    plain = (tmp_path / "a.gif").read_bytes()
    at = 13 + 3 * (2 << (plain[10] & 7))
    blocks = b"".join(bytes([len(part)]) + part for part in (icc.P3[:255], icc.P3[255:510]))
    extension = b"\x21\xff\x0bICCRGBG1012" + blocks + b"\0"
    (tmp_path / "b.gif").write_bytes(plain[:at] + extension + plain[at:])
    assert open_picture(tmp_path / "a.gif", name="a").unapplied is None
    found = open_picture(tmp_path / "b.gif", name="a").unapplied
    assert found.what.startswith("a colour profile, which is not read from a GIF")
