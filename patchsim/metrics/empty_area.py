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
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchsim.metrics.formulas import formula_of, similarity
from patchsim.metrics.weights import Kernel, channel_totals
from patchsim.types import Pixels

_DIFFERENCES = {"B": np.int16, "H": np.int32}  # types that hold the differences of two values
_BAND = 1 << 16  # values of a band, which stays in the cache


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
    sums = _sums(kernel, lambda band: band)
    # The mean of a channel with weight 0 does not matter, but must not divide by 0.
    means = sums / np.maximum(totals, 1)
    if pixels.dtype.kind == "u":
        means = np.rint(means)
    if formula.correlates:
        squares = float(_sums(kernel, lambda band: np.square(band, dtype=np.float64)).sum())
        spread = float(totals @ np.square(means)) * squares
        return min(1.0, float(means @ sums) / math.sqrt(spread)) if spread > 0 else 0.0
    kind: Any = _DIFFERENCES.get(pixels.dtype.char, np.float64)
    means = means.astype(kind)

    def differences(band: Pixels) -> NDArray[Any]:
        gaps = np.subtract(band, means, dtype=kind)
        return np.square(gaps, dtype=np.float64) if formula.squares else np.abs(gaps, out=gaps)

    total = float(_sums(kernel, differences).sum())
    return similarity(total, int(totals.sum()), span * span if formula.squares else span)


def _sums(kernel: Kernel, term: Callable[[Pixels], NDArray[Any]]) -> NDArray[np.float64]:
    """Return the weighted sum of each channel [C] of a term of the pixels, band by band."""
    pixels, weights = kernel.pixels, kernel.weights
    rows = max(1, _BAND // (pixels.shape[1] * pixels.shape[2]))
    sums: NDArray[np.float64] = np.zeros(pixels.shape[2])
    for top in range(0, len(pixels), rows):
        values = term(pixels[top : top + rows])
        kind: Any = np.float64 if values.dtype.kind == "f" else np.int64
        if weights is not None:
            kind = np.float64
            values = np.multiply(values, np.atleast_3d(weights[top : top + rows]), dtype=kind)
        # Rows first: a loop over the channels inside is much slower. The method `sum` of an array
        # takes twice as long for small kernels.
        sums += np.add.reduce(np.add.reduce(values, 0, dtype=kind), 0)
    return sums
