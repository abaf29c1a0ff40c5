"""How long the transforms in C take, by their sides, over those of 256x256."""

from __future__ import annotations

import math
from functools import cache

from patchsim.machine import extensions

# The time of a transform back, over that of one there with the product.
BACK = 0.3
# How much longer a tile takes that is transformed in double precision, or has windows of which as
# many are summed directly as that would take; folded ones take less. Of 84 maps of photographs.
_AGAIN, _AGAIN_FOLDED = 1.1, 0.8
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
# The time of a transform in double precision grows with this power of its values more than with
# their number, from half of 256x256 on, because sums and spectra of many planes pass through the
# cache. Linux, an AMD EPYC (Zen 4) with 1 MiB for each core; kernels of 16 to 64 with masks,
# 1920x1080, grey and RGB, sides of 128 to 1024. Beside that, tiles of another width than 256 took
# so much longer.
_CACHED_DOUBLE, _UNCACHED_DOUBLE, _OTHER_WIDTH = 0.5, 0.4, 1.12


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
    transform = in_cache(sides, folds)
    if is_near:
        return transform * (_FAR if _is_far(sides, folds) else 1.0)
    for_area = _UNCACHED_FOLDED * planes if folds > 1 else _UNCACHED
    transform *= max(1.0, 1 + for_area * (_area(sides, folds) - _CACHED_AREA))
    transform *= _OTHER_SIDE if sides[0] != side() * folds else 1.0
    return transform * (_OTHER_SIDE if sides[1] != side() else 1.0)


def of_doubles(sides: tuple[int, int], folds: int) -> float:
    """Return the time of a transform in double precision, over one of 256x256 in it."""
    area = _area(sides, folds)
    transform = area * math.pow(max(area, _CACHED_DOUBLE), _UNCACHED_DOUBLE)
    return transform * (_OTHER_WIDTH if sides[1] != side() else 1.0)


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
