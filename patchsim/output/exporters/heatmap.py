"""The map as a picture, in the colours of a colour map."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from patchsim.errors import printable
from patchsim.output import palette, palette_png
from patchsim.output.contract import Finished
from patchsim.ranking.reduced_map import ReducedMap

SUFFIXES = (".png",)
IS_PER_KERNEL = True
NEEDS_MAP = True
NEEDS_IMAGE = False

COLOR_MAP = "inferno"
_BAND = 2**16  # cells that are drawn at a time, about, so that they stay in the processor's cache
_CELL_BYTES = 6  # a float, an index into the palette and its difference from the one above


def working_bytes(cells: int, pixels: int) -> int:  # noqa: ARG001
    return _CELL_BYTES * min(cells, _BAND)


def write(file: BinaryIO, search: Finished, kernel: int) -> str:
    factor = search.factors[kernel] if search.factors else 1
    scores = search.maps[kernel]
    if search.heatmap_size is not None and max(scores.shape) > search.heatmap_size:
        reduced = ReducedMap.of(scores, search.heatmap_size)
        scores, factor = reduced.scores, factor * reduced.factor
    low, high = draw(scores, file, factor)
    of_kernel = f" of {printable(search.kernels[kernel].name)}" if len(search.kernels) > 1 else ""
    shades = f"scores {low:.6f} (dark) to {high:.6f} (bright)"
    squares = f", each pixel the best of {factor}x{factor} windows" if factor > 1 else ""
    return f"{of_kernel}: {shades}{squares}"


def draw(scores: NDArray[np.float32], file: BinaryIO, factor: int = 1) -> tuple[float, float]:
    """Draw a map as a PNG of its size, dark at the lowest and bright at the highest score.

    The range is written into the PNG's text as `score_min` and `score_max`. A map of one value
    is drawn bright.

    Parameters
    ----------
    scores : float32 array [rows, cols]
    file : binary file
    factor : int
        The scores are the best of so many rows and columns each, which the PNG's text says as
        `score_reduced`.

    Returns
    -------
    (lowest, highest)
    """
    low, high = float(scores.min()), float(scores.max())
    text = {
        "Software": "patchsim",
        "colormap": COLOR_MAP,
        "score_min": repr(low),
        "score_max": repr(high),
    }
    if factor > 1:
        text["score_reduced"] = str(factor)
    rows, cols = scores.shape
    bands = _indices(scores, low, high)
    palette_png.write(file, (cols, rows), palette.colors(COLOR_MAP), text, bands)
    return low, high


def _indices(scores: NDArray[np.float32], low: float, high: float) -> Iterator[NDArray[np.uint8]]:
    """Yield indices into the palette for bands of rows, 255 for the highest score."""
    step = max(1, _BAND // scores.shape[1])
    scale = np.float32(255.0 / (high - low) if high > low else 0.0)
    for top in range(0, len(scores), step):
        values = scores[top : top + step] - np.float32(low)
        values *= scale
        if not scale:
            values.fill(255)
        yield np.rint(values, out=values).astype(np.uint8)
