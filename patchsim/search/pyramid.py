"""Image pyramids: a picture, and its visibility, halved again and again."""

from __future__ import annotations

import numpy as np

from patchsim.metrics import Visibility
from patchsim.types import Pixels


class Pyramid:
    """Level 0 is the picture, each other level half the size of the one before.

    Parameters
    ----------
    pixels : array [H, W, C]
    visible : Visibility, optional
        The visibility of the pixels, where not all are equally visible.
    """

    def __init__(self, pixels: Pixels, visible: Visibility | None) -> None:
        self.levels = [pixels]
        self._visible = [visible]

    def visible(self, level: int, where: tuple[slice, slice]) -> Visibility | None:
        """Return the visibility of a part of a level."""
        seen = self._visible[level]
        return None if seen is None else seen.crop(where)

    def reach(self, level: int) -> None:
        """Make the levels up to this one."""
        while len(self.levels) <= level:
            self.levels.append(halved(self.levels[-1]))
            seen = self._visible[-1]
            if seen is not None:
                seen = Visibility(halved(seen.levels[..., None])[..., 0], seen.full_level)
            self._visible.append(seen)


def halved(pixels: Pixels) -> Pixels:
    """Average 2x2 pixels in their type; an odd last row or column counts twice."""
    height, width, _ = pixels.shape
    if height % 2 or width % 2:
        pixels = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), "edge")
    wide = np.uint32 if pixels.dtype.kind == "u" else pixels.dtype
    total = pixels[::2, ::2].astype(wide)
    for top, left in ((0, 1), (1, 0), (1, 1)):
        total += pixels[top::2, left::2]
    if pixels.dtype.kind == "u":
        return ((total + 2) >> 2).astype(pixels.dtype)
    return total / 4
