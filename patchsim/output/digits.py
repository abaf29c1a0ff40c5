"""Digits as small pictures: a heatmap is written without loading fonts, which takes longer."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

HEIGHT, WIDTH, GAP = 7, 5, 1
# Rows from top to bottom, five bits each.
_GLYPHS = {
    "0": "0e 11 13 15 19 11 0e", "1": "04 0c 04 04 04 04 0e", "2": "0e 11 01 02 04 08 1f",
    "3": "1f 02 04 02 01 11 0e", "4": "02 06 0a 12 1f 02 02", "5": "1f 10 1e 01 01 11 0e",
    "6": "06 08 10 1e 11 11 0e", "7": "1f 01 02 04 08 08 08", "8": "0e 11 11 0e 11 11 0e",
    "9": "0e 11 11 0f 01 02 0c", ".": "00 00 00 00 00 0c 0c", "-": "00 00 00 1f 00 00 00",
    "%": "18 19 02 04 08 13 03",
}  # fmt: skip


def picture(text: str, factor: int) -> NDArray[np.bool_]:
    """Return digits, points, minus and percent signs as a picture, each pixel so many in size.

    Returns
    -------
    bool array [7 factor, 6 n factor]
        For n characters, with a gap behind each.
    """
    canvas = np.concatenate([_glyph(character) for character in text], axis=1)
    return canvas if factor == 1 else canvas.repeat(factor, axis=0).repeat(factor, axis=1)


@cache
def _glyph(character: str) -> NDArray[np.bool_]:
    rows = np.array([[int(row, 16)] for row in _GLYPHS[character].split()], np.uint8)
    bits = np.unpackbits(rows, axis=1)[:, 8 - WIDTH :]
    return np.pad(bits, ((0, 0), (0, GAP))).astype(bool)
