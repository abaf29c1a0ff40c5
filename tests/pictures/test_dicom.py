"""DICOM: what the stored values mean, compressed frames, and what is refused."""

from __future__ import annotations

import sys

import imagecodecs
import numpy as np
import pydicom
import pytest
from helpers.dicoms import BIG, EXPLICIT, write
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from patchsim import InputError, match
from patchsim.pictures.reader import open_picture


def opened(path, **options):
    return open_picture(path, name="a", **options)


@pytest.mark.parametrize("syntax", [EXPLICIT, BIG, "1.2.840.10008.1.2"])
@pytest.mark.parametrize(
    ("dtype", "bits"), [("u1", 8), ("u2", 12), ("u2", 16), ("i2", 16), ("i2", 12)]
)
def test_values_are_kept(dtype, bits, syntax, tmp_path, rng):
    low = -(1 << (bits - 1)) if dtype[0] == "i" else 0
    stored = rng.integers(low, low + (1 << bits), (9, 11)).astype(dtype)
    path = write(tmp_path / "a.dcm", stored, bits=bits, syntax=syntax)
    picture = opened(path)
    np.testing.assert_array_equal(picture.pixels[..., 0] - float(picture.shift), stored)
    assert picture.profile is None
    notices = () if dtype != "u2" or bits == 16 else (
        f"{path} has values of 12 bits; --data-range 0:4095 compares them with others of such a"
        " range, --metric zncc with any",
    )  # fmt: skip
    assert picture.notices == notices


@pytest.mark.parametrize(
    ("dtype", "bits", "slope", "intercept", "expected"),
    [
        ("u2", 12, 1, -1024, "int16"),  # Hounsfield units
        ("i2", 16, 1, -1024, "float32"),
        ("u2", 16, 1, -1024, "float32"),
        ("u2", 12, 2, 10, "uint16"),
        ("u2", 12, 0.25, -3.5, "float32"),
        ("u1", 8, -1, 255, "uint16"),
    ],
)
def test_slope_and_intercept_are_applied(dtype, bits, slope, intercept, expected, tmp_path, rng):
    low = -(1 << (bits - 1)) if dtype[0] == "i" else 0
    stored = rng.integers(low, low + (1 << bits), (30, 40)).astype(dtype)
    path = write(
        tmp_path / "a.dcm", stored, bits=bits, RescaleSlope=slope, RescaleIntercept=intercept
    )
    picture = opened(path)
    values = stored * float(slope) + intercept
    np.testing.assert_array_equal(picture.pixels[..., 0] - float(picture.shift), values)
    assert picture.pixels.dtype == ("uint16" if expected == "int16" else expected)
    assert bool(picture.shift) == (expected == "int16")
    span = (float(values.min()), float(values.max()))
    best = match(path, values[4:9, 7:13].astype(np.float32), data_range=span).best
    assert (best.x, best.y, best.score) == (7, 4, 1)


def test_a_modality_lut_is_applied(tmp_path, rng):
    stored = rng.integers(0, 16, (6, 7)).astype("u1")
    table = rng.integers(0, 60000, 16).astype("<u2")
    lut = Dataset()
    lut.LUTDescriptor, lut.ModalityLUTType = [16, 0, 16], "US"
    lut.LUTData = table.tobytes()
    path = write(tmp_path / "a.dcm", stored, ModalityLUTSequence=Sequence([lut]))
    np.testing.assert_array_equal(opened(path).pixels[..., 0], table[stored])


def test_white_as_zero_is_inverted(tmp_path, rng):
    stored = rng.integers(0, 4096, (6, 7)).astype("u2")
    path = write(tmp_path / "a.dcm", stored, bits=12, color="MONOCHROME1")
    np.testing.assert_array_equal(opened(path).pixels[..., 0], 4095 - stored)


def test_colours_become_rgb(tmp_path, rng):
    rgb = rng.integers(0, 256, (6, 8, 3)).astype("u1")
    np.testing.assert_array_equal(opened(write(tmp_path / "a.dcm", rgb, color="RGB")).pixels, rgb)
    planes = np.moveaxis(rgb, -1, 0).reshape(6, 8, 3)
    path = write(tmp_path / "b.dcm", planes, color="RGB", PlanarConfiguration=1)
    np.testing.assert_array_equal(opened(path).pixels, rgb)
    # Luma 100 and no chroma is grey; red has Cr 255 (ITU-R BT.601).
    ycc = np.array([[[100, 128, 128], [76, 85, 255]]], "u1")
    found = opened(write(tmp_path / "c.dcm", ycc, color="YBR_FULL")).pixels
    assert np.abs(found.astype(int) - [[[100, 100, 100], [255, 0, 0]]]).max() <= 1
    indices = rng.integers(0, 4, (6, 8)).astype("u1")
    colors = rng.integers(0, 256, (3, 4)).astype("u1")
    more = {"PixelRepresentation": 0}
    for name, values in zip(("Red", "Green", "Blue"), colors, strict=True):
        more[f"{name}PaletteColorLookupTableDescriptor"] = [4, 0, 8]
        more[f"{name}PaletteColorLookupTableData"] = values.tobytes()
    path = write(tmp_path / "d.dcm", indices, color="PALETTE COLOR", **more)
    np.testing.assert_array_equal(opened(path).pixels, colors.T[indices])


@pytest.mark.parametrize(
    ("syntax", "encode", "dtype"),
    [
        ("1.2.840.10008.1.2.4.70", "ljpeg", "u1"),
        ("1.2.840.10008.1.2.4.70", "ljpeg", "u2"),
        ("1.2.840.10008.1.2.4.80", "jpegls", "u2"),
        ("1.2.840.10008.1.2.4.90", "jpeg2k", "u2"),
        ("1.2.840.10008.1.2.4.90", "jpeg2k", "i2"),
        ("1.2.840.10008.1.2.4.80", "jpegls", "i2"),
    ],
)
def test_compressed_frames_are_decoded(syntax, encode, dtype, tmp_path, rng):
    stored = rng.integers(0, 200, (16, 24)).astype(dtype)
    stored = stored - 100 if dtype == "i2" else stored
    encoder = getattr(imagecodecs, f"{encode}_encode")
    options = {"level": 0, "codecformat": "j2k"} if encode == "jpeg2k" else {}
    given = stored if encode == "jpeg2k" else stored.view(stored.dtype.str.replace("i", "u"))
    frame = encoder(given, **options)
    frame += b"\0" * (len(frame) % 2)
    picture = opened(write(tmp_path / "a.dcm", stored, syntax=syntax, frame=frame))
    np.testing.assert_array_equal(picture.pixels[..., 0] - float(picture.shift), stored)
    other = write(tmp_path / "b.dcm", stored[:, :12], syntax=syntax, frame=frame)
    with pytest.raises(InputError, match="a frame of 12x16 says that it is 24x16"):
        opened(other)


@pytest.mark.parametrize("is_grey", [False, True])
def test_a_jpeg_in_it_whose_data_end_early_is_damage(is_grey, astronaut, tmp_path):
    stored = astronaut[:80, :96, 0] if is_grey else astronaut[:80, :96]
    frame = imagecodecs.jpeg_encode(np.ascontiguousarray(stored))
    options = {"syntax": "1.2.840.10008.1.2.4.50"}
    options["color"] = "MONOCHROME2" if is_grey else "YBR_FULL_422"
    path = write(tmp_path / "a.dcm", stored, frame=frame + b"\0" * (len(frame) % 2), **options)
    assert np.abs(opened(path).pixels.squeeze().astype(int) - stored).mean() < 5
    for share in (0.6, 0.9):
        end = int(len(frame) * share) // 2 * 2
        end -= 2 * (frame[end - 1] == 0xFF)
        path = write(tmp_path / "b.dcm", stored, frame=frame[:end] + b"\xff\xd9", **options)
        with pytest.raises(InputError, match="the data of its frame end early;"):
            opened(path)


def test_the_first_frame_is_read(tmp_path, rng):
    frames = [rng.integers(0, 256, (6, 7)).astype("u1") for _ in range(3)]
    path = write(tmp_path / "a.dcm", frames)
    picture = opened(path)
    np.testing.assert_array_equal(picture.pixels[..., 0], frames[0])
    assert picture.notices == (f"{path} has 3 frames; the first is used",)


def test_what_cannot_be_read_is_refused(tmp_path, monkeypatch, rng):
    stored = rng.integers(0, 256, (60, 80)).astype("u1")
    path = write(tmp_path / "a.dcm", stored)
    huge = write(tmp_path / "b.dcm", stored, Rows=65535, Columns=65535)
    with pytest.raises(InputError, match="bytes cannot hold 65535x65535 pixels"):
        opened(huge)
    with pytest.raises(InputError, match="more than 4,000"):
        opened(path, max_pixels=4000)
    with pytest.raises(InputError, match=r"takes .* to decode"):
        opened(path, memory=100_000)
    with pytest.raises(InputError, match="damaged or cut short"):
        opened(write(tmp_path / "c.dcm", stored, Rows=900, Columns=900))
    with pytest.raises(InputError, match="the slope inf"):
        opened(write(tmp_path / "d.dcm", stored, RescaleSlope="1e400", RescaleIntercept=0))
    with pytest.raises(InputError, match=r"is a deflated DICOM; .*dcmconv"):
        opened(write(tmp_path / "e.dcm", stored, syntax="1.2.840.10008.1.2.1.99"))
    with pytest.raises(InputError, match=r"transfer syntax 1\.2\.840\.10008\.1\.2\.4\.100"):
        opened(write(tmp_path / "f.dcm", stored, syntax="1.2.840.10008.1.2.4.100", frame=b"xx"))
    data = pydicom.dcmread(path)
    del data.PixelData
    data.save_as(tmp_path / "g.dcm")
    with pytest.raises(InputError, match=r"without a picture \(Secondary Capture Image Storage\)"):
        opened(tmp_path / "g.dcm")
    coded = imagecodecs.jpegls_encode(stored)
    whole = write(tmp_path / "i.dcm", stored, syntax="1.2.840.10008.1.2.4.80",
                  frame=coded + b"\0" * (len(coded) % 2))  # fmt: skip
    (tmp_path / "j.dcm").write_bytes(whole.read_bytes()[:-300])
    with pytest.raises(InputError, match=r"a DICOM file that is damaged .*: its pixels end too"):
        opened(tmp_path / "j.dcm")
    (tmp_path / "h.dcm").write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match="damaged or cut short"):
        opened(tmp_path / "h.dcm")
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(InputError, match=r"is a DICOM file; .*\npip install pydicom imagecodecs"):
        opened(path)
