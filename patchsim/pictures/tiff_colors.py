"""How the samples of a TIFF become grey or RGB: inverted grey, palettes, CMYK, YCbCr, alpha."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from patchsim.errors import DamageError
from patchsim.pictures import tiff_directory
from patchsim.types import Pixels

STRIP = 64  # rows that are converted at a time
STRIP_BYTES = 8 * 6  # bytes of the copies of a sample, in floats of 64 bits


def from_palette(samples: NDArray[Any], colormap: NDArray[Any]) -> Pixels:
    """Look up indices [H, W, 1] in a colour map [3, N] of 16 bits; return uint8 [H, W, 3]."""
    table = (
        (np.asarray(colormap) >> 8).astype(np.uint8).T
    )  # as Pillow: 8 bits are in the upper byte
    if samples.max() >= len(table):
        raise DamageError(
            f"it has the index {samples.max()}, but a palette of {len(table)} colours"
        )
    looked_up: Pixels = table[samples[..., 0]]
    return looked_up


def from_cmyk(samples: NDArray[Any]) -> Pixels:
    """Convert CMYK, uint8 [H, W, 4], to RGB as Pillow does."""
    rgb = np.empty((*samples.shape[:2], 3), np.uint8)
    for top in range(0, len(samples), STRIP):
        strip = np.ascontiguousarray(samples[top : top + STRIP])
        rgb[top : top + STRIP] = Image.fromarray(strip, "CMYK").convert("RGB")
    return rgb


def from_ycbcr(
    samples: NDArray[Any], coefficients: tuple[float, ...], black_white: tuple[float, ...]
) -> Pixels:
    """Convert YCbCr, uint8 [H, W, 3], to RGB.

    The formulas are those of TIFF 6.0, sections 20 (ReferenceBlackWhite) and 21.

    Parameters
    ----------
    samples : uint8 array [H, W, 3]
    coefficients : (red, green, blue)
        The shares of the colours in luma.
    black_white : six numbers
        The codes of black and white in Y; of no and full colour in Cb and Cr.
    """
    red, green, blue = coefficients
    low, high = np.array(black_white[::2]), np.array(black_white[1::2])
    if len(black_white) != 6 or (low == high).any() or green == 0:
        raise DamageError("its YCbCr coefficients or its ReferenceBlackWhite are impossible")
    scale = np.array([255.0, 127.0, 127.0]) / (high - low)
    rgb = np.empty(samples.shape, np.uint8)
    for top in range(0, len(samples), STRIP):
        y, cb, cr = np.moveaxis((samples[top : top + STRIP] - low) * scale, -1, 0)
        r = y + cr * (2 - 2 * red)
        b = y + cb * (2 - 2 * blue)
        g = (y - blue * b - red * r) / green
        rgb[top : top + STRIP] = np.rint(np.clip(np.stack([r, g, b], -1), 0, 255))
    return rgb


def unassociated(samples: NDArray[Any], alpha: NDArray[Any], largest: float) -> NDArray[Any]:
    """Divide colours [H, W, C] by the alpha [H, W] that they were multiplied by.

    Integers are rounded down and bounded, as by Pillow. Invisible colours become 0.
    """
    colors = np.empty_like(samples)
    for top in range(0, len(samples), STRIP):
        opacity = alpha[top : top + STRIP, :, None].astype(np.float64)
        strip = samples[top : top + STRIP].astype(np.float64) * largest
        divided = np.divide(strip, opacity, out=np.zeros_like(strip), where=opacity > 0)
        if samples.dtype.kind != "f":
            divided = np.clip(np.floor(divided), np.iinfo(samples.dtype).min, largest)
        colors[top : top + STRIP] = divided
    return colors


def segment_size(page: Any) -> tuple[int, int]:
    """Return the rows and columns of a page's tiles or strips."""
    if page.is_tiled:
        return page.tilelength, page.tilewidth
    return min(page.rowsperstrip, page.imagelength), page.imagewidth


def ycbcr_samples(page: Any) -> NDArray[np.uint8]:
    """Decode the samples of YCbCr, uint8 [H, W, 3], where tifffile would convert or refuse them.

    It converts those of JPEG to RGB by JPEG's own formula, and refuses those without JPEG in which
    several pixels share their colour.
    """
    import imagecodecs
    from tifffile import TIFF

    height, width = page.imagelength, page.imagewidth
    rows, columns = segment_size(page)
    pixels = np.zeros((height, width, 3), np.uint8)
    stream = page.parent.filehandle
    many = math.ceil(width / columns)
    segments = zip(page.dataoffsets, page.databytecounts, strict=False)
    for number, (place, size) in enumerate(segments):
        top, left = number // many * rows, number % many * columns
        if top >= height or size == 0:
            continue
        stream.seek(place)
        data = stream.read(size)
        into = pixels[top : top + rows, left : left + columns]
        if page.compression == tiff_directory.JPEG:
            decoded = imagecodecs.jpeg_decode(
                data, tables=page.jpegtables, colorspace="YCBCR", outcolorspace="YCBCR"
            )
        else:
            if page.compression != tiff_directory.UNCOMPRESSED:
                data = TIFF.DECOMPRESSORS[page.compression](data)
            tall = rows if page.is_tiled else len(into)
            across, down = page.tags.valueof(tiff_directory.YCBCR_SUBSAMPLING, (2, 2))
            decoded = _unsubsampled(data, (tall, columns), across, down)
        into[...] = decoded[: into.shape[0], : into.shape[1]]
    return pixels


def _unsubsampled(data: bytes, size: tuple[int, int], across: int, down: int) -> NDArray[np.uint8]:
    """Return the samples [rows, columns, 3] of a strip or tile in data units.

    A data unit has the lumas of `across` x `down` pixels, then one Cb and one Cr (TIFF 6.0,
    section 21).
    """
    if across not in (1, 2, 4) or down not in (1, 2, 4):
        raise DamageError(f"{across}x{down} pixels share a colour, which TIFF does not know")
    units = (math.ceil(size[0] / down), math.ceil(size[1] / across), across * down + 2)
    values = np.frombuffer(data, np.uint8)
    if values.size < math.prod(units):
        raise DamageError(f"a strip or tile has {values.size:,} of {math.prod(units):,} bytes")
    values = values[: math.prod(units)].reshape(units)
    blocks = values[..., :-2].reshape(*units[:2], down, across)
    lumas = blocks.swapaxes(1, 2).reshape(units[0] * down, units[1] * across)
    return np.dstack([lumas, values[..., -2:].repeat(down, 0).repeat(across, 1)])
