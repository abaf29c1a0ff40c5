"""What kind of file it is that cannot be read as a picture, by its first bytes."""

from __future__ import annotations

import re

READABLE = "PNG, JPEG, TIFF, WebP, BMP, GIF, PNM, AVIF, JPEG XL, JPEG 2000, .npy and others"

OPENEXR, FITS = b"v/1\x01", b"SIMPLE  ="
DICOM_PREAMBLE, _DICOM = 128, b"DICM"

_PNG = "convert it to PNG"
# What files begin with, what they are, and what to do.
_STARTS: tuple[tuple[bytes, str, str], ...] = (
    (b"\x89PNG", "a PNG of a kind that cannot be read, or damaged", ""),
    (b"\xff\xd8\xff", "a JPEG of a kind that cannot be read, or damaged", ""),
    (b"BM", "a BMP of a kind that cannot be read, or damaged", ""),
    (b"GIF8", "a GIF that is damaged or cut short", ""),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000 of a kind that cannot be read, or damaged", ""),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 of a kind that cannot be read, or damaged", ""),
    (b"8BPS", "a Photoshop document (PSD)", _PNG),
    (b"%PDF", "a PDF document", "save the page as PNG, for example with pdftoppm -png"),
    (b"%!PS", "a PostScript file", "save the page as PNG"),
    (b"\xc5\xd0\xd3\xc6", "a PostScript file", "save the page as PNG"),
    (b"\0\0\1\0", "an icon file (ICO) of a kind that cannot be read, or damaged", ""),
    (b"\0\0\2\0", "a cursor file (CUR)", _PNG),
    (b"icns", "an icon file (ICNS)", _PNG),
    (b"DDS ", "a DDS texture", _PNG),
    (b"qoif", "a QOI that is damaged or cut short", ""),
    (b"\x01\xda", "an SGI of a kind that cannot be read, or damaged", ""),
    (b"farbfeld", "a farbfeld picture", _PNG),
    (b"gimp xcf", "a GIMP document (XCF)", "export it as PNG"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 or NetCDF file", "save the picture in it as .npy"),
    (b"CDF\1", "a NetCDF file", "save the picture in it as .npy"),
    (b"CDF\2", "a NetCDF file", "save the picture in it as .npy"),
    (b"PK\3\4", "a zip archive, or a .npz", "unpack it first; save an array of it as .npy"),
    (b"PK\5\6", "a zip archive that is empty", "give a picture"),
    (b"\x1f\x8b", "compressed by gzip", "unpack it first (gunzip)"),
    (b"BZh", "compressed by bzip2", "unpack it first (bunzip2)"),
    (b"\xfd7zXZ\0", "compressed by xz", "unpack it first (unxz)"),
    (b"\x28\xb5\x2f\xfd", "compressed by Zstandard", "unpack it first (unzstd)"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it first"),
    (b"Rar!\x1a\7", "a RAR archive", "unpack it first"),
    (b"\x1a\x45\xdf\xa3", "a video (Matroska or WebM)", "save a frame of it as PNG"),
    (b"OggS", "an Ogg video or sound", "save a frame of it as PNG"),
    (b"\0\0\1\xba", "a video (MPEG)", "save a frame of it as PNG"),
    (b"FLV\1", "a video (Flash)", "save a frame of it as PNG"),
    (b"AT&TFORM", "a DjVu document", "save the page as PNG"),
    (b"\x93NUMPY", "a .npy of a kind that cannot be read, or damaged", ""),
)
_FRAME = "save a frame of it as PNG"
# The brands of ISO media files, at byte 8 behind `ftyp`.
_BRANDS: tuple[tuple[tuple[bytes, ...], str, str], ...] = (
    ((b"avif", b"avis"), "an AVIF of a kind that cannot be read, or damaged", ""),
    (
        (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"),
        "a HEIC of a kind that cannot be read, or damaged",
        "",
    ),
    ((b"crx ",), "a raw photograph (CR3)", _PNG),
)
# What files hold further on: where, what, and what they are.
_WITHIN: tuple[tuple[int, bytes, str, str], ...] = (
    (8, b"AVI ", "a video (AVI)", _FRAME),
    (8, b"WEBP", "a WebP that is damaged or cut short", ""),
    (208, b"MAP ", "an MRC file", "save its data as .npy, for example with mrcfile"),
    (257, b"ustar", "a tar archive", "unpack it first"),
)
_TEXTS: tuple[tuple[bytes, str, str], ...] = (
    (rb"<svg[\s>]", "an SVG drawing", "draw it as PNG, for example with rsvg-convert"),
    (rb"<!doctype html|<html[\s>]", "a web page (HTML)", "save the picture itself"),
    (rb"^version https://git-lfs", "a pointer of Git LFS", "fetch the file (git lfs pull)"),
)
_RASTER_SIZES = range(1, 1 << 14)


def refusal(start: bytes) -> str:
    """Return why a file is not read, as the end of a sentence that begins with its name.

    Parameters
    ----------
    start : bytes
        The first bytes of the file, up to 1024.
    """
    what, advice = _kind(start)
    return f"is {what}; {advice}" if advice else f"is {what}"


def _kind(start: bytes) -> tuple[str, str]:
    """Return what a file is, and what to do."""
    if start[4:8] == b"ftyp":
        for brands, what, advice in _BRANDS:
            if start[8:12] in brands:
                return what, advice
        return "a video (MP4 or QuickTime)", _FRAME
    for begin, what, advice in _STARTS:
        if start.startswith(begin):
            return what, advice
    for place, held, what, advice in _WITHIN:
        if start[place : place + len(held)] == held:
            return what, advice
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n")
    if text.startswith((b"<", b"version")):
        for pattern, what, advice in _TEXTS:
            if re.search(pattern, text, re.IGNORECASE):
                return what, advice
    if is_tga(start):
        return "a TGA of a kind that cannot be read, or damaged", ""
    return f"not a picture that can be read ({READABLE})", ""


def is_dicom(start: bytes) -> bool:
    """Return whether a file begins as a DICOM."""
    return start[DICOM_PREAMBLE : DICOM_PREAMBLE + len(_DICOM)] == _DICOM


def is_tga(start: bytes) -> bool:
    """Return whether the header is that of a TGA, which has no signature."""
    if len(start) < 18 or start[1] > 1 or start[2] not in (1, 2, 3, 9, 10, 11):
        return False
    width, height = int.from_bytes(start[12:14], "little"), int.from_bytes(start[14:16], "little")
    return (
        width in _RASTER_SIZES
        and height in _RASTER_SIZES
        and start[16] in (8, 15, 16, 24, 32)
        and (start[1] == 1) == (start[2] in (1, 9))
        and not start[17] & 0xC0
    )
