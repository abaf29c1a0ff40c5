"""A map in a Zarr store that goes on where an earlier run ended, however that ended.

Its chunks are complete or absent. The fingerprint of the search and the marks of its plan are in
the array's attributes; the bounds of the blocks of each chunk are in a file of the store, so that
chunks need not be read again to find the matches.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from patchsim.engines import Bounds
from patchsim.errors import InputError, printable
from patchsim.files import atomic
from patchsim.geometry.blocks import BLOCK, block_index
from patchsim.geometry.tiles import Tile
from patchsim.metrics import Indices
from patchsim.output.block_journal import BlockJournal
from patchsim.output.map_files import zarr_map
from patchsim.output.resumed_folder import ResumedFolder
from patchsim.planning.replanning import PlanMarks
from patchsim.ranking.block_grid import BlockGrid, Known
from patchsim.ranking.contract import ScoreTaker

SUFFIX = ".zarr"
_JOURNAL = "patchsim.blocks"


def check(path: str) -> None:
    """Check, before a search, that a map can be written to this path, or goes on there.

    Raises
    ------
    InputError
        If the path has another suffix, its folder does not take a new one, or zarr is missing.
    """
    name = printable(path)
    if Path(path).suffix.lower() != SUFFIX:
        raise InputError(f"{name} cannot be gone on with; a map that is resumed ends in {SUFFIX}")
    zarr_map.check_package(path)
    atomic.check_folder(Path(os.path.realpath(path)).parent)


class ResumedMap:
    """The store of one map, which this process alone writes; implements `ScoreTaker`.

    Parameters
    ----------
    path : str
    fingerprint : mapping of str to str
        All on which the map and the matches depend.

    Attributes
    ----------
    marks : PlanMarks or None
        Those of the plan of the run that began the map, if any did.
    shape : (rows, cols)
        Of the map, once it is begun.

    Raises
    ------
    InputError
        If the store is of another search, is no map of one, or is in use.
    OutputError
        If it cannot be written.
    """

    shape: tuple[int, int]

    def __init__(self, path: str, fingerprint: Mapping[str, str]) -> None:
        self._folder = ResumedFolder(path, fingerprint)
        self._is_settled = self._folder.is_complete  # the matches' scores are the exact ones
        with atomic.naming_errors(path):
            self._journal = BlockJournal(self._folder.folder / _JOURNAL, path)
        try:
            if not self._folder.is_complete and self._journal.is_empty:
                self._folder.clear()
            self.marks = self._folder.marks()
            self._folder.check_not_completed()
        except BaseException:
            self._journal.close()
            raise
        self._done: NDArray[np.bool_] = np.zeros((0, 0), np.bool_)

    def begin(self, shape: tuple[int, int], marks: PlanMarks) -> None:
        """Read what is there of the map of this shape, or begin it."""
        self.shape, folder = shape, self._folder.folder
        with atomic.naming_errors(self._folder.path):
            if self.marks is None:
                attributes = self._folder.attributes(marks)
                array = zarr_map.create(folder, shape, marks.tile, attributes)
            else:
                import zarr

                array = zarr.open_array(str(folder), mode="r+")
                if array.shape != shape:
                    raise self._folder.other_shape(array.shape, shape)
            self._array, self._sink = array, zarr_map.ZarrMap(array, self._record)
            self._chunk: tuple[int, int] = array.chunks
            self._grid = BlockGrid(shape, keeps_scores=False, keeps_errors=False)
            self._restore()

    @property
    def known(self) -> Known:
        """The bounds of the blocks of the chunks that are there."""
        return Known(self._grid.upper_bounds, self._grid.error, self._is_done)

    @property
    def resumed(self) -> ResumedMap:
        """Itself: it goes on with what is there."""
        return self

    @property
    def notice(self) -> str | None:
        """A notice of how much of the map is there, if anything is."""
        there, count = int(np.count_nonzero(self._done)), self._done.size
        if not there:
            return None
        return f"{printable(self._folder.path)}: {there:,} of {count:,} chunks are there"

    def put(self, tile: Tile, bounds: Bounds) -> None:
        """Take the scores of a tile; chunks that are complete are written."""
        if self._is_done(tile):  # it is scored for another kernel alone
            return
        self._is_settled = False
        self._grid.put(tile, bounds)
        with self._folder.naming_errors():
            self._sink.put(tile, bounds.map)

    def put_again(self, taker: ScoreTaker) -> None:
        """Give the scores of the chunks that are there to another taker."""
        for down, across in np.argwhere(self._done).tolist():
            tile = self._tile_of(down, across)
            with atomic.naming_errors(self._folder.path):
                scores = self._array[tile.index]
            taker.put(tile, Bounds(scores, 0.0))

    def settle(self, rows: Indices, cols: Indices, scores: NDArray[np.float64]) -> None:
        """Write the exact scores of windows in place of the engine's, once all are there."""
        if not self._is_settled:
            with self._folder.naming_errors():
                self._sink.settle(rows, cols, scores)

    def finish(self) -> None:
        """Let the store have its name."""
        self._journal.close()
        self._folder.finish()

    def discard(self) -> None:
        """Leave what is there, for a later run; nothing of a map without a chunk."""
        if not self._folder.is_complete and not self._done.any() and self.marks is None:
            self._folder.remove()
        self._journal.close()

    def _restore(self) -> None:
        """Take what the journal has of chunks that are there, and remove halves of others."""
        tall, wide = self._chunk
        size = -(-self.shape[0] // tall), -(-self.shape[1] // wide)
        self._done = np.zeros(size, np.bool_)
        # A chunk that begins within a block touches one more.
        most = (tall - 2) // BLOCK + 2, (wide - 2) // BLOCK + 2
        records = self._journal.read(most)
        is_inside = (records["row"] < size[0]) & (records["col"] < size[1])
        is_there = self._folder.chunks(size)
        records = records[is_inside]
        records = records[is_there[records["row"], records["col"]]]
        self._done[records["row"], records["col"]] = True
        top, left = records["row"] * tall // BLOCK, records["col"] * wide // BLOCK
        upper_bounds = np.full_like(self._grid.upper_bounds, np.nan)
        for down, across in np.ndindex(most):
            values = records["bounds"][:, down, across]
            known = ~np.isnan(values)
            place = top[known] + down, left[known] + across
            np.fmax.at(upper_bounds, place, values[known])
        self._grid.put_bounds(0, upper_bounds, float(records["error"].max(initial=0.0)))

    def _tile_of(self, down: int, across: int) -> Tile:
        """Return the windows of a chunk."""
        tall, wide = self._chunk
        top, left = down * tall, across * wide
        return Tile(top, left, min(tall, self.shape[0] - top), min(wide, self.shape[1] - left))

    def _is_done(self, tile: Tile) -> bool:
        return bool(self._done[tile.top // self._chunk[0], tile.left // self._chunk[1]])

    def _record(self, number: tuple[int, int]) -> None:
        """Record a chunk that is written; its blocks may have windows of others, too."""
        index = block_index(self._tile_of(*number))
        self._journal.append(number, self._grid.error, self._grid.upper_bounds[index])
        self._done[number] = True
