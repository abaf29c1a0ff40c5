"""Which reader reads a file, by its first bytes, and what its format is called in messages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import BinaryIO, NamedTuple

from PIL import Image, UnidentifiedImageError

from patchsim.errors import DamageError, InputError
from patchsim.pictures import (
    arrays,
    bmp,
    codecs,
    coded_size,
    fax,
    ico,
    jpeg,
    least_bytes,
    nodata,
    pcx,
    pillow_depth,
    pillow_reader,
    png,
    pnm,
    sgi,
    signatures,
    tiff,
    tiff_directory,
    tiff_jpeg,
    tiff_tags,
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
    pnm.check(stream, limits)
    return pillow_reader.read(stream, limits)


def _read_gif(stream: BinaryIO, limits: Limits) -> Decoded:
    height, width = coded_size.of_gif_frame(stream.read(_HEAD))
    limits.check_held(width, height, least_bytes.of_gif(width, height))
    return pillow_reader.read(stream, limits)


def _read_webp(stream: BinaryIO, limits: Limits) -> Decoded:
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


def _read_exr(stream: BinaryIO, limits: Limits) -> Decoded:
    from patchsim.pictures import exr  # these three are imported where a file needs them

    return exr.read(stream, limits)


def _read_fits(stream: BinaryIO, limits: Limits) -> Decoded:
    from patchsim.pictures import fits

    return fits.read(stream, limits)


def _read_dicom(stream: BinaryIO, limits: Limits) -> Decoded:
    from patchsim.pictures import dicom

    return dicom.read(stream, limits)


def _read_tiff(stream: BinaryIO, limits: Limits) -> Decoded:
    """Read a page of a TIFF; what its GDAL_NODATA names is transparent."""
    return nodata.hidden(_tiff_page(stream, limits), stream, limits.name)


def _tiff_page(stream: BinaryIO, limits: Limits) -> Decoded:
    """Read a page of a TIFF by Pillow if that keeps its values, or else by tifffile."""
    tiff_tags.check(stream, limits)
    page = tiff_directory.find_page(stream)
    if page is None:
        return tiff.read(stream, limits, "a TIFF that Pillow cannot read, or damaged")
    width, height = tiff_directory.size(page.tags)
    limits.check_held(width, height, least_bytes.of_tiff(page.tags))
    reason = tiff_directory.unsupported(page.tags) or _pillows_limit(page)
    if reason is not None:
        return tiff.read(stream, limits, reason)
    try:
        image, counted = pillow_reader.open_image(stream, limits)
    except UnidentifiedImageError:
        return tiff.read(stream, limits, "a TIFF that Pillow cannot read, or damaged")
    with image:
        if page.number:
            image.seek(page.number)
        limits.check_pixels(*image.size)
        reason = pillow_depth.unsupported_depth(image, None)
        if reason is not None:
            return tiff.read(stream, limits, reason)
        decoded = pillow_reader.decode(image, limits, counted)
    if page.is_alone:
        return decoded
    return replace(decoded, notices=(tiff_directory.pages_notice(limits.name, page.number),))


def complaints(stream: BinaryIO, limits: Limits, decoded: Decoded) -> list[str]:
    """Return what is wrong with a TIFF that was decoded: Pillow mutes libtiff's warnings."""
    stream.seek(0)
    if not stream.read(START).startswith(tiff_directory.MAGIC):
        return []
    page = tiff_directory.find_page(stream)
    if page is None:
        return []
    if tiff_directory.is_fax(page.tags):
        return fax.complaints(stream, limits, page)
    complaint = tiff_jpeg.complaint(stream, page.tags, decoded.pixels)
    return [] if complaint is None else [complaint]


def _pillows_limit(page: tiff_directory.Page) -> str | None:
    """Return that a page has more pixels than Pillow decodes, if it has; it checks TIFFs twice."""
    most = Image.MAX_IMAGE_PIXELS
    if most is None or tiff_directory.pixel_count(page.tags) <= 2 * most:
        return None
    return f"a TIFF of more than {2 * most:,} pixels, which Pillow refuses"


def _begins(*starts: bytes) -> Callable[[bytes], bool]:
    return lambda start: start.startswith(starts)


def _is_webp(start: bytes) -> bool:
    return start.startswith(b"RIFF") and start[8:12] == b"WEBP"


# Pillow reads further formats. TGA has no signature and is last.
_FORMATS: tuple[Format, ...] = (
    Format("a .npy", _begins(arrays.MAGIC), arrays.read, is_quiet=True),
    Format("a TIFF", _begins(*tiff_directory.MAGIC), _read_tiff),
    Format("a PNG", png.is_deep, png.read),
    Format("a PNG", _begins(png.SIGNATURE[:4]), png.read, is_quiet=True),  # by Pillow's own decoder
    Format("a JPEG", _begins(jpeg.SIGNATURE), jpeg.read, is_quiet=True),
    Format("a GIF", _begins(b"GIF8"), _read_gif, is_quiet=True),
    Format("a WebP", _is_webp, _read_webp, is_quiet=True),
    Format("a BMP", _begins(bmp.SIGNATURE), bmp.read, is_quiet=True),
    Format("an icon file (ICO)", _begins(ico.SIGNATURE), ico.read),
    Format("a QOI", _begins(b"qoif"), pillow_reader.read),
    Format("an SGI picture", _begins(sgi.SIGNATURE), sgi.read),
    Format("a PAM", _begins(pnm.PAM), pnm.pam),
    Format("a PFM", _begins(*pnm.PFM), pnm.pfm),
    Format("a PCX", pcx.is_pcx, pcx.read),
    Format("an OpenEXR picture", _begins(signatures.OPENEXR), _read_exr),
    Format("a FITS file", _begins(signatures.FITS), _read_fits),
    Format("a DICOM file", signatures.is_dicom, _read_dicom),
    Format("a PNM", _begins(*pnm.PNM), _read_pnm),
    Format("an AVIF", codecs.is_avif, codecs.avif),
    Format("a HEIC picture", codecs.is_heic, codecs.heic),
    Format("a JPEG 2000", _begins(*codecs.JPEG_2000), codecs.jpeg2000),
    Format("a JPEG XL", _begins(*codecs.JPEG_XL), codecs.jpegxl),
    Format("a Radiance HDR", _begins(*codecs.RADIANCE), codecs.radiance),
    Format("a TGA", signatures.is_tga, _read_tga),
)
_UNKNOWN = Format("", _begins(b""), _read_unknown)
