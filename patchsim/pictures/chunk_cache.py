"""Decoded chunks of a picture, kept up to a number of bytes; each is decoded by one thread."""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator
from threading import Lock
from typing import Any

import numpy as np

from patchsim.types import Pixels

SHARE = 2  # the part of the memory that chunks take at most, as a divisor
_LEAST_KEPT = 2  # chunks, where memory is short
_ROWS_KEPT = 3  # rows of chunks: those of the windows that are scored at the same time
# Threads do not keep step, and tiles of scores are up to 512 rows high. Low chunks, such as strips
# of 8 rows, would be decoded once for each thread if only three rows of them were kept.
_PIXEL_ROWS_KEPT = 512


def sizes(
    shape: tuple[int, int, int], chunk: tuple[int, int], dtype: np.dtype[Any], memory: int
) -> tuple[int, int]:
    """Return the bytes of chunks to keep, and those to keep where memory is short.

    Parameters
    ----------
    shape : (rows, columns, channels)
        Of the picture.
    chunk : (rows, columns)
    dtype : numpy.dtype
        Of the decoded pixels.
    memory : int
        Bytes of which chunks take a `SHARE` at most.
    """
    across = -(-shape[1] // chunk[1])
    one = math.prod((*chunk, shape[2])) * dtype.itemsize
    rows = min(max(_ROWS_KEPT, -(-_PIXEL_ROWS_KEPT // chunk[0])), -(-shape[0] // chunk[0]))
    return min(memory // SHARE, rows * across * one), _LEAST_KEPT * one


def fill(
    window: Pixels,
    corner: tuple[int, int],
    cache: ChunkCache,
    chunk: tuple[int, int],
    across: int,
) -> None:
    """Fill a window [h, w, C] from the chunks of a picture.

    Parameters
    ----------
    window : array [h, w, C]
    corner : (row, column)
        The place of the window in the picture.
    cache : ChunkCache
        Gives the chunks by their numbers, row by row.
    chunk : (rows, columns)
        Of a chunk; those at the right and below may be smaller.
    across : int
        The number of chunks beside each other.
    """
    if not window.size:
        return
    (first, start), (tall, wide) = corner, chunk
    bottom, right = first + window.shape[0], start + window.shape[1]
    numbers = [
        down * across + over
        for down in range(first // tall, (bottom - 1) // tall + 1)
        for over in range(start // wide, (right - 1) // wide + 1)
    ]
    for number, pixels in cache.each(numbers):
        top, left = (
            place * side for place, side in zip(divmod(number, across), chunk, strict=True)
        )
        rows = max(first, top), min(bottom, top + tall)
        cols = max(start, left), min(right, left + wide)
        window[rows[0] - first : rows[1] - first, cols[0] - start : cols[1] - start] = pixels[
            rows[0] - top : rows[1] - top, cols[0] - left : cols[1] - left
        ]


class _Chunk:
    """A chunk, and the lock that its thread holds while it decodes it."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.pixels: Pixels | None = None


class ChunkCache:
    """The chunks that were used last; several threads may ask at once.

    Parameters
    ----------
    capacity : int
        The bytes of chunks that are kept. One that is larger is given but not kept.
    decode : number -> array
        Decodes a chunk. Different chunks are decoded at the same time, none twice at once.
    min_capacity : int
        The bytes that are kept where memory is short.

    Attributes
    ----------
    capacity : int
    decoded : int
        How many chunks were decoded.
    """

    def __init__(
        self, capacity: int, decode: Callable[[int], Pixels], min_capacity: int = 0
    ) -> None:
        self.decoded, self.capacity = 0, capacity
        self._decode, self._least = decode, min_capacity
        self._chunks: OrderedDict[int, _Chunk] = OrderedDict()  # least recently used first
        self._wanted: Counter[int] = Counter()  # chunks of windows that are being read
        self._bytes = 0
        self._lock = Lock()

    def each(self, numbers: Iterable[int]) -> Iterator[tuple[int, Pixels]]:
        """Yield the number and the pixels of each chunk of a window.

        The chunks that have yet to come are forgotten last: a thread that lags behind others
        finds those that they decoded.
        """
        waiting = list(reversed(list(numbers)))
        with self._lock:
            self._wanted.update(waiting)
        try:
            while waiting:
                pixels = self.get(waiting[-1])
                number = waiting.pop()
                self._give_up([number])
                yield number, pixels
        finally:
            self._give_up(waiting)

    def _give_up(self, numbers: Iterable[int]) -> None:
        """Let chunks be forgotten like all others."""
        with self._lock:
            for number in numbers:
                self._wanted[number] -= 1
                if not self._wanted[number]:
                    del self._wanted[number]

    def get(self, number: int) -> Pixels:
        """Return a chunk, which must not be changed."""
        with self._lock:
            chunk = self._chunks.setdefault(number, _Chunk())
            self._chunks.move_to_end(number)
        with chunk.lock:  # if it cannot be decoded here, the next that waits for it tries again
            if chunk.pixels is None:
                pixels = self._decode(number)
                with self._lock:
                    chunk.pixels = pixels
                    self.decoded += 1
                    self._bytes += pixels.nbytes
                    self._forget(self.capacity)
                return pixels
            return chunk.pixels

    def shrink(self) -> bool:
        """Keep half as much from now on; return whether that was possible."""
        with self._lock:
            if self.capacity <= self._least:
                return False
            self.capacity = max(self._least, self.capacity // 2)
            self._forget(self.capacity)
            return True

    def clear(self) -> None:
        """Forget the chunks, until they are asked for again."""
        with self._lock:
            self._forget(0)

    def _forget(self, size: int) -> None:
        """Forget the chunks that were used least recently, down to so many bytes.

        Chunks that a window waits for are forgotten only where the others do not suffice.
        """
        if self._bytes <= size:
            return
        for is_wanted in (False, True):
            for oldest, other in list(self._chunks.items()):
                if self._bytes <= size:
                    return
                if other.pixels is not None and (oldest in self._wanted) == is_wanted:
                    del self._chunks[oldest]
                    self._bytes -= other.pixels.nbytes
