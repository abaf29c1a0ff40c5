"""NumPy arrays as pictures: which are taken, as what, and out of .npy files."""

from __future__ import annotations

import math
import os
from io import BytesIO
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from patchsim.errors import InputError
from patchsim.files import npy
from patchsim.metrics import INTEGER_RANGE
from patchsim.pictures.limits import Decoded, Limits
from patchsim.types import Pixels

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAGIC = npy.MAGIC


def checked(array: NDArray[Any], name: str, *, copy: bool | None = None) -> Pixels:
    """An array as pixels [H, W, C]: a copy in rows, or the array itself where it has their type.

    Raises
    ------
    InputError
        If it has another shape than [H, W] or [H, W, C], is empty, or its type cannot be kept.
    """
    _check_shape(array.shape, name)
    kept = kept_type(array.dtype, name)
    pixels: Pixels = np.array(array, kept, copy=copy, order="C" if copy else "K")
    if array.dtype.kind == "b":
        pixels *= np.uint8(255)
    return pixels[..., None] if pixels.ndim == 2 else pixels


def kept_type(dtype: np.dtype[Any], name: str) -> np.dtype[Any]:
    """The type that values of another are kept in, every one of them exactly.

    Raises
    ------
    InputError
        If there is none.
    """
    kind, size = dtype.kind, dtype.itemsize
    if dtype.name in INTEGER_RANGE:
        return np.dtype(dtype.name)  # in this machine's byte order
    if kind == "f":
        return np.dtype(np.float64 if size > 4 else np.float32)
    if kind == "b":
        return np.dtype(np.uint8)  # 0 and 255
    if kind in "iu" and size <= 4:
        return np.dtype(np.float64)  # nothing says what range they have
    raise InputError(
        f"{name} is an array of {dtype}; convert it to uint8, uint16 or floating point"
    )


def read(stream: BinaryIO, limits: Limits) -> Decoded:
    """The array of a .npy stream; nothing in it is unpickled.

    Raises
    ------
    InputError
        If it is no picture, or too large.
    ValueError
        If it is damaged.
    """
    header = npy.read_header(stream)
    _check_shape(header.shape, limits.name)
    kept = kept_type(header.dtype, limits.name)
    limits.check_pixels(header.shape[1], header.shape[0])
    limits.check_memory(math.prod(header.shape) * kept.itemsize)
    held = stream.seek(0, os.SEEK_END) - header.length
    if header.nbytes != held:
        raise ValueError(
            f"it says {list(header.shape)} of {header.dtype}, {header.nbytes:,} bytes,"
            f" but holds {held:,}"
        )
    order: Any = "F" if header.columns_first else "C"
    stored: NDArray[Any]
    if isinstance(stream, BytesIO):
        stored = np.ndarray(
            header.shape, header.dtype, stream.getbuffer(), header.length, order=order
        )
    else:
        # Mapped, so that memory holds what is kept alone, whatever type or order the file has.
        stored = np.memmap(stream, header.dtype, "r", header.length, header.shape, order)
    # A copy: a file that is mapped must not change under a search.
    return Decoded(checked(stored, limits.name, copy=True))


def _check_shape(shape: tuple[int, ...], name: str) -> None:
    if len(shape) not in (2, 3) or min(shape) < 1:
        raise InputError(f"{name} has the shape {list(shape)}; give [H, W] or [H, W, C]")
