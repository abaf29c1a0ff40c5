"""Scores written to their places in a file."""

from __future__ import annotations

from threading import Lock
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from patchsim.geometry.tiles import Tile
from patchsim.metrics import Indices
from patchsim.output.map_files.contract import MapSink


class PlacedWriter:
    """Writes rows of float32 to places in a file; several threads may write.

    A file that cannot seek, such as a pipe, takes what comes in the order of the places.

    Parameters
    ----------
    file : binary file
    place : int
        Where the file stands.
    """

    def __init__(self, file: BinaryIO, place: int) -> None:
        self._file, self._place = file, place
        self._lock = Lock()

    def write(self, place: int, step: int, rows: NDArray[Any]) -> None:
        """Write rows of scores [rows, cols], `step` bytes from one to the next."""
        values = np.ascontiguousarray(rows, "<f4")
        parts = [values] if step == values.shape[1] * values.itemsize else list(values)
        with self._lock:
            for number, buffer in enumerate(parts):
                start = place + number * step
                if start != self._place:
                    self._file.seek(start)
                self._file.write(buffer.data)
                self._place = start + buffer.nbytes


def settle(sink: MapSink, rows: Indices, cols: Indices, scores: NDArray[Any]) -> None:
    """Write single cells of a map whose cells have places in its file."""
    for row, col, score in zip(rows.tolist(), cols.tolist(), scores, strict=True):
        sink.put(Tile(row, col, 1, 1), np.array([[score]], np.float32))
