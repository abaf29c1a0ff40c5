"""Random pictures, the problems that engines are given with them, and their scores."""

from __future__ import annotations

import numpy as np

from patchsim import metrics
from patchsim.engines import Problem

SPAN = {"uint8": 255, "uint16": 65535, "float32": 1, "float64": 1}
METRICS = ("sad", "ssd", "ncc", "zncc")
CORRELATED = ["ssd", "ncc", "zncc"]


def values(rng, dtype, *shape):
    if dtype in metrics.INTEGER_RANGE:
        return rng.integers(0, SPAN[dtype] + 1, shape).astype(dtype)
    return rng.random(shape).astype(dtype)


def shades(rng, kind, height, width):
    """Weights of whole numbers without a common factor."""
    found = rng.integers(0, 2 if kind == "mask" else 6, (height, width), dtype=np.uint8)
    found[0, 0], found[-1, -1] = 0, 1
    return found


def problem_of(image, kernel, weights, metric, stride, **options):
    name = image.dtype.name
    return Problem(
        image.shape, kernel.shape, name, stride, metric, SPAN[name], "cpu", 1,
        weight_sum=int(weights.sum()), max_weight=int(weights.max()), **options,
    )  # fmt: skip


def problem(image, kernel, metric, stride=(1, 1), **options):
    span = SPAN[image.dtype.name]
    return Problem(
        image.shape, kernel.shape, image.dtype.name, stride, metric, span, "cpu", 1, **options
    )


def hits(found, truth):
    """True where the true score lies within what is stated."""
    return np.abs(found.map - truth) <= found.error


def brute(metric, image, kernel):
    """In NumPy and float64, window by window."""
    patches = np.lib.stride_tricks.sliding_window_view(image.astype(float), kernel.shape)[:, :, 0]
    taps = kernel.astype(float)
    if metric == "ssd":
        return 1 - ((patches - taps) ** 2).mean((2, 3, 4)) / SPAN[image.dtype.name] ** 2
    if metric == "zncc":
        patches = patches - patches.mean((2, 3), keepdims=True)
        taps = taps - taps.mean((0, 1))
    norms = np.sqrt((patches**2).sum((2, 3, 4)) * (taps**2).sum())
    products = (patches * taps).sum((2, 3, 4))
    return np.divide(products, norms, out=np.zeros_like(norms), where=norms > 1e-6)
