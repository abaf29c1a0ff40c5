"""How a path, a PIL image or an array becomes a picture: its format, orientation and alpha."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from patchsim.errors import InputError, printable
from patchsim.files import atomic
from patchsim.pictures import (
    arrays,
    bmp,
    decoder_lines,
    ico,
    jpeg,
    modern,
    pcx,
    pillow_depth,
    pillow_reader,
    png,
    pnm,
    sgi,
    signatures,
    streams,
    tiff,
    tiff_directory,
    tiff_tags,
)
from patchsim.pictures.limits import Decoded, Limits
from patchsim.types import Pixels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Source = str | os.PathLike[str] | Image.Image | NDArray[Any]

Reader = Callable[[BinaryIO, Limits], Decoded]

_START = 1024  # the first bytes of a file, which tell its kind

# Pillow's own limit, against files that are small on disk and huge in memory.
DEFAULT_MAX_PIXELS: int = Image.MAX_IMAGE_PIXELS or 89_478_485

# EXIF orientation -> (whether to mirror first, quarter turns counter-clockwise)
_TURNS: dict[int, tuple[bool, int]] = {
    2: (True, 0), 3: (False, 2), 4: (True, 2), 5: (True, 1), 6: (False, 3), 7: (True, 3),
    8: (False, 1),
}  # fmt: skip


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
    shift : int
        What was added to the values so that signed integers are uint16 (`arrays.shift_of`).
    profile : bytes or None
        The ICC profile that the values belong to; empty for sRGB, None if nothing is known, as of
        an array.
    """

    name: str
    pixels: Pixels
    file: Path | None = None
    notices: tuple[str, ...] = ()
    alpha: NDArray[np.uint8] | None = None
    shift: int = 0
    profile: bytes | None = None

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


def _from_masked(source: np.ma.MaskedArray[Any, Any], name: str) -> Picture:
    """Return a masked array as a picture, transparent where it is masked."""
    picture = open_picture(source.filled(0), name=name)  # NaN often lies below a mask
    mask = np.ma.getmaskarray(source)
    hidden = mask.any(2) if mask.ndim == 3 else mask
    if not hidden.any():
        return picture
    return replace(picture, alpha=np.where(hidden, np.uint8(0), np.uint8(255)))


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

    Raises
    ------
    InputError
        If the picture cannot be read: there is no such file, it is not a picture, is damaged or
        too large, or its values would lose depth.
    """
    if isinstance(source, np.ma.MaskedArray):
        return _from_masked(source, name)
    if isinstance(source, np.ndarray):
        pixels = arrays.to_pixels(source, name)
        return Picture(name, pixels, shift=arrays.shift_of(source.dtype))
    if isinstance(source, Image.Image):
        return _from_pil(source, name, memory, total)
    other: Any = source
    if not isinstance(other, str | os.PathLike):
        return open_picture(arrays.from_object(other, name), name=name)
    label = os.fspath(source)
    if not label:
        raise InputError("the name of a picture is empty; give a path")
    if "\0" in label:
        raise InputError(f"{printable(label)} cannot be read: no name has a null character")
    # Standard input counts as a file, so that no output overwrites the file behind it.
    file = Path("/dev/stdin") if is_stdin(source) else Path(label)
    limits = Limits(printable(label), max_pixels, memory, total)
    with streams.naming_errors(label) as said, streams.open_seekable(label, memory) as stream:
        with decoder_lines.collected(said):
            decoded = _read(stream, limits)
        if not said:
            said += _fax_complaints(stream, limits)
        return _upright(decoded, label, file, decoder_lines.notices(limits.name, said))


def _from_pil(image: Image.Image, name: str, memory: int | None, total: int | None) -> Picture:
    """Read the current frame of a PIL image."""
    path = Path(getattr(image, "filename", "") or "")
    file = path if path.name != "" and atomic.exists(path) else None
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
        return _upright(pillow_reader.decode(image, limits), label, file, ())


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


def _begins(*starts: bytes) -> Callable[[bytes], bool]:
    return lambda start: start.startswith(starts)


def _read(stream: BinaryIO, limits: Limits) -> Decoded:
    """Read the first frame of a file by the reader that preserves its values."""
    start = stream.read(_START)
    stream.seek(0)
    try:
        for begins, read in _READERS:
            if begins(start):
                return read(stream, limits)
        return pillow_reader.read(stream, limits)
    except UnidentifiedImageError:
        raise InputError(f"{limits.name} {signatures.refusal(start)}") from None


def _read_pnm(stream: BinaryIO, limits: Limits) -> Decoded:
    pnm.check(stream, limits)
    return pillow_reader.read(stream, limits)


def _read_tga(stream: BinaryIO, limits: Limits) -> Decoded:
    return pillow_reader.read(stream, limits, "TGA")


def _read_exr(stream: BinaryIO, limits: Limits) -> Decoded:
    from patchsim.pictures import exr  # these three are imported where a file needs them

    return exr.read(stream, limits)


def _read_fits(stream: BinaryIO, limits: Limits) -> Decoded:
    from patchsim.pictures import fits

    return fits.read(stream, limits)


def _read_dicom(stream: BinaryIO, limits: Limits) -> Decoded:
    from patchsim.pictures import dicom

    return dicom.read(stream, limits)


def _read_tiff(stream: BinaryIO, limits: Limits) -> Decoded:
    """Read a page of a TIFF by Pillow if that keeps its values, or else by tifffile."""
    tiff_tags.check(stream, limits)
    page = tiff_directory.find_page(stream)
    if page is None:
        return tiff.read(stream, limits, "a TIFF that Pillow cannot read, or damaged")
    reason = tiff_directory.unsupported(page.tags) or _pillows_limit(page)
    if reason is not None:
        return tiff.read(stream, limits, reason)
    try:
        image, counted = pillow_reader.open_image(stream, limits)
    except UnidentifiedImageError:
        return tiff.read(stream, limits, "a TIFF that Pillow cannot read, or damaged")
    with image:
        if page.number:
            image.seek(page.number)
        limits.check_pixels(*image.size)
        reason = pillow_depth.unsupported_depth(image, None)
        if reason is not None:
            return tiff.read(stream, limits, reason)
        decoded = pillow_reader.decode(image, limits, counted)
    if page.is_alone:
        return decoded
    return replace(decoded, notices=(tiff_directory.pages_notice(limits.name, page.number),))


def _fax_complaints(stream: BinaryIO, limits: Limits) -> list[str]:
    """Return what is wrong with the rows of a fax that Pillow read: it mutes libtiff's warnings."""
    stream.seek(0)
    if not stream.read(_START).startswith(tiff_directory.MAGIC):
        return []
    page = tiff_directory.find_page(stream)
    if page is None or not tiff_directory.is_fax(page.tags):
        return []
    return tiff.fax_complaints(stream, limits, page)


# How files begin, and who reads those; Pillow reads the others. TGA has no signature and is last.
_READERS: tuple[tuple[Callable[[bytes], bool], Reader], ...] = (
    (_begins(arrays.MAGIC), arrays.read),
    (_begins(*tiff_directory.MAGIC), _read_tiff),
    (_begins(png.SIGNATURE), png.read),
    (_begins(jpeg.SIGNATURE), jpeg.read),
    (_begins(bmp.SIGNATURE), bmp.read),
    (_begins(ico.SIGNATURE), ico.read),
    (_begins(sgi.SIGNATURE), sgi.read),
    (_begins(pnm.PAM), pnm.pam),
    (_begins(*pnm.PFM), pnm.pfm),
    (pcx.is_pcx, pcx.read),
    (_begins(signatures.OPENEXR), _read_exr),
    (_begins(signatures.FITS), _read_fits),
    (signatures.is_dicom, _read_dicom),
    (_begins(*pnm.PNM), _read_pnm),
    (modern.is_avif, modern.avif),
    (modern.is_heic, modern.heic),
    (_begins(*modern.JPEG_2000), modern.jpeg2000),
    (_begins(*modern.JPEG_XL), modern.jpegxl),
    (_begins(*modern.RADIANCE), modern.radiance),
    (signatures.is_tga, _read_tga),
)


def _pillows_limit(page: tiff_directory.Page) -> str | None:
    """Return that a page has more pixels than Pillow decodes, if it has; it checks TIFFs twice."""
    most = Image.MAX_IMAGE_PIXELS
    if most is None or tiff_directory.pixel_count(page.tags) <= 2 * most:
        return None
    return f"a TIFF of more than {2 * most:,} pixels, which Pillow refuses"


def _upright(decoded: Decoded, name: str, file: Path | None, notices: tuple[str, ...]) -> Picture:
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
    )
