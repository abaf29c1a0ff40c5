"""Decoded chunks of a picture, kept up to a number of bytes; each is decoded by one thread."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from threading import Lock

from patchsim.types import Pixels


class ChunkCache:
    """The chunks that were used last; several threads may ask at once.

    Parameters
    ----------
    capacity : int
        The bytes of chunks that are kept. One that is larger is given but not kept.
    decode : number -> array
        Decodes a chunk. Different chunks are decoded at the same time, none twice at once.

    Attributes
    ----------
    decoded : int
        How many chunks were decoded.
    """

    def __init__(self, capacity: int, decode: Callable[[int], Pixels]) -> None:
        self.decoded = 0
        self._capacity, self._decode = capacity, decode
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
            for oldest, other in list(self._chunks.items()):
                if self._bytes <= self._capacity:
                    break
                if other.done():
                    del self._chunks[oldest]
                    self._bytes -= other.result().nbytes
