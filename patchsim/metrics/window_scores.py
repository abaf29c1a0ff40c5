"""The exact score of single windows, and which kernels have scores at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from patchsim.errors import InputError, titled
from patchsim.metrics import window_sums
from patchsim.metrics.formulas import FLAT, Formula, formula_of, similarity
from patchsim.metrics.weights import Kernel, Visibility, total_weight
from patchsim.metrics.window_sums import FITS_INT64, Pair, Places
from patchsim.types import Pixels, Weights

if TYPE_CHECKING:
    from patchsim.metrics.moments import Moments

_FIRST: Places = np.zeros((1, 2), np.int64)  # the window of a picture of its size

Indices = NDArray[np.int64]  # [n]
Exact = Callable[[Indices, Indices], NDArray[np.float64]]  # y, x of windows -> their scores


def has_scores(kernel: Kernel, metric: str) -> bool:
    """Return whether a metric is defined for a kernel.

    `zncc` is undefined for a flat kernel, `ncc` for one that is zero everywhere.
    """
    formula = formula_of(metric)
    if not formula.correlates:
        return True
    return _moments(kernel.pixels, formula, kernel.weights)[1].spread != 0


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
    return ExactKernel(kernel, metric, span, weights).on(pixels, visible)


def _moments(
    pixels: Pixels, formula: Formula, weights: NDArray[Any] | None
) -> tuple[Pixels, Moments]:
    """Return a kernel whose sums are in range, and its moments."""
    from patchsim.metrics import moments  # for metrics that correlate

    return moments.of_kernel(pixels, formula, weights)


class ExactKernel:
    """The sums of a kernel that exact scores need, for any image of its type.

    Parameters
    ----------
    kernel : array [h, w, C]
    metric, span, weights
        As for `exact`.
    """

    def __init__(
        self, kernel: Pixels, metric: str, span: float, weights: Weights | None = None
    ) -> None:
        self.metric, self.formula, self.weights = metric, formula_of(metric), weights
        self.full_difference = span * span if self.formula.squares else span
        self.moments: Moments | None = None
        if self.formula.correlates:
            kernel, self.moments = _moments(kernel, self.formula, weights)
        self.weight_sum = total_weight(kernel.shape, weights)
        self.itself = Pair.of(kernel, kernel, weights)
        total = self.weight_sum * self.full_difference
        self._arguments = _arguments(metric, self.itself, self.moments, total)

    @staticmethod
    def estimate_bytes(kernel: Kernel) -> int:
        """Return the bytes that it takes beside the kernel: copies without gaps, and sums."""
        pixels = kernel.pixels
        weights = 0 if kernel.weights is None else 2 * pixels.size
        scratch: int = pixels.nbytes + weights + 4096 + 128 * pixels.shape[2]
        return scratch

    def on(self, pixels: Pixels, visible: Visibility | None = None) -> ExactScore:
        """Return the function that scores the windows of an image, as `exact` does."""
        return ExactScore(self, pixels, visible)

    def scores(self, pair: Pair, places: Places) -> NDArray[np.float64]:
        """Return the scores of windows of an image all visible, [n]."""
        if self._arguments is None or window_sums.extension() is None:
            return scores_of_sums(
                pair, self.moments, self.weight_sum, places, self.formula, self.full_difference
            )
        return pair.scores(places, self._arguments)


def scores_of_sums(
    pair: Pair,
    moments: Moments | None,
    weight_sum: int,
    places: Places,
    formula: Formula,
    full_difference: float,
) -> NDArray[np.float64]:
    """Return scores of windows that are made of their sums here, [n]."""
    if moments is not None:
        return _with_scaled(moments.scores(pair, places), pair, places, moments.scores)
    if weight_sum == 0:
        return np.zeros(len(places))
    sums = pair.differences(places, squares=formula.squares)
    return similarity(sums, weight_sum, full_difference)


def _with_scaled(
    scores: NDArray[np.float64],
    pair: Pair,
    places: Places,
    again: Callable[[Pair, Places], NDArray[np.float64]],
) -> NDArray[np.float64]:
    """Score windows of floats again that are so far from 1 that their scores are NaN, scaled."""
    for number in np.flatnonzero(np.isnan(scores)):
        scores[number] = again(pair.scaled(places[number]), _FIRST)[0]
    return scores


def _arguments(
    metric: str, kernel: Pair, moments: Moments | None, total: float
) -> dict[str, Any] | None:
    """Return what `Pair.scores` takes; None where 64 bits do not hold its integers."""
    scale = 1 if moments is None else moments.scale
    if kernel.is_integer and scale * kernel.largest_sum() >= FITS_INT64:
        return None
    given: dict[str, Any] = {"metric": metric, "total": total, "spread": 0.0, "scale": scale}
    channels = kernel.kernel.shape[2]
    counts: NDArray[Any] = np.ones(channels)
    sums: NDArray[Any] = np.zeros(channels)
    if moments is None:
        if total == 0:
            return None
    else:
        given["spread"] = float(moments.spread)
        if moments.means is not None:
            counts, sums = np.array(moments.counts, np.float64), moments.means
        elif moments.sums is not None:
            shares = [moments.scale // count for count in moments.counts]
            counts, sums = (np.array(values, np.int64) for values in (shares, moments.sums))
    return {**given, "counts": counts, "kernel_sums": sums, "flat": FLAT}


class ExactScore:
    """The exact scores of windows of one image with one kernel; `exact` makes it."""

    def __init__(self, kernel: ExactKernel, pixels: Pixels, visible: Visibility | None) -> None:
        self._kernel, self._visible = kernel, visible
        self._pair = Pair(pixels, kernel.itself.kernel, kernel.itself.weights)

    @overload
    def __call__(self, y: int, x: int) -> float: ...
    @overload
    def __call__(self, y: Indices, x: Indices) -> NDArray[np.float64]: ...
    def __call__(self, y: int | Indices, x: int | Indices) -> float | NDArray[np.float64]:
        """Return the score of the window at (y, x), or the scores of several."""
        if not isinstance(y, np.ndarray):
            return float(self._scores(np.array([[y, x]], np.int64))[0])
        places = np.empty((len(y), 2), np.int64)
        places[:, 0], places[:, 1] = y, x
        return self._scores(places)

    def _scores(self, places: Places) -> NDArray[np.float64]:
        if self._visible is None:
            return self._kernel.scores(self._pair, places)
        return np.array([self._visible_score(place) for place in places])

    def _visible_score(self, place: Places) -> float:
        """Return the score of one window, whose visibility weighs the kernel's pixels."""
        assert self._visible is not None
        exact, pixels, (y, x) = self._kernel, self._pair.kernel, place.tolist()
        height, width, _ = pixels.shape
        weights = self._visible.window_weights(exact.weights, y, x, (height, width))
        if weights is exact.weights:
            return float(exact.scores(self._pair, place[None])[0])
        moments = None
        if exact.moments is not None:
            pixels, moments = _moments(pixels, exact.formula, weights)
        return float(
            scores_of_sums(
                Pair.of(self._pair.image, pixels, weights),
                moments,
                total_weight(pixels.shape, weights),
                place[None],
                exact.formula,
                exact.full_difference,
            )[0]
        )
