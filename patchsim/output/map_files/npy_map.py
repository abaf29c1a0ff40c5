"""A map as a NumPy file, whose values lie row by row behind the header."""

from __future__ import annotations

from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from patchsim.geometry.tiles import Tile
from patchsim.metrics import Indices
from patchsim.output.map_files import placed
from patchsim.output.map_files.placed import PlacedWriter

IS_COMPRESSED = False
_BYTES = 4


def check(path: str) -> None:
    """NumPy is always there."""


class NpyMap:
    """Implements `contract.MapSink`."""

    def __init__(self, file: BinaryIO, shape: tuple[int, int]) -> None:
        # np.save seeks, a pipe cannot.
        described = {"descr": "<f4", "fortran_order": False, "shape": shape}
        counted = _Counted(file)
        np.lib.format.write_array_header_1_0(counted, described)
        self._start, self._row = counted.count, shape[1] * _BYTES
        self._writer = PlacedWriter(file, self._start)

    def put(self, tile: Tile, scores: NDArray[Any]) -> None:
        """Write a tile."""
        place = self._start + tile.top * self._row + tile.left * _BYTES
        self._writer.write(place, self._row, scores)

    def settle(self, rows: Indices, cols: Indices, scores: NDArray[Any]) -> None:
        """Write single cells."""
        placed.settle(self, rows, cols, scores)

    def finish(self) -> None:
        """Nothing is left."""


class _Counted:
    """A file that counts what is written."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.count = file, 0

    def write(self, data: bytes) -> None:
        self._file.write(data)
        self.count += len(data)


def open_sink(place: BinaryIO, shape: tuple[int, int], tile: tuple[int, int] | None) -> NpyMap:  # noqa: ARG001 - as `Sinks` has it
    """Begin a map; as for `map_files.sink_of`."""
    return NpyMap(place, shape)
