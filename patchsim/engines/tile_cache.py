"""The pixels under a tile, and intermediate results that several kernels need of them."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from patchsim.geometry import tiles
from patchsim.types import Pixels

_Value = TypeVar("_Value")
_Fields = TypeVar("_Fields")


class Cached(Generic[_Value]):
    """One value, made when it is first asked for."""

    def __init__(self) -> None:
        self._entry: tuple[Hashable, _Value] | None = None

    def get(self, make: Callable[[], _Value], *, key: Hashable = None) -> _Value:
        """Return the value for `key`, which `make` makes if the last value had another key."""
        if self._entry is None or self._entry[0] != key:
            self._entry = None  # frees the old value before there are two
            self._entry = key, make()
        return self._entry[1]

    def clear(self) -> None:
        self._entry = None


class Shared:
    """The pixels under a tile, and what engines keep of them; used by one thread.

    Parameters
    ----------
    pixels : array [H, W, C]
    extent : (height, width), optional
        No tile of the search has more pixels, so transforms of one length serve all tiles. Without
        it there is one kernel, for which nothing is worth keeping.
    levels : uint8 array [H, W], optional
        Visibility of the pixels, if it differs between the image's pixels.
    """

    def __init__(
        self,
        pixels: Pixels,
        extent: tuple[int, int] | None = None,
        levels: NDArray[np.uint8] | None = None,
    ) -> None:
        self.pixels = pixels
        self.extent = extent
        self.levels = levels
        self._fields: dict[type[Any], Any] = {}

    def under(
        self, windows: tuple[int, int], size: tuple[int, int], stride: tuple[int, int]
    ) -> Pixels:
        """Return the pixels under the first (rows, cols) of windows of that size."""
        height, width = tiles.extent(windows, size, stride)
        return self.pixels[:height, :width]

    def fields(self, kind: type[_Fields]) -> _Fields:
        """Return this tile's instance of a class in which an engine declares what it keeps."""
        if kind not in self._fields:
            self._fields[kind] = kind()
        return cast(_Fields, self._fields[kind])

    def clear(self) -> None:
        """Forget everything that engines keep."""
        self._fields.clear()
