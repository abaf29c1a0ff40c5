"""True scores by slow means, each of which is made once for all that is compared with it."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from functools import partial, wraps

import numpy as np
import oracle
from numpy.lib.stride_tricks import sliding_window_view

from helpers.problems import SPAN
from patchsim import metrics

_KEPT = 512  # maps; the tests of one function, whose variant changes last, ask for fewer
_AT_ONCE = 1 << 15  # values of windows


def _key(value):
    """What stands for an argument: arrays of equal type, shape and bytes are equal."""
    if not isinstance(value, np.ndarray):
        return value
    return value.dtype.str, value.shape, hashlib.blake2b(value.tobytes()).digest()


def _remembered(function):
    """Keep the maps of the last arguments, whose pixels several variants and engines score."""
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


@_remembered
def oracle_map(metric, image, kernel, stride=(1, 1), weights=None, levels=None, least=0.5):
    """The oracle's scores of pixels of a type whose range is `SPAN`."""
    lists = [None if one is None else one.tolist() for one in (image, kernel, weights, levels)]
    span = SPAN[image.dtype.name]
    if metric == "sad" and weights is None and levels is None:
        return np.array(oracle.sad_map(*lists[:2], stride, span))
    return np.array(oracle.score_map(metric, *lists[:2], stride, span, *lists[2:], least))


@_remembered
def plain_map(image, kernel, metric, weights=None):
    """In NumPy and float64, some windows at a time; spreads from deviations, in two passes."""
    often = np.ones(kernel.shape)
    if weights is not None:
        often *= np.atleast_3d(weights)
    taps = kernel.astype(np.float64)
    if metric == "zncc":
        taps -= (often * taps).sum((0, 1)) / np.maximum(often.sum((0, 1)), 1)
    rows = []
    for windows in sliding_window_view(image.astype(np.float64), kernel.shape)[:, :, 0]:
        few = -(-windows.size // _AT_ONCE)  # what a processor's cache holds takes less time
        parts = np.array_split(windows, min(few, len(windows)))  # [n, h, w, C]
        scores = [_scores(part, taps, often, metric, SPAN[image.dtype.name]) for part in parts]
        rows.append(np.concatenate(scores))
    return np.array(rows)


def _scores(windows, taps, often, metric, span):
    """The scores of windows [n, h, w, C] by a kernel's values and weights [h, w, C], [n]."""
    added = partial(np.einsum, "xi,i->x")  # BLAS would start threads, beside other tests
    squares, spreads, products, contrast = np.zeros((4, len(windows)))  # summed over the channels
    for c in range(windows.shape[3]):
        values, own = windows[..., c].reshape(len(windows), -1), taps[..., c].ravel()
        weights = often[..., c].ravel()
        if metric == "ssd":
            squares += added((values - own) ** 2, weights)
            continue
        plain = added(values**2, weights)
        if metric == "zncc":
            values = values - added(values, weights / max(weights.sum(), 1))[:, None]
        spread = added(values**2, weights)
        contrast += spread > metrics.FLAT * plain
        spreads += spread
        products += added(values, weights * own)
    if metric == "ssd":
        return 1 - squares / (often.sum() * span**2)
    spreads[contrast == 0] = 1
    return np.where(contrast == 0, 0, products / np.sqrt(spreads * (often * taps**2).sum()))
