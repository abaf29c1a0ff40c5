"""Decoded chunks of a picture, kept up to a number of bytes; each is decoded by one thread."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from threading import Lock

from patchsim.types import Pixels


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
    for down in range(first // tall, (bottom - 1) // tall + 1):
        for over in range(start // wide, (right - 1) // wide + 1):
            pixels = cache.get(down * across + over)
            rows = max(first, down * tall), min(bottom, (down + 1) * tall)
            cols = max(start, over * wide), min(right, (over + 1) * wide)
            window[rows[0] - first : rows[1] - first, cols[0] - start : cols[1] - start] = pixels[
                rows[0] - down * tall : rows[1] - down * tall,
                cols[0] - over * wide : cols[1] - over * wide,
            ]


class ChunkCache:
    """The chunks that were used last; several threads may ask at once.

    Parameters
    ----------
    capacity : int
        The bytes of chunks that are kept. One that is larger is given but not kept.
    decode : number -> array
        Decodes a chunk. Different chunks are decoded at the same time, none twice at once.
    least : int
        The bytes that are kept where memory is short.

    Attributes
    ----------
    capacity : int
    decoded : int
        How many chunks were decoded.
    """

    def __init__(self, capacity: int, decode: Callable[[int], Pixels], least: int = 0) -> None:
        self.decoded, self.capacity = 0, capacity
        self._decode, self._least = decode, least
        self._chunks: OrderedDict[int, Future[Pixels]] = OrderedDict()  # least recently used first
        self._bytes = 0
        self._lock = Lock()

    def get(self, number: int) -> Pixels:
        """Return a chunk, which must not be changed."""
        with self._lock:
            chunk = self._chunks.get(number)
            is_mine = chunk is None
            if chunk is None:
                chunk = self._chunks[number] = Future()
            self._chunks.move_to_end(number)
        if is_mine:
            self._fill(number, chunk)
        return chunk.result()

    def _fill(self, number: int, chunk: Future[Pixels]) -> None:
        """Decode a chunk for all that wait for it, and forget others where there are too many."""
        try:
            pixels = self._decode(number)
        except BaseException as error:
            with self._lock:
                del self._chunks[number]
            chunk.set_exception(error)
            return
        chunk.set_result(pixels)
        with self._lock:
            self.decoded += 1
            self._bytes += pixels.nbytes
            self._forget(self.capacity)

    def shrink(self) -> bool:
        """Keep half as much from now on; return whether that was possible."""
        if self.capacity <= self._least:
            return False
        self.capacity = max(self._least, self.capacity // 2)
        with self._lock:
            self._forget(self.capacity)
        return True

    def clear(self) -> None:
        """Forget the chunks, until they are asked for again."""
        with self._lock:
            self._forget(0)

    def _forget(self, size: int) -> None:
        """Forget the chunks that were used least recently, down to so many bytes."""
        for oldest, other in list(self._chunks.items()):
            if self._bytes <= size:
                break
            if other.done():
                del self._chunks[oldest]
                self._bytes -= other.result().nbytes
