"""Image registration: the sub-pixel position of a kernel, by least squares on the pixels.

The kernel is registered with the image around a window, translation only: the shift d minimises
sum (I(x + d) - K)^2, with I interpolated by cubic B-splines. `ncc` solves for a gain as well, and
`zncc` for a gain and an offset in each channel.

The method is Gauss-Newton after Lucas and Kanade, with the kernel's gradient instead of the image's
(the inverse compositional form of S. Baker and I. Matthews, "Lucas-Kanade 20 Years On", IJCV 56,
2004). Interpolation between noisy pixels smooths them, so that the minimum of the plain sum of
squares is biased towards the middle between pixels. The condition that the residual is orthogonal
to the kernel's gradient has no such bias, as the noise of kernel and image is independent. The
gradients do not depend on d, nor the spline's weights on the pixels, so the sums over pixels are
computed once, and each step works on one small matrix of them.

The pose search has steps of its own, which lead to the maximum of a score (`registration`). With
noise that is another place: it located 32x32 pixels, shifted by up to half a pixel, to 0.02 pixels
(root mean square) without noise, to 0.12 and 0.5 with noise of 2 and 10 of 255. Here it is 0.01,
0.02 and 0.05.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchsim.geometry import tiles
from patchsim.geometry.tiles import Tile
from patchsim.metrics import FLAT, Visibility, formula_of
from patchsim.numerics import bspline
from patchsim.numerics.bspline import TAIL, TAPS, Floats
from patchsim.types import Pixels

# Decimals of a pixel in the result: a hundredth of the accuracy with little noise.
DECIMALS = 4

# The largest standard error, in pixels, of a position that is returned.
LARGEST_ERROR = 0.1

# The largest distance in pixels of the best window from the sub-pixel position.
_REACH = 1.0
_STEP = 1e-5  # pixels; a smaller step ends the iteration
_STEPS = 20

# The least interpolation error, as a share of the gradient, however well the pixels agree.
_INTERPOLATION = 0.01

_LARGEST_TILE = 64  # pixels along a side; the products of a tile fit the processor's cache


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
    """Return the sub-pixel position of a kernel near one window of an image.

    Parameters
    ----------
    image, kernel : array [H, W, C], [h, w, C]
    at : (y, x)
        The top-left pixel of a window that is the best among its neighbours.
    metric : str
    weights : float array [h, w] or [h, w, C], optional
        The weights of the kernel's pixels, or of their values, 0 to 1.
    visible : Visibility, optional
        The visibility of the image's pixels, where not all are visible.
    memory : int, optional
        The bytes that may be allocated; fewer make it slower.

    Returns
    -------
    (y, x) or None
        The top-left corner of the window in pixels, rounded to `DECIMALS`, at most a pixel from
        `at`. None if the pixels do not determine it: without texture in both directions, or if the
        estimated standard error is larger than `LARGEST_ERROR`.
    """
    visibility, start = None, at
    if visible is not None:
        image, visibility, start = _crop_visible(image, visible, at, kernel.shape[:2])
    sums, count = _sums(image, kernel, start, weights, visibility, memory)
    shift = _solve(sums, count, metric, kernel.shape[2])
    if shift is None:
        return None
    y, x = (round(pixel + move, DECIMALS) + 0.0 for pixel, move in zip(at, shift, strict=True))
    return y, x


def _crop_visible(
    image: Pixels, visible: Visibility, at: tuple[int, int], size: tuple[int, int]
) -> tuple[Pixels, Floats, tuple[int, int]]:
    """Return the pixels around a window, its visibility [h, w], and its position in them.

    An interpolated value depends on the pixel's neighbours, so that its visibility is the least of
    theirs. Invisible pixels get the value of the nearest visible one.
    """
    from scipy import ndimage

    top, left = (max(0, start - TAIL - len(TAPS)) for start in at)
    bottom, right = (
        start + length + TAIL + len(TAPS) for start, length in zip(at, size, strict=True)
    )
    index = np.s_[top:bottom, left:right]
    levels = visible.levels[index]
    at = at[0] - top, at[1] - left
    eroded = ndimage.minimum_filter(levels, 3, mode="nearest")
    visibility = eroded[at[0] : at[0] + size[0], at[1] : at[1] + size[1]] / np.float64(
        visible.full_level
    )
    return _fill_hidden(image[index], levels), visibility, at


# The columns that `_sums` multiplies with each other: the kernel's gradient in y and x, the kernel,
# a 1 for each channel, and the spline's coefficients around each pixel.
_GRADIENT = [0, 1]
_KERNEL = 2
_ONES = 3


def _sums(
    image: Pixels,
    kernel: Pixels,
    at: tuple[int, int],
    weights: Floats | None,
    visibility: Floats | None,
    memory: int | None,
) -> tuple[Floats, float]:
    """Return the products of all columns, summed over pixels and channels, and the weights' sum."""
    channels = kernel.shape[2]
    columns = _ONES + channels + len(TAPS) ** 2
    sums, count = np.zeros((columns, columns)), 0.0
    if weights is not None:
        kernel = _fill_hidden(kernel, weights)
    factors = [factor for factor in (weights, visibility) if factor is not None]
    # A shifted window at the image's border reaches outside: its outermost pixels are left out.
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
    """Return the side of a tile in pixels, as large as memory and the cache allow."""
    side = _LARGEST_TILE
    # The columns, and copies of the pixels around the tile from which the splines are made.
    while (
        memory is not None
        and side > 8
        and 8 * channels * (columns * side**2 + 6 * (side + 2 * TAIL + 4) ** 2) > memory
    ):
        side //= 2
    return side


def _fill_hidden(pixels: Pixels, weights: NDArray[Any]) -> Pixels:
    """Return the pixels, with those of weight 0 replaced by the nearest of another weight."""
    from scipy import ndimage

    hidden = (np.atleast_3d(weights) == 0).all(2)
    if not hidden.any() or hidden.all():
        return pixels
    nearest = ndimage.distance_transform_edt(hidden, return_distances=False, return_indices=True)
    filled: Pixels = pixels[tuple(nearest)]
    return filled


def _solve(sums: Floats, count: float, metric: str, channels: int) -> tuple[float, float] | None:
    """Return the shift (y, x) whose residual is orthogonal to the kernel's gradient, or None.

    Parameters
    ----------
    sums : array [columns, columns]
        The products that `_sums` makes.
    count : float
        The number of values that were compared.
    """
    formula = formula_of(metric)
    offsets = list(range(_ONES, _ONES + channels)) if formula.subtracts_means else []
    inverse = np.linalg.pinv(sums[np.ix_(offsets, offsets)], hermitian=True)

    kernel_energy = sums[_KERNEL, _KERNEL]
    # Projecting the offsets out leaves products of values minus their channel's mean.
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
        if formula.correlates:
            # The ratio of contrasts, as both images are noisy: the regression coefficient would be
            # too low by the share of noise in the kernel.
            gain = math.sqrt(max(0.0, float(value @ sums[picture, picture] @ value)) / contrast)
        residual = value @ taps - gain * sums[_KERNEL, _GRADIENT]
        jacobian = taps.T @ slopes  # derivative of the residual by the shift, [2, 2]
        # Where the image's gradient is unlike the kernel's, there is no minimum.
        if np.linalg.eigvalsh(jacobian + jacobian.T)[0] <= 0:
            return None
        step = np.linalg.solve(jacobian, residual)
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
    covariance = np.linalg.solve(jacobian, energy) @ np.linalg.inv(jacobian).T * variance
    if np.linalg.eigvalsh(covariance)[1] > LARGEST_ERROR**2:
        return None
    return float(shift[0]), float(shift[1])
