"""Pixels of any type as a picture of 8 bits."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from patchsim.types import Pixels

_ROWS = 256  # rows that are converted at a time, so that temporary arrays stay small


def picture(pixels: Pixels, span: float, low: float) -> Image.Image:
    """Convert pixels to an RGB picture whose values 0 to 255 are the data range.

    Values beyond the range are drawn as its ends, and NaN as black.
    """
    channels = pixels[..., :3] if pixels.shape[2] >= 3 else pixels[..., 0]
    display = np.empty(channels.shape, dtype=np.uint8)
    low = float(low)  # the type of the pixels may be too narrow for it
    for top in range(0, len(channels), _ROWS):
        rows: NDArray[Any] = channels[top : top + _ROWS]
        if rows.dtype != np.uint8 or (span, low) != (255, 0):
            rows = np.rint((rows - low) * (255.0 / span))
            rows = np.clip(np.nan_to_num(rows, copy=False, posinf=255.0, neginf=0.0), 0, 255)
        display[top : top + _ROWS] = rows
    made = Image.fromarray(display)
    return made if made.mode == "RGB" else made.convert("RGB")
