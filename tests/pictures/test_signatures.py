"""What is said of files that are no pictures, or of formats that are not read."""

from __future__ import annotations

import gzip
import io
import pickle
import zipfile

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from patchsim import InputError
from patchsim.pictures.reader import open_picture


def zipped(first):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(first, "words")
    return file.getvalue()


FILES = {
    "a.cr3": (b"\0\0\0\x18ftypcrx \0\0\0\1", r"a raw photograph \(CR3\); convert it"),
    "a.psd": (b"8BPS\0\1", r"a Photoshop document \(PSD\)"),
    "a.svg": (b'<?xml version="1.0"?>\n<svg xmlns="x">', "an SVG drawing; draw it"),
    "a.pdf": (b"%PDF-1.7\n", "a PDF document"),
    "a.dds": (b"DDS |\0\0\0", "a DDS texture"),
    "a.mrc": (bytes(208) + b"MAP DD", "an MRC file"),
    "a.h5": (b"\x89HDF\r\n\x1a\n", "an HDF5 or NetCDF file"),
    "a.nc": (b"CDF\1\0", "a NetCDF file"),
    "a.png.gz": (gzip.compress(b"x"), r"compressed by gzip; unpack it first \(gunzip\)"),
    "a.html": (b"\n<!DOCTYPE html>\n<html>", "a web page"),
    "b.html": (b"\xef\xbb\xbf<HTML lang=en>", "a web page"),
    "a.mp4": (b"\0\0\0\x20ftypisom", r"a video \(MP4 or QuickTime\); save a frame"),
    "a.webm": (b"\x1a\x45\xdf\xa3", "a video"),
    "a.avi": (b"RIFF\x10\0\0\0AVI LIST", "a video"),
    "a.tar": (b"a.txt".ljust(257, b"\0") + b"ustar", "a tar archive"),
    "a.png": (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
    "b.png": (
        b"\x89PNG\r\n\x1a\nnothing",
        "a PNG that is damaged or cut short: it does not begin with a header;\ndownload",
    ),
    "a.jpg": (b"\xff\xd8\xffnothing", "a JPEG that is damaged or cut short; download or save"),
    "a.txt": (b"just words", "plain text; give the picture itself"),
    "c.png": (b'{"error": "not found"}', "text in JSON; give the picture itself"),
    "d.png": (b"\xc3\xbc" * 511 + b"a\xc3", "plain text; give the picture itself"),
    "a.xml": (b"<?xml version='1.0'?><rss>", "an XML document; give the picture itself"),
    "a.xpm": (b"/* XPM */\nstatic char *a[] = {", r"an X pixmap \(XPM\); convert it to PNG"),
    "a.xbm": (b"#define a_width 16\n", r"an X bitmap \(XBM\); convert it to PNG"),
    "a.miff": (b"id=ImageMagick  version=1.0\n", "a MIFF of ImageMagick; convert it to PNG"),
    "a.docx": (zipped("[Content_Types].xml"), "an Office document; save the picture in it as PNG"),
    "a.odt": (zipped("mimetype"), "a document in a zip archive; save the picture in it as PNG"),
    "a.pkl": (pickle.dumps(np.zeros(3)), "a pickle of Python; save the picture in it as .npy"),
    "a.jxr": (b"II\xbc\x01\x08\0\0\0", "a JPEG XR; convert it to PNG"),
    "a.wav": (b"RIFF\x10\0\0\0WAVEfmt ", r"a sound \(WAV\); give a picture"),
    "zeros.png": (bytes(500), "no picture: it begins with zeros alone; download or save it again"),
    "a.bin": (b"\x05\x06\x07\xff", "not a picture of a kind that can be read; convert it to PNG"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_named_for_what_it_is(name, tmp_path):
    content, says = FILES[name]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"{name} is {says}") as raised:
        open_picture(path, name="image")
    assert str(raised.value).count("\n") <= 1


def test_archives_of_arrays_are_named(tmp_path):
    file = io.BytesIO()
    np.savez(file, a=np.zeros((3, 4)))
    (tmp_path / "a.npz").write_bytes(file.getvalue())
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.txt", "words")
    for name, says in (
        ("a.npz", r"is an archive of arrays \(.npz\); save one of them as .npy"),
        ("a.zip", "is a zip archive; unpack it and give a picture of it"),
    ):
        with pytest.raises(InputError, match=says):
            open_picture(tmp_path / name, name="image")


def test_a_file_that_is_cut_is_told_as_its_format(tmp_path, astronaut):
    """By Pillow's own formats, at 10 bytes and at six tenths."""
    picture = Image.fromarray(astronaut[:60, :80])
    names = {
        "png": "a PNG", "jpg": "a JPEG", "gif": "a GIF", "webp": "a WebP", "bmp": "a BMP",
        "ppm": "a PNM", "qoi": "a QOI", "pcx": "a PCX", "sgi": "an SGI picture",
        "ico": r"an icon file \(ICO\)", "avif": "an AVIF", "jp2": "a JPEG 2000", "tif": "a TIFF",
    }  # fmt: skip
    for suffix, name in names.items():
        path = tmp_path / f"a.{suffix}"
        picture.save(path)
        whole = path.read_bytes()
        for end in (12, len(whole) * 6 // 10):
            path.write_bytes(whole[:end])
            says = rf"is {name} that is damaged or cut short.*download or save it again$"
            with pytest.raises(InputError, match=f"(?s){says}"):
                open_picture(path, name="image")


def test_a_png_whose_bytes_were_changed_as_text(tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG\n\x1a\n\0\0\0\x0dIHDR" + bytes(30))
    with pytest.raises(InputError, match=r"a PNG that is .*: its first bytes were changed"):
        open_picture(tmp_path / "a.png", name="image")


def test_kinds_of_jpeg_that_are_not_read_are_not_damaged(tmp_path):
    grey = np.arange(256, dtype=np.uint16).reshape(16, 16) * 16
    for encode, says in (
        (lambda: imagecodecs.ljpeg_encode(grey, bitspersample=12), "12 bits a channel"),
        (lambda: imagecodecs.jpegls_encode(grey), "(12|16) bits a channel"),
    ):
        (tmp_path / "a.jpg").write_bytes(encode())
        with pytest.raises(InputError, match=f"is a JPEG of {says}, which cannot be read; conv"):
            open_picture(tmp_path / "a.jpg", name="image")
