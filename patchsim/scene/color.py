"""Which colours are compared: the number of channels and the colour space.

=========  =======================================================================================
``auto``   The pictures' own colours; grey beside RGB becomes RGB.
``gray``   One channel, the luma of ITU-R BT.601 with the 16-bit weights of Pillow's mode ``L``,
           ``(19595 R + 38470 G + 7471 B) / 65536``, for all types. Integers are rounded to the
           nearest, so 8-bit pictures get exactly Pillow's values.
``rgb``    Three channels; grey is repeated.
``hsv``    The HSV cone: value V and the vector (C cos H, C sin H) of chroma C = S V and hue H. On
           the cone hue is a circle, and grey or dark colours differ little in hue. In units of R
           the channels are ``V, (128 + 127 C cos H) / 255, (128 + 127 C sin H) / 255``.
``lab``    CIE 1976 L*a*b* of sRGB (IEC 61966-2-1) with its white, D65. In units of R the channels
           are ``L / 255, (a + 128) / 255, (b + 128) / 255``. All three have one scale, so the
           squared difference of two pixels is the square of their Delta E (CIE 1976), and a
           difference of R is 255 units. All of sRGB lies inside the range.
``edges``  Two channels, the gradient of the luma with its direction doubled; `scene.edges` has
           the formula. It is the only one that depends on the pixels around.
=========  =======================================================================================

`hsv`, `lab` and `edges` first scale values to [0, 1] by the data range. Their results span the
default range of the type, which stays the same. Integers are rounded to the nearest, so that sums
over integers stay exact and fast, and identical pixels stay identical. Image and kernel may each be
off by half a step, so a `sad` differs from that of floats by at most one step: 1/255 for 8 bits,
1/65535 for 16, apart from the rounding of float32. The zero of a signed channel, 128/255 of the
range, is an integer in both types.
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
from patchsim.metrics import INTEGER_RANGE, type_name
from patchsim.scene import edges
from patchsim.types import Pixels

DEFAULT = "auto"
LINEAR = (DEFAULT, "gray", "rgb")  # they need no range of values, and scale with them

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


def common_channels(counts: Sequence[int], names: Sequence[str], color: str) -> int:
    """Return the number of channels in which pictures with so many channels are compared.

    Parameters
    ----------
    counts : sequence of int
    names : sequence of str
        The pictures' names in messages.
    color : str
        One of `choices.COLORS`; the module's docstring defines them.

    Raises
    ------
    InputError
        If the channels do not fit.
    """
    if color == DEFAULT:
        _check_equal_channels(counts, names)
        return max(counts)
    for count, name in zip(counts, names, strict=True):
        _check_channels(count, name, color)
    return _channels(color)


def common_range(color: str, dtype: np.dtype[Any], low: float, span: float) -> tuple[float, float]:
    """Return the data range of converted pictures, as its lower end and its width.

    For `hsv`, `lab` and `edges` it begins at 0, with the width 255, 65535 or, for floats, 1.
    """
    if color in LINEAR:
        return low, span
    return 0.0, INTEGER_RANGE.get(type_name(dtype), 1)


def convert(pixels: Pixels, channels: int, color: str, *, low: float, span: float) -> Pixels:
    """Bring a picture to a number of channels and a colour space.

    Parameters
    ----------
    pixels : array [H, W, C]
        Of uint8, uint16, float32 or float64. It is not changed; if it needs no conversion, it is
        returned without a copy.
    channels : int
        The result of `common_channels`.
    color : str
    low, span : float
        The lower end of the data range, and its width R.

    Returns
    -------
    array [H, W, channels]
        In the same dtype.
    """
    if color in LINEAR:
        if pixels.shape[2] == channels:
            return pixels
        if color != "gray":
            return np.repeat(pixels, channels, axis=2)
        return _by_block(pixels, channels, _gray)
    if color == edges.NAME:
        largest = INTEGER_RANGE.get(type_name(pixels.dtype))
        return edges.convert(pixels, _unit_luma(pixels.dtype, low, span), largest)
    return _by_block(pixels, channels, _space(color, pixels.dtype, low, span))


def check_memory(
    shapes: Sequence[tuple[int, ...]],
    names: Sequence[str],
    color: str,
    dtype: np.dtype[Any],
    memory: int,
) -> None:
    """Check that the conversions of pictures fit into the memory.

    Parameters
    ----------
    shapes : sequence of (height, width, channels)
    names : sequence of str
        The pictures' names in messages.
    color : str
        One of `choices.COLORS` but `auto`.
    dtype : dtype
        The type of all.
    memory : int
        Bytes that the pictures and their conversions may take.

    Raises
    ------
    InputError
        If memory does not suffice.
    """
    channels = _channels(color)
    free = memory - dtype.itemsize * sum(math.prod(shape) for shape in shapes)
    for shape, name in zip(shapes, names, strict=True):
        if shape[2] != channels or color not in ("gray", "rgb"):
            free -= _check_fits(shape, channels, dtype, free, printable(name), color)


def _channels(color: str) -> int:
    return {"gray": 1, edges.NAME: edges.CHANNELS}.get(color, 3)


def _check_channels(channels: int, name: str, color: str) -> None:
    if channels not in (1, 3):
        raise InputError(
            f"{printable(name)} has {channels} channels, which have no {color};"
            " give grey or RGB, or compare them as they are with --color auto (color='auto')"
        )


def _check_fits(
    shape: tuple[int, ...], channels: int, dtype: np.dtype[Any], free: int, name: str, color: str
) -> int:
    """Check that a conversion fits into the free memory; return the bytes of its result."""
    height, width, _ = shape
    result_bytes = height * width * channels * dtype.itemsize
    needed = result_bytes + min(height * width, _BLOCK_PIXELS) * _BLOCK_BYTES
    if needed > free:
        raise InputError(
            f"{name} takes {format_size(needed)} to convert to {color},"
            f" but only {format_size(max(0, free))} of the memory are left;"
            " allow more with --memory"
        )
    return result_bytes


def _check_equal_channels(counts: Sequence[int], names: Sequence[str]) -> None:
    """Check that pictures have equal channels, or are grey and RGB."""
    distinct = set(counts)
    if len(distinct - {1}) > 1 or (1 in distinct and not distinct <= {1, 3}):
        named = list(zip(names, counts, strict=True))[:4]
        listed = ", ".join(f"{printable(name)} has {count}" for name, count in named)
        hint = ""
        if any(count in (2, 4) for _, count in named):
            hint = " (the alpha of an array is its fourth channel, in uint8 alone)"
        raise InputError(
            f"the pictures differ in channels: {listed}; give pictures with equally many{hint}"
        )


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
    largest = INTEGER_RANGE.get(type_name(dtype))
    decoded = _decoder(dtype, low, span, transfer)

    def write(block: Pixels, out: Pixels) -> None:
        channels = [decoded(block[..., channel]) for channel in range(block.shape[2])]
        red, green, blue = channels * (3 // len(channels))  # grey is repeated
        for channel, plane in enumerate(planes(red, green, blue)):
            out[..., channel] = np.rint(plane * plane.dtype.type(largest)) if largest else plane

    return write


def _decoder(
    dtype: np.dtype[Any], low: float, span: float, transfer: Callable[[_Plane], _Plane]
) -> Callable[[Pixels], _Plane]:
    """Return the function that brings values to [0, 1] and through a transfer function."""
    largest = INTEGER_RANGE.get(type_name(dtype))
    # Integers have few values, so a table serves; float32 is much finer than their steps.
    table = transfer(_unit(np.arange((largest or 0) + 1.0), low, span)).astype(np.float32)

    def decoded(values: Pixels) -> _Plane:
        return table[values] if largest else transfer(_unit(values, low, span))

    return decoded


def _unit_luma(dtype: np.dtype[Any], low: float, span: float) -> Callable[[Pixels], _Plane]:
    """Return the function that gives the luma of a block, in [0, 1] of the data range."""
    decoded = _decoder(dtype, low, span, _identity)

    def luma(block: Pixels) -> _Plane:
        planes = [decoded(block[..., channel]) for channel in range(block.shape[2])]
        if len(planes) == 1:
            return planes[0]
        red, green, blue = planes
        # In this form a grey pixel keeps exactly its value, as in `_gray`.
        return green + (red - green) * (_RED / 65536) + (blue - green) * (_BLUE / 65536)

    return luma


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
