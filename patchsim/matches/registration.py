"""Image registration: where a kernel lies between the pixels, by least squares on the pixels.

The kernel is registered with the picture around a window, translation only: the shift d that
minimises sum (I(x + d) - K)^2, I interpolated by cubic B-splines; for `ncc` with a gain, for `zncc`
with a gain and an offset a channel solved along with it.

This is Gauss-Newton in the manner of Lucas and Kanade, with the gradient of the kernel instead of
the picture's (the inverse compositional form of S. Baker and I. Matthews, "Lucas-Kanade 20 Years
On", IJCV 56, 2004). Interpolation between noisy pixels smooths them, so where noise counts, the
plain sum of squares is lowest too near to the middle between pixels; the condition that the
residual is orthogonal to the kernel's gradient has no such bias, as the noise of the kernel does
not know the picture's. And as these gradients do not depend on d, nor the spline's weights on the
pixels, the sums over pixels are made once: the steps work on one small matrix of them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchsim.geometry import tiles
from patchsim.geometry.tiles import Tile
from patchsim.metrics import FLAT, Visibility
from patchsim.numerics import bspline
from patchsim.numerics.bspline import TAIL, TAPS, Floats
from patchsim.types import Pixels

# Decimals of a pixel that are told: a hundredth of what pictures with little noise allow.
DECIMALS = 4

# A position whose standard error is larger, in pixels, is not known between the pixels.
LARGEST_ERROR = 0.1

# The best window is at most so far from the best place; with a stride, the best of its cell.
_REACH = 1.0
_STEP = 1e-5  # a smaller one ends the search
_STEPS = 20

# Interpolation is off by at least such a share of the gradient, however well two pictures agree.
_INTERPOLATION = 0.01

_LARGEST_TILE = 64  # pixels, so that its products stay in the processor's cache


def locate(
    image: Pixels,
    kernel: Pixels,
    at: tuple[int, int],
    metric: str,
    weights: Floats | None = None,
    visible: Visibility | None = None,
    *,
    memory: int | None = None,
) -> tuple[float, float] | None:
    """Where a kernel lies in an image, between the pixels around one window.

    Parameters
    ----------
    image, kernel : array [H, W, C], [h, w, C]
    at : (y, x)
        The top-left pixel of a window, the best among its neighbours.
    metric : str
    weights : float array [h, w] or [h, w, C], optional
        How much the kernel's pixels, or their values, count, 0 to 1.
    visible : Visibility, optional
        How much of the image is visible, where not all of it is.
    memory : int, optional
        Bytes that may be taken; less make it slower.

    Returns
    -------
    (y, x) or None
        The top-left corner of the window, in pixels, to `DECIMALS`; at most a pixel from `at`.
        None where the pixels do not tell it: without texture in both directions, or with so much
        difference that the estimated standard error is larger than `LARGEST_ERROR`.
    """
    shown, start = None, at
    if visible is not None:
        image, shown, start = _around_visible(image, visible, at, kernel.shape[:2])
    sums, count = _sums(image, kernel, start, weights, shown, memory)
    shift = _solve(sums, count, metric, kernel.shape[2])
    if shift is None:
        return None
    y, x = (round(pixel + move, DECIMALS) + 0.0 for pixel, move in zip(at, shift, strict=True))
    return y, x


def _around_visible(
    image: Pixels, visible: Visibility, at: tuple[int, int], size: tuple[int, int]
) -> tuple[Pixels, Floats, tuple[int, int]]:
    """The surroundings of a window, its visibility [h, w], and where it lies in them.

    What is interpolated at a pixel depends on its neighbours, too: it is as visible as the least
    visible of them. Pixels that are not visible are as the nearest that is.
    """
    from scipy import ndimage

    top, left = (max(0, start - TAIL - len(TAPS)) for start in at)
    bottom, right = (
        start + length + TAIL + len(TAPS) for start, length in zip(at, size, strict=True)
    )
    index = np.s_[top:bottom, left:right]
    levels = visible.levels[index]
    at = at[0] - top, at[1] - left
    least = ndimage.minimum_filter(levels, 3, mode="nearest")
    shown = least[at[0] : at[0] + size[0], at[1] : at[1] + size[1]] / np.float64(visible.full_level)
    return _filled(image[index], levels), shown, at


# Columns of the pixels' values that `_sums` multiplies: the kernel's gradient in y and x, the
# kernel, a 1 for each channel; then the spline's coefficients beside each pixel.
_GRADIENT = [0, 1]
_KERNEL = 2
_ONES = 3


def _sums(
    image: Pixels,
    kernel: Pixels,
    at: tuple[int, int],
    weights: Floats | None,
    shown: Floats | None,
    memory: int | None,
) -> tuple[Floats, float]:
    """Sums over the kernel's pixels and channels of products of all columns, and their weights."""
    channels = kernel.shape[2]
    columns = _ONES + channels + len(TAPS) ** 2
    sums, count = np.zeros((columns, columns)), 0.0
    if weights is not None:
        kernel = _filled(kernel, weights)
    factors = [each for each in (weights, shown) if each is not None]
    # At the picture's border the outermost pixels could be compared with what is outside.
    rows, cols = (
        (int(start == 0), length - int(start + length == side))
        for start, length, side in zip(at, kernel.shape[:2], image.shape[:2], strict=True)
    )
    side = _tile_side(memory, columns, channels)
    inner = max(0, rows[1] - rows[0]), max(0, cols[1] - cols[0])
    for tile in tiles.split(inner, (side, side)):
        inside = Tile(rows[0] + tile.top, cols[0] + tile.left, tile.rows, tile.cols)
        values = np.zeros((columns, tile.rows, tile.cols, channels))
        values[_GRADIENT] = bspline.gradient(kernel, inside)
        values[_KERNEL] = kernel[inside.index]
        for channel in range(channels):
            values[_ONES + channel, ..., channel] = 1
        under = Tile(at[0] + inside.top, at[1] + inside.left, tile.rows, tile.cols)
        values[_ONES + channels :] = bspline.coefficients(image, under)
        for factor in factors:
            values *= np.sqrt(np.atleast_3d(factor[inside.index]))
        flat = values.reshape(columns, -1)
        sums += flat @ flat.T
        count += float((flat[_ONES : _ONES + channels] ** 2).sum())
    return sums, count


def _tile_side(memory: int | None, columns: int, channels: int) -> int:
    """Pixels: as many as memory and the cache allow."""
    side = _LARGEST_TILE
    # The columns, and some copies of the pixels around that the splines are made from.
    while (
        memory is not None
        and side > 8
        and 8 * channels * (columns * side**2 + 6 * (side + 2 * TAIL + 4) ** 2) > memory
    ):
        side //= 2
    return side


def _filled(pixels: Pixels, weights: NDArray[Any]) -> Pixels:
    """A picture with its nearest pixel that counts in place of each that does not."""
    from scipy import ndimage

    hidden = (np.atleast_3d(weights) == 0).all(2)
    if not hidden.any() or hidden.all():
        return pixels
    nearest = ndimage.distance_transform_edt(hidden, return_distances=False, return_indices=True)
    filled: Pixels = pixels[tuple(nearest)]
    return filled


def _solve(sums: Floats, count: float, metric: str, channels: int) -> tuple[float, float] | None:
    """The shift (y, x) that leaves a residual orthogonal to the kernel's gradient, if it is sure.

    Parameters
    ----------
    sums : array [columns, columns]
        Of products, as `_sums` makes them.
    count : float
        Values that were compared.
    """
    offsets = list(range(_ONES, _ONES + channels)) if metric == "zncc" else []
    inverse = np.linalg.pinv(sums[np.ix_(offsets, offsets)], hermitian=True)

    kernel_energy = sums[_KERNEL, _KERNEL]
    # Less what offsets explain, which leaves products of values less their channel's mean.
    sums = sums - sums[:, offsets] @ (inverse @ sums[offsets])
    energy = sums[np.ix_(_GRADIENT, _GRADIENT)]
    contrast = sums[_KERNEL, _KERNEL]
    if min(np.linalg.eigvalsh(energy)[0], contrast) <= FLAT * kernel_energy:
        return None
    picture = slice(_ONES + channels, None)
    taps = sums[picture, _GRADIENT]
    shift, gain = np.zeros(2), 1.0
    for _ in range(_STEPS):
        value, slopes = bspline.weights(shift)
        if metric in ("ncc", "zncc"):
            # The ratio of contrasts, as both pictures have noise: that of products with the
            # kernel, which regression has, is too low by the noise's share in the kernel.
            gain = math.sqrt(max(0.0, float(value @ sums[picture, picture] @ value)) / contrast)
        residual = value @ taps - gain * sums[_KERNEL, _GRADIENT]
        change = taps.T @ slopes  # of the residual with the shift, [2, 2]
        # Where the picture's gradient is not the kernel's, there is no minimum to go to.
        if np.linalg.eigvalsh(change + change.T)[0] <= 0:
            return None
        step = np.linalg.solve(change, residual)
        shift -= step
        if np.abs(shift).max() > _REACH:
            return None
        if np.abs(step).max() < _STEP:
            break
    else:
        return None

    difference = np.zeros(len(sums))
    difference[picture], difference[_KERNEL] = value, -gain
    unexplained = float(difference @ sums @ difference)
    variance = max(unexplained, _INTERPOLATION**2 * float(np.trace(energy))) / count
    spread = np.linalg.solve(change, energy) @ np.linalg.inv(change).T * variance
    if np.linalg.eigvalsh(spread)[1] > LARGEST_ERROR**2:
        return None
    return float(shift[0]), float(shift[1])
