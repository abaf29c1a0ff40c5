"""Cubic B-splines through pictures: their coefficients, and values and slopes between pixels."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchsim.geometry.tiles import Tile
from patchsim.types import Pixels

Floats = NDArray[np.float64]

# The splines' centres, from a pixel, that reach it within a pixel of it.
TAPS = np.arange(-2, 3)
TAIL = 12  # a spline's filter forgets pixels so far away, to 1e-7

# The gradient is that of the picture blurred by so many pixels (standard deviation): finer
# detail is noise to a large part, and where interpolation is worst. Of 0, 0.5, 0.7, 1 and 1.5 the
# best over benchmarks/subpixel.py's pictures.
_BLUR = 0.7


def _around(pixels: Pixels, tile: Tile, margin: int) -> Floats:
    """A rectangle with a margin, as float64; beyond the picture's border it goes on in line."""
    starts, stops, pads = [], [], []
    for start, length, side in zip(
        (tile.top, tile.left), (tile.rows, tile.cols), pixels.shape[:2], strict=True
    ):
        first, last = max(0, start - margin), min(side, start + length + margin)
        starts.append(first)
        stops.append(last)
        pads.append((first - (start - margin), start + length + margin - last))
    inside = pixels[starts[0] : stops[0], starts[1] : stops[1]].astype(np.float64)
    return np.pad(inside, (*pads, (0, 0)), mode="reflect", reflect_type="odd")


def gradient(picture: Pixels, tile: Tile) -> Floats:
    """The derivatives [2, rows, cols, C] in y and x of a part of a picture, a little blurred."""
    from scipy import ndimage

    part = _around(picture, tile, TAIL)
    blurred = ndimage.gaussian_filter(part, (_BLUR, _BLUR, 0), mode="mirror")
    inside = np.s_[TAIL:-TAIL, TAIL:-TAIL]
    derivatives = []
    for axis in (0, 1):
        spline = ndimage.spline_filter1d(blurred, 3, axis=axis, mode="mirror")
        slope = ndimage.correlate1d(spline, [-0.5, 0, 0.5], axis=axis)
        derivatives.append(slope[inside])
    return np.stack(derivatives)


def coefficients(image: Pixels, tile: Tile) -> Floats:
    """The spline's coefficients [taps², rows, cols, C] beside each pixel, y before x."""
    from scipy import ndimage

    spline = _around(image, tile, TAIL - int(TAPS[0]))
    for axis in (0, 1):
        spline = ndimage.spline_filter1d(spline, 3, axis=axis, mode="mirror")
    spline = spline[TAIL:-TAIL, TAIL:-TAIL]
    return np.stack(
        [
            spline[down : down + tile.rows, across : across + tile.cols]
            for down, across in product(range(len(TAPS)), repeat=2)
        ]
    )


def weights(shift: NDArray[Any]) -> tuple[Floats, Floats]:
    """Of coefficients at a shift (y, x): [taps²] for the value, [taps², 2] for its slopes."""
    away = shift[:, None] - TAPS
    t = np.abs(away)
    outer = np.maximum(2 - t, 0)
    values = np.where(t < 1, 2 / 3 - t**2 + t**3 / 2, outer**3 / 6)
    slopes = np.sign(away) * np.where(t < 1, 1.5 * t**2 - 2 * t, -(outer**2) / 2)
    (in_y, in_x), (slope_y, slope_x) = values, slopes
    return (
        np.outer(in_y, in_x).ravel(),
        np.stack([np.outer(slope_y, in_x).ravel(), np.outer(in_y, slope_x).ravel()], axis=1),
    )
