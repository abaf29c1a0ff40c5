"""Which size compressed pictures state of themselves, in their first bytes."""

from __future__ import annotations

import struct
from typing import BinaryIO, NamedTuple

from patchsim.errors import DamageError

STARTS_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {0xF7}  # of JPEG-LS
_WITHOUT_LENGTH = frozenset(range(0xD0, 0xDA)) | {0x01}
_FOURTEEN_BITS = (1 << 14) - 1
_WEBP_CHUNKS, _WEBP_START, _MOST_CHUNKS = 12, 18, 100  # where they begin, and bytes of their start


def of_jpeg(data: bytes) -> tuple[int, int]:
    """Return height and width that the frame header of a JPEG states.

    Raises
    ------
    DamageError
        If there is none.
    """
    at = 0
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            break
        marker = data[at + 1]
        if marker == 0xFF or marker in _WITHOUT_LENGTH:
            at += 1 if marker == 0xFF else 2
            continue
        if marker in STARTS_OF_FRAME and at + 9 <= len(data):
            height, width = struct.unpack_from(">HH", data, at + 5)
            return height, width
        at += 2 + struct.unpack_from(">H", data, at + 2)[0]
    raise DamageError("a strip, tile or frame is no JPEG")


def of_webp(data: bytes) -> tuple[int, int]:
    """Return height and width that the header of a WebP states.

    Raises
    ------
    DamageError
        If there is none.
    """
    kind = data[12:16] if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else b""
    if kind == b"VP8X" and len(data) >= 30:
        width = int.from_bytes(data[24:27], "little") + 1
        return int.from_bytes(data[27:30], "little") + 1, width
    if kind == b"VP8L" and len(data) >= 25:
        bits = int.from_bytes(data[21:25], "little")
        return (bits >> 14 & _FOURTEEN_BITS) + 1, (bits & _FOURTEEN_BITS) + 1
    if kind == b"VP8 " and len(data) >= 30:
        width, height = struct.unpack_from("<HH", data, 26)
        return height & _FOURTEEN_BITS, width & _FOURTEEN_BITS
    raise DamageError("a strip or tile is no WebP")


class WebpFrame(NamedTuple):
    """The frame of a WebP that is no animation: its size, and how it is coded."""

    height: int
    width: int
    is_lossy: bool


def of_webp_frame(stream: BinaryIO) -> WebpFrame | None:
    """Return what the pixels of a WebP state of themselves; None if none are found."""
    at = _WEBP_CHUNKS
    for _ in range(_MOST_CHUNKS):
        stream.seek(at)
        chunk = stream.read(_WEBP_START)
        if chunk[:4] in (b"VP8 ", b"VP8L"):
            height, width = of_webp(b"RIFF\0\0\0\0WEBP" + chunk)
            return WebpFrame(height, width, chunk[:4] == b"VP8 ")
        if len(chunk) < 8 or chunk[:4] == b"ANMF":
            return None
        length = int.from_bytes(chunk[4:8], "little")
        at += 8 + length + length % 2
    return None


def of_gif_frame(data: bytes) -> tuple[int, int]:
    """Return height and width of the first frame of a GIF (GIF89a, 20); 0 if it is further on."""
    if len(data) < 13:
        return 0, 0
    at = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)
    while at + 10 <= len(data) and data[at] == 0x21:  # an extension
        at += 2
        while at < len(data) and data[at]:
            at += 1 + data[at]
        at += 1
    if at + 10 > len(data) or data[at] != 0x2C:
        return 0, 0
    width, height = struct.unpack_from("<HH", data, at + 5)
    return height, width


def of_jpeg2000(data: bytes) -> tuple[int, int]:
    """Return height and width that the codestream of a JPEG 2000 states (ISO/IEC 15444-1, A.5.1).

    Raises
    ------
    DamageError
        If there is none.
    """
    at = data.find(b"\xff\x4f\xff\x51")
    if at < 0 or at + 24 > len(data):
        raise DamageError("it has no header of a JPEG 2000")
    width, height, left, top = struct.unpack_from(">IIII", data, at + 8)
    return height - top, width - left


def of_codestream(data: bytes) -> tuple[int, int, int]:
    """Return height, width and samples a pixel that a JPEG 2000 without a file around it states.

    Raises
    ------
    DamageError
        If it is none.
    """
    if not data.startswith(b"\xff\x4f\xff\x51") or len(data) < 42:
        raise DamageError("a strip or tile is no JPEG 2000")
    return *of_jpeg2000(data), int.from_bytes(data[40:42], "big")
