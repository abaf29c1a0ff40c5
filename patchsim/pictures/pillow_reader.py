"""How Pillow opens and decodes the pictures whose values it preserves."""

from __future__ import annotations

import importlib
import struct
from collections.abc import Iterator
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from patchsim.errors import InputError
from patchsim.pictures import (
    arrays,
    metadata,
    orientation,
    pillow_depth,
    tiff_directory,
)
from patchsim.pictures.limits import Decoded, Limits, Unapplied, silence_logger
from patchsim.types import Pixels

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Pillow's formats, and the modules that read them.
READERS = {
    "PNG": "PngImagePlugin", "JPEG": "JpegImagePlugin", "BMP": "BmpImagePlugin",
    "GIF": "GifImagePlugin", "PPM": "PpmImagePlugin", "WEBP": "WebPImagePlugin",
    "TIFF": "TiffImagePlugin", "AVIF": "AvifImagePlugin", "JPEG2000": "Jpeg2KImagePlugin",
    "QOI": "QoiImagePlugin", "PCX": "PcxImagePlugin", "ICO": "IcoImagePlugin",
}  # fmt: skip
_WITHOUT_SIGNATURE = {"TGA": "TgaImagePlugin"}
_HEAD = 128  # bytes, of the header of a format
_START = 16  # bytes by which Pillow knows a format

# Bytes a pixel: of Pillow's picture; of the copies of whole frames that some decoders make; and of
# the pixels that are kept.
_PILLOW_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2}
_DECODER_BYTES = {"WEBP": 16, "GIF": 8, "AVIF": 16, "JPEG2000": 24, "QOI": 16, "ICO": 8}
_KEPT_BYTES = {"1": 1, "L": 1, "LA": 1, "La": 1, "I": 8, "F": 4}
_OF_GIF = Unapplied(
    b"GIF", "a colour profile, which is not read from a GIF; if colours matter, convert it to PNG"
)
_STRIP = 64  # rows that are converted at a time
_STRIP_BYTES = 32  # bytes a pixel of the copies that the conversion of a strip makes


def open_image(
    stream: BinaryIO, limits: Limits, only: str | None = None
) -> tuple[ImageFile.ImageFile, metadata.Counted]:
    """Open a picture of any size by its header; the caller then checks its own limit of pixels.

    `PIL.Image.open` has a limit that only a change for all threads would lift.

    Parameters
    ----------
    stream : binary file
    limits : Limits
    only : str, optional
        The format to try, of those that Pillow does not know by a file's first bytes.

    Returns
    -------
    image : ImageFile
    counted : Counted
        The stream that it reads from; its pixels are read in `counted.pixels()`.

    Raises
    ------
    InputError
        If the texts and profiles before the pixels are too large.
    UnidentifiedImageError
        If no reader of Pillow's knows the file.
    """
    silence_logger("PIL")
    stream.seek(0)
    start = stream.read(_START)
    for factory in _factories(start, only):
        stream.seek(0)
        counted: Any = metadata.Counted(stream, limits)
        try:
            return factory(counted, ""), counted
        except (SyntaxError, IndexError, TypeError, struct.error):  # as `PIL.Image.open`
            continue
    raise UnidentifiedImageError("no reader of Pillow's knows the file")


def has_reader(start: bytes) -> bool:
    """Return whether a reader of Pillow's claims a file by its first bytes."""
    return any(True for _ in _factories(start[:_START], None))


def _factories(start: bytes, only: str | None) -> Iterator[Any]:
    """Yield what opens a file that begins so."""
    for name, module in READERS.items() if only is None else [(only, _WITHOUT_SIGNATURE[only])]:
        if name not in Image.OPEN and not _is_imported(module):
            continue
        factory, accept = Image.OPEN[name]
        if accept is None or accept(start) is True:
            yield factory


def _is_imported(module: str) -> bool:
    """Import a reader, which registers itself; older versions of Pillow lack some."""
    try:
        importlib.import_module(f"PIL.{module}")
    except ImportError:
        return False
    return True


def read(stream: BinaryIO, limits: Limits, only: str | None = None) -> Decoded:
    """Read the first frame of a file by Pillow, or a PPM of 16 bits by `pnm`.

    Raises
    ------
    InputError
        If the picture is too large.
    Exception
        If the file is damaged; the type depends on the decoder.
    """
    image, counted = open_image(stream, limits, only)
    stream.seek(0)
    from patchsim.pictures import least_bytes  # of other formats than PNG

    min_bytes = least_bytes.of_pillow(image, stream.read(_HEAD))
    with image:
        limits.check_held(*image.size, min_bytes)
        limits.check_pixels(*image.size)
        reason = pillow_depth.unsupported_depth(image, None)
        if reason is None:
            box = image.tile[0].extents if image.format == "GIF" and image.tile else None
            decoded = decode(image, limits, counted)
            if _has_gif_profile(image):
                decoded = decoded._replace(profile=None, unapplied=_OF_GIF)
            if box is not None and box != (0, 0, *image.size):
                decoded = decoded._replace(alpha=_only_in(box, decoded))
            if _has_more_frames(image):
                notice = f"{limits.name} has several frames; the first is used"
                decoded = decoded._replace(notices=(notice,))
            return decoded
        from patchsim.pictures import pnm  # few files are such

        tile: Any = image.tile[0]
        if tile.codec_name != "ppm":
            raise InputError(f"{limits.name} is {reason};\nsave it as binary PPM (P6), or as PNG")
        offset, white = tile.offset, tile.args[-1]
        shape = (image.height, image.width, 3)
        return Decoded(pnm.scaled(stream, shape, offset, white, limits))


def _has_gif_profile(image: ImageFile.ImageFile) -> bool:
    """Return whether a GIF has an ICC profile, which Pillow does not read."""
    extension = image.info.get("extension")
    return isinstance(extension, tuple) and extension[:1] == (b"ICCRGBG1012",)


def _has_more_frames(image: ImageFile.ImageFile) -> bool:
    """Return whether a picture has more than its first frame, even if these are damaged."""
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # the decoders raise exceptions of many types for damaged files
        return True


def _only_in(box: tuple[int, int, int, int], decoded: Decoded) -> NDArray[np.uint8]:
    """Return the alpha of a frame that fills a box (left, top, right, bottom) of its canvas."""
    left, top, right, bottom = box
    alpha = np.zeros(decoded.pixels.shape[:2], np.uint8)
    inside = np.s_[top:bottom, left:right]
    alpha[inside] = 255 if decoded.alpha is None else decoded.alpha[inside]
    return alpha


def decode(image: Image.Image, limits: Limits, counted: metadata.Counted | None = None) -> Decoded:
    """Decode the current frame as grey or RGB, by Pillow.

    Parameters
    ----------
    image : PIL image
    limits : Limits
    counted : Counted, optional
        The stream that the image is read from.
    """
    is_inverted = pillow_depth.is_inverted(image, limits.name)
    width, height = image.size
    pixel_bytes = _PILLOW_BYTES.get(image.mode, 4) + _DECODER_BYTES.get(image.format or "", 0)
    pixel_bytes += 2 if image.mode.startswith("I;16") else _KEPT_BYTES.get(image.mode, 3)
    pixel_bytes += image.has_transparency_data
    held = 0 if counted is None else counted.held
    strip_bytes = width * min(height, _STRIP) * _STRIP_BYTES
    limits.check_memory(width * height * pixel_bytes + strip_bytes + held)
    file_format = image.format
    with nullcontext() if counted is None else counted.pixels():
        image.load()
    pixels, alpha = _convert(image, limits.name, file_format)
    if pixels.dtype == np.uint16:
        alpha = alpha_of(pixels, image.info.get("transparency"))
    if is_inverted:
        pixels = np.iinfo(pixels.dtype).max - pixels
    shift = arrays.shift_of(pixels.dtype)
    if shift:
        pixels = arrays.to_pixels(pixels, limits.name)
    # A damaged profile may be text.
    profile = image.info.get("icc_profile")
    profile = profile if isinstance(profile, bytes) else b""
    return Decoded(pixels, alpha, orientation.of_image(image), shift=shift, profile=profile)


def alpha_of(pixels: Pixels, transparent: object) -> NDArray[np.uint8] | None:
    """Return the alpha of grey pixels [H, W, 1], of which one value may be transparent."""
    if not isinstance(transparent, int):
        return None
    is_opaque: NDArray[np.bool_] = pixels[..., 0] != transparent
    if is_opaque.all():
        return None
    alpha = is_opaque.view(np.uint8)
    alpha *= np.uint8(255)
    return alpha


def _is_signed_16(image: Image.Image) -> bool:
    """Return whether an image is a TIFF of int16, which Pillow opens in 32 bits."""
    return (
        pillow_depth.tiff_tag(image, tiff_directory.SAMPLE_FORMAT, 1) == tiff_directory.SIGNED
        and pillow_depth.tiff_tag(image, tiff_directory.BITS_PER_SAMPLE, 1) == 16
    )


def _target(image: Image.Image, file_format: str | None) -> tuple[type[np.generic], str | None]:
    """Return the type of the pixels, and the mode that Pillow converts to, or None for none."""
    mode = image.mode
    if mode.startswith("I;16"):
        return np.uint16, None
    if mode == "I":
        if _is_signed_16(image):
            return np.int16, None
        # Pillow opens a grey PNM of 16 bits in 32. Other integers have no known range.
        return (np.uint16 if file_format == "PPM" else np.float64), None
    if mode == "F":
        return np.float32, None
    is_grey = mode in ("1", "L", "LA", "La") and "transparency" not in image.info
    if image.has_transparency_data:
        return np.uint8, "LA" if is_grey else "RGBA"
    return np.uint8, "L" if is_grey else "RGB"


def _convert(
    image: Image.Image, label: str, file_format: str | None
) -> tuple[Pixels, NDArray[np.uint8] | None]:
    """Return the pixels [H, W, C] of a loaded image, and its alpha unless all is opaque.

    The conversion goes strip by strip, so that its copies take little memory.
    """
    dtype, mode = _target(image, file_format)
    width, height = image.size
    channels = 3 if mode in ("RGB", "RGBA") else 1
    pixels = np.empty((height, width, channels), dtype)
    alpha: NDArray[np.uint8] | None = None
    is_unsigned_tiff = (
        image.mode == "I"
        and pillow_depth.is_tiff(image)
        and pillow_depth.tiff_tag(image, tiff_directory.SAMPLE_FORMAT, 1) == 1
    )
    for top in range(0, height, _STRIP):
        strip = image.crop((0, top, width, min(top + _STRIP, height)))
        if mode is not None and strip.mode != mode:
            try:
                strip = strip.convert(mode)
            except ValueError:
                raise InputError(
                    f"{label} has the mode {image.mode}, which cannot be turned into RGB;"
                    " convert it to PNG"
                ) from None
        values = np.asarray(strip)
        if mode in ("LA", "RGBA"):
            if alpha is None and (values[..., -1] < 255).any():
                alpha = np.full((height, width), 255, np.uint8)
            if alpha is not None:
                alpha[top : top + _STRIP] = values[..., -1]
            values = values[..., :-1]
        if is_unsigned_tiff:
            values = values.view(np.uint32)
        pixels[top : top + _STRIP] = values if values.ndim == 3 else values[..., None]
    return pixels, alpha
