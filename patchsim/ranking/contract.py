"""What is asked of the windows of one kernel: the best that is left."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Windows(Protocol):
    """The windows of one kernel, as `Contest` asks for them and a report tells of them."""

    kernel: tuple[int, int]  # height, width
    map: NDArray[np.float32] | None  # where it is kept
    error: float  # no score of the map was off by more

    @property
    def singly(self) -> int:
        """Windows that were scored exactly alone."""

    @property
    def blocks(self) -> int:
        """Blocks that were scored exactly as a whole."""

    @property
    def block_count(self) -> int:
        """Blocks of the map."""

    @property
    def ceiling(self) -> float:
        """No window that is left scores more."""

    def best(self, floor: float) -> tuple[int, int, float] | None:
        """The best window left, y, x and its exact score, or None if none reaches the floor.

        Equal scores rank by smaller y, then smaller x.
        """

    def drop(self, y: int, x: int) -> None:
        """Drop one window."""

    def drop_overlapping(self, box: tuple[int, int, int, int], overlap: float) -> None:
        """Drop windows whose intersection over union with the box (y, x, h, w) is larger."""
