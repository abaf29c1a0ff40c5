"""How any picture is opened whole, and again: a file, a Zarr store, or a slide of several files."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

from patchsim.errors import printable
from patchsim.pictures import path_kinds, reader
from patchsim.pictures.limits import Limits
from patchsim.pictures.reader import DEFAULT_MAX_PIXELS, Picture

if TYPE_CHECKING:
    from patchsim.pictures.reader import Source


class Opening(NamedTuple):
    """How a picture was opened for a search, so that it can be opened again.

    Attributes
    ----------
    frame : int or None
    level : int
    max_pixels : int
        The largest number of pixels that are decoded whole.
    memory : int or None
        Bytes that opening the picture may take.
    alpha : bool
        Whether the fourth channel of an array of uint8 is alpha.
    """

    frame: int | None = None
    level: int = 0
    max_pixels: int = DEFAULT_MAX_PIXELS
    memory: int | None = None
    alpha: bool = True


def open_source(
    source: Source,
    *,
    name: str,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    memory: int | None = None,
    total: int | None = None,
    alpha: bool = True,
) -> Picture:
    """Open a picture as `reader.open_picture` does, one in a Zarr store, or a slide.

    Raises
    ------
    InputError
        If it cannot be read, or is larger than is allowed.
    """
    other: Any = source
    if isinstance(other, str | os.PathLike) and path_kinds.is_zarr(other):
        from patchsim.pictures import zarr_source  # where a picture needs it

        label = os.fspath(other)
        limits = Limits(printable(label), max_pixels, memory, total)
        return zarr_source.read_whole(label, limits, alpha=alpha)
    if isinstance(other, str | os.PathLike) and path_kinds.is_slide(other):
        from patchsim.pictures import slide_source

        label = os.fspath(other)
        return slide_source.read_whole(label, Limits(printable(label), max_pixels, memory, total))
    return reader.open_picture(
        source, name=name, max_pixels=max_pixels, memory=memory, total=total, alpha=alpha
    )
