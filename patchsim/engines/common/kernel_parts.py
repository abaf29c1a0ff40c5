"""How kernels are cut for the transforms in C, which have one size, and how exact scores are."""

from __future__ import annotations

import itertools
import math
from functools import lru_cache, partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from patchsim.engines.problem import Problem
from patchsim.machine import extensions
from patchsim.types import Pixels

_Value = TypeVar("_Value", np.float32, np.float64)

# The largest error of a score in a map; and where no map is wanted and scores only tell which
# windows are scored exactly. Those of little contrast have larger errors, and are rarely the best.
_MAP_ERROR, _ERROR_WITHOUT_MAP = 1e-5, 0.02

extension = partial(extensions.extension, "_correlation")
variant = partial(extensions.variant, "_correlation")


def error_limit(problem: Problem) -> float:
    """Return how far a score may be off; scores that could be more are made again."""
    return max(_MAP_ERROR if problem.map_wanted else _ERROR_WITHOUT_MAP, problem.tolerance)


def is_made_again(problem: Problem) -> bool:
    """Return whether correlations of windows of little contrast are off by more than they may."""
    return error_limit(problem) <= _MAP_ERROR


def rows_without_gaps(pixels: Pixels) -> Pixels:
    """Return pixels [H, W, C] as the C takes them, which allows gaps between rows alone."""
    steps = pixels.shape[2] * pixels.itemsize, pixels.itemsize
    if pixels.strides[1:] == steps and pixels.strides[0] >= 0:
        return pixels
    return np.ascontiguousarray(pixels)


@lru_cache(maxsize=256)
def cut(kernel: tuple[int, int, int], backward: int = 1) -> tuple[tuple[int, int], float]:
    """Return into how many parts (down, across) a kernel is best cut, and its transforms.

    Parameters
    ----------
    kernel : (height, width, planes)
        The planes of the image that are transformed for each part.
    backward : int
        The transforms back, of a tile.

    Returns
    -------
    parts : (down, across)
    transforms : float
        For a window, over those of a kernel in one part.
    """
    built = extension()
    assert built is not None, "it was built"
    side: int = built.SIDE
    best = (math.inf, (built.MOST_PARTS, built.MOST_PARTS))
    for parts in itertools.product(range(1, built.MOST_PARTS + 1), repeat=2):
        size = [-(-length // count) for length, count in zip(kernel, parts, strict=False)]
        is_cut = all((n - 1) * s < k for n, s, k in zip(parts, size, kernel, strict=False))
        if max(size) < side and is_cut:
            windows = math.prod(side + 1 - length for length in size)
            transforms = (math.prod(parts) * kernel[2] + backward) / (kernel[2] + backward)
            best = min(best, (transforms / windows, parts))
    return best[1], best[0]


def windows_of_transform(
    size: tuple[int, int], parts: tuple[int, int], stride: tuple[int, int]
) -> tuple[int, int]:
    """Return the windows (rows, cols) that a transform gives, of a kernel in so many parts."""
    built = extension()
    assert built is not None, "it was built"
    height, width = (-(-length // count) for length, count in zip(size, parts, strict=True))
    side: int = built.SIDE
    return (side - height) // stride[0] + 1, (side - width) // stride[1] + 1


def aligned(count: int, dtype: type[_Value]) -> NDArray[_Value]:
    """Return an array that begins at a multiple of 64 bytes, where vectors are read fastest."""
    spare = np.empty(count + 16, dtype)
    first = -spare.ctypes.data % 64 // spare.itemsize
    return spare[first : first + count]
