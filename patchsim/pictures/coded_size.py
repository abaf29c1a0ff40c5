"""Which size compressed pictures state of themselves, in their first bytes."""

from __future__ import annotations

import struct

from patchsim.errors import DamageError

_STARTS_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_WITHOUT_LENGTH = frozenset(range(0xD0, 0xDA)) | {0x01}
_FOURTEEN_BITS = (1 << 14) - 1


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
        if marker in _STARTS_OF_FRAME and at + 9 <= len(data):
            height, width = struct.unpack_from(">HH", data, at + 5)
            return height, width
        at += 2 + struct.unpack_from(">H", data, at + 2)[0]
    raise DamageError("a strip or tile is no JPEG")


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
