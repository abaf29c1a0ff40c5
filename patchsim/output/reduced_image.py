"""An image that is read by windows, reduced to a picture that can be drawn on."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from PIL import Image

from patchsim.output import rgb
from patchsim.output.report_parts import Match
from patchsim.pictures import windowed
from patchsim.types import Pixels

_MOST_SIDE = 4096  # pixels
_BAND_BYTES = 1 << 22  # of rows that are read together


class View(NamedTuple):
    """The image as pictures show it.

    Attributes
    ----------
    pixels : array [H, W, C]
    span, low : float
        Their data range R and its lower end.
    factor : int
        The mean of so many rows and columns of the image is a pixel; 1 for the image itself.
    """

    pixels: Pixels
    span: float
    low: float
    factor: int = 1

    def placed(self, matches: Sequence[Match]) -> Sequence[Match]:
        """Return matches with their places in the pixels of the view."""
        return placed(matches, self.factor)


def placed(matches: Sequence[Match], factor: float) -> Sequence[Match]:
    """Return matches with their places in an image whose sides are divided by a factor."""
    return matches if factor == 1 else [_placed(match, factor) for match in matches]


def _placed(match: Match, factor: float) -> Match:
    left, top = math.floor(match.x / factor), math.floor(match.y / factor)
    right = math.ceil((match.x + match.width) / factor)
    bottom = math.ceil((match.y + match.height) / factor)
    corners = match.corners and tuple((x / factor, y / factor) for x, y in match.corners)
    width, height = max(1, right - left), max(1, bottom - top)
    return replace(match, x=left, y=top, width=width, height=height, corners=corners)


def view_of(
    pixels: Pixels, span: float, low: float, memory: int, cost: Callable[[int], int]
) -> View:
    """Return an image as pictures show it; one that is read by windows is reduced.

    Parameters
    ----------
    pixels : array [H, W, C], or one that is read by windows
    span, low : float
    memory : int
        Bytes that drawing may take.
    cost : pixels -> bytes
        What drawing takes for a picture of so many pixels.
    """
    large = windowed.of(pixels)
    if large is None:
        return View(pixels, span, low)
    height, width, channels = large.shape
    factor = -(-max(height, width) // _MOST_SIDE)
    while cost(-(-height // factor) * -(-width // factor)) > memory and factor < max(large.shape):
        factor += 1
    row = width * (large.pixel_bytes + channels * large.itemsize)
    rows = max(1, _BAND_BYTES // (row * factor)) * factor
    bands = []
    for top in range(0, height, rows):
        band = large[top : min(height, top + rows), :]
        bands.append(np.asarray(rgb.picture(band, span, low).reduce(factor)))
    if large.cache is not None:
        large.cache.clear()  # drawing takes memory, too
    return View(np.concatenate(bands), 255.0, 0.0, factor)


def excerpt(pixels: Pixels, span: float, low: float, match: Match) -> tuple[Image.Image, Match]:
    """Return the part of an image that a match covers, and the match with its place there."""
    height, width = pixels.shape[:2]
    xs, ys = [match.x, match.x + match.width], [match.y, match.y + match.height]
    for x, y in match.corners or ():
        xs, ys = [*xs, int(x), int(x) + 1], [*ys, int(y), int(y) + 1]
    left, right = (min(max(edge, 0), width) for edge in (min(xs), max(xs)))
    top, bottom = (min(max(edge, 0), height) for edge in (min(ys), max(ys)))
    picture = rgb.picture(pixels[top:bottom, left:right], span, low)
    corners = match.corners and tuple((x - left, y - top) for x, y in match.corners)
    return picture, replace(match, x=match.x - left, y=match.y - top, corners=corners)
