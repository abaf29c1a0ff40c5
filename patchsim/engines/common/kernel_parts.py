"""How kernels are cut for the transforms in C, and how exact scores are."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from functools import cache, lru_cache, partial
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from patchsim.engines.common import cut_times
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

    def windows(self, kernel: tuple[int, int], stride: tuple[int, int]) -> tuple[int, int]:
        """Return the windows (rows, cols) that a transform gives of a kernel (height, width)."""
        lengths = [-(-length // count) for length, count in zip(kernel, self.parts, strict=True)]
        rows, cols = (
            (side - length) // step + 1
            for side, length, step in zip(self.sides, lengths, stride, strict=True)
        )
        return rows, cols

    def tiles(
        self, kernel: tuple[int, int], windows: tuple[int, int], stride: tuple[int, int]
    ) -> int:
        """Return the tiles that so many windows (rows, cols) are divided into."""
        rows, cols = self.windows(kernel, stride)
        return -(-windows[0] // rows) * _tiles_across(windows[1], cols)

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
    planes, cuts = kernel[2], []
    for folds, down, across, pairs in _cuts(kernel[:2], windows, stride):
        sides, count = (down.side, across.side), down.parts * across.parts
        transform = cut_times.of_floats(sides, folds, planes, is_near=is_near)
        again = cut_times.made_again(sides, folds, planes, share_made_again)
        made = transform * (count * planes + cut_times.BACK) * again
        is_kept = not is_near or can_stay_prepared(kernel, count * _values(sides, folds)[1])
        prepared = 0.0 if is_kept else PREPARING * transform * count * planes
        others = 0.0
        if not is_near:
            at_once = _rows_at_once(windows[0], down, across, folds)
            others = pairs * cut_times.OF_PAIR + cut_times.of_far_products(*windows, at_once)
        cuts.append((pairs * made + prepared + others, folds, down, across, pairs, transform))
    _, folds, down, across, pairs, transform = min(cuts)
    in_cache = transform if is_near else cut_times.in_cache((down.side, across.side), folds)
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
        transform = cut_times.of_doubles((down.side, across.side), folds)
        made = transform * work.transforms(down.parts * across.parts)
        cuts.append((pairs * made, folds, down, across, pairs, transform))
    _, folds, down, across, pairs, transform = min(cuts)
    in_parts = down.parts * across.parts * work.forward + work.backward
    in_large = transform * in_parts / (work.forward + work.backward)
    return _cut_of(kernel, (folds, down, across, pairs), transform, in_large)


def square_cut(kernel: tuple[int, int], windows: tuple[int, int], stride: tuple[int, int]) -> Cut:
    """Return the cut of a kernel in one part for transforms of `SIDE`, in which it fits."""
    axis = _Axis(1, cut_times.side(), 1, 1)
    cut = _cut_of(kernel, (1, axis, axis, 0), 1.0, 1.0)
    return cut._replace(pairs=-(-cut.tiles(kernel, windows, stride) // 2))


def _cuts(
    kernel: tuple[int, int], windows: tuple[int, int], stride: tuple[int, int]
) -> Iterator[_Division]:
    """Yield the cuts that may be the best."""
    axes = list(zip(kernel, windows, stride, strict=True))
    for folds in (1,) if stride[0] > 1 else (1, 2):
        downs, acrosses = _axes(*axes[0], folds=folds), _axes(*axes[1], tiles_of=_tiles_across)
        for down, across in itertools.product(downs, acrosses):
            yield folds, down, across, -(-down.tiles * across.tiles // (2 // folds))


def _rows_at_once(rows: int, down: _Axis, across: _Axis, folds: int) -> int:
    """Return the rows of windows whose products are made before they are scored."""
    bands = 2 if folds == 1 and across.tiles % 2 else 1  # to make pairs
    return min(rows, bands * -(-rows // down.tiles))


def _tiles_down(count: int, most: int) -> int:
    """Return the tiles that so many rows of windows are divided into, of at most `most`."""
    return -(-count // most)


def _tiles_across(count: int, most: int) -> int:
    """Return those of so many columns: all but the last one have whole vectors."""
    in_vectors = most // _VECTOR * _VECTOR or most
    return 1 + max(0, -(-(count - most) // in_vectors))


def _cut_of(kernel: tuple[int, ...], division: _Division, transform: float, in_large: float) -> Cut:
    """Return a cut; `in_large` is the time of a pair of a large map, over that of all planes."""
    folds, down, across, pairs = division
    parts, sides = (down.parts, across.parts), (down.side, across.side)
    size = [-(-length // count) for length, count in zip(kernel, parts, strict=False)]
    of_tile = math.prod(max(0, side + 1 - cut) for side, cut in zip(sides, size, strict=True))
    # A kernel that is too large for any cut has no windows in a tile.
    transforms = in_large * folds / of_tile if of_tile else math.inf
    return Cut(parts, sides, folds, pairs, transform, transforms)


# The time of a product of two transforms in double precision, over that of a transform.
_PRODUCT = 0.4
# Tiles of the C begin at a multiple of so many columns.
_VECTOR = 16
# The time of a kernel's own transforms of waves, over that of a tile's.
PREPARING = 2
# Transforms and values of a kernel, as float64, of more bytes do not stay prepared.
_MOST_PREPARED = 1 << 26


def can_stay_prepared(kernel: tuple[int, int, int], values: int, kernels: int = 1) -> bool:
    """Return whether kernels (height, width, planes) are kept for the next image.

    `values`: those of a kernel's transforms, for each plane.
    """
    height, width, planes = kernel
    return kernels * planes * (4 * values + 8 * height * width) <= _MOST_PREPARED


@cache
def uncut() -> Cut:
    """Return what direct sums have in place of a cut."""
    return Cut((1, 1), (cut_times.side(),) * 2, 1, 0, 0.0, 0.0)


@lru_cache(maxsize=64)
def _values(sides: tuple[int, int], folds: int) -> tuple[int, int]:
    """Return the values of a tile's transform, and of a kernel's for each part and plane."""
    built = extension()
    assert built is not None, "it was built"
    of_tile, of_kernel = built.values(sides, folds)
    return of_tile, of_kernel


def _axes(
    length: int,
    count: int,
    stride: int,
    *,
    folds: int = 1,
    tiles_of: Callable[[int, int], int] = _tiles_down,
) -> list[_Axis]:
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
                axes.append(_Axis(parts, side, windows, tiles_of(count, windows)))
    if not axes:  # too long for any
        axes = [_Axis(built.MOST_PARTS, max(sides), 1, count)]
    best: list[_Axis] = []
    for one in sorted(axes, key=lambda axis: (axis.tiles, axis.parts, axis.side)):
        # One that is better in everything came before.
        if not any(other.parts <= one.parts and other.side <= one.side for other in best):
            best.append(one)
    return best


def aligned(count: int, dtype: type[Value]) -> NDArray[Value]:
    """Return an array that begins at a multiple of 64 bytes, where vectors are read fastest."""
    spare = np.empty(count + 16, dtype)
    first = -spare.ctypes.data % 64 // spare.itemsize
    return spare[first : first + count]
