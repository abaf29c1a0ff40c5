"""The map of scores that the drop-ins make their values from."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchsim.errors import InputError
from patchsim.matching.matcher import Matcher
from patchsim.scene.value_range import not_empty

Map = NDArray[np.float32]  # [rows, cols]
_Array = tuple[bytes, tuple[int, ...], str]  # values, shape and type

# Kernels that stay prepared for the next image, and the bytes that each may have.
_KEPT, _MOST_BYTES = 4, 1 << 20
_NO_LIMIT = 1 << 62  # of pixels: the pictures are in memory


def as_pixels(picture: Any, name: str) -> NDArray[Any]:
    """Return a picture as an array [H, W, C] that has pixels.

    Raises
    ------
    InputError
        If it is no array [H, W] or [H, W, C], has no pixels, or has values that are not finite.
    """
    array = np.asarray(picture)
    if array.ndim not in (2, 3) or array.dtype.kind not in "biuf":
        raise InputError(
            f"{name} has the shape {list(array.shape)} and the type {array.dtype}; give an array"
            " [H, W] or [H, W, C] of numbers"
        )
    if not array.size:
        raise InputError(f"{name} has the shape {list(array.shape)}; give a picture with pixels")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise InputError(f"{name} has values that are not finite; replace NaN and infinity first")
    return array if array.ndim == 3 else array[..., None]


def value_range(*pictures: NDArray[Any]) -> tuple[float, float]:
    """Return a data range that holds all values of pictures, and is not empty.

    Its ends are multiples of 1/32 to 1/16 of its width, so that most images of one kind have one
    range and find the kernel prepared.
    """
    low, high = not_empty(
        min(float(picture.min()) for picture in pictures),
        max(float(picture.max()) for picture in pictures),
    )
    step = math.ldexp(1.0, math.frexp(high - low)[1] - 5)
    return math.floor(low / step) * step, math.ceil(high / step) * step


def score_map(
    image: NDArray[Any],
    kernel: NDArray[Any],
    metric: str,
    *,
    mask: NDArray[np.uint8] | None = None,
    data_range: tuple[float, float] | None = None,
) -> Map:
    """Return the scores of all windows, [rows, cols], of pictures [H, W, C] of one type.

    Parameters
    ----------
    mask : uint8 array [h, w], optional
        How much each pixel of the kernel counts.
    data_range : (low, high), optional
        That of the type if it is not given.
    """
    taps = _plain(kernel)
    if taps.nbytes > _MOST_BYTES:
        matcher = _new_matcher(taps, metric, mask, data_range)
    else:
        counts = None if mask is None else _by_value(mask)
        matcher = _kept_matcher(_by_value(taps), metric, counts, data_range)
    scores = matcher.match(_plain(image), map=True).map
    assert scores is not None  # it was asked for
    return scores


def _plain(pixels: NDArray[Any]) -> NDArray[Any]:
    """Return pixels [H, W, C] as a matcher takes them without a copy: grey ones as [H, W]."""
    return pixels[..., 0] if pixels.shape[2] == 1 else pixels


def _by_value(array: NDArray[Any]) -> _Array:
    return array.tobytes(), array.shape, array.dtype.str


@lru_cache(maxsize=_KEPT)
def _kept_matcher(
    kernel: _Array,
    metric: str,
    mask: _Array | None,
    data_range: tuple[float, float] | None,
) -> Matcher:
    """Return the matcher of a kernel; programs look for one kernel in many images."""
    counts = None if mask is None else _array(mask)
    return _new_matcher(_array(kernel), metric, counts, data_range)


def _array(by_value: _Array) -> NDArray[Any]:
    values, shape, dtype = by_value
    return np.frombuffer(values, dtype).reshape(shape)


def _new_matcher(
    kernel: NDArray[Any],
    metric: str,
    mask: NDArray[Any] | None,
    data_range: tuple[float, float] | None,
) -> Matcher:
    return Matcher(
        kernel,
        mask=mask,
        metric=metric,
        top=1,
        margin=False,
        trim=False,
        alpha=False,
        data_range=data_range,
        max_pixels=_NO_LIMIT,
    )
