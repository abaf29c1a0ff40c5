"""How JPEG files are read: by Pillow, if they have no more scans than pictures have.

Where the data of a scan end early, libjpeg warns and decodes grey, or leaves out detail, and Pillow
does not pass the warning on. `read` notices both.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from itertools import islice
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from patchsim.errors import DamageError, InputError
from patchsim.pictures import coded_size, least_bytes, metadata, pillow_reader
from patchsim.pictures.limits import Decoded, Limits
from patchsim.types import Pixels

_BLOCK = 1 << 20  # bytes that are looked through at a time
# Each scan of a progressive JPEG visits all pixels, even where it holds no more than two bytes.
# Encoders write 10 to 30; libtiff decodes 100.
_MOST_SCANS = 100
_SEQUENTIAL, _PROGRESSIVE = (0xC0, 0xC1), (0xC2, 0xCA)  # kinds of frames
_HUFFMAN = (*_SEQUENTIAL, 0xC2)  # by their codes; the others are arithmetic
_READ = (*_HUFFMAN, 0xC9, 0xCA)
_MOST_SEGMENTS = 10_000
_SCAN, _END = b"\xff\xda", b"\xff\xd9"
_COEFFICIENTS = 64  # of a block
# As many one bits, stuffed, as libjpeg reads ahead of the codes that it needs.
_ONES = b"\xff\x00" * 8
# libjpeg takes what it lacks for 0, which becomes this value by the shift of levels (T.81, A.3.1),
# but for what the conversion of colours rounds.
_FILLED, _ROUNDED = 128, 2
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
    walk = _Walk(stream, 0, None)
    frame = walk.frame()
    if frame is not None and frame.kind in _HUFFMAN:
        min_bytes = least_bytes.of_jpeg(frame.width, frame.height)
        limits.check_held(frame.width, frame.height, min_bytes)
    try:
        return _checked(walk, frame, limits)
    except (OSError, SyntaxError, ValueError):
        if frame is None or (frame.kind in _READ and frame.bits == 8):
            raise
        kind = "lossless or hierarchical JPEG"
        if frame.bits != 8:
            kind = f"JPEG of {frame.bits} bits a channel"
        raise InputError(
            f"{limits.name} is a {kind}, which cannot be read; convert it to PNG"
        ) from None


def _checked(walk: _Walk, frame: _Frame | None, limits: Limits) -> Decoded:
    """Decode a JPEG by Pillow; a notice says that its data are not whole."""
    end = None if frame is None else walk.end_of_only_scan(frame)
    missing = ""
    if end is not None:
        without_end: Any = _WithoutEnd(walk.stream, end)
        try:
            return pillow_reader.read(without_end, limits)
        except (OSError, SyntaxError, ValueError):  # or damaged in a way that is told below
            missing = "its data end before its last pixels"
    elif frame is not None and frame.kind in _READ and walk.has_missing_scans(frame, limits):
        missing = "its last scans are missing"
    decoded = pillow_reader.read(walk.stream, limits)
    if not missing:
        return decoded
    notice = f"{limits.name} is damaged: {missing}; what could be read is used"
    return decoded._replace(notices=(*decoded.notices, notice))


def may_be_filled(pixels: Pixels) -> NDArray[np.bool_]:
    """Return which pixels [..., C] of 8 bits have the values by which libjpeg fills up pictures."""
    distances = abs(pixels.astype(np.int16) - _FILLED)
    is_middle: NDArray[np.bool_] = distances.max(-1) <= _ROUNDED
    return is_middle


def is_truncated(content: bytes, pixels: int) -> bool:
    """Return whether the data of a whole JPEG of one scan end before its last blocks.

    Parameters
    ----------
    content : bytes
    pixels : int
        How many it has at most; a larger one is not looked at.
    """
    walk = _Walk(BytesIO(content), 0, None)
    frame = walk.frame()
    end = None if frame is None else walk.end_of_only_scan(frame)
    if frame is None or end is None or frame.height * frame.width > pixels:
        return False
    without_end: Any = _WithoutEnd(walk.stream, end)
    try:
        image, _ = pillow_reader.open_image(without_end, Limits("", pixels, None))
        with image:
            image.load()
    except (OSError, SyntaxError, ValueError):
        return True
    return False


class _WithoutEnd:
    """A JPEG of one scan whose end mark is replaced by one bits.

    At a mark, the decoder takes what is missing for zeros. Without one it asks for more, and Pillow
    raises an error. All codes of Huffman have a zero bit (ITU-T T.81, annex C). A missing block
    thus takes more than 16 of the ones for each of two codes, and they do not last for two blocks.
    """

    def __init__(self, stream: BinaryIO, end: int) -> None:
        self._stream, self._end = stream, end

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def read(self, size: int = -1, /) -> bytes:
        """Read as the stream does, but no further than to the end of the ones."""
        place = self._stream.tell()
        left = self._end - place
        if left > 0:
            return self._stream.read(left if size < 0 else min(size, left))
        content = _ONES[-left:] if size < 0 else _ONES[-left : size - left]
        self._stream.seek(place + len(content))
        return content


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
    scans = islice(_Walk(stream, place, length).scans(limits), _MOST_SCANS + 1)
    if sum(1 for _ in scans) > _MOST_SCANS:
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
    """The header of a frame.

    Attributes
    ----------
    kind : int
        The byte of its marker.
    bits : int
        Of a channel.
    height, width : int
    components : bytes
        A byte for each, by which scans name it.
    """

    kind: int
    bits: int
    height: int
    width: int
    components: bytes


@dataclass
class _Walk:
    """A walk from marker to marker, through one picture."""

    stream: BinaryIO
    place: int
    length: int | None

    def frame(self) -> _Frame | None:
        """Return the header of the frame; None if there is none before the first scan."""
        for at, marker, _ in islice(self._segments(), _MOST_SEGMENTS):
            if marker == _SCAN[1]:
                break
            if marker in coded_size.STARTS_OF_FRAME:
                self.stream.seek(at + 4)
                sizes = self.stream.read(6)
                if len(sizes) < 6:
                    break
                bits, height, width, count = struct.unpack(">BHHB", sizes)
                return _Frame(marker, bits, height, width, self.stream.read(3 * count)[::3])
        return None

    def end_of_only_scan(self, frame: _Frame) -> int | None:
        """Return where the end mark lies behind a scan of all components, coded in one go."""
        if frame.kind not in _SEQUENTIAL:
            return None
        for at, marker, length in islice(self._segments(), _MOST_SEGMENTS):
            if marker != _SCAN[1]:
                continue
            self.stream.seek(at + 4)
            if self.stream.read(1) != bytes([len(frame.components)]):
                break
            end = self._end_of_scan(at + length)
            self.stream.seek(end)
            return end if self.stream.read(len(_END)) == _END else None
        return None

    def has_missing_scans(self, frame: _Frame, limits: Limits) -> bool:
        """Return whether the scans leave out a coefficient, or bits of one (ITU-T T.81, G.1)."""
        left = {(name, of): -1 for name in frame.components for of in range(_COEFFICIENTS)}
        for scan in self.scans(limits):
            if len(scan) < 6:
                break
            first, last, bits = scan[-3], scan[-2], scan[-1] & 15
            if frame.kind not in _PROGRESSIVE:
                first, last, bits = 0, _COEFFICIENTS - 1, 0
            for name in scan[1:-3:2]:
                left.update(((name, of), bits) for of in range(first, last + 1))
        return any(left.values())

    def scans(self, limits: Limits) -> Iterator[bytes]:
        """Yield the header of each scan, from the number of its components on.

        Raises
        ------
        InputError
            If there is more between the scans than pictures have.
        """
        between = 0
        for count, (at, marker, length) in enumerate(self._segments()):
            if marker == _SCAN[1]:
                self.stream.seek(at + 4)
                yield self.stream.read(length - 4)
                continue
            between += length
            metadata.check(limits, between)
            if count > _MOST_SEGMENTS:
                raise InputError(
                    f"{limits.name} is a JPEG of more than {_MOST_SEGMENTS:,} segments;\n"
                    "save it without texts and comments"
                )

    def _segments(self) -> Iterator[tuple[int, int, int]]:
        """Yield place, marker and length of each segment up to the end of the picture.

        The data of a scan are passed over once the next segment is asked for.

        Raises
        ------
        DamageError
            If there are more markers without data than pictures have.
        """
        end = None if self.length is None else self.place + self.length
        at, bare = self.place + 2, 0
        while end is None or at < end:
            self.stream.seek(at)
            head = self.stream.read(4)
            if len(head) < 4 or head[0] != 0xFF or head[:2] == _END:
                return
            if head[1] == 0xFF:  # any number of these may precede a marker
                self.stream.seek(at)
                block = self.stream.read(_BLOCK)
                at += max(1, len(block) - len(block.lstrip(b"\xff")) - 1)
            elif head[1] == 0x01 or 0xD0 <= head[1] <= 0xD8:
                at, bare = at + 2, bare + 1
                if bare > _MOST_SEGMENTS:
                    raise DamageError("it has thousands of markers without data")
            else:
                length = 2 + int.from_bytes(head[2:], "big")
                yield at, head[1], length
                at += length
                if head[:2] == _SCAN:
                    at = self._end_of_scan(at)

    def _end_of_scan(self, at: int) -> int:
        """Return where the next marker is behind the header of a scan."""
        self.stream.seek(at)
        while block := self.stream.read(_BLOCK):
            marker = _MARKER.search(block)
            if marker:
                return at + marker.start()
            if len(block) < _BLOCK:
                return at + len(block)
            at += len(block) - 1  # a marker may begin with its last byte
            self.stream.seek(at)
        return at
