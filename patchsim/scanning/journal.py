"""The file of a scan that can be killed at any time and goes on where it was.

It has JSON lines. The first is an object with the key `scan`: the fingerprint of kernels and
options. Each further line is the object of a picture, as `--format jsonl` prints it; one with an
error has the file's stamp, so that a file that was changed since is searched again.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from patchsim.errors import InputError, OutputError, printable
from patchsim.files import atomic, fingerprints, stamps
from patchsim.files.appended import AppendedFile
from patchsim.geometry.area import Region
from patchsim.output import names
from patchsim.scanning.records import ScanRecords, ScanResult, is_of
from patchsim.scanning.requests import HEADER, STAMP, Request


class Journal:
    """The results of a scan in a file, which this process alone writes.

    Half a line at the end, as a kill in the middle of a write leaves it, is cut off.

    Parameters
    ----------
    path : str
        The file; it is made if it is not there.
    fingerprint : dict of str
        What the results depend on.

    Attributes
    ----------
    kept : int
        The number of results that were in the file.
    found, failed : int
        How many of them have a match, and how many an error.
    added : int
        The number of results that were added.

    Raises
    ------
    InputError
        If the file is none of a scan, is one with another fingerprint, or is in use.
    OutputError
        If it cannot be opened or written.
    """

    def __init__(self, path: str, fingerprint: dict[str, str]) -> None:
        self._path = path
        self.kept = self.found = self.failed = self.added = 0
        self._done: Counter[tuple[bytes, Region | None]] = Counter()
        if atomic.is_folder(Path(path)):
            raise InputError(f"{printable(path)} is a folder; give the path of a file to --resume")
        if not os.path.lexists(path):
            atomic.check_folder(Path(path).parent)
        try:
            self._file = AppendedFile(path, path, "scan")
        except InputError:  # another scan has it
            raise
        except (OSError, ValueError) as error:
            raise self._refused(error) from error
        try:
            self._read(fingerprint)
        except OSError as error:  # of a pipe, which cannot be read again
            self._file.close()
            raise self._refused(error) from error
        except BaseException:  # an interruption, too, leaves no file open
            self._file.close()
            raise

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def left(
        self, todo: Iterator[Request], skip: Callable[[], None] = lambda: None
    ) -> Iterator[Request]:
        """Yield the requests that have no result in the file; equal ones have one each.

        `skip` is called for each of the others.
        """
        for request in todo:
            key = os.fsencode(request.name), request.region
            if self._done[key] > 0:
                self._done[key] -= 1
                skip()
            else:
                yield request

    def add(self, result: ScanResult, chosen: tuple[str, ...] | None) -> None:
        """Append a result.

        Raises
        ------
        OutputError
            If the disk is full, for example.
        """
        for line in ScanRecords([result], chosen).objects():
            self._write(line if result.error is None else line | {STAMP: _stamp(result.image)})
            self.added += 1

    def describe(self) -> str:
        """Return how many results the file has, for the user."""
        text = f"{self.kept:,} results were there, {self.added:,} were added"
        if self.failed:
            text += f"; {self.failed:,} of those that were there are errors"
        return text

    def _write(self, line: dict[str, Any]) -> None:
        data = json.dumps(names.in_unicode(line)).encode() + b"\n"
        try:
            self._file.append(data)
        except OSError as error:
            raise self._refused(error) from error

    def _read(self, fingerprint: dict[str, str]) -> None:
        complete = 0
        with self._file.reading() as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    break
                self._take(number, line, fingerprint)
                complete += len(line)
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            # A file without a whole line is the beginning of the first, or no journal.
            begun = json.dumps({HEADER: {}}).encode()[:-2]
            if complete == 0 and file.read(len(begun)) != begun[:size]:
                raise self._no_journal(1)
        if complete < size:
            self._file.cut(complete)
        if complete == 0:
            self._write({HEADER: fingerprint})

    def _take(self, number: int, line: bytes, fingerprint: dict[str, str]) -> None:
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            raise self._no_journal(number) from None
        if number == 1:
            if not isinstance(value, dict) or not isinstance(value.get(HEADER), dict):
                raise self._no_journal(number)
            self._compare(value[HEADER], fingerprint)
            return
        if not isinstance(value, dict) or not is_of(value):
            raise self._no_journal(number)
        region = value.get("region")
        try:
            image = names.original(value, "image")
            if STAMP in value and value[STAMP] != _stamp(image):
                return
            self._done[os.fsencode(image), None if region is None else tuple(region)] += 1
        except (ValueError, TypeError):
            raise self._no_journal(number) from None
        self.kept += 1
        self.found += bool(value.get("matches"))
        self.failed += "error" in value

    def _compare(self, old: dict[str, str], new: dict[str, str]) -> None:
        fingerprints.check(
            old,
            new,
            what=f"{printable(self._path)} is of a scan",
            advice="give the same kernels and options, or another file",
        )

    def _no_journal(self, number: int) -> InputError:
        return InputError(
            f"line {number} of {printable(self._path)} is none of a scan; --resume takes a file"
            " that it has written, or a new one"
        )

    def _refused(self, error: OSError | ValueError) -> OutputError:
        reason = atomic.failure_reason(error) if isinstance(error, OSError) else str(error)
        return OutputError(f"cannot write {printable(Path(self._path))}: {reason}")


def _stamp(image: str) -> list[int] | None:
    """Return the stamp of a picture's file; None if there is none."""
    try:
        return list(stamps.of(image))
    except (OSError, ValueError):
        return None
