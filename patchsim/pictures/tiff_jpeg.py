"""Whether JPEGs in a TIFF end early, of which neither Pillow nor tifffile says a word."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from patchsim.pictures import jpeg, tiff_directory

if TYPE_CHECKING:
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    from patchsim.types import Pixels

_STRIP_BYTES, _TILE_WIDTH, _TILE_HEIGHT, _TILE_BYTES, _TABLES = 279, 322, 323, 325, 347
_CHUNKY = 1  # the planar configuration of pixels whose channels stand together
_MOST = 256  # strips or tiles that are decoded once more


class _Segments(NamedTuple):
    """The strips or tiles of a page: where they lie, their bytes, and their height and width."""

    kind: str
    places: tuple[float, ...]
    lengths: tuple[float, ...]
    tall: int
    wide: int


def complaint(stream: BinaryIO, tags: ImageFileDirectory_v2, pixels: Pixels) -> str | None:
    """Return that strips or tiles end early, or None.

    Those whose last visible pixel may have been filled up are decoded once more.

    Parameters
    ----------
    stream : binary file
    tags : ImageFileDirectory_v2
        Of the page.
    pixels : array [H, W, C]
        The page as it was decoded. Values of more than 8 bits are not looked at.
    """
    width, height = tiff_directory.size(tags)
    if not _is_jpeg(tags) or pixels.dtype != np.uint8 or pixels.shape[:2] != (height, width):
        return None
    segments = _segments(tags, width, height)
    if segments.tall < 1 or segments.wide < 1:
        return None
    rows, cols = _ends(height, segments.tall), _ends(width, segments.wide)
    suspected = np.flatnonzero(jpeg.may_be_filled(pixels[np.ix_(rows, cols)]))
    tables = tags.get(_TABLES)
    count = 0
    for number in suspected[:_MOST]:
        if number < min(len(segments.places), len(segments.lengths)):
            stream.seek(int(segments.places[number]))
            content = stream.read(int(segments.lengths[number]))
            count += is_truncated(content, tables, segments.tall * segments.wide)
    if not count:
        return None
    return f"the data of {count} of its {len(segments.places)} {segments.kind} end early"


def is_truncated(content: bytes, tables: object, pixels: int) -> bool:
    """Return whether the data of a strip or tile end before its last blocks.

    Parameters
    ----------
    content : bytes
    tables : bytes, or anything else for none
        What the JPEGs of the page have in common, between marks of its own.
    pixels : int
        How many it has at most.
    """
    stream = tables[:-2] + content[2:] if isinstance(tables, bytes) else content
    return jpeg.is_truncated(stream, pixels)


def _is_jpeg(tags: ImageFileDirectory_v2) -> bool:
    number = tiff_directory.whole_number
    compression = number(tags, tiff_directory.COMPRESSION, tiff_directory.UNCOMPRESSED)
    planes = number(tags, tiff_directory.PLANAR_CONFIGURATION, _CHUNKY)
    return compression == tiff_directory.JPEG and planes == _CHUNKY


def _segments(tags: ImageFileDirectory_v2, width: int, height: int) -> _Segments:
    number, numbers = tiff_directory.whole_number, tiff_directory.numbers
    if tiff_directory.TILE_OFFSETS in tags:
        places, lengths = (
            numbers(tags, name, ()) for name in (tiff_directory.TILE_OFFSETS, _TILE_BYTES)
        )
        tall, wide = number(tags, _TILE_HEIGHT, 0), number(tags, _TILE_WIDTH, 0)
        return _Segments("tiles", places, lengths, tall, wide)
    places, lengths = (
        numbers(tags, name, ()) for name in (tiff_directory.STRIP_OFFSETS, _STRIP_BYTES)
    )
    tall = min(height, number(tags, tiff_directory.ROWS_PER_STRIP, height))
    return _Segments("strips", places, lengths, tall, width)


def _ends(size: int, step: int) -> NDArray[np.intp]:
    """Return the last visible row or column of each segment."""
    return np.minimum(np.arange(step, size + step, step), size) - 1
