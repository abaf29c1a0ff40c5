"""The map of scores that the drop-ins make their values from."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchsim.errors import InputError
from patchsim.matching.match import match

Map = NDArray[np.float32]  # [rows, cols]


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
    report = match(
        image,
        kernel,
        mask=mask,
        map=True,
        metric=metric,
        top=1,
        margin=False,
        trim=False,
        alpha=False,
        data_range=data_range,
        max_pixels=max(image.size, kernel.size),
    )
    scores = report.map
    assert scores is not None  # it was asked for
    return scores
