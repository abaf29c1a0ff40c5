"""Sums of integers over windows, and of their squares, exact, in one pass in C (`_moments.c`)."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from patchsim.machine import extensions
from patchsim.numerics.array_api import row_by_row

_extension = partial(extensions.extension, "_moments")


def has_moments(height: int, channels: int) -> bool:
    """Return whether the extension was built and takes windows of this size."""
    extension = _extension()
    return (
        extension is not None
        and channels <= extension.MOST_CHANNELS
        and height <= extension.TALLEST
    )


def moments(
    pixels: NDArray[np.uint8] | NDArray[np.uint16],
    size: tuple[int, int],
    stride: tuple[int, int],
    constants: NDArray[np.int64],
    weights: NDArray[np.int64] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Sum the pixels of every window, less a constant of each channel, and their squares.

    Parameters
    ----------
    pixels : array [H, W, C]
    size : (height, width)
        The size of a window, which `has_moments` takes.
    stride : (y, x)
    constants : array [C]
    weights : array [C], optional

    Returns
    -------
    spread : array [rows, cols]
        E, the sum of the squares over all channels. With weights n E - S^2, where n are the
        window's pixels, and S^2 is summed over the channels.
    means : array [rows, cols]
        The sum over the channels of S times the weight. Without weights it is [0, 0].
    """
    extension = _extension()
    assert extension is not None
    image = row_by_row(pixels)
    rows, cols = ((pixels.shape[axis] - size[axis]) // stride[axis] + 1 for axis in range(2))
    spread = np.full((rows, cols), np.nan)
    means = np.full((0, 0) if weights is None else (rows, cols), -1, np.int64)
    extension.moments(
        image=image,
        type=image.dtype.char,
        pitch=image.strides[0],
        channels=image.shape[2],
        height=size[0],
        width=size[1],
        stride_y=stride[0],
        stride_x=stride[1],
        rows=rows,
        cols=cols,
        constants=constants,
        weights=constants[:0] if weights is None else weights,
        spread=spread,
        means=means,
    )
    return spread, means


def moments_bytes(pixels: int, itemsize: int, windows: int) -> int:
    """Return the peak bytes of `moments`, with a copy of so many values of a tile."""
    return pixels * itemsize + 2 * 8 * windows
