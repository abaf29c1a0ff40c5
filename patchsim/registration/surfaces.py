"""The maximum of a score near poses, by parabolas through the scores around them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations, combinations_with_replacement

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# How far apart the poses of a round lie, in pixels at a corner.
SIZES = (0.15, 0.06, 0.03)
# The longest step, in those distances, and the least curvature that one is taken for, as a share of
# the largest.
_LONGEST, _LEAST_CURVATURE = 2.0, 1e-3


def climbed(
    value: Callable[[Floats], Floats],
    poses: Floats,
    reach: Floats,
    free: tuple[bool, bool, bool, bool],
    low: Floats,
    high: Floats,
) -> Floats:
    """Return poses where a function is larger, near its maxima beside some.

    In each round a parabola goes through as many values around a pose as it has coefficients
    (G. E. P. Box, K. B. Wilson, "On the experimental attainment of optimum conditions", Journal of
    the Royal Statistical Society B 13, 1951), and the best of these poses and the parabola's
    maximum is where the next, smaller one begins. So slopes need not be known, and none are of a
    sum of absolute differences.

    Parameters
    ----------
    value : function of poses [m, 4], to [m]
    poses : float64 array [n, 4]
        x, y, angle in radians and log of the scale.
    reach : float64 array [n]
        The distance of a corner from the centre, in pixels.
    free : tuple of four bool
        Which may change.
    low, high : float64 array [4]
        Their ranges.

    Returns
    -------
    float64 array [n, 4]
    """
    index = [i for i in range(4) if free[i]]
    if len(poses) == 0 or not index:
        return poses
    units = np.ones((len(poses), 4))
    units[:, 2:] = 1 / reach[:, None]
    offsets = np.zeros(((len(index) + 1) * (len(index) + 2) // 2, 4))
    offsets[:, index] = _around(len(index))
    coefficients = np.linalg.inv(_terms(offsets[:, index]))
    numbers = np.arange(len(poses))
    for size in SIZES:
        tried = np.clip(poses[:, None] + size * offsets * units[:, None], low, high)
        scores = value(tried.reshape(-1, 4)).reshape(len(poses), -1)
        step = np.zeros_like(poses)
        step[:, index] = _to_the_top(scores @ coefficients.T, len(index))
        there = np.clip(poses + size * step * units, low, high)
        tried = np.concatenate([tried, there[:, None]], 1)
        scores = np.concatenate([scores, value(there)[:, None]], 1)
        poses = tried[numbers, scores.argmax(1)]
    return poses


def _around(n: int) -> Floats:
    """Return points [m, n] that tell a parabola: the middle, both ways, and of pairs one way."""
    unit = np.eye(n)
    pairs = [unit[i] + unit[j] for i, j in combinations(range(n), 2)]
    return np.array([np.zeros(n), *unit, *-unit, *pairs])


def _terms(points: Floats) -> Floats:
    """Return the terms of a parabola at points [m, n]: 1, each coordinate, and their products."""
    columns = [np.ones(len(points)), *points.T]
    pairs = combinations_with_replacement(range(points.shape[1]), 2)
    return np.stack([*columns, *(points[:, i] * points[:, j] for i, j in pairs)], 1)


def _to_the_top(coefficients: Floats, n: int) -> Floats:
    """Return the steps [m, n] to the maxima of parabolas, or uphill where there is none."""
    slopes = coefficients[:, 1 : n + 1]
    curvatures = np.zeros((len(slopes), n, n))
    for column, (i, j) in enumerate(combinations_with_replacement(range(n), 2), n + 1):
        curvatures[:, i, j] += coefficients[:, column]
        curvatures[:, j, i] += coefficients[:, column]
    bends, axes = np.linalg.eigh(curvatures)
    min_curvature = _LEAST_CURVATURE * np.maximum(np.abs(bends).max(1, keepdims=True), 1e-12)
    along = (axes.transpose(0, 2, 1) @ slopes[..., None])[..., 0] / np.maximum(
        -bends, min_curvature
    )
    steps = (axes @ along[..., None])[..., 0]
    length = np.linalg.norm(steps, axis=1, keepdims=True)
    shortened: Floats = steps * np.minimum(1, _LONGEST / np.maximum(length, 1e-12))
    return shortened
