"""Scores of poses of one picture, as `scores.score` defines them, in C where it was built."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from patchsim.metrics import FLAT, Kernel, Visibility, correlation, formula_of, similarity
from patchsim.poses.warp import Pose
from patchsim.registration import native, scores
from patchsim.registration.fitted import direction
from patchsim.registration.levels import KernelLevels, Pyramid, octave
from patchsim.types import Pixels

# The sums of a channel that the extension writes, in its order.
_WEIGHT, _KERNEL, _PICTURE, _KERNEL_SQUARE, _PRODUCT, _PICTURE_SQUARE = range(6)
_DISTANCE, _DISTANCE_SQUARE = 6, 7


class Scoring:
    """Scores poses of one picture; what it halves for one pose serves the next.

    Parameters
    ----------
    picture : array [H, W, C]
    metric : str
    data_range : float
        The data range R.
    visible : Visibility, optional
    """

    def __init__(
        self, picture: Pixels, metric: str, data_range: float, visible: Visibility | None
    ) -> None:
        self._picture = picture
        self._metric = metric
        self._range = data_range
        self._visible = visible
        self._pyramid = Pyramid(picture, visible)

    def score(self, kernel: Kernel, levels: KernelLevels, x: float, y: float, pose: Pose) -> float:
        """Return the score of a kernel in a pose; `levels` are those of the mirrored kernel."""
        picture = self._picture.shape[:2]
        extension = native.extension()
        window = scores.whole_window(picture, kernel.pixels.shape[:2], x, y, pose)
        if window is not None or extension is None:
            return scores.score(
                self._picture, kernel, x, y, pose, self._metric, self._range, self._visible
            )
        halvings = octave(pose.scale, levels.deepest)
        level, k = max(halvings, 0), max(-halvings, 0)
        small = levels[k]
        cos, sin = direction(pose.angle)
        factor = pose.scale / 2.0**halvings
        channels = small.pixels.shape[2]
        sums = np.empty((channels, extension.SUMS))
        shifts = np.empty((channels, 2))
        extension.exact(
            picture=np.ascontiguousarray(self._pyramid.pixels(level)),
            kernel=np.ascontiguousarray(small.pixels),
            weights=None if small.weights is None else np.ascontiguousarray(small.weights),
            visible=self._pyramid.visible(level),
            place=(x / 2**level - 0.5, y / 2**level - 0.5),
            turn=(cos * factor, sin * factor),
            centre=(levels.size[0] / 2 ** (k + 1) - 0.5, levels.size[1] / 2 ** (k + 1) - 0.5),
            sums=sums,
            shifts=shifts,
        )
        return _formula_score(sums, shifts, self._metric, self._range)


def _formula_score(
    sums: NDArray[np.float64], shifts: NDArray[np.float64], metric: str, data_range: float
) -> float:
    """Return what `scores.formula_score` does, from sums of values less `shifts`."""
    formula = formula_of(metric)
    weight = sums[:, _WEIGHT]
    total = float(weight.sum())
    if total == 0:
        return 0.0
    if not formula.correlates:
        which = _DISTANCE_SQUARE if formula.squares else _DISTANCE
        full = data_range**2 if formula.squares else data_range
        return float(similarity(float(sums[:, which].sum()), np.array(total), full))
    own, their = shifts[:, 0], shifts[:, 1]
    a, b = sums[:, _KERNEL], sums[:, _PICTURE]
    squares = [
        sums[:, _KERNEL_SQUARE] + 2 * own * a + own**2 * weight,
        sums[:, _PICTURE_SQUARE] + 2 * their * b + their**2 * weight,
    ]
    products = sums[:, _PRODUCT] + own * b + their * a + own * their * weight
    if formula.subtracts_means:
        counts = np.maximum(weight, np.finfo(np.float64).tiny)
        spreads = [
            np.maximum(sums[:, _KERNEL_SQUARE] - a * a / counts, 0),
            np.maximum(sums[:, _PICTURE_SQUARE] - b * b / counts, 0),
        ]
        for spread, square in zip(spreads, squares, strict=True):
            if np.all(spread <= FLAT * square):
                return 0.0
        squares, products = spreads, sums[:, _PRODUCT] - a * b / counts
    return float(
        correlation(np.array(products.sum()), np.array(squares[1].sum()), float(squares[0].sum()))
    )
