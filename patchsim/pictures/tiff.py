"""TIFF files that Pillow does not read, or would read with other values: through tifffile."""

from __future__ import annotations

import math
import os
from typing import Any, BinaryIO

import numpy as np

from patchsim.errors import InputError
from patchsim.pictures import arrays
from patchsim.pictures.limits import Decoded, Limits, opacity, quiet

PACKAGES = "tifffile imagecodecs"  # the extra `tiff`
BIG_ENDIAN_BIGTIFF = b"MM\0+"  # whose directory Pillow takes for one of 32 bits
MAGIC = (b"II*\0", b"MM\0*", b"II+\0", BIG_ENDIAN_BIGTIFF)

# Codecs that are told how many bytes to write, so that what a file says bounds what it takes.
_COMPRESSIONS = {
    1: "none", 5: "LZW", 8: "deflate", 32773: "packbits", 32946: "deflate", 34925: "LZMA",
    50000: "Zstandard",
}  # fmt: skip
_COLORS = {0: 1, 1: 1, 2: 3}  # samples of white-is-zero, black-is-zero, RGB
_WHITE_IS_ZERO = 0
_ASSOCIATED, _UNASSOCIATED = 1, 2
_ORIENTATION, _EXTRA_SAMPLES = 274, 338

# Of a strip or tile while it is decoded: unpacked, in this machine's byte order, padded.
_SEGMENT_COPIES = 3
_READ_AHEAD = 1 << 20  # bytes


def read(stream: BinaryIO, limits: Limits, reason: str) -> Decoded:
    """The first page of a TIFF.

    Samples beyond the colours are channels like these, unless the file says that one is alpha.

    Parameters
    ----------
    stream : binary file
    limits : Limits
    reason : str
        Why Pillow cannot read it.

    Raises
    ------
    InputError
        If it is too large, of a kind that cannot be read, or the packages are not installed.
    Exception
        Nearly any, if it is damaged.
    """
    tifffile = _tifffile(limits.name, reason)
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    with tifffile.TiffFile(stream) as file:
        page = file.pages[0]
        kept = _check(page, limits.name)
        _, _, height, width, _ = page.shaped
        limits.check_pixels(width, height)
        limits.check_memory(_needed(page, kept))
        _check_held(page, size)
        notices: tuple[str, ...] = ()
        if len(file.pages) > 1:
            notices = (f"{limits.name} has {len(file.pages)} frames; the first is used",)
        stored = page.asarray(squeeze=False, maxworkers=1, buffersize=_READ_AHEAD)
    # [S, 1, H, W, 1] or [1, 1, H, W, S]
    samples = np.moveaxis(stored[:, 0, :, :, 0], 0, -1) if len(stored) > 1 else stored[0, 0]
    alpha, associated = _alpha(page)
    opaque = None if alpha is None else opacity(samples[..., alpha], _largest(page))
    if opaque is not None and associated:
        raise InputError(
            f"{limits.name} has colours multiplied by their alpha, which cannot be read in this"
            " kind of TIFF;\nsave it with unassociated alpha, or without"
        )
    if alpha is not None:
        samples = np.delete(samples, alpha, axis=2)
    if page.photometric == _WHITE_IS_ZERO:
        samples = np.bitwise_xor(samples, samples.dtype.type(_largest(page)))
    pixels = arrays.checked(samples, limits.name, copy=None if samples.flags.c_contiguous else True)
    if pixels.dtype.kind == "u" and page.bitspersample not in (1, 8, 16):
        notices += (
            f"{limits.name} has values of {page.bitspersample} bits;"
            f" --data-range 0:{_largest(page)} compares them within their range",
        )
    orientation = page.tags.valueof(_ORIENTATION, 1)
    return Decoded(pixels, opaque, orientation if isinstance(orientation, int) else 1, notices)


def _tifffile(name: str, reason: str) -> Any:
    try:
        import imagecodecs  # noqa: F401 - tifffile takes its codecs from there
        import tifffile
    except ImportError:
        raise InputError(
            f"{name} is {reason}; packages that read it are not installed:\npip install {PACKAGES}"
        ) from None
    quiet("tifffile")
    return tifffile


def _check(page: Any, name: str) -> np.dtype[Any]:
    """Refuse a page whose values are no channels of grey or RGB; the type they are kept in."""
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
    return arrays.kept_type(page.dtype, name)


def _named(value: Any) -> str:
    """A tag's value as the specification calls it, or its number."""
    return str(getattr(value, "name", value))


def _needed(page: Any, kept: np.dtype[Any]) -> int:
    count = math.prod(page.shaped)
    segment = coded = 0
    if not page.is_contiguous:
        segment = math.prod(page.chunks) * page.dtype.itemsize * _SEGMENT_COPIES
        coded = _READ_AHEAD + max(page.databytecounts)
    # Stored, without alpha or in another order of channels, and as it is kept; the alpha while it
    # is turned into 8 bits.
    opaque = 17 * count // page.samplesperpixel if _alpha(page)[0] is not None else 0
    return int(count * (2 * page.dtype.itemsize + kept.itemsize) + opaque + segment + coded)


def _check_held(page: Any, size: int) -> None:
    """See that the file holds the segments that it names, each of which may be 0 bytes: empty."""
    segments = math.prod(page.chunked)
    if min(len(page.dataoffsets), len(page.databytecounts)) < segments and not page.is_contiguous:
        raise ValueError(f"it names {len(page.dataoffsets)} of {segments} strips or tiles")
    ends = (a + b for a, b in zip(page.dataoffsets, page.databytecounts, strict=False))
    if max(ends) > size:
        raise ValueError(f"its pixels end beyond its {size:,} bytes")


def _alpha(page: Any) -> tuple[int | None, bool]:
    """Which sample is alpha, and whether colours are multiplied by it.

    It is the one that the file names, or a fourth one of RGB of which it says nothing.
    """
    colors = _COLORS[page.photometric]
    for number, extra in enumerate(page.extrasamples):
        if extra in (_ASSOCIATED, _UNASSOCIATED):
            return colors + number, extra == _ASSOCIATED
    silent = page.tags.valueof(_EXTRA_SAMPLES) is None
    return (colors if silent and (colors, page.samplesperpixel) == (3, 4) else None), False


def _largest(page: Any) -> int:
    """The value of a sample that is full: white, or opaque."""
    return 1 if page.dtype.kind == "f" else (1 << page.bitspersample) - 1
