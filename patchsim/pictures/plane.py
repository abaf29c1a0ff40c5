"""One channel [H, W] of a picture that is read by windows, where the search takes an array."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from patchsim.pictures import windowed
from patchsim.pictures.windowed import Windowed

_ALL = slice(None)


@dataclass(frozen=True, eq=False)
class Plane:
    """A picture of one channel, of which windows are arrays [h, w].

    Attributes
    ----------
    picture : Windowed
        Of one channel.
    """

    picture: Windowed

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.picture.shape[:2]

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the values."""
        return self.picture.dtype

    @property
    def itemsize(self) -> int:
        """Bytes of a value."""
        return self.picture.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes that are held, not those of all values."""
        return self.picture.nbytes

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, window: slice | tuple[slice, slice]) -> NDArray[Any]:
        """Read a window, or whole rows."""
        return self.picture[window if isinstance(window, tuple) else (window, _ALL)][..., 0]

    def as_array(self) -> NDArray[Any]:
        """Return itself, typed as an array."""
        return cast("NDArray[Any]", self)


def of_channel(picture: Windowed, channel: Callable[[Any], NDArray[Any]]) -> NDArray[Any]:
    """Return a channel of a picture: a function of windows [h, w, C] that gives [h, w]."""
    one = picture.converted(lambda window: channel(window)[..., None])
    return Plane(_without_cache(one)).as_array()


def of(levels: object) -> Plane | None:
    """Return a channel that is read by windows, or None for an array."""
    return levels if isinstance(levels, Plane) else None


def with_channel(levels: NDArray[Any]) -> NDArray[Any]:
    """Return levels [H, W] as a picture [H, W, 1]."""
    plane = of(levels)
    return levels[..., None] if plane is None else plane.picture.as_pixels()


def without_channel(pixels: NDArray[Any]) -> NDArray[Any]:
    """Return a picture [H, W, 1] as levels [H, W]."""
    picture = windowed.of(pixels)
    return pixels[..., 0] if picture is None else Plane(picture).as_array()


def without_first(levels: NDArray[Any], rows: int, cols: int) -> NDArray[Any]:
    """Return levels without the first rows and columns; nothing is read."""
    return without_channel(windowed.without_first(with_channel(levels), rows, cols))


def _without_cache(picture: Windowed) -> Windowed:
    """Return a part of a picture whose held bytes are counted with it."""
    return replace(picture, held=0, cache=None)
