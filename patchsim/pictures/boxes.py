"""The boxes of which AVIF, HEIC, JPEG XL and JPEG 2000 files are made (ISO/IEC 14496-12, 4.2)."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from patchsim.errors import DamageError

_MOST = 1000  # boxes that are looked at
_MOST_PROFILE = 1 << 24  # bytes
_ENUMERATED, _RESTRICTED, _ANY = 1, 2, 3  # methods of a colour specification: a number, profiles
_SRGB, _GREY = 16, 17  # numbers of colour spaces


class Box(NamedTuple):
    """A box: its kind, where its content begins and where it says that it ends."""

    kind: bytes
    begin: int
    end: int


def inside(stream: BinaryIO, begin: int, end: int) -> Iterator[Box]:
    """Yield the boxes that lie between two places of a stream, one after the other."""
    for _ in range(_MOST):
        stream.seek(begin)
        head = stream.read(16)
        if begin + 8 > end or len(head) < 8:
            return
        length, kind = struct.unpack_from(">I4s", head)
        start = 8
        if length == 1 and len(head) == 16:
            (length,) = struct.unpack_from(">Q", head, 8)
            start = 16
        if length == 0:  # to the end
            length = end - begin
        if length < start:
            return
        yield Box(kind, begin + start, begin + length)
        begin += length


def check_whole(stream: BinaryIO) -> None:
    """Check that no box ends beyond the end of a file.

    Raises
    ------
    DamageError
        If one does.
    """
    size = stream.seek(0, os.SEEK_END)
    for box in inside(stream, 0, size):
        if box.end > size:
            raise DamageError(f"it ends after {size:,} of at least {box.end:,} bytes")


def jpeg2000_profile(stream: BinaryIO) -> tuple[bytes, int]:
    """Return the ICC profile of a JPEG 2000, and where the box of its colours has its content.

    The profile is empty without one (ISO/IEC 15444-1, I.5.3.3).
    """
    size = stream.seek(0, os.SEEK_END)
    for outer in inside(stream, 0, size):
        if outer.kind != b"jp2h":
            continue
        for box in inside(stream, outer.begin, min(outer.end, size)):
            if box.kind != b"colr":
                continue
            stream.seek(box.begin)
            content = stream.read(min(box.end - box.begin, _MOST_PROFILE))
            # Behind the method stand precedence and approximation. The first that is known counts.
            if content[:1] in (bytes([_RESTRICTED]), bytes([_ANY])):
                return content[3:], box.begin
            if content[:1] == bytes([_ENUMERATED]):
                return b"", box.begin
    return b"", 0


def with_enumerated_colors(content: bytes, profile: bytes, place: int) -> bytes:
    """Return a JPEG 2000 whose box of colours, at a place, names sRGB or grey, not a profile.

    OpenJPEG in imagecodecs would apply the profile.
    """
    space = _GREY if profile[16:20] == b"GRAY" else _SRGB
    colors = struct.pack(">BxxI", _ENUMERATED, space)
    return content[:place] + colors + content[place + len(colors) :]
