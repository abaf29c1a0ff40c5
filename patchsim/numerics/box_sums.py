"""Sums of values over every window, and which windows have one value alone."""

from __future__ import annotations

import numpy as np

from patchsim.geometry import tiles
from patchsim.numerics.array_api import Array, cast, like, namespace
from patchsim.numerics.precision import DOUBLE, LONG


def box_sums(values: Array, size: tuple[int, int], stride: tuple[int, int]) -> Array:
    """Sums over every window of (height, width): [..., H, W] -> [..., rows, cols], same dtype.

    Nothing is subtracted, so that a sum of floats is off by at most (height + width) units in its
    own last place, whatever the size of the picture (the scheme of van Herk, Pattern Recognition
    Letters 13, 1992, with sums for its maxima).
    """
    down = _window_sums(values.swapaxes(-1, -2), size[0], stride[0]).swapaxes(-1, -2)
    return _window_sums(down, size[1], stride[1])


def _window_sums(values: Array, length: int, step: int) -> Array:
    # A window is the end of one block of `length` and the start of the next.
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


def uniform_windows(pixels: Array, size: tuple[int, int], stride: tuple[int, int]) -> Array:
    """True where each channel has one value over a window: [H, W, C] -> [rows, cols]."""
    height, width = size
    if not isinstance(pixels, np.ndarray):
        pixels = cast(pixels, DOUBLE)  # torch compares few types
    rows, cols = tiles.map_shape(pixels.shape[:2], size, stride)
    down, across = pixels[1:] != pixels[:-1], pixels[:, 1:] != pixels[:, :-1]
    xp = namespace(down)
    uniform = xp.ones((rows, cols), **like(down))
    for differs, inner in ((down, (height - 1, width)), (across, (height, width - 1))):
        if 0 not in inner:
            steps = box_sums(cast(differs.any(2), LONG), inner, stride)
            uniform &= steps[:rows, :cols] == 0
    return uniform
