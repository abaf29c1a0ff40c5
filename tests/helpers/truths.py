"""True scores by slow means, each of which is made once for all that is compared with it."""

from __future__ import annotations

import hashlib
import itertools
from collections import OrderedDict
from functools import wraps

import numpy as np
import oracle
from numpy.lib.stride_tricks import sliding_window_view

from helpers.problems import SPAN
from patchsim import metrics

_KEPT = 512  # maps; the tests of one function, whose variant changes last, ask for fewer
_AT_ONCE = 1 << 16  # values of windows, which a processor's cache holds


def _key(value):
    """What stands for an argument: arrays of equal type, shape and bytes are equal."""
    if not isinstance(value, np.ndarray):
        return value
    return value.dtype.str, value.shape, hashlib.blake2b(value.tobytes()).digest()


def remembered(function):
    """Keep the arrays of the last arguments, which several variants and engines are held to."""
    kept = OrderedDict()

    @wraps(function)
    def asked(*arguments):
        key = tuple(map(_key, arguments))
        if key not in kept:
            kept[key] = function(*arguments)
            kept[key].setflags(write=False)  # the tests share it
        kept.move_to_end(key)
        while len(kept) > _KEPT:
            kept.popitem(last=False)
        return kept[key]

    return asked


@remembered
def oracle_map(metric, image, kernel, stride=(1, 1), weights=None, levels=None, least=0.5):
    """The oracle's scores of pixels of a type whose range is `SPAN`."""
    lists = [None if one is None else one.tolist() for one in (image, kernel, weights, levels)]
    span = SPAN[image.dtype.name]
    if metric == "sad" and weights is None and levels is None:
        return np.array(oracle.sad_map(*lists[:2], stride, span))
    return np.array(oracle.score_map(metric, *lists[:2], stride, span, *lists[2:], least))


@remembered
def plain_map(image, kernel, metric, weights=None):
    """In NumPy and float64, some windows at a time; spreads from deviations, in two passes."""
    height, width, channels = kernel.shape
    often = np.ones(kernel.shape)
    if weights is not None:
        often *= np.atleast_3d(weights)
    taps = kernel.astype(np.float64)
    if metric == "zncc":
        taps -= (often * taps).sum((0, 1)) / np.maximum(often.sum((0, 1)), 1)
    rows, cols = image.shape[0] - height + 1, image.shape[1] - width + 1
    few = max(1, _AT_ONCE // (height * width))
    sums = np.zeros((4, rows, cols))
    for c in range(channels):
        windows = sliding_window_view(image[..., c].astype(np.float64), (height, width))
        for row, left in itertools.product(range(rows), range(0, cols, few)):
            part = np.s_[row, left : left + few]
            values = windows[part].copy().reshape(-1, height * width)
            sums[:, *part] += _sums(values, taps[..., c].ravel(), often[..., c].ravel(), metric)
    squares, spreads, products, contrast = sums
    if metric == "ssd":
        return 1 - squares / (often.sum() * SPAN[image.dtype.name] ** 2)
    spreads[contrast == 0] = 1
    return np.where(contrast == 0, 0, products / np.sqrt(spreads * (often * taps**2).sum()))


def _sums(values, own, weights, metric):
    """Sums over a channel of windows [n, hw], which are overwritten, and a kernel [hw]: [4, n].

    The squared differences or the spread and the products, and whether there is any contrast.
    """
    sums, total = np.zeros((4, len(values))), max(weights.sum(), 1)
    if metric == "ssd":
        values -= own
        values *= values
        sums[0] = values @ weights
        return sums
    mean = values @ (weights / total) if metric == "zncc" else np.zeros(len(values))
    values -= mean[:, None]
    sums[2] = values @ (weights * own)
    values *= values
    sums[1] = values @ weights
    sums[3] = sums[1] > metrics.FLAT * (sums[1] + total * mean**2)
    return sums
