"""How an icon file (ICO) is read: the largest of its pictures."""

from __future__ import annotations

import struct
from dataclasses import replace
from io import BytesIO
from typing import BinaryIO, NamedTuple

from patchsim.errors import DamageError
from patchsim.pictures import least_bytes, pillow_reader, png
from patchsim.pictures.limits import Decoded, Limits

SIGNATURE = b"\0\0\1\0"

_HEADER, _ENTRY, _ICON_START = 6, 16, 24  # bytes
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
        decoded = replace(decoded, notices=(*decoded.notices, notice))
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
            least = width * height // 8 // least_bytes.DEFLATE
        else:  # the height counts the mask, too
            width, height = struct.unpack("<ii", start[4:12])
            height = abs(height) // 2
            least = least_bytes.rows(width, height, struct.unpack_from("<H", start, 14)[0])
        if width > 0 and height > 0:
            limits.check_held(width, height, least)
            limits.check_pixels(width, height)
            entries.append(_Entry(width * height, bits, place, length, is_png))
    if not entries:
        raise DamageError("it has no picture")
    return entries


def _alone(stream: BinaryIO, entry: _Entry) -> BytesIO:
    """Return an icon file of one picture, which is not a PNG."""
    stream.seek(entry.place)
    content = stream.read(entry.length)
    width, height = struct.unpack("<ii", content[4:12])
    sides = (width % 256 if width <= 256 else 0, abs(height) // 2 % 256)
    listed = struct.pack("<BBBBHHII", *sides, 0, 0, 1, entry.bits, len(content), _HEADER + _ENTRY)
    return BytesIO(SIGNATURE + struct.pack("<H", 1) + listed + content)
