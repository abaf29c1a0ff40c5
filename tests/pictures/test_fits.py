"""FITS: values as the header scales them, which image is read, and what is refused."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from patchsim import InputError, match
from patchsim.pictures.reader import open_picture

TYPES = {8: ">u1", 16: ">i2", 32: ">i4", -32: ">f4", -64: ">f8"}


def fits_file(stored, bits, extra=(), first="SIMPLE  =                    T", axes=None):
    """The bytes of one HDU, written by hand (FITS Standard 4.0, 3 and 4)."""
    axes = stored.shape[::-1] if axes is None else axes
    cards = [first, f"BITPIX  = {bits:20}", f"NAXIS   = {len(axes):20}"]
    cards += [f"NAXIS{i:<3}= {length:20}" for i, length in enumerate(axes, 1)]
    cards += [f"{name:8}= {value:>20}" for name, value in extra] + ["END"]
    head = "".join(f"{card:80}" for card in cards).encode()
    head += b" " * (-len(head) % 2880)
    data = stored.astype(TYPES[bits]).tobytes()
    return head + data + b"\0" * (-len(data) % 2880)


def opened(tmp_path, content, **options):
    (tmp_path / "a.fits").write_bytes(content)
    return open_picture(tmp_path / "a.fits", name="a", **options)


@pytest.mark.parametrize("bits", TYPES)
def test_the_first_row_is_at_the_bottom(bits, tmp_path, rng):
    stored = rng.integers(0, 100, (5, 7))
    picture = opened(tmp_path, fits_file(stored, bits))
    np.testing.assert_array_equal(picture.pixels[..., 0] - float(picture.shift), stored[::-1])
    expected = {8: "uint8", 16: "uint16", 32: "float64", -32: "float32", -64: "float64"}
    assert picture.pixels.dtype == expected[bits]
    assert picture.profile is None
    assert picture.notices == ()


@pytest.mark.parametrize(
    ("bits", "scale", "zero", "dtype"),
    [
        (16, "1.0", "32768.0", "uint16"),  # the standard's unsigned integers
        (16, "0.5", "-7.25", "float32"),
        (8, "2.0", "10.0", "uint16"),
        (8, "2.0", "-10.0", "uint16"),  # of signed integers, shifted
        (32, "0.001", "3.0", "float64"),
        (-32, "3.0", "1.0", "float32"),
        (8, "1.0", "-128.0", "uint16"),  # signed bytes
    ],
)
def test_values_are_scaled(bits, scale, zero, dtype, tmp_path, rng):
    stored = rng.integers(0, 100, (5, 7))
    picture = opened(tmp_path, fits_file(stored, bits, [("BSCALE", scale), ("BZERO", zero)]))
    assert picture.pixels.dtype == dtype
    expected = float(zero) + float(scale) * stored[::-1]
    np.testing.assert_allclose(picture.pixels[..., 0] - float(picture.shift), expected, rtol=1e-6)


def test_blank_pixels_are_no_numbers(tmp_path):
    stored = np.array([[1, 2], [-5, 4]])
    content = fits_file(stored, 16, [("BLANK", "-5"), ("BSCALE", "2.0")])
    picture = opened(tmp_path, content)
    np.testing.assert_array_equal(picture.pixels[..., 0], [[np.nan, 8], [2, 4]])
    with pytest.raises(InputError, match=r"a\.fits has a value nan"):
        match(tmp_path / "a.fits", np.ones((1, 1), np.float32), data_range=(0, 10))


def test_the_first_image_is_read(tmp_path, rng):
    stored = rng.integers(0, 255, (3, 5, 7))
    picture = opened(tmp_path, fits_file(stored, 8))
    np.testing.assert_array_equal(picture.pixels[..., 0], stored[0, ::-1])
    assert picture.notices == (f"{tmp_path / 'a.fits'} has 3 planes; the first is used",)
    empty = fits_file(np.zeros((0,)), 8, [("EXTEND", "T")], axes=())
    first = "XTENSION= 'IMAGE   '"
    counts = [("PCOUNT", "0"), ("GCOUNT", "1")]
    line = fits_file(stored[0, :1, 0], 8, counts, first)
    image = fits_file(stored[1], 8, counts, first)
    more = fits_file(stored[2], 8, counts, first)
    picture = opened(tmp_path, empty + line + image + more)
    np.testing.assert_array_equal(picture.pixels[..., 0], stored[1, ::-1])
    assert picture.notices[0].endswith("has several parts; the image in extension 2 is used")
    with pytest.raises(InputError, match="is a FITS file without a picture"):
        opened(tmp_path, empty + line)


@pytest.mark.parametrize("packing", ["RICE_1", "GZIP_1", "HCOMPRESS_1"])
def test_compressed_images_are_read(packing, tmp_path, rng):
    from astropy.io import fits

    stored = rng.integers(0, 3000, (40, 50)).astype(np.int16)
    file = fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(stored, compression_type=packing)])
    file.writeto(tmp_path / "c.fits")
    picture = open_picture(tmp_path / "c.fits", name="a")
    np.testing.assert_array_equal(picture.pixels[..., 0] - 32768.0, stored[::-1])
    with pytest.raises(InputError, match=r"takes .* to decode"):
        open_picture(tmp_path / "c.fits", name="a", memory=30_000)


def test_compressed_tiles_that_state_another_size_are_damage(tmp_path, rng):
    """The C of astropy believes them: without the check, the process ends by a signal."""
    from astropy.io import fits

    stored = rng.integers(0, 300, (40, 50)).astype(np.int16)
    for packing, start, change in (
        ("HCOMPRESS_1", b"\xdd\x99", lambda tile: tile[:2] + bytes(8) + tile[10:]),
        ("HCOMPRESS_1", b"\xdd\x99", lambda tile: tile[:2] + b"\0\0\x10\0" * 2 + tile[10:]),
        ("HCOMPRESS_1", b"\xdd\x99", lambda tile: tile[:2] + b"\xff" * 8 + tile[10:]),
        ("PLIO_1", b"\0\0\0\7\xff\x9c", lambda tile: tile[:6] + b"\x7f\xff\x7f\xff" + tile[10:]),
    ):
        file = fits.HDUList(
            [fits.PrimaryHDU(), fits.CompImageHDU(stored, compression_type=packing)]
        )
        path = tmp_path / "c.fits"
        file.writeto(path, overwrite=True)
        content = path.read_bytes()
        at = content.index(start)
        path.write_bytes(content[:at] + change(content[at : at + 20]) + content[at + 20 :])
        with pytest.raises(InputError, match="a compressed tile states another size"):
            open_picture(path, name="a")


def test_what_cannot_be_read_is_refused(tmp_path, monkeypatch, rng):
    stored = rng.integers(0, 255, (5, 7))
    for axes in ((200_000, 200_000), (90, 90, 90_000)):
        with pytest.raises(InputError, match="cannot hold"):
            opened(tmp_path, fits_file(stored, 8, axes=axes))
    whole = fits_file(rng.integers(0, 255, (90, 70)), -64)
    with pytest.raises(InputError, match="more than 6,000"):
        opened(tmp_path, whole, max_pixels=6000)
    with pytest.raises(InputError, match=r"takes .* to decode"):
        opened(tmp_path, whole, memory=150_000)
    with pytest.raises(InputError, match="damaged or cut short"):
        opened(tmp_path, fits_file(rng.integers(0, 255, (90, 70)), 8)[:5000])
    monkeypatch.setitem(sys.modules, "astropy.io", None)
    with pytest.raises(InputError, match=r"is a FITS file; .*\npip install astropy, or save"):
        opened(tmp_path, fits_file(stored, 8))
