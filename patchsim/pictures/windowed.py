"""Pixels that are read window by window, where the search takes an array [H, W, C]."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn, cast

import numpy as np
from numpy.typing import NDArray

from patchsim.machine.memory import format_size
from patchsim.types import Pixels

if TYPE_CHECKING:
    from patchsim.pictures.chunk_cache import ChunkCache
    from patchsim.pictures.source import PixelSource

_BAND_BYTES = 1 << 24  # of pixels that are looked at together
_COPIES = 2  # of a window's pixels: before and after a conversion

Read = Callable[[slice, slice], Pixels]


@dataclass(frozen=True, eq=False, repr=False)
class Windowed:
    """A picture that is read by windows, or a part or a conversion of one.

    It stands where the search has an array [H, W, C]: indexing it by rows and columns reads that
    window. `as_pixels` types it as such an array, `of` tells the two apart. Nothing turns it into
    an array by accident.

    Attributes
    ----------
    shape : (height, width, channels)
    dtype : dtype
    read : (rows, columns) -> array [h, w, C]
        Reads a window inside the picture, its values side by side.
    held : int
        The bytes that reading keeps from window to window, beside the cache.
    pixel_bytes : int
        The bytes that each pixel of a window takes at most while it is read.
    description : str
        How the picture is read.
    cache : ChunkCache or None
        Decoded chunks that are kept.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    read: Read
    held: int
    pixel_bytes: int
    description: str
    cache: ChunkCache | None = None

    # An array's strides tell that its values lie side by side; these lie nowhere.
    strides = ()
    ndim = 3

    @classmethod
    def from_source(cls, source: PixelSource) -> Windowed:
        """Return the whole picture of a source."""
        return cls(
            source.shape,
            source.dtype,
            source.read,
            source.held_bytes,
            source.pixel_bytes,
            source.description,
            source.cache,
        )

    @property
    def itemsize(self) -> int:
        """Bytes of a value."""
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes that are held, not those of all pixels."""
        return self.held + (self.cache.capacity if self.cache else 0)

    @property
    def reading(self) -> str:
        """How the picture is read, and what is kept, for ``--explain``."""
        if self.cache is None:
            return self.description
        return f"{self.description}, of which {format_size(self.cache.capacity)} are kept"

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, window: tuple[slice, slice]) -> Pixels:
        """Read a window, given by two slices whose steps are 1."""
        rows, cols = (
            slice(*span.indices(length)[:2])
            for span, length in zip(window, self.shape[:2], strict=True)
        )
        return self.read(rows, cols)

    def __array__(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("a picture that is read by windows is not read whole")

    def as_pixels(self) -> Pixels:
        """Return itself, typed as an array."""
        return cast("Pixels", self)

    def part(self, top: int, left: int, height: int, width: int) -> Windowed:
        """Return a rectangle of the picture, of which nothing is read yet."""

        def read(rows: slice, cols: slice) -> Pixels:
            return self.read(
                slice(rows.start + top, rows.stop + top),
                slice(cols.start + left, cols.stop + left),
            )

        return replace(self, shape=(height, width, self.shape[2]), read=read)

    def converted(self, function: Callable[[Pixels], Pixels]) -> Windowed:
        """Return the picture with a function of single pixels [h, w, C] applied to each window."""
        given = np.zeros((1, 1, self.shape[2]), self.dtype)
        probe = function(given)
        if probe is given:  # it leaves such pixels as they are
            return self

        def read(rows: slice, cols: slice) -> Pixels:
            return np.ascontiguousarray(function(self.read(rows, cols)))

        return replace(
            self,
            shape=(*self.shape[:2], probe.shape[2]),
            dtype=probe.dtype,
            read=read,
            pixel_bytes=self.pixel_bytes + _COPIES * probe.itemsize * probe.shape[2],
        )

    def checked(self, check: Callable[[Pixels, tuple[int, int]], None]) -> Windowed:
        """Return the picture, each window checked when it is read, with its row and column."""

        def read(rows: slice, cols: slice) -> Pixels:
            pixels = self.read(rows, cols)
            check(pixels, (rows.start, cols.start))
            return pixels

        return replace(self, read=read)

    def padded(self, above: int, beside: int, mode: str, fill: NDArray[Any]) -> Windowed:
        """Return the picture with so many rows and columns more on each side.

        Parameters
        ----------
        above, beside : int
        mode : str
            ``edge``, ``reflect`` or ``constant``, as in `numpy.pad`.
        fill : array [C]
            The pixel of ``constant``.
        """
        height, width, channels = self.shape

        def read(rows: slice, cols: slice) -> Pixels:
            y, y_inside = _sources(rows, above, height, mode)
            x, x_inside = _sources(cols, beside, width, mode)
            result = np.empty((len(y), len(x), channels), self.dtype)
            result[...] = fill
            if len(y_inside) and len(x_inside):
                top, left = int(y[y_inside].min()), int(x[x_inside].min())
                bottom, right = int(y[y_inside].max()) + 1, int(x[x_inside].max()) + 1
                inside = self.read(slice(top, bottom), slice(left, right))
                result[np.ix_(y_inside, x_inside)] = inside[
                    np.ix_(y[y_inside] - top, x[x_inside] - left)
                ]
            return result

        return replace(
            self,
            shape=(height + 2 * above, width + 2 * beside, channels),
            read=read,
            pixel_bytes=self.pixel_bytes + _COPIES * self.itemsize * channels,
        )

    def bands(self) -> Iterator[Pixels]:
        """Read all pixels, some rows at a time from top to bottom."""
        height, width, channels = self.shape
        step = max(1, _BAND_BYTES // max(1, width * channels * self.itemsize))
        for top in range(0, height, step):
            yield self.read(slice(top, min(height, top + step)), slice(0, width))

    @cached_property
    def extremes(self) -> Pixels:
        """The least and the greatest value of each channel, [2, 1, C]; NaN where a value is.

        All pixels are read for it, once.
        """
        by_band = [np.stack([band.min(0).min(0), band.max(0).max(0)]) for band in self.bands()]
        ends = np.stack(by_band)
        return np.stack([ends[:, 0].min(0), ends[:, 1].max(0)])[:, None]


def of(pixels: object) -> Windowed | None:
    """Return pixels that are read by windows, or None for those of an array."""
    return pixels if isinstance(pixels, Windowed) else None


def cache_of(pixels: object) -> ChunkCache | None:
    """Return the decoded chunks that are kept of pixels that are read by windows, if any are."""
    picture = of(pixels)
    return None if picture is None else picture.cache


def bands(pixels: Pixels) -> Iterator[Pixels]:
    """Yield all pixels from top to bottom: an array at once, others some rows at a time."""
    picture = of(pixels)
    yield from [pixels] if picture is None else picture.bands()


def each(pixels: Pixels, function: Callable[[Pixels], Pixels]) -> Pixels:
    """Apply a function of single pixels to an array, or to each window when it is read."""
    by_windows = of(pixels)
    return function(pixels) if by_windows is None else by_windows.converted(function).as_pixels()


def with_extremes(pixels: Pixels) -> Pixels:
    """Return pixels with the same least and greatest values of each channel, in memory."""
    by_windows = of(pixels)
    return pixels if by_windows is None else by_windows.extremes


def without_first(pixels: Pixels, rows: int, cols: int) -> Pixels:
    """Return pixels without the first rows and columns; nothing is read."""
    by_windows = of(pixels)
    if by_windows is None:
        return pixels[rows:, cols:]
    height, width, _ = by_windows.shape
    return by_windows.part(rows, cols, height - rows, width - cols).as_pixels()


def _sources(
    wanted: slice, overhang: int, length: int, mode: str
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return which of the `length` rows each wanted row shows, and the places of those that do."""
    at = np.arange(wanted.start, wanted.stop) - overhang
    if mode == "edge":
        at = np.clip(at, 0, length - 1)
    elif mode == "reflect":
        # Back and forth, the outermost ones not repeated; a single row has no other to show.
        period = 2 * max(1, length - 1)
        at = np.abs((at + length - 1) % period - (length - 1)) if length > 1 else at * 0
    return at, np.flatnonzero((at >= 0) & (at < length))
