"""Files of parts of a search: .npz archives with the bounds of blocks, and what they belong to."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from patchsim.checks import whole_number
from patchsim.errors import InputError, printable
from patchsim.files import atomic, npy
from patchsim.geometry.blocks import grid_shape
from patchsim.search.bands import BandBounds

SUFFIX = ".npz"
_FORMAT = 1  # another one cannot be read
_HEADER, _BOUNDS = "header.npy", "bounds.npy"  # the members of the archive
_DAMAGES = (  # what a file of a stranger may lead to
    zipfile.BadZipFile,
    ArithmeticError,
    AttributeError,
    EOFError,
    KeyError,
    RuntimeError,
    TypeError,
    ValueError,
)


class Part(NamedTuple):
    """One of the parts of a search.

    Attributes
    ----------
    number : int
        From 1.
    total : int
        The number of parts.
    """

    number: int
    total: int

    def __str__(self) -> str:
        return f"part {self.number} of {self.total}"


@dataclass(frozen=True)
class PartFile:
    """The content of a file.

    Attributes
    ----------
    name : str
        The path.
    part : Part
    fingerprint : mapping of str to str
        All on which the matches depend.
    flags : mapping of str to objects
        The flags of the command that were given, as JSON has them.
    bands : sequence of BandBounds
    """

    name: str
    part: Part
    fingerprint: Mapping[str, str]
    flags: Mapping[str, Any]
    bands: Sequence[BandBounds]

    def write(self) -> None:
        """Write the file, whole or not at all.

        Raises
        ------
        OutputError
            If the disk is full, for example.
        """
        header = {
            "format": _FORMAT,
            "part": list(self.part),
            "fingerprint": dict(self.fingerprint),
            "flags": dict(self.flags),
            "bands": [
                [band.job, band.top, band.rows, band.upper_bounds.shape[1], band.error]
                for band in self.bands
            ],
        }
        text = np.frombuffer(json.dumps(header).encode(), np.uint8)
        bounds = [band.upper_bounds.ravel() for band in self.bands]
        with atomic.writing(self.name) as file:
            np.savez(file, header=text, bounds=np.concatenate([np.zeros(0), *bounds]))


def read(path: str | os.PathLike[str]) -> PartFile:
    """Read a file.

    Raises
    ------
    InputError
        If there is none, or it is no part of a search.
    """
    name = os.fspath(path)
    try:
        with zipfile.ZipFile(name) as archive:
            header = json.loads(_member(archive, _HEADER, np.uint8).tobytes())
            bounds = _member(archive, _BOUNDS, np.float64)
        return _of(name, header, bounds)
    except _DAMAGES as error:
        raise InputError(
            f"{printable(name)} is damaged, or no part of a search that this version wrote; give"
            " files that match --part wrote"
        ) from error
    except OSError as error:
        raise atomic.read_error(error, printable(name), Path(name), "a part of a search") from error


def _member(archive: zipfile.ZipFile, name: str, kind: Any) -> NDArray[Any]:
    """Read an array of one dimension, which takes no more memory than the file is long."""
    entry = archive.getinfo(name)
    if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
        raise ValueError("a part is neither compressed nor encrypted")
    content = archive.read(entry)
    header = npy.read_header(io.BytesIO(content))
    is_whole = header.length + header.nbytes == len(content)
    if header.dtype != kind or len(header.shape) != 1 or not is_whole:
        raise ValueError(f"{name} is another array")
    return np.frombuffer(content, header.dtype, offset=header.length)


def _of(name: str, header: Any, bounds: NDArray[np.float64]) -> PartFile:
    """Make a part of what a file has; ValueError, TypeError or KeyError if it is none."""
    if header["format"] != _FORMAT:
        raise ValueError("another format")
    part = Part(*(_whole(value) for value in header["part"]))
    fingerprint, flags = header["fingerprint"], header["flags"]
    if not 1 <= part.number <= part.total or not isinstance(flags, dict):
        raise ValueError("no part")
    if not all(isinstance(value, str) for value in fingerprint.values()):
        raise ValueError("no fingerprint")
    bands, at = [], 0
    for job, top, rows, block_cols, error in header["bands"]:
        shape = grid_shape((_whole(rows), 1))[0], _whole(block_cols)
        values = bounds[at : at + shape[0] * shape[1]].reshape(shape)
        at += values.size
        bands.append(BandBounds(_whole(job), _whole(top), rows, values, float(error)))
    errors = np.array([band.error for band in bands], np.float64)
    if at != len(bounds) or np.isnan(bounds).any() or not np.isfinite(errors).all():
        raise ValueError("the bounds are others")
    return PartFile(name, part, fingerprint, flags, bands)


def _whole(value: object) -> int:
    number = whole_number(value)
    if number is None or number < 0:
        raise ValueError(f"{value!r} is no number from 0")
    return number
