"""A header of more pixels than its file can hold is damage; the flattest pictures are not."""

from __future__ import annotations

import io
import re
import struct
from functools import cache

import imagecodecs
import numpy as np
import OpenEXR
import pytest
import tifffile
from astropy.io import fits
from helpers import dicoms
from PIL import Image

from patchsim import InputError, match
from patchsim.machine.memory import format_size
from patchsim.pictures import spool
from patchsim.pictures.reader import DEFAULT_MAX_PIXELS, needed_bytes, open_picture

SIDE = 2000
FLAT = np.zeros((SIDE, SIDE, 3), np.uint8)


def opened(path, **options):
    return open_picture(path, name="image", **options)


def pillow(suffix, mode="RGB", **options):
    def write(path, pixels):
        Image.fromarray(pixels).convert(mode).save(path.with_suffix(f".{suffix}"), **options)
        return path.with_suffix(f".{suffix}")

    return write


def tiff(**options):
    def write(path, pixels):
        tifffile.imwrite(path, pixels, photometric="rgb", **options)
        return path

    return write


def codec(encode):
    def write(path, pixels):
        path.write_bytes(encode(pixels))
        return path

    return write


def exr(name):
    def write(path, pixels):
        path = path.with_suffix(".exr")
        header = {"compression": getattr(OpenEXR, f"{name}_COMPRESSION"),
                  "type": OpenEXR.scanlineimage}  # fmt: skip
        OpenEXR.File(header, {"RGB": (pixels / 255).astype(np.float16)}).write(str(path))
        return path

    return write


def packed_fits(kind):
    def write(path, pixels):
        image = fits.CompImageHDU(pixels[..., 0].astype(np.int16), compression_type=kind)
        fits.HDUList([fits.PrimaryHDU(), image]).writeto(path)
        return path

    return write


def npy(path, pixels):
    np.save(path, pixels)
    return path.with_suffix(".npy")


def plain_fits(path, pixels):
    fits.PrimaryHDU(pixels[..., 0]).writeto(path)
    return path


def sparse_tiff(path, pixels):
    """A file without any of its strips, as GDAL writes it."""
    height, width = pixels.shape[:2]
    fixed = {256: width, 257: height, 258: 8, 259: 1, 262: 1, 277: 1, 278: height, 279: 0, 273: 0}
    entries = [struct.pack("<HHII", tag, 4, 1, fixed[tag]) for tag in sorted(fixed)]
    path.write_bytes(b"II*\0" + struct.pack("<IH", 8, len(entries)) + b"".join(entries) + bytes(4))
    return path


WRITERS = {
    "png": pillow("png", optimize=True),
    "png of 1 bit": pillow("png", "1", optimize=True),
    "gif": pillow("gif"),
    "jpg": pillow("jpg", quality=1, optimize=True),
    "progressive": pillow("jpg", quality=1, optimize=True, progressive=True),
    "grey jpg": pillow("jpg", "L", quality=1, optimize=True),
    "webp": pillow("webp", quality=0, method=6),
    "lossless webp": pillow("webp", lossless=True, quality=100, method=5),
    "webp with a profile": pillow("webp", quality=0, icc_profile=b"x" * 99),
    "lossless webp with a profile": pillow("webp", lossless=True, icc_profile=b"x" * 99),
    "bmp": pillow("bmp"),
    "bmp of 1 bit": pillow("bmp", "1"),
    "ppm": pillow("ppm"),
    "pbm": pillow("pbm", "1"),
    "tga": pillow("tga"),
    "tga in runs": pillow("tga", compression="tga_rle"),
    "pcx": pillow("pcx"),
    "pcx of 1 bit": pillow("pcx", "1"),
    "qoi": codec(imagecodecs.qoi_encode),
    "sgi": pillow("sgi"),
    "jp2": pillow("jp2", quality_layers=[1000], irreversible=True),
    "jp2 in tiles": pillow("jp2", tile_size=(64, 64)),
    "avif": pillow("avif", quality=0),
    "tif": tiff(),
    "tif of deflate": tiff(compression="zlib", rowsperstrip=SIDE),
    "tif of lzw": tiff(compression="lzw", rowsperstrip=SIDE),
    "tif of packbits": tiff(compression="packbits"),
    "tif of zstd": tiff(compression="zstd", rowsperstrip=SIDE),
    "tif in tiles": tiff(compression="zlib", tile=(512, 512)),
    "jxl": codec(lambda pixels: imagecodecs.jpegxl_encode(pixels, lossless=True, effort=3)),
    "hdr": codec(lambda pixels: imagecodecs.rgbe_encode(pixels.astype(np.float32))),
    "npy": npy,
    "exr": exr("NO"),
    "exr of zip": exr("ZIP"),
    "exr of runs": exr("RLE"),
    "exr of pxr24": exr("PXR24"),
    "exr of dwab": exr("DWAB"),
    "exr of piz": exr("PIZ"),
    "fits": plain_fits,
    "fits of rice": packed_fits("RICE_1"),
    "fits of gzip": packed_fits("GZIP_1"),
    "fits of plio": packed_fits("PLIO_1"),
    "dcm": lambda path, pixels: dicoms.write(path, pixels[..., 0]),
    "dcm of jpegls": lambda path, pixels: dicoms.write(
        path, pixels[..., 0], syntax="1.2.840.10008.1.2.4.80",
        frame=imagecodecs.jpegls_encode(pixels[..., 0]).ljust(4000, b"\0"),
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def flattest(tmp_path_factory):
    """Return a function that gives the file of the flattest picture of a format, written once."""
    return cache(lambda kind: WRITERS[kind](tmp_path_factory.mktemp("flat") / "a", FLAT))


@pytest.mark.parametrize("kind", WRITERS)
def test_the_flattest_picture_of_a_format_is_read(kind, flattest):
    path = flattest(kind)
    assert opened(path).pixels.shape[:2] == (SIDE, SIDE)


def test_a_tiff_may_leave_out_its_strips(tmp_path):
    """The bytes of these bound no size: what is refused here is refused for another reason."""
    path = sparse_tiff(tmp_path / "a.tif", FLAT)
    with pytest.raises(InputError) as refused:
        opened(path)
    assert "cannot hold" not in str(refused.value)


def changed(content, place, form, *values):
    packed = struct.pack(form, *values)
    return content[:place] + packed + content[place + len(packed) :]


def replaced(content, old, new):
    assert old in content
    return content.replace(old, new, 1)


def sof(content, *size):
    return changed(content, content.index(b"\xff\xc0") + 5, ">HH", *size)


SMALL = np.zeros((40, 50, 3), np.uint8)
# How a header is made to state 30,000 or more pixels a side.
LIES = {
    "png": lambda data: changed(data, 16, ">II", 1 << 30, 40_000),
    "gif": lambda data: changed(data, data.index(b"\x2c\0\0\0\0") + 5, "<HH", 60_000, 60_000),
    "jpg": lambda data: sof(data, 60_000, 60_000),
    "webp": lambda data: changed(data, 26, "<HH", 16_383, 16_383),
    "bmp": lambda data: changed(data, 18, "<ii", 60_000, 60_000),
    "ppm": lambda data: replaced(data, b"50 40", b"60000 60000"),
    "pbm": lambda data: replaced(data, b"50 40", b"60000 60000"),
    "tga": lambda data: changed(data, 12, "<HH", 16_000, 16_000),
    "tga in runs": lambda data: changed(data, 12, "<HH", 16_000, 16_000),
    "pcx": lambda data: changed(data, 8, "<HH", 60_000, 60_000),
    "qoi": lambda data: changed(data, 4, ">II", 60_000, 60_000),
    "sgi": lambda data: changed(data, 6, ">HH", 60_000, 60_000),
    "jp2 in tiles": lambda data: changed(
        data, data.index(b"\xff\x4f\xff\x51") + 8, ">II", 60_000, 60_000
    ),
    "tif": lambda data: changed_tag(data, 257, 60_000_000),
    "tif of deflate": lambda data: changed_tag(data, 257, 60_000_000),
    "tif of lzw": lambda data: changed_tag(data, 256, 60_000_000),
    "tif of packbits": lambda data: changed_tag(data, 256, 60_000_000),
    "hdr": lambda data: replaced(data, b"-Y 40 +X 50", b"-Y 60000 +X 30000"),
    "npy": lambda data: replaced(data, b"(40, 50, 3)", b"(40, 5000000, 3)"),
    "exr": lambda data: replaced(
        data, struct.pack("<4i", 0, 0, 49, 39), struct.pack("<4i", 0, 0, 40_000, 40_000)
    ),
    "exr of zip": lambda data: replaced(
        data, struct.pack("<4i", 0, 0, 49, 39), struct.pack("<4i", 0, 0, 40_000, 40_000)
    ),
    "fits": lambda data: replaced(data, b"NAXIS1  =                   50",
                                  b"NAXIS1  =             50000000"),
    "dcm": lambda data: replaced(data, b"US\x02\0\x28\0", b"US\x02\0\xff\xff"),
}  # fmt: skip


def changed_tag(data, tag, value):
    at = data.index(struct.pack("<H", tag), 8)
    return changed(data, at + 2, "<HII", 4, 1, value)


@pytest.mark.parametrize("kind", LIES)
def test_a_header_that_states_too_much_is_damage(kind, tmp_path):
    path = WRITERS[kind](tmp_path / "a", SMALL)
    assert opened(path).pixels.shape[:2] == (40, 50)
    path.write_bytes(LIES[kind](path.read_bytes()))
    for options in ({}, {"max_pixels": 1 << 50}, {"memory": 1_000_000}):
        with pytest.raises(InputError) as refused:
            opened(path, **options)
        says = str(refused.value)
        assert "is damaged or cut short: its " in says
        assert " cannot hold " in says
        assert says.endswith(" pixels;\ndownload or save it again")


def test_an_icon_that_states_too_much_is_damage(tmp_path):
    content = io.BytesIO()
    Image.fromarray(SMALL).save(content, "ICO", sizes=[(32, 26)], bitmap_format="bmp")
    place = content.getvalue().index(struct.pack("<I", 40), 16)
    (tmp_path / "a.ico").write_bytes(changed(content.getvalue(), place + 4, "<ii", 60_000, 120_000))
    with pytest.raises(InputError, match=r"an icon file .* cannot hold 60000x60000 pixels"):
        opened(tmp_path / "a.ico")


@pytest.mark.parametrize("kind", ["jxl", "lossless webp", "avif"])
def test_formats_without_a_greatest_ratio_ask_for_the_limit(kind, flattest):
    path = flattest(kind)
    size = path.stat().st_size
    assert size < SIDE * SIDE // 1032
    doubt = ": it is damaged, or of one colour" if size < SIDE * SIDE // 4096 else ""
    held = f" in {size:,} bytes" if doubt else ""
    says = f"4,000,000 pixels{held}, more than 1,000,000{doubt};\nif you trust it, allow them"
    with pytest.raises(InputError, match=re.escape(says)):
        opened(path, max_pixels=1_000_000)
    assert opened(path).pixels.shape[:2] == (SIDE, SIDE)


NOISE = np.random.default_rng(7).integers(0, 256, (40, 50, 3), dtype=np.uint8)
# How a header is made to state more than 100 million pixels, where nothing bounds them.
UNLIKELY = {
    "jxl": lambda data: changed(data, 2, "<Q", 2 << 1 | 59_999 << 3 | 2 << 24 | 59_999 << 26),
    "lossless webp": lambda data: changed(data, 21, "<I", 13_199 << 14 | 13_199),
    "avif": lambda data: changed(data, data.index(b"ispe") + 8, ">II", 16_000, 16_000),
}


@pytest.mark.parametrize("kind", UNLIKELY)
def test_a_header_that_states_what_is_unlikely_is_doubted(kind, tmp_path):
    path = WRITERS[kind](tmp_path / "a", NOISE)
    assert opened(path).pixels.shape[:2] == (40, 50)
    content = UNLIKELY[kind](path.read_bytes())
    path.write_bytes(content)
    held = f" pixels in {len(content):,} bytes, more than "
    with pytest.raises(InputError, match=held) as refused:
        opened(path)
    assert ": it is damaged, or of one colour;\nif you trust it, allow" in str(refused.value)
    for options in ({"memory": 1_000_000}, {"memory": 1_000_000_000}):
        with pytest.raises(InputError, match=f"from {len(content):,} bytes, but .* is damaged"):
            opened(path, max_pixels=1 << 50, **options)


@pytest.mark.parametrize("kind", ["webp with a profile", "lossless webp with a profile"])
def test_a_webp_that_states_two_sizes_is_damage(kind, tmp_path):
    path = WRITERS[kind](tmp_path / "a", NOISE)
    path.write_bytes(changed(path.read_bytes(), 24, "<IH", 0xFFFFFF, 0xFFFF))
    with pytest.raises(InputError, match=r"a WebP that is damaged .*x\d+ and 50x40 pixels"):
        opened(path)


@pytest.mark.parametrize("kind", WRITERS)
def test_the_memory_of_decoding_is_known_by_the_header(kind, tmp_path):
    path = WRITERS[kind](tmp_path / "a", SMALL)
    needed = needed_bytes(path, DEFAULT_MAX_PIXELS)
    assert opened(path, memory=needed).pixels.shape[:2] == (40, 50)
    with pytest.raises(InputError, match=r"takes .* to decode, but the memory is"):
        opened(path, memory=needed - 1)


def test_the_need_of_all_pictures_is_named_at_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(spool, "is_available", lambda: False)
    noise = np.random.default_rng(3).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    Image.fromarray(noise).save("image.png")
    for name in ("a.png", "b.png"):
        Image.fromarray(noise[10:30, 10:40]).save(name)
    needed = [needed_bytes(name, DEFAULT_MAX_PIXELS) for name in ("image.png", "a.png", "b.png")]
    for kernels in (["a.png"], ["a.png", "b.png"]):
        whole = sum(needed[: 1 + len(kernels)])
        with pytest.raises(InputError) as refused:
            match("image.png", kernels, memory=1)
        assert str(refused.value) == (
            f"a.png takes {format_size(needed[1])} to decode, but the memory is 1 B;\n"
            f"allow {format_size(whole)} with --memory (memory=) for all pictures"
        )
        assert match("image.png", kernels, memory=whole).best.score == 1
    # By windows, the image needs little.
    tifffile.imwrite("image.tif", noise, tile=(16, 16))
    with pytest.raises(InputError) as refused:
        match("image.tif", ["a.png", "b.png"], memory=1)
    both = f"allow at least {format_size(sum(needed[1:]))} with --memory (memory=)"
    assert str(refused.value).endswith(f";\n{both} for all kernels and masks")
    assert needed_bytes("missing.png", DEFAULT_MAX_PIXELS) == 0
    assert needed_bytes("a" * 300, DEFAULT_MAX_PIXELS) == 0
    assert needed_bytes(noise, DEFAULT_MAX_PIXELS) == 0
