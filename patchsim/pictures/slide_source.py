"""Windows of slides in formats that only OpenSlide reads: MIRAX, Hamamatsu VMS and VMU, Sakura.

Slides of the TIFF family are read by `tiff_source`, whose tiles are decoded several times as fast.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from patchsim.errors import DamageError, InputError, printable
from patchsim.pictures import chunk_cache, plane, streams
from patchsim.pictures.chunk_cache import ChunkCache
from patchsim.pictures.limits import Limits
from patchsim.pictures.reader import Picture
from patchsim.pictures.source import Identity, level_notice, no_part
from patchsim.pictures.watched_store import WatchedStore
from patchsim.pictures.windowed import Windowed
from patchsim.types import Pixels

PACKAGES = "openslide-python openslide-bin"  # the extra `slide`

_CHUNK = 512  # rows and columns that are decoded together
_OPENSLIDE_BYTES = 1 << 25  # of tiles that OpenSlide keeps itself, at most
_COPIES = 3  # of a chunk while it is decoded


class SlideSource:
    """A level of a slide, [H, W, 4] of colours and alpha; implements `PixelSource`.

    OpenSlide places a window of a smaller level between the pixels of the largest. Chunks of one
    grid are read, so that a pixel does not depend on the window in which it is looked at.

    Parameters
    ----------
    slide : openslide.OpenSlide
    path : str
    level : int
    memory : int
        Bytes of which a part may be kept.
    """

    def __init__(self, slide: Any, path: str, level: int, memory: int) -> None:
        self._slide, self._level = slide, level
        width, height = slide.level_dimensions[level]
        self.shape, self.dtype = (height, width, 4), np.dtype(np.uint8)
        self.identity = Identity.of_path(path)
        self._files = WatchedStore(path)
        self.chunk = min(_CHUNK, height), min(_CHUNK, width)
        self._across = -(-width // self.chunk[1])
        kept, min_kept = chunk_cache.sizes(self.shape, self.chunk, self.dtype, memory)
        self.cache = ChunkCache(kept, self._decoded, min_capacity=min_kept)
        self.held_bytes = _openslide_bytes(memory)
        self.description = "by windows from OpenSlide"

    @property
    def pixel_bytes(self) -> int:
        """Bytes of a pixel of a window while it is read."""
        return self.shape[2]

    def read(self, rows: slice, cols: slice) -> Pixels:
        """Return the pixels of a window; as for `PixelSource`."""
        window = np.empty((rows.stop - rows.start, cols.stop - cols.start, 4), np.uint8)
        chunk_cache.fill(window, (rows.start, cols.start), self.cache, self.chunk, self._across)
        return window

    def _decoded(self, number: int) -> Pixels:
        down, across = divmod(number, self._across)
        top, left = down * self.chunk[0], across * self.chunk[1]
        size = min(self.chunk[1], self.shape[1] - left), min(self.chunk[0], self.shape[0] - top)
        scale = self._slide.level_downsamples[self._level]
        with streams.naming_errors(self.identity.path):
            self._files.check()
            with streams.naming_part(f"its part at x={left}, y={top}"):
                corner = round(left * scale), round(top * scale)
                return np.asarray(self._slide.read_region(corner, self._level, size))


def open_windowed(path: str, *, memory: int, ignore_alpha: bool, level: int = 0) -> Picture:
    """Open a level of a slide, to be read by windows.

    Raises
    ------
    InputError
        If there is no such level, or packages are not installed.
    DamageError
        If OpenSlide cannot read it.
    """
    with streams.naming_errors(path):
        slide = _opened(path, memory)
        count = slide.level_count
        if level >= count:
            raise no_part(printable(path), "level", count, level)
        pixels = Windowed.from_source(SlideSource(slide, path, level, memory))
        notices: tuple[str, ...] = ()
        if level:
            notices = (level_notice(printable(path), level, count, pixels.shape),)
        opacity = None
        if not ignore_alpha and pixels.extremes[0, 0, 3] < 255:  # what was not scanned
            opacity = plane.of_channel(pixels, lambda window: window[..., 3])
        colors = pixels.converted(lambda window: window[..., :3])
    return Picture(path, colors.as_pixels(), Path(path), notices, opacity, profile=_profile(slide))


def read_whole(path: str, limits: Limits) -> Picture:
    """Read a slide whole.

    Raises
    ------
    InputError
        If it is larger than the limits allow, or as of `open_windowed`.
    """
    with streams.naming_errors(path):
        slide = _opened(path, 0)
        width, height = slide.dimensions
        limits.check_pixels(width, height)
        limits.check_memory(height * width * (4 + 3) + _CHUNK * _CHUNK * 4 * _COPIES)
        samples = SlideSource(slide, path, 0, 0).read(slice(0, height), slice(0, width))
    colors, alpha = np.ascontiguousarray(samples[..., :3]), samples[..., 3]
    opacity = None if (alpha == 255).all() else np.ascontiguousarray(alpha)
    return Picture(path, colors, Path(path), alpha=opacity, profile=_profile(slide))


def _opened(path: str, memory: int) -> Any:
    name = printable(path)
    try:
        import openslide
    except (ImportError, OSError) as error:  # the second without the library in C
        raise InputError(
            f"{name} is a slide, which needs OpenSlide: pip install {PACKAGES}"
        ) from error
    try:
        slide = openslide.OpenSlide(path)
    except openslide.OpenSlideUnsupportedFormatError as error:
        raise DamageError("OpenSlide does not know its format") from error
    except openslide.OpenSlideError as error:
        raise DamageError(f"OpenSlide cannot open it: {error}") from error
    slide.set_cache(openslide.OpenSlideCache(_openslide_bytes(memory)))
    return slide


def _openslide_bytes(memory: int) -> int:
    return min(_OPENSLIDE_BYTES, memory // 8)


def _profile(slide: Any) -> bytes:
    profile = slide.color_profile
    return b"" if profile is None else bytes(profile.tobytes())
