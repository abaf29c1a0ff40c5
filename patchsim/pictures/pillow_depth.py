"""How deep a picture's values are, where Pillow would open other values than the file has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFile, TiffImagePlugin

from patchsim.errors import InputError

_IMAGE_DEPTH = 32997
_UNSPECIFIED = 0
_GREY_OR_RGB = (0, 1, 2)
_KEPT_BITS = (1, 2, 4, 8, 16, 32)


def tiff_tag(image: Image.Image, tag: int, default: int) -> int:
    """The largest of a TIFF tag's values; the default for other pictures."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return default
    return int(np.max(image.tag_v2.get(tag, default)))


def reduced(image: Image.Image, file: Path | None) -> str | None:
    """What Pillow would open with other values than the file has, or None.

    It opens 16-bit colour as 8-bit colour without a word, and leaves channels out.

    Parameters
    ----------
    image : PIL image
        Not loaded, or with the `file` that it came from.
    file : Path, optional
    """
    bits = 8
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        bits = tiff_tag(image, TiffImagePlugin.BITSPERSAMPLE, 1)
        signed = tiff_tag(image, TiffImagePlugin.SAMPLEFORMAT, 1) == 2
        if bits not in _KEPT_BITS or (signed and bits <= 8):
            return f"a TIFF with {'signed ' * signed}values of {bits} bits"
        extra = image.tag_v2.get(TiffImagePlugin.EXTRASAMPLES, ())
        kind = tiff_tag(image, TiffImagePlugin.PHOTOMETRIC_INTERPRETATION, 0)
        if _UNSPECIFIED in extra and kind in _GREY_OR_RGB:
            return f"a TIFF of {tiff_tag(image, TiffImagePlugin.SAMPLESPERPIXEL, 1)} channels"
        if tiff_tag(image, _IMAGE_DEPTH, 1) > 1:
            return "a TIFF of a volume"
    elif image.mode.startswith(("I", "F")):
        return None
    elif isinstance(image, ImageFile.ImageFile) and image.format in ("PNG", "PPM"):
        if not image.tile and file is not None:  # loaded before it was given: look at the file
            with Image.open(file) as again:
                return reduced(again, None)
        if image.tile:
            arguments: Any = image.tile[0].args
            raw, *rest = (arguments,) if isinstance(arguments, str) else arguments
            deep = str(raw).endswith(";16B") or any(isinstance(n, int) and n > 255 for n in rest)
            bits = 16 if deep else 8
    if bits > 8 and not image.mode.startswith(("I", "F")):
        return f"colour (or grey with alpha) of {bits} bits a channel, of which Pillow keeps 8"
    return None


def inverted(image: Image.Image, label: str) -> bool:
    """True if grey is stored with white as zero and Pillow leaves it so.

    Raises
    ------
    InputError
        If it is, and nothing says what black is.
    """
    if tiff_tag(image, TiffImagePlugin.PHOTOMETRIC_INTERPRETATION, 1) != 0:
        return False
    if image.mode in ("I", "F"):
        bits = tiff_tag(image, TiffImagePlugin.BITSPERSAMPLE, 1)
        raise InputError(
            f"{label} is a TIFF of {bits} bits in which the least value is white, of which nothing"
            " says what black is;\nconvert it, or pass a NumPy array from Python"
        )
    return image.mode.startswith("I;16")
