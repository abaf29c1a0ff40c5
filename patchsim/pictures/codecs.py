"""How AVIF, HEIC, JPEG 2000, JPEG XL and HDR are read; Pillow would keep 8 bits, or has none."""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Sequence
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import UnidentifiedImageError

from patchsim.errors import DamageError, InputError
from patchsim.pictures import (
    arrays,
    boxes,
    jpegxl_header,
    least_bytes,
    orientation,
    pillow_reader,
    tiff,
)
from patchsim.pictures.limits import (
    Decoded,
    Limits,
    Unapplied,
    silence_logger,
    to_8_bit_alpha,
    unapplied,
)

_HEIC_PACKAGE = "pi-heif"  # the extra `heif`

_HEAD = 1 << 16  # bytes in which the depth of a picture is looked for
# Peak bytes a pixel: RGBA of 16 bits or of floats, and the decoder's planes.
_BYTES_16, _BYTES_FLOAT = 8 + 6 + 17 + 16, 48
# x and y of red, green, blue and white.
_BT_709 = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06, 0.3127, 0.3290)
_OF_RADIANCE = (0.64, 0.33, 0.29, 0.60, 0.15, 0.06, 1 / 3, 1 / 3)
_PRIMARIES = re.compile(rb"\nPRIMARIES=((?:\s*[\d.]{1,20}){8})")
_OF_PRIMARIES = (
    "primaries other than those of sRGB, which are not applied;\n"
    "if colours matter, convert it to sRGB"
)
_OF_JPEG_XL = (
    "a colour profile other than sRGB, which is not applied: its decoder does not give it;\n"
    "if colours matter, convert it to PNG"
)
_RUNS, _MOST_RUN = (8, 32767), 127  # widths of rows that may be coded, and pixels of a run
_UNSUPPORTED = "nsupported"  # in what libheif says of codecs that it lacks
_RADIANCE_SIZE = re.compile(rb"\n-Y (\d{1,7}) \+X (\d{1,7})\n")


def avif(stream: BinaryIO, limits: Limits) -> Decoded:
    """Read an AVIF: of 8 bits by Pillow, of 10 or 12 by libavif in imagecodecs."""
    stream.seek(0)
    bits = max((_av1_bits(box) for box in _after(stream.read(_HEAD), b"av1C", 3)), default=8)
    try:
        if bits == 8:
            return pillow_reader.read(stream, limits)
        image, _ = pillow_reader.open_image(stream, limits)
    except UnidentifiedImageError:
        raise _not_read(stream, limits.name, "an AVIF") from None
    with image:
        width, height = image.size
        limits.check_pixels(width, height)
        has_more = getattr(image, "n_frames", 1) > 1
        turned = orientation.of_image(image)
        profile = image.info.get("icc_profile")
    codecs = _imagecodecs(limits.name, f"an AVIF of {bits} bits, of which Pillow keeps 8")
    content = _whole(stream, limits, width * height * _BYTES_16)
    values = codecs.avif_decode(content, index=0 if has_more else None, numthreads=1)
    decoded = _with_alpha(values, (height, width), bits, limits.name, profile)
    notices = decoded.notices
    if has_more:
        notices += (f"{limits.name} has several frames; the first is used",)
    return decoded._replace(orientation=turned, notices=notices)


def heic(stream: BinaryIO, limits: Limits) -> Decoded:
    """Read the primary picture of a HEIC of 8 to 12 bits, upright, by libheif in pi-heif."""
    try:
        import pi_heif
    except ModuleNotFoundError:
        raise InputError(
            f"{limits.name} is a HEIC picture; the package that reads it is not installed:\n"
            f"pip install {_HEIC_PACKAGE}, or convert it to PNG"
        ) from None
    limits.check_memory(stream.seek(0, os.SEEK_END), is_all=False)
    stream.seek(0)
    try:
        pictures = pi_heif.open_heif(stream, convert_hdr_to_8bit=False, hdr_to_16bit=False)
        picture = pictures[pictures.primary_index]
    except Exception as error:  # libheif's own words
        if _UNSUPPORTED not in str(error):
            raise
        raise _not_read(stream, limits.name, "a HEIC picture") from error
    width, height = picture.size
    limits.check_pixels(width, height)
    limits.check_memory(width * height * _BYTES_16)
    bits = picture.info["bit_depth"]
    values = np.asarray(picture)
    if values.dtype == np.uint8:
        bits = 8
    profile = picture.info.get("icc_profile")
    decoded = _with_alpha(values, (height, width), bits, limits.name, profile)
    if picture.premultiplied_alpha and decoded.alpha is not None:
        raise InputError(
            f"{limits.name} has colours multiplied by their alpha, which cannot be read in a HEIC;"
            " convert it to PNG"
        )
    if len(pictures) > 1:
        notice = f"{limits.name} has {len(pictures)} pictures; the primary one is used"
        decoded = decoded._replace(notices=(*decoded.notices, notice))
    return decoded


def _not_read(stream: BinaryIO, name: str, what: str) -> InputError:
    """Return why a library knows nothing of a file that is whole.

    Raises
    ------
    DamageError
        If the file is cut short.
    """
    boxes.check_whole(stream)
    return InputError(
        f"{name} is {what} that is damaged, or of a kind that is not read; convert it to PNG"
    )


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
        limits.check_held(width - left, height - top, least_bytes.of_jpeg2000_tiles(siz))
        (channels,) = struct.unpack_from(">H", siz, 36)
        if channels > 4:
            raise InputError(
                f"{limits.name} is a JPEG 2000 of {channels} channels, which cannot be read; save"
                " it as .npy"
            )
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
        profile, place = boxes.jpeg2000_profile(stream)
        if profile:
            content = boxes.with_enumerated_colors(content, profile, place)
        values = codecs.jpeg2k_decode(content, numthreads=1)
        return _with_alpha(values, (height, width), bits, limits.name, profile)
    decoded = pillow_reader.read(stream, limits)
    return decoded._replace(profile=boxes.jpeg2000_profile(stream)[0])


def jpegxl(stream: BinaryIO, limits: Limits) -> Decoded:
    """Read a JPEG XL of integers of 8 or 16 bits or of floats, upright, by imagecodecs."""
    codecs = _imagecodecs(limits.name, "a JPEG XL")
    stream.seek(0)
    height, width, colors = jpegxl_header.read(stream.read(_HEAD))
    limits.check_pixels(width, height)
    content = _whole(stream, limits, width * height * _BYTES_FLOAT)
    values = codecs.jpegxl_decode(content, index=0, numthreads=1)
    if values.shape[:2] == (width, height):
        height, width = width, height  # turned by its orientation
    decoded = _with_alpha(values, (height, width), 8 * values.itemsize, limits.name, None)
    if colors is None:
        return decoded
    return decoded._replace(profile=None, unapplied=Unapplied(colors, _OF_JPEG_XL))


def radiance(stream: BinaryIO, limits: Limits) -> Decoded:
    """Read a Radiance HDR as floats of 32 bits, by imagecodecs."""
    codecs = _imagecodecs(limits.name, "a Radiance HDR")
    stream.seek(0)
    head = stream.read(_HEAD)
    size = _RADIANCE_SIZE.search(head)
    if size is None:
        raise InputError(
            f"{limits.name} is a Radiance HDR that is turned, or damaged;"
            " save it as a TIFF of floats"
        )
    height, width = int(size[1]), int(size[2])
    in_runs = _RUNS[0] <= width <= _RUNS[1]
    limits.check_held(width, height, height * (8 * width // _MOST_RUN if in_runs else 4 * width))
    limits.check_pixels(width, height)
    content = _whole(stream, limits, width * height * 3 * 4 * 2)
    decoded = _with_alpha(codecs.rgbe_decode(content), (height, width), 32, limits.name, None)
    colors = _PRIMARIES.search(head[: size.start()])
    points = [] if colors is None else [float(value) for value in colors[1].split()]
    return decoded._replace(unapplied=of_primaries(points))


def of_primaries(points: Sequence[float]) -> Unapplied | None:
    """Return that stated colours are not applied; None if they are those of BT.709, as of sRGB.

    Parameters
    ----------
    points : sequence of float
        x and y of red, green, blue and white; empty if nothing is stated.
    """
    usual = (_BT_709, (*_BT_709[:6], 1 / 3, 1 / 3), _OF_RADIANCE)
    if not points or any(
        len(points) == 8 and max(abs(a - b) for a, b in zip(points, one, strict=True)) < 2e-3
        for one in usual
    ):
        return None
    stated = " ".join(f"{value:.4f}" for value in points)
    return Unapplied(stated.encode(), _OF_PRIMARIES)


def _imagecodecs(name: str, reason: str) -> Any:
    try:
        import imagecodecs
    except ModuleNotFoundError:
        raise InputError(
            f"{name} is {reason}; packages that read it are not installed:\n"
            f"pip install {tiff.PACKAGES}"
        ) from None
    silence_logger("imagecodecs")
    return imagecodecs


def _after(head: bytes, mark: bytes, length: int) -> list[bytes]:
    """Return the bytes behind each occurrence of a mark, where so many follow."""
    places = [box.end() for box in re.finditer(re.escape(mark), head)]
    return [head[at : at + length] for at in places if at + length <= len(head)]


def _whole(stream: BinaryIO, limits: Limits, needed: int) -> bytes:
    """Read a file to its end, once the memory for it and for its pixels is checked."""
    limits.check_memory(needed + stream.seek(0, os.SEEK_END))
    stream.seek(0)
    return stream.read()


def _with_alpha(
    values: NDArray[Any], size: tuple[int, int], bits: int, name: str, profile: object
) -> Decoded:
    """Split decoded values [H, W] or [H, W, C] into pixels and alpha, the last of 2 or 4.

    The profile is applied where white is the largest value of the type.
    """
    values = values[..., None] if values.ndim == 2 else values
    if values.ndim != 3 or values.shape[:2] != size or values.shape[2] > 4:
        raise DamageError(f"it decodes to {list(values.shape)}")
    alpha = None
    is_float = values.dtype.kind == "f"
    largest = 1 if is_float else (1 << bits) - 1
    if values.shape[2] in (2, 4):
        alpha = to_8_bit_alpha(values[..., -1], largest)
        values = values[..., :-1]
    notices: tuple[str, ...] = ()
    has_own_range = bits in (10, 12, 14) or (values.dtype == np.uint16 and bits < 16)
    if has_own_range:
        notices = (arrays.depth_notice(name, bits),)
    pixels = arrays.to_pixels(values, name, copy=True)
    profile = profile if isinstance(profile, bytes) else b""
    if is_float or has_own_range:  # the colours of these are not known
        return Decoded(
            pixels,
            alpha,
            notices=notices,
            profile=None,
            unapplied=unapplied(profile, bits),
            is_half=arrays.is_half(values.dtype),
        )
    shift = arrays.shift_of(values.dtype)
    return Decoded(pixels, alpha, notices=notices, shift=shift, profile=profile)
