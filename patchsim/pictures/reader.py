"""How a path, a PIL image or an array becomes a picture: its format, orientation and alpha."""

from __future__ import annotations

import os
import stat
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError

from patchsim.errors import InputError, printable
from patchsim.files import atomic
from patchsim.machine.memory import format_size
from patchsim.pictures import arrays, pillow_depth, png16, tiff
from patchsim.pictures.limits import Decoded, Limits, silence_logger
from patchsim.types import Pixels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Source = str | os.PathLike[str] | Image.Image | NDArray[Any]

PILLOW_FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "BMP", "GIF", "PPM")
_READABLE = "PNG, JPEG, TIFF, WebP, BMP, GIF, PNM, .npy"
_MAGIC = {b"\x89PNG": "PNG", b"\xff\xd8\xff": "JPEG"}
_START = 8  # the first bytes of a file, which determine its reader

# Pillow's own limit, against files that are small on disk and huge in memory.
DEFAULT_MAX_PIXELS: int = Image.MAX_IMAGE_PIXELS or 89_478_485

# Bytes a pixel: of Pillow's picture; of the copies of whole frames that some decoders make; and of
# the pixels that are kept.
_PILLOW_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2}
_DECODER_BYTES = {"WEBP": 16, "GIF": 8}
_KEPT_BYTES = {"1": 1, "L": 1, "LA": 1, "La": 1, "I": 8, "F": 4}
_STRIP = 64  # rows that are converted at a time
_STRIP_BYTES = 32  # bytes a pixel of the copies that the conversion of a strip makes

# EXIF orientation -> (whether to mirror first, quarter turns counter-clockwise)
_TURNS: dict[int, tuple[bool, int]] = {
    2: (True, 0), 3: (False, 2), 4: (True, 2), 5: (True, 1), 6: (False, 3), 7: (True, 3),
    8: (False, 1),
}  # fmt: skip

_limit_lock = threading.Lock()


@dataclass(frozen=True)
class Picture:
    """A decoded picture.

    Attributes
    ----------
    name : str
        The picture's name as the user wrote it.
    pixels : array [H, W, C]
        uint8, uint16, float32 or float64, upright.
    file : Path or None
        The file that the picture came from.
    notices : tuple of str
        Remarks for the user about how the picture was read.
    alpha : uint8 array [H, W], optional
        The opacity, unless all pixels are opaque.
    """

    name: str
    pixels: Pixels
    file: Path | None = None
    notices: tuple[str, ...] = ()
    alpha: NDArray[np.uint8] | None = None

    @property
    def stem(self) -> str:
        """The beginning of the names of files that are made from the picture."""
        if self.name == "-":
            return "stdin"
        return Path(self.name).stem if self.file else self.name

    @property
    def nbytes(self) -> int:
        """Bytes of the pixels and of their opacity."""
        return self.pixels.nbytes + (0 if self.alpha is None else self.alpha.nbytes)


def is_stdin(source: Source) -> bool:
    """Return whether a source is the path ``-``, which stands for standard input."""
    return isinstance(source, str | os.PathLike) and os.fspath(source) == "-"


def open_picture(
    source: Source,
    *,
    name: str,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    memory: int | None = None,
    total: int | None = None,
) -> Picture:
    """Decode a picture.

    Parameters
    ----------
    source : path, PIL image, or array [H, W] or [H, W, C]
        An array of numbers, a PIL image, whose current frame is read, or the path of a file, whose
        first frame is read. The path ``-`` stands for standard input.
    name : str
        The picture's name if it is not a file.
    max_pixels : int
        The largest number of pixels to decode.
    memory : int, optional
        Bytes that decoding may take.
    total : int, optional
        Bytes of which these are left, for messages.

    Raises
    ------
    InputError
        If the picture cannot be read: there is no such file, it is not a picture, is damaged or
        too large, or its values would lose depth.
    """
    if isinstance(source, np.ndarray):
        return Picture(name, arrays.to_pixels(source, name))
    if isinstance(source, Image.Image):
        return _from_pil(source, name, memory, total)
    if not isinstance(source, str | os.PathLike):
        raise InputError(
            f"{name} is a {type(source).__name__}; give a path, a PIL image or a NumPy array"
        )
    label = os.fspath(source)
    if not label:
        raise InputError("the name of a picture is empty; give a path")
    # Standard input counts as a file, so that no output overwrites the file behind it.
    file = Path("/dev/stdin") if is_stdin(source) else Path(label)
    limits = Limits(printable(label), max_pixels, memory, total)
    with _naming_errors(label), _open_seekable(label, memory) as stream:
        return _upright(_read(stream, limits), label, file)


def _from_pil(image: Image.Image, name: str, memory: int | None, total: int | None) -> Picture:
    """Read the current frame of a PIL image."""
    path = Path(getattr(image, "filename", "") or "")
    file = path if path.name != "" and path.exists() else None
    label = str(file) if file else name
    limits = Limits(printable(label), image.width * image.height, memory, total)
    if _is_closed(image):
        raise InputError(
            f"{limits.name} is a PIL image that is closed; keep it open during the search, or give"
            " the path"
        )
    with _naming_errors(label):
        reason = pillow_depth.unsupported_depth(image, file)
        if reason:
            raise InputError(
                f"{limits.name} is {reason}: a PIL image has other values than the file;"
                "\ngive the path, or a NumPy array"
            )
        return _upright(_decode(image, limits), label, file)


def _is_closed(image: Image.Image) -> bool:
    """Return whether a PIL image was closed, or its file before the pixels were read."""
    try:
        _ = image.im
    except ValueError:
        return True
    except AssertionError:  # the pixels were not read yet
        pass
    is_pending, file = bool(getattr(image, "tile", None)), getattr(image, "fp", None)
    return is_pending and (file is None or getattr(file, "closed", False))


@contextmanager
def _open_seekable(label: str, memory: int | None) -> Iterator[BinaryIO]:
    """Open a file as a seekable stream; a pipe is first read to its end."""
    if label == "-":
        if sys.stdin is None or sys.stdin.isatty():
            raise InputError("the picture '-' is read from standard input; pipe one in")
        yield _read_pipe(sys.stdin.buffer, label, memory)
        return
    with Path(label).open("rb") as file:
        status = os.fstat(file.fileno())
        if stat.S_ISREG(status.st_mode):
            if status.st_size == 0:
                raise InputError(f"{printable(label)} is empty (0 bytes)")
            yield file
        elif stat.S_ISFIFO(status.st_mode) or stat.S_ISSOCK(status.st_mode):
            yield _read_pipe(file, label, memory)
        else:
            raise InputError(f"{printable(label)} is neither a file nor a pipe")


def _read_pipe(pipe: BinaryIO, label: str, memory: int | None) -> BytesIO:
    content = pipe.read() if memory is None else pipe.read(memory + 1)
    if not content:
        raise InputError(f"{_where(label)} is empty (0 bytes)")
    if memory is not None and len(content) > memory:
        raise InputError(
            f"{_where(label)} goes on after {format_size(memory)}; allow more with --memory"
        )
    return BytesIO(content)


def _where(label: str) -> str:
    return "standard input" if label == "-" else printable(label)


@contextmanager
def _naming_errors(label: str) -> Iterator[None]:
    """Convert errors of opening and decoding to an `InputError` that names the picture."""
    where = _where(label)
    try:
        yield
    except InputError:
        raise
    except UnidentifiedImageError as error:
        file_format = error.args[-1] if error.args[-1] in _MAGIC.values() else None
        raise InputError(
            f"{where} is a {file_format} of a kind that cannot be read, or damaged"
            if file_format
            else f"{where} is not a picture that can be read ({_READABLE})"
        ) from None
    except MemoryError:
        raise InputError(f"{where} does not fit into memory when decoded") from None
    except OSError as error:
        raise atomic.read_error(error, where, Path(label), "a picture") from error
    except Exception as error:
        # Pillow's decoders raise exceptions of many types for damaged files.
        raise InputError(f"{where} is damaged or cut short: {error}") from error


def _read(stream: BinaryIO, limits: Limits) -> Decoded:
    """Read the first frame of a file by the reader that preserves its values."""
    start = stream.read(_START)
    stream.seek(0)
    if start.startswith(arrays.MAGIC):
        return arrays.read(stream, limits)
    if start.startswith(tiff.BIG_ENDIAN_BIGTIFF):
        return tiff.read(stream, limits, "a big-endian BigTIFF, which Pillow does not read")
    try:
        image = _open_image(stream)
    except UnidentifiedImageError as error:
        if start.startswith(tiff.MAGIC):
            return tiff.read(stream, limits, "a TIFF that Pillow cannot read, or damaged")
        # `_naming_errors` reads the format from the last argument.
        formats = (name for magic, name in _MAGIC.items() if start.startswith(magic))
        error.args += (next(formats, ""),)
        raise
    with image:
        limits.check_pixels(*image.size)
        frames = getattr(image, "n_frames", 1)
        if frames > 1:
            image.seek(0)
        reason = pillow_depth.unsupported_depth(image, None)
        if reason is not None:
            return _read_deep(stream, image, limits, reason)
        decoded = _decode(image, limits)
        if frames > 1:
            notice = f"{limits.name} has {frames} frames; the first is used"
            decoded = replace(decoded, notices=(notice,))
        return decoded


def _read_deep(
    stream: BinaryIO, image: ImageFile.ImageFile, limits: Limits, reason: str
) -> Decoded:
    """Read a file whose values Pillow would change, for the given reason, by another reader."""
    if image.format == "TIFF":
        return tiff.read(stream, limits, reason)
    if image.format == "PNG":
        return replace(png16.png(stream, *image.size, limits), orientation=_orientation(image))
    tile: Any = image.tile[0]
    if tile.codec_name != "ppm":
        raise InputError(f"{limits.name} is {reason};\nsave it as binary PPM (P6), or as PNG")
    return png16.ppm(stream, *image.size, offset=tile.offset, white=tile.args[-1], limits=limits)


def _open_image(stream: BinaryIO) -> ImageFile.ImageFile:
    """Open a picture of any size by its header; the caller then checks its own limit."""
    silence_logger("PIL")
    with _limit_lock:
        pillow_limit = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = None
        try:
            return Image.open(stream, formats=PILLOW_FORMATS)
        finally:
            Image.MAX_IMAGE_PIXELS = pillow_limit


def _upright(decoded: Decoded, name: str, file: Path | None) -> Picture:
    """Return the decoded picture turned upright."""
    is_mirrored, turns = _TURNS.get(decoded.orientation, (False, 0))

    def turned(values: NDArray[Any]) -> NDArray[Any]:
        return np.rot90(values[:, ::-1] if is_mirrored else values, turns)

    alpha = None if decoded.alpha is None else turned(decoded.alpha)
    return Picture(name, turned(decoded.pixels), file, decoded.notices, alpha)


def _decode(image: Image.Image, limits: Limits) -> Decoded:
    """Decode the current frame as grey or RGB, by Pillow."""
    is_inverted = pillow_depth.is_inverted(image, limits.name)
    width, height = image.size
    pixel_bytes = _PILLOW_BYTES.get(image.mode, 4) + _DECODER_BYTES.get(image.format or "", 0)
    pixel_bytes += 2 if image.mode.startswith("I;16") else _KEPT_BYTES.get(image.mode, 3)
    pixel_bytes += image.has_transparency_data
    limits.check_memory(width * (height * pixel_bytes + min(height, _STRIP) * _STRIP_BYTES))
    file_format = image.format
    image.load()
    pixels, alpha = _convert(image, limits.name, file_format)
    if pixels.dtype == np.uint16:
        alpha = _alpha_of_16_bits(pixels, image.info.get("transparency"))
    if is_inverted:
        pixels = np.iinfo(pixels.dtype).max - pixels
    return Decoded(pixels, alpha, _orientation(image))


def _alpha_of_16_bits(pixels: Pixels, transparent: object) -> NDArray[np.uint8] | None:
    """Return the alpha of grey pixels [H, W, 1], of which one value may be transparent."""
    if not isinstance(transparent, int):
        return None
    is_opaque: NDArray[np.bool_] = pixels[..., 0] != transparent
    if is_opaque.all():
        return None
    alpha = is_opaque.view(np.uint8)
    alpha *= np.uint8(255)
    return alpha


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1 if the EXIF data are damaged."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # Pillow's parser raises exceptions of many types for damaged EXIF data
        return 1


def _target(image: Image.Image, file_format: str | None) -> tuple[type[np.generic], str | None]:
    """Return the type of the pixels, and the mode that Pillow converts to, or None for none."""
    mode = image.mode
    if mode.startswith("I;16"):
        return np.uint16, None
    if mode == "I":
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
        and pillow_depth.tiff_tag(image, pillow_depth.SAMPLE_FORMAT, 1) == 1
    )
    for top in range(0, height, _STRIP):
        strip = image.crop((0, top, width, min(top + _STRIP, height)))
        if mode is not None and strip.mode != mode:
            try:
                strip = strip.convert(mode)
            except ValueError:
                raise InputError(
                    f"{label} has the mode {image.mode}, which cannot be turned into RGB"
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
