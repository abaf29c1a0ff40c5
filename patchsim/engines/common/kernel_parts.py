"""How kernels are cut for the transforms in C, and how exact scores are."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from functools import cache, lru_cache, partial
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from patchsim.engines.problem import Problem
from patchsim.machine import extensions
from patchsim.numerics.array_api import row_by_row
from patchsim.types import Pixels

Value = TypeVar("Value", np.float32, np.float64)

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
    return row_by_row(pixels)


class Cut(NamedTuple):
    """How a kernel is cut, and the transforms that it is cut for.

    Attributes
    ----------
    parts : (down, across)
    sides : (y, x)
        Pixels along the axes of a tile.
    folds : int
        1 if a transform has two tiles, 2 if it has the even and the odd rows of one.
    pairs : int
        Transforms of the map: pairs of tiles, or tiles.
    transform : float
        The time of a transform, over that of one of 256x256.
    transforms : float
        Transforms of 256x256 for each window of a large map, over those of all planes and the way
        back, in time, as if all values fitted the cache.
    """

    parts: tuple[int, int]
    sides: tuple[int, int]
    folds: int
    pairs: int
    transform: float
    transforms: float

    @property
    def arguments(self) -> dict[str, Any]:
        """Return the arguments that the extension takes for this division of the kernel."""
        parts_y, parts_x = self.parts
        return {"parts_y": parts_y, "parts_x": parts_x, "sides": self.sides, "folds": self.folds}

    @property
    def tile_values(self) -> int:
        """Return the values of a transform."""
        return _values(self.sides, self.folds)[0]

    @property
    def kernel_values(self) -> int:
        """Return the values of a kernel's transforms, for each plane."""
        return math.prod(self.parts) * _values(self.sides, self.folds)[1]

    def nbytes(self, planes: int) -> int:
        """Return the bytes of a kernel's transforms."""
        return 4 * self.kernel_values * planes


class DoubleWork(NamedTuple):
    """The transforms of a pair of tiles in double precision, there and back, and their products."""

    forward: int
    products: int
    backward: int

    def transforms(self, parts: int) -> float:
        """Return the transforms of a kernel in so many parts, and what is as long as these."""
        return parts * (self.forward + _PRODUCT * self.products) + self.backward


class _Axis(NamedTuple):
    """An axis of transforms: the parts of the kernel, the side, and the windows of each tile."""

    parts: int
    side: int
    windows: int
    tiles: int


# Folds, the axes y and x, and the transforms of a map.
_Division = tuple[int, _Axis, _Axis, int]


@lru_cache(maxsize=256)
def best_cut(
    kernel: tuple[int, int, int],
    windows: tuple[int, int],
    stride: tuple[int, int] = (1, 1),
    *,
    share_made_again: float = 0.0,
    is_near: bool = False,
) -> Cut:
    """Return how a kernel is best cut for a map of (rows, cols).

    Parameters
    ----------
    kernel : (height, width, planes)
        The planes of the image that are transformed for each part.
    windows : (rows, cols)
    stride : (y, x)
    share_made_again : float
        About how many tiles of 256x256, from 0 to 1, have windows that are made again.
    is_near : bool
        The spectra of many planes pass through the cache: count transforms that fill it as longer.
    """
    planes, usual, cuts = kernel[2], _side(), []
    for folds, down, across, pairs in _cuts(kernel[:2], windows, stride):
        transform, count = _time_of(down.side * across.side, folds), down.parts * across.parts
        sides = down.side, across.side
        if is_near:
            transform *= _FAR if _is_far(sides, folds) else 1.0
        else:
            transform *= _beyond_cache(math.prod(sides), folds, planes)
            transform *= _OTHER_SIDE ** ((down.side != usual * folds) + (across.side != usual))
        again = time_made_again(sides, folds, planes, share_made_again) - 1
        again *= _FOLDED_SHARE if folds > 1 else 1.0
        made = transform * (count * planes + BACK) * (1 + again)
        made += 0.0 if is_near else _OF_PAIR * planes
        spectrum = _values(sides, folds)[1] if is_near else 0
        is_large = pairs <= _FEW_PAIRS and 4 * spectrum * count * planes > MOST_PREPARED
        # The kernel's own transforms take about as long as a pair's.
        prepared = transform * count * planes if is_large else 0.0
        cuts.append((pairs * made + prepared, folds, down, across, pairs, transform))
    _, folds, down, across, pairs, transform = min(cuts)
    in_cache = transform if is_near else _time_of(down.side * across.side, folds)
    in_large = in_cache * (down.parts * across.parts * planes + 1) / (planes + 1)
    return _cut_of(kernel, (folds, down, across, pairs), transform, in_large)


@lru_cache(maxsize=256)
def best_double_cut(
    kernel: tuple[int, int],
    work: DoubleWork,
    windows: tuple[int, int],
    stride: tuple[int, int] = (1, 1),
) -> Cut:
    """As `best_cut`, for transforms in double precision, of which a pair of tiles takes `work`."""
    cuts = []
    for folds, down, across, pairs in _cuts(kernel, windows, stride):
        area = down.side * across.side / folds / _side() ** 2
        transform = area * max(area, _CACHED_DOUBLE) ** _UNCACHED_DOUBLE
        transform *= _OTHER_WIDTH if across.side != _side() else 1.0
        made = transform * work.transforms(down.parts * across.parts)
        cuts.append((pairs * made, folds, down, across, pairs, transform))
    _, folds, down, across, pairs, transform = min(cuts)
    in_large = down.parts * across.parts * work.forward + work.backward
    in_large *= transform / (work.forward + work.backward)
    return _cut_of(kernel, (folds, down, across, pairs), transform, in_large)


def square_cut(kernel: tuple[int, int], windows: tuple[int, int], stride: tuple[int, int]) -> Cut:
    """Return the cut of a kernel in one part for transforms of `SIDE`, in which it fits."""
    of_tile = windows_of_transform(kernel, (1, 1), stride)
    tiles = math.prod(-(-all_ // one) for all_, one in zip(windows, of_tile, strict=True))
    axis = _Axis(1, _side(), 1, 1)
    return _cut_of(kernel, (1, axis, axis, -(-tiles // 2)), 1.0, 1.0)


def _cuts(
    kernel: tuple[int, int], windows: tuple[int, int], stride: tuple[int, int]
) -> Iterator[_Division]:
    """Yield the cuts that may be the best."""
    axes = list(zip(kernel, windows, stride, strict=True))
    for folds in (1,) if stride[0] > 1 else (1, 2):
        for down, across in itertools.product(_axes(*axes[0], folds), _axes(*axes[1])):
            yield folds, down, across, -(-down.tiles * across.tiles // (2 // folds))


def _cut_of(kernel: tuple[int, ...], division: _Division, transform: float, in_large: float) -> Cut:
    """Return a cut; `in_large` is the time of a pair of a large map, over that of all planes."""
    folds, down, across, pairs = division
    parts, sides = (down.parts, across.parts), (down.side, across.side)
    size = [-(-length // count) for length, count in zip(kernel, parts, strict=False)]
    of_tile = math.prod(max(0, side + 1 - cut) for side, cut in zip(sides, size, strict=True))
    # A kernel that is too large for any cut has no windows in a tile.
    transforms = in_large * folds / of_tile if of_tile else math.inf
    return Cut(parts, sides, folds, pairs, transform, transforms)


# The time of a transform back, over that of one there with the product.
BACK = 0.3
# A pair of tiles takes this more for each plane, whatever its sides are, over the time of a
# transform of 256x256.
_OF_PAIR = 0.13
# How much longer a tile takes that is transformed in double precision, or has windows of which as
# many are summed directly as that would take; folded ones take less, and less of that counts where
# sides are chosen, because arrays of two tiles fill the cache sooner. Of 84 maps of photographs.
_AGAIN, _AGAIN_FOLDED, _FOLDED_SHARE = 1.1, 0.8, 0.7
# And by how much, for each 256x256 values of single precision in all planes, beyond so many.
_CACHED_DOUBLES, _UNCACHED_DOUBLES = 5, 0.4
# How many times the windows that transforms of 256x256 leave open others and folded ones do: their
# rounding is 4/3.
_MORE_OPEN = 1.4
# How much longer transforms of a folded tile take, of as many values; and those along an axis that
# is not of `SIDE` values (256), for which code without loops was written.
_FOLDING, _OTHER_SIDE = 1.15, 1.03
# And by how much transforms that do not fit the cache of a core, for each 256x256 values beyond so
# many; folded ones for each plane. Linux, an Intel Xeon with 2 MiB for each core, images of one and
# three channels.
_CACHED_AREA, _UNCACHED, _UNCACHED_FOLDED = 4, 0.07, 0.02
# How much longer transforms of many planes take that fill a cache of 2 MiB, or whose sides leave
# too few registers; measured with kernels of 64 and 128 on an Intel Xeon.
_FAR, _NEAR_VALUES, _NEAR_SIDES = 1.5, 1 << 18, (512, 768)
# The time of a product of two transforms in double precision, over that of a transform.
_PRODUCT = 0.4
# That of such a transform grows with this power of its values more than with their number, from
# half of 256x256 on, because sums and spectra of many planes pass through the cache. Linux, an AMD
# EPYC (Zen 4) with 1 MiB for each core; kernels of 16 to 64 with masks, 1920x1080, grey and RGB,
# sides of 128 to 1024. Beside that, tiles of another width than 256 took so much longer.
_CACHED_DOUBLE, _UNCACHED_DOUBLE, _OTHER_WIDTH = 0.5, 0.4, 1.12
# Larger transforms of a kernel do not stay prepared, which counts where few pairs share them.
MOST_PREPARED, _FEW_PAIRS = 1 << 24, 2


def time_made_again(sides: tuple[int, int], folds: int, planes: int, share: float) -> float:
    """Return the time of transforms, with what is made again, over that of those in float32 alone.

    Parameters
    ----------
    sides : (y, x)
        Pixels of a tile: a larger one has contrast and flat windows more often, a smaller one as
        often.
    folds : int
    planes : int
    share : float
        Of tiles of 256x256 with windows that are made again, from 0 to 1.
    """
    area = math.prod(sides) / _side() ** 2
    is_square = sides == (_side(), _side()) and folds == 1
    more_often = 1.0 if is_square else _MORE_OPEN * max(1.0, area)
    beyond = max(0.0, 2 * planes * area / folds - _CACHED_DOUBLES)
    again = (_AGAIN_FOLDED if folds > 1 else _AGAIN) * (1 + _UNCACHED_DOUBLES * beyond)
    return 1 + again * (1.0 - math.pow(1.0 - share, more_often))


def _is_far(sides: tuple[int, int], folds: int) -> bool:
    lines, columns = sides[0] // folds, sides[1]
    return lines * columns > _NEAR_VALUES or lines > _NEAR_SIDES[0] or columns > _NEAR_SIDES[1]


def _time_of(pixels: int, folds: int) -> float:
    """Return the time of a transform, over that of one of 256x256, whose values fit the cache."""
    area = pixels / folds / _side() ** 2
    return (_FOLDING if folds > 1 else 1) * area * max(1.0, 1 + math.log2(area) / 5)


def _beyond_cache(pixels: int, folds: int, planes: int) -> float:
    """Return the time of a transform, over what it would be if its values fitted the cache."""
    area = pixels / folds / _side() ** 2
    for_area = _UNCACHED_FOLDED * planes if folds > 1 else _UNCACHED
    return max(1.0, 1 + for_area * (area - _CACHED_AREA))


@cache
def _side() -> int:
    """Return the side of the transforms in whose time others are told."""
    built = extension()
    assert built is not None, "it was built"
    return int(built.SIDE)


@cache
def uncut() -> Cut:
    """Return what direct sums have in place of a cut."""
    return Cut((1, 1), (_side(), _side()), 1, 0, 0.0, 0.0)


@lru_cache(maxsize=64)
def _values(sides: tuple[int, int], folds: int) -> tuple[int, int]:
    """Return the values of a tile's transform, and of a kernel's for each part and plane."""
    built = extension()
    assert built is not None, "it was built"
    of_tile, of_kernel = built.values(sides, folds)
    return of_tile, of_kernel


def _axes(length: int, count: int, stride: int, folds: int = 1) -> list[_Axis]:
    """Return the axes that transforms may have, without those that another one is better than."""
    built = extension()
    assert built is not None, "it was built"
    axes = []
    sides = [folds * side for side in built.SIDES]
    for side in sides:
        for parts in range(1, built.MOST_PARTS + 1):
            longest = -(-length // parts)
            if longest < side and (parts - 1) * longest < length:
                windows = (side - longest) // stride + 1
                axes.append(_Axis(parts, side, windows, -(-count // windows)))
    if not axes:  # too long for any
        axes = [_Axis(built.MOST_PARTS, max(sides), 1, count)]
    best: list[_Axis] = []
    for one in sorted(axes, key=lambda axis: (axis.tiles, axis.parts, axis.side)):
        # One that is better in everything came before.
        if not any(other.parts <= one.parts and other.side <= one.side for other in best):
            best.append(one)
    return best


def windows_of_transform(
    size: tuple[int, int],
    parts: tuple[int, int],
    stride: tuple[int, int],
    sides: tuple[int, int] | None = None,
) -> tuple[int, int]:
    """Return the windows (rows, cols) that a transform gives, of a kernel in so many parts."""
    height, width = (-(-length // count) for length, count in zip(size, parts, strict=True))
    down, across = sides or (_side(), _side())
    return (down - height) // stride[0] + 1, (across - width) // stride[1] + 1


def aligned(count: int, dtype: type[Value]) -> NDArray[Value]:
    """Return an array that begins at a multiple of 64 bytes, where vectors are read fastest."""
    spare = np.empty(count + 16, dtype)
    first = -spare.ctypes.data % 64 // spare.itemsize
    return spare[first : first + count]
