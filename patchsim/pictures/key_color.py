"""The key colour of a picture, as of a sprite or a blue screen, whose pixels do not count."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from patchsim.errors import InputError, printable, titled
from patchsim.metrics import INTEGER_RANGE, type_name
from patchsim.pictures.reader import Picture

_HEX = r"#?([0-9a-fA-F]{6})(?:~(\d{1,3}))?"
_MOST = 255
_ROUNDING = 1e-4  # of floats that were 8 bits, in steps of 8 bits


class KeyColor(NamedTuple):
    """A colour, and how far a pixel may be from it.

    Attributes
    ----------
    rgb : tuple of three int, 0 to 255
    reach : int
        The largest difference of a channel, in steps of 8 bits.
    """

    rgb: tuple[int, int, int]
    reach: int

    def __str__(self) -> str:
        code = "".join(f"{value:02X}" for value in self.rgb)
        return f"{code}~{self.reach}" if self.reach else code

    @classmethod
    def parsed(cls, given: object, option: str) -> KeyColor | None:
        """Parse ``RRGGBB`` or ``RRGGBB~N``; None stays None.

        Raises
        ------
        InputError
            If it is anything else.
        """
        if given is None:
            return None
        parsed = re.fullmatch(_HEX, given) if isinstance(given, str) else None
        reach = int(parsed[2] or 0) if parsed else _MOST + 1
        if parsed is None or reach > _MOST:
            text = repr(printable(given)) if isinstance(given, str) else repr(given)
            raise InputError(
                f"{option} {text} is no colour; give RRGGBB in hexadecimal digits, like FF00FF,"
                "\nor with the largest difference of a channel, 0 to 255, like FF00FF~8"
            )
        red, green, blue = bytes.fromhex(parsed[1])
        return cls((red, green, blue), reach)

    def of(self, picture: Picture, data_range: tuple[float, float] | None) -> NDArray[np.bool_]:
        """Return which pixels of a picture of one or three channels have the colour, [h, w].

        Values are compared on the scale of 8 bits, 0 to 255 over the data range or that of their
        type.

        Raises
        ------
        InputError
            If the picture has another number of channels.
        """
        channels = picture.pixels.shape[2]
        if channels not in (1, 3):
            raise InputError(
                f"the colour {self} has no meaning for {titled('kernel', picture.name)} of"
                f" {channels} channels; give a mask"
            )
        low, high = data_range or (0, INTEGER_RANGE.get(type_name(picture.pixels.dtype), 1))
        values = picture.pixels.astype(np.float64) - (picture.shift + low)
        steps = values * (_MOST / (high - low))
        differences = np.abs(steps - np.array(self.rgb, np.float64))  # grey has three equal values
        return np.asarray((differences <= self.reach + _ROUNDING).all(axis=2))
