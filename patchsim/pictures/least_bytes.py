"""How many bytes a file must have to hold the pixels that its header states.

A damaged header may state any size. Without this, a file of some bytes would be refused for its
many pixels, with the advice to allow them. A format whose coding has no greatest ratio, as JPEG XL,
AVIF, HEIC and lossless WebP, is not listed; `Limits` doubts a size that is unlikely. Each number is
a lower bound; the ratios follow from the shortest code of each format.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from patchsim.pictures import tiff_directory
from patchsim.pictures.limits import DEFLATE

LZW = 2560  # bytes for one: a code of 12 bits stands for fewer than 4096 - 256
PACKBITS = 64  # bytes for one: a run of 128 takes 2
_QOI_RUN, _TGA_RUN, _PCX_RUN = 62, 128, 63
_JPEG_BLOCK, _WEBP_BLOCK = 8, 16  # pixels of the side of a block, which takes a bit or more
_LISTED = 4  # bytes of the place and length of a strip in the lists of a TIFF, at least
_TILE_PART = 14  # bytes of the markers of a tile of JPEG 2000 (SOT, SOD)


def rows(width: int, height: int, bits: int) -> int:
    """Return the bytes of rows of whole bytes, of so many bits a pixel."""
    return (width * bits + 7) // 8 * height


def blocks(width: int, height: int, side: int) -> int:
    """Return the bytes of square blocks that take a bit each."""
    return math.ceil(width / side) * math.ceil(height / side) // 8


def of_jpeg(width: int, height: int) -> int:
    """Return the least size of a JPEG whose blocks have a code of Huffman each."""
    return blocks(width, height, _JPEG_BLOCK)


def of_gif(width: int, height: int) -> int:
    """Return the least size of a GIF with a frame of this size."""
    return width * height // LZW


def of_lossy_webp(width: int, height: int) -> int:
    """Return the least size of a WebP of VP8, whose macroblocks take a bit at least."""
    return blocks(width, height, _WEBP_BLOCK)


def of_pillow(image: Any, start: bytes) -> int:
    """Return the least size of a file that Pillow opened; 0 where nothing bounds it.

    Parameters
    ----------
    image : PIL.ImageFile.ImageFile
        Not yet loaded.
    start : bytes
        The first bytes of the file.
    """
    known = _BY_FORMAT.get(image.format or "")
    if known is None:
        return 0
    tile = image.tile[0] if image.tile else None
    left, top, right, bottom = (tile and tile.extents) or (0, 0, *image.size)
    return int(known(_Opened(image, tile, right - left, bottom - top, start)))


class _Opened(NamedTuple):
    """A picture that Pillow opened, its first tile with width and height, and its first bytes."""

    image: Any
    tile: Any
    width: int
    height: int
    start: bytes

    @property
    def area(self) -> int:
        return self.width * self.height


def _pnm(one: _Opened) -> int:
    if one.tile.codec_name == "ppm_plain":  # digits with spaces between
        return one.area if one.image.mode == "1" else 2 * one.area * len(one.image.getbands()) - 1
    if one.image.mode == "1":
        return rows(one.width, one.height, 1)
    most = one.tile.args[-1] if one.tile.codec_name == "ppm" else 0
    is_deep = one.image.mode == "I" or (isinstance(most, int) and most > 255)
    return one.area * len(one.image.getbands()) * (2 if is_deep else 1)


def _bmp(one: _Opened) -> int:
    return int(one.tile.args[1]) * one.height if one.tile.codec_name == "raw" else 0


def _qoi(one: _Opened) -> int:
    return one.area // _QOI_RUN


def _tga(one: _Opened) -> int:
    if one.tile.codec_name == "raw":
        return rows(one.width, one.height, one.start[16])
    return one.area // _TGA_RUN * (1 + (one.start[16] + 7) // 8)


def _pcx(one: _Opened) -> int:
    return rows(one.width, one.height, one.start[3] * one.start[65]) * 2 // _PCX_RUN


_BY_FORMAT = {
    "PPM": _pnm, "BMP": _bmp, "QOI": _qoi, "TGA": _tga, "PCX": _pcx,
}  # fmt: skip


def of_jpeg2000_tiles(siz: bytes) -> int:
    """Return the least bytes of the tiles of a JPEG 2000.

    Parameters
    ----------
    siz : bytes
        From the length of its SIZ segment on (ISO/IEC 15444-1, A.5.1).
    """
    right, bottom, _, _, width, height, left, top = (
        int.from_bytes(siz[at : at + 4], "big") for at in range(4, 36, 4)
    )
    if 0 in (width, height):
        return 0
    return _TILE_PART * -(-max(0, right - left) // width) * -(-max(0, bottom - top) // height)


def of_tiff(tags: Any) -> int:
    """Return the least size of a TIFF, by the tags of a page; 0 where nothing bounds it.

    Strips or tiles that a file leaves out (with the offset 0) need no bytes.
    """
    number = tiff_directory.whole_number
    width, height = tiff_directory.size(tags)
    offsets = tags.get(tiff_directory.STRIP_OFFSETS)
    strip = number(tags, tiff_directory.ROWS_PER_STRIP, height)
    listed = 0
    if offsets is None:
        offsets = tags.get(tiff_directory.TILE_OFFSETS, ())
    elif strip:
        count = -(-height // strip)
        listed = _LISTED * count if count > 1 else 0
    ratio = _TIFF_RATIOS.get(number(tags, tiff_directory.COMPRESSION, tiff_directory.UNCOMPRESSED))
    if ratio is None or not isinstance(offsets, tuple) or not offsets:
        return listed
    bits = tiff_directory.numbers(tags, tiff_directory.BITS_PER_SAMPLE, (1,))
    samples = number(tags, tiff_directory.SAMPLES_PER_PIXEL, 1)
    if number(tags, tiff_directory.PHOTOMETRIC, 0) == tiff_directory.YCBCR:
        samples = 1  # colours may be subsampled
    pixel_bits = int(sum(bits) if len(bits) == samples else min(bits) * samples)
    share = 1 - offsets.count(0) / len(offsets)
    return max(listed, int(rows(width, height, pixel_bits) * share / ratio))


_TIFF_RATIOS = {1: 1, 5: LZW, 8: DEFLATE, 32946: DEFLATE, 32773: PACKBITS}
