"""How much area turned rectangles may share, for all of many at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class TurnedBoxes:
    """Rectangles in the plane, each turned about its centre.

    Parameters
    ----------
    x, y : float64 array [n]
        Their centres; y points down.
    angle : float64 array [n]
        In radians, counter-clockwise as displayed.
    across, down : float64 array [n]
        Half their width and height before they are turned.
    """

    def __init__(self, x: Floats, y: Floats, angle: Floats, across: Floats, down: Floats) -> None:
        self._x, self._y, self._across, self._down = x, y, across, down
        self._cos, self._sin = np.cos(angle), np.sin(angle)

    def shared(self, some: slice) -> tuple[Floats, Floats]:
        """Return bounds of the area that each of some shares with each of all, [some, n] both.

        Returns
        -------
        at_least, at_most : float64 arrays
            What the former shares with a box, along its own sides, in the latter and around it.
        """
        x, y, across, down, cos, sin = (
            values[some, None]
            for values in (self._x, self._y, self._across, self._down, self._cos, self._sin)
        )
        dx, dy = self._x - x, self._y - y
        right, low = np.abs(dx * cos - dy * sin), np.abs(dx * sin + dy * cos)
        along = np.abs(self._cos * cos + self._sin * sin)
        aslant = np.abs(self._sin * cos - self._cos * sin)
        width = self._across * along + self._down * aslant
        height = self._across * aslant + self._down * along
        share = np.minimum(self._across / width, self._down / height)  # which fits into it
        at_least, at_most = (
            _shared_length(across, half_width, right) * _shared_length(down, half_height, low)
            for half_width, half_height in (
                (share * self._across, share * self._down),
                (width, height),
            )
        )
        return at_least, at_most


def _shared_length(half: Floats, other_half: Floats, apart: Floats) -> Floats:
    """Return the length that two intervals of these half lengths, so far apart, share."""
    shared: Floats = np.minimum(2 * np.minimum(half, other_half), half + other_half - apart)
    return np.maximum(shared, 0)
