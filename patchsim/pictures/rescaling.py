"""Values that a file stores as integers or floats with a slope and an intercept."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchsim.errors import DamageError

_EXACT = 1 << 24  # whole numbers up to this are exact in float32
_STRIP = 256  # rows that are computed at a time, in float64


def rescaled(
    stored: NDArray[Any], slope: float, intercept: float, limits: tuple[float, float]
) -> NDArray[Any]:
    """Return ``slope * stored + intercept``, in a type that depends on the file's header alone.

    Parameters
    ----------
    stored : array [H, W]
    slope, intercept : float
    limits : (lowest, highest)
        What stored integers may be; it does not matter for floats.

    Returns
    -------
    array [H, W]
        uint16 or int16 where these hold all possible whole values; float32 where it holds all, or
        where values are not whole and stored in up to 16 bits or as float32; otherwise float64.

    Raises
    ------
    DamageError
        If slope or intercept is not finite.
    """
    if not (math.isfinite(slope) and math.isfinite(intercept)):
        raise DamageError(f"its values have the slope {slope:g} and the intercept {intercept:g}")
    values = np.empty(stored.shape, _type_of(stored.dtype, slope, intercept, limits))
    for top in range(0, len(stored), _STRIP):
        exact = stored[top : top + _STRIP].astype(np.float64) * slope + intercept
        values[top : top + _STRIP] = exact
    return values


def _type_of(
    dtype: np.dtype[Any], slope: float, intercept: float, limits: tuple[float, float]
) -> np.dtype[Any]:
    is_integer = dtype.kind in "iu"
    if is_integer and slope.is_integer() and intercept.is_integer():
        low, high = sorted(slope * limit + intercept for limit in limits)
        for integers in (np.uint16, np.int16):
            if low >= np.iinfo(integers).min and high <= np.iinfo(integers).max:
                return np.dtype(integers)
        return np.dtype(np.float32 if low >= -_EXACT and high <= _EXACT else np.float64)
    is_short = dtype.itemsize <= (2 if is_integer else 4)
    return np.dtype(np.float32 if is_short else np.float64)
