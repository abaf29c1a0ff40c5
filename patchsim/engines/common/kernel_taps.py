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
    pixels = kernel.pixels.astype(np.float64)
    means = pixels.mean((0, 1))
    total = problem.taps * problem.data_range**2
    spread = _own(kernel, problem.metric)
    return (pixels - means).transpose(2, 0, 1), means, (spread, total, 0.0, 0.0)


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


def _own(kernel: Kernel, metric: str) -> float:
    """Return what the kernel contributes to the root: sum K^2, for `zncc` n sum K^2 - sum T^2."""
    if kernel.pixels.dtype.kind == "f":
        values = kernel.pixels.astype(np.float64)
        if metric == "zncc":
            values -= values.mean((0, 1))
        pixels = values[..., 0].size if metric == "zncc" else 1
        return float(pixels * (values * values).sum())
    values = kernel.pixels.astype(np.uint64)
    energy = int((values * values).sum())
    if metric != "zncc":
        return float(energy)
    sums = values.sum((0, 1)).tolist()
    count = kernel.pixels.shape[0] * kernel.pixels.shape[1]
    return float(count * energy - sum(total * total for total in sums))
