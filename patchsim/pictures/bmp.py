"""How BMP files are read: the kinds that Pillow lacks or whose transparency it drops."""

from __future__ import annotations

import os
import struct
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from patchsim.errors import DamageError, InputError
from patchsim.pictures import least_bytes, pillow_reader
from patchsim.pictures.limits import Decoded, Limits, to_8_bit_alpha
from patchsim.types import Pixels

_FILE_HEADER = 14  # bytes
_OS2_V1, _OS2_V2, _WITH_ALPHA_MASK = 12, 64, 56  # bytes of the header that follows
_RGB, _RLE8, _RLE4, _BITFIELDS, _JPEG, _PNG, _ALPHA_BITFIELDS = range(7)  # compressions
_V5, _EMBEDDED = 124, b"DEBM"  # bytes of the header; the colour space "MBED", an ICC profile
_MOST_PROFILE = 1 << 24  # bytes
_STRIP = 64  # rows that are converted at a time


class _Header(NamedTuple):
    """The header of a BMP.

    Attributes
    ----------
    size : int
        Its length behind the file's header, which tells its version.
    width, height : int
    is_top_down : bool
    bits : int
        Bits a pixel.
    compression : int
    colors : int
        Entries of the palette; 0 for as many as the bits can count.
    masks : (red, green, blue, alpha)
        The bits of a pixel that belong to each.
    offset : int
        Where the pixels begin, in bytes.
    """

    size: int
    width: int
    height: int
    is_top_down: bool
    bits: int
    compression: int
    colors: int
    masks: tuple[int, int, int, int]
    offset: int


def read(stream: BinaryIO, limits: Limits) -> Decoded:
    """Read a BMP.

    Bits of alpha become the alpha, and so do pixels that run-length coding skips.

    Raises
    ------
    InputError
        If the picture is too large, or of a kind that is not read.
    Exception
        If the file is damaged; the type depends on the decoder.
    """
    header = _header(stream)
    if header is None or _is_pillows(header):
        decoded = pillow_reader.read(stream, limits)
        return decoded if header is None else decoded._replace(profile=_profile(stream))
    return _read_other(stream, header, limits)._replace(profile=_profile(stream))


def _profile(stream: BinaryIO) -> bytes:
    """Return the ICC profile in a BMP of version 5 (BITMAPV5HEADER); empty without one."""
    stream.seek(_FILE_HEADER)
    start = stream.read(_V5)
    if len(start) < _V5 or int.from_bytes(start[:4], "little") != _V5:
        return b""
    kind, place, size = start[56:60], *struct.unpack_from("<II", start, 112)
    if kind != _EMBEDDED or size > _MOST_PROFILE:
        return b""
    stream.seek(_FILE_HEADER + place)
    return stream.read(size)


def _read_other(stream: BinaryIO, header: _Header, limits: Limits) -> Decoded:
    """Read a BMP of a kind that Pillow has not."""
    if header.compression not in (_RLE8, _RLE4):
        min_bytes = least_bytes.rows(header.width, header.height, header.bits)
        limits.check_held(header.width, header.height, min_bytes)
    limits.check_pixels(header.width, header.height)
    kind = (header.compression, header.bits)
    if header.compression in (_BITFIELDS, _ALPHA_BITFIELDS) and header.bits in (16, 32):
        return _of_masks(stream, header, limits)
    if kind in ((_RLE8, 8), (_RLE4, 4), (_RGB, 2)):
        return _of_palette(stream, header, limits)
    held = {_JPEG: "a JPEG in it", _PNG: "a PNG in it"}.get(header.compression)
    raise InputError(
        f"{limits.name} is a BMP with"
        f" {held or f'{header.bits} bits a pixel in compression {header.compression}'}, which"
        " cannot be read; convert it to PNG"
    )


def _header(stream: BinaryIO) -> _Header | None:
    """Read the header; None if it is cut short."""
    stream.seek(0)
    start = stream.read(_FILE_HEADER + 124)
    if len(start) < _FILE_HEADER + _OS2_V1:
        return None
    offset, size = struct.unpack_from("<II", start, 10)
    if size == _OS2_V1:
        width, height, _, bits = struct.unpack_from("<HHHH", start, 18)
        return _Header(
            size=size, width=width, height=height, is_top_down=False, bits=bits, compression=_RGB,
            colors=0, masks=(0, 0, 0, 0), offset=offset,
        )  # fmt: skip
    if size < 40 or len(start) < _FILE_HEADER + 40:
        return None
    width, height, _, bits, compression = struct.unpack_from("<iiHHI", start, 18)
    (colors,) = struct.unpack_from("<I", start, 46)
    masks = struct.unpack_from("<IIII", start.ljust(70, b"\0"), 54)
    if size < _WITH_ALPHA_MASK and compression != _ALPHA_BITFIELDS:
        masks = (*masks[:3], 0)
    return _Header(
        size=size, width=width, height=abs(height), is_top_down=height < 0, bits=bits,
        compression=compression, colors=colors, masks=masks, offset=offset,
    )  # fmt: skip


def _is_pillows(header: _Header) -> bool:
    """Return whether Pillow reads this kind of BMP, or its header is impossible."""
    if header.width <= 0 or header.height == 0:
        return True
    if header.size == _OS2_V2 and header.compression not in (_RGB, _RLE8, _RLE4):
        return False
    return header.compression == _RGB and header.bits in (1, 4, 8, 16, 24, 32)


def _rows(stream: BinaryIO, header: _Header) -> NDArray[np.uint8]:
    """Read the rows [H, bytes] of pixels that are not compressed, in the order of the file."""
    stride = (header.width * header.bits + 31) // 32 * 4
    stream.seek(header.offset)
    content = stream.read(stride * header.height)
    if len(content) < stride * header.height:
        raise DamageError(f"it ends in row {len(content) // stride} of {header.height}")
    return np.frombuffer(content, np.uint8).reshape(header.height, stride)


def _of_masks(stream: BinaryIO, header: _Header, limits: Limits) -> Decoded:
    """Decode pixels whose channels are given by masks; of more than 8 bits they become 16."""
    shifts = [_bits_of(mask) for mask in header.masks]
    if not all(header.masks[:3]):
        raise DamageError("it has no masks of red, green and blue")
    is_deep = max(count for _, count in shifts[:3]) > 8
    dtype, white = (np.uint16, 65535) if is_deep else (np.uint8, 255)
    bytes_each = header.bits // 8 + 3 * np.dtype(dtype).itemsize + 17 * bool(header.masks[3])
    limits.check_memory(header.width * (header.height * bytes_each + _STRIP * 32))
    stored = _rows(stream, header)
    pixels = np.empty((header.height, header.width, 3), dtype)
    opacity = np.empty((header.height, header.width), np.uint32) if header.masks[3] else None
    for top in range(0, header.height, _STRIP):
        strip = stored[top : top + _STRIP].view(f"<u{header.bits // 8}")[:, : header.width]
        for channel, (mask, (shift, count)) in enumerate(zip(header.masks, shifts, strict=True)):
            values = (strip & mask).astype(np.uint64) >> np.uint64(shift)
            if channel < 3:  # scaled as by Pillow, which rounds down
                pixels[top : top + _STRIP, :, channel] = values * white // ((1 << count) - 1)
            elif opacity is not None:
                opacity[top : top + _STRIP] = values
    alpha = None
    if opacity is not None:
        alpha = to_8_bit_alpha(_upright(opacity, header), (1 << shifts[3][1]) - 1)
    return Decoded(_upright(pixels, header), alpha)


def _bits_of(mask: int) -> tuple[int, int]:
    """Return the place of a mask's lowest bit, and how many bits there are from there."""
    if mask == 0:
        return 0, 0
    lowest = (mask & -mask).bit_length() - 1
    count = (mask >> lowest).bit_length()
    if mask != ((1 << count) - 1) << lowest:
        raise DamageError(f"the mask {mask:#x} of a channel has gaps")
    return lowest, count


def _of_palette(stream: BinaryIO, header: _Header, limits: Limits) -> Decoded:
    """Decode indices of 2 bits, or those of run-length coding, and look up their colours."""
    size = stream.seek(0, os.SEEK_END)
    limits.check_memory(header.width * header.height * (1 + 1 + 3 + 1) + size)
    count = header.colors or 1 << header.bits
    stream.seek(_FILE_HEADER + header.size)
    entries = stream.read(4 * min(count, 256))
    table = np.zeros((256, 3), np.uint8)  # Pillow, too, takes what is missing as black
    listed = np.frombuffer(entries[: len(entries) // 4 * 4], np.uint8).reshape(-1, 4)
    table[: len(listed)] = listed[:, 2::-1]
    indices: NDArray[Any]
    is_set: NDArray[Any] | None = None
    if header.compression == _RGB:
        stored = _rows(stream, header)
        shifts = np.array([6, 4, 2, 0], np.uint8)
        indices = (stored[..., None] >> shifts & 3).reshape(header.height, -1)[:, : header.width]
    else:
        stream.seek(header.offset)
        indices, is_set = _run_lengths(stream.read(), header)
    # As in Pillow's pictures, one channel if all is grey.
    is_grey = bool((listed[:, :1] == listed[:, :3]).all())
    pixels: Pixels = table[:, :1][indices] if is_grey else table[indices]
    alpha = None
    if is_set is not None and not is_set.all():
        alpha = _upright(is_set * np.uint8(255), header)
    return Decoded(_upright(pixels, header), alpha)


def _run_lengths(data: bytes, header: _Header) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Decode run-length coding: the indices [H, W] and which pixels it sets."""
    indices = np.zeros((header.height, header.width), np.uint8)
    is_set = np.zeros(indices.shape, bool)
    is_half = header.compression == _RLE4
    x = y = at = 0

    def put(values: NDArray[np.uint8]) -> int:
        room = max(0, min(len(values), header.width - x))
        indices[y, x : x + room] = values[:room]
        is_set[y, x : x + room] = True
        return x + len(values)

    while at + 2 <= len(data) and y < header.height:
        count, value = data[at], data[at + 1]
        at += 2
        if count:  # a run of a value, or of two halves in turn
            pair = [value >> 4, value & 15] if is_half else [value, value]
            x = put(np.resize(np.array(pair, np.uint8), count))
        elif value == 0:  # the end of a row
            x, y = 0, y + 1
        elif value == 1:  # the end of the picture
            return indices, is_set
        elif value == 2:  # some pixels are skipped
            if at + 2 > len(data):
                break
            x, y = x + data[at], y + data[at + 1]
            at += 2
        else:  # as many values as they are
            length = (value + 1) // 2 if is_half else value
            stored = np.frombuffer(data[at : at + length], np.uint8)
            if is_half:
                stored = np.column_stack([stored >> 4, stored & 15]).reshape(-1)
            if len(stored) < value:
                break
            x = put(stored[:value])
            at += length + length % 2
    if not is_set.all():  # without a mark of its end
        raise DamageError(f"it ends in row {y} of {header.height}")
    return indices, is_set


def _upright(values: NDArray[Any], header: _Header) -> NDArray[Any]:
    return values if header.is_top_down else values[::-1]
