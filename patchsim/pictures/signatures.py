"""How the files of formats begin, and what a file is that cannot be read as a picture."""

from __future__ import annotations

import re

from patchsim.errors import AGAIN

BMP, ICO, SGI = b"BM", b"\0\0\1\0", b"\x01\xda"
JPEG = b"\xff\xd8\xff"
PAM, PFM = b"P7", (b"PF", b"Pf")
PNM = (b"P1", b"P2", b"P3", b"P4", b"P5", b"P6")
OPENEXR, FITS = b"v/1\x01", b"SIMPLE  ="
JPEG_XL = (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")
JPEG_2000 = (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")
RADIANCE = (b"#?RADIANCE", b"#?RGBE")
_AVIF_BRANDS = (b"avif", b"avis")
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx")
_ANY_HEIF = (b"mif1", b"msf1")  # brands of both
_PCX_VERSIONS = (0, 2, 3, 5)
DICOM_PREAMBLE, _DICOM = 128, b"DICM"

_PNG = "convert it to PNG"
_FRAME = "save a frame of it as PNG"
_ARRAY = "save the picture in it as .npy"
_UNPACK = "unpack it first"
_GIVE = "give a picture"
# The first bytes of files, what these files are, and what to do.
_STARTS: tuple[tuple[bytes, str, str], ...] = (
    (b"8BPS", "a Photoshop document (PSD)", _PNG),
    (b"%PDF", "a PDF document", "save the page as PNG, for example with pdftoppm -png"),
    (b"%!PS", "a PostScript file", "save the page as PNG"),
    (b"\xc5\xd0\xd3\xc6", "a PostScript file", "save the page as PNG"),
    (b"\0\0\2\0", "a cursor file (CUR)", _PNG),
    (b"icns", "an icon file (ICNS)", _PNG),
    (b"DDS ", "a DDS texture", _PNG),
    (b"farbfeld", "a farbfeld picture", _PNG),
    (b"gimp xcf", "a GIMP document (XCF)", "export it as PNG"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 or NetCDF file", _ARRAY),
    (b"CDF\1", "a NetCDF file", _ARRAY),
    (b"CDF\2", "a NetCDF file", _ARRAY),
    (b"PK\5\6", "a zip archive that is empty", _GIVE),
    (b"\x1f\x8b", "compressed by gzip", "unpack it first (gunzip)"),
    (b"BZh", "compressed by bzip2", "unpack it first (bunzip2)"),
    (b"\xfd7zXZ\0", "compressed by xz", "unpack it first (unxz)"),
    (b"\x28\xb5\x2f\xfd", "compressed by Zstandard", "unpack it first (unzstd)"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (b"Rar!\x1a\7", "a RAR archive", _UNPACK),
    (b"\x1a\x45\xdf\xa3", "a video (Matroska or WebM)", _FRAME),
    (b"OggS", "an Ogg video or sound", _FRAME),
    (b"\0\0\1\xba", "a video (MPEG)", _FRAME),
    (b"FLV\1", "a video (Flash)", _FRAME),
    (b"id=ImageMagick", "a MIFF of ImageMagick", _PNG),
    (b"/* XPM */", "an X pixmap (XPM)", _PNG),
    (b"II\xbc\1", "a JPEG XR", _PNG),
    (b"FLIF", "a FLIF", _PNG),
    (b"BPG\xfb", "a BPG", _PNG),
    (b"SDPX", "a DPX", _PNG),
    (b"XPDS", "a DPX", _PNG),
    (b"\x59\xa6\x6a\x95", "a Sun raster", _PNG),
    (b"\xd7\xcd\xc6\x9a", "a Windows metafile (WMF)", _PNG),
    (b"\xabKTX ", "a KTX texture", _PNG),
    (b"\x80\2", "a pickle of Python", _ARRAY),
    (b"\x80\3", "a pickle of Python", _ARRAY),
    (b"\x80\4", "a pickle of Python", _ARRAY),
    (b"\x80\5", "a pickle of Python", _ARRAY),
    (b"MATLAB 5.0", "a MATLAB file", _ARRAY),
    (b"PAR1", "a Parquet file", _ARRAY),
    (b"SQLite format 3", "an SQLite database", _GIVE),
    (b"\x7fELF", "a program", _GIVE),
    (b"MZ", "a program for Windows", _GIVE),
    (b"\xd0\xcf\x11\xe0", "an Office document", "save the picture in it as PNG"),
    (b"{\\rtf", "an RTF document", "save the picture in it as PNG"),
    (b"ID3", "a sound (MP3)", _GIVE),
    (b"fLaC", "a sound (FLAC)", _GIVE),
    (b"AT&TFORM", "a DjVu document", "save the page as PNG"),
)
# The brands of ISO media files, at byte 8 behind `ftyp`.
_BRANDS: tuple[tuple[tuple[bytes, ...], str, str], ...] = (
    ((b"crx ",), "a raw photograph (CR3)", _PNG),
)
# Bytes further on in files: where, which, and what these files are.
_WITHIN: tuple[tuple[int, bytes, str, str], ...] = (
    (8, b"AVI ", "a video (AVI)", _FRAME),
    (8, b"WAVE", "a sound (WAV)", _GIVE),
    (8, b"ILBM", "an ILBM picture", _PNG),
    (40, b" EMF", "an enhanced metafile (EMF)", _PNG),
    (208, b"MAP ", "an MRC file", "save its data as .npy, for example with mrcfile"),
    (257, b"ustar", "a tar archive", _UNPACK),
)
_TEXTS: tuple[tuple[bytes, str, str], ...] = (
    (rb"^<(.*<)?(!doctype html|html[\s>])", "a web page (HTML)", "save the picture itself"),
    (rb"^<(.*<)?svg[\s>]", "an SVG drawing", "draw it as PNG, for example with rsvg-convert"),
    (rb"^version https://git-lfs", "a pointer of Git LFS", "fetch the file (git lfs pull)"),
    (rb"^\s*#define \w+_width", "an X bitmap (XBM)", _PNG),
    (rb"^[\[{]\s*([\"\[{\]}\d-]|null|true|false)", "text in JSON", "give the picture itself"),
    (rb"^<\?xml", "an XML document", "give the picture itself"),
)
# The name of the first file in a zip archive, and what the archive is then.
_IN_ZIPS: tuple[tuple[bytes, str, str], ...] = (
    (rb"\.npy$", "an archive of arrays (.npz)", "save one of them as .npy"),
    (rb"^(\[Content_Types\]|_rels/|word/)", "an Office document", "save the picture in it as PNG"),
    (rb"^mimetype$", "a document in a zip archive", "save the picture in it as PNG"),
    (rb"", "a zip archive", "unpack it and give a picture of it"),
)
_ZIP_NAME = 30  # where the name of the first file begins; its length stands 4 bytes before
_NO_TEXT = rb"[\0-\x08\x0e-\x1a\x1c-\x1f\x7f]"
_RASTER_SIZES = range(1, 1 << 14)


def refusal(start: bytes) -> str:
    """Return why a file is not read, as the end of a sentence that begins with its name.

    Parameters
    ----------
    start : bytes
        The first bytes of the file, up to 1024.
    """
    what, advice = _kind(start)
    return f"is {what}; {advice}"


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
    if start.startswith(b"PK\3\4"):
        return _in_zip(start)
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n")
    if _is_text(start):
        for pattern, what, advice in _TEXTS:
            if re.search(pattern, text, re.IGNORECASE | re.DOTALL):
                return what, advice
        return "plain text", "give the picture itself"
    if not any(start):
        return "no picture: it begins with zeros alone", AGAIN
    return (
        "not a picture of a kind that can be read",
        "convert it to PNG, JPEG or TIFF, or save it as .npy",
    )


def _in_zip(start: bytes) -> tuple[str, str]:
    """Return what a zip archive is, by the name of its first file."""
    length = int.from_bytes(start[_ZIP_NAME - 4 : _ZIP_NAME - 2], "little")
    name = start[_ZIP_NAME : _ZIP_NAME + length]
    kinds = ((what, advice) for pattern, what, advice in _IN_ZIPS if re.search(pattern, name))
    return next(kinds)


def _is_text(start: bytes) -> bool:
    """Return whether a file begins as text in UTF-8 or ASCII; a letter may be cut at the end."""
    if re.search(_NO_TEXT, start):
        return False
    try:
        start.decode()
    except UnicodeDecodeError as error:
        return error.start > 0 and error.reason == "unexpected end of data"
    return True


def is_dicom(start: bytes) -> bool:
    """Return whether a file begins as a DICOM."""
    return start[DICOM_PREAMBLE : DICOM_PREAMBLE + len(_DICOM)] == _DICOM


def is_avif(start: bytes) -> bool:
    """Return whether a file begins as an AVIF."""
    return start[4:8] == b"ftyp" and (
        start[8:12] in _AVIF_BRANDS or (start[8:12] in _ANY_HEIF and b"avif" in start[:64])
    )


def is_heic(start: bytes) -> bool:
    """Return whether a file begins as a HEIC, and is no AVIF."""
    brands = _HEIC_BRANDS + _ANY_HEIF
    return start[4:8] == b"ftyp" and start[8:12] in brands and not is_avif(start)


def is_pcx(start: bytes) -> bool:
    """Return whether a file begins as a PCX."""
    return len(start) > 3 and start[0] == 10 and start[1] in _PCX_VERSIONS and start[2] in (0, 1)


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
