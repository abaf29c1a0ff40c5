"""Small pictures of kernels and matches, as pages and notebooks show them."""

from __future__ import annotations

import numpy as np
from PIL import Image

from patchsim.output import rgb
from patchsim.types import Pixels

_SIDE = 96  # pixels of the longer side


def stretched(pixels: Pixels) -> Image.Image:
    """Return pixels in RGB: bytes as they are, others from their lowest to their highest value."""
    if pixels.dtype == np.uint8:
        return rgb.picture(pixels, 255, 0)
    values = pixels[np.isfinite(pixels)]
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    return rgb.picture(pixels, (high - low) or 1.0, low)


def small(picture: Image.Image) -> Image.Image:
    """Return a picture whose longer side is 96 pixels: enlarged without smoothing, or reduced."""
    longest = max(picture.size)
    if longest * 2 <= _SIDE:
        factor = _SIDE // longest
        return picture.resize(
            (picture.width * factor, picture.height * factor), Image.Resampling.NEAREST
        )
    reduced = picture.copy()
    reduced.thumbnail((_SIDE, _SIDE))
    return reduced


def of_kernel(picture: Image.Image, alpha: Pixels | None) -> Image.Image:
    """Return a kernel in small, in which what does not count is transparent."""
    if alpha is None:
        return small(picture)
    masked = picture.copy()
    masked.putalpha(Image.fromarray(alpha))
    return small(masked)
