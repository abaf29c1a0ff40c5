"""Which NumPy arrays are pictures, in which type their values are kept, and how .npy is read."""

from __future__ import annotations

import math
import os
from io import BytesIO
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from patchsim.errors import DamageError, InputError, printable
from patchsim.files import npy
from patchsim.pictures.limits import Decoded, Limits
from patchsim.types import Pixels

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAGIC = npy.MAGIC
SHIFT = 1 << 15
_MANY = 8  # channels, and columns, that together are taken for the sides of a picture


def depth_notice(name: str, bits: int) -> str:
    """Return the notice for values of less bits than their type has, such as 12 of 16."""
    return (
        f"{name} has values of {bits} bits; --data-range 0:{(1 << bits) - 1} compares them with"
        " others of such a range, --metric zncc with any"
    )


def to_pixels(array: NDArray[Any], name: str, *, copy: bool | None = None) -> Pixels:
    """Return an array as pixels [H, W, C], signed integers of up to 16 bits plus `shift_of`.

    Parameters
    ----------
    array : array [H, W] or [H, W, C]
    name : str
        The array's name in messages.
    copy : bool, optional
        True: always copy, in C order. By default copy only if the type must change, or if the
        values are not aligned.

    Raises
    ------
    InputError
        If the array has another shape, is empty, or no pixel type holds its values.
    """
    dtype = pixel_type(array.dtype, name)
    _check_shape(array.shape, name)
    if array.dtype.isnative and array.dtype.byteorder not in "=|":
        # "<u2" equals "u2" here, but the C extensions do not take buffers that name the order.
        array = array.view(array.dtype.newbyteorder("="))
    if shift_of(array.dtype):
        # The upper bit of two's complement inverted is the value plus 32768.
        pixels: Pixels = np.array(array, np.int16, order="C").view(np.uint16)
        pixels ^= np.uint16(SHIFT)
        return _with_channels(pixels)
    # The C extensions and torch take no values that lie across the bounds of words, and where an
    # array has no gaps they rely on its strides; NumPy allows any along an axis of length 1.
    copy = copy or not array.flags.aligned or _has_unusual_strides(array) or None
    pixels = np.array(array, dtype, copy=copy, order="C" if copy else "K")
    if array.dtype.kind == "b":
        pixels *= np.uint8(255)
    return _with_channels(pixels)


def _with_channels(pixels: Pixels) -> Pixels:
    """Return pixels as [H, W, C]."""
    # An index of None would set the stride of the channels to 0, and the C extensions would take
    # the values of a row for values with gaps between them.
    return pixels.reshape(*pixels.shape[:2], -1)


def layout_notice(shape: tuple[int, ...], name: str) -> str | None:
    """Return a notice if an array looks like planes of colours [C, H, W], else None.

    A picture of so few rows and so many channels is rare.
    """
    if len(shape) != 3 or shape[0] not in (1, 3, 4) or min(shape[1:]) < _MANY:
        return None
    return (
        f"{name} has the shape {list(shape)}, taken as [H, W, C] with {shape[2]} channels;"
        " if it is [C, H, W],\ngive array.transpose(1, 2, 0)"
    )


def _has_unusual_strides(array: NDArray[Any]) -> bool:
    if 1 not in array.shape or not array.flags.c_contiguous:
        return False
    plain = array.itemsize
    for length, stride in zip(array.shape[::-1], array.strides[::-1], strict=True):
        if stride != plain:
            return True
        plain *= length
    return False


def shift_of(dtype: np.dtype[Any]) -> int:
    """Return what `to_pixels` adds to the values of a type: 32768 to int8 and int16, else 0."""
    return SHIFT if dtype.kind == "i" and dtype.itemsize <= 2 else 0


def is_half(dtype: np.dtype[Any]) -> bool:
    """Return whether a type is float16, whose values become float32."""
    return dtype.kind == "f" and dtype.itemsize == 2


def pixel_type(dtype: np.dtype[Any], name: str) -> np.dtype[Any]:
    """Return the pixel type that holds every value of a type exactly, plus `shift_of`.

    Raises
    ------
    InputError
        If there is no such pixel type.
    """
    kind, size = dtype.kind, dtype.itemsize
    if shift_of(dtype):
        return np.dtype(np.uint16)
    if kind == "u" and size <= 2:
        return np.dtype(np.uint8 if size == 1 else np.uint16)  # in this machine's byte order
    if kind == "f":
        return np.dtype(np.float64 if size > 4 else np.float32)
    if kind == "b":
        return np.dtype(np.uint8)  # 0 and 255
    if kind in "iu" and size <= 4:
        return np.dtype(np.float64)  # an integer type without a default range
    # Rows of different lengths, for example, are objects.
    values = "Python objects" if kind == "O" else printable(dtype)
    raise InputError(
        f"{name} is an array of {values}; convert it to uint8, uint16 or floating point"
    )


def from_object(source: Any, name: str) -> NDArray[Any]:
    """Return the array in an object of another library: a tensor in memory, for example.

    Raises
    ------
    InputError
        If it holds no array, or one that NumPy cannot take.
    """
    if not (hasattr(source, "__array__") or hasattr(source, "__dlpack__")):
        raise InputError(
            f"{name} is a {type(source).__name__}; give a path, a PIL image or a NumPy array"
        )
    if hasattr(source, "__cuda_array_interface__") and hasattr(source, "get"):
        source = source.get()  # CuPy copies to the host by this alone
    try:
        if hasattr(source, "detach"):
            source = source.detach()  # a tensor of PyTorch that requires gradients
        if hasattr(source, "__array__"):
            return np.asarray(source)
        array: NDArray[Any] = np.from_dlpack(source)
    except MemoryError:
        raise
    except Exception as error:  # each library has its own exceptions
        what = f"{type(source).__module__}.{type(source).__name__}"
        raise InputError(
            f"{name} is a {what} that NumPy cannot take; bring it to the CPU, as a type that NumPy"
            " has (.cpu().float(), for example)"
        ) from error
    return array


def read(stream: BinaryIO, limits: Limits) -> Decoded:
    """Read a picture from a .npy stream; nothing in it is unpickled.

    Raises
    ------
    InputError
        If the array is no picture, or too large.
    DamageError
        If the stream is damaged.
    """
    header, dtype = read_header(stream, limits.name)
    height, width = header.shape[:2]
    limits.check_held(width, height, header.length + header.nbytes)
    limits.check_pixels(width, height)
    is_kept = header.dtype == dtype and header.dtype.isnative and not header.columns_first
    pixel_bytes = math.prod(header.shape) * dtype.itemsize
    limits.check_memory(pixel_bytes if is_kept else pixel_bytes + header.nbytes)
    check_complete(header, stream)
    order: Any = "F" if header.columns_first else "C"
    stored: NDArray[Any]
    if isinstance(stream, BytesIO):
        stored = np.ndarray(
            header.shape, header.dtype, stream.getbuffer(), header.length, order=order
        )
    else:
        # Read, not mapped: where a mapped file becomes shorter, the system ends the process.
        stored = np.empty(header.shape, header.dtype, order)
        stream.seek(header.length)
        content = stored.reshape(-1, order="A").view(np.uint8)
        # Buffered files and BytesIO have it, which typeshed's BinaryIO does not say.
        if stream.readinto(content) != header.nbytes:  # type: ignore[attr-defined]
            raise DamageError("it ends too early")
    pixels = to_pixels(stored, limits.name, copy=not is_kept or isinstance(stream, BytesIO))
    notice = layout_notice(header.shape, limits.name)
    notices = () if notice is None else (notice,)
    return Decoded(
        pixels,
        notices=notices,
        shift=shift_of(header.dtype),
        array_type=header.dtype,
        profile=None,
        is_half=is_half(header.dtype),
    )


def read_header(stream: BinaryIO, name: str) -> tuple[npy.Header, np.dtype[Any]]:
    """Read the header of a .npy stream; return it and the type of its pixels.

    Raises
    ------
    InputError
        If the array is no picture.
    DamageError
        If the header is damaged.
    """
    header = npy.read_header(stream)
    dtype = pixel_type(header.dtype, name)
    _check_shape(header.shape, name)
    return header, dtype


def check_complete(header: npy.Header, stream: BinaryIO) -> None:
    """Check that a .npy stream holds as many bytes as its header says."""
    value_bytes = stream.seek(0, os.SEEK_END) - header.length
    if header.nbytes != value_bytes:
        raise DamageError(
            f"it says {printable(list(header.shape))} of {header.dtype}, {header.nbytes:,} bytes,"
            f" but holds {value_bytes:,}"
        )


def _check_shape(shape: tuple[int, ...], name: str) -> None:
    if len(shape) in (2, 3) and min(shape) < 1:
        raise InputError(
            f"{name} is empty: it has the shape {printable(list(shape))};"
            " give one with a pixel at least"
        )
    if len(shape) not in (2, 3):
        raise InputError(f"{name} has the shape {printable(list(shape))}; give [H, W] or [H, W, C]")
