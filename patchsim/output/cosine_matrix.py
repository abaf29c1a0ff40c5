"""A matrix of cosines as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from PIL.PngImagePlugin import PngInfo

from patchsim.output import palette

COLOR_MAP = "colorbrewer:RdBu_r"
_LONGER_SIDE = 1200  # pixels of the picture, about, if the matrix has fewer entries
_LARGEST_CELL = 40  # pixels of an entry's side
_SMALLEST_CELL_WITH_LINES = 3


def draw(
    cosines: NDArray[np.floating[Any]],
    matched: NDArray[np.bool_],
    groups: Sequence[int],
    file: BinaryIO,
) -> None:
    """Draw a matrix of cosines as a PNG, with a frame around each matched pair.

    Colours run from -1 (blue) over 0 (white) to 1 (red).

    Parameters
    ----------
    cosines : array [n, m]
    matched : bool array [n, m]
    groups : sequence of one or two int
        Sizes of groups in rows and columns: the slots of an image, the slots of a view. Thin lines
        separate groups of the first size, thick lines those of the second.
    file : binary file
    """
    rows, cols = cosines.shape
    cell = min(_LARGEST_CELL, max(1, _LONGER_SIDE // max(rows, cols)))
    colors = np.frombuffer(palette.colors(COLOR_MAP), np.uint8).reshape(256, 3)
    index = np.rint((np.clip(cosines, -1, 1) + 1) * 127.5).astype(np.uint8)
    picture = Image.fromarray(colors[index].repeat(cell, axis=0).repeat(cell, axis=1))
    canvas = ImageDraw.Draw(picture)
    if cell >= _SMALLEST_CELL_WITH_LINES:
        for width, group in zip((1, 4), groups, strict=False):
            for line in range(group * cell, max(rows, cols) * cell, group * cell):
                canvas.line((0, line, cols * cell, line), fill="gray", width=width)
                canvas.line((line, 0, line, rows * cell), fill="gray", width=width)
    for row, col in np.argwhere(matched).tolist():
        corner = (col * cell, row * cell, (col + 1) * cell - 1, (row + 1) * cell - 1)
        canvas.rectangle(corner, outline="black", width=max(1, cell // 8))
    text = PngInfo()
    text.add_text("Software", "patchsim")
    text.add_text("colormap", f"{COLOR_MAP}, cosines -1 to 1")
    picture.save(file, "PNG", pnginfo=text)
