"""Files of maps: `sink_of` takes the scores tile by tile, in any order, and writes them."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from patchsim.files import atomic, direct

if TYPE_CHECKING:
    from patchsim.output.map_files.contract import MapSink, Sinks

# By the suffix of the file; what is written to directly, such as a pipe, gets a .npy.
_MODULES = {".npy": "npy_map", ".tif": "tiff_map", ".tiff": "tiff_map", ".zarr": "zarr_map"}
_IN_FOLDERS = (".zarr",)
SUFFIXES = tuple(_MODULES)


def check(path: str) -> None:
    """Check that a map can be written to this path, as far as its format is concerned.

    Raises
    ------
    InputError
        If packages are not installed, which it names, or the format replaces nothing.
    """
    _sinks(path).check(path)


def is_compressed(path: str) -> bool:
    """Return whether a map takes less room there than its values do."""
    return _sinks(path).IS_COMPRESSED


def writing(path: str) -> AbstractContextManager[BinaryIO | Path]:
    """Open what `sink_of` writes to, a file or folder; as for `atomic.writing`."""
    return atomic.writing_folder(path) if _suffix(path) in _IN_FOLDERS else atomic.writing(path)


def sink_of(
    path: str,
    place: BinaryIO | Path,
    shape: tuple[int, int],
    tile: tuple[int, int] | None = None,
) -> MapSink:
    """Return what writes the map of a path.

    Parameters
    ----------
    path : str
        Its suffix says in which format.
    place : binary file or Path
        What `writing` opened.
    shape : (rows, cols)
        Of the map.
    tile : (rows, cols), optional
        That of the tiles in which scores will come; the whole map by default.
    """
    return _sinks(path).open_sink(place, shape, tile)


def _suffix(path: str) -> str:
    """Return the ending of a map's name; a pipe or device gets a .npy, which needs no way back."""
    if direct.is_written_directly(Path(os.fspath(path))):
        return SUFFIXES[0]
    return Path(os.fspath(path)).suffix.lower()


def _sinks(path: str) -> Sinks:
    name = _MODULES.get(_suffix(path), _MODULES[SUFFIXES[0]])
    return cast("Sinks", import_module(f"patchsim.output.map_files.{name}"))
