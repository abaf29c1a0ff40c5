"""A map as a Zarr store of version 3, in chunks that hold whole tiles of scores."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchsim.errors import InputError, printable
from patchsim.geometry.tiles import Tile
from patchsim.metrics import Indices
from patchsim.output import mark

IS_COMPRESSED = True

_CELLS = 1 << 18  # of a chunk, about: 1 MiB before it is compressed
_SIDE = 512  # of the chunks of a map that comes as a whole


def check(path: str) -> None:
    """Check that zarr is installed, and that no other store has the path."""
    check_package(path)
    if Path(path).exists():
        raise InputError(
            f"map {printable(path)} is there, and a Zarr store is a folder, which is not replaced;"
            " remove it, or give another name"
        )


def check_package(path: str) -> None:
    """Check that zarr is installed."""
    try:
        import zarr  # noqa: F401 - whether it is there
    except ImportError as error:
        raise InputError(
            f"map {printable(path)} needs the package zarr: pip install zarr;\nor give a name that"
            " ends in .npy"
        ) from error


class ZarrMap:
    """Implements `contract.MapSink`.

    Parameters
    ----------
    array : zarr.Array
        Of `create`.
    written : (row, column) -> None, optional
        Called with the number of each chunk once it is written.
    """

    def __init__(
        self, array: Any, written: Callable[[tuple[int, int]], None] = lambda _chunk: None
    ) -> None:
        self._array, self._written = array, written
        self._shape, self._chunk = array.shape, array.chunks
        self._lock = Lock()
        # Chunks of which a part is there, with the number of cells that are not.
        self._begun: dict[tuple[int, int], tuple[NDArray[np.float32], int]] = {}

    def put(self, tile: Tile, scores: NDArray[Any]) -> None:
        """Collect the tile, and write chunks that are complete."""
        tall, wide = self._chunk
        for down in range(tile.top // tall, (tile.top + tile.rows - 1) // tall + 1):
            for across in range(tile.left // wide, (tile.left + tile.cols - 1) // wide + 1):
                top, left = down * tall, across * wide
                rows = max(top, tile.top), min(top + tall, tile.top + tile.rows)
                cols = max(left, tile.left), min(left + wide, tile.left + tile.cols)
                block = scores[
                    rows[0] - tile.top : rows[1] - tile.top,
                    cols[0] - tile.left : cols[1] - tile.left,
                ]
                self._put((down, across), (rows[0], cols[0]), block)

    def _put(self, number: tuple[int, int], corner: tuple[int, int], block: NDArray[Any]) -> None:
        """Put a part of a chunk whose first cell is the corner (row, column) of the map."""
        (row, col), (down, across) = corner, number
        top, left = down * self._chunk[0], across * self._chunk[1]
        rows = min(self._chunk[0], self._shape[0] - top)
        cols = min(self._chunk[1], self._shape[1] - left)
        with self._lock:
            empty = np.empty((0, 0), np.float32), rows * cols
            values, missing = self._begun.pop(number, empty)
            if not values.size:
                values = np.empty((rows, cols), np.float32)
            values[
                row - top : row - top + block.shape[0], col - left : col - left + block.shape[1]
            ] = block
            missing -= block.size
            if missing:
                self._begun[number] = values, missing
                return
        self._array[top : top + rows, left : left + cols] = values
        self._written(number)

    def settle(self, rows: Indices, cols: Indices, scores: NDArray[Any]) -> None:
        """Write each chunk that has such cells once more."""
        tall, wide = self._chunk
        numbers = rows // tall * -(-self._shape[1] // wide) + cols // wide
        for number in np.unique(numbers):
            chosen = numbers == number
            top, left = int(rows[chosen][0]) // tall * tall, int(cols[chosen][0]) // wide * wide
            values = self._array[top : top + tall, left : left + wide]
            values[rows[chosen] - top, cols[chosen] - left] = scores[chosen]
            self._array[top : top + tall, left : left + wide] = values

    def finish(self) -> None:
        """Nothing is left, because the tiles cover the map."""


def create(
    folder: Path,
    shape: tuple[int, int],
    tile: tuple[int, int] | None,
    attributes: dict[str, Any] | None = None,
) -> Any:
    """Create the array of a map in a folder, in chunks of whole tiles."""
    import zarr

    return zarr.create_array(
        str(folder),
        shape=shape,
        dtype="<f4",
        chunks=_chunk(shape, tile),
        fill_value=np.nan,
        dimension_names=("y", "x"),
        attributes=mark.ATTRIBUTES | (attributes or {}),
    )


def _chunk(shape: tuple[int, int], tile: tuple[int, int] | None) -> tuple[int, int]:
    """Return rows and columns of chunks: tiles that come one after the other, joined."""
    if tile is None:
        return min(_SIDE, shape[0]), min(_SIDE, shape[1])
    rows, cols = min(tile[0], shape[0]), min(tile[1], shape[1])
    cols = min(shape[1], cols * max(1, _CELLS // (rows * cols)))
    if cols == shape[1]:
        rows = min(shape[0], rows * max(1, _CELLS // (rows * cols)))
    return rows, cols


def open_sink(place: Any, shape: tuple[int, int], tile: tuple[int, int] | None) -> ZarrMap:
    """Begin a map in a folder; as for `map_files.sink_of`."""
    return ZarrMap(create(place, shape, tile))
