"""The map as a NumPy file."""

from __future__ import annotations

from typing import BinaryIO

import numpy as np

from patchsim.output.contract import Finished

SUFFIX = ".npy"
IS_PER_KERNEL = True
NEEDS_MAP = True
NEEDS_IMAGE = False


def working_bytes(cells: int, pixels: int) -> int:  # noqa: ARG001
    return 0  # the map is written as it lies in memory


def write(file: BinaryIO, search: Finished, kernel: int) -> str:
    scores = search.maps[kernel]
    # The header and the values are written one after the other: np.save seeks, a pipe cannot.
    header = np.lib.format.header_data_from_array_1_0(scores)
    np.lib.format.write_array_header_1_0(file, header)
    file.write(scores.data)
    rows, cols = scores.shape
    x, y = search.kernels[kernel].origin
    start = f" from x={x}, y={y}" if (x, y) != (0, 0) else ""
    return f": float32, {rows} rows x {cols} columns{start}"
