"""The strip below a picture of a map that says which score has which colour."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from patchsim.output import digits
from patchsim.output.stretch import BRIGHTNESS, SHARES, Stretch

LEAST_WIDTH = 300  # pixels in which the numbers do not touch
_SCALE_WIDTH = 900  # pixels of width for each further step in size
_LARGEST_FACTOR = 8
_UNNAMED = 1  # the level without numbers: it is too close to the lowest
_DECIMALS = 4


def height(width: int) -> int:
    """Return the height of the strip below a picture of this width, in pixels."""
    return 34 * _factor(width)


def _factor(width: int) -> int:
    return max(1, min(_LARGEST_FACTOR, width // _SCALE_WIDTH))


def draw(stretch: Stretch, width: int, largest: int, ink: int, paper: int) -> NDArray[np.uint8]:
    """Draw the strip: shares of the best windows, the colours, and the scores at the ticks.

    Parameters
    ----------
    stretch : Stretch
    width : int
        At least `LEAST_WIDTH`.
    largest : int
        The index of the brightest colour; 0 is the darkest.
    ink, paper : int
        The indices of the colours of numbers and background.

    Returns
    -------
    uint8 array [height, width]
        Indices of colours.
    """
    factor = _factor(width)
    strip = np.full((height(width), width), paper, np.uint8)
    top, bottom = 12 * factor, 22 * factor
    strip[top:bottom] = np.rint(np.linspace(0, largest, width))
    if stretch.high <= stretch.low:
        strip[top:bottom] = largest
    for number, (share, level, brightness) in enumerate(
        zip(SHARES, stretch.levels, BRIGHTNESS, strict=True)
    ):
        x = round(brightness * (width - 1))
        strip[top - factor : top, max(0, x - factor + 1) : x + 1] = ink
        strip[bottom : bottom + factor, max(0, x - factor + 1) : x + 1] = ink
        if number == _UNNAMED:
            continue
        best = f"{100 * (1 - share):.3g}%" if 0 < share < 1 else ""
        _write(strip, best, x, 2 * factor, factor, ink)
        _write(strip, f"{level:.{_DECIMALS}f}", x, bottom + 3 * factor, factor, ink)
    return strip


def _write(
    strip: NDArray[np.uint8], text: str, middle: int, top: int, factor: int, ink: int
) -> None:
    """Write a number around a column, or inside the strip's edge."""
    if not text:
        return
    word = digits.picture(text, factor)
    tall, wide = word.shape
    left = min(max(factor, middle - wide // 2), strip.shape[1] - wide - factor)
    strip[top : top + tall, left : left + wide][word] = ink
