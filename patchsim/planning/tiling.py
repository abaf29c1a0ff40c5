"""The tiles of a plan: how large they are, and how many are computed at the same time."""

from __future__ import annotations

import math

from patchsim import engines
from patchsim.geometry.blocks import BLOCK
from patchsim.planning import candidates as considered
from patchsim.planning.candidates import Candidate

# The time of a tile: short enough that progress moves and an interrupt is answered.
_TILE_SECONDS = 0.1

# A shorter search runs on one thread, as starting threads takes half a millisecond.
_WORTH_SHARING_SECONDS = 0.002

# A tile of an image that is not held in memory is so many kernels tall, where memory allows.
_KERNELS_TALL = 2
# Its smallest tile is so many windows tall and wide.
_LEAST_READ = 16
# Its largest has so many windows, or is so many kernels tall where the image is wide. More would
# make the memory grow with the height of the image.
_MOST_READ, _MOST_KERNELS_TALL = 1 << 21, 8


def least(candidate: Candidate) -> tuple[int, int]:
    """Return the smallest tile: a window, or some where each tile is read from a file."""
    problem = candidate.problem
    if problem.reading is None:
        return 1, 1
    rows, cols = problem.map_shape
    return min(_LEAST_READ, rows), min(_LEAST_READ, cols)


def of_one_thread(chosen: Candidate) -> tuple[int, int]:
    """Return a tile of a thread's share of the rows, with columns for `_TILE_SECONDS` of work."""
    rows, cols = chosen.problem.map_shape
    tall = _ceil_to_blocks(min(4 * BLOCK, -(-rows // chosen.problem.threads)))
    band_seconds = chosen.work * chosen.problem.threads * min(1, tall / rows)
    wide = int(cols * min(1, _TILE_SECONDS / band_seconds)) if band_seconds > 0 else cols
    return tall, wide


def _ceil_to_blocks(cells: int) -> int:
    return -(-cells // BLOCK) * BLOCK


def floor_to_blocks(cells: int, length: int) -> int:
    """Return the cells of whole blocks, at least one, or the whole length of the map."""
    return length if cells >= length else min(length, max(1, cells // BLOCK) * BLOCK)


def chosen_for(chosen: Candidate, memory: int, resident: int) -> tuple[tuple[int, int], int, int]:
    """Return the tile, how many are in flight, and their bytes, as time and memory allow."""
    engine, problem = engines.load(chosen.engine), chosen.problem
    rows, cols = problem.map_shape
    parallel = 1 if engine.OWN_THREADS else problem.threads

    tile = engine.best_tile(problem)
    is_square = tile is not None  # little of a square tile is border, where pixels are read twice
    if tile is None:
        tile = _band_tile(chosen, parallel)
    tall = 0
    if problem.reading is not None:  # low tiles read each row of pixels again and again
        tall = max(BLOCK, problem.kernel[0] // problem.stride[0])
        most = max(_MOST_READ // tile[1], _MOST_KERNELS_TALL * tall)
        tile = min(tile[0], floor_to_blocks(most, rows)), tile[1]
    parallel = min(parallel, -(-rows // tile[0]) * -(-cols // tile[1]))
    if not is_square and problem.device == "cpu" and problem.reading is None:
        tile = considered.cached_tile(tile)
    while parallel > 1 and resident + considered.working_bytes(chosen, (1, 1), parallel) > memory:
        parallel -= 1
    while resident + considered.working_bytes(chosen, tile, parallel) > memory:
        if is_square and parallel > 1:
            parallel -= 1
        elif tile[1] > (tile[0] if is_square else BLOCK) and (is_square or tile[0] < 2 * tall):
            tile = tile[0], -(-tile[1] // 2)
        # Rows are halved first: a tile as wide as the map reads each row of pixels once.
        elif tile[0] > 1:
            tile = -(-tile[0] // 2), tile[1]
        else:
            tile = 1, -(-tile[1] // 2)
    return tile, parallel, considered.working_bytes(chosen, tile, parallel)


def _band_tile(chosen: Candidate, parallel: int) -> tuple[int, int]:
    """Return a tile of one thread's work; a search too short to share is one tile."""
    problem = chosen.problem
    rows, cols = problem.map_shape
    seconds = chosen.work * (parallel if problem.device == "cpu" else len(problem.devices))
    count = max(seconds / _TILE_SECONDS, min(parallel, seconds / _WORTH_SHARING_SECONDS), 1)
    cells = max(1, int(rows * cols / count))
    if count > 1:  # each thread gets as many tiles of about one height
        count = math.ceil(count / parallel) * parallel
    bands = min(rows, math.ceil(count))
    tall = -(-rows // bands)
    if problem.reading is not None:  # each row of pixels is read once or twice, not many times
        tall = max(tall, min(rows, -(-_KERNELS_TALL * problem.kernel[0] // problem.stride[0])))
    return tall, min(cols, cells)
