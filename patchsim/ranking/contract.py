"""The interface of the windows of one kernel: the best window that is left."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from patchsim.engines import Bounds
from patchsim.geometry.overlaps import Box
from patchsim.geometry.tiles import Tile


class ScoreTaker(Protocol):
    """An object that also gets the scores of all windows, while they are made."""

    def put(self, tile: Tile, bounds: Bounds) -> None:
        """Take the scores of a tile; several threads may put different tiles at once."""


class Closest(NamedTuple):
    """The best window that is left, as far as it is known at little cost.

    Attributes
    ----------
    place : (y, x, score) or None
        A window that is left, with its exact score: the best one that was looked at.
    at_most : float
        The score that no window left exceeds; that of `place` if it is the best window.
    """

    place: tuple[int, int, float] | None
    at_most: float


class Windows(Protocol):
    """The windows of one kernel, best first, for `nms.BestFirst` and for reports."""

    kernel: tuple[int, int]  # height, width of a match, by which windows overlap

    @property
    def error(self) -> float:
        """The largest error of a score in the map."""

    @property
    def map(self) -> NDArray[np.float32] | None:
        """The scores of all windows, where they are kept."""

    @property
    def windows_evaluated(self) -> int:
        """The number of windows that were scored exactly one by one."""

    @property
    def blocks_evaluated(self) -> int:
        """The number of blocks that were scored exactly as a whole."""

    @property
    def block_count(self) -> int:
        """The number of blocks of the map."""

    @property
    def upper_bound(self) -> float:
        """The score that no window left exceeds."""

    def best(self, floor: float) -> tuple[int, int, float] | None:
        """Return y, x and the exact score of the best window left, or None below the floor.

        Equal scores rank by smaller y, then smaller x.
        """

    def closest(self, among: int) -> Closest | None:
        """Return what little work tells of the best window left, or None if no window is left.

        `among` is the number of kernels that were searched for, which says how little work is.
        """

    def suppress(self, y: int, x: int) -> None:
        """Remove one window."""

    def suppress_overlapping(self, box: Box, overlap: float) -> None:
        """Remove windows whose intersection over union with the box (y, x, h, w) is larger."""
