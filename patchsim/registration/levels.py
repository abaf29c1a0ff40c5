"""Pictures and kernels halved again and again, each pixel the mean of 2x2."""

from __future__ import annotations

import math
from collections.abc import Callable
from threading import Lock
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from patchsim.metrics import Kernel, Visibility
from patchsim.types import Pixels

_Level = TypeVar("_Level")


class Levels(Generic[_Level]):
    """Levels, each made from the one before when it is first asked for, by any of several threads.

    Parameters
    ----------
    first : level
    smaller : function of a level
        Makes the next one.
    """

    def __init__(self, first: _Level, smaller: Callable[[_Level], _Level]) -> None:
        self._made = [first]
        self._smaller = smaller
        # Two threads that both missed a level would make it twice, and the second copy would pass
        # for the next one.
        self._lock = Lock()

    def __getitem__(self, level: int) -> _Level:
        with self._lock:
            while len(self._made) <= level:
                self._made.append(self._smaller(self._made[-1]))
            return self._made[level]


def octave(scale: float, deepest: int) -> int:
    """Return how often a picture is halved where a kernel has this scale; negative: the kernel.

    After it a pixel of the kernel is 2^-0.5 to 2^0.5 pixels of the picture, unless the kernel can
    be halved only `deepest` times.
    """
    return max(math.floor(math.log2(scale) + 0.5), -deepest)


def halved(pixels: NDArray[Any]) -> NDArray[Any]:
    """Average 2x2 pixels [H, W, C] in their type; an odd last row or column counts twice."""
    height, width, _ = pixels.shape
    if height % 2 or width % 2:
        pixels = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), "edge")
    return _means(pixels)


def _means(pixels: NDArray[Any]) -> NDArray[Any]:
    wide = np.uint32 if pixels.dtype.kind == "u" else pixels.dtype
    total = pixels[::2, ::2].astype(wide)
    for top, left in ((0, 1), (1, 0), (1, 1)):
        total += pixels[top::2, left::2]
    if pixels.dtype.kind == "u":
        return ((total + 2) >> 2).astype(pixels.dtype)
    return total / 4


def deepest(size: tuple[int, int]) -> int:
    """Return how often a kernel of (height, width) can be halved: 2 pixels a side remain."""
    return max(0, int(min(size)).bit_length() - 2)


def halved_kernel(kernel: Kernel) -> Kernel:
    """Return a kernel whose pixels are the means of 2x2 of another.

    An odd last row or column is left out; the others stay where they are, so that the centre of the
    level 0 kernel stays the centre: pixel j lies 2j + 1 pixels of the larger kernel from its left.
    A mean counts if all its four pixels count; where that leaves none, if one of them does.
    """
    height, width = (side // 2 * 2 for side in kernel.pixels.shape[:2])
    pixels = kernel.pixels[:height, :width]
    if kernel.weights is None:
        return Kernel(_means(pixels))
    weights = kernel.weights[:height, :width].reshape(height, width, -1)
    means = np.maximum(_means(weights), _most(weights) > 0)
    minima = -_most(-weights.astype(np.int16))
    counted = means * (minima > 0).astype(np.uint8)
    if not counted.any():
        counted = means
    # Pixels that do not count have no say in the mean of those beside them.
    wide = weights.astype(np.float64)
    total = 4 * _means(wide)
    values = 4 * _means(pixels * wide)
    values = np.divide(values, total, out=np.zeros_like(values), where=total > 0)
    if pixels.dtype.kind == "u":
        values = np.floor(values + 0.5)
    counted = counted.reshape(*counted.shape[:2], *kernel.weights.shape[2:])
    return Kernel(values.astype(pixels.dtype), counted)


def _most(values: NDArray[Any]) -> NDArray[Any]:
    height, width, channels = values.shape
    most: NDArray[Any] = values.reshape(height // 2, 2, width // 2, 2, channels).max((1, 3))
    return most


def softness(pixel: float) -> float:
    """Return how much of a kernel is replaced by its neighbours' mean (`neighbours_mean`).

    Where a kernel's pixel is smaller than the picture's, in whose pixels its size is given, the
    picture shows means over 1 / `pixel` of them. The part that is returned, 2 (1 - pixel), gives
    the next pixels of a row the weights that such a box centred on one gives them.
    """
    return min(1.0, max(0.0, 2 * (1 - pixel)))


def neighbours_mean(kernel: Kernel) -> NDArray[np.float64]:
    """Return each pixel's mean with its eight neighbours, [h, w, C], by the weights 1 2 1 each way.

    Pixels count in it as much as they weigh; one that does not count stays as it is.
    """
    pixels = kernel.pixels.astype(np.float64)
    if kernel.weights is None:
        weights = np.ones((*pixels.shape[:2], 1))
    else:
        weights = np.atleast_3d(kernel.weights).astype(np.float64)
    total = _smoothed(weights)
    means: NDArray[np.float64] = _smoothed(weights * pixels) / np.where(total > 0, total, 1)
    return np.where(weights > 0, means, pixels)


def _smoothed(values: NDArray[np.float64]) -> NDArray[np.float64]:
    wide = np.pad(values, ((1, 1), (1, 1), (0, 0)))
    wide = wide[:-2] + 2 * wide[1:-1] + wide[2:]
    smooth: NDArray[np.float64] = wide[:, :-2] + 2 * wide[:, 1:-1] + wide[:, 2:]
    return smooth / 16


def flipped(kernel: Kernel, flip: str) -> Kernel:
    """Return a kernel mirrored: `h` swaps left and right, `v` top and bottom."""
    if flip == "none":
        return kernel
    axis = 1 if flip == "h" else 0
    weights = None if kernel.weights is None else np.flip(kernel.weights, axis)
    return Kernel(np.flip(kernel.pixels, axis), weights)


def limits_for(limits: NDArray[np.float64] | None, channels: int) -> NDArray[np.float64]:
    """Return limits [C, 2] of values, infinite where none are given."""
    if limits is None:
        limits = np.array([[-np.inf, np.inf]] * channels)
    return np.ascontiguousarray(limits, np.float64)


def filled(pixels: Pixels, visible: Visibility | None) -> Pixels:
    """Return pixels with the invisible ones replaced by the nearest visible ones."""
    if visible is None or visible.levels.all() or not visible.levels.any():
        return pixels
    from scipy import ndimage

    nearest = ndimage.distance_transform_edt(
        visible.levels == 0, return_distances=False, return_indices=True
    )
    replaced: Pixels = pixels[tuple(nearest)]
    return replaced


class Pyramid:
    """A picture and its visibility; level 0 is the picture, each other level half the size.

    Invisible pixels have the colour of the nearest visible one.
    """

    def __init__(self, pixels: Pixels, visible: Visibility | None) -> None:
        self.full_level = 1 if visible is None else visible.full_level
        levels = None if visible is None else visible.levels
        self._levels = Levels((filled(pixels, visible), levels), _halved_with_visibility)

    def pixels(self, level: int) -> Pixels:
        """Return the pixels [H, W, C] of a level."""
        return self._levels[level][0]

    def visible(self, level: int) -> NDArray[np.uint8] | None:
        """Return the visibility [H, W] of a level, of which `full_level` is all."""
        return self._levels[level][1]


def _halved_with_visibility(
    level: tuple[Pixels, NDArray[np.uint8] | None],
) -> tuple[Pixels, NDArray[np.uint8] | None]:
    pixels, seen = level
    return halved(pixels), None if seen is None else halved(seen[..., None])[..., 0]


class KernelLevels:
    """A kernel in one flip, halved as often as it can be.

    Attributes
    ----------
    size : (height, width)
        The kernel's size at level 0.
    """

    def __init__(self, kernel: Kernel, flip: str = "none") -> None:
        self._levels = Levels(flipped(kernel, flip), halved_kernel)
        self.size: tuple[int, int] = kernel.pixels.shape[:2]
        self.deepest = deepest(self.size)

    def __getitem__(self, level: int) -> Kernel:
        return self._levels[level]
