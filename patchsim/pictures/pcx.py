"""How PCX files are read: by Pillow, once bytes without runs are packed as runs of one.

GraphicsMagick writes lines that are not packed, and old programs runs that go on into the next
line. Pillow takes both for damage, or misreads them.
"""

from __future__ import annotations

import io
import os
import struct
from typing import BinaryIO

import numpy as np

from patchsim.errors import DamageError
from patchsim.pictures import pillow_reader
from patchsim.pictures.limits import Decoded, Limits

_HEADER, _PALETTE = 128, 769  # bytes
_RUN, _ONE = 0xC0, 0xC1  # the upper bits of a byte that stands before the value of a run
_BYTES = 6  # at the peak for each byte of the pixels: unpacked, packed one by one


def read(stream: BinaryIO, limits: Limits) -> Decoded:
    """Read a PCX.

    Raises
    ------
    InputError
        If the picture is too large.
    Exception
        If the file is damaged.
    """
    stream.seek(2)
    is_packed = stream.read(1) == b"\1"
    if not is_packed:
        return pillow_reader.read(_with_short_runs(stream, limits, is_packed=False), limits)
    try:
        return pillow_reader.read(stream, limits)
    except OSError:
        return pillow_reader.read(_with_short_runs(stream, limits, is_packed=True), limits)


def _with_short_runs(stream: BinaryIO, limits: Limits, *, is_packed: bool) -> BinaryIO:
    """Return the same picture with each byte as a run of its own."""
    stream.seek(0)
    header = stream.read(_HEADER)
    left, top, right, bottom = struct.unpack_from("<4H", header, 4)
    planes, line_bytes = struct.unpack_from("<BH", header, 65)
    limits.check_pixels(right - left + 1, bottom - top + 1)
    count = (bottom - top + 1) * planes * line_bytes
    size = stream.seek(0, os.SEEK_END)
    limits.check_memory(_BYTES * count + size)
    stream.seek(_HEADER)
    packed = stream.read()
    unpacked = _unpacked(packed, count) if is_packed else packed
    if len(unpacked) < count:
        raise DamageError(f"its lines end after {len(unpacked):,} of {count:,} bytes")
    runs = np.full((count, 2), _ONE, np.uint8)
    runs[:, 1] = np.frombuffer(unpacked, np.uint8, count)
    return io.BytesIO(header + runs.tobytes() + packed[-_PALETTE:])


def _unpacked(packed: bytes, count: int) -> bytearray:
    """Return the first bytes that runs stand for, this many if there are as many."""
    unpacked, place = bytearray(), 0
    while len(unpacked) < count and place + 1 < len(packed):
        value = packed[place]
        if value >= _RUN:
            unpacked += packed[place + 1 : place + 2] * (value - _RUN)
            place += 2
        else:
            unpacked.append(value)
            place += 1
    return unpacked
