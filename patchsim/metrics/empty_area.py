"""The score of an empty area: a window with the kernel's mean in every pixel, in closed form.

With the weights w of a channel, which sum up to W, its values k, their mean m, and all sums over
the channels, too:

- `sad`: ``1 - sum w |k - m| / (R sum W)``, one less the mean absolute deviation;
- `ssd`: ``1 - sum w (k - m)**2 / (R**2 sum W)``, one less the variance within channels;
- `ncc`: ``sum W m**2 / sqrt(sum W m**2 * sum w k**2)``, which is ``sqrt(sum W m**2 / sum w k**2)``;
- `zncc`: 0, as of every flat window.

Pictures of integers have whole values, so m is rounded there; `ncc` then has ``m sum w k`` for the
products of a channel.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchsim.metrics.formulas import formula_of, similarity
from patchsim.metrics.weights import Kernel, channel_totals

_DIFFERENCES = {"B": np.int16, "H": np.int32}  # types that hold the differences of two values


def empty_score(kernel: Kernel, metric: str, span: float) -> float:
    """Return the score of a window whose value in each channel is the kernel's mean.

    Parameters
    ----------
    kernel : Kernel
        Its weights are weights of the mean, too.
    metric : str
        One of `choices.METRICS`.
    span : float
        The data range R.

    Returns
    -------
    float
        At most 1, which is that of a kernel of one colour by `sad`, `ssd` and `ncc`.
    """
    formula = formula_of(metric)
    if formula.subtracts_means:
        return 0.0
    pixels, weights = kernel.pixels, kernel.weights
    totals = np.array(channel_totals(pixels.shape, weights), np.float64)
    # The mean of a channel with weight 0 does not matter, but must not divide by 0.
    means = _sums(pixels, weights) / np.maximum(totals, 1)
    if pixels.dtype.kind == "u":
        means = np.rint(means)
    if formula.correlates:
        products = float(means @ _sums(pixels, weights))
        squares = float(_sums(np.square(pixels, dtype=np.float64), weights).sum())
        spread = float(totals @ np.square(means)) * squares
        return min(1.0, products / math.sqrt(spread)) if spread > 0 else 0.0
    kind: Any = _DIFFERENCES.get(pixels.dtype.char, np.float64)
    differences = np.subtract(pixels, means.astype(kind), dtype=kind)
    if formula.squares:
        differences = np.square(differences, dtype=np.float64)
        return similarity(float(_sums(differences, weights).sum()), int(totals.sum()), span * span)
    np.abs(differences, out=differences)
    return similarity(float(_sums(differences, weights).sum()), int(totals.sum()), span)


def _sums(values: NDArray[Any], weights: NDArray[Any] | None) -> NDArray[np.float64]:
    """Return the weighted sum of each channel [C] of values [h, w, C]."""
    if weights is None:
        kind = np.float64 if values.dtype.kind == "f" else np.int64
        return _by_rows(values, kind)
    return _by_rows(np.multiply(values, np.atleast_3d(weights), dtype=np.float64), np.float64)


def _by_rows(values: NDArray[Any], kind: Any) -> NDArray[np.float64]:
    """Return the sum of each channel, rows first: a loop over channels inside is much slower."""
    sums: NDArray[np.float64] = values.sum(0, dtype=kind).sum(0).astype(np.float64)
    return sums
