"""The exact score of single windows, and which kernels have scores at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import overload

import numpy as np
from numpy.typing import NDArray

from patchsim.errors import InputError, titled
from patchsim.metrics.formulas import Formula, formula_of, similarity
from patchsim.metrics.moments import Moments
from patchsim.metrics.weights import Kernel, Visibility, total_weight
from patchsim.metrics.window_sums import Pair, Places
from patchsim.types import Pixels, Weights

Indices = NDArray[np.int64]  # [n]
Exact = Callable[[Indices, Indices], NDArray[np.float64]]  # y, x of windows -> their scores


def has_scores(kernel: Kernel, metric: str) -> bool:
    """Return whether a metric is defined for a kernel.

    `zncc` is undefined for a flat kernel, `ncc` for one that is zero everywhere.
    """
    formula = formula_of(metric)
    if not formula.correlates:
        return True
    return Moments.from_pixels(kernel.pixels, formula, kernel.weights).spread != 0


def check_kernel(kernel: Kernel, metric: str, name: str, *, left_out: bool = False) -> None:
    """Check that a metric is defined for a kernel.

    Parameters
    ----------
    kernel : Kernel
    metric : str
        One of `choices.METRICS`.
    name : str
        The kernel's name in the message.
    left_out : bool
        True if channels with weight 0 were left out; the message then says so.

    Raises
    ------
    InputError
        If the kernel is flat and the metric is `zncc`, or all zero and the metric is `ncc`.
    """
    if not has_scores(kernel, metric):
        needs_contrast, pixels = formula_of(metric).subtracts_means, kernel.pixels
        defect = "flat: each channel has one value" if needs_contrast else "zero everywhere"
        if needs_contrast and pixels.dtype.kind == "f" and np.ptp(pixels, (0, 1)).any():
            defect = "flat: it varies by less than a millionth of its values"
        if kernel.weights is not None and (kernel.weights == 0).any():
            defect += " where its mask lets it count"
        if left_out:
            defect += " in the channels that count"
        raise InputError(
            f"{titled('kernel', name)} is {defect}, so {metric} has nothing to correlate;"
            " use --metric sad (metric='sad')"
        )


def exact(
    pixels: Pixels,
    kernel: Pixels,
    metric: str,
    span: float,
    weights: Weights | None = None,
    visible: Visibility | None = None,
) -> ExactScore:
    """Return the function (y, x) -> score of the windows with these top-left pixels.

    Integer pixels are summed in integers, float pixels in float64. Ranks, ties and thresholds use
    this score, whatever engine computed the map. With weights, every sum and mean of the metric is
    a weighted one. Where the image is partly transparent, the weights are multiplied by its
    visibility, so that the kernel's sums and means count visible pixels alone.

    Parameters
    ----------
    pixels : array [H, W, C]
        The image.
    kernel : array [h, w, C]
    metric : str
        One of `choices.METRICS`.
    span : float
        The data range R.
    weights : uint8 array [h, w] or [h, w, C], optional
        The kernel's weights.
    visible : Visibility, optional
        The visibility of the image. An invisible window scores 0.

    Returns
    -------
    function (y, x) -> float, or int64 arrays [n] -> float64 array [n]

    Raises
    ------
    NotImplementedError
        If the metric has no formula.
    """
    return ExactScore(pixels, kernel, formula_of(metric), span, weights, visible)


class ExactScore:
    """The exact scores of windows of one image with one kernel; `exact` makes it."""

    def __init__(
        self,
        pixels: Pixels,
        kernel: Pixels,
        formula: Formula,
        span: float,
        weights: Weights | None,
        visible: Visibility | None,
    ) -> None:
        self._formula, self._weights, self._visible = formula, weights, visible
        self._full_difference = span * span if formula.squares else span
        self._pair = Pair.of(pixels, kernel, weights)
        self._moments: Moments | None = None
        if formula.correlates:
            self._moments = Moments.from_pixels(kernel, formula, weights)
        self._weight_sum = total_weight(kernel.shape, weights)

    @overload
    def __call__(self, y: int, x: int) -> float: ...
    @overload
    def __call__(self, y: Indices, x: Indices) -> NDArray[np.float64]: ...
    def __call__(self, y: int | Indices, x: int | Indices) -> float | NDArray[np.float64]:
        """Return the score of the window at (y, x), or the scores of several."""
        if np.ndim(y) == 0:
            return float(self._scores(np.array([[y, x]], np.int64))[0])
        return self._scores(np.column_stack([y, x]))

    def _scores(self, places: Places) -> NDArray[np.float64]:
        if self._visible is None:
            return self._scores_with(self._pair, self._moments, self._weight_sum, places)
        return np.array([self._visible_score(place) for place in places])

    def _visible_score(self, place: Places) -> float:
        """Return the score of one window, whose visibility weighs the kernel's pixels."""
        assert self._visible is not None
        kernel, (y, x) = self._pair.kernel, place.tolist()
        height, width, _ = kernel.shape
        weights = self._visible.window_weights(self._weights, y, x, (height, width))
        pair, moments, weight_sum = self._pair, self._moments, self._weight_sum
        if weights is not self._weights:
            pair = Pair.of(pair.image, kernel, weights)
            weight_sum = total_weight(kernel.shape, weights)
            if moments is not None:
                moments = Moments.from_pixels(kernel, self._formula, weights)
        return float(self._scores_with(pair, moments, weight_sum, place[None])[0])

    def _scores_with(
        self, pair: Pair, moments: Moments | None, weight_sum: int, places: Places
    ) -> NDArray[np.float64]:
        if moments is not None:
            return moments.scores(pair, places)
        if weight_sum == 0:
            return np.zeros(len(places))
        sums = pair.differences(places, squares=self._formula.squares)
        return similarity(sums, weight_sum, self._full_difference)
