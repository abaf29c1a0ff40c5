"""Opening pictures: formats, orientation, colour, alpha, bit depth, one range for all."""

from __future__ import annotations

import os
import stat
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from PIL import ExifTags, Image, ImageFile, ImageOps, TiffImagePlugin, UnidentifiedImageError

from patchsim import budget
from patchsim.errors import InputError
from patchsim.metrics import INTEGER_RANGE, Pixels, check_range

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Source = str | os.PathLike[str] | Image.Image | NDArray[Any]

FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "BMP", "GIF", "PPM")
_FORMATS_TEXT = "PNG, JPEG, TIFF, WebP, BMP, GIF, PNM"

# Pillow's own limit against files that are small on disk and huge in memory.
DEFAULT_MAX_PIXELS: int = Image.MAX_IMAGE_PIXELS or 89_478_485

# Pillow holds up to four bytes a pixel, twice while it turns or converts.
_PILLOW_BYTES = 8

_TIFF_BITS_PER_SAMPLE = 258

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
    """

    name: str
    pixels: Pixels
    file: Path | None = None
    notices: tuple[str, ...] = ()

    @property
    def stem(self) -> str:
        """The name that files made from the picture begin with."""
        if self.name == "-":
            return "stdin"
        return Path(self.name).stem if self.file else self.name


def open_picture(
    source: Source, *, name: str, max_pixels: int = DEFAULT_MAX_PIXELS, memory: int | None = None
) -> Picture:
    """Decode a picture.

    Parameters
    ----------
    source : path, PIL image, or array [H, W] or [H, W, C]
        Arrays are uint8, uint16 or floating point. The path ``-`` reads standard input.
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
        return Picture(name, _checked_array(source, name))
    if isinstance(source, Image.Image):
        return _decode(source, Picture(getattr(source, "filename", "") or name, _NOTHING), memory)
    if not isinstance(source, str | os.PathLike):
        raise InputError(
            f"{name} is a {type(source).__name__}; give a path, a PIL image or a NumPy array"
        )
    label = os.fspath(source)
    blank = Picture(label, _NOTHING, None if label == "-" else Path(label))
    with (
        _reading(label),
        _without_pillow_limit(),
        _stream(label) as stream,
        Image.open(stream, formats=FORMATS) as image,
    ):
        _check_size(image, label, max_pixels)
        return _decode(image, blank, memory)


_NOTHING: Pixels = np.empty((0, 0, 0), dtype=np.uint8)


@contextmanager
def _stream(label: str) -> Iterator[BinaryIO]:
    """The file's bytes, seekable; pipes are read to their end first."""
    if label == "-":
        if sys.stdin is None or sys.stdin.isatty():
            raise InputError("the picture '-' is read from standard input; pipe one in")
        yield _slurp(sys.stdin.buffer, label)
        return
    with Path(label).open("rb") as file:
        kind = os.fstat(file.fileno()).st_mode
        if stat.S_ISREG(kind):
            if os.fstat(file.fileno()).st_size == 0:
                raise InputError(f"{label} is empty (0 bytes)")
            yield file
        elif stat.S_ISFIFO(kind) or stat.S_ISSOCK(kind):
            yield _slurp(file, label)
        else:
            raise InputError(f"{label} is neither a file nor a pipe")


def _slurp(pipe: BinaryIO, label: str) -> BytesIO:
    content = BytesIO(pipe.read())
    if not content.getbuffer().nbytes:
        where = "standard input" if label == "-" else label
        raise InputError(f"{where} is empty (0 bytes)")
    return content


@contextmanager
def _reading(label: str) -> Iterator[None]:
    """Turn what opening and decoding raise into messages that name the picture."""
    where = "standard input" if label == "-" else label
    try:
        with warnings.catch_warnings():
            # Pillow warns of broken metadata; the pixels are what counts here.
            warnings.simplefilter("ignore", UserWarning)
            yield
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{where} does not exist") from None
    except IsADirectoryError:
        raise InputError(f"{where} is a folder; give a picture") from None
    except PermissionError:
        raise InputError(f"{where} may not be read (permission denied)") from None
    except UnidentifiedImageError:
        raise InputError(f"{where} is not a picture that can be read ({_FORMATS_TEXT})") from None
    except MemoryError:
        raise InputError(f"{where} does not fit into memory when decoded") from None
    except (OSError, SyntaxError, ValueError, EOFError, OverflowError, ArithmeticError) as error:
        # What Pillow's decoders raise on damaged files.
        raise InputError(f"{where} is damaged or cut short: {error}") from error


@contextmanager
def _without_pillow_limit() -> Iterator[None]:
    """Suspend Pillow's global pixel limit; `_check_size` has the caller's own."""
    with _limit_lock:
        before = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


def _check_size(image: Image.Image, label: str, max_pixels: int) -> None:
    width, height = image.size
    if width * height > max_pixels:
        raise InputError(
            f"{label} has {width}x{height} = {width * height:,} pixels, more than {max_pixels:,};"
            f"\nif you trust it, allow them with --max-pixels {width * height} (max_pixels=)"
        )


def _decode(image: Image.Image, blank: Picture, memory: int | None) -> Picture:
    """Pixels of the first frame, upright, as grey or RGB."""
    label = blank.name
    _refuse_lost_depth(image, label)
    width, height = image.size
    needed = width * height * (_PILLOW_BYTES + 3)
    if memory is not None and needed > memory:
        raise InputError(
            f"{label} takes {budget.text(needed)} to decode, but memory is"
            f" {budget.text(memory)}; allow more with --memory"
        )
    notices = []
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        notices.append(f"{label} has {frames} frames; the first is used")
    file_format = image.format
    if image.getexif().get(ExifTags.Base.Orientation, 1) != 1:
        image = ImageOps.exif_transpose(image)
    pixels, transparent = _pixels(image, label, file_format)
    if transparent:
        notices.append(f"{label} has transparent pixels; alpha is ignored")
    return replace(blank, pixels=pixels, notices=tuple(notices))


def _pixels(image: Image.Image, label: str, file_format: str | None) -> tuple[Pixels, bool]:
    """[H, W, C] and whether a pixel is not opaque."""
    mode = image.mode
    if mode.startswith("I;16"):
        return np.asarray(image).astype(np.uint16)[..., None], False
    if mode == "I":
        values = np.asarray(image)
        # A grey PNM of 16 bits comes in 32; nothing else says what range its integers have.
        kept = np.uint16 if file_format == "PPM" else np.float64
        return values.astype(kept)[..., None], False
    if mode == "F":
        return np.asarray(image, dtype=np.float32)[..., None], False
    alpha = image.has_transparency_data
    grey = mode in ("1", "L", "LA", "La")
    try:
        if alpha:
            full = image.convert("LA" if grey and "transparency" not in image.info else "RGBA")
            transparent = any(full.getchannel("A").histogram()[:255])
            image = full
        else:
            transparent = False
        plain = image if image.mode in ("L", "RGB") else image.convert("L" if grey else "RGB")
    except ValueError:
        raise InputError(f"{label} has the mode {mode}, which cannot be turned into RGB") from None
    values = np.asarray(plain)
    return (values[..., None] if values.ndim == 2 else values), transparent


def _refuse_lost_depth(image: Image.Image, label: str) -> None:
    """Pillow opens 16-bit colour as 8-bit colour without a word; say so and stop."""
    bits = 8
    if image.mode.startswith(("I", "F")):
        return
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        samples: Any = image.tag_v2.get(_TIFF_BITS_PER_SAMPLE, 8)
        bits = int(np.max(samples))
    elif isinstance(image, ImageFile.ImageFile) and image.format in ("PNG", "PPM") and image.tile:
        arguments: Any = image.tile[0].args
        raw, *rest = (arguments,) if isinstance(arguments, str) else arguments
        deep = str(raw).endswith(";16B") or any(isinstance(n, int) and n > 255 for n in rest)
        bits = 16 if deep else 8
    if bits > 8:
        raise InputError(
            f"{label} is {image.mode} with {bits} bits a channel, of which only 8 can be read;"
            "\nconvert it to 8-bit colour or 16-bit grey, or pass a NumPy array from Python"
        )


def _checked_array(array: NDArray[Any], name: str) -> Pixels:
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise InputError(f"{name} has the shape {list(array.shape)}; give [H, W] or [H, W, C]")
    if array.dtype.kind == "f":
        pixels = array.astype(np.float64 if array.dtype.itemsize > 4 else np.float32)
    elif array.dtype.name in INTEGER_RANGE:
        pixels = array.astype(array.dtype.name, copy=False)
    else:
        raise InputError(
            f"{name} is an array of {array.dtype}; convert it to uint8, uint16 or floating point"
        )
    return pixels[..., None] if pixels.ndim == 2 else pixels


def unify(
    pictures: Sequence[Picture], data_range: tuple[float, float] | None
) -> tuple[list[Pixels], float]:
    """Bring pictures to one number of channels, one type and one range.

    Grey stays grey among grey, otherwise grey becomes RGB. 8 bits beside 16 bits are widened
    (255 -> 65535), integers beside floats are divided by their range. With a data range all values
    are taken as they are.

    Parameters
    ----------
    pictures : sequence of Picture
    data_range : (low, high), optional

    Returns
    -------
    pixels : list of arrays [H, W, C]
        Of one dtype.
    span : float
        The data range R.

    Raises
    ------
    InputError
        If values lie outside the range, are not finite, or the channels do not fit.
    """
    span = check_range(data_range) if data_range else 0.0
    for picture in pictures:
        _check_values(picture, data_range)
    channels = {picture.pixels.shape[2] for picture in pictures}
    if len(channels - {1}) > 1 or (1 in channels and not channels <= {1, 3}):
        found = ", ".join(f"{p.name} has {p.pixels.shape[2]}" for p in pictures[:4])
        raise InputError(f"the pictures differ in channels: {found}; give all the same number")
    dtype = np.result_type(*(picture.pixels.dtype for picture in pictures))
    if data_range is None and dtype.kind == "f":
        # 8- and 16-bit values have a place in float32; only a float64 picture needs more.
        wide = any(picture.pixels.dtype == np.float64 for picture in pictures)
        dtype = np.dtype(np.float64 if wide else np.float32)
    unified = [_as(p.pixels, dtype, max(channels), scale=not data_range) for p in pictures]
    return unified, span or INTEGER_RANGE.get(dtype.name, 1)


def _check_values(picture: Picture, data_range: tuple[float, float] | None) -> None:
    values = picture.pixels
    if data_range is None and values.dtype.kind == "u":
        return
    low, high = data_range or (0.0, 1.0)
    least, most = float(values.min()), float(values.max())  # NaN wins both
    if not (np.isfinite(least) and np.isfinite(most)):
        bad = np.argwhere(~np.isfinite(values))[0]
        raise InputError(
            f"{picture.name} has a value {values[tuple(bad)]} at x={bad[1]}, y={bad[0]};"
            " similarity needs finite values (with --data-range LO:HI for their range)"
        )
    if least < low or most > high:
        raise InputError(
            f"{picture.name} has values from {least:g} to {most:g}, outside {low:g} to {high:g};"
            "\nname the range of both pictures with --data-range LO:HI (data_range=)"
        )


def _as(pixels: Pixels, dtype: np.dtype[Any], channels: int, *, scale: bool) -> Pixels:
    name = pixels.dtype.name
    converted: Pixels
    if scale and name != dtype.name and name in INTEGER_RANGE:
        if dtype.kind == "f":
            converted = pixels.astype(dtype) / dtype.type(INTEGER_RANGE[name])
        else:
            converted = pixels.astype(dtype) * dtype.type(
                INTEGER_RANGE[dtype.name] // INTEGER_RANGE[name]
            )
    else:
        converted = pixels.astype(dtype, copy=False)
    if converted.shape[2] == channels:
        return converted
    return np.repeat(converted, channels, axis=2)
