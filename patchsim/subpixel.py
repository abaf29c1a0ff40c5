"""Where between the pixels a match lies: least squares on the pixels, from the integer window.

The kernel is registered with the picture around the match, translation only: the shift d that
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
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchsim import contest, plan, search, tiles
from patchsim.contest import Peak
from patchsim.engines import Problem
from patchsim.metrics import FLAT, Kernel, Pixels, Visible
from patchsim.plan import Plan
from patchsim.tiles import Tile

Floats = NDArray[np.float64]

# Decimals of a pixel that are told: a hundredth of what pictures with little noise allow.
DECIMALS = 4

# A position whose standard error is larger, in pixels, is not known between the pixels.
LARGEST_ERROR = 0.1

# The best window is at most so far from the best place; with a stride, the best of its cell.
_REACH = 1.0
_STEP = 1e-5  # a smaller one ends the search
_STEPS = 20

# The kernel's gradient is that of the kernel blurred by so many pixels (standard deviation): finer
# detail is noise to a large part, and where interpolation is worst. Of 0, 0.5, 0.7, 1 and 1.5 the
# best over benchmarks/subpixel.py's pictures.
_BLUR = 0.7

# Interpolation is off by at least such a share of the gradient, however well two pictures agree.
_INTERPOLATION = 0.01

_TAPS = np.arange(-2, 3)  # the splines' centres, from a pixel, that reach it within _REACH
_TAIL = 12  # a spline's filter forgets pixels so far away, to 1e-7
_LARGEST_TILE = 64  # pixels, so that its products stay in the processor's cache


def refine(
    matches: Sequence[Peak],
    plans: Sequence[Plan],
    images: Sequence[Pixels],
    kernels: Sequence[Kernel],
    seen: Sequence[Visible | None],
) -> list[tuple[float, float] | None]:
    """Where each match lies between the pixels.

    Parameters
    ----------
    matches : sequence of Peak
    plans : sequence of Plan
        One a kernel, those that the matches were searched by.
    images : sequence of arrays [H, W, C]
        One a kernel: what it was searched in.
    kernels : sequence of Kernel
    seen : sequence of Visible or None
        One a kernel: how much of the image is visible, where not all of it is.

    Returns
    -------
    list of (y, x) or None
        Of the window's top-left corner, in pixels, as `locate` gives it.
    """
    found = []
    for peak in matches:
        chosen, image, kernel = plans[peak.field], images[peak.field], kernels[peak.field]
        visible = seen[peak.field]
        y, x = _best_of_cell(chosen, image, kernel, visible, (peak.y, peak.x))
        weights = kernel.weights
        counts = None if weights is None else weights / np.float64(weights.max())
        free = chosen.memory - chosen.held
        metric = chosen.problem.metric
        at, shown = (y, x), None
        if visible is not None:
            image, shown, at = _around_visible(image, visible, at, kernel.pixels.shape[:2])
        corner = locate(image, kernel.pixels, at, metric, counts, shown, memory=free)
        moved = y - at[0], x - at[1]
        found.append(corner and _rounded(corner, moved))
    return found


def cell(problem: Problem) -> Problem:
    """The search for the best window around a match of this one, at each pixel, at its largest.

    Between the match and the next windows of its stride; and no further than half the kernel, as
    windows beyond show something else.
    """
    sides = [
        min(side, length + 2 * reach)
        for side, length, reach in zip(
            problem.image[:2], problem.kernel[:2], _cell_reach(problem), strict=True
        )
    ]
    image = (sides[0], sides[1], problem.image[2])
    return replace(problem, image=image, stride=(1, 1), device="cpu", map_wanted=False, together=1)


def _cell_reach(problem: Problem) -> tuple[int, int]:
    down, across = (
        min(step - 1, length // 2)
        for step, length in zip(problem.stride, problem.kernel[:2], strict=True)
    )
    return down, across


def _best_of_cell(
    chosen: Plan,
    image: Pixels,
    kernel: Kernel,
    visible: Visible | None,
    at: tuple[int, int],
) -> tuple[int, int]:
    """The best window (y, x), scored exactly, between a match and the stride's next windows."""
    problem = chosen.problem
    reach = _cell_reach(problem)
    if reach == (0, 0):
        return at
    (top, bottom), (left, right) = (
        (max(0, start - far), min(side, start + length + far))
        for start, far, length, side in zip(
            at, reach, kernel.pixels.shape[:2], image.shape[:2], strict=True
        )
    )
    part = image[top:bottom, left:right]
    around = replace(cell(problem), image=part.shape)
    made = plan.make(
        around, engine="auto", device=problem.device, memory=chosen.memory, held=chosen.held
    )
    seen = visible and visible.part(np.s_[top:bottom, left:right])
    fields = search.windows(
        [made], part, [kernel], seen, keeps_map=False, advance=lambda _tile: None
    )
    (best,) = contest.resolve(fields, [(0, 0)], top=1, threshold=None, overlap=1.0)
    return top + best.y, left + best.x


def _around_visible(
    image: Pixels, visible: Visible, at: tuple[int, int], size: tuple[int, int]
) -> tuple[Pixels, Floats, tuple[int, int]]:
    """The surroundings of a window, its visibility [h, w], and where it lies in them.

    What is interpolated at a pixel depends on its neighbours, too: it is as visible as the least
    visible of them. Pixels that are not visible are as the nearest that is.
    """
    from scipy import ndimage

    top, left = (max(0, start - _TAIL - len(_TAPS)) for start in at)
    bottom, right = (
        start + length + _TAIL + len(_TAPS) for start, length in zip(at, size, strict=True)
    )
    index = np.s_[top:bottom, left:right]
    levels = visible.levels[index]
    at = at[0] - top, at[1] - left
    least = ndimage.minimum_filter(levels, 3, mode="nearest")
    shown = least[at[0] : at[0] + size[0], at[1] : at[1] + size[1]] / np.float64(visible.most)
    return _filled(image[index], levels), shown, at


def locate(
    image: Pixels,
    kernel: Pixels,
    at: tuple[int, int],
    metric: str,
    weights: Floats | None = None,
    shown: Floats | None = None,
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
    shown : float array [h, w], optional
        How visible the window's pixels are, 0 to 1.
    memory : int, optional
        Bytes that may be taken; less make it slower.

    Returns
    -------
    (y, x) or None
        The top-left corner of the window, in pixels, to `DECIMALS`; at most a pixel from `at`.
        None where the pixels do not tell it: without texture in both directions, or with so much
        difference that the estimated standard error is larger than `LARGEST_ERROR`.
    """
    sums, count = _sums(image, kernel, at, weights, shown, memory)
    shift = _solve(sums, count, metric, kernel.shape[2])
    if shift is None:
        return None
    return _rounded(at, shift)


def _rounded(at: tuple[float, float], shift: tuple[float, float]) -> tuple[float, float]:
    y, x = (round(start + move, DECIMALS) + 0.0 for start, move in zip(at, shift, strict=True))
    return y, x


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
    columns = _ONES + channels + len(_TAPS) ** 2
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
        values[_GRADIENT] = _gradient(kernel, inside)
        values[_KERNEL] = kernel[inside.index]
        for channel in range(channels):
            values[_ONES + channel, ..., channel] = 1
        under = Tile(at[0] + inside.top, at[1] + inside.left, tile.rows, tile.cols)
        values[_ONES + channels :] = _coefficients(image, under)
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
        and 8 * channels * (columns * side**2 + 6 * (side + 2 * _TAIL + 4) ** 2) > memory
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


def _gradient(kernel: Pixels, tile: Tile) -> Floats:
    """The derivatives [2, rows, cols, C] in y and x of a part of the kernel, a little blurred."""
    from scipy import ndimage

    part = _around(kernel, tile, _TAIL)
    blurred = ndimage.gaussian_filter(part, (_BLUR, _BLUR, 0), mode="mirror")
    inside = np.s_[_TAIL:-_TAIL, _TAIL:-_TAIL]
    derivatives = []
    for axis in (0, 1):
        spline = ndimage.spline_filter1d(blurred, 3, axis=axis, mode="mirror")
        slope = ndimage.correlate1d(spline, [-0.5, 0, 0.5], axis=axis)
        derivatives.append(slope[inside])
    return np.stack(derivatives)


def _coefficients(image: Pixels, tile: Tile) -> Floats:
    """The spline's coefficients [taps², rows, cols, C] beside each pixel, y before x."""
    from scipy import ndimage

    spline = _around(image, tile, _TAIL - int(_TAPS[0]))
    for axis in (0, 1):
        spline = ndimage.spline_filter1d(spline, 3, axis=axis, mode="mirror")
    spline = spline[_TAIL:-_TAIL, _TAIL:-_TAIL]
    return np.stack(
        [
            spline[down : down + tile.rows, across : across + tile.cols]
            for down, across in product(range(len(_TAPS)), repeat=2)
        ]
    )


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
        value, slopes = _spline(shift)
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


def _spline(shift: NDArray[Any]) -> tuple[Floats, Floats]:
    """The weights of coefficients: [taps²] for the value, [taps², 2] for its slopes in y and x."""
    away = shift[:, None] - _TAPS
    t = np.abs(away)
    outer = np.maximum(2 - t, 0)
    values = np.where(t < 1, 2 / 3 - t**2 + t**3 / 2, outer**3 / 6)
    slopes = np.sign(away) * np.where(t < 1, 1.5 * t**2 - 2 * t, -(outer**2) / 2)
    (in_y, in_x), (slope_y, slope_x) = values, slopes
    return (
        np.outer(in_y, in_x).ravel(),
        np.stack([np.outer(slope_y, in_x).ravel(), np.outer(in_y, slope_x).ravel()], axis=1),
    )
