"""Files of maps: `sink_of` takes the scores tile by tile, in any order, and writes them."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import BinaryIO, cast

from patchsim.output.map_files.contract import MapSink, Sinks

# By the suffix of the file; what is written to directly, such as a pipe, gets a .npy.
_MODULES = {".npy": "npy_map", ".tif": "tiff_map", ".tiff": "tiff_map"}
SUFFIXES = tuple(_MODULES)


def check_packages(path: str) -> None:
    """Check that the packages are installed that write a map to this path.

    Raises
    ------
    InputError
        If they are not; it names them.
    """
    _sinks(path).check_packages(path)


def is_compressed(path: str) -> bool:
    """Return whether a map takes less room there than its values do."""
    return _sinks(path).IS_COMPRESSED


def sink_of(
    path: str, place: BinaryIO, shape: tuple[int, int], tile: tuple[int, int] | None = None
) -> MapSink:
    """Return what writes the map of a path.

    Parameters
    ----------
    path : str
        Its suffix says in which format.
    place : binary file
        The open file, which takes the path's place once it is whole.
    shape : (rows, cols)
        Of the map.
    tile : (rows, cols), optional
        That of the tiles in which scores will come; the whole map by default.
    """
    return _sinks(path).open_sink(place, shape, tile or shape)


def _sinks(path: str) -> Sinks:
    suffix = Path(os.fspath(path)).suffix.lower()
    name = _MODULES.get(suffix, _MODULES[SUFFIXES[0]])
    return cast("Sinks", import_module(f"patchsim.output.map_files.{name}"))
