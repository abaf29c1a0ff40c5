"""How pictures get one type and one range of values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from patchsim.errors import InputError, printable
from patchsim.metrics import INTEGER_RANGE, check_range
from patchsim.pictures.reader import Picture
from patchsim.types import Pixels

_UNSCALED = 2.0**-20, 2.0**20  # float ranges of this size, such as 12-bit data, are not scaled


def unify(
    pictures: Sequence[Picture], data_range: tuple[float, float] | None
) -> tuple[list[Pixels], float, float]:
    """Bring pictures to one type and one range.

    Without a data range, 8-bit values beside 16-bit values are scaled from 255 to 65535, and
    integers beside floats are divided by the largest value of their type. With a data range,
    values keep their size; but floats whose range is far from 1 are scaled by a power of two,
    which changes no score and keeps their squares within float32.

    Parameters
    ----------
    pictures : sequence of Picture
    data_range : (low, high), optional

    Returns
    -------
    pixels : list of arrays [H, W, C]
        All in one dtype.
    low, span : float
        The lower end of the data range, and its width R.

    Raises
    ------
    InputError
        If a value lies outside the range or is not finite.
    """
    span = check_range(data_range) if data_range else 0.0
    for picture in pictures:
        _check_values(picture, data_range)
    dtype = np.result_type(*(picture.pixels.dtype for picture in pictures))
    if data_range is None and dtype.kind == "f":
        # float32 holds 8- and 16-bit values exactly; only a float64 picture needs more.
        has_float64 = any(picture.pixels.dtype == np.float64 for picture in pictures)
        dtype = np.dtype(np.float64 if has_float64 else np.float32)
    unified = [_to_type(p.pixels, dtype, scale=not data_range) for p in pictures]
    if data_range is None:
        return unified, 0.0, INTEGER_RANGE.get(dtype.name, 1)
    low, size = float(data_range[0]), max(map(abs, data_range))
    if dtype.kind == "f" and not _UNSCALED[0] <= size <= _UNSCALED[1]:
        power = -math.floor(math.log2(size))
        unified = [np.ldexp(pixels, power) for pixels in unified]
        return unified, math.ldexp(low, power), math.ldexp(span, power)
    return unified, low, span


def _check_values(picture: Picture, data_range: tuple[float, float] | None) -> None:
    values = picture.pixels
    if data_range is None and values.dtype.kind == "u":
        return
    low, high = data_range or (0.0, 1.0)
    smallest, largest = float(values.min()), float(values.max())  # both are NaN if a value is
    if not (np.isfinite(smallest) and np.isfinite(largest)):
        first = np.argwhere(~np.isfinite(values))[0]
        raise InputError(
            f"{printable(picture.name)} has a value {values[tuple(first)]} at x={first[1]},"
            f" y={first[0]};"
            " similarity needs finite values; replace it (and name their range with --data-range)"
        )
    if smallest < low or largest > high:
        raise InputError(
            f"{printable(picture.name)} has values from {smallest:g} to {largest:g},"
            f" outside {low:g} to {high:g};"
            "\nname the range of both pictures with --data-range LO:HI (data_range=)"
        )


def _to_type(pixels: Pixels, dtype: np.dtype[Any], *, scale: bool) -> Pixels:
    """Convert pixels to a type.

    With `scale`, integers are scaled from the default range of their type to that of `dtype`.
    """
    if pixels.dtype == dtype:
        return pixels
    name = pixels.dtype.name
    converted: Pixels
    if scale and name in INTEGER_RANGE:
        if dtype.kind == "f":
            converted = pixels.astype(dtype) / dtype.type(INTEGER_RANGE[name])
        else:
            converted = pixels.astype(dtype) * dtype.type(
                INTEGER_RANGE[dtype.name] // INTEGER_RANGE[name]
            )
    else:
        converted = pixels.astype(dtype, copy=False)
    return converted
