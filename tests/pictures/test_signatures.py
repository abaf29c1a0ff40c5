"""What is said of files that are no pictures, or of formats that are not read."""

from __future__ import annotations

import gzip
import io
import zipfile

import numpy as np
import pytest

from patchsim import InputError
from patchsim.pictures.reader import open_picture

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
    "b.png": (b"\x89PNG\r\n\x1a\nnothing", "a PNG of a kind that cannot be read, or damaged"),
    "a.jpg": (b"\xff\xd8\xffnothing", "a JPEG of a kind that cannot be read, or damaged"),
    "a.txt": (b"just words", r"not a picture that can be read \(PNG, JPEG, TIFF"),
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
    for name in ("a.npz", "a.zip"):
        with pytest.raises(InputError, match=r"is a zip archive, or a .npz; unpack it first"):
            open_picture(tmp_path / name, name="image")
