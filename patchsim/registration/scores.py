"""The score of a pose: its specification, in NumPy and float64.

The kernel's counted pixels are compared, by the metric's formula and with their weights, with the
picture sampled where the pose puts them. Pixel (row i, column j) of a kernel of h x w lies at

    centre + scale R(angle) F ((j + 0.5) - w/2, (i + 0.5) - h/2)

where F mirrors, R turns counter-clockwise as displayed, and y points down. The picture is sampled
by Catmull-Rom's cubic (R. Keys, "Cubic convolution interpolation for digital image processing",
1981, a = -1/2), which at a pixel's centre is the pixel; outside it has the values of its border.
What is sampled is limited to the data range, in which all pixels lie. At scales above 2^0.5 the
picture is halved (`levels.halved`), below 2^-0.5 the kernel (`levels.halved_kernel`), until a pixel
of the kernel is 2^-0.5 to 2^0.5 of the picture's. Where it is only a share s of one, the picture
shows means over 1/s pixels of the kernel, and the kernel is smoothed: its pixels p become p + 2 (1
- s) (m - p), where m is the mean of a pixel and its neighbours (`levels.neighbours_mean`). Scores
then neither jump where halving begins nor grow with the detail that a kernel loses. Invisible
pixels get the colour of the nearest visible one, and the weights are multiplied by the visibility,
interpolated linearly.

At scale 1, quarter turns and whole pixels this is the score of a window, `metrics.exact`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from patchsim.metrics import (
    FLAT,
    Kernel,
    Visibility,
    correlation,
    exact,
    formula_of,
    similarity,
)
from patchsim.poses.pose import Pose, direction
from patchsim.registration.levels import (
    KernelLevels,
    Pyramid,
    flipped,
    neighbours_mean,
    octave,
    softness,
)
from patchsim.types import Pixels

Floats = NDArray[np.float64]


def score(
    picture: Pixels,
    kernel: Kernel,
    x: float,
    y: float,
    pose: Pose,
    metric: str,
    data_range: float,
    visible: Visibility | None = None,
    limits: Floats | None = None,
) -> float:
    """Return the score of a kernel in a pose.

    Parameters
    ----------
    picture : array [H, W, C] of uint8, uint16, float32 or float64
    kernel : Kernel
        Pixels [h, w, C] of the picture's type.
    x, y : float
        Where the kernel's centre lies, in pixels from the picture's top-left corner.
    pose : Pose
    metric : str
        One of `choices.METRICS`.
    data_range : float
        The data range R.
    visible : Visibility, optional
        The visibility [H, W] of the picture.
    limits : float64 array [C, 2], optional
        The ends of the data range in each channel.

    Returns
    -------
    float
        At most 1; 0 for a window that is invisible, for `zncc` flat, and for `ncc` zero.
    """
    window = whole_window(picture.shape[:2], kernel.pixels.shape[:2], x, y, pose)
    if window is not None:
        return window_score(picture, kernel, window, pose, metric, data_range, visible)
    values, taps, weights = compared(picture, kernel, x, y, pose, visible, limits)
    return formula_score(values, taps, weights, metric, data_range)


def compared(
    picture: Pixels,
    kernel: Kernel,
    x: float,
    y: float,
    pose: Pose,
    visible: Visibility | None,
    limits: Floats | None,
) -> tuple[Floats, Floats, Floats]:
    """Return what the score of a pose compares; the parameters are those of `score`.

    Returns
    -------
    values, taps : float64 arrays [h, w, C]
        The picture where the pixels of the kernel lie, and the kernel, halved as its scale asks.
    weights : float64 array [h, w, 1 or C]
        How much each counts, times the visibility.
    """
    levels, pyramid = KernelLevels(kernel, pose.flip), Pyramid(picture, visible)
    halvings = octave(pose.scale, levels.deepest)
    level, k = max(halvings, 0), max(-halvings, 0)
    xs, ys = positions(levels, k, level, x, y, pose)
    pixels, seen = pyramid.pixels(level), pyramid.visible(level)
    small = levels[k]
    values = sampled(pixels, xs, ys)
    if limits is not None:
        values = np.clip(values, *limits.T)
    if small.weights is None:
        weights = np.ones((*values.shape[:2], 1))
    else:
        weights = np.atleast_3d(small.weights).astype(np.float64)
    if seen is not None:
        weights = weights * sampled_linearly(seen, xs, ys)[..., None] / pyramid.full_level
    return values, softened(small, pose.scale / 2.0**halvings), weights


def softened(kernel: Kernel, pixel: float) -> Floats:
    """Return a kernel's pixels [h, w, C], smoothed where one is smaller than the picture's."""
    share, pixels = softness(pixel), kernel.pixels.astype(np.float64)
    return pixels + share * (neighbours_mean(kernel) - pixels) if share else pixels


def whole_window(
    picture: tuple[int, int], kernel: tuple[int, int], x: float, y: float, pose: Pose
) -> tuple[int, int] | None:
    """Return the window (y, x) that a pose of whole pixels is, or None."""
    if pose.scale != 1 or pose.angle % 90:
        return None
    height, width = kernel[::-1] if pose.angle % 180 else kernel
    top, left = y - height / 2, x - width / 2
    if top % 1 or left % 1 or top < 0 or left < 0:
        return None
    is_inside = top + height <= picture[0] and left + width <= picture[1]
    return (int(top), int(left)) if is_inside else None


def window_score(
    picture: Pixels,
    kernel: Kernel,
    window: tuple[int, int],
    pose: Pose,
    metric: str,
    data_range: float,
    visible: Visibility | None,
) -> float:
    """Return the score of a window (y, x) with a kernel mirrored and turned by quarters."""
    turns = round(pose.angle / 90) % 4
    mirrored = flipped(kernel, pose.flip)
    weights = None if mirrored.weights is None else np.rot90(mirrored.weights, turns)
    turned = np.rot90(mirrored.pixels, turns)
    return exact(picture, turned, metric, data_range, weights, visible)(*window)


def positions(
    levels: KernelLevels, k: int, level: int, x: float, y: float, pose: Pose
) -> tuple[Floats, Floats]:
    """Return where the pixels of a kernel's level k lie in a picture's level, [h, w] each.

    They are counted from the centre of the picture's top-left pixel.
    """
    height, width = levels[k].pixels.shape[:2]
    cos, sin = direction(pose.angle)
    factor = pose.scale / 2**level
    u = ((np.arange(width) + 0.5) * 2**k - levels.size[1] / 2) * factor
    v = ((np.arange(height) + 0.5) * 2**k - levels.size[0] / 2)[:, None] * factor
    return u * cos + v * sin + (x / 2**level - 0.5), v * cos - u * sin + (y / 2**level - 0.5)


def sampled(pixels: Pixels, xs: Floats, ys: Floats) -> Floats:
    """Return pixels [H, W, C] interpolated at positions [...] by Catmull-Rom's cubic, [..., C]."""
    height, width, channels = pixels.shape
    left, top = np.floor(xs), np.floor(ys)
    across, down = cubic(xs - left), cubic(ys - top)
    values = np.zeros((*xs.shape, channels))
    for i, by_row in enumerate(down):
        rows = np.clip(top + (i - 1), 0, height - 1).astype(np.intp)
        for j, by_column in enumerate(across):
            columns = np.clip(left + (j - 1), 0, width - 1).astype(np.intp)
            values += (by_row * by_column)[..., None] * pixels[rows, columns]
    return values


def cubic(t: Floats) -> tuple[Floats, ...]:
    """Return the weights of the pixels at -1, 0, 1 and 2 for a position t from 0 to 1."""
    return (
        ((2 - t) * t - 1) * t / 2,
        ((3 * t - 5) * t * t + 2) / 2,
        ((4 - 3 * t) * t + 1) * t / 2,
        (t - 1) * t * t / 2,
    )


def sampled_linearly(plane: NDArray[np.uint8], xs: Floats, ys: Floats) -> Floats:
    """Return a plane [H, W] interpolated linearly at positions [...]."""
    height, width = plane.shape
    left, top = np.floor(xs), np.floor(ys)
    across, down = xs - left, ys - top
    values = np.zeros(xs.shape)
    for i, by_row in enumerate((1 - down, down)):
        rows = np.clip(top + i, 0, height - 1).astype(np.intp)
        for j, by_column in enumerate((1 - across, across)):
            columns = np.clip(left + j, 0, width - 1).astype(np.intp)
            values += by_row * by_column * plane[rows, columns]
    return values


def formula_score(
    values: Floats, taps: Floats, weights: Floats, metric: str, data_range: float
) -> float:
    """Return the score of sampled values and a kernel's, [h, w, C], with weights [h, w, 1 or C]."""
    formula = formula_of(metric)
    weights = np.broadcast_to(weights, values.shape)
    total = float(weights.sum())
    if total == 0:
        return 0.0
    if not formula.correlates:
        differences = values - taps
        magnitudes = differences**2 if formula.squares else np.abs(differences)
        full = data_range**2 if formula.squares else data_range
        # An integer for `taps` where weights are; their sum is one for shades, too.
        return float(similarity(float((weights * magnitudes).sum()), np.array(total), full))
    squares = [(weights * a * a).sum((0, 1)) for a in (values, taps)]
    if formula.subtracts_means:
        counts = np.maximum(weights.sum((0, 1)), np.finfo(np.float64).tiny)
        values, taps = (a - (weights * a).sum((0, 1)) / counts for a in (values, taps))
    spreads = [(weights * a * a).sum((0, 1)) for a in (values, taps)]
    if formula.subtracts_means:
        for spread, square in zip(spreads, squares, strict=True):
            if np.all(spread <= FLAT * square):
                return 0.0
    products = np.array((weights * values * taps).sum())
    return float(correlation(products, np.array(spreads[0].sum()), float(spreads[1].sum())))
