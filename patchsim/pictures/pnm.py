"""How the kinds of PNM are read that Pillow lacks or cuts to 8 bits: PPM of 16, PAM, PFM."""

from __future__ import annotations

import math
import re
from typing import BinaryIO

import numpy as np

from patchsim.errors import DamageError, InputError
from patchsim.pictures import signatures
from patchsim.pictures.limits import Decoded, Limits, to_8_bit_alpha
from patchsim.types import Pixels

_TEXT = signatures.PNM[:3]  # whose values are numbers in text

_ROWS = 64  # rows that are converted at a time
_MOST_HEADER = 1 << 12  # bytes
# Pillow reads a header byte by byte, and copies a megabyte for each comment among values of text.
_MOST_PNM_HEADER = 1 << 16  # bytes
_MOST_COMMENTS = 10_000
_BLOCK = 1 << 20  # bytes
# The kind, width and height, and the largest value where there is one; comments stand between.
_BETWEEN = rb"(?:\s|#[^\r\n]*[\r\n])+"
_PNM_HEADER = re.compile(rb"P(?:[14](?:%b\d+){2}|[2356](?:%b\d+){3})[\s#]" % (_BETWEEN, _BETWEEN))
_PFM_HEADER = re.compile(rb"P([Ff])\s+(\d{1,9})\s+(\d{1,9})\s+([-+.\deE]{1,30})\s")
_ALPHA = "_ALPHA"


def check(stream: BinaryIO, limits: Limits) -> None:
    """Check that Pillow reads the header and the comments of a PNM (P1 to P6) in little time.

    Raises
    ------
    InputError
        If they are too long, or too many.
    """
    stream.seek(0)
    start = stream.read(_MOST_PNM_HEADER)
    if len(start) == _MOST_PNM_HEADER and not _PNM_HEADER.match(start):
        raise InputError(
            f"{limits.name} has a header of more than {_MOST_PNM_HEADER:,} bytes; save it without"
            " comments"
        )
    if not start.startswith(_TEXT):
        return
    count, block = 0, start
    while block:
        count += block.count(b"#")
        block = stream.read(_BLOCK)
    if count > _MOST_COMMENTS:
        raise InputError(
            f"{limits.name} has {count:,} comments, more than {_MOST_COMMENTS:,}; save it without"
            " them"
        )


def pam(stream: BinaryIO, limits: Limits) -> Decoded:
    """Read a PAM (P7): any number of channels of 1 to 16 bits, the last alpha if its type says so.

    Values are scaled to 255 or 65535, as Pillow scales those of PNM files.

    Raises
    ------
    InputError
        If the picture is too large.
    DamageError
        If the file is damaged.
    """
    stream.seek(0)
    start = stream.read(_MOST_HEADER)
    end = start.find(b"\nENDHDR\n")
    if end < 0:
        raise DamageError("its header has no end")
    words = (line.split(None, 1) for line in start[2:end].splitlines() if line[:1] != b"#")
    fields = {pair[0]: pair[1].strip() for pair in words if len(pair) == 2}
    try:
        names = (b"WIDTH", b"HEIGHT", b"DEPTH", b"MAXVAL")
        width, height, channels, white = (int(fields[name]) for name in names)
    except (KeyError, ValueError):
        raise DamageError("its header lacks width, height, depth or the largest value") from None
    if min(width, height, channels) < 1 or not 1 <= white <= 65535:
        raise DamageError(f"it has {width}x{height} pixels of {channels} values up to {white}")
    min_bytes = width * height * channels * (2 if white > 255 else 1)
    limits.check_held(width, height, min_bytes)
    limits.check_pixels(width, height)
    values = scaled(stream, (height, width, channels), end + len(b"\nENDHDR\n"), white, limits)
    if fields.get(b"TUPLTYPE", b"").decode("ascii", "replace").endswith(_ALPHA) and channels > 1:
        opacity = to_8_bit_alpha(values[..., -1], np.iinfo(values.dtype).max)
        return Decoded(np.ascontiguousarray(values[..., :-1]), opacity)
    return Decoded(values)


def pfm(stream: BinaryIO, limits: Limits) -> Decoded:
    """Read a PFM: floats of 32 bits, grey or RGB; its scale applies to no value, as in Pillow.

    Raises
    ------
    InputError
        If the picture is too large.
    DamageError
        If the file is damaged.
    """
    stream.seek(0)
    header = _PFM_HEADER.match(stream.read(_MOST_HEADER))
    try:
        scale = float(header[4]) if header else 0.0
    except ValueError:
        scale = 0.0
    if header is None or scale == 0 or not math.isfinite(scale):
        raise DamageError("its header does not say its size and the order of its bytes")
    width, height, channels = int(header[2]), int(header[3]), 3 if header[1] == b"F" else 1
    if min(width, height) < 1:
        raise DamageError(f"it has {width}x{height} pixels")
    limits.check_held(width, height, 4 * width * height * channels)
    limits.check_pixels(width, height)
    limits.check_memory(2 * 4 * width * height * channels)
    content = _exactly(stream, header.end(), 4 * width * height * channels)
    stored = np.frombuffer(content, "<f4" if scale < 0 else ">f4")
    rows = stored.reshape(height, width, channels)[::-1]  # the lowest row comes first
    return Decoded(np.array(rows, np.float32, order="C"), profile=None)


def scaled(
    stream: BinaryIO, shape: tuple[int, int, int], offset: int, white: int, limits: Limits
) -> Pixels:
    """Read binary values of PNM and scale them to 255, or to 65535 if `white` exceeds 255.

    Parameters
    ----------
    stream : binary file
    shape : (height, width, channels)
    offset : int
        Where the pixels begin, in bytes.
    white : int
        The largest value, 1 to 65535.
    limits : Limits

    Raises
    ------
    InputError
        If the picture is too large.
    DamageError
        If the file is cut short.
    """
    height, width, channels = shape
    stored_type, dtype = (np.dtype(">u2"), np.uint16) if white > 255 else (np.dtype("u1"), np.uint8)
    most = np.iinfo(dtype).max
    row = width * channels
    limits.check_memory(row * (height * stored_type.itemsize + min(height, _ROWS) * 10))
    table = np.minimum(np.rint(np.arange(most + 1) / white * most), most).astype(dtype)
    pixels = np.empty(shape, dtype)
    stream.seek(offset)
    for top in range(0, height, _ROWS):
        strip = pixels[top : top + _ROWS]
        content = stream.read(strip.nbytes)
        if len(content) < strip.nbytes:
            ended = top + len(content) // (row * stored_type.itemsize)
            raise DamageError(f"it ends in row {ended} of {height}")
        strip[...] = table[np.frombuffer(content, stored_type).reshape(strip.shape)]
    return pixels


def _exactly(stream: BinaryIO, offset: int, count: int) -> bytes:
    stream.seek(offset)
    content = stream.read(count)
    if len(content) < count:
        raise DamageError(f"it has {len(content):,} of {count:,} bytes of pixels")
    return content
