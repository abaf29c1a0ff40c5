"""Windows of a picture in a Zarr store, whose chunks are decoded when they are needed."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from patchsim.errors import printable
from patchsim.machine.memory import format_size
from patchsim.pictures import (
    arrays,
    chunk_cache,
    fourth_channel,
    reader,
    streams,
    zarr_layout,
)
from patchsim.pictures.chunk_cache import ChunkCache
from patchsim.pictures.limits import Decoded, Limits
from patchsim.pictures.reader import Picture
from patchsim.pictures.source import only_whole
from patchsim.pictures.watched_store import WatchedStore
from patchsim.pictures.windowed import Windowed
from patchsim.pictures.zarr_layout import Layout
from patchsim.types import Pixels

_COPIES = 3  # of a chunk while it is decoded
_MOST_COUNTED = 100_000  # chunks, which are counted one by one


class ZarrSource:
    """The chunks of a picture in a Zarr store; implements `PixelSource`.

    Parameters
    ----------
    layout : Layout
    path : str
    memory : int
        Bytes of which a part may be kept.
    """

    def __init__(self, layout: Layout, path: str, memory: int) -> None:
        self._layout, self._path = layout, path
        self.shape = layout.shape
        self.dtype = arrays.pixel_type(layout.array.dtype, printable(path))
        self.identity = None
        # A URL has no stamp.
        self._store = WatchedStore(path) if Path(path).is_dir() else None
        self.chunk = layout.chunk
        self._across = -(-self.shape[1] // self.chunk[1])
        kept, min_kept = chunk_cache.sizes(self.shape, self.chunk, self.dtype, memory)
        self.cache = ChunkCache(kept, self._decoded, min_capacity=min_kept)
        self.held_bytes = 0
        self.description = f"by windows from Zarr chunks of {self.chunk[1]}x{self.chunk[0]} pixels"

    @property
    def pixel_bytes(self) -> int:
        """Bytes of a pixel of a window while it is read."""
        return self.shape[2] * int(self.dtype.itemsize)

    def read(self, rows: slice, cols: slice) -> Pixels:
        """Return the pixels of a window; as for `PixelSource`."""
        window = np.empty(
            (rows.stop - rows.start, cols.stop - cols.start, self.shape[2]), self.dtype
        )
        chunk_cache.fill(window, (rows.start, cols.start), self.cache, self.chunk, self._across)
        return window

    def _decoded(self, number: int) -> Pixels:
        down, across = divmod(number, self._across)
        top, left = down * self.chunk[0], across * self.chunk[1]
        rows = slice(top, min(top + self.chunk[0], self.shape[0]))
        cols = slice(left, min(left + self.chunk[1], self.shape[1]))
        with streams.naming_errors(self._path):
            if self._store is not None:
                self._store.check()
            with streams.naming_part(f"its chunk at x={left}, y={top}"):
                values = self._layout.window(rows, cols)
            return np.ascontiguousarray(arrays.to_pixels(values, printable(self._path)))


def read_whole(path: str, limits: Limits, *, alpha: bool) -> Picture:
    """Read a picture from a Zarr store whole.

    Raises
    ------
    InputError
        If it is no picture, larger than the limits allow, or a package is not installed.
    """
    with streams.naming_errors(path):
        layout = zarr_layout.find(path)
        height, width, channels = layout.shape
        limits.check_pixels(width, height)
        dtype = layout.array.dtype
        pixel_bytes = dtype.itemsize + arrays.pixel_type(dtype, limits.name).itemsize
        chunk_bytes = math.prod(layout.array.chunks) * dtype.itemsize
        limits.check_memory(height * width * channels * pixel_bytes + _COPIES * chunk_bytes)
        notices = [*layout.notices, *_missing(layout.array, path, limits.name)]
        pixels = ZarrSource(layout, path, 0).read(slice(0, height), slice(0, width))
    decoded = Decoded(
        pixels,
        notices=(*notices, *_planes(layout, limits.name)),
        shift=arrays.shift_of(dtype),
        array_type=None if layout.is_channelled else dtype,
        profile=None,
        is_half=arrays.is_half(dtype),
    )
    if alpha:
        decoded = fourth_channel.split(decoded)
    return reader.upright(decoded, path, Path(path), ())


def open_windowed(
    path: str, *, memory: int, alpha: bool, ignore_alpha: bool, level: int = 0
) -> Picture:
    """Open a picture in a Zarr store, or a level of one, to be read by windows.

    Raises
    ------
    InputError
        If it is no picture, or a package is not installed.
    """
    name = printable(path)
    with streams.naming_errors(path):
        layout = zarr_layout.find(path, level)
        array = layout.array
        chunk_bytes = math.prod(array.chunks) * array.dtype.itemsize * _COPIES
        if chunk_bytes > memory // chunk_cache.SHARE:
            raise only_whole(
                name,
                f"has chunks of {printable(list(array.chunks))}, each of which takes"
                f" {format_size(chunk_bytes)} to decode; save it in smaller chunks",
            )
        pixels = Windowed.from_source(ZarrSource(layout, path, memory))
        notices = (*layout.notices, *_missing(array, path, name), *_planes(layout, name))
    opacity = None
    if alpha and not layout.is_channelled:
        pixels, opacity, texts = fourth_channel.split_windowed(
            pixels, array.dtype, ignore_alpha=ignore_alpha
        )
        notices += texts
    shift, is_half = arrays.shift_of(array.dtype), arrays.is_half(array.dtype)
    return Picture(path, pixels.as_pixels(), Path(path), notices, opacity, shift, is_half=is_half)


def _planes(layout: Layout, name: str) -> tuple[str, ...]:
    """Return a notice of an array that looks like planes of colours, if nothing names its axes."""
    text = None if layout.is_channelled else arrays.layout_notice(layout.array.shape, name)
    return () if text is None else (text,)


def _missing(array: Any, path: str, name: str) -> tuple[str, ...]:
    """Return a notice of chunks that are not in a folder, whose pixels have the fill value."""
    stored = array.shards or array.chunks
    count = math.prod(-(-side // length) for side, length in zip(array.shape, stored, strict=True))
    if count > _MOST_COUNTED or not Path(path).is_dir():
        return ()
    inside = math.prod(stored) // math.prod(array.chunks)
    missing = count - array.nchunks_initialized // inside
    if not missing:
        return ()
    return (f"{name} lacks {missing:,} of {count:,} chunks, which are read as {array.fill_value}",)
