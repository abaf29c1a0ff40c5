"""The frames of a GIF, APNG or WebP and the pages of a TIFF, one after the other, from 0."""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

from PIL import Image

from patchsim.errors import DamageError, InputError, printable
from patchsim.pictures import (
    opening,
    path_kinds,
    pillow_depth,
    pillow_reader,
    png,
    reader,
    streams,
    tiff_directory,
)
from patchsim.pictures.limits import Decoded, Limits
from patchsim.pictures.reader import DEFAULT_MAX_PIXELS, Picture

if TYPE_CHECKING:
    from patchsim.pictures.reader import Source

_ANIMATIONS = (b"GIF8", png.SIGNATURE, b"RIFF")  # of RIFF only WebP is read
_MOST_PAGES = 100_000


def open_frames(
    source: Source,
    frame: int | str,
    *,
    name: str,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    memory: int | None = None,
    total: int | None = None,
    alpha: bool = True,
) -> Iterator[tuple[int, Picture]]:
    """Decode one frame of a picture or all of them, in turn, with their numbers.

    Frames of animations are as displayed, over those before them. Pages of a TIFF that are small
    copies of others have no number. Pictures of other formats have one frame.

    Parameters
    ----------
    source, name, max_pixels, memory, total, alpha
        As of `reader.open_picture`.
    frame : int or ``all``

    Raises
    ------
    InputError
        If there is no such frame, or it cannot be read.
    """
    limited: dict[str, Any] = {
        "name": name, "max_pixels": max_pixels, "memory": memory, "total": total, "alpha": alpha,
    }  # fmt: skip
    if isinstance(source, Image.Image):
        yield from _of_pil(source, frame, limited)
        return
    other: Any = source
    is_file = isinstance(other, str | os.PathLike)
    if not is_file or path_kinds.is_zarr(other) or path_kinds.is_slide(other):
        picture = opening.open_source(source, **limited)
        _numbers(frame, 1, picture.name)
        yield 0, picture
        return
    label, file = reader.checked_path(other)
    limits = Limits(printable(label), max_pixels, memory, total)
    with streams.naming_errors(label) as told, streams.open_seekable(label, memory) as stream:
        limits = limits._replace(file_bytes=stream.seek(0, os.SEEK_END))
        for number, content in _contents(stream, frame, limits):
            if isinstance(content, Decoded):
                yield number, reader.upright(content, label, file, ())
                continue
            told.lines.clear()
            picture = reader.from_stream(content, limits, told, label, file, alpha=alpha)
            first = {
                tiff_directory.pages_notice(limits.name, 0),
                f"{limits.name} has several frames; the first is used",
            }
            kept = tuple(text for text in picture.notices if text not in first)
            yield number, picture._replace(notices=kept)


def _numbers(frame: int | str, count: int, name: str) -> Sequence[int]:
    """Return the numbers of the frames that are asked for, of so many."""
    if isinstance(frame, str):
        return range(count)
    if frame >= count:
        from patchsim.pictures.source import no_part

        raise no_part(name, "frame", count, frame)
    return [frame]


def _of_pil(
    image: Image.Image, frame: int | str, limited: dict[str, Any]
) -> Iterator[tuple[int, Picture]]:
    """Yield frames of a PIL image, and leave it at its own."""
    count = getattr(image, "n_frames", 1)
    place = image.tell() if count > 1 else 0
    try:
        for number in _numbers(frame, count, limited["name"]):
            if count > 1:
                image.seek(number)
            yield number, reader.open_picture(image, **limited)
    finally:
        if count > 1:
            image.seek(place)


def _contents(
    stream: BinaryIO, frame: int | str, limits: Limits
) -> Iterator[tuple[int, BinaryIO | Decoded]]:
    """Yield the numbers of frames, and files that begin with them, or what was decoded."""
    stream.seek(0)
    start = stream.read(16)
    if start.startswith(tiff_directory.MAGIC):
        pages = _Pages(stream)
        for number in _numbers(frame, len(pages.places), limits.name):
            yield number, pages.beginning_with(number)
    elif start.startswith(_ANIMATIONS):
        yield from _animated(stream, frame, limits)
    else:
        _numbers(frame, 1, limits.name)
        yield 0, stream


def _animated(
    stream: BinaryIO, frame: int | str, limits: Limits
) -> Iterator[tuple[int, BinaryIO | Decoded]]:
    """Yield the frames of an animation; the first is what is read without a number."""
    if frame == 0:
        yield 0, stream
        return
    image, counted = pillow_reader.open_image(stream, limits)
    with image:
        limits.check_pixels(*image.size)
        with counted.pixels():
            count = getattr(image, "n_frames", 1)
        for number in _numbers(frame, count, limits.name):
            if number == 0:
                place = stream.tell()
                yield 0, stream
                stream.seek(place)
                continue
            with counted.pixels():
                image.seek(number)
            limits.check_pixels(*image.size)
            reason = pillow_depth.unsupported_depth(image, None)
            if reason is not None:
                raise InputError(f"frame {number} of {limits.name} is {reason}; save it by itself")
            yield number, pillow_reader.decode(image, limits, counted)


class _Pages:
    """The pages of a TIFF that are no small copies of others; of copies alone the first."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        stream.seek(0)
        self._head = stream.read(16)
        self._order = "<" if self._head.startswith(b"II") else ">"
        self._is_big = self._head[2:4] in (b"+\0", b"\0+")
        self._at = 8 if self._is_big else 4
        self._number = "Q" if self._is_big else "I"  # of places and counts
        self.places = self._listed()

    def _read(self, form: str) -> tuple[Any, ...]:
        form = self._order + form
        return struct.unpack(form, self._stream.read(struct.calcsize(form)))

    def _listed(self) -> list[int]:
        (place,) = struct.unpack_from(self._order + self._number, self._head, self._at)
        first, seen, full = place, {0}, []
        while place not in seen and len(seen) < _MOST_PAGES:
            seen.add(place)
            self._stream.seek(place)
            try:
                is_reduced, place_behind = self._directory()
            except struct.error:
                raise DamageError(f"page {len(seen) - 1} of its list of pages is cut off") from None
            if not is_reduced:
                full.append(place)
            place = place_behind
        return full or [first]

    def _directory(self) -> tuple[bool, int]:
        """Return whether the page is a small copy, and where the next directory is."""
        (count,) = self._read("Q" if self._is_big else "H")
        length = 20 if self._is_big else 12
        entries = self._stream.read(count * length)
        (behind,) = self._read(self._number)
        kind = 0
        for start in range(0, min(count * length, len(entries) - length + 1), length):
            tag, kind_of_value = struct.unpack_from(self._order + "HH", entries, start)
            if tag == tiff_directory.SUBFILE_TYPE:
                form = "H" if kind_of_value == 3 else "I"  # SHORT or LONG
                at = start + (12 if self._is_big else 8)
                (kind,) = struct.unpack_from(self._order + form, entries, at)
        return bool(kind & tiff_directory.REDUCED_RESOLUTION), behind

    def beginning_with(self, number: int) -> BinaryIO:
        """Return the file as if a page were its first."""
        head = bytearray(self._head)
        struct.pack_into(self._order + self._number, head, self._at, self.places[number])
        return io.BufferedReader(_Headed(self._stream, bytes(head[: 16 if self._is_big else 8])))


class _Headed(io.RawIOBase):
    """A file with other first bytes."""

    def __init__(self, stream: BinaryIO, head: bytes) -> None:
        self._stream, self._head, self._place = stream, head, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        if whence == os.SEEK_END:
            offset += self._stream.seek(0, os.SEEK_END)
        elif whence == os.SEEK_CUR:
            offset += self._place
        self._place = max(0, offset)
        return self._place

    def readinto(self, buffer: Any, /) -> int:
        data = self._head[self._place : self._place + len(buffer)]
        if not data:
            self._stream.seek(self._place)
            data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        self._place += len(data)
        return len(data)
