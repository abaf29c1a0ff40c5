"""Whether Pillow would change a picture's values, because it does not support their depth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFile, TiffImagePlugin

from patchsim.errors import InputError

_IMAGE_DEPTH = 32997
_UNSPECIFIED = 0
_GREY_OR_RGB = (0, 1, 2)
_SUPPORTED_BITS = (1, 2, 4, 8, 16, 32)


def tiff_tag(image: Image.Image, tag: int, default: int) -> int:
    """Return the largest of a TIFF tag's values, or the default if the picture is no TIFF."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return default
    return int(np.max(image.tag_v2.get(tag, default)))


def unsupported_depth(image: Image.Image, file: Path | None) -> str | None:
    """Return what kind of picture this is if Pillow would change its values, or else None.

    Pillow silently opens 16-bit colour as 8-bit colour, and leaves out some channels.

    Parameters
    ----------
    image : PIL image
        Not yet loaded, or given with its `file`.
    file : Path, optional
    """
    bits = 8
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        bits = tiff_tag(image, TiffImagePlugin.BITSPERSAMPLE, 1)
        signed = tiff_tag(image, TiffImagePlugin.SAMPLEFORMAT, 1) == 2
        if bits not in _SUPPORTED_BITS or (signed and bits <= 8):
            return f"a TIFF with {'signed ' * signed}values of {bits} bits"
        extra = image.tag_v2.get(TiffImagePlugin.EXTRASAMPLES, ())
        color = tiff_tag(image, TiffImagePlugin.PHOTOMETRIC_INTERPRETATION, 0)
        if _UNSPECIFIED in extra and color in _GREY_OR_RGB:
            return f"a TIFF of {tiff_tag(image, TiffImagePlugin.SAMPLESPERPIXEL, 1)} channels"
        if tiff_tag(image, _IMAGE_DEPTH, 1) > 1:
            return "a TIFF of a volume"
    elif image.mode.startswith(("I", "F")):
        return None
    elif isinstance(image, ImageFile.ImageFile) and image.format in ("PNG", "PPM"):
        # A loaded image no longer knows the file's depth, so the file is opened again.
        if not image.tile and file is not None:
            with Image.open(file) as unloaded:
                return unsupported_depth(unloaded, None)
        if image.tile and _has_16_bits(image):
            bits = 16
    if bits > 8 and not image.mode.startswith(("I", "F")):
        return f"colour (or grey with alpha) of {bits} bits a channel, of which Pillow keeps 8"
    return None


def _has_16_bits(image: ImageFile.ImageFile) -> bool:
    """Return whether a PNG or PPM has more than 8 bits a channel, by its decoder's arguments."""
    arguments: Any = image.tile[0].args
    raw_mode, *others = (arguments,) if isinstance(arguments, str) else arguments
    return str(raw_mode).endswith(";16B") or any(
        isinstance(value, int) and value > 255 for value in others
    )


def is_inverted(image: Image.Image, label: str) -> bool:
    """Return whether the file stores white as zero and Pillow leaves the values so.

    Raises
    ------
    InputError
        If white is zero and the file does not say which value is black.
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
