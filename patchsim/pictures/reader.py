"""Opening pictures: files, formats, orientation, alpha."""

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
from PIL import ExifTags, Image, ImageFile, TiffImagePlugin, UnidentifiedImageError

from patchsim.errors import InputError, printable
from patchsim.files import atomic
from patchsim.machine.memory import format_size
from patchsim.pictures import arrays, pillow_depth, png16, tiff
from patchsim.pictures.limits import Decoded, Limits, quiet
from patchsim.types import Pixels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Source = str | os.PathLike[str] | Image.Image | NDArray[Any]

FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "BMP", "GIF", "PPM")
_FORMATS_TEXT = "PNG, JPEG, TIFF, WebP, BMP, GIF, PNM, .npy"
_MAGIC = {b"\x89PNG": "PNG", b"\xff\xd8\xff": "JPEG"}
_START = 8  # bytes that tell readers apart

# Pillow's own limit against files that are small on disk and huge in memory.
DEFAULT_MAX_PIXELS: int = Image.MAX_IMAGE_PIXELS or 89_478_485

# Bytes a pixel: of Pillow's picture, beside it while some formats are decoded (whole frames are
# copied), and of the array that is kept.
_PILLOW_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2}
_DECODER_BYTES = {"WEBP": 16, "GIF": 8}
_KEPT_BYTES = {"1": 1, "L": 1, "LA": 1, "La": 1, "I": 8, "F": 4}
_STRIP = 64  # rows converted at a time, each pixel through copies of so many bytes
_STRIP_BYTES = 32

_TURNS: dict[int, tuple[bool, int]] = {  # EXIF orientation -> mirrored first, quarter turns left
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
        As the user wrote it.
    pixels : array [H, W, C]
        uint8, uint16, float32 or float64.
    file : Path or None
        Where it came from.
    notices : tuple of str
        What the user should know about how it was read.
    alpha : uint8 array [H, W], optional
        Its opacity, if not all of it is opaque.
    """

    name: str
    pixels: Pixels
    file: Path | None = None
    notices: tuple[str, ...] = ()
    alpha: NDArray[np.uint8] | None = None

    @property
    def stem(self) -> str:
        """The name that files made from the picture begin with."""
        if self.name == "-":
            return "stdin"
        return Path(self.name).stem if self.file else self.name


def is_stdin(source: Source) -> bool:
    """True for the path ``-``."""
    return isinstance(source, str | os.PathLike) and os.fspath(source) == "-"


def open_picture(
    source: Source, *, name: str, max_pixels: int = DEFAULT_MAX_PIXELS, memory: int | None = None
) -> Picture:
    """Decode a picture.

    Parameters
    ----------
    source : path, PIL image, or array [H, W] or [H, W, C]
        Arrays are of numbers, as are those of .npy files. The path ``-`` reads standard input. Of
        a file the first frame is taken, of a PIL image the current one.
    name : str
        What to call a picture that is not a file.
    max_pixels : int
        The largest picture to decode.
    memory : int, optional
        Bytes that decoding may take.

    Raises
    ------
    InputError
        If it cannot be read as it is: no such file, not a picture, damaged, too large, or of a
        depth that would be reduced.
    """
    if isinstance(source, np.ndarray):
        return Picture(name, arrays.checked(source, name))
    if isinstance(source, Image.Image):
        path = Path(getattr(source, "filename", "") or "")
        known = path.name != "" and path.exists()
        blank = Picture(str(path) if known else name, _NOTHING, path if known else None)
        limits = Limits(printable(blank.name), source.width * source.height, memory)
        with _reading(blank.name):
            reason = pillow_depth.reduced(source, blank.file)
            if reason:
                raise InputError(
                    f"{limits.name} is {reason}: a PIL image has other values than the file;"
                    "\ngive the path, or a NumPy array"
                )
            return _finished(blank, _decode(source, limits))
    if not isinstance(source, str | os.PathLike):
        raise InputError(
            f"{name} is a {type(source).__name__}; give a path, a PIL image or a NumPy array"
        )
    label = os.fspath(source)
    if not label:
        raise InputError("the name of a picture is empty; give a path")
    # An output must not overwrite the file that standard input comes from, either.
    file = Path("/dev/stdin") if is_stdin(source) else Path(label)
    limits = Limits(printable(label), max_pixels, memory)
    with _reading(label), _stream(label, memory) as stream:
        return _finished(Picture(label, _NOTHING, file), _read(stream, limits))


_NOTHING: Pixels = np.empty((0, 0, 0), dtype=np.uint8)


@contextmanager
def _stream(label: str, memory: int | None) -> Iterator[BinaryIO]:
    """The file's bytes, seekable; pipes are read to their end first."""
    if label == "-":
        if sys.stdin is None or sys.stdin.isatty():
            raise InputError("the picture '-' is read from standard input; pipe one in")
        yield _slurp(sys.stdin.buffer, label, memory)
        return
    with Path(label).open("rb") as file:
        status = os.fstat(file.fileno())
        if stat.S_ISREG(status.st_mode):
            if status.st_size == 0:
                raise InputError(f"{printable(label)} is empty (0 bytes)")
            yield file
        elif stat.S_ISFIFO(status.st_mode) or stat.S_ISSOCK(status.st_mode):
            yield _slurp(file, label, memory)
        else:
            raise InputError(f"{printable(label)} is neither a file nor a pipe")


def _slurp(pipe: BinaryIO, label: str, memory: int | None) -> BytesIO:
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
def _reading(label: str) -> Iterator[None]:
    """Turn what opening and decoding raise into messages that name the picture."""
    where = _where(label)
    try:
        yield
    except InputError:
        raise
    except UnidentifiedImageError as error:
        kind = error.args[-1] if error.args[-1] in _MAGIC.values() else None
        raise InputError(
            f"{where} is a {kind} of a kind that cannot be read, or damaged"
            if kind
            else f"{where} is not a picture that can be read ({_FORMATS_TEXT})"
        ) from None
    except MemoryError:
        raise InputError(f"{where} does not fit into memory when decoded") from None
    except OSError as error:
        raise atomic.read_error(error, where, Path(label), "a picture") from error
    except Exception as error:
        # Damaged files make Pillow's decoders raise nearly anything.
        raise InputError(f"{where} is damaged or cut short: {error}") from error


def _read(stream: BinaryIO, limits: Limits) -> Decoded:
    """The first frame of a file, by the reader that gives the values it has."""
    start = stream.read(_START)
    stream.seek(0)
    if start.startswith(arrays.MAGIC):
        return arrays.read(stream, limits)
    if start.startswith(tiff.BIG_ENDIAN_BIGTIFF):
        return tiff.read(stream, limits, "a big-endian BigTIFF, which Pillow does not read")
    try:
        image = _opened(stream)
    except UnidentifiedImageError as error:
        if start.startswith(tiff.MAGIC):
            return tiff.read(stream, limits, "a TIFF that Pillow cannot read, or damaged")
        error.args += (next((k for m, k in _MAGIC.items() if start.startswith(m)), ""),)
        raise
    with image:
        limits.check_pixels(*image.size)
        frames = getattr(image, "n_frames", 1)
        if frames > 1:
            image.seek(0)
        reason = pillow_depth.reduced(image, None)
        if reason is None:
            decoded = _decode(image, limits)
            if frames > 1:
                notice = f"{limits.name} has {frames} frames; the first is used"
                decoded = replace(decoded, notices=(notice,))
            return decoded
        if image.format == "TIFF":
            return tiff.read(stream, limits, reason)
        if image.format == "PNG":
            return replace(png16.png(stream, *image.size, limits), orientation=_orientation(image))
        tile: Any = image.tile[0]
        if tile.codec_name != "ppm":
            raise InputError(f"{limits.name} is {reason};\nsave it as binary PPM (P6), or as PNG")
        return png16.ppm(stream, *image.size, offset=tile.offset, most=tile.args[-1], limits=limits)


def _opened(stream: BinaryIO) -> ImageFile.ImageFile:
    """A picture whose header is read, whatever its size; the caller has a limit of its own."""
    quiet("PIL")
    with _limit_lock:
        before = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = None
        try:
            return Image.open(stream, formats=FORMATS)
        finally:
            Image.MAX_IMAGE_PIXELS = before


def _finished(blank: Picture, decoded: Decoded) -> Picture:
    """Upright."""
    mirrored, turns = _TURNS.get(decoded.orientation, (False, 0))

    def upright(values: NDArray[Any]) -> NDArray[Any]:
        return np.rot90(values[:, ::-1] if mirrored else values, turns)

    alpha = None if decoded.alpha is None else upright(decoded.alpha)
    return replace(blank, pixels=upright(decoded.pixels), alpha=alpha, notices=decoded.notices)


def _decode(image: Image.Image, limits: Limits) -> Decoded:
    """Pixels of the current frame as grey or RGB, by Pillow."""
    inverted = pillow_depth.inverted(image, limits.name)
    width, height = image.size
    each = _PILLOW_BYTES.get(image.mode, 4) + _DECODER_BYTES.get(image.format or "", 0)
    each += 2 if image.mode.startswith("I;16") else _KEPT_BYTES.get(image.mode, 3)
    each += image.has_transparency_data
    limits.check_memory(width * (height * each + min(height, _STRIP) * _STRIP_BYTES))
    file_format = image.format
    image.load()
    pixels, alpha = _pixels(image, limits.name, file_format)
    if inverted:
        pixels = np.iinfo(pixels.dtype).max - pixels
    return Decoded(pixels, alpha, _orientation(image))


def _orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8; what cannot be read says nothing (the pixels may be sound)."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # Pillow's parser raises nearly anything on broken EXIF
        return 1


def _pixels(
    image: Image.Image, label: str, file_format: str | None
) -> tuple[Pixels, NDArray[np.uint8] | None]:
    """[H, W, C] and the alpha unless all is opaque; converted in strips, so that memory holds."""
    mode = image.mode
    grey = mode in ("1", "L", "LA", "La") and "transparency" not in image.info
    alpha = image.has_transparency_data
    dtype: type[np.generic] = np.uint8
    form: str | None = "LA" if grey else "RGBA"  # to see the alpha
    if not alpha:
        form = "L" if grey else "RGB"
    if mode.startswith("I;16"):
        dtype, form = np.uint16, None
    elif mode == "I":
        # A grey PNM of 16 bits comes in 32; nothing else says what range its integers have.
        dtype, form = np.uint16 if file_format == "PPM" else np.float64, None
    elif mode == "F":
        dtype, form = np.float32, None
    width, height = image.size
    channels = 3 if form in ("RGB", "RGBA") else 1
    pixels = np.empty((height, width, channels), dtype)
    opacity: NDArray[np.uint8] | None = None
    unsigned = mode == "I" and pillow_depth.tiff_tag(image, TiffImagePlugin.SAMPLEFORMAT, 1) == 1
    for top in range(0, height, _STRIP):
        strip = image.crop((0, top, width, min(top + _STRIP, height)))
        if form is not None and strip.mode != form:
            try:
                strip = strip.convert(form)
            except ValueError:
                raise InputError(
                    f"{label} has the mode {mode}, which cannot be turned into RGB"
                ) from None
        values = np.asarray(strip)
        if form in ("LA", "RGBA"):
            if opacity is None and (values[..., -1] < 255).any():
                opacity = np.full((height, width), 255, np.uint8)
            if opacity is not None:
                opacity[top : top + _STRIP] = values[..., -1]
            values = values[..., :-1]
        if unsigned and isinstance(image, TiffImagePlugin.TiffImageFile):
            values = values.view(np.uint32)
        pixels[top : top + _STRIP] = values if values.ndim == 3 else values[..., None]
    return pixels, opacity
