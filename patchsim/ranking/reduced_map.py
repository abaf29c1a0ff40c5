"""A map that is too large to be kept, reduced to the best score of each square of windows."""

from __future__ import annotations

import math
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from patchsim.engines import Bounds
from patchsim.geometry.tiles import Tile

MOST_SIDE = 8192  # cells of a reduced map, in both directions
_BYTES = 4
_ROWS = 256  # of a map that are reduced at a time, so that temporary arrays stay small


class ReducedMap:
    """The best score of each square of windows, made while tiles are scored.

    Parameters
    ----------
    shape : (rows, cols)
        Of the whole map.
    factor : int
        The side of a square, in windows.

    Attributes
    ----------
    scores : float32 array [ceil(rows / factor), ceil(cols / factor)]
    factor : int
    """

    def __init__(self, shape: tuple[int, int], factor: int) -> None:
        self.factor = factor
        self.scores: NDArray[np.float32] = np.full(
            _reduced(shape, factor), -math.inf, dtype=np.float32
        )
        self._lock = Lock()

    @staticmethod
    def factor_of(shape: tuple[int, int], side: int, memory: int) -> int:
        """Return the smallest factor for at most `side` cells a side that fit the memory."""
        factor = -(-max(shape) // side)
        while ReducedMap.estimate_bytes(shape, factor) > memory and factor < max(shape):
            factor += 1
        return factor

    @staticmethod
    def estimate_bytes(shape: tuple[int, int], factor: int) -> int:
        """Return the bytes of the reduced map."""
        return _BYTES * math.prod(_reduced(shape, factor))

    @classmethod
    def of(cls, scores: NDArray[np.float32], side: int) -> ReducedMap:
        """Reduce a map that is there to at most so many cells a side."""
        rows, cols = scores.shape
        made = cls((rows, cols), -(-max(rows, cols) // side))
        for top in range(0, rows, _ROWS):
            band = scores[top : top + _ROWS]
            made.put(Tile(top, 0, len(band), cols), Bounds(band, 0.0))
        return made

    def put(self, tile: Tile, bounds: Bounds) -> None:
        """Take the scores of a tile; several threads may put different tiles at once."""
        scores = bounds.map
        top, left = tile.top // self.factor, tile.left // self.factor
        down, across = (
            np.maximum(np.arange(-(start % self.factor), length, self.factor), 0)
            for start, length in ((tile.top, tile.rows), (tile.left, tile.cols))
        )
        best = np.maximum.reduceat(np.maximum.reduceat(scores, down, 0), across, 1)
        with self._lock:  # squares at the border of a tile belong to its neighbours, too
            stored = self.scores[top : top + len(down), left : left + len(across)]
            np.maximum(stored, best, out=stored, casting="same_kind")

    def settle(self, row: int, col: int, score: float) -> None:
        """Take the exact score of a window of the whole map."""
        cell = row // self.factor, col // self.factor
        self.scores[cell] = max(self.scores[cell], np.float32(score))


def _reduced(shape: tuple[int, int], factor: int) -> tuple[int, int]:
    return -(-shape[0] // factor), -(-shape[1] // factor)
