"""How any picture is opened whole: a file, or a Zarr store, which is a folder of files."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from patchsim.errors import printable
from patchsim.pictures import reader, zarr_layout
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
    """Open a picture as `reader.open_picture` does, or one in a Zarr store.

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
    return reader.open_picture(
        source, name=name, max_pixels=max_pixels, memory=memory, total=total, alpha=alpha
    )
