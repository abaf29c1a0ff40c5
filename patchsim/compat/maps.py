"""The map of scores that the drop-ins make their values from."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchsim.errors import InputError
from patchsim.matching.matcher import Matcher

Map = NDArray[np.float32]  # [rows, cols]
_Array = tuple[bytes, tuple[int, ...], str]  # values, shape and type

_KEPT = 4  # kernels that stay prepared for the next image


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
    """Return the lowest and the highest value of pictures; of a width that is not 0."""
    low = min(float(picture.min()) for picture in pictures)
    high = max(float(picture.max()) for picture in pictures)
    return low, high if high > low else low + 1


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
    """
    pixels, max_pixels = _by_value(_plain(kernel)), max(image.size, kernel.size)
    counts = None if mask is None else _by_value(mask)
    matcher = _matcher(pixels, metric, counts, data_range, max_pixels)
    scores = matcher.match(_plain(image), map=True).map
    assert scores is not None  # it was asked for
    return scores


def _plain(pixels: NDArray[Any]) -> NDArray[Any]:
    """Return pixels [H, W, C] as a matcher takes them without a copy: grey ones as [H, W]."""
    return pixels[..., 0] if pixels.shape[2] == 1 else pixels


def _by_value(array: NDArray[Any]) -> _Array:
    return array.tobytes(), array.shape, array.dtype.str


@lru_cache(maxsize=_KEPT)
def _matcher(
    kernel: _Array,
    metric: str,
    mask: _Array | None,
    data_range: tuple[float, float] | None,
    max_pixels: int,
) -> Matcher:
    """Return the matcher of a kernel; programs look for one kernel in many images."""
    pixels, counts = (
        None if array is None else np.frombuffer(array[0], array[2]).reshape(array[1])
        for array in (kernel, mask)
    )
    assert pixels is not None
    return Matcher(
        pixels,
        mask=counts,
        metric=metric,
        top=1,
        margin=False,
        trim=False,
        alpha=False,
        data_range=data_range,
        max_pixels=max_pixels,
    )
