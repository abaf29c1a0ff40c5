"""How values are summed over every window, and which windows are uniform."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from patchsim.geometry import tiles
from patchsim.numerics.array_api import Array, like, namespace


def box_sums(values: Array, size: tuple[int, int], stride: tuple[int, int]) -> Array:
    """Sum the values over every window.

    Unlike an integral image, this scheme subtracts nothing: a sum of floats is off by at most
    (height + width) units in its last place, whatever the size of the picture. It is van Herk's
    scheme (Pattern Recognition Letters 13, 1992) with sums in place of maxima.

    Parameters
    ----------
    values : array [..., H, W]
    size : (height, width)
        The size of a window.
    stride : (y, x)

    Returns
    -------
    array [..., rows, cols]
        The sums, in the type of the values.
    """
    column_sums = _window_sums(values.swapaxes(-1, -2), size[0], stride[0]).swapaxes(-1, -2)
    return _window_sums(column_sums, size[1], stride[1])


def _window_sums(values: Array, length: int, step: int) -> Array:
    # Cut the line into blocks of `length`. A window is the end of one block and the start of the
    # next, so its sum is the sum of two cumulative sums.
    if length == 1:
        return values[..., ::step]
    xp = namespace(values)
    count = (values.shape[-1] - length) // step + 1
    blocks = -(-values.shape[-1] // length) + 1
    padded = xp.zeros((*values.shape[:-1], blocks * length), **like(values))
    padded[..., : values.shape[-1]] = values
    grid = padded.reshape(*values.shape[:-1], blocks, length)
    ends = xp.flip(xp.flip(grid, (-1,)).cumsum(-1, dtype=values.dtype), (-1,))
    starts = xp.zeros_like(grid)
    starts[..., 1:] = grid.cumsum(-1, dtype=values.dtype)[..., :-1]
    flat = (*values.shape[:-1], blocks * length)
    last = (count - 1) * step + 1
    return (
        ends.reshape(flat)[..., :last:step]
        + starts.reshape(flat)[..., length : length + last : step]
    )


def box_sums_bytes(extent: tuple[int, int], size: tuple[int, int], stride: tuple[int, int]) -> int:
    """Return the peak bytes of `box_sums` of a NumPy array [H, W] of values of 8 bytes."""
    rows, cols = tiles.map_shape(extent, size, stride)
    columns = rows * extent[1]
    first = _window_sums_values(extent[1], extent[0], size[0]) + columns
    second = columns + _window_sums_values(rows, extent[1], size[1]) + rows * cols
    buffers = 2 * np.getbufsize()  # values that NumPy adds up from the end on pass through them
    return 8 * (max(first, second) + buffers)


def _window_sums_values(lines: int, values: int, length: int) -> int:
    """Return the values of `_window_sums` beside its result."""
    # With zeros appended; ends, and in one piece; starts, or sums of which they are made.
    return 0 if length == 1 else 4 * lines * (-(-values // length) + 1) * length


def uniform_windows(pixels: Array, size: tuple[int, int], stride: tuple[int, int]) -> Array:
    """Return for each window whether every channel has a single value in it.

    Parameters
    ----------
    pixels : array [H, W, C]
    size : (height, width)
        The size of a window.
    stride : (y, x)

    Returns
    -------
    bool array [rows, cols]
    """
    xp, (rows, cols) = namespace(pixels), tiles.map_shape(pixels.shape[:2], size, stride)
    if pixels.dtype == xp.uint16:
        pixels = pixels.view(xp.int16)  # equal where they are; torch compares no uint16
    uniform = xp.ones_like(pixels[:rows, :cols, 0], dtype=xp.bool)
    for axis in (0, 1):
        # As many differences as a window has along one axis.
        inner = [length - (side == axis) for side, length in enumerate(size)]
        if 0 not in inner:
            uniform &= ~_any_in_windows(_differences(pixels, axis), inner, stride)
    return uniform


def _differences(pixels: Array, axis: int) -> Array:
    """Return where a pixel differs from the next one down or across, in any channel."""
    ahead, behind = (pixels[1:], pixels[:-1]) if axis == 0 else (pixels[:, 1:], pixels[:, :-1])
    differs = ahead[..., 0] != behind[..., 0]
    for channel in range(1, pixels.shape[2]):
        differs |= ahead[..., channel] != behind[..., channel]
    return differs


def _any_in_windows(flags: Array, size: Sequence[int], stride: tuple[int, int]) -> Array:
    """Return for each window of flags [H, W] whether one of them is set, [rows, cols]."""
    for length, step in zip(size, stride, strict=True):
        reach = 1  # flags that each one stands for: twice as many after each pass
        while reach < length:
            shift = min(reach, length - reach)
            flags = flags[:-shift] | flags[shift:]
            reach += shift
        flags = flags[::step].T
    return flags


def uniform_windows_bytes(extent: tuple[int, int], windows: int) -> int:
    """Return the peak bytes of `uniform_windows` of a NumPy array [H, W, C], with the result."""
    # Flags of all pixels before and after a pass, and of the windows.
    return 2 * math.prod(extent) + windows
