"""What the readers of pictures share: how much they may decode, and what they hand back."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchsim.errors import InputError
from patchsim.machine.memory import format_size
from patchsim.types import Pixels


@dataclass(frozen=True)
class Limits:
    """How much a picture may hold; a reader asks, with what the header says, before it decodes.

    Attributes
    ----------
    name : str
        The picture, as messages show it.
    max_pixels : int
        The most pixels.
    memory : int or None
        The most bytes that decoding may take.
    """

    name: str
    max_pixels: int
    memory: int | None

    def check_pixels(self, width: int, height: int) -> None:
        """Refuse a picture of too many pixels.

        Raises
        ------
        InputError
        """
        if width * height > self.max_pixels:
            raise InputError(
                f"{self.name} has {width}x{height} = {width * height:,} pixels, more than"
                f" {self.max_pixels:,};\nif you trust it, allow them with"
                f" --max-pixels {width * height} (max_pixels=)"
            )

    def check_memory(self, needed: int) -> None:
        """Refuse a picture that takes more bytes than are left.

        Raises
        ------
        InputError
        """
        if self.memory is not None and needed > self.memory:
            raise InputError(
                f"{self.name} takes {format_size(needed)} to decode, but only"
                f" {format_size(self.memory)} of the memory are left; allow more with --memory"
            )


@dataclass(frozen=True)
class Decoded:
    """What a reader made of a file.

    Attributes
    ----------
    pixels : array [H, W, C]
        uint8, uint16, float32 or float64; as stored, not yet upright.
    alpha : uint8 array [H, W], optional
        The opacity, if not all pixels are opaque.
    orientation : int
        As in EXIF, 1 to 8.
    notices : tuple of str
        What the user should know about how it was read.
    """

    pixels: Pixels
    alpha: NDArray[np.uint8] | None = None
    orientation: int = 1
    notices: tuple[str, ...] = ()


def opacity(alpha: NDArray[Any], largest: float) -> NDArray[np.uint8] | None:
    """An alpha channel [H, W] of values up to `largest` in 8 bits, or None if all is opaque."""
    if (alpha >= largest).all():
        return None
    return np.rint(np.clip(alpha / largest, 0, 1) * 255).astype(np.uint8)


def quiet(library: str) -> None:
    """Keep what a library logs of odd files off stderr; an application's own handlers hear it."""
    log = logging.getLogger(library)
    if not any(isinstance(handler, logging.NullHandler) for handler in log.handlers):
        log.addHandler(logging.NullHandler())
