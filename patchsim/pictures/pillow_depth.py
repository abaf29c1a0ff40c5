"""Whether Pillow would change a picture's values, because it does not support their depth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image, ImageFile

from patchsim.errors import InputError
from patchsim.pictures import tiff_directory


def is_tiff(image: Image.Image) -> bool:
    """Return whether a PIL image was opened by Pillow's reader of TIFF."""
    return isinstance(image, ImageFile.ImageFile) and hasattr(image, "tag_v2")


def tiff_tag(image: Any, tag: int, default: int) -> int:
    """Return the largest of a TIFF tag's values, or the default if the picture is no TIFF."""
    return tiff_directory.whole_number(image.tag_v2, tag, default) if is_tiff(image) else default


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
        reason = tiff_directory.unsupported(image.tag_v2)
        if reason is not None:
            return reason
        bits = tiff_tag(image, tiff_directory.BITS_PER_SAMPLE, 1)
    elif image.mode.startswith(("I", "F")):
        return None
    elif isinstance(image, ImageFile.ImageFile) and image.format in ("PNG", "PPM", "SGI"):
        # A loaded image no longer knows the file's depth, so the file is opened again.
        if not image.tile and file is not None:
            with Image.open(file) as unloaded:
                return unsupported_depth(unloaded, None)
        if image.tile and _has_16_bits(image):
            bits = 16
        if image.tile and image.tile[0].args in ("L;2", "L;4") and "transparency" in image.info:
            return "a grey PNG of 2 or 4 bits with a transparent value, which Pillow does not scale"
    if bits > 8 and not image.mode.startswith(("I", "F")):
        return f"colour (or grey with alpha) of {bits} bits a channel, of which Pillow keeps 8"
    return None


def _has_16_bits(image: ImageFile.ImageFile) -> bool:
    """Return whether a PNG, PPM or SGI has more than 8 bits a channel, by its decoder."""
    if image.tile[0].codec_name == "SGI16":
        return True
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
    if tiff_tag(image, tiff_directory.PHOTOMETRIC, 1) != 0:
        return False
    if image.mode in ("I", "F"):
        bits = tiff_tag(image, tiff_directory.BITS_PER_SAMPLE, 1)
        raise InputError(
            f"{label} is a TIFF of {bits} bits in which the least value is white, of which nothing"
            " says what black is;\nconvert it, or pass a NumPy array from Python"
        )
    return image.mode.startswith("I;16")
