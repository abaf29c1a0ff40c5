"""Which reader reads a file, by its first bytes, and what its format is called in messages."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import BinaryIO, NamedTuple

from PIL import UnidentifiedImageError

from patchsim.errors import DamageError, InputError
from patchsim.pictures import (
    arrays,
    pillow_reader,
    png,
    signatures,
    tiff_directory,
)
from patchsim.pictures.limits import Decoded, Limits

Reader = Callable[[BinaryIO, Limits], Decoded]

START = 1024  # the first bytes of a file, which tell its kind
_HEAD = 1 << 16  # bytes before the first frame of a GIF, most often


class Format(NamedTuple):
    """A format: its name with an article, how its files begin, and who reads them.

    Nothing writes lines to stderr about a format that `is_quiet`, so that none are collected, and
    several threads decode it at a time.
    """

    name: str
    begins: Callable[[bytes], bool]
    read: Reader
    is_quiet: bool = False


def find(stream: BinaryIO) -> Format:
    """Return the format of a file; one without a name is what Pillow may know, or is refused."""
    stream.seek(0)
    start = stream.read(START)
    stream.seek(0)
    return next((known for known in _FORMATS if known.begins(start)), _UNKNOWN)


def check_start(start: bytes, name: str) -> None:
    """Check that a format which is read begins with the first bytes of a file.

    Raises
    ------
    InputError
        If none does; it tells what the file is.
    """
    if not any(known.begins(start) for known in _FORMATS) and not pillow_reader.has_reader(start):
        raise InputError(f"{name} {signatures.refusal(start)}")


def _read_unknown(stream: BinaryIO, limits: Limits) -> Decoded:
    try:
        return pillow_reader.read(stream, limits)
    except UnidentifiedImageError:
        stream.seek(0)
        raise InputError(f"{limits.name} {signatures.refusal(stream.read(START))}") from None


def _read_pnm(stream: BinaryIO, limits: Limits) -> Decoded:
    from patchsim.pictures import pnm  # this and others when a file needs it, as `_late` does

    pnm.check(stream, limits)
    return pillow_reader.read(stream, limits)


def _read_gif(stream: BinaryIO, limits: Limits) -> Decoded:
    from patchsim.pictures import coded_size, least_bytes

    height, width = coded_size.of_gif_frame(stream.read(_HEAD))
    limits.check_held(width, height, least_bytes.of_gif(width, height))
    return pillow_reader.read(stream, limits)


def _read_webp(stream: BinaryIO, limits: Limits) -> Decoded:
    from patchsim.pictures import coded_size, least_bytes

    height, width = coded_size.of_webp(stream.read(START))
    coded = coded_size.of_webp_frame(stream)
    if coded is not None:
        if coded[:2] != (height, width):
            other = f"{coded.width}x{coded.height}"
            raise DamageError(f"it states {width}x{height} and {other} pixels")
        if coded.is_lossy:
            limits.check_held(width, height, least_bytes.of_lossy_webp(width, height))
    limits.check_pixels(width, height)  # Pillow has its own limit, and its own words
    return pillow_reader.read(stream, limits)


def _read_tga(stream: BinaryIO, limits: Limits) -> Decoded:
    return pillow_reader.read(stream, limits, "TGA")


def complaints(stream: BinaryIO, limits: Limits, decoded: Decoded) -> list[str]:
    """Return what is wrong with a TIFF that was decoded; other readers tell it themselves."""
    stream.seek(0)
    if not stream.read(START).startswith(tiff_directory.MAGIC):
        return []
    from patchsim.pictures import tiff_page

    return tiff_page.complaints(stream, limits, decoded)


def _late(module: str, function: str = "read") -> Reader:
    """Return a reader whose module is imported when a file needs it, as most need one alone."""

    def read(stream: BinaryIO, limits: Limits) -> Decoded:
        reader: Reader = getattr(import_module(f"patchsim.pictures.{module}"), function)
        return reader(stream, limits)

    return read


def _begins(*starts: bytes) -> Callable[[bytes], bool]:
    return lambda start: start.startswith(starts)


def _is_webp(start: bytes) -> bool:
    return start.startswith(b"RIFF") and start[8:12] == b"WEBP"


# Pillow reads further formats. TGA has no signature and is last.
_FORMATS: tuple[Format, ...] = (
    Format("a .npy", _begins(arrays.MAGIC), arrays.read, is_quiet=True),
    Format("a TIFF", _begins(*tiff_directory.MAGIC), _late("tiff_page")),
    Format("a PNG", png.is_deep, png.read),
    Format("a PNG", _begins(png.SIGNATURE[:4]), png.read, is_quiet=True),  # by Pillow's own decoder
    Format("a JPEG", _begins(signatures.JPEG), _late("jpeg"), is_quiet=True),
    Format("a GIF", _begins(b"GIF8"), _read_gif, is_quiet=True),
    Format("a WebP", _is_webp, _read_webp, is_quiet=True),
    Format("a BMP", _begins(signatures.BMP), _late("bmp"), is_quiet=True),
    Format("an icon file (ICO)", _begins(signatures.ICO), _late("ico")),
    Format("a QOI", _begins(b"qoif"), pillow_reader.read),
    Format("an SGI picture", _begins(signatures.SGI), _late("sgi")),
    Format("a PAM", _begins(signatures.PAM), _late("pnm", "pam")),
    Format("a PFM", _begins(*signatures.PFM), _late("pnm", "pfm")),
    Format("a PCX", signatures.is_pcx, _late("pcx")),
    Format("an OpenEXR picture", _begins(signatures.OPENEXR), _late("exr")),
    Format("a FITS file", _begins(signatures.FITS), _late("fits")),
    Format("a DICOM file", signatures.is_dicom, _late("dicom")),
    Format("a PNM", _begins(*signatures.PNM), _read_pnm),
    Format("an AVIF", signatures.is_avif, _late("codecs", "avif")),
    Format("a HEIC picture", signatures.is_heic, _late("codecs", "heic")),
    Format("a JPEG 2000", _begins(*signatures.JPEG_2000), _late("codecs", "jpeg2000")),
    Format("a JPEG XL", _begins(*signatures.JPEG_XL), _late("codecs", "jpegxl")),
    Format("a Radiance HDR", _begins(*signatures.RADIANCE), _late("codecs", "radiance")),
    Format("a TGA", signatures.is_tga, _read_tga),
)
_UNKNOWN = Format("", _begins(b""), _read_unknown)
