"""How PNG files are read: the chunks that count, the transparent value of grey, the depth."""

from __future__ import annotations

import bisect
import io
import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, NamedTuple

from patchsim.errors import DamageError
from patchsim.pictures import metadata, orientation, pillow_reader
from patchsim.pictures.limits import DEFLATE, Decoded, Limits
from patchsim.types import Pixels

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY, _PALETTE = 0, 3  # colour types
_CHANNELS = {2: 3, 4: 2, 6: 4}  # by the colour type
_DEEP = 16
_REST = b"REST"  # what follows the chunks that are looked at
_MOST_CHUNKS = 100_000  # that are looked at
_BUFFER = 1 << 16  # bytes that are read at a time
_HEAD, _CRC = 8, 4  # bytes before and behind the data of a chunk
_MOST_PROFILE = 1 << 24  # bytes
# The keywords of texts that hold the orientation. Other texts can be larger than Pillow takes.
_PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", _REST)
_LARGE = (b"IDAT", _REST)  # read in pieces
_METADATA = (b"eXIf", b"zTXt", b"iTXt")
_EXIF, _XMP = b"Raw profile type exif\0", b"XML:com.adobe.xmp\0\0"


class _Chunk(NamedTuple):
    """A chunk of a file: its name, where it begins, its length in all, the start of its data."""

    name: bytes
    place: int
    length: int
    data: bytes


def is_deep(start: bytes) -> bool:
    """Return whether a file begins like a PNG that libpng decodes: colour of 16 bits."""
    head = start[len(SIGNATURE) + _HEAD :][:10]  # width, height, bits, colour type
    is_long = start.startswith(SIGNATURE) and len(head) == 10
    return is_long and head[8] == _DEEP and head[9] != _GREY


def read(stream: BinaryIO, limits: Limits) -> Decoded:
    """Read the first picture of a PNG.

    Texts and the frames of an animation are left out: their faults, or their size, must not matter.
    So is the colour profile, which is read apart.

    Raises
    ------
    InputError
        If the picture is too large, or packages that read its depth are not installed.
    Exception
        If the file is damaged; the type depends on the decoder.
    """
    stream.seek(0)
    if stream.read(len(SIGNATURE)) != SIGNATURE:
        raise DamageError("its first bytes were changed, perhaps as ends of lines")
    chunks = _joined(_chunks(stream))
    if not chunks or chunks[0].name != b"IHDR" or len(chunks[0].data) < 13:
        raise DamageError("it does not begin with a header")
    width, height, bits, color = struct.unpack_from(">IIBB", chunks[0].data)
    bits_each = bits * _CHANNELS.get(color, 1)
    limits.check_held(width, height, width * height * bits_each // 8 // DEFLATE)
    limits.check_pixels(width, height)
    transparent = None
    kept = _kept(chunks)
    if color == _GREY:
        values = [chunk.data for chunk in kept if chunk.name == b"tRNS" and len(chunk.data) == 2]
        transparent = int.from_bytes(values[0], "big") if values else None
        kept = [chunk for chunk in kept if chunk.name != b"tRNS"]
    metadata.check(limits, sum(chunk.length for chunk in kept if chunk.name not in _LARGE))
    image, counted = pillow_reader.open_image(_parts(stream, kept), limits)
    with image:
        if bits == _DEEP and color != _GREY:
            from patchsim.pictures import png16  # few files are such

            kept = [chunk for chunk in kept if chunk.name in _PIXELS]
            decoded = png16.png(_parts(stream, kept), width, height, limits)
            profile = _profile(stream, chunks)
            return decoded._replace(orientation=orientation.of_image(image), profile=profile)
        decoded = pillow_reader.decode(image, limits, counted)
        is_interlaced = chunks[0].data[12] == 1
        is_whole = chunks[-1].name != _REST
        if is_whole and _can_lack_rows(decoded.pixels, is_interlaced, color == _PALETTE):
            expected = _inflated_bytes(width, height, bits_each, is_interlaced=is_interlaced)
            _check_inflated(stream, expected)
        decoded = decoded._replace(profile=_profile(stream, chunks))
    if transparent is not None:
        if bits < 8:
            transparent = (transparent & (1 << bits) - 1) * (255 // ((1 << bits) - 1))
        transparent &= 255 if bits <= 8 else 65535
        decoded = decoded._replace(alpha=pillow_reader.alpha_of(decoded.pixels, transparent))
    animated = [chunk.data for chunk in chunks if chunk.name == b"acTL"]
    if animated and int.from_bytes(animated[0][:4], "big") > 1:
        notice = f"{limits.name} has several frames; the first is used"
        decoded = decoded._replace(notices=(notice,))
    return decoded


def _can_lack_rows(pixels: Pixels, is_interlaced: bool, is_palette: bool) -> bool:
    """Return whether the last rows look like those that Pillow leaves empty, as 0, without a word.

    It does so where the compressed data end properly, but too early.
    """
    ends = [*pixels[-2:], *([pixels[-1, 1::2]] if is_interlaced else [])]
    return any(not row.any() or (is_palette and (row == row[:1]).all()) for row in ends)


def _inflated_bytes(width: int, height: int, bits: int, *, is_interlaced: bool) -> int:
    """Return the bytes of all rows with their filters' bytes (PNG specification, section 7)."""
    passes = [(0, 0, 1, 1)]
    if is_interlaced:  # x, y of the first pixel, steps (section 8.2)
        passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4),
                  (1, 0, 2, 2), (0, 1, 1, 2)]  # fmt: skip
    total = 0
    for x, y, step_x, step_y in passes:
        cols, rows = -(-(width - x) // step_x), -(-(height - y) // step_y)
        total += max(rows, 0) * (1 + -(-cols * bits // 8)) if cols > 0 else 0
    return total


def _check_inflated(stream: BinaryIO, expected: int) -> None:
    """Refuse data that inflate to less than the rows take."""
    inflating, length = zlib.decompressobj(), 0
    for chunk in _chunks(stream):
        if chunk.name != b"IDAT":
            continue
        stream.seek(chunk.place + _HEAD)
        left = chunk.length - _HEAD - _CRC
        while left > 0 and length < expected and not inflating.eof:
            data = stream.read(min(left, _BUFFER))
            if not data:
                break
            left -= len(data)
            length += len(inflating.decompress(data))
    if length < expected:
        raise DamageError(f"its pixels end after {length:,} of {expected:,} bytes")


class About(NamedTuple):
    """The chunks before the pixels, as far as readers by rows need them."""

    bits: int
    color: int
    is_interlaced: bool
    has_transparent_value: bool
    orientation: int
    profile: bytes


def about(stream: BinaryIO, limits: Limits) -> About:
    """Read what a PNG tells of itself; no pixel is decoded.

    Raises
    ------
    DamageError
        If it has no header.
    """
    chunks = _joined(_chunks(stream))
    if not chunks or chunks[0].name != b"IHDR" or len(chunks[0].data) < 13:
        raise DamageError("it does not begin with a header")
    _, _, bits, color, _, _, interlace = struct.unpack_from(">IIBBBBB", chunks[0].data)
    image, _ = pillow_reader.open_image(_parts(stream, _kept(chunks)), limits)
    with image:
        turned = orientation.of_image(image)
    has_value = any(chunk.name == b"tRNS" for chunk in chunks)
    return About(bits, color, interlace != 0, has_value, turned, _profile(stream, chunks))


def _profile(stream: BinaryIO, chunks: list[_Chunk]) -> bytes:
    """Return the ICC profile of a file, or what stands in its place; empty without one."""
    profile = next((chunk for chunk in chunks if chunk.name == b"iCCP"), None)
    if profile is None or profile.length > _MOST_PROFILE:
        return b""
    stream.seek(profile.place + _HEAD)
    content = stream.read(profile.length - _HEAD - _CRC)
    _, _, packed = content.partition(b"\0")  # behind a name
    try:
        return zlib.decompressobj().decompress(packed[1:], _MOST_PROFILE)  # behind the method
    except zlib.error:
        return content


def _kept(chunks: list[_Chunk]) -> list[_Chunk]:
    """Return the chunks that count; those with the orientation come before the pixels."""
    kept = [chunk for chunk in chunks if _is_needed(chunk)]
    return sorted(kept, key=lambda chunk: chunk.name not in (b"IHDR", *_METADATA))


def _is_needed(chunk: _Chunk) -> bool:
    """Return whether a chunk holds pixels, transparency or the orientation."""
    if chunk.name == b"zTXt":
        return chunk.data.startswith(_EXIF)
    if chunk.name == b"iTXt":
        return chunk.data.startswith(_XMP)
    is_critical = chunk.name[:1].isupper()
    return is_critical or chunk.name in (b"tRNS", b"eXIf")


def _chunks(stream: BinaryIO) -> Iterator[_Chunk]:
    """Yield the chunks of a file up to the last, as far as there are whole heads."""
    size = stream.seek(0, os.SEEK_END)
    place = len(SIGNATURE)
    for _ in range(_MOST_CHUNKS):
        if place + _HEAD > size:
            return
        stream.seek(place)
        head = stream.read(_HEAD + len(_EXIF))
        data_length, name = struct.unpack(">I4s", head[:_HEAD])
        length = min(_HEAD + data_length + _CRC, size - place)
        yield _Chunk(name, place, length, head[_HEAD : _HEAD + data_length])
        place += length
        if name == b"IEND":
            return
    yield _Chunk(_REST, place, size - place, b"")


def _joined(chunks: Iterable[_Chunk]) -> list[_Chunk]:
    """Return chunks in which those of pixels that follow each other are one.

    Writers cut the pixels of a large picture into thousands of them.
    """
    joined: list[_Chunk] = []
    for chunk in chunks:
        if chunk.name == b"IDAT" and joined and joined[-1].name == b"IDAT":
            joined[-1] = joined[-1]._replace(length=joined[-1].length + chunk.length)
        else:
            joined.append(chunk)
    return joined


def _parts(stream: BinaryIO, chunks: list[_Chunk]) -> BinaryIO:
    return io.BufferedReader(_Parts(stream, chunks), _BUFFER)


class _Parts(io.RawIOBase):
    """The signature of a file and some of its chunks, as one file."""

    def __init__(self, stream: BinaryIO, chunks: list[_Chunk]) -> None:
        self._stream = stream
        self._parts = [(0, 0, len(SIGNATURE))]  # where a part begins here and there, and its length
        for chunk in chunks:
            here, there, length = self._parts[-1]
            if there + length == chunk.place:
                self._parts[-1] = (here, there, length + chunk.length)
            else:
                self._parts.append((here + length, chunk.place, chunk.length))
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        here, _, length = self._parts[-1]
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._place}.get(whence, here + length)
        self._place = max(0, start + offset)
        return self._place

    def readinto(self, buffer: Any, /) -> int:
        index = bisect.bisect_right(self._parts, self._place, key=lambda one: one[0]) - 1
        here, there, length = self._parts[index]
        within = self._place - here
        self._stream.seek(there + within)
        data = self._stream.read(max(0, min(len(buffer), length - within)))
        buffer[: len(data)] = data
        self._place += len(data)
        return len(data)
