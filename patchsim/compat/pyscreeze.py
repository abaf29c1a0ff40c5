"""`locate`, `locateAll` and `center` of PyScreeze, which pyautogui finds pictures with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from patchsim.compat import maps
from patchsim.errors import InputError
from patchsim.pictures.reader import open_picture

USE_IMAGE_NOT_FOUND_EXCEPTION = True
GRAYSCALE_DEFAULT = True
_LIMIT = 10_000  # boxes, as in PyScreeze


class Box(NamedTuple):
    """Where the needle was found, in pixels of the haystack."""

    left: int
    top: int
    width: int
    height: int


class Point(NamedTuple):
    """A place in pixels."""

    x: int
    y: int


class ImageNotFoundException(Exception):
    """No window reaches the confidence."""


def locate(needleImage: Any, haystackImage: Any, **kwargs: Any) -> Box | None:
    """Return the first box of `locateAll`, from the top and from the left.

    Returns
    -------
    Box or None
        None if nothing is found and `USE_IMAGE_NOT_FOUND_EXCEPTION` is false.

    Raises
    ------
    ImageNotFoundException
        If nothing is found.
    """
    return next(locateAll(needleImage, haystackImage, **{**kwargs, "limit": 1}), None)


def locateAll(
    needleImage: Any,
    haystackImage: Any,
    grayscale: bool | None = None,
    limit: int = _LIMIT,
    region: tuple[int, int, int, int] | None = None,
    step: int = 1,
    confidence: float = 0.999,
) -> Iterator[Box]:
    """Find every window that correlates with a needle better than `confidence`, as PyScreeze does.

    Neighbouring windows are boxes of their own. `patchsim.match` returns the best of each place
    instead, and finds one-coloured needles by their colour.

    Parameters
    ----------
    needleImage, haystackImage : path, PIL image, or array [H, W] or [H, W, 3]
        Arrays are in OpenCV's order, blue first.
    grayscale : bool, optional
        Compare grey values; the default is `GRAYSCALE_DEFAULT`.
    limit : int
        The largest number of boxes.
    region : (left, top, width, height), optional
        Search only here.
    step : int
        2 compares every second row and column, with a confidence that is 5 % lower.
    confidence : float
        What the correlation must exceed.

    Yields
    ------
    Box
        Line by line from the top, each from the left.

    Raises
    ------
    ImageNotFoundException
        If there is none and `USE_IMAGE_NOT_FOUND_EXCEPTION` is true.
    InputError
        A ValueError: the needle is larger than the haystack or region, or cannot be read.

    Notes
    -----
    For a needle of one colour, which correlates with nothing, PyScreeze reports the first window of
    any picture. Here such a needle is found where ``1 - mean(|window - needle|) / 255`` exceeds
    the confidence.
    """
    is_grey = GRAYSCALE_DEFAULT if grayscale is None else bool(grayscale)
    needle, haystack = _loaded(needleImage, is_grey), _loaded(haystackImage, is_grey)
    left, top = (region[0], region[1]) if region else (0, 0)
    if region:
        haystack = haystack[top : top + region[3], left : left + region[2]]
    height, width = needle.shape[:2]
    if height > haystack.shape[0] or width > haystack.shape[1]:
        raise InputError(
            f"needle {[width, height]} is larger than the haystack or region"
            f" {[haystack.shape[1], haystack.shape[0]]} (width, height); give a smaller one"
        )
    lowest = float(confidence) * (0.95 if step == 2 else 1)
    if step == 2:
        needle, haystack = needle[::2, ::2], haystack[::2, ::2]
    metric = "sad" if (needle == needle[0, 0]).all() else "zncc"
    scores = maps.score_map(haystack, needle, metric)
    places = np.argwhere(scores > lowest)[:limit]
    if not len(places) and USE_IMAGE_NOT_FOUND_EXCEPTION:
        raise ImageNotFoundException(
            f"Could not locate the image (highest confidence = {scores.max():.3f})"
        )
    scale = 2 if step == 2 else 1
    for row, col in places.tolist():
        yield Box(col * scale + left, row * scale + top, width, height)


def center(coords: tuple[int, int, int, int]) -> Point:
    """Return the pixel in the middle of a box (left, top, width, height)."""
    return Point(coords[0] + int(coords[2] / 2), coords[1] + int(coords[3] / 2))


def _loaded(source: Any, is_grey: bool) -> NDArray[np.uint8]:
    """Return a picture as [H, W, 1] or [H, W, 3] of uint8; what is transparent in it is opaque."""
    if isinstance(source, np.ndarray):
        pixels = maps.as_pixels(source, "picture")
        if pixels.dtype != np.uint8 or pixels.shape[2] not in (1, 3, 4):
            raise InputError(
                f"picture has {pixels.shape[2]} channels of {pixels.dtype}; give an array of uint8"
                " with one or three"
            )
        picture = Image.fromarray(pixels[..., 2::-1] if pixels.shape[2] > 1 else pixels[..., 0])
    elif isinstance(source, Image.Image):
        picture = source
    else:
        opened = open_picture(source, name="picture").pixels
        if opened.dtype != np.uint8:
            raise InputError(f"{source} has values of {opened.dtype}; give a picture of 8 bits")
        picture = Image.fromarray(opened[..., :3] if opened.shape[2] > 2 else opened[..., 0])
    return maps.as_pixels(picture.convert("L" if is_grey else "RGB"), "picture")
