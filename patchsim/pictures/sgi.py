"""How SGI pictures are read, of 8 and 16 bits; Pillow cuts these to 8, and refuses some runs."""

from __future__ import annotations

import os
import struct
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from patchsim.errors import DamageError, InputError
from patchsim.pictures.limits import Decoded, Limits, to_8_bit_alpha

_HEADER = struct.Struct(">HBBHHHH")
_OFFSET = 512  # of what follows the header, in bytes
_DEPTHS = (1, 2, 3, 4)  # channels: grey, with alpha, RGB, with alpha


def read(stream: BinaryIO, limits: Limits) -> Decoded:
    """Read an SGI picture, raw or coded in runs.

    Raises
    ------
    InputError
        If the picture is too large, or of more than four channels.
    DamageError
        If the file is damaged.
    """
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    start = stream.read(_HEADER.size)
    if len(start) < _HEADER.size:
        raise DamageError("it has no header")
    _, is_coded, item_bytes, dimensions, width, height, channels = _HEADER.unpack(start)
    height, channels = height if dimensions > 1 else 1, channels if dimensions > 2 else 1
    if item_bytes not in (1, 2) or min(width, height) < 1 or is_coded > 1:
        raise DamageError(f"it has {width}x{height} pixels of {item_bytes} bytes")
    if channels not in _DEPTHS:
        raise InputError(f"{limits.name} is an SGI picture of {channels} channels; save it as .npy")
    channel_bytes = 8 * height if is_coded else width * height * item_bytes
    limits.check_held(width, height, _OFFSET + channels * channel_bytes)
    limits.check_pixels(width, height)
    count = width * height * channels
    limits.check_memory(3 * count * item_bytes + 17 * width * height + size)
    stored = np.dtype(">u2") if item_bytes == 2 else np.dtype("u1")
    stream.seek(_OFFSET)
    content = stream.read()
    shape = channels, height, width
    if is_coded:
        planes = _run_lengths(content, shape, stored)
    else:
        if len(content) < count * item_bytes:
            raise DamageError(f"it has {len(content):,} of {count * item_bytes:,} bytes of pixels")
        planes = np.frombuffer(content, stored, count).reshape(shape)
    # The lowest row comes first, and each channel is a plane of its own.
    values: NDArray[Any] = np.array(
        np.moveaxis(planes, 0, -1)[::-1], stored.newbyteorder("="), order="C"
    )
    if channels in (1, 3):
        return Decoded(values)
    alpha = to_8_bit_alpha(values[..., -1], np.iinfo(values.dtype).max)
    return Decoded(np.ascontiguousarray(values[..., :-1]), alpha)


def _run_lengths(
    content: bytes, shape: tuple[int, int, int], stored: np.dtype[Any]
) -> NDArray[Any]:
    """Decode the rows [C, H, W], whose places in the file a table lists."""
    channels, height, width = shape
    rows = channels * height
    table = np.frombuffer(content[: 8 * rows], ">u4").astype(np.int64)
    if len(table) < 2 * rows:
        raise DamageError("its table of rows is cut short")
    planes = np.empty((rows, width), stored)
    for number, (place, length) in enumerate(zip(table[:rows], table[rows:], strict=True)):
        begin = int(place) - _OFFSET
        coded = content[max(0, begin) : max(0, begin + int(length))]
        codes = np.frombuffer(coded[: len(coded) // stored.itemsize * stored.itemsize], stored)
        planes[number] = _row(codes, width)
    return planes.reshape(shape)


def _row(codes: NDArray[Any], width: int) -> NDArray[Any]:
    """Decode a row; its end may have no mark."""
    row = np.empty(width, codes.dtype)
    x = at = 0
    while x < width:
        if at >= len(codes) or codes[at] & 127 == 0:
            raise DamageError(f"a row of {width} pixels ends after {x}")
        count, is_copied = int(codes[at] & 127), bool(codes[at] & 128)
        taken = codes[at + 1 : at + 1 + (count if is_copied else 1)]
        room = min(count, width - x)
        if len(taken) < (room if is_copied else 1):
            raise DamageError(f"a row of {width} pixels ends after {x}")
        row[x : x + room] = taken[:room] if is_copied else taken[0]
        x += count
        at += 1 + (count if is_copied else 1)
    return row
