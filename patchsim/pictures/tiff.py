"""How TIFF files are read that Pillow rejects or whose values it would change: by tifffile."""

from __future__ import annotations

import math
import os
from typing import Any, BinaryIO

import numpy as np

from patchsim.errors import InputError
from patchsim.pictures import arrays
from patchsim.pictures.limits import Decoded, Limits, silence_logger, to_8_bit_alpha

PACKAGES = "tifffile imagecodecs"  # the extra `tiff`
BIG_ENDIAN_BIGTIFF = b"MM\0+"  # Pillow misreads its directory as one of 32 bits
MAGIC = (b"II*\0", b"MM\0*", b"II+\0", BIG_ENDIAN_BIGTIFF)

# Codecs whose output size is fixed in advance, so that the header bounds the memory.
_COMPRESSIONS = {
    1: "none", 5: "LZW", 8: "deflate", 32773: "packbits", 32946: "deflate", 34925: "LZMA",
    50000: "Zstandard",
}  # fmt: skip
_COLORS = {0: 1, 1: 1, 2: 3}  # colour samples of white-is-zero, black-is-zero, RGB
_WHITE_IS_ZERO = 0
_ASSOCIATED, _UNASSOCIATED = 1, 2
_ORIENTATION, _EXTRA_SAMPLES = 274, 338

# Copies of a strip or tile during decoding: unpacked, in native byte order, padded.
_SEGMENT_COPIES = 3
_READ_AHEAD = 1 << 20  # bytes


def read(stream: BinaryIO, limits: Limits, reason: str) -> Decoded:
    """Read the first page of a TIFF.

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
    tifffile = _tifffile(limits.name, reason)
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    with tifffile.TiffFile(stream) as file:
        page = file.pages[0]
        dtype = _check_page(page, limits.name)
        _, _, height, width, _ = page.shaped
        limits.check_pixels(width, height)
        limits.check_memory(_needed_bytes(page, dtype))
        _check_complete(page, size)
        notices: tuple[str, ...] = ()
        if len(file.pages) > 1:
            notices = (f"{limits.name} has {len(file.pages)} frames; the first is used",)
        stored = page.asarray(squeeze=False, maxworkers=1, buffersize=_READ_AHEAD)
    # `stored` is [S, 1, H, W, 1] or [1, 1, H, W, S], for S samples a pixel.
    samples = np.moveaxis(stored[:, 0, :, :, 0], 0, -1) if len(stored) > 1 else stored[0, 0]
    alpha_sample, is_associated = _alpha_sample(page)
    alpha = None
    if alpha_sample is not None:
        alpha = to_8_bit_alpha(samples[..., alpha_sample], _largest(page))
    if alpha is not None and is_associated:
        raise InputError(
            f"{limits.name} has colours multiplied by their alpha, which cannot be read in this"
            " kind of TIFF;\nsave it with unassociated alpha, or without"
        )
    if alpha_sample is not None:
        samples = np.delete(samples, alpha_sample, axis=2)
    if page.photometric == _WHITE_IS_ZERO:
        samples = np.bitwise_xor(samples, samples.dtype.type(_largest(page)))
    copy = None if samples.flags.c_contiguous else True
    pixels = arrays.to_pixels(samples, limits.name, copy=copy)
    if pixels.dtype.kind == "u" and page.bitspersample not in (1, 8, 16):
        notices += (
            f"{limits.name} has values of {page.bitspersample} bits;"
            f" --data-range 0:{_largest(page)} compares them within their range",
        )
    orientation = page.tags.valueof(_ORIENTATION, 1)
    return Decoded(pixels, alpha, orientation if isinstance(orientation, int) else 1, notices)


def _tifffile(name: str, reason: str) -> Any:
    try:
        import imagecodecs  # noqa: F401 - tifffile takes its codecs from there
        import tifffile
    except ImportError:
        raise InputError(
            f"{name} is {reason}; packages that read it are not installed:\npip install {PACKAGES}"
        ) from None
    silence_logger("tifffile")
    return tifffile


def _check_page(page: Any, name: str) -> np.dtype[Any]:
    """Check that a page's values are channels of grey or RGB; return the type of the pixels."""
    if 0 in page.shaped or not page.dataoffsets:
        raise ValueError("its first page has no pixels")
    if page.compression not in _COMPRESSIONS:
        known = ", ".join(dict.fromkeys(_COMPRESSIONS.values()))
        raise InputError(
            f"{name} is compressed by {_named(page.compression)}, which is not read in this kind of"
            f" TIFF;\nsave it with one of {known}"
        )
    if page.photometric not in _COLORS or page.is_subsampled:
        raise InputError(
            f"{name} has the colours {_named(page.photometric)} in {page.bitspersample} bits, which"
            " cannot be read;\nconvert it to grey or RGB"
        )
    if page.imagedepth > 1:
        raise InputError(
            f"{name} is a volume of {page.imagedepth} slices; save one slice as a picture"
        )
    if page.dtype is None or not isinstance(page.bitspersample, int):
        raise InputError(
            f"{name} has values of {page.bitspersample} bits, which cannot be read;"
            " pass a NumPy array from Python"
        )
    if page.photometric == _WHITE_IS_ZERO and page.dtype.kind not in "bu":
        raise InputError(
            f"{name} is a TIFF of {page.dtype} in which the least value is white, of which nothing"
            " says what black is;\nconvert it, or pass a NumPy array from Python"
        )
    return arrays.pixel_type(page.dtype, name)


def _named(value: Any) -> str:
    """Return the specification's name of a tag's value, or its number."""
    return str(getattr(value, "name", value))


def _needed_bytes(page: Any, dtype: np.dtype[Any]) -> int:
    """Return the bytes that decoding a page into pixels of a type takes at its peak."""
    count = math.prod(page.shaped)
    segment_bytes = coded_bytes = 0
    if not page.is_contiguous:
        segment_bytes = math.prod(page.chunks) * page.dtype.itemsize * _SEGMENT_COPIES
        coded_bytes = _READ_AHEAD + max(page.databytecounts)
    # The samples as stored, a copy without alpha or with the channels last, and the pixels; alpha
    # takes 17 bytes a pixel during conversion to 8 bits.
    has_alpha = _alpha_sample(page)[0] is not None
    alpha_bytes = 17 * count // page.samplesperpixel if has_alpha else 0
    sample_bytes = count * (2 * page.dtype.itemsize + dtype.itemsize)
    return int(sample_bytes + alpha_bytes + segment_bytes + coded_bytes)


def _check_complete(page: Any, size: int) -> None:
    """Check that a file of `size` bytes holds all strips or tiles that its page names.

    A segment of 0 bytes is allowed: it is empty.
    """
    segments = math.prod(page.chunked)
    if min(len(page.dataoffsets), len(page.databytecounts)) < segments and not page.is_contiguous:
        raise ValueError(f"it names {len(page.dataoffsets)} of {segments} strips or tiles")
    ends = (a + b for a, b in zip(page.dataoffsets, page.databytecounts, strict=False))
    if max(ends) > size:
        raise ValueError(f"its pixels end beyond its {size:,} bytes")


def _alpha_sample(page: Any) -> tuple[int | None, bool]:
    """Return the index of the alpha sample, if any, and whether colours are multiplied by it.

    Alpha is the sample that the file declares as alpha, or an undeclared fourth sample of RGB.
    """
    colors = _COLORS[page.photometric]
    for number, extra in enumerate(page.extrasamples):
        if extra in (_ASSOCIATED, _UNASSOCIATED):
            return colors + number, extra == _ASSOCIATED
    is_undeclared = page.tags.valueof(_EXTRA_SAMPLES) is None
    return (colors if is_undeclared and (colors, page.samplesperpixel) == (3, 4) else None), False


def _largest(page: Any) -> int:
    """Return the largest value of a sample, which is white, or opaque."""
    return 1 if page.dtype.kind == "f" else (1 << page.bitspersample) - 1
