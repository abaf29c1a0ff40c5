"""How values are summed over every window, and which windows are uniform."""

from __future__ import annotations

import numpy as np

from patchsim.geometry import tiles
from patchsim.numerics.array_api import Array, cast, like, namespace
from patchsim.numerics.precision import DOUBLE, LONG


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
    return 8 * max(first, second)


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
    height, width = size
    if not isinstance(pixels, np.ndarray):
        pixels = cast(pixels, DOUBLE)  # torch cannot compare all integer types
    rows, cols = tiles.map_shape(pixels.shape[:2], size, stride)
    vertical, horizontal = pixels[1:] != pixels[:-1], pixels[:, 1:] != pixels[:, :-1]
    xp = namespace(vertical)
    uniform = xp.ones((rows, cols), **like(vertical))
    for differs, inner in ((vertical, (height - 1, width)), (horizontal, (height, width - 1))):
        if 0 not in inner:
            change_counts = box_sums(cast(differs.any(2), LONG), inner, stride)
            uniform &= change_counts[:rows, :cols] == 0
    return uniform


def uniform_windows_bytes(
    extent: tuple[int, int], channels: int, size: tuple[int, int], stride: tuple[int, int]
) -> int:
    """Return the peak bytes of `uniform_windows` of a NumPy array [H, W, C]."""
    pixels = extent[0] * extent[1]
    rows, cols = tiles.map_shape(extent, size, stride)
    # Differences down and across, which of them are any, these as integers, and their sums; the
    # sums before them and the result.
    return (2 * channels + 9) * pixels + box_sums_bytes(extent, size, stride) + 10 * rows * cols
