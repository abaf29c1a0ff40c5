"""The map as an array in a file."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from patchsim.geometry.tiles import Tile
from patchsim.output import map_files
from patchsim.output.contract import Finished

SUFFIXES = map_files.SUFFIXES
IS_PER_KERNEL = True
NEEDS_MAP = True
NEEDS_IMAGE = False


def working_bytes(cells: int, pixels: int) -> int:  # noqa: ARG001 - as `FileExporter` has it
    return 0  # the map is written as it lies in memory


def check_image(path: str, height: int, width: int) -> None:
    """Any size of an image will do."""


def write(file: BinaryIO | Path, search: Finished, kernel: int, path: str) -> str:
    scores = search.maps[kernel]
    rows, cols = scores.shape
    sink = map_files.sink_of(path, file, (rows, cols))
    sink.put(Tile(0, 0, rows, cols), scores)
    sink.finish()
    return describe(search, kernel, (rows, cols))


def describe(search: Finished, kernel: int, shape: tuple[int, int]) -> str:
    """Return the text about a map of (rows, cols) that is written."""
    x, y = search.kernels[kernel].origin
    start = f" from x={x}, y={y}" if (x, y) != (0, 0) else ""
    return f": float32, {shape[0]} rows x {shape[1]} columns{start}"
