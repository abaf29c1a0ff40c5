"""How PNG files with 16 bits a channel are read; Pillow would keep only 8."""

from __future__ import annotations

import os
from typing import BinaryIO

import numpy as np

from patchsim.errors import DamageError, InputError
from patchsim.pictures import tiff
from patchsim.pictures.limits import Decoded, Limits, silence_logger, to_8_bit_alpha

# Peak bytes a pixel: RGBA as decoded, RGB without alpha, and alpha during conversion to 8 bits.
_PNG_BYTES = 8 + 6 + 17


def png(stream: BinaryIO, width: int, height: int, limits: Limits) -> Decoded:
    """Decode a PNG of grey with alpha, RGB or RGBA with 16 bits a channel, by libpng.

    Parameters
    ----------
    stream : binary file
        A PNG without chunks on colour (gAMA, iCCP, ...). These change no value, but the codec
        writes warnings about some of them to stderr.
    width, height : int
        The size that the header states.
    limits : Limits

    Raises
    ------
    InputError
        If the picture is too large, or the packages that decode it are not installed.
    Exception
        If the file is damaged; the type depends on the codec.
    """
    try:
        import imagecodecs
    except ModuleNotFoundError:
        raise InputError(
            f"{limits.name} is colour (or grey with alpha) of 16 bits a channel, of which Pillow"
            f" keeps 8; a package that reads it is not installed:\npip install {tiff.PACKAGES}"
        ) from None
    silence_logger("imagecodecs")
    size = stream.seek(0, os.SEEK_END)
    limits.check_memory(width * height * _PNG_BYTES + 2 * size)
    stream.seek(0)
    pixels = imagecodecs.png_decode(stream.read())  # [H, W, C]
    if pixels.shape[:2] != (height, width) or pixels.dtype != np.uint16:
        raise DamageError(f"it decodes to {list(pixels.shape)} of {pixels.dtype}")
    if pixels.shape[2] == 3:
        return Decoded(pixels)
    alpha = to_8_bit_alpha(pixels[..., -1], np.iinfo(np.uint16).max)
    return Decoded(np.ascontiguousarray(pixels[..., :-1]), alpha)
