"""Pictures that are not read whole: which files have a reader by windows, and what it gives."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from patchsim.errors import printable
from patchsim.pictures import (
    arrays,
    fourth_channel,
    path_kinds,
    png,
    reader,
    signatures,
    streams,
    tiff_directory,
    windowed,
)
from patchsim.pictures.reader import Picture
from patchsim.pictures.source import no_part
from patchsim.pictures.windowed import Windowed

if TYPE_CHECKING:
    from patchsim.pictures.reader import Source

_START = 16  # the first bytes of a file, which tell its kind


def open_by_windows(
    source: Source,
    *,
    memory: int,
    alpha: bool,
    ignore_alpha: bool,
    frame: int | None = None,
    level: int = 0,
) -> Picture | None:
    """Open a picture that is too large to be decoded whole, if it is a file of a suitable kind.

    Parameters
    ----------
    source : path, PIL image or array
    memory : int
        Bytes of which a part may be kept from window to window.
    alpha : bool
        Whether the fourth channel of an array of uint8 is alpha.
    ignore_alpha : bool
        Transparent pixels count like the others.
    frame : int, optional
        The page of a TIFF; other files have their first frame alone.
    level : int
        The level of a pyramidal TIFF, OME-Zarr or slide; 0 is the largest. Other files have one.

    Returns
    -------
    Picture or None
        Its pixels are a `Windowed`; None if nothing reads such a picture by windows.

    Raises
    ------
    InputError
        If the file is damaged, or what is asked for cannot be done by windows.
    """
    if not isinstance(source, str | os.PathLike) or reader.is_stdin(source):
        return None
    label = os.fspath(source)
    if path_kinds.is_zarr(label):
        from patchsim.pictures import zarr_source  # where a picture needs it

        return zarr_source.open_windowed(
            label, memory=memory, alpha=alpha, ignore_alpha=ignore_alpha, level=level
        )
    if path_kinds.is_slide(label):
        from patchsim.pictures import slide_source

        return slide_source.open_windowed(
            label, memory=memory, ignore_alpha=ignore_alpha, level=level
        )
    if not Path(label).is_file():  # a pipe cannot go back
        return None
    with streams.naming_errors(label), Path(label).open("rb") as stream:
        start = stream.read(_START)
        stream.seek(0)
        if start.startswith(arrays.MAGIC):
            return _npy(stream, label, alpha=alpha, ignore_alpha=ignore_alpha)
        if start.startswith(tiff_directory.MAGIC):
            from patchsim.pictures import tiff_source  # where a picture needs it

            return tiff_source.open_tiff(
                stream,
                label,
                memory=memory,
                ignore_alpha=ignore_alpha,
                frame=frame,
                level=level,
            )
        # The rows of a PNG are those of its first frame.
        if start.startswith((png.SIGNATURE, signatures.JPEG)) and not frame:
            from patchsim.pictures import spool

            return spool.open_rows(stream, label, memory=memory, ignore_alpha=ignore_alpha)
    return None


def open_level(
    source: Source,
    level: int,
    *,
    max_pixels: int,
    memory: int,
    alpha: bool,
    ignore_alpha: bool,
) -> Picture:
    """Open a smaller level of a picture: by windows, or in memory if it is not too large.

    Parameters
    ----------
    level : int
        From 1.
    max_pixels : int
        The largest picture that is read whole.
    source, memory, alpha, ignore_alpha
        As of `open_by_windows`.

    Raises
    ------
    InputError
        If there is no such level, or as of `open_by_windows`.
    """
    opened = None
    if _has_levels(source):
        opened = open_by_windows(
            source, memory=memory, alpha=alpha, ignore_alpha=ignore_alpha, level=level
        )
    if opened is None:
        name = os.fspath(source) if isinstance(source, str | os.PathLike) else "image"
        raise no_part(printable(name), "level", 1, level)
    pixels = windowed.of(opened.pixels)
    assert pixels is not None
    height, width, channels = pixels.shape
    needed = height * width * (channels * pixels.itemsize + pixels.pixel_bytes)
    if height * width > max_pixels or needed > memory:
        return opened
    opacity = opened.alpha
    return opened._replace(pixels=pixels[:, :], alpha=None if opacity is None else opacity[:])


def _has_levels(source: Source) -> bool:
    """Return whether a picture is of a kind that may have levels."""
    if not isinstance(source, str | os.PathLike) or reader.is_stdin(source):
        return False
    if path_kinds.is_zarr(source) or path_kinds.is_slide(source):
        return True
    with streams.naming_errors(os.fspath(source)), Path(source).open("rb") as stream:
        return stream.read(_START).startswith(tiff_directory.MAGIC)


def missing(source: Source) -> str | None:
    """Return what would let a picture that is too large be read by windows, if anything would."""
    start = _start(source)
    if start is None:
        return None
    if not start.startswith((png.SIGNATURE, signatures.JPEG)):
        return "save it as a tiled TIFF to have it read by windows"
    from patchsim.pictures import spool

    return None if spool.is_available() else f"pip install {spool.PACKAGES} to read it by windows"


def is_windowed(source: Source) -> bool:
    """Return whether a picture is of a kind that is read by windows, unless its layout forbids it.

    Raises
    ------
    InputError
        If it cannot be looked at.
    """
    if not isinstance(source, str | os.PathLike) or reader.is_stdin(source):
        return False
    if path_kinds.is_zarr(source) or path_kinds.is_slide(source):
        return True
    start = _start(source) or b""
    if start.startswith((png.SIGNATURE, signatures.JPEG)):
        from patchsim.pictures import spool

        return spool.is_available()
    return start.startswith((arrays.MAGIC, *tiff_directory.MAGIC))


def _start(source: Source) -> bytes | None:
    """Return the first bytes of a file; None if there is none."""
    if not isinstance(source, str | os.PathLike) or not Path(source).is_file():
        return None
    with streams.naming_errors(os.fspath(source)), Path(source).open("rb") as stream:
        return stream.read(_START)


def _npy(stream: BinaryIO, label: str, *, alpha: bool, ignore_alpha: bool) -> Picture:
    from patchsim.pictures.npy_source import NpySource

    source = NpySource.open(stream, label)
    pixels, notices, opacity = Windowed.from_source(source), [], None
    layout = arrays.layout_notice(source.shape, printable(label))
    if layout is not None:
        notices.append(layout)
    if alpha:
        pixels, opacity, texts = fourth_channel.split_windowed(
            pixels, source.stored, ignore_alpha=ignore_alpha
        )
        notices += texts
    return Picture(
        label,
        pixels.as_pixels(),
        Path(label),
        tuple(notices),
        opacity,
        shift=arrays.shift_of(source.stored),
        is_half=arrays.is_half(source.stored),
    )
