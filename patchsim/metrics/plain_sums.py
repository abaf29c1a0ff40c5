"""Sums over one window in NumPy, for where the C extension was not built; they are equal to its.

Integers are summed exactly. Floats are summed in float64 in an order that C and NumPy can keep
alike. A row of a window is cut into segments. Of a segment, values that lie as many apart as there
are lanes are summed one after another, so that each lane has a sum; the lanes are whole pixels.
Then the lanes of all segments are added up, row by row, and at last those of each channel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchsim.types import Pixels

LANES, FEW = 16, 4  # lanes of each of up to so few channels; of more channels at least so many
SEGMENT = 1024  # pixels

# How many values are converted to int64 or float64 at a time, so that memory is bounded.
_WIDE_VALUES = 1 << 16

Values = NDArray[np.float64]
# Terms of a part of a window, from its pixels and those of the kernel there, as rows of values.
Terms = Callable[[NDArray[Any], NDArray[Any]], NDArray[Any]]


def of_integers(
    window: Pixels, kernel: Pixels, weights: NDArray[np.uint16] | None, terms: Terms
) -> list[int]:
    """Return the sum of each channel's terms, exactly.

    Parameters
    ----------
    window, kernel : uint8 or uint16 array [h, w, C]
    weights : uint16 array [h, w, C], optional
        Each term counts so many times.
    terms : arrays [r, n] -> array [r, n]
        Terms of some values of window and kernel, which come as int64.
    """
    channels, totals = kernel.shape[2], [0] * kernel.shape[2]
    # A square of a 16-bit value takes 32 bits, a weight up to 16 more; 2^15 of these fit 63 bits.
    for rows, cols in _parts(kernel, (_WIDE_VALUES >> 1) // channels * channels or channels):
        values = terms(*(_row_values(a)[rows, cols].astype(np.int64) for a in (window, kernel)))
        if weights is not None:
            values = values * _row_values(weights)[rows, cols].astype(np.int64)
        sums = values.reshape(-1, channels).sum(0).tolist()
        totals = [total + more for total, more in zip(totals, sums, strict=True)]
    return totals


def of_floats(
    window: Pixels, kernel: Pixels, weights: NDArray[np.uint16] | None, terms: Terms
) -> Values:
    """Return the sum of each channel's terms in float64, [C], in the order of lanes.

    Parameters
    ----------
    window, kernel : float array [h, w, C]
    weights : uint16 array [h, w, C], optional
    terms : arrays [r, n] -> array [r, n]
        Terms of some values of window and kernel, which come as float64 and begin with the first
        channel.
    """
    channels = kernel.shape[2]
    lanes = channels * (LANES if channels <= FEW else -(-LANES // channels))
    segment = SEGMENT * channels // lanes * lanes
    totals = np.zeros(lanes)
    for rows, cols in _parts(kernel, segment):
        values = terms(*(_row_values(a)[rows, cols].astype(np.float64) for a in (window, kernel)))
        if weights is not None:
            values = values * _row_values(weights)[rows, cols]
        steps = -(-values.shape[1] // lanes)
        padded = np.zeros((len(values), steps * lanes))
        padded[:, : values.shape[1]] = values
        # NumPy adds along an axis that is not the last one by one.
        sums = padded.reshape(len(values), steps, lanes).sum(1)
        totals = np.concatenate([totals[None], sums]).sum(0)
    channel_sums = totals[:channels].copy()
    for lane in range(channels, lanes, channels):
        channel_sums += totals[lane : lane + channels]
    return channel_sums


def _row_values(picture: NDArray[Any]) -> NDArray[Any]:
    """Return [h, w, C] as rows of values, [h, w C]."""
    return picture.reshape(len(picture), -1)


def _parts(kernel: Pixels, segment: int) -> Iterator[tuple[slice, slice]]:
    """Yield rows and values of parts, row by row where a row has several segments."""
    height, run = len(kernel), kernel.shape[1] * kernel.shape[2]
    at_once = 1 if run > segment else max(1, (_WIDE_VALUES >> 1) // run)
    for top in range(0, height, at_once):
        for first in range(0, run, segment):
            yield slice(top, top + at_once), slice(first, min(run, first + segment))
