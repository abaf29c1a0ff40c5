"""How a picture is interpolated between pixels, values and slopes, by cubic B-splines."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchsim.geometry.tiles import Tile
from patchsim.types import Pixels

Floats = NDArray[np.float64]

# Offsets of the splines whose support reaches a point less than one pixel away from a pixel.
TAPS = np.arange(-2, 3)
# Pixels further away than this change a spline coefficient by less than 1e-7.
TAIL = 12

# The gradient is taken after a Gaussian blur with this standard deviation, in pixels: finer detail
# is mostly noise, and interpolates worst. 0.7 was the best of 0, 0.5, 0.7, 1 and 1.5 on the
# pictures of benchmarks/subpixel.py.
_BLUR = 0.7


def _with_margin(pixels: Pixels, tile: Tile, margin: int) -> Floats:
    """Return a rectangle with a margin, as float64.

    Beyond the picture's border the values are reflected at the border value (odd reflection), so
    that slopes continue.
    """
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
    """Return the derivatives in y and x of the slightly blurred picture, inside a tile.

    Parameters
    ----------
    picture : array [H, W, C]
    tile : Tile
        The rectangle of pixels.

    Returns
    -------
    float64 array [2, rows, cols, C]
        Differences of value per pixel.
    """
    from scipy import ndimage

    pixels = _with_margin(picture, tile, TAIL)
    blurred = ndimage.gaussian_filter(pixels, (_BLUR, _BLUR, 0), mode="mirror")
    inside = np.s_[TAIL:-TAIL, TAIL:-TAIL]
    derivatives = []
    for axis in (0, 1):
        spline = ndimage.spline_filter1d(blurred, 3, axis=axis, mode="mirror")
        slope = ndimage.correlate1d(spline, [-0.5, 0, 0.5], axis=axis)
        derivatives.append(slope[inside])
    return np.stack(derivatives)


def coefficients(image: Pixels, tile: Tile) -> Floats:
    """Return the spline coefficients around each pixel of a tile.

    Parameters
    ----------
    image : array [H, W, C]
    tile : Tile
        The rectangle of pixels.

    Returns
    -------
    float64 array [taps², rows, cols, C]
        The coefficients at the offsets `TAPS` in y and x; x varies fastest.
    """
    from scipy import ndimage

    spline = _with_margin(image, tile, TAIL - int(TAPS[0]))
    for axis in (0, 1):
        spline = ndimage.spline_filter1d(spline, 3, axis=axis, mode="mirror")
    spline = spline[TAIL:-TAIL, TAIL:-TAIL]
    return np.stack(
        [
            spline[row : row + tile.rows, col : col + tile.cols]
            for row, col in product(range(len(TAPS)), repeat=2)
        ]
    )


def weights(shift: NDArray[Any]) -> tuple[Floats, Floats]:
    """Return the weights of the coefficients for a point between pixels.

    Parameters
    ----------
    shift : array [2]
        The point's offset (y, x) from the pixel, in pixels, from -1 to 1.

    Returns
    -------
    value_weights : float64 array [taps²]
    slope_weights : float64 array [taps², 2]
        For the derivatives in y and x.
    """
    offset = shift[:, None] - TAPS
    t = np.abs(offset)
    outer = np.maximum(2 - t, 0)
    values = np.where(t < 1, 2 / 3 - t**2 + t**3 / 2, outer**3 / 6)
    slopes = np.sign(offset) * np.where(t < 1, 1.5 * t**2 - 2 * t, -(outer**2) / 2)
    (in_y, in_x), (slope_y, slope_x) = values, slopes
    return (
        np.outer(in_y, in_x).ravel(),
        np.stack([np.outer(slope_y, in_x).ravel(), np.outer(in_y, slope_x).ravel()], axis=1),
    )
