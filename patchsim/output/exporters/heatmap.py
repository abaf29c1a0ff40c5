"""The map as a picture, in the colours of a colour map."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from patchsim.errors import printable
from patchsim.metrics.written import rounded_down
from patchsim.output import color_bar, mark, palette, palette_png
from patchsim.output import rings as ring_pixels
from patchsim.output.contract import Finished
from patchsim.output.rings import Rings
from patchsim.output.stretch import Stretch
from patchsim.ranking.reduced_map import ReducedMap

SUFFIXES = (".png",)
IS_PER_KERNEL = True
NEEDS_MAP = True
NEEDS_IMAGE = False

COLOR_MAP = "inferno"
# Indices into the palette: scores up to the brightest, then the colours of everything else.
BRIGHTEST, PAPER, EDGE, LINE, INK = 251, 252, 253, 254, 255
_OTHERS = bytes((0x30, 0x30, 0x30, 0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF))
_BAND = 2**16  # cells that are drawn at a time, about, so that they stay in the processor's cache
_CELL_BYTES = 8  # a float, its step, its index in the palette, the difference from the one above


def working_bytes(cells: int, pixels: int) -> int:  # noqa: ARG001 - as `FileExporter` has it
    return _CELL_BYTES * min(cells, _BAND) + 4 * min(cells, 2**17)  # and a sample of the scores


def check_image(path: str, height: int, width: int) -> None:
    """Any size of an image will do."""


def write(file: BinaryIO, search: Finished, kernel: int, path: str) -> str:  # noqa: ARG001 - as `FileExporter` has it
    scores, factor = shown(search, kernel)
    stretch = draw(scores, file, factor, places(search, kernel, factor))
    name = search.kernels[kernel].name
    of_kernel = f" of {printable(name)}" if len(search.kernels) > 1 else ""
    squares = f", each pixel the best of {factor}x{factor} windows" if factor > 1 else ""
    best = ""
    if stretch.high > stretch.low:
        best = f", the best hundredth from {rounded_down(stretch.levels[3])}"
    return f"{of_kernel}: {stretch.described}{best}{squares}"


def shown(search: Finished, kernel: int) -> tuple[NDArray[np.float32], int]:
    """Return a kernel's map as it is drawn, and the side of a cell's square in windows."""
    factor = search.factors[kernel] if search.factors else 1
    scores = search.maps[kernel]
    if search.heatmap_size is not None and max(scores.shape) > search.heatmap_size:
        reduced = ReducedMap.of(scores, search.heatmap_size)
        return reduced.scores, factor * reduced.factor
    return scores, factor


def places(search: Finished, kernel: int, factor: int) -> list[tuple[float, float]]:
    """Return the rows and columns of a kernel's matches in its map, best first."""
    about = search.kernels[kernel]
    step_y, step_x = (step * factor for step in search.report.stride)
    return [
        ((match.y - about.origin[1]) // step_y, (match.x - about.origin[0]) // step_x)
        for match in sorted(search.report.matches, key=lambda match: -match.score)
        if match.kernel == about.name
    ]


def draw(
    scores: NDArray[np.float32],
    file: BinaryIO,
    factor: int = 1,
    matches: Sequence[tuple[float, float]] = (),
) -> Stretch:
    """Draw a map as a PNG: a cell a pixel, rings around matches, and below it a colour bar.

    Scores are bright by their rank, see `patchsim.output.stretch`. The range is written into the
    PNG's text as `score_min` and `score_max`, the ends of the colours as `score_levels`, the size
    of the map as `map_size`. A map that is narrower than the bar stands at the left.

    Parameters
    ----------
    scores : float32 array [rows, cols]
    file : binary file
    factor : int
        The scores are the best of so many rows and columns each, which the PNG's text says as
        `score_reduced`.
    matches : sequence of (row, col)
        The cells of matches, the best first.
    """
    stretch = Stretch.of(scores)
    rows, cols = scores.shape
    text = {
        "Software": mark.SOFTWARE,
        "colormap": COLOR_MAP,
        "score_min": repr(stretch.low),
        "score_max": repr(stretch.high),
        "score_levels": " ".join(map(repr, stretch.levels)),
        "map_size": f"{cols}x{rows}",
    }
    if factor > 1:
        text["score_reduced"] = str(factor)
    width = max(cols, color_bar.LEAST_WIDTH)
    size = width, rows + color_bar.height(width)
    rings = ring_pixels.around(matches, scores.shape, radius(scores.shape))
    palette_png.write(file, size, colors(), text, _bands(scores, stretch, width, rings))
    return stretch


def radius(shape: tuple[int, ...]) -> int:
    """Return the radius of rings in a picture of this height and width."""
    return max(6, min(shape[:2]) // 40)


def colors() -> bytes:
    """Return the palette: the colour map in fewer steps, and four other colours."""
    table = np.frombuffer(palette.colors(COLOR_MAP), np.uint8).reshape(256, 3)
    chosen = np.rint(np.linspace(0, 255, BRIGHTEST + 1)).astype(np.intp)
    return table[chosen].tobytes() + _OTHERS


def _bands(
    scores: NDArray[np.float32], stretch: Stretch, width: int, rings: Rings
) -> Iterator[NDArray[np.uint8]]:
    """Yield indices into the palette for bands of rows, and then the colour bar."""
    rows, cols = scores.shape
    step = max(1, _BAND // cols)
    for top in range(0, rows, step):
        band = stretch.indices(scores[top : top + step], BRIGHTEST)
        ring = rings.within(top, top + step)
        band[ring.rows, ring.cols] = LINE - ring.is_edge
        if cols < width:
            padded = np.full((len(band), width), PAPER, np.uint8)
            padded[:, :cols] = band
            band = padded
        yield band
    yield color_bar.draw(stretch, width, BRIGHTEST, INK, PAPER)
