"""Edges: pictures as the magnitude and direction of their gradients.

Y is the luma of a picture, in [0, 1] of the data range, and ``gx = (Y(x+1) - Y(x-1)) / 2``, ``gy =
(Y(y+1) - Y(y-1)) / 2`` its central differences, beyond the border with the nearest pixel. m is the
magnitude and t the direction of (gx, gy). The two channels are m cos 2t and m sin 2t: with the
doubled angle an edge from dark to light is the same as one from light to dark, as in the structure
tensor (Granlund and Knutsson, Signal Processing for Computer Vision, 1995). In units of R they are
``(128 + 127 sqrt(2) m cos 2t) / 255`` and ``(128 + 127 sqrt(2) m sin 2t) / 255``; sqrt(2) m is at
most 1.

What of a gradient depends on pixels that do not count, or that lie outside the kernel, does not
count: the outermost pixels of a kernel, and neighbours of those that are masked or transparent.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchsim.errors import InputError, printable, titled
from patchsim.geometry import tiles
from patchsim.geometry.area import DEFAULT_PADDING, TRANSPARENT
from patchsim.metrics import Visibility
from patchsim.options import Options
from patchsim.pictures import windowed
from patchsim.types import Pixels, Weights

NAME = "edges"
CHANNELS = 2
RIM = 1  # pixels around those whose edges count, from which these are made

_ROWS, _COLS = 16, 512  # of a block that is converted at a time

_Plane = NDArray[np.floating[Any]]


def convert(pixels: Pixels, luma: Callable[[Pixels], _Plane], largest: int | None) -> Pixels:
    """Return the two channels of a picture.

    Parameters
    ----------
    pixels : array [H, W, C]
    luma : array [h, w, C] -> array [h, w]
        The luma of a block, in [0, 1].
    largest : int, optional
        R of integers, to which results are rounded; None for floats.

    Returns
    -------
    array [H, W, 2]
        In the same dtype.
    """
    height, width, _ = pixels.shape
    result = np.empty((height, width, CHANNELS), pixels.dtype)
    for tile in tiles.split((height, width), (_ROWS, _COLS)):
        rows, cols = tile.index
        above, before = max(rows.start - 1, 0), max(cols.start - 1, 0)
        around = luma(pixels[above : rows.stop + 1, before : cols.stop + 1])
        # Beyond the border the nearest pixels go on.
        down = (int(above == rows.start), int(rows.stop >= height))
        across = (int(before == cols.start), int(cols.stop >= width))
        around = np.pad(around, (down, across), "edge")
        right = (around[1:-1, 2:] - around[1:-1, :-2]) / 2
        below = (around[2:, 1:-1] - around[:-2, 1:-1]) / 2
        length = np.sqrt(right * right + below * below)
        length[length == 0] = 1  # without a gradient both channels are 0 all the same
        doubled = (right * right - below * below) / length, 2 * right * below / length
        for channel, plane in enumerate(doubled):
            unit = (plane * plane.dtype.type(127 * math.sqrt(2)) + 128) / 255
            scaled = np.rint(unit * unit.dtype.type(largest)) if largest else unit
            result[rows, cols, channel] = scaled
    return result


def kernel_weights(weights: Weights | None, size: tuple[int, int], name: str) -> Weights:
    """Return the weights of a kernel's edges.

    Parameters
    ----------
    weights : uint8 array [h, w], optional
        Those of its pixels.
    size : (h, w)
    name : str
        The kernel's name in messages.

    Raises
    ------
    InputError
        If no edge counts.
    """
    given = np.ones(size, np.uint8) if weights is None else weights
    around = np.pad(given, 1)
    result = least(around)[1:-1, 1:-1]
    if not result.any():
        raise InputError(
            f"{titled('kernel', name)} has no pixel whose four neighbours all count, as edges need;"
            "\ngive a larger one, or another --color (color=)"
        )
    return np.ascontiguousarray(result)


def visibility(visible: Visibility | None, padding: str) -> Visibility | None:
    """Return the visibility of an image's edges; with a transparent padding also of its border."""
    if visible is None:
        return None
    levels = visible.levels
    levels = least(np.pad(levels, 1))[1:-1, 1:-1] if padding == TRANSPARENT else least(levels)
    return Visibility(np.ascontiguousarray(levels), visible.full_level)


def least(levels: Weights) -> Weights:
    """Return the least level of each pixel and its four neighbours, as far as there are any."""
    result = levels.copy()
    for here, there in ((np.s_[1:], np.s_[:-1]), (np.s_[:-1], np.s_[1:])):
        np.minimum(result[here], levels[there], out=result[here])
        np.minimum(result[:, here], levels[:, there], out=result[:, here])
    return result


def check(image: Pixels, name: str, options: Options) -> None:
    """Check that edges can be compared in such a search.

    Raises
    ------
    InputError
        If the image is read by windows, whose borders would show, if poses are asked for, or a
        padding with pixels, of which the edges would have to be found, too.
    """
    if windowed.of(image) is not None:
        raise InputError(
            f"{printable(name)} is read by windows, because it is too large to be read whole, and"
            " edges need the pixels around each;\ngive another --color (color=) or a --region, or"
            " allow more with --max-pixels and --memory"
        )
    if options.padding not in (DEFAULT_PADDING, TRANSPARENT):
        raise InputError(
            f"--padding {options.padding} (padding=) continues colours, and --color edges compares"
            " gradients, which change there;\ngive --padding transparent or none"
        )
    if options.poses is not None:
        raise InputError(
            "--color edges compares gradients, which have a direction and a size of their own where"
            " the kernel is scaled, turned or mirrored;\nleave out --scales, --angles and --flips,"
            " or give --color gray with --metric zncc"
        )
