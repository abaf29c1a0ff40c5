"""How deep a picture's values are, where Pillow would open other values than the file has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFile, TiffImagePlugin

from patchsim.errors import InputError


def tiff_tag(image: Image.Image, tag: int, default: int) -> int:
    """The largest of a TIFF tag's values; the default for other pictures."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return default
    return int(np.max(image.tag_v2.get(tag, default)))


def check(image: Image.Image, label: str, file: Path | None) -> bool:
    """Refuse what Pillow would open with other values; True if grey is stored inverted.

    Pillow opens 16-bit colour as 8-bit colour without a word.
    """
    bits = 8
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        bits = tiff_tag(image, TiffImagePlugin.BITSPERSAMPLE, 1)
        signed = tiff_tag(image, TiffImagePlugin.SAMPLEFORMAT, 1) == 2
        if bits not in (1, 2, 4, 8, 16, 32) or (signed and bits <= 8):
            kind = "signed values" if signed else "values"
            raise InputError(
                f"{label} has {kind} of {bits} bits, which cannot be read;"
                " pass a NumPy array from Python"
            )
    elif image.mode.startswith(("I", "F")):
        return False
    elif isinstance(image, ImageFile.ImageFile) and image.format in ("PNG", "PPM"):
        if not image.tile and file is not None:  # loaded before it was given: look at the file
            with Image.open(file) as again:
                return check(again, label, None)
        if image.tile:
            arguments: Any = image.tile[0].args
            raw, *rest = (arguments,) if isinstance(arguments, str) else arguments
            deep = str(raw).endswith(";16B") or any(isinstance(n, int) and n > 255 for n in rest)
            bits = 16 if deep else 8
    if bits > 8 and not image.mode.startswith(("I", "F")):
        raise InputError(
            f"{label} is colour (or grey with alpha) of {bits} bits a channel, of which only 8 can"
            " be read;\nconvert it to 8 bits, or pass a NumPy array from Python"
        )
    inverted = tiff_tag(image, TiffImagePlugin.PHOTOMETRIC_INTERPRETATION, 1) == 0
    if inverted and image.mode in ("I", "F"):
        raise InputError(
            f"{label} is a TIFF of {bits} bits in which the least value is white, of which nothing"
            " says what black is;\nconvert it, or pass a NumPy array from Python"
        )
    return inverted and image.mode.startswith("I;16")
