"""What several kernels need of the same pixels, made once."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from patchsim.engines import Bounds, Problem, Score, Seen, SharedScore
from patchsim.geometry import tiles
from patchsim.types import Pixels

_Made = TypeVar("_Made")


class Shared:
    """The pixels under a tile, and what has been made of them; for one thread.

    Parameters
    ----------
    pixels : array [H, W, C]
    extent : (height, width), optional
        No tile of the search has more pixels: transforms of one length serve all tiles. Without
        it there is one kernel, for which nothing is worth keeping.
    levels : uint8 array [H, W], optional
        Of a `Visibility` image.
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
        self._made: dict[Hashable, tuple[Hashable, Any]] = {}

    def under(
        self, windows: tuple[int, int], size: tuple[int, int], stride: tuple[int, int]
    ) -> Pixels:
        """The pixels under the first (rows, cols) of windows of that size."""
        height, width = tiles.extent(windows, size, stride)
        return self.pixels[:height, :width]

    def once(self, name: Hashable, make: Callable[[], _Made], *, of: Hashable = None) -> _Made:
        """What `make` made first, or last of something else than `of`: that alone is kept."""
        known = self._made.get(name)
        if known is None or known[0] != of:
            self._made.pop(name, None)  # before there are two
            known = self._made[name] = of, make()
        made: _Made = known[1]
        return made

    def forget(self, name: Hashable) -> None:
        self._made.pop(name, None)

    def forget_all(self) -> None:
        self._made.clear()


def of_one(score: SharedScore, problem: Problem) -> Score:
    """What scores a tile's pixels, with their `Seen`, for a kernel that shares them with none."""
    size, stride = problem.kernel[:2], problem.stride

    def alone(pixels: Pixels, seen: Seen | None = None) -> Bounds:
        windows = tiles.map_shape(pixels.shape[:2], size, stride)
        if seen is None:
            return score(Shared(pixels), windows)
        return score(Shared(pixels, levels=seen.levels), windows, seen)

    return alone
