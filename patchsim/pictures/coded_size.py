"""Which size compressed pictures state of themselves, in their first bytes."""

from __future__ import annotations

import struct

from patchsim.errors import DamageError

_STARTS_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {0xF7}  # of JPEG-LS
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


def of_jpegxl(data: bytes) -> tuple[int, int]:
    """Return height and width that the header of a JPEG XL states (ISO/IEC 18181-1, D.2).

    Raises
    ------
    DamageError
        If there is none.
    """
    at = _jxl_codestream(data)
    if data[at : at + 2] != b"\xff\x0a" or len(data) < at + 12:
        raise DamageError("it has no header of a JPEG XL")
    bits = int.from_bytes(data[at + 2 : at + 12], "little")

    def take(count: int) -> int:
        nonlocal bits
        value, bits = bits & (1 << count) - 1, bits >> count
        return value

    is_small = take(1)

    def side() -> int:
        if is_small:
            return 8 * (take(5) + 1)
        return take((9, 13, 18, 30)[take(2)]) + 1

    height = side()
    ratio = take(3)
    if ratio == 0:
        return height, side()
    across, down = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))[ratio - 1]
    return height, height * across // down


def _jxl_codestream(data: bytes) -> int:
    """Return where the codestream begins: at once, or in a box ``jxlc`` or the first ``jxlp``."""
    if data[:2] == b"\xff\x0a":
        return 0
    at = 0
    while at + 16 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        head = 16 if length == 1 else 8
        if kind in (b"jxlc", b"jxlp"):
            start: int = at + head + 4 * (kind == b"jxlp")
            return start
        if length == 1:
            (length,) = struct.unpack_from(">Q", data, at + 8)
        if length < head:
            break
        at += length
    raise DamageError("it has no header of a JPEG XL")
