"""How an icon file (ICO) is read: the largest of its pictures."""

from __future__ import annotations

import os
import struct
from io import BytesIO
from typing import BinaryIO, NamedTuple

from patchsim.errors import DamageError
from patchsim.pictures import least_bytes, pillow_reader, png, signatures
from patchsim.pictures.limits import DEFLATE, Decoded, Limits

_HEADER, _ENTRY, _ICON_START = 6, 16, 24  # bytes
_BITMAP_HEADER, _MASKS = 40, 12  # bytes of BITMAPINFOHEADER, and of the masks of BI_BITFIELDS
_UNCOMPRESSED, _BITFIELDS = 0, 3
_WITH_ALPHA = 32  # bits a pixel
_MOST_BYTES = 1 << 28  # of a picture in an icon file


class _Entry(NamedTuple):
    """A picture in the file: its real size, its bits a pixel, where it lies, and whether PNG."""

    pixels: int
    bits: int
    place: int
    length: int
    is_png: bool


def read(stream: BinaryIO, limits: Limits) -> Decoded:
    """Read the largest picture of an icon file, of several of one size that of the most bits.

    Raises
    ------
    InputError
        If a picture in it is too large.
    Exception
        If the file is damaged; the type depends on the decoder.
    """
    entries = _entries(stream, limits)
    largest = max(entries)
    if largest.is_png:
        limits.check_memory(largest.length, is_all=False)
        stream.seek(largest.place)
        decoded = png.read(BytesIO(stream.read(largest.length)), limits)
    else:
        decoded = pillow_reader.read(_alone(stream, largest), limits)
    if len(entries) > 1:
        notice = f"{limits.name} has {len(entries)} pictures; the largest is used"
        decoded = decoded._replace(notices=(*decoded.notices, notice))
    return decoded


def _entries(stream: BinaryIO, limits: Limits) -> list[_Entry]:
    """List the pictures, by their own headers: the list of the file may say other sizes."""
    stream.seek(0)
    head = stream.read(_HEADER)
    count = struct.unpack("<H", head[4:6])[0] if len(head) == _HEADER else 0
    listed = stream.read(_ENTRY * count)
    entries = []
    for at in range(0, len(listed) - _ENTRY + 1, _ENTRY):
        bits, length, place = struct.unpack_from("<HII", listed, at + 6)
        stream.seek(place)
        start = stream.read(_ICON_START)
        if len(start) < _ICON_START or length > _MOST_BYTES:
            continue
        is_png = start.startswith(png.SIGNATURE)
        if is_png:
            width, height = struct.unpack(">II", start[16:24])
            min_bytes = width * height // 8 // DEFLATE
        else:  # the height counts the mask, too
            width, height = struct.unpack("<ii", start[4:12])
            height = abs(height) // 2
            min_bytes = least_bytes.rows(width, height, struct.unpack_from("<H", start, 14)[0])
        if width > 0 and height > 0:
            limits.check_held(width, height, min_bytes)
            limits.check_pixels(width, height)
            entries.append(_Entry(width * height, bits, place, length, is_png))
    if not entries:
        raise DamageError("it has no picture")
    return entries


def _alone(stream: BinaryIO, entry: _Entry) -> BytesIO:
    """Return an icon file of one picture, which is not a PNG.

    Raises
    ------
    DamageError
        If the file ends within the picture: Pillow would take its last rows for its mask.
    """
    there = stream.seek(0, os.SEEK_END) - entry.place
    stream.seek(entry.place)
    start = stream.read(_BITMAP_HEADER)
    width, height = struct.unpack("<ii", start[4:12])
    height = abs(height) // 2
    colors, mask_row = _bitmap_bytes(start) or (entry.length, 0)
    # Pillow writes the rows of a mask without the bytes that fill them up to 4.
    is_bare = entry.length == colors + (width + 7) // 8 * height
    row = (width + 7) // 8 if is_bare and mask_row else mask_row
    needed = colors + row * height
    if there < needed:
        raise DamageError(f"its picture ends after {there:,} of {needed:,} bytes")
    stream.seek(entry.place)
    content = [stream.read(colors)]
    content += (stream.read(row).ljust(mask_row, b"\0") for _ in range(height if row else 0))
    bitmap = b"".join(content)
    sides = (width % 256 if width <= 256 else 0, height % 256)
    listed = struct.pack("<BBBBHHII", *sides, 0, 0, 1, entry.bits, len(bitmap), _HEADER + _ENTRY)
    return BytesIO(signatures.ICO + struct.pack("<H", 1) + listed + bitmap)


def _bitmap_bytes(head: bytes) -> tuple[int, int] | None:
    """Return the bytes of a bitmap before its mask, and of a row of that, 0 if it has alpha.

    Return None if they do not follow from its header.
    """
    if len(head) < _BITMAP_HEADER:
        return None
    size, width, height, _, bits, compression = struct.unpack_from("<IiiHHI", head)
    if compression not in (_UNCOMPRESSED, _BITFIELDS):
        return None
    (used,) = struct.unpack_from("<I", head, 32)
    palette = 4 * (used or 1 << bits) if bits <= 8 else 0
    masks = _MASKS if compression == _BITFIELDS and size == _BITMAP_HEADER else 0
    row, mask_row = ((width * depth + 31) // 32 * 4 for depth in (bits, 1))
    before = size + masks + palette + row * (abs(height) // 2)
    return before, 0 if bits == _WITH_ALPHA else mask_row
