"""Whether Pillow would change a picture's values, because it does not support their depth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFile

from patchsim.errors import InputError

# Numbers of TIFF's tags. Pillow has names for them in its reader, whose import takes a while.
_BITS_PER_SAMPLE = 258
_PHOTOMETRIC_INTERPRETATION = 262
_SAMPLES_PER_PIXEL = 277
_EXTRA_SAMPLES = 338
SAMPLE_FORMAT = 339
_IMAGE_DEPTH = 32997

_UNSPECIFIED = 0
_GREY_OR_RGB = (0, 1, 2)
_SUPPORTED_BITS = (1, 2, 4, 8, 16, 32)


def is_tiff(image: Image.Image) -> bool:
    """Return whether a PIL image was opened by Pillow's reader of TIFF."""
    return isinstance(image, ImageFile.ImageFile) and hasattr(image, "tag_v2")


def tiff_tag(image: Any, tag: int, default: int) -> int:
    """Return the largest of a TIFF tag's values, or the default if the picture is no TIFF."""
    if not is_tiff(image):
        return default
    return int(np.max(image.tag_v2.get(tag, default)))


def unsupported_depth(image: Any, file: Path | None) -> str | None:
    """Return what kind of picture this is if Pillow would change its values, or else None.

    Pillow silently opens 16-bit colour as 8-bit colour, and leaves out some channels.

    Parameters
    ----------
    image : PIL image
        Not yet loaded, or given with its `file`.
    file : Path, optional
    """
    bits = 8
    if is_tiff(image):
        bits = tiff_tag(image, _BITS_PER_SAMPLE, 1)
        signed = tiff_tag(image, SAMPLE_FORMAT, 1) == 2
        if bits not in _SUPPORTED_BITS or (signed and bits <= 8):
            return f"a TIFF with {'signed ' * signed}values of {bits} bits"
        extra = image.tag_v2.get(_EXTRA_SAMPLES, ())
        color = tiff_tag(image, _PHOTOMETRIC_INTERPRETATION, 0)
        if _UNSPECIFIED in extra and color in _GREY_OR_RGB:
            return f"a TIFF of {tiff_tag(image, _SAMPLES_PER_PIXEL, 1)} channels"
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
    if tiff_tag(image, _PHOTOMETRIC_INTERPRETATION, 1) != 0:
        return False
    if image.mode in ("I", "F"):
        bits = tiff_tag(image, _BITS_PER_SAMPLE, 1)
        raise InputError(
            f"{label} is a TIFF of {bits} bits in which the least value is white, of which nothing"
            " says what black is;\nconvert it, or pass a NumPy array from Python"
        )
    return image.mode.startswith("I;16")
