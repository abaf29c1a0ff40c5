"""Reads size and colours from the header of a JPEG XL (ISO/IEC 18181-1, D.2 and D.3)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import NamedTuple

from patchsim.errors import DamageError

_SIGNATURE = b"\xff\x0a"
_MOST = 4096  # bytes of the codestream that are looked at
_KEY_BITS = 2048  # of a compressed profile, by which profiles are told apart
_SRGB = (1, 1, 13)  # white point D65, primaries and transfer function of sRGB
_RGB, _GREY, _XYB = 0, 1, 2
_CUSTOM = 2
_ALPHA, _SPOT, _CFA = 0, 2, 5  # types of extra channels
_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))


class Header(NamedTuple):
    """The size and colours that a header states.

    Attributes
    ----------
    height, width : int
    colors : bytes or None
        What tells the colour space from others if it is not sRGB; None if it is.
    """

    height: int
    width: int
    colors: bytes | None


def read(data: bytes) -> Header:
    """Read the header of a file from its first bytes.

    Raises
    ------
    DamageError
        If there is none.
    """
    at = _codestream(data)
    if data[at : at + 2] != _SIGNATURE or len(data) < at + 12:
        raise DamageError("it has no header of a JPEG XL")
    bits = _Bits(data[at + 2 : at + 2 + _MOST])
    height, width = bits.size()
    return Header(height, width, _colors(bits))


class _Bits:
    """The fields of a header, read bit by bit."""

    def __init__(self, data: bytes) -> None:
        self._left = int.from_bytes(data, "little")

    def take(self, count: int) -> int:
        value, self._left = self._left & (1 << count) - 1, self._left >> count
        return value

    def peek(self, count: int) -> int:
        return self._left & (1 << count) - 1

    def one_of(self, *ways: tuple[int, int]) -> int:
        """Read a number in one of four ways: a constant, and how many bits are added to it."""
        constant, count = ways[self.take(2)]
        return constant + self.take(count)

    def enum(self) -> int:
        return self.one_of((0, 0), (1, 0), (2, 4), (18, 6))

    def size(self) -> tuple[int, int]:
        is_small = self.take(1)

        def side() -> int:
            if is_small:
                return 8 * (self.take(5) + 1)
            return self.one_of((1, 9), (1, 13), (1, 18), (1, 30))

        return self._with_ratio(side)

    def preview(self) -> None:
        is_small = self.take(1)

        def side() -> int:
            if is_small:
                return 8 * self.one_of((16, 0), (32, 0), (1, 5), (33, 9))
            return self.one_of((1, 6), (65, 8), (321, 10), (1345, 12))

        self._with_ratio(side)

    def _with_ratio(self, side: Callable[[], int]) -> tuple[int, int]:
        height = side()
        ratio = self.take(3)
        if ratio == 0:
            return height, side()
        across, down = _RATIOS[ratio - 1]
        return height, height * across // down

    def depth(self) -> None:
        if self.take(1):  # floats
            self.one_of((32, 0), (16, 0), (24, 0), (1, 6))
            self.take(4)
        else:
            self.one_of((8, 0), (10, 0), (12, 0), (1, 6))

    def extra_channel(self) -> None:
        if self.take(1):  # alpha of 8 bits
            return
        kind = self.enum()
        self.depth()
        self.one_of((0, 0), (3, 0), (4, 0), (1, 3))
        self.take(8 * self.one_of((0, 0), (0, 4), (16, 5), (48, 10)))  # its name
        if kind == _ALPHA:
            self.take(1)
        elif kind == _SPOT:
            self.take(4 * 16)
        elif kind == _CFA:
            self.one_of((1, 0), (0, 2), (3, 4), (19, 8))

    def point(self) -> None:
        for _ in range(2):
            self.one_of((0, 19), (524288, 19), (1048576, 20), (2097152, 21))


def _colors(bits: _Bits) -> bytes | None:
    """Return what tells the colours from those of sRGB, behind the size."""
    if bits.take(1):  # all is as by default
        return None
    if bits.take(1):  # fields that most files lack
        bits.take(3)
        if bits.take(1):
            bits.size()
        if bits.take(1):
            bits.preview()
        if bits.take(1):
            bits.one_of((100, 0), (1000, 0), (1, 10), (1, 30))
            bits.one_of((1, 0), (1001, 0), (1, 8), (1, 10))
            bits.one_of((0, 0), (0, 3), (0, 16), (0, 32))
            bits.take(1)
    bits.depth()
    bits.take(1)
    for _ in range(bits.one_of((0, 0), (1, 0), (2, 4), (1, 12))):
        bits.extra_channel()
    bits.take(1)
    if bits.take(1):  # sRGB
        return None
    start = bits.peek(_KEY_BITS).to_bytes(_KEY_BITS // 8, "little")
    if bits.take(1):  # an ICC profile follows behind the header, compressed
        return start
    return None if _is_srgb(bits) else start[:32]


def _is_srgb(bits: _Bits) -> bool:
    space = bits.enum()
    if space not in (_RGB, _GREY):
        return False
    white = bits.enum()
    if white == _CUSTOM:
        return False
    primaries = bits.enum() if space == _RGB else _SRGB[1]
    if primaries == _CUSTOM or bits.take(1):  # or a gamma
        return False
    return (white, primaries, bits.enum()) == _SRGB


def _codestream(data: bytes) -> int:
    """Return where the codestream begins: at once, or in a box ``jxlc`` or the first ``jxlp``."""
    if data[:2] == _SIGNATURE:
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
