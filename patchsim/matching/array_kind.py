"""Which arrays are searched alike."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

_TYPES = tuple(map(np.dtype, ("?", "u1", "u2", "i1", "i2", "i4", "u4", "f2", "f4", "f8")))


class Kind(NamedTuple):
    """The arrays that are searched alike, and whether their maps are kept."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    keeps_map: bool


def kind_of(image: object, map_asked: object) -> Kind | None:
    """Return the kind of an image, or None if no other is searched like it.

    Parameters
    ----------
    image : path, PIL image or array
    map_asked : bool, path or None
    """
    if type(image) is not np.ndarray or image.dtype not in _TYPES:
        return None
    if map_asked is None or isinstance(map_asked, bool):
        return Kind(image.shape, image.dtype, map_asked is True)
    return None
