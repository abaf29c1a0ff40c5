"""Which colours are compared: the number of channels and the colour space.

========  ========================================================================================
``auto``  As the pictures are; grey beside RGB becomes RGB.
``gray``  One channel, the luma of ITU-R BT.601 in the 16-bit weights of Pillow's mode ``L``,
          ``(19595 R + 38470 G + 7471 B) / 65536``, whatever the type. Integers are rounded to the
          nearest, so that 8 bits are the very values that Pillow gives.
``rgb``   Three channels; grey is repeated.
``hsv``   The HSV cone: value V and the vector (C cos H, C sin H) of chroma C = S V and hue H, in
          which hue is a circle, and what is grey or dark has next to no hue. In units of R the
          channels are ``V, (128 + 127 C cos H) / 255, (128 + 127 C sin H) / 255``.
``lab``   CIE 1976 L*a*b* of sRGB (IEC 61966-2-1) under its white, D65. In units of R the
          channels are ``L / 255, (a + 128) / 255, (b + 128) / 255``: with one scale for all three
          the squared difference of two pixels stays the square of their Delta E (CIE 1976), and
          a difference of R is 255 units. All of sRGB lies inside.
========  ========================================================================================

`hsv` and `lab` bring values to [0, 1] by the data range first, and their result to the range that
its type has by itself. The type stays: integers are rounded to the nearest, which keeps the fast
exact sums over integers, and keeps identical pixels identical. Image and kernel may be half a step
off each, so a `sad` is at most a step away from that of floats: 1/255 for 8 bits, 1/65535 for 16,
beside the rounding of float32. The zero of a channel with a sign, 128/255 of the range, is a whole
number in both.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchsim.errors import InputError, printable
from patchsim.geometry import tiles
from patchsim.machine.memory import format_size
from patchsim.metrics import INTEGER_RANGE
from patchsim.types import Pixels

DEFAULT = "auto"

_Plane = NDArray[np.floating[Any]]  # [rows, cols]
_Planes = tuple[_Plane, _Plane, _Plane]

_RED, _GREEN, _BLUE = 19595, 38470, 7471  # of 65536

# A block of pixels whose planes stay in a processor's cache while they are worked on; a pixel
# takes 14 values there, in float64 at the most.
_BLOCK_PIXELS = 1 << 13
_BLOCK_BYTES = 14 * 8

# Linear sRGB to XYZ (IEC 61966-2-1). White is the sum of a row, so that grey has no colour.
_XYZ = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))

_KNEE = (6 / 29) ** 3  # below, the cube root of CIE L*a*b* goes on as its tangent
_SLOPE = (29 / 6) ** 2 / 3


def convert(
    pictures: Sequence[Pixels],
    names: Sequence[str],
    color: str,
    *,
    low: float,
    span: float,
    memory: int,
) -> tuple[list[Pixels], float, float]:
    """Bring pictures to one number of channels and one colour space.

    Parameters
    ----------
    pictures : sequence of arrays [H, W, C]
        Of one dtype: uint8, uint16, float32 or float64. They stay as they are; what needs no
        change is returned itself.
    names : sequence of str
        Theirs, for messages.
    color : str
        One of `choices.COLORS`; the module says what they mean.
    low, span : float
        Where the data range begins, and its width R.
    memory : int
        Bytes that the pictures and their conversions may take; beyond `auto`.

    Returns
    -------
    pixels : list of arrays [H, W, C]
        Of the same dtype.
    low, span : float
        The data range of these: for `hsv` and `lab` 0 and 255, 65535 or, for floats, 1.

    Raises
    ------
    InputError
        If channels do not fit, or memory does not suffice.
    """
    if color == DEFAULT:
        return _alike(pictures, names), low, span
    for pixels, name in zip(pictures, names, strict=True):
        if pixels.shape[2] not in (1, 3):
            raise InputError(
                f"{printable(name)} has {pixels.shape[2]} channels, which have no {color};"
                " give grey or RGB, or compare them as they are with --color auto (color='auto')"
            )
    dtype = pictures[0].dtype
    channels = 1 if color == "gray" else 3
    left = memory - sum(pixels.nbytes for pixels in pictures)
    converted: list[Pixels] = []
    for pixels, name in zip(pictures, names, strict=True):
        height, width, found = pixels.shape
        if found == channels and color in ("gray", "rgb"):
            converted.append(pixels)
            continue
        block = min(height * width, _BLOCK_PIXELS) * _BLOCK_BYTES
        needed = height * width * channels * dtype.itemsize
        if needed + block > left:
            raise InputError(
                f"{printable(name)} takes {format_size(needed + block)} to convert to {color},"
                f" but only {format_size(max(0, left))} of the memory are left;"
                " allow more with --memory"
            )
        left -= needed
        if color == "rgb":
            converted.append(np.repeat(pixels, channels, axis=2))
        elif color == "gray":
            converted.append(_by_block(pixels, channels, _gray))
        else:
            converted.append(_by_block(pixels, channels, _space(color, dtype, low, span)))
    if color in ("gray", "rgb"):
        return converted, low, span
    return converted, 0.0, INTEGER_RANGE.get(dtype.name, 1)


def _alike(pictures: Sequence[Pixels], names: Sequence[str]) -> list[Pixels]:
    """Grey stays grey among grey, otherwise grey becomes RGB."""
    channels = {pixels.shape[2] for pixels in pictures}
    if len(channels - {1}) > 1 or (1 in channels and not channels <= {1, 3}):
        # The last is what 0 becomes.
        each = list(zip(names[:-1], pictures[:-1], strict=True))[:4]
        found = ", ".join(f"{printable(name)} has {pixels.shape[2]}" for name, pixels in each)
        alpha = any(pixels.shape[2] in (2, 4) for _, pixels in each)
        hint = " (alpha is read from files and PIL images, not from arrays)" if alpha else ""
        raise InputError(
            f"the pictures differ in channels: {found}; give all the same number{hint}"
        )
    most = max(channels)
    return [p if p.shape[2] == most else np.repeat(p, most, axis=2) for p in pictures]


def _by_block(pixels: Pixels, channels: int, function: Callable[[Pixels, Pixels], None]) -> Pixels:
    """What `function` (block, out) writes, block by block."""
    height, width, _ = pixels.shape
    result = np.empty((height, width, channels), pixels.dtype)
    cols = min(width, _BLOCK_PIXELS)
    for tile in tiles.split((height, width), (_BLOCK_PIXELS // cols, cols)):
        function(pixels[tile.index], result[tile.index])
    return result


def _gray(block: Pixels, out: Pixels) -> None:
    red, green, blue = (block[..., channel] for channel in range(3))
    if block.dtype.kind == "u":
        # 65535 of each and half of the divisor still fit.
        weighted = red * np.uint32(_RED) + green * np.uint32(_GREEN) + blue * np.uint32(_BLUE)
        out[..., 0] = (weighted + np.uint32(1 << 15)) // np.uint32(1 << 16)
    else:
        # The weights' sum is 1: written so, grey is exactly itself.
        out[..., 0] = green + (red - green) * (_RED / 65536) + (blue - green) * (_BLUE / 65536)


def _space(
    color: str, dtype: np.dtype[Any], low: float, span: float
) -> Callable[[Pixels, Pixels], None]:
    """(block, out) for a colour space of planes in units of R."""
    planes, transfer = (_hsv, _same) if color == "hsv" else (_lab, _linear)
    most = INTEGER_RANGE.get(dtype.name)
    # Of integers there are few; float32 is much finer than their steps.
    table = transfer(_unit(np.arange((most or 0) + 1.0), low, span)).astype(np.float32)

    def decoded(values: Pixels) -> _Plane:
        return table[values] if most else transfer(_unit(values, low, span))

    def write(block: Pixels, out: Pixels) -> None:
        given = [decoded(block[..., channel]) for channel in range(block.shape[2])]
        red, green, blue = given * (3 // len(given))
        for channel, plane in enumerate(planes(red, green, blue)):
            out[..., channel] = np.rint(plane * plane.dtype.type(most)) if most else plane

    return write


def _unit(values: Pixels, low: float, span: float) -> _Plane:
    unit: _Plane = np.clip((values - low) / span, 0.0, 1.0)
    return unit


def _same(values: _Plane) -> _Plane:
    return values


def _linear(values: _Plane) -> _Plane:
    """The light that sRGB values stand for (IEC 61966-2-1)."""
    light: _Plane = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return light


def _hsv(red: _Plane, green: _Plane, blue: _Plane) -> _Planes:
    """The HSV cone, from values in [0, 1]."""
    value = np.maximum(np.maximum(red, green), blue)
    chroma = value - np.minimum(np.minimum(red, green), blue)
    is_red, is_green = value == red, value == green
    difference = np.where(is_red, green - blue, np.where(is_green, blue - red, red - green))
    sector = np.where(is_red, 0, np.where(is_green, 2, 4)).astype(value.dtype)
    # Without chroma the quotient is of zeros, and any hue does.
    hue = difference / np.where(chroma == 0, value.dtype.type(1), chroma) + sector
    hue *= math.pi / 3
    return value, _signed(chroma * np.cos(hue), 127), _signed(chroma * np.sin(hue), 127)


def _lab(red: _Plane, green: _Plane, blue: _Plane) -> _Planes:
    """CIE L*a*b*, from light in [0, 1]."""
    from_green, to_blue = red - green, blue - green
    roots = []
    for row in _XYZ:
        # As in `_gray`: of grey all three are the same number.
        light = green + from_green * (row[0] / sum(row)) + to_blue * (row[2] / sum(row))
        root = np.cbrt(np.maximum(light, _KNEE))
        root += (np.minimum(light, _KNEE) - _KNEE) * _SLOPE
        roots.append(root)
    x, y, z = roots
    return (y * 116 - 16) / 255, _signed(x - y, 500), _signed(y - z, 200)


def _signed(values: _Plane, scale: float) -> _Plane:
    """In units of R, with zero where integers of 8 and of 16 bits have a whole number."""
    return (values * scale + 128) / 255
