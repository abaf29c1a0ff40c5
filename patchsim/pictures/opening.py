"""How any picture is opened whole: a file, a Zarr store, or a slide of several files."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from patchsim.errors import printable
from patchsim.pictures import reader, slide_source, zarr_layout
from patchsim.pictures.limits import Limits
from patchsim.pictures.reader import DEFAULT_MAX_PIXELS, Picture

if TYPE_CHECKING:
    from patchsim.pictures.reader import Source


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
    if isinstance(other, str | os.PathLike) and zarr_layout.is_zarr(other):
        from patchsim.pictures import zarr_source  # where a picture needs it

        label = os.fspath(other)
        limits = Limits(printable(label), max_pixels, memory, total)
        return zarr_source.read_whole(label, limits, alpha=alpha)
    if isinstance(other, str | os.PathLike) and slide_source.is_slide(other):
        label = os.fspath(other)
        return slide_source.read_whole(label, Limits(printable(label), max_pixels, memory, total))
    return reader.open_picture(
        source, name=name, max_pixels=max_pixels, memory=memory, total=total, alpha=alpha
    )
