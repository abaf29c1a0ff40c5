"""Files of maps that are written while the map is made, because it is too large to be kept."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from patchsim.engines import Bounds
from patchsim.errors import InputError, OutputError, printable
from patchsim.files import atomic, direct
from patchsim.geometry.tiles import Tile
from patchsim.machine.memory import format_size
from patchsim.metrics import Indices
from patchsim.output import map_files

if TYPE_CHECKING:
    from patchsim.output.map_files.contract import MapSink
    from patchsim.output.resumed_map import ResumedMap
    from patchsim.planning.replanning import PlanMarks

_BYTES = 4


class _DiscardedError(Exception):
    """Ends the writing of a file that is not wanted any more."""


class StreamedMap:
    """The file of one map; implements `ranking.contract.ScoreTaker`.

    Attributes
    ----------
    shape : (rows, cols)
    """

    resumed = None  # it begins anew

    def __init__(self, path: str, shape: tuple[int, int], tile: tuple[int, int]) -> None:
        self.shape, self._path = shape, path
        self._writing = map_files.writing(path)
        place = self._writing.__enter__()
        try:
            with atomic.naming_errors(path):
                self._sink: MapSink = map_files.sink_of(path, place, shape, tile)
        except BaseException:
            self.discard()
            raise

    def put(self, tile: Tile, bounds: Bounds) -> None:
        """Write the scores of a tile."""
        with atomic.naming_errors(self._path):
            self._sink.put(tile, bounds.map)

    def settle(self, rows: Indices, cols: Indices, scores: NDArray[np.float64]) -> None:
        """Write the exact scores of windows in place of the engine's, once all are there."""
        with atomic.naming_errors(self._path):
            self._sink.settle(rows, cols, scores)

    def finish(self) -> None:
        """Let the file appear."""
        with atomic.naming_errors(self._path):
            self._sink.finish()
        self._writing.__exit__(None, None, None)

    def discard(self) -> None:
        """Leave nothing of the file."""
        error = _DiscardedError()
        with suppress(_DiscardedError):
            self._writing.__exit__(_DiscardedError, error, None)


class StreamedMaps:
    """The files of the maps of a search, one for each kernel; those not finished are discarded.

    Parameters
    ----------
    paths : sequence of str
    fingerprint : mapping of str to str, optional
        All on which the search depends, if the maps go on where an earlier run ended.
    """

    def __init__(self, paths: Sequence[str], fingerprint: Mapping[str, str] | None = None) -> None:
        self._paths, self._fingerprint = paths, fingerprint
        self._open: dict[int, StreamedMap | ResumedMap] = {}
        self._resumed: dict[int, ResumedMap] = {}

    def __bool__(self) -> bool:
        """Whether maps are to be written."""
        return bool(self._paths)

    def has_map(self, kernel: int) -> bool:
        """Return whether the file of a kernel's map was begun."""
        return kernel in self._open

    @property
    def is_resumed(self) -> bool:
        """Whether the maps go on where an earlier run ended."""
        return self._fingerprint is not None

    @property
    def marks(self) -> list[PlanMarks | None]:
        """The marks of the plan of each kernel's map that an earlier run began."""
        return [self._resumed[kernel].marks for kernel in range(len(self._resumed))]

    def __enter__(self) -> StreamedMaps:
        if self._fingerprint is not None:
            from patchsim.output.resumed_map import ResumedMap  # where a map goes on

            try:
                for kernel, path in enumerate(self._paths):
                    self._resumed[kernel] = ResumedMap(path, self._fingerprint)
            except BaseException:
                self.__exit__()
                raise
        return self

    def __exit__(self, *_: object) -> None:
        for one in (*self._open.values(), *self._resumed.values()):
            one.discard()
        self._open.clear()
        self._resumed.clear()

    def check(self, shapes: Sequence[tuple[int, int]]) -> None:
        """Check that maps of these shapes (rows, cols) can be written, before the search.

        Raises
        ------
        InputError
            If a path is a pipe or a device, which takes no tiles.
        OutputError
            If the disk has too little room.
        """
        if self.is_resumed:  # it has a part of the disk already
            return
        needed: dict[int, int] = {}
        for path, (rows, cols) in zip(self._paths, shapes, strict=True):
            if direct.is_written_directly(Path(path)):
                raise InputError(
                    f"map {printable(path)} is written tile by tile, which a pipe or device cannot"
                    " take; give the path of a file"
                )
            folder = Path(os.path.realpath(path)).parent
            with atomic.naming_errors(path):
                disk, free = folder.stat().st_dev, shutil.disk_usage(folder).free
            needed[disk] = needed.get(disk, 0) + _BYTES * rows * cols
            if map_files.is_compressed(path) or needed[disk] <= free:
                continue
            raise OutputError(
                f"cannot write {printable(path)}: maps take {format_size(needed[disk])}, and"
                f" {printable(folder)} has {format_size(free)} free; free some space or write"
                " elsewhere"
            )

    def open(
        self, kernel: int, shape: tuple[int, int], marks: PlanMarks
    ) -> StreamedMap | ResumedMap:
        """Begin the file of a kernel's map, whose scores come in the tiles of such a plan."""
        if not self.is_resumed:
            self._open[kernel] = StreamedMap(self._paths[kernel], shape, marks.tile)
        else:
            resumed = self._resumed.pop(kernel)
            self._open[kernel] = resumed
            resumed.begin(shape, marks)
        return self._open[kernel]

    def settle(
        self, kernel: int, rows: Indices, cols: Indices, scores: NDArray[np.float64]
    ) -> None:
        """Write the exact scores of windows of a kernel, once all its scores are there."""
        self._open[kernel].settle(rows, cols, scores)

    def finish(self, kernel: int) -> tuple[int, int]:
        """Let a file appear; return the shape of its map."""
        one = self._open.pop(kernel)
        try:
            one.finish()
        except BaseException:
            one.discard()
            raise
        return one.shape
