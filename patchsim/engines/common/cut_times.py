"""How long the transforms in C take, by their sides, over those of 256x256."""

from __future__ import annotations

import math
from functools import cache

from patchsim.machine import extensions

# The time of a transform back, over that of one there with the product.
BACK = 0.3
# The figures by which sides of transforms of floats are chosen were fitted to 13,000 maps: four
# photographs of 512x512 and 1280x720, grey and RGB, uint8 and float32, kernels of 16 to 128 pixels,
# `ssd`, `ncc` and `zncc`, each with up to 22 divisions of the map. Linux, an AMD EPYC (Zen 4) with
# 1 MiB for each core. The chosen division took 3.4 % more time than the best one, in the mean; the
# best of every size, metric and type, whatever the photograph, took 1.7 % more.
#
# The time of a pair of tiles, whatever its sides.
OF_PAIR = 0.15
# How much longer transforms take for each doubling of their values, and those of another width than
# `SIDE` (256), for which code without loops was written; folded ones of as many values take less.
# And by how much for each doubling of the MiB of the tile's transforms and the kernel's, from so
# many on.
_DOUBLED, _OTHER_WIDTH, _FOLDED, _FAR_SPECTRA, _NEAR_MIB = 0.07, 1.2, 0.9, 0.13, 0.5
# How much longer 256x256 windows take for each doubling of the MiB of the products that are made
# before they are scored.
_FAR_PRODUCTS = 0.2
# How much longer a tile takes that is transformed in double precision, or has windows of which as
# many are summed directly as that would take; folded ones take less.
_AGAIN, _AGAIN_FOLDED = 1.35, 0.8
# And by how much, for each 256x256 values of single precision in all planes, beyond so many.
_CACHED_DOUBLES, _UNCACHED_DOUBLES = 4.5, 0.13
# How many times the windows that transforms of 256x256 leave open others and folded ones do.
_MORE_OPEN = 2.4
# How much longer transforms of a folded tile take, of as many values, whose spectra are near.
_FOLDING = 1.15
# How much longer transforms of many planes take that fill a cache of 2 MiB, or whose sides leave
# too few registers; measured with kernels of 64 and 128 on an Intel Xeon.
_FAR, _NEAR_VALUES, _NEAR_SIDES = 1.5, 1 << 18, (512, 768)
# The time of a transform in double precision grows with this power of its values more than with
# their number, from half of 256x256 on, because sums and spectra of many planes pass through the
# cache. Linux, an AMD EPYC (Zen 4) with 1 MiB for each core; kernels of 16 to 64 with masks,
# 1920x1080, grey and RGB, sides of 128 to 1024. Beside that, tiles of another width than 256 took
# so much longer.
_CACHED_DOUBLE, _UNCACHED_DOUBLE, _OTHER_WIDTH_OF_DOUBLES = 0.5, 0.4, 1.12


@cache
def side() -> int:
    """Return the side of the transforms in whose time others are told."""
    built = extensions.extension("_correlation")
    assert built is not None, "it was built"
    return int(built.SIDE)


def in_cache(sides: tuple[int, int], folds: int) -> float:
    """Return the time of a transform whose values fit the cache."""
    area = _area(sides, folds)
    return (_FOLDING if folds > 1 else 1) * area * max(1.0, 1 + math.log2(area) / 5)


def of_floats(sides: tuple[int, int], folds: int, planes: int, *, is_near: bool) -> float:
    """Return the time of a transform of each of so many planes.

    `is_near`: the spectra of many planes pass through the cache.
    """
    if is_near:
        return in_cache(sides, folds) * (_FAR if _is_far(sides, folds) else 1.0)
    area = _area(sides, folds)
    transform = area * max(0.5, 1 + _DOUBLED * math.log2(area))
    transform *= _FOLDED if folds > 1 else 1.0
    transform *= _OTHER_WIDTH if sides[1] != side() else 1.0
    mib = planes * area  # a plane's values are half of one, and the kernel's are as many
    return transform * (1 + _FAR_SPECTRA * max(0.0, math.log2(mib / _NEAR_MIB)))


def of_far_products(rows: int, cols: int, rows_at_once: int) -> float:
    """Return the time that the windows of a map take longer because products leave the cache."""
    mib = 4 * rows_at_once * cols / (1 << 20)
    return rows * cols / side() ** 2 * _FAR_PRODUCTS * max(0.0, math.log2(mib))


def of_doubles(sides: tuple[int, int], folds: int) -> float:
    """Return the time of a transform in double precision, over one of 256x256 in it."""
    area = _area(sides, folds)
    transform = area * math.pow(max(area, _CACHED_DOUBLE), _UNCACHED_DOUBLE)
    return transform * (_OTHER_WIDTH_OF_DOUBLES if sides[1] != side() else 1.0)


def made_again(sides: tuple[int, int], folds: int, planes: int, share: float) -> float:
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
    area = math.prod(sides) / side() ** 2
    is_square = sides == (side(), side()) and folds == 1
    more_often = 1.0 if is_square else _MORE_OPEN * max(1.0, area)
    beyond = max(0.0, 2 * planes * area / folds - _CACHED_DOUBLES)
    again = (_AGAIN_FOLDED if folds > 1 else _AGAIN) * (1 + _UNCACHED_DOUBLES * beyond)
    return 1 + again * (1.0 - math.pow(1.0 - share, more_often))


def _area(sides: tuple[int, int], folds: int) -> float:
    """Return the values of a transform, over those of 256x256."""
    return math.prod(sides) / folds / side() ** 2


def _is_far(sides: tuple[int, int], folds: int) -> bool:
    lines, columns = sides[0] // folds, sides[1]
    return lines * columns > _NEAR_VALUES or lines > _NEAR_SIDES[0] or columns > _NEAR_SIDES[1]
