"""Windows of a TIFF, BigTIFF or OME-TIFF: its tiles or strips, decoded when they are needed."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from patchsim.errors import printable
from patchsim.machine.memory import format_size
from patchsim.pictures import (
    arrays,
    chunk_cache,
    nodata,
    orientation,
    plane,
    streams,
    tiff,
    tiff_colors,
    tiff_directory,
    tiff_tags,
)
from patchsim.pictures.chunk_cache import ChunkCache
from patchsim.pictures.limits import Limits, scaled_to_8_bits
from patchsim.pictures.npy_source import NpySource
from patchsim.pictures.reader import Picture
from patchsim.pictures.source import Identity, PixelSource, level_notice, no_part, only_whole
from patchsim.pictures.tiff_segments import TiffSegments
from patchsim.pictures.windowed import Windowed
from patchsim.types import Pixels

_PLAIN, _YCBCR = (1, 2), 6  # black-is-zero and RGB; colours that are converted while decoding
_BITS = (8, 16, 32, 64)

Colors = Callable[[Pixels], Pixels]
Levels = Callable[[Pixels], NDArray[np.uint8]]


class TiffSource:
    """A page of a TIFF whose samples [H, W, S] are decoded by segments; a `PixelSource`.

    Parameters
    ----------
    page : tifffile.TiffPage
    identity : Identity
    memory : int
        Bytes of which a part may be kept.
    """

    def __init__(self, page: Any, identity: Identity, memory: int) -> None:
        _, _, height, width, _ = page.shaped
        self.shape = height, width, int(page.samplesperpixel)
        self.dtype = page.dtype.newbyteorder("=")
        self.identity = identity
        self.chunk = tall, wide = tiff_colors.segment_size(page)
        self._grid = -(-height // tall), -(-width // wide)
        self._planes = self.shape[2] if page.planarconfig != 1 else 1
        self._segments = TiffSegments(page, identity.path, self._grid)
        kept, min_kept = chunk_cache.sizes(self.shape, self.chunk, self.dtype, memory)
        self.cache = ChunkCache(kept, self._decoded, min_capacity=min_kept)
        self.held_bytes = 0
        kind = "tiles" if page.is_tiled else "strips"
        self.description = f"by windows from {kind} of {self.chunk[1]}x{self.chunk[0]} pixels"

    @property
    def pixel_bytes(self) -> int:
        """Bytes of a pixel of a window while it is read."""
        return self.shape[2] * int(self.dtype.itemsize)

    def read(self, rows: slice, cols: slice) -> Pixels:
        """Return the samples of a window; as for `PixelSource`."""
        size = rows.stop - rows.start, cols.stop - cols.start
        window = np.empty((*size, self.shape[2]), self.dtype)
        chunk_cache.fill(window, (rows.start, cols.start), self.cache, self.chunk, self._grid[1])
        return window

    def _decoded(self, number: int) -> Pixels:
        """Decode a tile or strip, of all samples."""
        down, across = divmod(number, self._grid[1])
        tall = min(self.chunk[0], self.shape[0] - down * self.chunk[0])
        wide = min(self.chunk[1], self.shape[1] - across * self.chunk[1])
        pixels = np.zeros((tall, wide, self.shape[2]), self.dtype)
        path = self.identity.path
        with streams.naming_errors(path), self.identity.open() as stream:
            for plane in range(self._planes):
                values = self._segments.read(stream, plane * math.prod(self._grid) + number)
                if values is None:  # a segment that is left out is 0
                    continue
                if self._planes > 1:
                    pixels[..., plane] = values[:tall, :wide, 0]
                else:
                    pixels[...] = values[:tall, :wide]
        return pixels


def _source(page: Any, identity: Identity, name: str, memory: int) -> PixelSource:
    """Return the source of a page's samples."""
    _, _, height, width, _ = page.shaped
    stored = page.dtype.newbyteorder(page.parent.byteorder)
    is_plain = page.photometric in _PLAIN and page.compression == tiff_directory.UNCOMPRESSED
    if is_plain and page.is_contiguous and page.planarconfig == 1 and not page.is_tiled:
        shape = height, width, int(page.samplesperpixel)
        dtype = arrays.pixel_type(page.dtype, name)
        start, text = page.dataoffsets[0], "by windows from the TIFF, which is not compressed"
        return NpySource(shape, dtype, identity, stored, start, description=text)
    tall, wide = tiff_colors.segment_size(page)
    chunk_bytes = tall * wide * page.samplesperpixel * tiff.decoding_bytes(page)
    if chunk_bytes > memory // chunk_cache.SHARE:
        raise only_whole(
            name,
            f"has tiles or strips of {wide}x{tall} pixels, each of which takes"
            f" {format_size(chunk_bytes)} to decode; save it in smaller tiles",
        )
    return TiffSource(page, identity, memory)


def _page(file: Any, name: str, frame: int | None, level: int) -> tuple[Any, tuple[str, ...]]:
    """Return the page that is asked for, and notices."""
    if level:
        page, count = _level_page(file, name, level)
        _, _, height, width, _ = page.shaped
        return page, (level_notice(name, level, count, (height, width)),)
    if frame is not None:
        return _full_page(file, name, frame), ()
    return tiff.first_full_page(file, name)


def _full_page(file: Any, name: str, frame: int) -> Any:
    """Return the page of a number, from 0, of those that are no small copies of others.

    Raises
    ------
    InputError
        If there is no such page.
    """
    number, left = 0, frame
    while tiff.has_page(file, number):
        if not file.pages[number].is_reduced:
            if not left:
                return file.pages[number]
            left -= 1
        number += 1
    raise no_part(name, "frame", frame - left, frame)


def _level_page(file: Any, name: str, level: int) -> tuple[Any, int]:
    """Return the page of a level of the first picture, 0 for the largest, and how many there are.

    Raises
    ------
    InputError
        If there is no such level.
    """
    levels = file.series[0].levels
    if level >= len(levels):
        raise no_part(name, "level", len(levels), level)
    return levels[level].keyframe, len(levels)


def _check_kind(page: Any, name: str, *, is_usual: bool) -> None:
    """Check that a page is of a kind whose windows are those of the whole picture.

    A usual one is read by Pillow where it is read whole.
    """
    if page.bitspersample not in _BITS:
        raise only_whole(name, f"has values of {page.bitspersample} bits")
    is_ycbcr = page.photometric == _YCBCR
    is_jpeg = page.compression == tiff_directory.JPEG and page.planarconfig == 1
    if is_ycbcr and not (is_jpeg and is_usual):
        raise only_whole(name, "has colours YCbCr in a form that is only decoded whole")
    turned = _orientation(page)
    if turned != 1:
        raise only_whole(name, f"is stored turned or mirrored (orientation {turned})")


def _orientation(page: Any) -> int:
    tags = page.tags
    stored = tags.valueof(tiff_directory.ORIENTATION), tags.valueof(tiff_directory.XMP)
    return int(orientation.chosen(*stored))


def _colors(page: Any, samples: Pixels, alpha: int | None, *, is_associated: bool) -> Pixels:
    """Return the pixels of samples [h, w, S], grey or RGB, without alpha."""
    if alpha is not None:
        opacity = samples[..., alpha]
        samples = np.delete(samples, alpha, axis=2)
        if is_associated:
            samples = tiff_colors.unassociated(samples, opacity, tiff.largest(page))
    if page.photometric != _YCBCR:  # JPEG's own conversion made RGB of it
        samples = tiff.in_grey_or_rgb(page, samples)
    return arrays.to_pixels(samples, "")


def _alpha(samples: Pixels, *, sample: int, largest: int) -> NDArray[np.uint8]:
    """Return the alpha of samples [h, w, S], from 0 to 255."""
    return scaled_to_8_bits(samples[..., sample], largest)


def _no_data(
    page: Any, directory: tiff_directory.Page | None, name: str
) -> tuple[nodata.NoData | None, tuple[str, ...]]:
    """Return the value of no data of a page, or of the picture of which it is a level."""
    text = page.tags.valueof(nodata.GDAL_NODATA)
    if text is None and directory is not None and page.is_reduced:
        text = directory.tags.get(nodata.GDAL_NODATA)
    return nodata.found(
        text,
        bits=page.bitspersample,
        colors=int(page.photometric),
        shift=arrays.shift_of(page.dtype),
        name=name,
    )


def open_tiff(
    stream: BinaryIO,
    label: str,
    *,
    memory: int,
    ignore_alpha: bool,
    frame: int | None = None,
    level: int = 0,
) -> Picture:
    """Open the first page of a TIFF that is no small copy of another, to be read by windows.

    With a `frame` it is another page, with a `level` above 0 a small copy of the first.

    Raises
    ------
    InputError
        If it is of a kind that is only read whole, or packages are not installed.
    DamageError
        If it is damaged.
    """
    name = printable(label)
    limits = Limits(name, 0, None)
    tiff_tags.check(stream, limits)
    directory = tiff_directory.find_page(stream)
    tifffile = tiff.library(name, "a TIFF that is too large to be read whole")
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    with tifffile.TiffFile(stream) as file:
        page, notices = _page(file, name, frame, level)
        tiff.check_page(page, name)
        tiff.check_complete(page, size)
        is_usual = directory is not None and tiff_directory.unsupported(directory.tags) is None
        _check_kind(page, name, is_usual=is_usual)
        source = _source(page, Identity.of(label, stream), name, memory)
    samples = Windowed.from_source(source)
    alpha, is_associated = tiff.alpha_sample(page)
    largest = tiff.largest(page)
    levels: Levels | None = None
    if alpha is not None and not ignore_alpha:
        if samples.extremes[0, 0, alpha] < largest:
            levels = partial(_alpha, sample=alpha, largest=largest)
        else:
            is_associated = False
    colors: Colors = partial(_colors, page, alpha=alpha, is_associated=is_associated)
    none, told = _no_data(page, directory, name)
    if none is not None:
        colors, levels, text = nodata.hidden_by_windows(none, samples, colors, levels)
        told = () if text is None else (text,)
    opacity = None
    if levels is not None and not ignore_alpha:
        opacity = plane.of_channel(samples, levels)
    profile = page.tags.valueof(tiff_directory.ICC_PROFILE)
    return Picture(
        label,
        samples.converted(colors).as_pixels(),
        Path(label),
        (*notices, *told),
        opacity,
        shift=arrays.shift_of(page.dtype),
        profile=profile if isinstance(profile, bytes) else b"",
        is_half=arrays.is_half(page.dtype),
    )
