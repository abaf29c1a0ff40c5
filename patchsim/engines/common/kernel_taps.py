"""The values of a kernel as the C extension multiplies them with those of an image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from patchsim.engines.common import lowrank
from patchsim.engines.common.fitted import Fit
from patchsim.engines.common.sad_terms import Values
from patchsim.engines.problem import Problem
from patchsim.metrics import Kernel

# The taps of a kernel, [planes, h, w]; its means, [C], or ranges, [2 C]; and own, total, offset and
# residual, as `_correlation.scores` takes them.
_OfKernel = tuple[NDArray[np.float64], NDArray[np.float64], tuple[float, float, float, float]]


def of(kernel: Kernel, problem: Problem, values: Values | None) -> _OfKernel:
    """Return what the extension takes of a kernel.

    Parameters
    ----------
    kernel : Kernel
    problem : Problem
    values : Values or None
        The functions of the image's values, if the metric is `sad`.
    """
    return _less_means(kernel, problem) if values is None else _factors(kernel, problem, values)


def _less_means(kernel: Kernel, problem: Problem) -> _OfKernel:
    """Return what the extension takes of a kernel less its means."""
    # NumPy sums rows of planes ten times as fast as channels that lie beside each other.
    planes = np.ascontiguousarray(kernel.pixels.transpose(2, 0, 1), np.float64)
    means = planes.mean((1, 2))
    taps = planes - means[:, None, None]
    # The mean is rounded, which windows of little contrast on a large value have many times over.
    taps -= taps.mean((1, 2))[:, None, None]
    total = problem.taps * problem.data_range**2
    if problem.metric != "zncc":
        root = float(np.square(planes).sum())
    elif kernel.pixels.dtype.kind == "f":
        root = float(planes[0].size * np.square(taps).sum())
    else:
        root = _spread_of_integers(planes)
    return taps, means, (root, total, 0.0, 0.0)


def _factors(kernel: Kernel, problem: Problem, values: Values) -> _OfKernel:
    """Return what the extension takes of a kernel's factors, [terms x C, h, w]."""
    total = problem.total_weight * problem.data_range
    ranges = np.concatenate([values.middles, values.halves])
    if isinstance(values, Fit):
        taps, offset = values.taps(kernel.pixels)
        return taps, ranges, (0.0, total, offset, values.residual)
    weights = np.ones((1, 1, 1))
    if kernel.weights is not None:
        weights = np.atleast_3d(kernel.weights).astype(np.float64)
    widths = 2 * values.halves * np.broadcast_to(weights, kernel.pixels.shape)
    factors = [weights * factor for factor in lowrank.factors(kernel.pixels, values)]
    taps = np.concatenate(factors, axis=2).transpose(2, 0, 1)
    return taps, ranges, (0.0, total, float(widths.sum()) / 2, lowrank.residual(kernel, values))


def _spread_of_integers(planes: NDArray[np.float64]) -> float:
    """Return n sum K^2 - sum T^2 of whole numbers, whose sums are exact in float64."""
    sums = [int(total) for total in planes.sum((1, 2))]
    energy = int(np.square(planes).sum())
    return float(planes[0].size * energy - sum(total * total for total in sums))
