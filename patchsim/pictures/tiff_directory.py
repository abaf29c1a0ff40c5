"""Which page of a TIFF is the picture, and whether Pillow reads its values as they are."""

from __future__ import annotations

import struct
import sys
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

if TYPE_CHECKING:
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
BIG_ENDIAN_BIGTIFF = b"MM\0+"  # Pillow misreads its directory as one of 32 bits

# Numbers of TIFF's tags. Pillow has names for them in its reader, whose import takes a while.
SUBFILE_TYPE = 254
IMAGE_WIDTH, IMAGE_LENGTH = 256, 257
BITS_PER_SAMPLE = 258
COMPRESSION = 259
PHOTOMETRIC = 262
STRIP_OFFSETS = 273
ORIENTATION = 274
SAMPLES_PER_PIXEL = 277
ROWS_PER_STRIP = 278
PLANAR_CONFIGURATION = 284
TILE_OFFSETS = 324
INK_SET = 332
EXTRA_SAMPLES = 338
SAMPLE_FORMAT = 339
YCBCR_COEFFICIENTS = 529
YCBCR_SUBSAMPLING = 530
REFERENCE_BLACK_WHITE = 532
XMP = 700
ICC_PROFILE = 34675
IMAGE_DEPTH = 32997

REDUCED_RESOLUTION = 1  # a bit of the subfile type: a small copy of another page
GREY_OR_RGB = (0, 1, 2)
_RGB, _CMYK, YCBCR = 2, 5, 6
UNCOMPRESSED, JPEG, WEBP = 1, 7, 50001
_FAX = (2, 3, 4, 32771)
_PLANES = 2
SIGNED = 2
_UNSPECIFIED, _ASSOCIATED = 0, 1
_SUPPORTED_BITS = (1, 2, 4, 8, 16, 32)
BT_601 = (0.299, 0.587, 0.114)
FULL_RANGE = (0, 255, 128, 255, 128, 255)
_MOST_PAGES = 1000  # that are looked at for one of full resolution


class Page(NamedTuple):
    """The page of a TIFF that is read: the first of full resolution, or else the first.

    Attributes
    ----------
    number : int
        Its number, from 0.
    tags : ImageFileDirectory_v2
    is_alone : bool
        Whether the file has no other page.
    """

    number: int
    tags: ImageFileDirectory_v2
    is_alone: bool


def pages_notice(name: str, number: int) -> str:
    """Return the notice that a picture is the page of this number, from 0, of several."""
    if number == 0:
        return f"{name} has several pages; the first is used"
    return f"{name} begins with a small copy of its picture; page {number + 1} is used"


def find_page(stream: BinaryIO) -> Page | None:
    """Return the page of a TIFF that is read, or None if Pillow cannot read the directory."""
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    stream.seek(0)
    header = stream.read(16)
    if header.startswith(BIG_ENDIAN_BIGTIFF):
        return None
    try:
        tags = ImageFileDirectory_v2(header if header[2] == 43 else header[:8])
        first = tags.next
        places: list[int] = []
        place = first
        while place and place not in places and len(places) < _MOST_PAGES:
            stream.seek(place)
            tags.load(stream)
            places.append(place)
            if not whole_number(tags, SUBFILE_TYPE, 0) & REDUCED_RESOLUTION:
                is_alone = len(places) == 1 and tags.next in (0, place)
                return Page(len(places) - 1, tags, is_alone)
            place = tags.next
        stream.seek(first)
        tags.load(stream)
    except (OSError, SyntaxError, ValueError, TypeError, struct.error):
        return None
    return Page(0, tags, len(places) == 1)


def numbers(tags: ImageFileDirectory_v2, tag: int, default: tuple[float, ...]) -> tuple[float, ...]:
    """Return the values of a tag; the default if it is absent or its values are no numbers."""
    values = tags.get(tag, default)
    values = values if isinstance(values, tuple) else (values,)
    try:
        return tuple(float(value) for value in values) or default
    except (TypeError, ValueError, ZeroDivisionError):
        return default


def whole_number(tags: ImageFileDirectory_v2, tag: int, default: int) -> int:
    """Return the largest value of a tag, or the default."""
    return int(max(numbers(tags, tag, (default,))))


def is_fax(tags: ImageFileDirectory_v2) -> bool:
    """Return whether a page is compressed as a fax (CCITT T.4 or T.6)."""
    return whole_number(tags, COMPRESSION, UNCOMPRESSED) in _FAX


def pixel_count(tags: ImageFileDirectory_v2) -> int:
    """Return width times height."""
    width, height = size(tags)
    return width * height


def size(tags: ImageFileDirectory_v2) -> tuple[int, int]:
    """Return width and height."""
    return whole_number(tags, IMAGE_WIDTH, 0), whole_number(tags, IMAGE_LENGTH, 0)


def unsupported(tags: ImageFileDirectory_v2) -> str | None:
    """Return what kind of TIFF this is if Pillow misreads it, or cannot read it; else None.

    `tests/pictures/test_tiff_grid.py` compares what Pillow may read with what was written.
    """
    bits = whole_number(tags, BITS_PER_SAMPLE, 1)
    compression = whole_number(tags, COMPRESSION, UNCOMPRESSED)
    sample_format = whole_number(tags, SAMPLE_FORMAT, 1)
    is_signed = sample_format == SIGNED
    color = whole_number(tags, PHOTOMETRIC, 0)
    extra = numbers(tags, EXTRA_SAMPLES, ())
    if bits not in _SUPPORTED_BITS or (is_signed and bits <= 8):
        return f"a TIFF with {'signed ' * is_signed}values of {bits} bits"
    if _UNSPECIFIED in extra and color in GREY_OR_RGB:
        return f"a TIFF of {whole_number(tags, SAMPLES_PER_PIXEL, 1)} channels"
    if whole_number(tags, IMAGE_DEPTH, 1) > 1:
        return "a TIFF of a volume"
    if compression == WEBP:
        return "a TIFF compressed by WebP"
    is_swapped = (tags.prefix == b"MM") != (sys.byteorder == "big")
    if is_swapped and compression != UNCOMPRESSED and (bits > 16 or (bits == 16 and is_signed)):
        # libtiff swaps the bytes, then Pillow swaps them again.
        return f"a compressed TIFF of {bits} bits in an unusual order of bytes"
    if whole_number(tags, PLANAR_CONFIGURATION, 1) == _PLANES and (
        color not in (_RGB, _CMYK) or _ASSOCIATED in extra
    ):
        return "a TIFF with each channel in a plane of its own"
    if color == _CMYK and whole_number(tags, INK_SET, 1) != 1:
        return "a TIFF of inks other than CMYK"
    if color == YCBCR:
        return _unsupported_ycbcr(tags, compression)
    return None


def _unsupported_ycbcr(tags: ImageFileDirectory_v2, compression: int) -> str | None:
    """Return what kind of YCbCr this is if Pillow or libtiff misreads it."""
    if compression == UNCOMPRESSED:
        return "an uncompressed TIFF in YCbCr"
    if tuple(numbers(tags, REFERENCE_BLACK_WHITE, FULL_RANGE)) != FULL_RANGE:
        return "a TIFF in YCbCr of another range than 0 to 255"
    coefficients = numbers(tags, YCBCR_COEFFICIENTS, BT_601)
    if compression == JPEG and not is_bt_601(coefficients):
        return "a TIFF in YCbCr with other coefficients than JPEG has"
    return None


def is_bt_601(coefficients: tuple[float, ...]) -> bool:
    """Return whether the shares of red, green and blue in luma are those of JPEG."""
    return all(abs(a - b) < 1e-3 for a, b in zip(coefficients, BT_601, strict=False))
