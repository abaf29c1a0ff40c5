"""The file beside a map that says which chunks are there, and the bounds of their blocks.

It has a header, and a record for each chunk, all of one length, appended once the chunk is
written. A record that a kill cut short is the last one, and is cut off.
"""

from __future__ import annotations

import struct
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchsim.files.appended import AppendedFile

_HEADER = struct.Struct("<8sII")
_MAGIC = b"PSBLOCK1"
_AT_ONCE = 1024  # records whose sums are made together
_SALT = 0x9E3779B97F4A7C15  # so that the sum of zeros, as a lost page has them, is not right


class BlockJournal:
    """The records of the chunks of one map, which this process alone writes.

    Parameters
    ----------
    path : Path
        The file; it is made if it is not there.
    name : str
        The map's name in messages.

    Raises
    ------
    InputError
        If another process has the file.
    OSError
        If it cannot be opened.
    """

    def __init__(self, path: Path, name: str) -> None:
        self._lock = Lock()
        self._file = AppendedFile(path, name, "search")

    def close(self) -> None:
        """Close the file, which lets others write it."""
        self._file.close()

    @property
    def is_empty(self) -> bool:
        """Whether the file has no record, nor a part of one."""
        return self._file.size <= _HEADER.size

    def read(self, blocks: tuple[int, int]) -> NDArray[Any]:
        """Return the records that are whole, and cut off what is behind them.

        Parameters
        ----------
        blocks : (rows, columns)
            The most blocks of a chunk.

        Returns
        -------
        structured array [records]
            `row` and `col` of the chunk, `error`, and `bounds` [rows, columns] of its blocks,
            behind which NaN fills up the array.
        """
        self._kind = np.dtype(
            [
                ("row", "<i8"),
                ("col", "<i8"),
                ("error", "<f8"),
                ("bounds", "<f8", blocks),
                ("sum", "<u8"),
            ]
        )
        header = _HEADER.pack(_MAGIC, *blocks)
        size = self._file.size
        with self._file.reading() as file:
            is_own = file.read(len(header)) == header
            data = file.read() if is_own else b""
        count = len(data) // self._kind.itemsize
        records = np.frombuffer(data, self._kind, count) if count else np.empty(0, self._kind)
        is_right = records["sum"] == _sums(records)
        complete = records[: len(records) if is_right.all() else int(is_right.argmin())]
        end = len(header) + complete.nbytes
        if not is_own:
            self._file.cut(0)
            self._file.append(header)
        elif end < size:
            self._file.cut(end)
        return complete

    def append(self, chunk: tuple[int, int], error: float, bounds: NDArray[np.float64]) -> None:
        """Append the record of a chunk (row, column).

        Raises
        ------
        OSError
            If the disk is full, for example; the file is then as before.
        """
        record = np.zeros(1, self._kind)
        record["row"], record["col"], record["error"] = *chunk, error
        record["bounds"] = np.nan
        record["bounds"][0, : bounds.shape[0], : bounds.shape[1]] = bounds
        record["sum"] = _sums(record)
        with self._lock:
            self._file.append(record.tobytes())


def _sums(records: NDArray[Any]) -> NDArray[np.uint64]:
    """Return a checksum of each record without its own."""
    words = np.ascontiguousarray(records).view("<u8").reshape(-1, records.itemsize // 8)[:, :-1]
    places = np.arange(1, 2 * words.shape[1], 2, dtype=np.uint64)  # odd: each bit counts
    sums = np.full(len(words), _SALT, np.uint64)
    for first in range(0, len(words), _AT_ONCE):
        some = slice(first, first + _AT_ONCE)
        sums[some] += (words[some] * places).sum(1, dtype=np.uint64)
    return sums
