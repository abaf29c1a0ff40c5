"""How a path, a PIL image or an array becomes a picture: its format, orientation and alpha."""

from __future__ import annotations

import os
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np
from PIL import Image

from patchsim.errors import InputError, printable
from patchsim.files import atomic
from patchsim.pictures import (
    arrays,
    decoder_lines,
    formats,
    pillow_depth,
    pillow_reader,
    streams,
)
from patchsim.pictures.limits import Decoded, Limits, MemoryNeed, Unapplied
from patchsim.pictures.streams import Told
from patchsim.types import Pixels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Source = str | os.PathLike[str] | Image.Image | NDArray[Any]

# Pillow's own limit, against files that are small on disk and huge in memory.
DEFAULT_MAX_PIXELS: int = Image.MAX_IMAGE_PIXELS or 89_478_485

# EXIF orientation -> (whether to mirror first, quarter turns counter-clockwise)
_TURNS: dict[int, tuple[bool, int]] = {
    2: (True, 0), 3: (False, 2), 4: (True, 2), 5: (True, 1), 6: (False, 3), 7: (True, 3),
    8: (False, 1),
}  # fmt: skip


class Picture(NamedTuple):
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
    shift : int
        What was added to the values so that signed integers are uint16 (`arrays.shift_of`).
    profile : bytes or None
        The ICC profile that the values belong to; empty for sRGB, None if nothing is known, as of
        an array.
    unapplied : Unapplied or None
        A profile of the file that is not applied to the values.
    is_half : bool
        The values were float16, which rounds the ends of a data range (`arrays.is_half`).
    """

    name: str
    pixels: Pixels
    file: Path | None = None
    notices: tuple[str, ...] = ()
    alpha: NDArray[np.uint8] | None = None
    shift: int = 0
    profile: bytes | None = None
    unapplied: Unapplied | None = None
    is_half: bool = False

    @property
    def stem(self) -> str:
        """The beginning of the names of files that are made from the picture."""
        if self.name == "-":
            return "stdin"
        return Path(self.name).stem if self.file else self.name

    @property
    def stored(self) -> str:
        """How the values were stored, as fingerprints tell it beside their type."""
        return f"{self.shift}{' float16' * self.is_half}"

    @property
    def nbytes(self) -> int:
        """Bytes of the pixels and of their opacity."""
        return self.pixels.nbytes + (0 if self.alpha is None else self.alpha.nbytes)


def _from_masked(source: np.ma.MaskedArray[Any, Any], name: str, *, alpha: bool) -> Picture:
    """Return a masked array as a picture, transparent where it is masked."""
    picture = open_picture(source.filled(0), name=name, alpha=alpha)  # NaN often lies below a mask
    mask = np.ma.getmaskarray(source)
    hidden = mask.any(2) if mask.ndim == 3 else mask
    if not hidden.any():
        return picture
    opacity = np.uint8(255) if picture.alpha is None else picture.alpha
    return picture._replace(alpha=np.where(hidden, np.uint8(0), opacity))


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
    alpha: bool = True,
) -> Picture:
    """Decode a picture.

    Parameters
    ----------
    source : path, PIL image, or array [H, W] or [H, W, C]
        An array of numbers, or an object with ``__array__`` or ``__dlpack__``; what a masked array
        of NumPy masks, in any channel, is transparent; a PIL image, whose
        current frame is read; or the path of a file, whose first frame is read. The path ``-``
        stands for standard input.
    name : str
        The picture's name if it is not a file.
    max_pixels : int
        The largest number of pixels to decode.
    memory : int, optional
        Bytes that decoding may take.
    total : int, optional
        Bytes of which these are left, for messages.
    alpha : bool
        Whether the fourth channel of an array of uint8 is alpha.

    Raises
    ------
    InputError
        If the picture cannot be read: there is no such file, it is not a picture, is damaged or
        too large, or its values would lose depth.
    """
    # NumPy imports masked arrays when they are asked for, which takes long.
    if "numpy.ma" in sys.modules and isinstance(source, np.ma.MaskedArray):
        return _from_masked(source, name, alpha=alpha)
    if isinstance(source, np.ndarray):
        return _from_array(source, name, alpha=alpha)
    if isinstance(source, Image.Image):
        return _from_pil(source, name, memory, total)
    other: Any = source
    if not isinstance(other, str | os.PathLike):
        return open_picture(arrays.from_object(other, name), name=name, alpha=alpha)
    label, file = checked_path(other)
    limits = Limits(printable(label), max_pixels, memory, total)
    with streams.naming_errors(label) as told, streams.open_seekable(label, memory) as stream:
        limits = limits._replace(file_bytes=stream.seek(0, os.SEEK_END))
        return from_stream(stream, limits, told, label, file, alpha=alpha)


def needed_bytes(source: Source, max_pixels: int) -> int:
    """Return the bytes that decoding a file takes at its peak; 0 if it cannot be told.

    Parameters
    ----------
    source : path, PIL image or array
    max_pixels : int
        The largest number of pixels to decode.
    """
    if not isinstance(source, str | os.PathLike):
        return 0
    label = os.fspath(source)
    limits = Limits(printable(label), max_pixels, None, measures=True)
    try:
        if not Path(label).is_file():  # a pipe can be read once
            return 0
        with streams.naming_errors(label) as told, streams.open_seekable(label, None) as stream:
            limits = limits._replace(file_bytes=stream.seek(0, os.SEEK_END))
            from_stream(stream, limits, told, label, Path(label), alpha=True)
    except MemoryNeed as error:
        return error.needed
    except (InputError, OSError):
        pass
    return 0


def checked_path(source: str | os.PathLike[str]) -> tuple[str, Path]:
    """Return the path of a picture as it is named, and its file.

    Raises
    ------
    InputError
        If no file has such a name.
    """
    label = os.fspath(source)
    if not label:
        raise InputError("the name of a picture is empty; give a path")
    if "\0" in label:
        raise InputError(
            f"{printable(label)} cannot be read: no name has a null character; check it"
        )
    # Standard input counts as a file, so that no output overwrites the file behind it.
    return label, Path("/dev/stdin") if is_stdin(source) else Path(label)


def from_stream(
    stream: BinaryIO, limits: Limits, told: Told, label: str, file: Path, *, alpha: bool
) -> Picture:
    """Decode the first picture of a file that is open; `told` gets what is known of it."""
    reader = formats.find(stream)
    told.kind = reader.name
    with nullcontext() if reader.is_quiet else decoder_lines.collected(told.lines):
        decoded = reader.read(stream, limits)
    if not told.lines:
        told.lines += formats.complaints(stream, limits, decoded)
    if alpha and decoded.array_type is not None:
        from patchsim.pictures import fourth_channel  # as below, for arrays

        decoded = fourth_channel.split(decoded)
    return upright(decoded, label, file, decoder_lines.notices(limits.name, told.lines))


def of_array(array: NDArray[Any], name: str) -> Picture:
    """Return an array [H, W] or [H, W, C] as a picture, with all of its channels and no notice.

    Raises
    ------
    InputError
        As `arrays.to_pixels`.
    """
    dtype, pixels = array.dtype, arrays.to_pixels(array, name)
    return Picture(name, pixels, shift=arrays.shift_of(dtype), is_half=arrays.is_half(dtype))


def _from_array(source: NDArray[Any], name: str, *, alpha: bool) -> Picture:
    picture, notice = of_array(source, name), arrays.layout_notice(source.shape, name)
    notices = () if notice is None else (notice,)
    array = Decoded(picture.pixels, notices=notices, shift=picture.shift, array_type=source.dtype)
    if alpha:
        from patchsim.pictures import fourth_channel

        array = fourth_channel.split(array)
    return picture._replace(pixels=array.pixels, notices=array.notices, alpha=array.alpha)


def _from_pil(image: Image.Image, name: str, memory: int | None, total: int | None) -> Picture:
    """Read the current frame of a PIL image."""
    path = Path(getattr(image, "filename", "") or "")
    file = path if path.name != "" and atomic.is_there(path) else None
    label = str(file) if file else name
    limits = Limits(printable(label), image.width * image.height, memory, total)
    if _is_closed(image):
        raise InputError(
            f"{limits.name} is a PIL image that is closed; keep it open during the search, or give"
            " the path"
        )
    with streams.naming_errors(label):
        reason = pillow_depth.unsupported_depth(image, file)
        if reason:
            raise InputError(
                f"{limits.name} is {reason}: a PIL image has other values than the file;"
                "\ngive the path, or a NumPy array"
            )
        return upright(pillow_reader.decode(image, limits), label, file, ())


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


def upright(decoded: Decoded, name: str, file: Path | None, notices: tuple[str, ...]) -> Picture:
    """Return the decoded picture turned upright, with more notices."""
    is_mirrored, turns = _TURNS.get(decoded.orientation, (False, 0))

    def turned(values: NDArray[Any]) -> NDArray[Any]:
        return np.rot90(values[:, ::-1] if is_mirrored else values, turns)

    alpha = None if decoded.alpha is None else turned(decoded.alpha)
    return Picture(
        name,
        turned(decoded.pixels),
        file,
        decoded.notices + notices,
        alpha,
        decoded.shift,
        decoded.profile,
        decoded.unapplied,
        is_half=decoded.is_half,
    )
