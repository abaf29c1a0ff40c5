"""How OpenEXR pictures are read, by the package OpenEXR of its authors: floats as they are."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from patchsim.errors import DamageError, InputError
from patchsim.machine.quiet import without_warnings
from patchsim.pictures import arrays, codecs
from patchsim.pictures.limits import DEFLATE, Decoded, Limits, to_8_bit_alpha

PACKAGE = "OpenEXR"  # the extra `exr`

_COLORS = (("R", "G", "B"), ("Y",))
_ALPHA = "A"
_CHROMA = ("RY", "BY")
# Peak bytes a value: as decoded, in one array, and as pixels; buffers of a few blocks of rows.
_VALUE_BYTES = 4 + 4 + 4
_BLOCK_ROWS = 1024
_ALPHA_BYTES = 17  # a pixel
_DEFLATED = ("RLE", "ZIP", "ZIPS", "PXR24")  # compressions, or with a smaller ratio
_LEAST_VALUE = 2  # bytes of a value
_ENTRY, _MOST_ROWS = 8, 256  # bytes in the list of blocks, and rows of a block
_MOST_CHANNELS = 1024

_lock = threading.Lock()


def read(stream: BinaryIO, limits: Limits) -> Decoded:
    """Read the first part of an OpenEXR: RGB or Y, with A as alpha, or else all its channels.

    Other channels are in the order of their names. Colours, which are multiplied by their alpha,
    are divided by it.

    Raises
    ------
    InputError
        If the picture is too large or of an unsupported kind, or the package is not installed.
    Exception
        If the file is damaged.
    """
    try:
        import OpenEXR
    except ModuleNotFoundError:
        raise InputError(
            f"{limits.name} is an OpenEXR picture; the package that reads it is not installed:\n"
            f"pip install {PACKAGE}, or save it as a TIFF of floats"
        ) from None
    limits.check_memory(stream.seek(0, os.SEEK_END), is_all=False)
    stream.seek(0)
    with without_warnings():  # about colour metadata
        header = OpenEXR.File(stream, True, True, 1)
        notices = _check(header.parts, limits)
        stream.seek(0)
        with _muted():
            parts = OpenEXR.File(stream, True, False, 1).parts
    if not parts:
        raise DamageError("its pixels cannot be decoded")
    channels = parts[0].channels
    points = parts[0].header.get("chromaticities", ())
    planes = {name: channel.pixels for name, channel in channels.items()}
    decoded = _decoded(planes, limits, notices)
    return decoded._replace(unapplied=codecs.of_primaries([float(value) for value in points]))


@contextmanager
def _muted() -> Iterator[None]:
    """Drop what this thread prints: of damaged pixels the package tells on `sys.stdout`."""
    with _lock:
        stdout = sys.stdout
        sys.stdout = _Others(stdout)
        try:
            yield
        finally:
            sys.stdout = stdout


class _Others:
    """A standard output for the other threads than the one that made it."""

    def __init__(self, stdout: Any) -> None:
        self._stdout, self._thread = stdout, threading.get_ident()

    def write(self, text: str) -> int:
        is_other = threading.get_ident() != self._thread and self._stdout is not None
        return int(self._stdout.write(text)) if is_other else len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stdout, name)


def _check(parts: list[Any], limits: Limits) -> tuple[str, ...]:
    """Check the header of the first part, and that memory suffices for all; return notices."""
    needed = 0
    for number, part in enumerate(parts):
        width, height, channels = _layout(part)
        if number == 0:
            limits.check_held(width, height, _least_bytes(part, width, height))
            limits.check_pixels(width, height)
            _check_kind(part, channels, limits.name)
        # The package decodes every part.
        block = width * min(height, _BLOCK_ROWS)
        needed += len(channels) * (width * height + block) * _VALUE_BYTES
    width, height, channels = _layout(parts[0])
    needed += width * height * _ALPHA_BYTES * (_ALPHA in channels)
    limits.check_memory(needed)
    (left, top), (right, bottom) = (corner.tolist() for corner in parts[0].header["dataWindow"])
    display = [corner.tolist() for corner in parts[0].header["displayWindow"]]
    notices: tuple[str, ...] = ()
    if len(parts) > 1:
        notices += (f"{limits.name} has {len(parts)} parts; the first is used",)
    if [[left, top], [right, bottom]] != display:
        x, y = left - display[0][0], top - display[0][1]
        notices += (
            f"{limits.name} has pixels in {width}x{height} of its display window, from x={x}, y={y}"
            " on; positions count from there",
        )
    return notices


def _layout(part: Any) -> tuple[int, int, list[str]]:
    """Return width, height and the names of the channels of a part."""
    (left, top), (right, bottom) = (corner.tolist() for corner in part.header["dataWindow"])
    names = [channel.name for channel in part.header["channels"]]
    return max(0, right - left + 1), max(0, bottom - top + 1), names


def _least_bytes(part: Any, width: int, height: int) -> int:
    """Return how many bytes a file with the pixels of a part has at least."""
    kind = str(part.header.get("compression")).rpartition(".")[2].partition("_")[0]
    ratio = {"NO": 1, **dict.fromkeys(("RLE", "ZIP", "ZIPS", "PXR24"), DEFLATE)}.get(kind)
    listed = _ENTRY * (height // _MOST_ROWS)
    if ratio is None:
        return listed
    return max(listed, _LEAST_VALUE * len(part.header["channels"]) * width * height // ratio)


def _check_kind(part: Any, channels: list[str], name: str) -> None:
    if "deep" in str(part.header.get("type", "")):
        raise InputError(f"{name} is a deep OpenEXR; flatten it, for example with a compositor")
    if set(channels) & set(_CHROMA):
        raise InputError(f"{name} is an OpenEXR of luminance and chroma; convert it to RGB")
    if any((one.xSampling, one.ySampling) != (1, 1) for one in part.header["channels"]):
        raise InputError(f"{name} is an OpenEXR with channels of fewer pixels; convert it to RGB")
    if not channels or len(channels) > _MOST_CHANNELS:
        raise InputError(
            f"{name} is an OpenEXR of {len(channels)} channels; give one of 1 to {_MOST_CHANNELS}"
        )


def _decoded(
    channels: dict[str, NDArray[Any]], limits: Limits, notices: tuple[str, ...]
) -> Decoded:
    names = sorted(channels)
    colors = next((known for known in _COLORS if set(known) <= set(names)), None)
    chosen = colors or [name for name in names if name != _ALPHA or len(names) == 1]
    others = [name for name in names if name not in chosen and name != _ALPHA]
    if others:
        ignored = ", ".join(others[:5]) + (", ..." if len(others) > 5 else "")
        notices += (f"{limits.name} has more channels ({ignored}); {', '.join(chosen)} are used",)
    values = np.stack([channels[name] for name in chosen], 2)
    alpha = None
    if _ALPHA in names and _ALPHA not in chosen:
        opacity = channels[_ALPHA].astype(np.float32)
        alpha = to_8_bit_alpha(np.nan_to_num(opacity, nan=0.0), 1)
        if alpha is not None:
            values = _unassociated(values.astype(np.float32), opacity)
    return Decoded(
        arrays.to_pixels(values, limits.name),
        alpha,
        notices=notices,
        profile=None,
        is_half=arrays.is_half(values.dtype),
    )


def _unassociated(values: NDArray[Any], opacity: NDArray[Any]) -> NDArray[Any]:
    """Divide colours by their opacity in place; those of transparent pixels stay."""
    np.divide(values, opacity[..., None], out=values, where=opacity[..., None] > 0)
    return values
