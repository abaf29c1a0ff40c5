"""The contract of files of maps: what takes scores, and what a module of a format defines."""

from __future__ import annotations

from typing import Any, Protocol

from numpy.typing import NDArray

from patchsim.geometry.tiles import Tile
from patchsim.metrics import Indices


class MapSink(Protocol):
    """A file of a map that is being written."""

    def put(self, tile: Tile, scores: NDArray[Any]) -> None:
        """Write the scores [rows, cols] of a tile; several threads may put different tiles.

        Every cell of the map is put once by tiles of the size that was announced.

        Raises
        ------
        OSError
            If the disk is full, for example.
        """

    def settle(self, rows: Indices, cols: Indices, scores: NDArray[Any]) -> None:
        """Write the exact scores of single cells in place of those that were put.

        It is called once, behind all tiles, so that a chunk is written once more at most.

        Parameters
        ----------
        rows, cols : int64 arrays [n]
        scores : float64 array [n]
        """

    def finish(self) -> None:
        """Write what is left, once all scores were put."""


class Sinks(Protocol):
    """A module that writes maps in one format.

    Attributes
    ----------
    IS_COMPRESSED : bool
        A map takes less room than its values do.
    """

    IS_COMPRESSED: bool

    def check(self, path: str) -> None:
        """Check that a map can be written to a path; as for `map_files.check`."""

    def open_sink(
        self, place: Any, shape: tuple[int, int], tile: tuple[int, int] | None
    ) -> MapSink:
        """Begin a map; as for `map_files.sink_of`."""
