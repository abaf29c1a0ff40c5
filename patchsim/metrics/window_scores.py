"""The exact score of single windows, and which kernels have scores at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchsim.errors import InputError, titled
from patchsim.metrics.formulas import correlation, formula_of, similarity
from patchsim.metrics.moments import Moments, wide_chunks
from patchsim.metrics.weights import Kernel, Visibility, total_weight
from patchsim.types import Pixels, Weights

Exact = Callable[[int, int], float]


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
) -> Exact:
    """Return the function (y, x) -> score of the window with that top-left pixel.

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
    function (y, x) -> float

    Raises
    ------
    NotImplementedError
        If the metric has no formula.
    """
    formula = formula_of(metric)
    size = kernel.shape[:2]
    height, width = size
    kernel_moments = None
    if formula.correlates:
        kernel_moments = Moments.from_pixels(kernel, formula, weights)
    weight_sum = total_weight(kernel.shape, weights)

    def score(y: int, x: int) -> float:
        window = pixels[y : y + height, x : x + width]
        scaled = weights if visible is None else visible.window_weights(weights, y, x, size)
        if kernel_moments is None:
            count = weight_sum if scaled is weights else total_weight(kernel.shape, scaled)
            return _difference_score(
                window, kernel, scaled, squares=formula.squares, span=span, weight_sum=count
            )
        reference = kernel_moments
        if scaled is not weights:
            reference = Moments.from_pixels(kernel, formula, scaled)
        moments = Moments.from_pixels(window, formula, scaled)
        products = moments.products(reference, window, kernel, scaled)
        return float(correlation(_array(products), _array(moments.spread), float(reference.spread)))

    return score


def _difference_score(
    window: Pixels,
    kernel: Pixels,
    weights: NDArray[Any] | None,
    *,
    squares: bool,
    span: float,
    weight_sum: int,
) -> float:
    """Return the `sad` or `ssd` score of a window; 0 if the weights sum to 0."""
    if weight_sum == 0:
        return 0.0
    magnitude = np.square if squares else np.abs
    total = 0
    for chunk_weights, values, taps in wide_chunks(weights, window, kernel):
        difference = np.subtract(values, taps, out=values)
        total += (chunk_weights * magnitude(difference, out=difference)).sum().item()
    return float(similarity(float(total), weight_sum, span * span if squares else span))


def uniform_score(kernel: Kernel, metric: str, span: float) -> float:
    """Return the score of a uniform window whose value in each channel is the kernel's mean."""
    pixels, weights = kernel.pixels, kernel.weights
    if weights is not None:
        weights = np.broadcast_to(np.atleast_3d(weights), pixels.shape)
        # The mean of a channel with weight 0 does not matter, but must not divide by 0.
        weights = np.where(weights.any((0, 1)), weights, np.uint8(1))
    means = np.average(pixels, (0, 1), weights)
    if pixels.dtype.kind == "u":
        means = np.rint(means)
    window = np.broadcast_to(means.astype(pixels.dtype), pixels.shape)
    return exact(window, pixels, metric, span, kernel.weights)(0, 0)


def _array(value: float) -> NDArray[np.float64]:
    return np.asarray(float(value))
