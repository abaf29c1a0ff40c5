"""How much a reader of pictures may decode, and what every reader returns."""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from patchsim.errors import DamageError, InputError
from patchsim.machine.memory import format_size
from patchsim.types import Pixels

_MOST_MEASURED = 64_000_000  # bytes that are read to learn what a picture needs
# Pixels a byte above which a picture is of one colour, or its header is damaged: no bound of a
# format, but photographs of the poorest quality and scans of a few words have fewer.
_MOST_A_BYTE = 4096
_PIXEL_BYTES = 8  # of decoding a pixel, about
DEFLATE = 1032  # bytes for one: 258 for a code of 2 bits (RFC 1951)


class TooLargeError(InputError):
    """A picture is larger than may be decoded whole."""


class MemoryNeed(TooLargeError):
    """Decoding takes more memory than is left.

    Attributes
    ----------
    finding : str
        What is needed and what there is.
    needed : int
        The bytes of decoding the picture.
    """

    def __init__(self, finding: str, needed: int, allowance: int) -> None:
        super().__init__(
            f"{finding};\nallow at least {format_size(allowance)} with --memory (memory=)"
        )
        self.finding, self.needed = finding, needed

    def __reduce__(self) -> tuple[object, ...]:
        return InputError, (str(self),)


class Limits(NamedTuple):
    """The largest picture that may be decoded; readers check a picture's header against it.

    Attributes
    ----------
    name : str
        The picture's name in messages.
    max_pixels : int
        The largest number of pixels.
    memory : int or None
        The bytes that decoding may take.
    total : int or None
        The bytes of which `memory` is left; None if it is all.
    file_bytes : int or None
        The size of the file, if there is one.
    measures : bool
        Do not decode: raise `MemoryNeed` once the header tells what that takes.
    """

    name: str
    max_pixels: int
    memory: int | None
    total: int | None = None
    file_bytes: int | None = None
    measures: bool = False

    def check_held(self, width: int, height: int, min_bytes: int) -> None:
        """Check that the file can hold the pixels that its header states.

        Parameters
        ----------
        width, height : int
        min_bytes : int
            The fewest bytes that a sound file of this size has, from `least_bytes`.

        Raises
        ------
        DamageError
            If the file has fewer.
        """
        if self.file_bytes is not None and min_bytes > self.file_bytes:
            raise DamageError(f"its {self.file_bytes:,} bytes cannot hold {width}x{height} pixels")

    def check_pixels(self, width: int, height: int) -> None:
        """Check a picture's number of pixels.

        Raises
        ------
        TooLargeError
            If width x height exceeds `max_pixels`.
        """
        count = width * height
        if count > self.max_pixels:
            held, doubt = self._doubt(count, "in")
            raise TooLargeError(
                f"{self.name} has {width}x{height} = {count:,} pixels{held}, more than"
                f" {self.max_pixels:,}{doubt};\nif you trust it, allow them with"
                f" --max-pixels {count} (max_pixels=)"
            )

    def check_memory(self, needed: int, *, is_all: bool = True) -> None:
        """Check the bytes that decoding needs.

        Parameters
        ----------
        needed : int
        is_all : bool
            This is the peak, not only what is read before the size of the picture is known.

        Raises
        ------
        MemoryNeed
            If `needed` exceeds `memory`, or is measured.
        """
        if self.measures and not (is_all or needed > _MOST_MEASURED):
            return
        if self.measures or (self.memory is not None and needed > self.memory):
            memory = self.memory or 0
            total = memory if self.total is None else self.total
            left = f"the memory is {format_size(total)}"
            free = format_size(memory)
            if free != format_size(total):
                left = f"only {free} of the memory of {format_size(total)} are left"
            held, doubt = self._doubt(needed // _PIXEL_BYTES, "from")
            finding = f"{self.name} takes {format_size(needed)} to decode{held}, but {left}{doubt}"
            raise MemoryNeed(finding, needed, total - memory + needed)

    def _doubt(self, pixels: int, word: str) -> tuple[str, str]:
        """Return the size of a file that is small for its pixels, and what that means."""
        if self.file_bytes is None or pixels <= _MOST_A_BYTE * self.file_bytes:
            return "", ""
        return f" {word} {self.file_bytes:,} bytes", ": it is damaged, or of one colour"


class Unapplied(NamedTuple):
    """A colour profile that is not applied.

    Attributes
    ----------
    key : bytes
        The profile, or what tells it from others.
    what : str
        What it is and why it is not applied, as the end of a sentence.
    """

    key: bytes
    what: str


def unapplied(profile: bytes, bits: int) -> Unapplied | None:
    """Return that a profile, if there is one, is not applied to values of so many bits."""
    if not profile:
        return None
    return Unapplied(profile, f"a colour profile, which is not applied to values of {bits} bits")


class Decoded(NamedTuple):
    """The picture that a reader decoded from a file, or took from an array.

    Attributes
    ----------
    pixels : array [H, W, C]
        uint8, uint16, float32 or float64, in the file's orientation.
    alpha : uint8 array [H, W], optional
        The opacity, unless all pixels are opaque.
    orientation : int
        The EXIF orientation, 1 to 8.
    notices : tuple of str
        Remarks for the user about how the file was read.
    shift : int
        What was added to the values so that signed integers are uint16 (`arrays.shift_of`).
    profile : bytes or None
        The ICC profile of the file; empty without one, so that the colours are sRGB. None if
        nothing is known of colours, as of numbers in a .npy.
    array_type : dtype or None
        The type of the values in an array, which does not say what its channels are.
    unapplied : Unapplied or None
        A profile of the file that is not applied; `profile` is None then.
    is_half : bool
        The values were float16 (`arrays.is_half`).
    """

    pixels: Pixels
    alpha: NDArray[np.uint8] | None = None
    orientation: int = 1
    notices: tuple[str, ...] = ()
    shift: int = 0
    profile: bytes | None = b""
    array_type: np.dtype[Any] | None = None
    unapplied: Unapplied | None = None
    is_half: bool = False


def to_8_bit_alpha(alpha: NDArray[Any], largest: float) -> NDArray[np.uint8] | None:
    """Scale an alpha channel [H, W] from 0 to `largest` to 8 bits; None if all is opaque."""
    return None if (alpha >= largest).all() else scaled_to_8_bits(alpha, largest)


def scaled_to_8_bits(alpha: NDArray[Any], largest: float) -> NDArray[np.uint8]:
    """Scale an alpha channel [H, W] from 0 to `largest` to 8 bits."""
    opacity = alpha.astype(np.float64) / largest
    return np.rint(np.clip(opacity, 0, 1, out=opacity) * 255).astype(np.uint8)


def silence_logger(library: str) -> None:
    """Keep a library's log messages off stderr; handlers of the application still get them."""
    log = logging.getLogger(library)
    if not any(isinstance(handler, logging.NullHandler) for handler in log.handlers):
        log.addHandler(logging.NullHandler())
