"""The map over the image: each window's colour at the window's center."""

from __future__ import annotations

from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from patchsim.errors import printable
from patchsim.output import color_bar, picture_file, rgb
from patchsim.output import rings as ring_pixels
from patchsim.output.contract import Finished
from patchsim.output.exporters import heatmap
from patchsim.output.stretch import Stretch
from patchsim.types import Pixels

SUFFIXES = picture_file.SUFFIXES
IS_PER_KERNEL = True
NEEDS_MAP = True
NEEDS_IMAGE = True

# How much a colour hides of the image below it, of 255: the darkest little, the brightest most.
_OPACITY = 60, 200
_ROWS = 128  # rows that are mixed at a time, so that temporary arrays stay small


def working_bytes(cells: int, pixels: int) -> int:
    return cells + 14 * pixels  # indices; the image in RGB, in grey and mixed, and Pillow's copies


def check_image(path: str, height: int, width: int) -> None:
    wide = max(width, color_bar.LEAST_WIDTH)
    picture_file.check_side(path, wide, height + color_bar.height(wide))


def write(file: BinaryIO, search: Finished, kernel: int, path: str) -> str:
    scores, factor = heatmap.shown(search, kernel)
    stretch = Stretch.of(scores)
    picture_file.save(Image.fromarray(draw(search, kernel, scores, factor, stretch)), file, path)
    name = search.kernels[kernel].name
    of_kernel = f" of {printable(name)}" if len(search.kernels) > 1 else ""
    return f"{of_kernel}: {stretch.described}"


def draw(
    search: Finished, kernel: int, scores: NDArray[np.float32], factor: int, stretch: Stretch
) -> Pixels:
    """Mix the grey image with the colours of a kernel's map, rings around its matches.

    Parameters
    ----------
    search : Finished
    kernel : int
    scores : float32 array [rows, cols]
        The map, each cell the best of `factor` x `factor` windows.
    factor : int
    stretch : Stretch
        That of the scores.

    Returns
    -------
    uint8 array [H + bar, max(W, bar), 3]
        The image, and below it the colour bar.
    """
    view = search.view
    grey = np.asarray(rgb.picture(view.pixels, view.span, view.low).convert("L"))
    high, wide = grey.shape
    palette = np.frombuffer(heatmap.colors(), np.uint8).reshape(256, 3)
    about = search.kernels[kernel]
    sizes = (about.height, high, scores.shape[0]), (about.width, wide, scores.shape[1])
    rows, cols = (
        cells(size, origin, step, factor, (length, count), view.factor)
        for (size, length, count), origin, step in zip(
            sizes, about.origin[::-1], search.report.stride, strict=True
        )
    )
    shades = np.empty(scores.shape, np.uint8)
    for top in range(0, len(scores), _ROWS):
        shades[top : top + _ROWS] = stretch.indices(scores[top : top + _ROWS], heatmap.BRIGHTEST)
    width = max(wide, color_bar.LEAST_WIDTH)
    canvas = np.full((high + color_bar.height(width), width, 3), palette[heatmap.PAPER], np.uint8)
    for top in range(0, high, _ROWS):
        band = slice(top, min(top + _ROWS, high))
        canvas[band, :wide] = _mixed(grey[band], shades, rows[band], cols, palette)
    centers = [
        (match.center[1] / view.factor - 0.5, match.center[0] / view.factor - 0.5)
        for match in sorted(search.report.matches, key=lambda match: -match.score)
        if match.kernel == about.name
    ]
    ring = ring_pixels.around(centers, grey.shape, heatmap.radius(grey.shape))
    canvas[ring.rows, ring.cols] = palette[heatmap.LINE - ring.is_edge]
    bar = color_bar.draw(stretch, width, heatmap.BRIGHTEST, heatmap.INK, heatmap.PAPER)
    canvas[high:] = palette[bar]
    return canvas


def cells(
    size: int,
    origin: int,
    step: int,
    factor: int,
    shape: tuple[int, int],
    reduced: int = 1,
) -> NDArray[np.intp]:
    """Return for each pixel along an axis the cell whose windows' centers are nearest, or -1.

    Parameters
    ----------
    size, origin, step : int
        Of the kernel, of the first window, and between windows, in pixels.
    factor : int
        Windows in a cell.
    shape : (pixels, cells)
    reduced : int
        So many pixels of the image are one.
    """
    first = origin + size / 2 - step / 2  # the center lies in the middle of a window's part
    centers = (np.arange(shape[0]) + 0.5) * reduced
    index = np.floor((centers - first) / (step * factor)).astype(np.intp)
    index[(index < 0) | (index >= shape[1])] = -1
    return index


def _mixed(
    grey: NDArray[np.uint8],
    shades: NDArray[np.uint8],
    rows: NDArray[np.intp],
    cols: NDArray[np.intp],
    palette: NDArray[np.uint8],
) -> NDArray[np.uint16]:
    """Mix rows of the image with their cells; pixels without a cell stay grey."""
    index = shades[np.ix_(rows, cols)]
    opacity = np.linspace(*_OPACITY, heatmap.BRIGHTEST + 1).astype(np.uint16)[index]
    opacity[rows < 0] = 0
    opacity[:, cols < 0] = 0
    colors = palette[index].astype(np.uint16)
    mixed: NDArray[np.uint16] = (
        grey[..., None].astype(np.uint16) * (255 - opacity[..., None]) + colors * opacity[..., None]
    ) // 255
    return mixed
