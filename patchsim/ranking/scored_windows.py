"""Some windows of a kernel, whose scores are known exactly."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from patchsim.geometry.overlaps import Box, overlap_exceeds


class ScoredWindows:
    """Some windows of a kernel with their exact scores; implements `contract.Windows`.

    Parameters
    ----------
    kernel : (height, width)
    windows : iterable of (y, x, score)
    """

    map: NDArray[np.float32] | None = None
    error = 0.0
    windows_evaluated = blocks_evaluated = block_count = 0  # nothing is left to score

    def __init__(self, kernel: tuple[int, int], windows: Iterable[tuple[int, int, float]]) -> None:
        self.kernel = kernel
        self._windows = sorted(set(windows), key=lambda w: (-w[2], w[0], w[1]))

    @property
    def upper_bound(self) -> float:
        """The score of the best window left."""
        return self._windows[0][2] if self._windows else -math.inf

    def best(self, floor: float) -> tuple[int, int, float] | None:
        """Return y, x and the score of the best window left, or None below the floor."""
        first = self._windows[0] if self._windows else None
        return first if first and first[2] >= floor else None

    def suppress(self, y: int, x: int) -> None:
        """Remove one window."""
        self._windows = [window for window in self._windows if window[:2] != (y, x)]

    def suppress_overlapping(self, box: Box, overlap: float) -> None:
        """Remove windows whose intersection over union with the box (y, x, h, w) is larger."""
        self._windows = [
            (y, x, score)
            for y, x, score in self._windows
            if not overlap_exceeds((y, x, *self.kernel), box, overlap)
        ]
