"""A map in a Zarr store that goes on where an earlier run ended, however that ended.

While it is made, the store lies beside its name, with ``.partial`` behind. Its chunks are complete
or absent. The fingerprint of the search and the marks of its plan are in the array's attributes;
the bounds of the blocks of each chunk are in a file of the store, so that chunks need not be read
again to find the matches.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchsim.engines import Bounds
from patchsim.errors import InputError, OutputError, printable
from patchsim.files import atomic, fingerprints, replacement
from patchsim.geometry.blocks import BLOCK, block_index
from patchsim.geometry.tiles import Tile
from patchsim.metrics import Indices
from patchsim.output.block_journal import BlockJournal
from patchsim.output.map_files import zarr_map
from patchsim.planning.replanning import PlanMarks
from patchsim.ranking.block_grid import BlockGrid, Known
from patchsim.ranking.contract import ScoreTaker

SUFFIX = ".zarr"
_PARTIAL = ".partial"  # behind the name of a store that is not complete
_KEY = "patchsim"  # of the array's attributes
_JOURNAL = "patchsim.blocks"
_ABOUT, _CHUNKS = "zarr.json", "c"  # as Zarr 3 has them
_ADVICE = "give the same image, kernels and options, or another name, or remove it"
_HALF_CHUNK = ".partial"  # how zarr calls a chunk that is being written


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
        self._name, self._fingerprint = path, dict(fingerprint)
        self._final = Path(os.path.realpath(path))
        self._is_complete = self._final.exists()
        self._is_settled = self._is_complete  # the matches' scores are the exact ones
        self._folder = self._final
        if not self._is_complete:
            self._folder = self._final.with_name(self._final.name + _PARTIAL)
        described = self._described()
        if described is None and self._is_complete:
            raise InputError(
                f"{printable(path)} is there and is no map that can be resumed; remove it, or give"
                " another name"
            )
        with atomic.naming_errors(self._name):
            self._folder.mkdir(exist_ok=True)
            self._journal = BlockJournal(self._folder / _JOURNAL, path)
        try:
            described = self._described()  # another run may have ended meanwhile
            if not self._is_complete and self._journal.is_empty:
                self._clear()
                described = None
            self.marks = None if described is None else self._checked(described)
        except BaseException:
            self._journal.close()
            raise
        if not self._is_complete and self._final.exists():
            self._journal.close()
            raise InputError(f"{printable(path)} was completed by another search; try again")
        self._done: NDArray[np.bool_] = np.zeros((0, 0), np.bool_)

    def begin(self, shape: tuple[int, int], marks: PlanMarks) -> None:
        """Read what is there of the map of this shape, or begin it."""
        self.shape, self._tile = shape, marks.tile
        attributes = {_KEY: {"fingerprint": self._fingerprint, "plan": marks.to_json()}}
        with atomic.naming_errors(self._name):
            if self.marks is None:
                array = zarr_map.create(self._folder, shape, marks.tile, attributes)
            else:
                import zarr

                array = zarr.open_array(str(self._folder), mode="r+")
                if array.shape != shape:
                    raise self._not_of_the_search("shape", array.shape, shape)
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
        return f"{printable(self._name)}: {there:,} of {count:,} chunks are there" * bool(there)

    def put(self, tile: Tile, bounds: Bounds) -> None:
        """Take the scores of a tile; chunks that are complete are written."""
        if self._is_done(tile):  # it is scored for another kernel alone
            return
        self._is_settled = False
        self._grid.put(tile, bounds)
        with self._naming_errors():
            self._sink.put(tile, bounds.map)

    def put_again(self, taker: ScoreTaker) -> None:
        """Give the scores of the chunks that are there to another taker."""
        for down, across in np.argwhere(self._done).tolist():
            tile = self._tile_of(down, across)
            with atomic.naming_errors(self._name):
                scores = self._array[tile.index]
            taker.put(tile, Bounds(scores, 0.0))

    def settle(self, rows: Indices, cols: Indices, scores: NDArray[np.float64]) -> None:
        """Write the exact scores of windows in place of the engine's, once all are there."""
        if not self._is_settled:
            with self._naming_errors():
                self._sink.settle(rows, cols, scores)

    def finish(self) -> None:
        """Let the store have its name."""
        self._journal.close()
        if not self._is_complete:
            with self._naming_errors():
                replacement.sync_folder(self._folder)
                self._folder.rename(self._final)

    def discard(self) -> None:
        """Leave what is there, for a later run; nothing of a map without a chunk."""
        if not self._is_complete and not self._done.any() and self.marks is None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._journal.close()

    def _described(self) -> dict[str, Any] | None:
        """Return the attributes of the array in the folder, or None if they are not there."""
        try:
            text = (self._folder / _ABOUT).read_text(encoding="utf-8")
            run = json.loads(text)["attributes"][_KEY]
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None
        return run if isinstance(run, dict) else None

    def _checked(self, described: dict[str, Any]) -> PlanMarks:
        """Check that the store is of the same search, and return the marks of its plan."""
        old, marks = described.get("fingerprint"), PlanMarks.from_json(described.get("plan"))
        if not isinstance(old, dict) or marks is None:
            raise InputError(
                f"the attributes of {self._shown_folder} are damaged; remove it, or give"
                " another name"
            )
        fingerprints.check(
            old,
            self._fingerprint,
            what=f"{self._shown_folder} is of a search",
            advice=_ADVICE,
        )
        return marks

    def _not_of_the_search(self, subject: str, old: object, new: object) -> InputError:
        return InputError(
            f"{self._shown_folder} is of a search with another {subject}: {old} then, {new} now;"
            f"\n{_ADVICE}"
        )

    @property
    def _shown_folder(self) -> str:
        """The name of the folder in messages."""
        return printable(self._name if self._is_complete else self._name.rstrip("/") + _PARTIAL)

    def _clear(self) -> None:
        """Remove what a run left that was killed before its first chunk was recorded."""
        shutil.rmtree(self._folder / _CHUNKS, ignore_errors=True)
        (self._folder / _ABOUT).unlink(missing_ok=True)

    def _restore(self) -> None:
        """Take what the journal has of chunks that are there, and remove halves of others."""
        tall, wide = self._chunk
        size = -(-self.shape[0] // tall), -(-self.shape[1] // wide)
        self._done = np.zeros(size, np.bool_)
        # A chunk that begins within a block touches one more.
        most = (tall - 2) // BLOCK + 2, (wide - 2) // BLOCK + 2
        records = self._journal.read(most)
        is_inside = (records["row"] < size[0]) & (records["col"] < size[1])
        is_there = self._files(size)
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

    def _files(self, size: tuple[int, int]) -> NDArray[np.bool_]:
        """Return which chunks have a file; halves, as a kill leaves them, are removed."""
        written = np.zeros(size, np.bool_)
        root = self._folder / _CHUNKS
        rows = [one for one in _names(root) if one.isdecimal() and int(one) < size[0]]
        for row in rows:
            names = _names(root / row)
            cols = [int(name) for name in names if name.isdecimal() and int(name) < size[1]]
            written[int(row), cols] = True
            for name in names:
                if name.endswith(_HALF_CHUNK):
                    (root / row / name).unlink(missing_ok=True)
        for name in _names(self._folder):
            if name.endswith(_HALF_CHUNK):
                (self._folder / name).unlink(missing_ok=True)
        return written

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

    @contextlib.contextmanager
    def _naming_errors(self) -> Any:
        """Name the file in errors, and say that the work so far is not lost."""
        try:
            with atomic.naming_errors(self._name):
                yield
        except OutputError as error:
            raise OutputError(f"{error};\nthe same command goes on with what is there") from error


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 - names, without a path for each
    except OSError:
        return []
