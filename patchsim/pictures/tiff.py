"""How TIFF files are read that Pillow rejects or whose values it would change: by tifffile."""

from __future__ import annotations

import math
import os
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from patchsim.errors import DamageError, InputError, printable
from patchsim.pictures import (
    arrays,
    coded_size,
    jpeg,
    orientation,
    tiff_colors,
    tiff_directory,
)
from patchsim.pictures.limits import Decoded, Limits, silence_logger, to_8_bit_alpha, unapplied

PACKAGES = "tifffile imagecodecs"  # the extra `tiff`

_COMPRESSIONS = {
    1: "none", 5: "LZW", 7: "JPEG", 8: "deflate", 32773: "packbits", 32946: "deflate",
    34925: "LZMA", 50000: "Zstandard", 50001: "WebP", 34712: "JPEG 2000", 33005: "JPEG 2000",
}  # fmt: skip
# Codecs whose data say how large the picture is, which is checked before they are decoded. The
# output of the others has a size that is fixed in advance, so that the header bounds the memory.
_SIZED = {
    7: coded_size.of_jpeg, 50001: coded_size.of_webp,
    34712: coded_size.of_codestream, 33005: coded_size.of_codestream,
}  # fmt: skip
_JPEG2000 = (34712, 33005)  # that of Aperio, 33005, has RGB
_START = 1 << 16  # bytes that hold the size of such a picture

_PALETTE, _CMYK, _YCBCR = 3, 5, 6
# Samples of colour: of white-is-zero, black-is-zero, RGB, palette, CMYK, YCbCr.
_COLORS = {0: 1, 1: 1, 2: 3, _PALETTE: 1, _CMYK: 4, _YCBCR: 3}
_EIGHT_BITS = (_CMYK, _YCBCR)  # colours that are read in 8 bits alone
_WHITE_IS_ZERO = 0
_ASSOCIATED, _UNASSOCIATED = 1, 2

# Copies of a strip or tile during decoding: unpacked, in native byte order, padded.
_SEGMENT_COPIES = 3
_SAMPLE_BYTES_2000 = 12  # of a sample while OpenJPEG decodes it: integers of 32 bits, and copies
_READ_AHEAD = 1 << 20  # bytes


def read(stream: BinaryIO, limits: Limits, reason: str) -> Decoded:
    """Read the first page of a TIFF that is no small copy of another page.

    Samples beyond the colours become channels, unless the file declares one as alpha.

    Parameters
    ----------
    stream : binary file
    limits : Limits
    reason : str
        Why Pillow cannot read the file, for messages.

    Raises
    ------
    InputError
        If the picture is too large or of an unsupported kind, or the packages are not installed.
    Exception
        If the file is damaged; the type depends on the decoder.
    """
    tifffile = library(limits.name, reason)
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    with tifffile.TiffFile(stream) as file:
        page, notices = first_full_page(file, limits.name)
        dtype = check_page(page, limits.name)
        _, _, height, width, _ = page.shaped
        check_complete(page, size)
        limits.check_pixels(width, height)
        limits.check_memory(_needed_bytes(page, dtype))
        _check_coded_sizes(page, stream, limits)
        samples = _samples(page)
    number, is_associated = alpha_sample(page)
    alpha = None
    if number is not None:
        stored_alpha = samples[..., number]
        alpha = to_8_bit_alpha(stored_alpha, largest(page))
        samples = np.delete(samples, number, axis=2)
        if alpha is not None and is_associated:
            colors = samples[..., : _COLORS[page.photometric]]
            colors[...] = tiff_colors.unassociated(colors, stored_alpha, largest(page))
    samples = in_grey_or_rgb(page, samples)
    copy = None if samples.flags.c_contiguous else True
    pixels = arrays.to_pixels(samples, limits.name, copy=copy)
    has_own_range = pixels.dtype.kind == "u" and page.bitspersample not in (1, 8, 16)
    if has_own_range:
        notices += (arrays.depth_notice(limits.name, page.bitspersample),)
    turned = orientation.chosen(
        page.tags.valueof(tiff_directory.ORIENTATION), page.tags.valueof(tiff_directory.XMP)
    )
    profile = page.tags.valueof(tiff_directory.ICC_PROFILE)
    profile = profile if isinstance(profile, bytes) else b""
    decoded = Decoded(
        pixels,
        alpha,
        turned,
        notices,
        arrays.shift_of(samples.dtype),
        profile,
        is_half=arrays.is_half(samples.dtype),
    )
    if not has_own_range:
        return decoded
    return decoded._replace(profile=None, unapplied=unapplied(profile, page.bitspersample))


def first_full_page(file: Any, name: str) -> tuple[Any, tuple[str, ...]]:
    """Return the first page that is no small copy of another, or else the first; and notices."""
    number = 0
    while has_page(file, number) and file.pages[number].is_reduced:
        number += 1
    if not has_page(file, number):
        number = 0
    is_alone = number == 0 and not has_page(file, 1)
    return file.pages[number], () if is_alone else (tiff_directory.pages_notice(name, number),)


def has_page(file: Any, number: int) -> bool:
    """Return whether a file has a page of this number, without counting its pages."""
    try:
        file.pages[number]
    except IndexError:
        return False
    return True


def _is_decoded_here(page: Any) -> bool:
    """Return whether tifffile would convert the YCbCr of a page by itself, or refuse it."""
    is_jpeg = page.compression == tiff_directory.JPEG and page.planarconfig == 1
    return bool(page.photometric == _YCBCR and (is_jpeg or page.is_subsampled))


def _samples(page: Any) -> NDArray[Any]:
    """Decode the samples [H, W, S] of a page, for S samples a pixel."""
    if _is_decoded_here(page):
        return tiff_colors.ycbcr_samples(page)
    # `stored` is [S, 1, H, W, 1] or [1, 1, H, W, S].
    stored: NDArray[Any] = page.asarray(squeeze=False, maxworkers=1, buffersize=_READ_AHEAD)
    return np.moveaxis(stored[:, 0, :, :, 0], 0, -1) if len(stored) > 1 else stored[0, 0]


def in_grey_or_rgb(page: Any, samples: NDArray[Any]) -> NDArray[Any]:
    """Convert samples [H, W, S] without alpha to grey or RGB; further samples stay."""
    if page.photometric == _WHITE_IS_ZERO:
        inverted: NDArray[Any] = np.bitwise_xor(samples, samples.dtype.type(largest(page)))
        return inverted
    if page.photometric == _PALETTE:
        return tiff_colors.from_palette(samples, page.colormap)
    if page.photometric == _CMYK:
        return tiff_colors.from_cmyk(samples)
    if page.photometric == _YCBCR:
        return tiff_colors.from_ycbcr(samples, *_ycbcr(page))
    return samples


def _ycbcr(page: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the coefficients of YCbCr and the codes of black and white."""

    def ratios(tag: int, default: tuple[float, ...]) -> tuple[float, ...]:
        values = page.tags.valueof(tag)
        if values is None or not all(values[1::2]):
            return default
        return tuple(a / b for a, b in zip(values[::2], values[1::2], strict=True))

    coefficients = ratios(tiff_directory.YCBCR_COEFFICIENTS, tiff_directory.BT_601)
    return (
        tiff_directory.BT_601 if tiff_directory.is_bt_601(coefficients) else coefficients,
        ratios(tiff_directory.REFERENCE_BLACK_WHITE, tiff_directory.FULL_RANGE),
    )


def library(name: str, reason: str) -> Any:
    try:
        import imagecodecs  # noqa: F401 - tifffile takes its codecs from there
        import tifffile
    except ModuleNotFoundError:
        raise InputError(
            f"{name} is {reason}; packages that read it are not installed:\npip install {PACKAGES}"
        ) from None
    silence_logger("tifffile")
    silence_logger("imagecodecs")
    return tifffile


def check_page(page: Any, name: str) -> np.dtype[Any]:
    """Check that a page's values are channels of grey or RGB; return the type of the pixels."""
    if 0 in page.shaped or not page.dataoffsets:
        raise DamageError("its first page has no pixels")
    is_webp_in_planes = page.compression == tiff_directory.WEBP and page.planarconfig != 1
    is_other_2000 = (
        page.compression in _JPEG2000 and page.photometric not in tiff_directory.GREY_OR_RGB
    )  # whether the codec converts other colours itself depends on the file
    if page.compression not in _COMPRESSIONS or is_webp_in_planes or is_other_2000:
        known = ", ".join(dict.fromkeys(_COMPRESSIONS.values()))
        raise InputError(
            f"{name} is compressed by {_named(page.compression)}, which is not read in this kind of"
            f" TIFF;\nsave it with one of {known}"
        )
    if not _has_known_colors(page):
        raise InputError(
            f"{name} has the colours {_named(page.photometric)} in {_named(page.bitspersample)}"
            " bits, which cannot be read;\nconvert it to grey or RGB"
        )
    if page.imagedepth > 1:
        raise InputError(
            f"{name} is a volume of {_named(page.imagedepth)} slices; save one slice as a picture"
        )
    if page.dtype is None or not isinstance(page.bitspersample, int):
        raise InputError(
            f"{name} has values of {_named(page.bitspersample)} bits, which cannot be read;"
            " pass a NumPy array from Python"
        )
    if page.photometric == _WHITE_IS_ZERO and page.dtype.kind not in "bu":
        raise InputError(
            f"{name} is a TIFF of {page.dtype} in which the least value is white, of which nothing"
            " says what black is;\nconvert it, or pass a NumPy array from Python"
        )
    return arrays.pixel_type(page.dtype, name)


def _has_known_colors(page: Any) -> bool:
    """Return whether the colours of a page can be converted to grey or RGB."""
    color = page.photometric
    count = page.samplesperpixel - (alpha_sample(page)[0] is not None) if color in _COLORS else 0
    if count < _COLORS.get(color, 1) or (page.is_subsampled and color != _YCBCR):
        return False
    if color == _PALETTE:
        has_map = isinstance(page.colormap, np.ndarray) and page.colormap.ndim == 2
        return bool(has_map and count == 1 and page.dtype is not None and page.dtype.kind == "u")
    if color in _EIGHT_BITS:
        is_cmyk = page.tags.valueof(tiff_directory.INK_SET, 1) == 1 or color != _CMYK
        is_plain = page.planarconfig == 1 and not page.extrasamples
        is_exact = page.dtype == np.uint8 and count == _COLORS[color] and is_cmyk
        return is_exact and (is_plain or not _is_decoded_here(page))
    return True


def _named(value: Any) -> str:
    """Return the specification's name of a tag's value, or its number; a file may give any text.

    Several values, which a damaged file may give, are joined by commas.
    """
    values = value if isinstance(value, tuple) else (value,)
    return printable(", ".join(str(getattr(one, "name", one)) for one in values))


def _needed_bytes(page: Any, dtype: np.dtype[Any]) -> int:
    """Return the bytes that decoding a page into pixels of a type takes at its peak."""
    count = math.prod(page.shaped)
    segment_bytes = coded_bytes = 0
    if not page.is_contiguous:
        segment_bytes = math.prod(page.chunks) * decoding_bytes(page)
        coded_bytes = _READ_AHEAD + max(page.databytecounts)
    # The samples as stored, a copy without alpha or with the channels last, and the pixels; alpha
    # takes 17 bytes a pixel during conversion to 8 bits.
    has_alpha = alpha_sample(page)[0] is not None
    alpha_bytes = 17 * count // page.samplesperpixel if has_alpha else 0
    if has_alpha or page.photometric in _EIGHT_BITS:
        alpha_bytes += (
            page.imagewidth
            * min(page.imagelength, tiff_colors.STRIP)
            * (tiff_colors.STRIP_BYTES * page.samplesperpixel)
        )  # the copies of a conversion, strip by strip
    sample_bytes = count * (2 * page.dtype.itemsize + dtype.itemsize)
    return int(sample_bytes + alpha_bytes + segment_bytes + coded_bytes)


def decoding_bytes(page: Any) -> int:
    """Return the bytes that each sample of a strip or tile takes while it is decoded."""
    copies: int = page.dtype.itemsize * _SEGMENT_COPIES
    return copies + _SAMPLE_BYTES_2000 if page.compression in _JPEG2000 else copies


def check_complete(page: Any, size: int) -> None:
    """Check that a file of `size` bytes holds all strips or tiles that its page names.

    A segment of 0 bytes is allowed: it is empty.
    """
    segments = math.prod(page.chunked)
    if min(len(page.dataoffsets), len(page.databytecounts)) < segments and not page.is_contiguous:
        raise DamageError(f"it names {len(page.dataoffsets)} of {segments} strips or tiles")
    ends = (a + b for a, b in zip(page.dataoffsets, page.databytecounts, strict=False))
    if max(ends) > size:
        raise DamageError(f"its pixels end beyond its {size:,} bytes")


def _check_coded_sizes(page: Any, stream: BinaryIO, limits: Limits) -> None:
    """Check that strips or tiles that state their own size do not exceed that of the page's.

    Those of JPEG must not have too many scans.
    """
    if page.compression == tiff_directory.JPEG:
        for place, length in zip(page.dataoffsets, page.databytecounts, strict=False):
            jpeg.check_scans(stream, limits, place, length)
    if page.compression not in _SIZED:
        return
    for place, length in zip(page.dataoffsets, page.databytecounts, strict=False):
        stream.seek(place)
        check_coded_size(page, stream.read(min(length, _START)))


def check_coded_size(page: Any, start: bytes) -> None:
    """Check that a strip or tile does not state a larger size than the page's, by its start."""
    size_of = _SIZED.get(page.compression)
    if size_of is None or not start:
        return
    rows, columns = tiff_colors.segment_size(page)
    height, width, *count = size_of(start)
    if sum(count) > page.samplesperpixel:
        raise DamageError(f"a strip or tile says that it has {sum(count)} samples a pixel")
    if width > columns or height > rows:
        raise DamageError(f"a strip or tile of {columns}x{rows} says that it is {width}x{height}")


def alpha_sample(page: Any) -> tuple[int | None, bool]:
    """Return the index of the alpha sample, if any, and whether colours are multiplied by it.

    Alpha is the sample that the file declares as alpha, or an undeclared fourth sample of RGB.
    """
    colors = _COLORS[page.photometric]
    for number, extra in enumerate(page.extrasamples):
        if extra in (_ASSOCIATED, _UNASSOCIATED):
            return colors + number, extra == _ASSOCIATED
    is_undeclared = page.tags.valueof(tiff_directory.EXTRA_SAMPLES) is None
    return (colors if is_undeclared and (colors, page.samplesperpixel) == (3, 4) else None), False


def largest(page: Any) -> int:
    """Return the largest value of a sample, which is white, or opaque."""
    if page.dtype.kind == "f":
        return 1
    bits: int = page.bitspersample
    return (1 << (bits - int(page.dtype.kind == "i"))) - 1
