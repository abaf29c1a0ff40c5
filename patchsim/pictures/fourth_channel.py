"""The fourth channel of an array: alpha where its values are bytes, else a channel.

Libraries give screenshots and PNGs with alpha as arrays of uint8 with four channels, whose colours
below alpha 0 mean nothing. Arrays of other types with four channels are mostly measurements in four
bands, and alpha is kept in 8 bits, so that theirs would lose depth; these stay channels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchsim.pictures import plane
from patchsim.pictures.limits import Decoded
from patchsim.pictures.windowed import Windowed

_ALPHA = (
    "an array of uint8 with 4 channels is taken as colours and alpha, like a file;"
    " give alpha=False (--no-alpha) to compare 4 channels"
)
_UNUSED = (
    "an array of uint8 with 4 channels has 0 throughout the fourth, which is left out as unused;"
    " give alpha=False (--no-alpha) to compare 4 channels"
)
_CHANNELS = (
    "an array of {} with 4 channels is compared in all 4; if the fourth is alpha, give the first 3,"
    " or uint8,\nand if it is none, say so with alpha=False (--no-alpha)"
)


def split_windowed(
    pixels: Windowed, array_type: np.dtype[Any], *, ignore_alpha: bool
) -> tuple[Windowed, NDArray[np.uint8] | None, tuple[str, ...]]:
    """Do as `split` does for an array that is read by windows.

    Returns
    -------
    pixels : Windowed
    alpha : Plane or None
        The fourth channel, if it is alpha and not opaque throughout. It is read once to tell,
        unless alpha is ignored anyway.
    notices : tuple of str
    """
    if pixels.shape[2] != 4:
        return pixels, None, ()
    if array_type != np.uint8:
        return pixels, None, (_CHANNELS.format(array_type.name),)
    colors = pixels.converted(lambda window: window[..., :3])
    if ignore_alpha:
        return colors, None, (_ALPHA,)
    lowest, highest = pixels.extremes[:, 0, 3].tolist()
    if highest == 0:
        return colors, None, (_UNUSED,)
    if lowest == 255:
        return colors, None, (_ALPHA,)
    return colors, plane.of_channel(pixels, lambda window: window[..., 3]), (_ALPHA,)


def split(array: Decoded) -> Decoded:
    """Return an array [H, W, C] without the fourth channel where that is alpha.

    The notices say what became of a fourth channel; they name no picture, so that each is told once
    for many.
    """
    dtype = array.array_type
    if array.pixels.shape[2] != 4 or dtype is None:
        return array
    if dtype != np.uint8:
        return array._replace(notices=(*array.notices, _CHANNELS.format(dtype.name)))
    # Engines are fastest where channels lie side by side.
    colors, alpha = np.ascontiguousarray(array.pixels[..., :3]), array.pixels[..., 3]
    if not alpha.any():  # the filler byte of a screenshot: no picture is transparent everywhere
        return array._replace(pixels=colors, notices=(*array.notices, _UNUSED))
    opacity = None if (alpha == 255).all() else np.ascontiguousarray(alpha)
    return array._replace(pixels=colors, alpha=opacity, notices=(*array.notices, _ALPHA))
