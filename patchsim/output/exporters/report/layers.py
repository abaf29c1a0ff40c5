"""The pictures of a page: the image, the maps over it, and how often each score occurs."""

from __future__ import annotations

import io
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from patchsim.errors import printable
from patchsim.output import html_page, palette
from patchsim.output.contract import Finished
from patchsim.output.stretch import Stretch

SIDE = 1600  # pixels of the longer side of the image, as much as a screen shows
_HEAT_SIDE = 600
_MOST_MAPS = 6
_BINS = 80


class Heat(NamedTuple):
    """A map as a layer over the image: its picture, and the part of the image that it covers."""

    kernel: str
    url: str
    x: float
    y: float
    width: float
    height: float


class Bar(NamedTuple):
    """How many windows have a score, 0 to 1 of the most on a logarithmic scale."""

    low: float
    high: float
    windows: int
    share: float


def background(picture: Image.Image) -> str:
    """Return the image as a data URL, reduced to what a screen shows."""
    small = picture.copy()
    small.thumbnail((SIDE, SIDE))
    return url(small)


def url(picture: Image.Image) -> str:
    """Return a picture as a data URL: PNG, or JPEG where that is less than half as large."""
    png, jpeg = io.BytesIO(), io.BytesIO()
    picture.save(png, "PNG", optimize=max(picture.size) <= 400)
    kind, data = "png", png.getvalue()
    if picture.mode == "RGB":
        picture.save(jpeg, "JPEG", quality=85)
        if 2 * len(jpeg.getvalue()) < len(data):
            kind, data = "jpeg", jpeg.getvalue()
    return html_page.data_url(kind, data)


def heat(search: Finished) -> list[Heat]:
    """Return the maps of the first kernels as layers, the highest score of each part kept."""
    layers = []
    factors = search.factors or [1] * len(search.maps)
    drawn = list(zip(search.maps, search.kernels, factors, strict=False))[:_MOST_MAPS]
    for scores, kernel, cells in drawn:
        step_y, step_x = (cells * step for step in search.report.stride)
        # The centre of the first window lies in the middle of the first window's part of a cell.
        first_y, first_x = search.report.stride
        top = kernel.origin[1] + (kernel.height - first_y) / 2
        left = kernel.origin[0] + (kernel.width - first_x) / 2
        small, factor = _reduced(scores)
        layers.append(
            Heat(
                printable(kernel.name),
                _colored(small, scores),
                left,
                top,
                small.shape[1] * factor * step_x,
                small.shape[0] * factor * step_y,
            )
        )
    return layers


def _reduced(scores: NDArray[np.float32]) -> tuple[NDArray[np.float32], int]:
    """Return the highest score of each square of cells, and the squares' side."""
    factor = max(1, -(-max(scores.shape) // _HEAT_SIDE))
    starts = [np.arange(0, side, factor) for side in scores.shape]
    rows = np.maximum.reduceat(scores, starts[0], axis=0)
    return np.maximum.reduceat(rows, starts[1], axis=1), factor


def _colored(small: NDArray[np.float32], scores: NDArray[np.float32]) -> str:
    """Color by rank among all windows; low ranks let the image through."""
    picture = Image.fromarray(Stretch.of(scores).indices(small, 255)).convert("P")
    picture.putpalette(palette.colors("inferno"))
    file = io.BytesIO()
    picture.save(file, "PNG", transparency=bytes(min(255, 40 + 2 * i) for i in range(256)))
    return html_page.data_url("png", file.getvalue())


def histogram(search: Finished) -> list[Bar]:
    """Return how often scores occur in all maps; empty without maps."""
    if not search.maps:
        return []
    low = min(float(scores.min()) for scores in search.maps)
    high = max(float(scores.max()) for scores in search.maps)
    edges = np.linspace(low, max(high, low + 1e-6), _BINS + 1)
    counts = np.zeros(_BINS, np.int64)
    for scores in search.maps:
        counts += np.histogram(scores, edges)[0]
    shares = np.log1p(counts) / np.log1p(counts.max())
    return [
        Bar(float(a), float(b), int(count), float(share))
        for a, b, count, share in zip(edges[:-1], edges[1:], counts, shares, strict=True)
    ]
