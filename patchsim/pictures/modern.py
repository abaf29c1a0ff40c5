"""How AVIF, HEIC, JPEG 2000, JPEG XL and HDR are read; Pillow would keep 8 bits, or has none."""

from __future__ import annotations

import os
import re
import struct
from dataclasses import replace
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from patchsim.errors import DamageError, InputError
from patchsim.pictures import arrays, coded_size, orientation, pillow_reader, tiff
from patchsim.pictures.limits import Decoded, Limits, silence_logger, to_8_bit_alpha

JPEG_XL = (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")
JPEG_2000 = (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")
RADIANCE = (b"#?RADIANCE", b"#?RGBE")
_AVIF_BRANDS = (b"avif", b"avis")
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx")
_ANY_HEIF = (b"mif1", b"msf1")  # brands of both
_HEIC_PACKAGE = "pi-heif"  # the extra `heif`

_HEAD = 1 << 16  # bytes in which the depth of a picture is looked for
# Peak bytes a pixel: RGBA of 16 bits or of floats, and the decoder's planes.
_BYTES_16, _BYTES_FLOAT = 8 + 6 + 17 + 16, 48
_RADIANCE_SIZE = re.compile(rb"\n-Y (\d{1,7}) \+X (\d{1,7})\n")


def is_avif(start: bytes) -> bool:
    """Return whether a file begins as an AVIF."""
    return start[4:8] == b"ftyp" and (
        start[8:12] in _AVIF_BRANDS or (start[8:12] in _ANY_HEIF and b"avif" in start[:64])
    )


def is_heic(start: bytes) -> bool:
    """Return whether a file begins as a HEIC, and is no AVIF."""
    brands = _HEIC_BRANDS + _ANY_HEIF
    return start[4:8] == b"ftyp" and start[8:12] in brands and not is_avif(start)


def avif(stream: BinaryIO, limits: Limits) -> Decoded:
    """Read an AVIF: of 8 bits by Pillow, of 10 or 12 by libavif in imagecodecs."""
    stream.seek(0)
    bits = max((_av1_bits(found) for found in _after(stream.read(_HEAD), b"av1C", 3)), default=8)
    if bits == 8:
        return pillow_reader.read(stream, limits)
    image, _ = pillow_reader.open_image(stream, limits)
    with image:
        width, height = image.size
        limits.check_pixels(width, height)
        has_more = getattr(image, "n_frames", 1) > 1
        turned = orientation.of_image(image)
    codecs = _imagecodecs(limits.name, f"an AVIF of {bits} bits, of which Pillow keeps 8")
    content = _whole(stream, limits, width * height * _BYTES_16)
    values = codecs.avif_decode(content, index=0 if has_more else None, numthreads=1)
    decoded = _with_alpha(values, (height, width), bits, limits.name)
    notices = decoded.notices
    if has_more:
        notices += (f"{limits.name} has several frames; the first is used",)
    return replace(decoded, orientation=turned, notices=notices)


def heic(stream: BinaryIO, limits: Limits) -> Decoded:
    """Read the primary picture of a HEIC of 8 to 12 bits, upright, by libheif in pi-heif."""
    try:
        import pi_heif
    except ImportError:
        raise InputError(
            f"{limits.name} is a HEIC picture; the package that reads it is not installed:\n"
            f"pip install {_HEIC_PACKAGE}, or convert it to PNG"
        ) from None
    limits.check_memory(stream.seek(0, os.SEEK_END))
    stream.seek(0)
    pictures = pi_heif.open_heif(stream, convert_hdr_to_8bit=False, hdr_to_16bit=False)
    picture = pictures[pictures.primary_index]
    width, height = picture.size
    limits.check_pixels(width, height)
    limits.check_memory(width * height * _BYTES_16)
    bits = picture.info["bit_depth"]
    values = np.asarray(picture)
    if values.dtype == np.uint8:
        bits = 8
    decoded = _with_alpha(values, (height, width), bits, limits.name)
    if bits == 8:
        profile = picture.info.get("icc_profile")
        decoded = replace(decoded, profile=profile if isinstance(profile, bytes) else b"")
    if picture.premultiplied_alpha and decoded.alpha is not None:
        raise InputError(
            f"{limits.name} has colours multiplied by their alpha, which cannot be read in a HEIC;"
            " convert it to PNG"
        )
    if len(pictures) > 1:
        notice = f"{limits.name} has {len(pictures)} pictures; the primary one is used"
        decoded = replace(decoded, notices=(*decoded.notices, notice))
    return decoded


def _av1_bits(properties: bytes) -> int:
    """Return the bits of AV1CodecConfigurationRecord (AV1 in ISO base media, section 2.3)."""
    if not properties[2] & 0x40:
        return 8
    return 12 if properties[2] & 0x20 else 10


def jpeg2000(stream: BinaryIO, limits: Limits) -> Decoded:
    """Read a JPEG 2000: of 8 bits by Pillow, of more by OpenJPEG in imagecodecs."""
    stream.seek(0)
    for siz in _after(stream.read(_HEAD), b"\xff\x4f\xff\x51", 39):
        # Rsiz follows the length; then come sizes and offsets, and for each component its depth
        # and subsampling (ISO/IEC 15444-1, A.5.1).
        width, height, left, top = struct.unpack_from(">IIII", siz, 4)
        depth = siz[38]
        bits, is_signed = (depth & 127) + 1, depth > 127
        if bits <= 8 and not is_signed:
            break
        width, height = width - left, height - top
        limits.check_pixels(width, height)
        reason = f"a JPEG 2000 of {'signed ' * is_signed}values of {bits} bits"
        if bits > 16:
            raise InputError(f"{limits.name} is {reason}, which cannot be read; pass an array")
        codecs = _imagecodecs(limits.name, f"{reason}, of which Pillow keeps 8")
        content = _whole(stream, limits, width * height * _BYTES_16)
        values = codecs.jpeg2k_decode(content, numthreads=1)
        return _with_alpha(values, (height, width), bits, limits.name)
    return pillow_reader.read(stream, limits)


def jpegxl(stream: BinaryIO, limits: Limits) -> Decoded:
    """Read a JPEG XL of integers of 8 or 16 bits or of floats, upright, by imagecodecs."""
    codecs = _imagecodecs(limits.name, "a JPEG XL")
    stream.seek(0)
    height, width = coded_size.of_jpegxl(stream.read(_HEAD))
    limits.check_pixels(width, height)
    content = _whole(stream, limits, width * height * _BYTES_FLOAT)
    values = codecs.jpegxl_decode(content, index=0, numthreads=1)
    if values.shape[:2] == (width, height):
        height, width = width, height  # turned by its orientation
    return _with_alpha(values, (height, width), 8 * values.itemsize, limits.name)


def radiance(stream: BinaryIO, limits: Limits) -> Decoded:
    """Read a Radiance HDR as floats of 32 bits, by imagecodecs."""
    codecs = _imagecodecs(limits.name, "a Radiance HDR")
    stream.seek(0)
    size = _RADIANCE_SIZE.search(stream.read(_HEAD))
    if size is None:
        raise InputError(
            f"{limits.name} is a Radiance HDR that is turned, or damaged;"
            " save it as a TIFF of floats"
        )
    height, width = int(size[1]), int(size[2])
    limits.check_pixels(width, height)
    content = _whole(stream, limits, width * height * 3 * 4 * 2)
    return _with_alpha(codecs.rgbe_decode(content), (height, width), 32, limits.name)


def _imagecodecs(name: str, reason: str) -> Any:
    try:
        import imagecodecs
    except ImportError:
        raise InputError(
            f"{name} is {reason}; packages that read it are not installed:\n"
            f"pip install {tiff.PACKAGES}"
        ) from None
    silence_logger("imagecodecs")
    return imagecodecs


def _after(head: bytes, mark: bytes, length: int) -> list[bytes]:
    """Return the bytes behind each occurrence of a mark, where so many follow."""
    places = [found.end() for found in re.finditer(re.escape(mark), head)]
    return [head[at : at + length] for at in places if at + length <= len(head)]


def _whole(stream: BinaryIO, limits: Limits, needed: int) -> bytes:
    """Read a file to its end, once the memory for it and for its pixels is checked."""
    limits.check_memory(needed + stream.seek(0, os.SEEK_END))
    stream.seek(0)
    return stream.read()


def _with_alpha(values: NDArray[Any], size: tuple[int, int], bits: int, name: str) -> Decoded:
    """Split decoded values [H, W] or [H, W, C] into pixels and alpha, the last of 2 or 4."""
    values = values[..., None] if values.ndim == 2 else values
    if values.ndim != 3 or values.shape[:2] != size or values.shape[2] > 4:
        raise DamageError(f"it decodes to {list(values.shape)}")
    alpha = None
    largest = 1 if values.dtype.kind == "f" else (1 << bits) - 1
    if values.shape[2] in (2, 4):
        alpha = to_8_bit_alpha(values[..., -1], largest)
        values = values[..., :-1]
    notices: tuple[str, ...] = ()
    if bits in (10, 12, 14) or (values.dtype == np.uint16 and bits < 16):
        notices = (
            f"{name} has values of {bits} bits;"
            f" --data-range 0:{largest} compares them within their range",
        )
    pixels = arrays.to_pixels(values, name, copy=True)
    # The colours of floats, and of values in a range of their own, are not known.
    return Decoded(pixels, alpha, notices=notices, profile=None)
