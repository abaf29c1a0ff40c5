"""The folder of a map that is gone on with: its names, what it is of, and which chunks it has.

While the map is made, its Zarr store lies beside its name, with ``.partial`` behind.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchsim.errors import InputError, OutputError, printable
from patchsim.files import atomic, fingerprints, replacement
from patchsim.planning.replanning import PlanMarks

_PARTIAL = ".partial"  # behind the name of a store that is not complete
_KEY = "patchsim"  # of the array's attributes
_ABOUT, _CHUNKS = "zarr.json", "c"  # as Zarr 3 has them
_ADVICE = "give the same image, kernels and options, or another name, or remove it"
_HALF_CHUNK = ".partial"  # how zarr calls a chunk that is being written


class ResumedFolder:
    """The folder of one map.

    Parameters
    ----------
    path : str
    fingerprint : mapping of str to str
        All on which the map and the matches depend.

    Attributes
    ----------
    path : str
    is_complete : bool
        The store has its name.
    folder : Path
        The store, by its name or with ``.partial`` behind.

    Raises
    ------
    InputError
        If there is something of this name that is no map.
    OutputError
        If the folder cannot be made.
    """

    def __init__(self, path: str, fingerprint: Mapping[str, str]) -> None:
        self.path, self._fingerprint = path, dict(fingerprint)
        self._final = Path(os.path.realpath(path))
        self.is_complete = self._final.exists()
        self.folder = self._final
        if not self.is_complete:
            self.folder = self._final.with_name(self._final.name + _PARTIAL)
        if self.is_complete and self._described() is None:
            raise InputError(
                f"{printable(path)} is there and is no map that can be resumed; remove it, or give"
                " another name"
            )
        with atomic.naming_errors(path):
            self.folder.mkdir(exist_ok=True)

    def attributes(self, marks: PlanMarks) -> dict[str, Any]:
        """Return the attributes of the array, from which a later run knows the search."""
        return {_KEY: {"fingerprint": self._fingerprint, "plan": marks.to_json()}}

    def marks(self) -> PlanMarks | None:
        """Return the marks of the plan of the run that began the map, or None if none did.

        Raises
        ------
        InputError
            If the store is of another search, or damaged.
        """
        described = self._described()  # another run may have ended meanwhile
        if described is None:
            return None
        old, marks = described.get("fingerprint"), PlanMarks.from_json(described.get("plan"))
        if not isinstance(old, dict) or marks is None:
            raise InputError(
                f"the attributes of {self._shown} are damaged; remove it, or give another name"
            )
        fingerprints.check(
            old, self._fingerprint, what=f"{self._shown} is of a search", advice=_ADVICE
        )
        return marks

    def check_not_completed(self) -> None:
        """Check that no other search gave a store the name meanwhile.

        Raises
        ------
        InputError
            If one did.
        """
        if not self.is_complete and self._final.exists():
            raise InputError(f"{printable(self.path)} was completed by another search; try again")

    def other_shape(self, old: object, new: object) -> InputError:
        """Return the error of a map that has another shape than that of the search."""
        return InputError(
            f"{self._shown} is of a search with another shape: {old} then, {new} now;\n{_ADVICE}"
        )

    def clear(self) -> None:
        """Remove what a run left that was killed before its first chunk was recorded."""
        shutil.rmtree(self.folder / _CHUNKS, ignore_errors=True)
        (self.folder / _ABOUT).unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove the store."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def finish(self) -> None:
        """Let the store have its name."""
        if not self.is_complete:
            with self.naming_errors():
                replacement.sync_folder(self.folder)
                self.folder.rename(self._final)

    def chunks(self, size: tuple[int, int]) -> NDArray[np.bool_]:
        """Return which chunks have a file; halves, as a kill leaves them, are removed."""
        written = np.zeros(size, np.bool_)
        root = self.folder / _CHUNKS
        rows = [one for one in _names(root) if one.isdecimal() and int(one) < size[0]]
        for row in rows:
            names = _names(root / row)
            cols = [int(name) for name in names if name.isdecimal() and int(name) < size[1]]
            written[int(row), cols] = True
            for name in names:
                if name.endswith(_HALF_CHUNK):
                    (root / row / name).unlink(missing_ok=True)
        for name in _names(self.folder):
            if name.endswith(_HALF_CHUNK):
                (self.folder / name).unlink(missing_ok=True)
        return written

    @contextlib.contextmanager
    def naming_errors(self) -> Iterator[None]:
        """Name the file in errors, and say that the work so far is not lost."""
        try:
            with atomic.naming_errors(self.path):
                yield
        except OutputError as error:
            raise OutputError(f"{error};\nthe same command goes on with what is there") from error

    def _described(self) -> dict[str, Any] | None:
        """Return the attributes of the array in the folder, or None if they are not there."""
        try:
            text = (self.folder / _ABOUT).read_text(encoding="utf-8")
            run = json.loads(text)["attributes"][_KEY]
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None
        return run if isinstance(run, dict) else None

    @property
    def _shown(self) -> str:
        """The name of the folder in messages."""
        return printable(self.path if self.is_complete else self.path.rstrip("/") + _PARTIAL)


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 - names, without a path for each
    except OSError:
        return []
