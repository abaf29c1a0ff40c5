"""The map as a picture, in the colours of a colour map."""

from __future__ import annotations

from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from patchsim.errors import printable
from patchsim.output import palette
from patchsim.output.contract import Finished

SUFFIX = ".png"
IS_PER_KERNEL = True
NEEDS_MAP = True
NEEDS_IMAGE = False

COLOR_MAP = "inferno"
_ROWS = 256  # rows that are converted at a time, so that temporary arrays stay small


def working_bytes(cells: int, pixels: int) -> int:  # noqa: ARG001
    return cells  # one index into the palette each


def write(file: BinaryIO, search: Finished, kernel: int) -> str:
    low, high = draw(search.maps[kernel], file)
    of_kernel = f" of {printable(search.kernels[kernel].name)}" if len(search.kernels) > 1 else ""
    return f"{of_kernel}: scores {low:.6f} (dark) to {high:.6f} (bright)"


def draw(scores: NDArray[np.float32], file: BinaryIO) -> tuple[float, float]:
    """Draw a map as a PNG of its size, dark at the lowest and bright at the highest score.

    The range is written into the PNG's text as `score_min` and `score_max`. A map of one value
    is drawn bright.

    Parameters
    ----------
    scores : float32 array [rows, cols]
    file : binary file

    Returns
    -------
    (lowest, highest)
    """
    low, high = float(scores.min()), float(scores.max())
    scale = 255.0 / (high - low) if high > low else 0.0
    index = np.full(scores.shape, 255, dtype=np.uint8)
    if scale:
        for top in range(0, len(scores), _ROWS):
            rows = scores[top : top + _ROWS]
            index[top : top + _ROWS] = np.rint((rows - np.float32(low)) * np.float32(scale))
    picture = Image.fromarray(index)
    picture.putpalette(palette.colors(COLOR_MAP))
    text = PngInfo()
    text.add_text("Software", "patchsim")
    text.add_text("colormap", COLOR_MAP)
    text.add_text("score_min", repr(low))
    text.add_text("score_max", repr(high))
    # A higher level takes longer than most searches and saves a fifth of the file.
    picture.save(file, "PNG", pnginfo=text, compress_level=1)
    return low, high
