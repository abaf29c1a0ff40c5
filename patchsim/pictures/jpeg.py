"""How JPEG files are read: by Pillow, if they have no more scans than pictures have."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

from patchsim.errors import InputError
from patchsim.pictures import coded_size, least_bytes, metadata, pillow_reader
from patchsim.pictures.limits import Decoded, Limits

SIGNATURE = b"\xff\xd8\xff"

_BLOCK = 1 << 20  # bytes that are looked through at a time
# Each scan of a progressive JPEG visits all pixels, even where it holds no more than two bytes.
# Encoders write 10 to 30; libtiff decodes 100.
_MOST_SCANS = 100
_HUFFMAN = (0xC0, 0xC1, 0xC2)  # kinds of frames whose codes are Huffman's
_READ = (*_HUFFMAN, 0xC9, 0xCA)
_MOST_SEGMENTS = 10_000
_SCAN = b"\xff\xda"
# A marker within the data of a scan; a stuffed byte and a restart are none.
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")


def read(stream: BinaryIO, limits: Limits) -> Decoded:
    """Read a JPEG.

    Raises
    ------
    InputError
        If the picture is too large, or has too many scans.
    Exception
        If the file is damaged.
    """
    check_scans(stream, limits)
    frame = _Walk(stream, 0, None).frame()
    if frame is not None and frame.kind in _HUFFMAN:
        least = least_bytes.of_jpeg(frame.width, frame.height)
        limits.check_held(frame.width, frame.height, least)
    try:
        return pillow_reader.read(stream, limits)
    except (OSError, SyntaxError, ValueError):
        if frame is None or (frame.kind in _READ and frame.bits == 8):
            raise
        kind = "lossless or hierarchical JPEG"
        if frame.bits != 8:
            kind = f"JPEG of {frame.bits} bits a channel"
        raise InputError(
            f"{limits.name} is a {kind}, which cannot be read; convert it to PNG"
        ) from None


def check_scans(
    stream: BinaryIO, limits: Limits, place: int = 0, length: int | None = None
) -> None:
    """Check the number of scans of a JPEG that begins at a place of a stream.

    Raises
    ------
    InputError
        If it is more than 100.
    """
    if _occurrences(stream, place, length) <= _MOST_SCANS:
        return
    # Small pictures of it in its header have scans, too, and further pictures may follow.
    scans = _Walk(stream, place, length).scans(limits)
    if scans > _MOST_SCANS:
        raise InputError(
            f"{limits.name} is a JPEG of more than {_MOST_SCANS} scans, which would take long to"
            " decode;\nif you trust it, convert it to PNG"
        )


def _occurrences(stream: BinaryIO, place: int, length: int | None) -> int:
    """Count the bytes that begin a scan, wherever they are."""
    stream.seek(place)
    count, last, left = 0, b"", length
    while block := stream.read(_BLOCK if left is None else min(_BLOCK, left)):
        count += (last + block).count(_SCAN)
        last = block[-1:]
        left = None if left is None else left - len(block)
    return count


class _Frame(NamedTuple):
    """The header of a frame: the byte of its marker, the bits of a channel, and its size."""

    kind: int
    bits: int
    height: int
    width: int


@dataclass
class _Walk:
    """A walk from marker to marker."""

    stream: BinaryIO
    place: int
    length: int | None

    def frame(self) -> _Frame | None:
        """Return the header of the frame; None if there is none before the first scan."""
        at = self.place + 2
        for _ in range(_MOST_SEGMENTS):
            self.stream.seek(at)
            head = self.stream.read(9)
            if len(head) < 9 or head[0] != 0xFF or head[:2] == _SCAN:
                return None
            if head[1] in coded_size.STARTS_OF_FRAME:
                return _Frame(head[1], *struct.unpack_from(">BHH", head, 4))
            if head[1] in (0xFF, 0x01) or 0xD0 <= head[1] <= 0xD8:
                at += 1 if head[1] == 0xFF else 2
                continue
            at += 2 + int.from_bytes(head[2:4], "big")
        return None

    def scans(self, limits: Limits) -> int:
        """Count the scans up to the end of the picture, or to one more than are allowed."""
        end = None if self.length is None else self.place + self.length
        at, count, between = self.place + 2, 0, 0
        while end is None or at < end:
            self.stream.seek(at)
            head = self.stream.read(4)
            if len(head) < 4 or head[0] != 0xFF or head[1] == 0xD9:
                break
            if head[1] in (0xFF, 0x01) or 0xD0 <= head[1] <= 0xD8:
                at += 1 if head[1] == 0xFF else 2
                continue
            segment = 2 + int.from_bytes(head[2:], "big")
            at += segment
            if head[:2] != _SCAN:
                between += segment
                metadata.check(limits, between)
                continue
            count += 1
            if count > _MOST_SCANS:
                break
            at = self._end_of_scan(at)
        return count

    def _end_of_scan(self, at: int) -> int:
        """Return where the next marker is behind the header of a scan."""
        self.stream.seek(at)
        while block := self.stream.read(_BLOCK):
            found = _MARKER.search(block)
            if found:
                return at + found.start()
            if len(block) < _BLOCK:
                return at + len(block)
            at += len(block) - 1  # a marker may begin with its last byte
            self.stream.seek(at)
        return at
