"""Which colours are compared: the number of channels and the colour space.

========  ========================================================================================
``auto``  The pictures' own colours; grey beside RGB becomes RGB.
``gray``  One channel, the luma of ITU-R BT.601 with the 16-bit weights of Pillow's mode ``L``,
          ``(19595 R + 38470 G + 7471 B) / 65536``, for all types. Integers are rounded to the
          nearest, so 8-bit pictures get exactly Pillow's values.
``rgb``   Three channels; grey is repeated.
``hsv``   The HSV cone: value V and the vector (C cos H, C sin H) of chroma C = S V and hue H. On
          the cone hue is a circle, and grey or dark colours differ little in hue. In units of R
          the channels are ``V, (128 + 127 C cos H) / 255, (128 + 127 C sin H) / 255``.
``lab``   CIE 1976 L*a*b* of sRGB (IEC 61966-2-1) with its white, D65. In units of R the channels
          are ``L / 255, (a + 128) / 255, (b + 128) / 255``. All three have one scale, so the
          squared difference of two pixels is the square of their Delta E (CIE 1976), and a
          difference of R is 255 units. All of sRGB lies inside the range.
========  ========================================================================================

`hsv` and `lab` first scale values to [0, 1] by the data range. Their results span the default range
of the type, which stays the same. Integers are rounded to the nearest, so that sums over integers
stay exact and fast, and identical pixels stay identical. Image and kernel may each be off by half a
step, so a `sad` differs from that of floats by at most one step: 1/255 for 8 bits, 1/65535 for 16,
apart from the rounding of float32. The zero of a signed channel, 128/255 of the range, is an
integer in both types.
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

# Pixels that are converted at a time, so that their planes stay in the processor's cache. A pixel
# takes 14 values there, of at most 8 bytes.
_BLOCK_PIXELS = 1 << 13
_BLOCK_BYTES = 14 * 8

# Linear sRGB to XYZ (IEC 61966-2-1). White is taken as the sum of each row, so that grey has
# a = b = 0 exactly.
_XYZ = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))

_KNEE = (6 / 29) ** 3  # below this value CIE L*a*b* replaces the cube root by its tangent
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
        All of one dtype: uint8, uint16, float32 or float64. They are not changed; a picture that
        needs no conversion is returned without a copy.
    names : sequence of str
        The pictures' names in messages.
    color : str
        One of `choices.COLORS`; the module's docstring defines them.
    low, span : float
        The lower end of the data range, and its width R.
    memory : int
        Bytes that the pictures and their conversions may take; ignored for `auto`.

    Returns
    -------
    pixels : list of arrays [H, W, C]
        In the same dtype.
    low, span : float
        Their data range: for `hsv` and `lab` 0 and 255, 65535 or, for floats, 1.

    Raises
    ------
    InputError
        If the channels do not fit, or memory does not suffice.
    """
    if color == DEFAULT:
        return _with_equal_channels(pictures, names), low, span
    for pixels, name in zip(pictures, names, strict=True):
        _check_channels(pixels.shape[2], name, color)
    channels = 1 if color == "gray" else 3
    free = memory - sum(pixels.nbytes for pixels in pictures)
    converted: list[Pixels] = []
    for pixels, name in zip(pictures, names, strict=True):
        if pixels.shape[2] == channels and color in ("gray", "rgb"):
            converted.append(pixels)
            continue
        free -= _check_memory(pixels, channels, free, printable(name), color)
        if color == "rgb":
            converted.append(np.repeat(pixels, channels, axis=2))
        else:
            function = _gray if color == "gray" else _space(color, pixels.dtype, low, span)
            converted.append(_by_block(pixels, channels, function))
    if color in ("gray", "rgb"):
        return converted, low, span
    return converted, 0.0, INTEGER_RANGE.get(pictures[0].dtype.name, 1)


def _check_channels(channels: int, name: str, color: str) -> None:
    if channels not in (1, 3):
        raise InputError(
            f"{printable(name)} has {channels} channels, which have no {color};"
            " give grey or RGB, or compare them as they are with --color auto (color='auto')"
        )


def _check_memory(pixels: Pixels, channels: int, free: int, name: str, color: str) -> int:
    """Check that a conversion fits into the free memory; return the bytes of its result."""
    height, width, _ = pixels.shape
    result_bytes: int = height * width * channels * pixels.dtype.itemsize
    needed = result_bytes + min(height * width, _BLOCK_PIXELS) * _BLOCK_BYTES
    if needed > free:
        raise InputError(
            f"{name} takes {format_size(needed)} to convert to {color},"
            f" but only {format_size(max(0, free))} of the memory are left;"
            " allow more with --memory"
        )
    return result_bytes


def _with_equal_channels(pictures: Sequence[Pixels], names: Sequence[str]) -> list[Pixels]:
    """Convert grey pictures to RGB if other pictures are RGB.

    The last picture is the pixel that stands for 0; messages leave it out.
    """
    channels = {pixels.shape[2] for pixels in pictures}
    if len(channels - {1}) > 1 or (1 in channels and not channels <= {1, 3}):
        named = list(zip(names[:-1], pictures[:-1], strict=True))[:4]
        counts = ", ".join(f"{printable(name)} has {pixels.shape[2]}" for name, pixels in named)
        may_have_alpha = any(pixels.shape[2] in (2, 4) for _, pixels in named)
        hint = ""
        if may_have_alpha:
            hint = " (alpha is read from files and PIL images, not from arrays)"
        raise InputError(
            f"the pictures differ in channels: {counts}; give all the same number{hint}"
        )
    count = max(channels)
    return [p if p.shape[2] == count else np.repeat(p, count, axis=2) for p in pictures]


def _by_block(pixels: Pixels, channels: int, function: Callable[[Pixels, Pixels], None]) -> Pixels:
    """Convert pixels block by block; `function(block, out)` writes a block's result into `out`."""
    height, width, _ = pixels.shape
    result = np.empty((height, width, channels), pixels.dtype)
    cols = min(width, _BLOCK_PIXELS)
    for tile in tiles.split((height, width), (_BLOCK_PIXELS // cols, cols)):
        function(pixels[tile.index], result[tile.index])
    return result


def _gray(block: Pixels, out: Pixels) -> None:
    red, green, blue = (block[..., channel] for channel in range(3))
    if block.dtype.kind == "u":
        # uint32 holds the sum of three weighted values up to 65535 and half of the divisor.
        weighted = red * np.uint32(_RED) + green * np.uint32(_GREEN) + blue * np.uint32(_BLUE)
        out[..., 0] = (weighted + np.uint32(1 << 15)) // np.uint32(1 << 16)
    else:
        # The weights sum to 1. In this form a grey pixel keeps exactly its value.
        out[..., 0] = green + (red - green) * (_RED / 65536) + (blue - green) * (_BLUE / 65536)


def _space(
    color: str, dtype: np.dtype[Any], low: float, span: float
) -> Callable[[Pixels, Pixels], None]:
    """Return the function (block, out) that converts a block to `hsv` or `lab`."""
    planes, transfer = (_hsv, _identity) if color == "hsv" else (_lab, _linear)
    largest = INTEGER_RANGE.get(dtype.name)
    # Integers have few values, so a table serves; float32 is much finer than their steps.
    table = transfer(_unit(np.arange((largest or 0) + 1.0), low, span)).astype(np.float32)

    def decoded(values: Pixels) -> _Plane:
        return table[values] if largest else transfer(_unit(values, low, span))

    def write(block: Pixels, out: Pixels) -> None:
        channels = [decoded(block[..., channel]) for channel in range(block.shape[2])]
        red, green, blue = channels * (3 // len(channels))  # grey is repeated
        for channel, plane in enumerate(planes(red, green, blue)):
            out[..., channel] = np.rint(plane * plane.dtype.type(largest)) if largest else plane

    return write


def _unit(values: Pixels, low: float, span: float) -> _Plane:
    """Scale values from the data range to [0, 1]."""
    unit: _Plane = np.clip((values - low) / span, 0.0, 1.0)
    return unit


def _identity(values: _Plane) -> _Plane:
    return values


def _linear(values: _Plane) -> _Plane:
    """Return the linear light of sRGB values in [0, 1] (IEC 61966-2-1)."""
    light: _Plane = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return light


def _hsv(red: _Plane, green: _Plane, blue: _Plane) -> _Planes:
    """Return the coordinates on the HSV cone, in units of R, of values in [0, 1]."""
    value = np.maximum(np.maximum(red, green), blue)
    chroma = value - np.minimum(np.minimum(red, green), blue)
    is_red, is_green = value == red, value == green
    difference = np.where(is_red, green - blue, np.where(is_green, blue - red, red - green))
    sector = np.where(is_red, 0, np.where(is_green, 2, 4)).astype(value.dtype)
    # Without chroma both terms are 0, and the hue does not matter.
    hue = difference / np.where(chroma == 0, value.dtype.type(1), chroma) + sector
    hue *= math.pi / 3
    return value, _signed(chroma * np.cos(hue), 127), _signed(chroma * np.sin(hue), 127)


def _lab(red: _Plane, green: _Plane, blue: _Plane) -> _Planes:
    """Return CIE L*a*b*, in units of R, of linear light in [0, 1]."""
    from_green, to_blue = red - green, blue - green
    roots = []
    for row in _XYZ:
        # In this form, as in `_gray`, grey gives three equal numbers, hence a = b = 0.
        light = green + from_green * (row[0] / sum(row)) + to_blue * (row[2] / sum(row))
        root = np.cbrt(np.maximum(light, _KNEE))
        root += (np.minimum(light, _KNEE) - _KNEE) * _SLOPE
        roots.append(root)
    x, y, z = roots
    return (y * 116 - 16) / 255, _signed(x - y, 500), _signed(y - z, 200)


def _signed(values: _Plane, scale: float) -> _Plane:
    """Scale a signed channel to units of R, with zero at 128/255, an integer in both types."""
    return (values * scale + 128) / 255
