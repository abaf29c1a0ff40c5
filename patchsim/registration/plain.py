"""Gauss-Newton in NumPy: what the C extension does, and does faster."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchsim.registration.planes import PAD, PIECE, KernelPlane, Plane
from patchsim.registration.scores import cubic

Floats = NDArray[np.float64]

_FARTHEST = 4.0  # pixels of the level that a pose may move from where it began
_LONGEST = 2.0  # pixels that a corner may move in one step
# A pose is given up if so many times the gain of its last step, and so much more, leave it below
# the least score. No match of 350 plantings was lost by that.
MOST_GAINS, HOPE = 8.0, 0.03
# Two steps are of one direction from this cosine on; together they are extrapolated to so many.
STRAIGHT, LEAST_SHARE = 0.9, 0.125
LEAST_SPREAD = 1e-3  # of a pixel, in units of 0 to 255; less is flat


@dataclass(frozen=True)
class Aim:
    """The aim of a refinement: which score shall rise, by which changes, to which precision.

    Attributes
    ----------
    metric : str
    full : float
        The data range R, in units of the planes.
    steps : int
        Steps of Gauss-Newton at most.
    enough : float
        A step that moves a corner by less, in pixels, is the last.
    is_cubic : bool
        Sample by Catmull-Rom's cubic, otherwise linearly.
    free : tuple of four bool
        Whether x, y, angle and scale may change.
    low, high : (angle, log scale)
        The range of both, in radians; infinite where there is none.
    every : int
        One of so many pieces of the kernel is looked at.
    around : int
        If not 0, the best of 3x3 places a pixel apart comes first, by one of so many pieces.
    least : float
        The steps end where a score seems to stay below this one.
    """

    metric: str
    full: float
    steps: int
    enough: float
    is_cubic: bool
    free: tuple[bool, bool, bool, bool]
    low: tuple[float, float]
    high: tuple[float, float]
    every: int
    around: int
    least: float = -math.inf


def sample(
    plane: NDArray[Any], height: int, width: int, xs: Floats, ys: Floats, *, is_cubic: bool
) -> tuple[Floats, Floats, Floats]:
    """Return a padded plane's values at positions, and their slopes along x and y."""
    xs, ys = np.clip(xs, -2, width + 1), np.clip(ys, -2, height + 1)
    left, top = np.floor(xs), np.floor(ys)
    fx, fy = xs - left, ys - top
    columns, rows = left.astype(np.intp) + PAD, top.astype(np.intp) + PAD
    if is_cubic:
        taps, across, down, across_slopes, down_slopes = (
            range(-1, 3), cubic(fx), cubic(fy), _cubic_slopes(fx), _cubic_slopes(fy),
        )  # fmt: skip
    else:
        one = np.ones_like(fx)
        taps, across, down = range(2), (1 - fx, fx), (1 - fy, fy)
        across_slopes = down_slopes = (-one, one)
    value, gx, gy = np.zeros_like(xs), np.zeros_like(xs), np.zeros_like(xs)
    for i, dy in enumerate(taps):
        for j, dx in enumerate(taps):
            pixel = plane[rows + dy, columns + dx].astype(np.float64)
            value += down[i] * across[j] * pixel
            gx += down[i] * across_slopes[j] * pixel
            gy += down_slopes[i] * across[j] * pixel
    return value, gx, gy


def _cubic_slopes(t: Floats) -> tuple[Floats, ...]:
    return (
        ((4 - 3 * t) * t - 1) / 2,
        (9 * t - 10) * t / 2,
        ((8 - 9 * t) * t + 1) / 2,
        (3 * t - 2) * t / 2,
    )


def pieces(kernel: KernelPlane, every: int) -> NDArray[np.bool_]:
    """Return which pixels [h, pitch] are looked at: pieces of a row, spread evenly."""
    _, height, pitch = kernel.taps.shape
    turn = int(every * 0.618) | 1
    first = np.arange(height)[:, None] * turn % every
    taken: NDArray[np.bool_] = (np.arange(pitch) // PIECE - first) % every == 0
    return taken


def sums(
    plane: Plane, kernel: KernelPlane, at: Floats, aim: Aim, every: int, soft: float
) -> tuple[Floats, float, float]:
    """Return sums of products over the pixels, pooled over the channels.

    Returns
    -------
    products : array [6, 6]
        Of the kernel, the picture, and its slopes by x, y, angle and log scale; for `zncc` less the
        channels' means.
    weight : float
        The sum of the weights.
    distance : float
        The sum of absolute differences, of `sad` alone. Its products are those of values weighted
        by 1 / max(difference, soft), so that least squares become least distances.
    """
    x, y, angle, log_scale = at
    cos, sin = math.cos(angle) * math.exp(log_scale), math.sin(angle) * math.exp(log_scale)
    _, height, pitch = kernel.taps.shape
    u = np.arange(pitch) - kernel.centre[1]
    v = (np.arange(height) - kernel.centre[0])[:, None]
    dx, dy = u * cos + v * sin, v * cos - u * sin
    taken = pieces(kernel, every)
    seen: Floats | float = 1.0
    if plane.visible is not None:
        seen = sample(plane.visible, plane.height, plane.width, dx + x, dy + y, is_cubic=False)[0]
        seen = seen / 255
    pooled, weight, distance = np.zeros((6, 6)), 0.0, 0.0
    for channel, taps in enumerate(kernel.softened(math.exp(log_scale))):
        weights = kernel.weights[channel if len(kernel.weights) > 1 else 0] * taken * seen
        value, gx, gy = sample(
            plane.values[channel], plane.height, plane.width, dx + x, dy + y,
            is_cubic=aim.is_cubic,
        )  # fmt: skip
        if aim.is_cubic:
            value = np.clip(value, *plane.limits[channel])
        columns = np.stack([taps, value, gx, gy, gx * dy - gy * dx, gx * dx + gy * dy])
        weight += float(weights.sum())
        if aim.metric == "sad":
            difference = np.abs(taps - value)
            distance += float((weights * difference).sum())
            weights = weights / np.maximum(difference, soft)
        flat = columns.reshape(6, -1)
        products = (flat * weights.ravel()) @ flat.T
        if aim.metric == "zncc" and weights.any():
            firsts = flat @ weights.ravel()
            products -= np.outer(firsts, firsts) / weights.sum()
        pooled += products
    return pooled, weight, distance


def value_of(products: Floats, weight: float, distance: float, aim: Aim) -> float:
    """Return the score that the sums stand for."""
    if weight <= 0:
        return 0.0
    if aim.metric == "sad":
        return 1 - distance / (weight * aim.full)
    tt, tg, gg = products[0, 0], products[0, 1], products[1, 1]
    if aim.metric == "ssd":
        return float(1 - (tt - 2 * tg + gg) / (weight * aim.full**2))
    if gg <= LEAST_SPREAD * weight or tt <= 0:
        return 0.0
    return float(tg / math.sqrt(tt * gg))


def step(products: Floats, at: Floats, aim: Aim) -> Floats | None:
    """Return the step of Gauss-Newton, or None where the pixels do not tell one.

    For `ncc` and `zncc` the kernel is regressed on the picture and its slopes: the step is zero
    exactly where the score has its maximum. Parameters that their range holds back stay.
    """
    tt, tg, gg = products[0, 0], products[0, 1], products[1, 1]
    by_picture, by_kernel = products[1, 2:], products[0, 2:]
    if aim.metric in ("ncc", "zncc"):
        if tg <= 0 or gg <= 0 or tt <= 0:
            return None
        system = products[2:, 2:] - np.outer(by_picture, by_picture) / gg
        right = (by_kernel - tg * by_picture / gg) * gg / tg
    else:
        system, right = products[2:, 2:], by_kernel - by_picture
    free = list(aim.free)
    for _ in range(3):
        index = [i for i in range(4) if free[i]]
        d = np.zeros(4)
        matrix = system[np.ix_(index, index)]
        matrix = matrix + np.diag(1e-6 * np.diag(matrix) + 1e-9)
        d[index] = np.linalg.solve(matrix, right[index])
        held = [
            i
            for i in (2, 3)
            if free[i]
            and ((at[i] <= aim.low[i - 2] and d[i] < 0) or (at[i] >= aim.high[i - 2] and d[i] > 0))
        ]
        if not held:
            break
        for i in held:
            free[i] = False
    return d if np.isfinite(d).all() else None


def refine(plane: Plane, kernel: KernelPlane, poses: Floats, aim: Aim) -> tuple[Floats, Floats]:
    """Return better poses and their scores.

    Parameters
    ----------
    plane : Plane
    kernel : KernelPlane
    poses : array [n, 4]
        Of each pose x and y of the kernel's centre, counted from the centre of the plane's top-left
        pixel, the angle in radians and the log of the scale, in pixels of the levels.
    aim : Aim

    Returns
    -------
    poses : array [n, 4]
    scores : array [n]
        At the pixels that were looked at.
    """
    better = [_refined(plane, kernel, pose, aim) for pose in poses]
    if not better:
        return np.empty((0, 4)), np.empty(0)
    return np.array([pose for pose, _ in better]), np.array([score for _, score in better])


def _best_around(plane: Plane, kernel: KernelPlane, at: Floats, aim: Aim) -> Floats:
    rough = Aim(**{**aim.__dict__, "is_cubic": False})
    best, top = at, -math.inf
    for dx, dy in _around():
        now = at + np.array([dx, dy, 0, 0])
        score = value_of(*sums(plane, kernel, now, rough, aim.around, 1.0), rough)
        if score > top:
            best, top = now, score
    return best


def _around() -> Iterator[tuple[int, int]]:
    yield 0, 0
    yield from ((dx, dy) for dx in (-1, 0, 1) for dy in (-1, 0, 1) if dx or dy)


def _refined(plane: Plane, kernel: KernelPlane, start: Floats, aim: Aim) -> tuple[Floats, float]:
    start = _within(start, aim)
    if aim.around:
        start = _best_around(plane, kernel, start, aim)
    best, top, now = start, -math.inf, start
    d, before, soft, back = np.zeros(4), np.zeros(4), 8.0, 0
    for i in range(aim.steps + 1):
        products, weight, distance = sums(plane, kernel, now, aim, aim.every, soft)
        score = value_of(products, weight, distance, aim)
        gain = score - top
        if score > top:
            best, top, back = now, score, 0
        elif back == 2:
            break
        else:
            back += 1
        is_hopeless = gain > 0 and top + MOST_GAINS * gain < aim.least - HOPE
        if i == aim.steps or weight <= 0 or is_hopeless:
            break
        if back:
            d, before = d / 4, np.zeros(4)  # too far: less of it
        else:
            full_step = step(products, now, aim)
            if full_step is None:
                break
            soft = max(0.05, distance / weight)
            reach = kernel.reach * math.exp(now[3])
            d, before = _extrapolated(full_step, before, reach)
            far = math.hypot(d[0], d[1], reach * math.hypot(d[2], d[3]))
            if far > _LONGEST:
                d = d * (_LONGEST / far)
            if far < aim.enough:
                best = _within(best + d, aim)
                break
        now = _within(best + d, aim)
        if math.hypot(now[0] - start[0], now[1] - start[1]) > _FARTHEST:
            break
    return best, top


def _extrapolated(step: Floats, before: Floats, reach: float) -> tuple[Floats, Floats]:
    """Return how far to go, and what the next step is compared with.

    Where the picture differs from the kernel, as at the border of an object, steps are too short by
    a share that is about the same each time. Two of one direction tell the sum of all to come
    (A. C. Aitken's process).
    """
    unit = np.array([1, 1, reach, reach])
    one, other = step * unit, before * unit
    along, size, length = one @ other, other @ other, one @ one
    if size == 0 or along <= 0 or along**2 < STRAIGHT**2 * size * length:
        return step, step
    return step / max(1 - along / size, LEAST_SHARE), np.zeros(4)


def _within(at: Floats, aim: Aim) -> Floats:
    low, high = (-np.inf, -np.inf, *aim.low), (np.inf, np.inf, *aim.high)
    return np.clip(at, low, high)
