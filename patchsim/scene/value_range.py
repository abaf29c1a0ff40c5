"""Bringing pictures to one type and one range of values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from patchsim.errors import InputError, printable
from patchsim.metrics import INTEGER_RANGE, check_range
from patchsim.pictures.reader import Picture
from patchsim.types import Pixels

_ORDINARY = 2.0**-20, 2.0**20  # 12-bit data and the like stay what they are


def unify(
    pictures: Sequence[Picture], data_range: tuple[float, float] | None
) -> tuple[list[Pixels], float, float]:
    """Bring pictures to one type and one range.

    8 bits beside 16 bits are widened (255 -> 65535), integers beside floats are divided by their
    range. With a data range all values are taken as they are; floats whose range is far from 1 are
    scaled by a power of two, which changes no score and keeps their squares within float32.

    Parameters
    ----------
    pictures : sequence of Picture
    data_range : (low, high), optional

    Returns
    -------
    pixels : list of arrays [H, W, C]
        Of one dtype.
    low, span : float
        Where the data range begins, and its width R.

    Raises
    ------
    InputError
        If values lie outside the range or are not finite.
    """
    span = check_range(data_range) if data_range else 0.0
    for picture in pictures:
        _check_values(picture, data_range)
    dtype = np.result_type(*(picture.pixels.dtype for picture in pictures))
    if data_range is None and dtype.kind == "f":
        # 8- and 16-bit values have a place in float32; only a float64 picture needs more.
        wide = any(picture.pixels.dtype == np.float64 for picture in pictures)
        dtype = np.dtype(np.float64 if wide else np.float32)
    unified = [_as(p.pixels, dtype, scale=not data_range) for p in pictures]
    if data_range is None:
        return unified, 0.0, INTEGER_RANGE.get(dtype.name, 1)
    low, size = float(data_range[0]), max(map(abs, data_range))
    if dtype.kind == "f" and not _ORDINARY[0] <= size <= _ORDINARY[1]:
        power = -math.floor(math.log2(size))
        unified = [np.ldexp(pixels, power) for pixels in unified]
        return unified, math.ldexp(low, power), math.ldexp(span, power)
    return unified, low, span


def _check_values(picture: Picture, data_range: tuple[float, float] | None) -> None:
    values = picture.pixels
    if data_range is None and values.dtype.kind == "u":
        return
    low, high = data_range or (0.0, 1.0)
    least, most = float(values.min()), float(values.max())  # NaN wins both
    if not (np.isfinite(least) and np.isfinite(most)):
        bad = np.argwhere(~np.isfinite(values))[0]
        raise InputError(
            f"{printable(picture.name)} has a value {values[tuple(bad)]} at x={bad[1]}, y={bad[0]};"
            " similarity needs finite values; replace it (and name their range with --data-range)"
        )
    if least < low or most > high:
        raise InputError(
            f"{printable(picture.name)} has values from {least:g} to {most:g},"
            f" outside {low:g} to {high:g};"
            "\nname the range of both pictures with --data-range LO:HI (data_range=)"
        )


def _as(pixels: Pixels, dtype: np.dtype[Any], *, scale: bool) -> Pixels:
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
