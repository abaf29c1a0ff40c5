"""What each score means: its formula, its range, and the exact score of one window."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from patchsim.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

Pixels = NDArray[Any]  # [H, W, C] of uint8, uint16, float32 or float64
Exact = Callable[[int, int], float]
_Scores = TypeVar("_Scores", float, NDArray[np.float64], "Tensor")

METRICS = {"sad": "1 - mean |I-K| / R"}
DEFAULT = "sad"

_WIDE_VALUES = 1 << 16

# Largest value of each integer type: the data range R where none is given.
INTEGER_RANGE = {"uint8": 255, "uint16": 65535}


def check_name(name: str) -> str:
    if name not in METRICS:
        raise InputError(f"metric {name!r} is unknown; there is {', '.join(METRICS)}")
    return name


def check_range(data_range: tuple[float, float]) -> float:
    """The width R of a data range (low, high).

    Raises
    ------
    InputError
        If it is not two finite numbers, the second larger.
    """
    try:
        low, high = map(float, data_range)
    except (TypeError, ValueError):
        raise InputError(f"data range {data_range!r} is not two numbers; give (LO, HI)") from None
    if not (math.isfinite(high - low) and low < high):
        raise InputError(f"data range {low:g}:{high:g} is empty or endless; give LO < HI")
    return high - low


def similarity(difference_sum: _Scores, taps: int, span: float) -> _Scores:
    """The `sad` score, 1 - mean |I-K| / R, from sums of absolute differences.

    Parameters
    ----------
    difference_sum : float, float64 array or Tensor
        Sums over all channels of a window; for integer pixels exact integers below 2**53.
    taps : int
        Values in a window: height x width x channels.
    span : float
        The data range R.
    """
    # One division of exact numbers: equal rationals give equal floats, whatever the channels
    # or the depth they were summed over.
    return 1.0 - difference_sum / (taps * span)


def exact(pixels: Pixels, kernel: Pixels, span: float) -> Exact:
    """The function (y, x) -> score of the one window whose top-left pixel is there.

    Integer pixels are summed in 64-bit integers, float pixels in float64. This is the value that
    ranks, ties and thresholds use, whatever engine drew the map.
    """
    height, width, channels = kernel.shape
    wide = np.int64 if kernel.dtype.kind == "u" else np.float64
    # Some rows at a time, so that wide copies of a large kernel take no memory.
    step = max(1, _WIDE_VALUES // (width * channels))

    def score(y: int, x: int) -> float:
        total = 0.0  # integers in it stay below 2**53
        for top in range(0, height, step):
            part = kernel[top : top + step]
            window = pixels[y + top : y + top + len(part), x : x + width]
            difference = window.astype(wide) - part
            total += float(np.abs(difference, out=difference).sum())
        return similarity(total, kernel.size, span)

    return score
