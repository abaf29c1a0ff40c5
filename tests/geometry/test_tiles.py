"""Rectangles of the map: the same cells, none twice."""

from __future__ import annotations

import numpy as np
import pytest

from patchsim.engines import Problem, simd
from patchsim.geometry import tiles
from patchsim.geometry.blocks import BLOCK
from patchsim.geometry.tiles import Tile
from patchsim.planning.candidates import Candidate
from patchsim.planning.planner import Plan
from patchsim.search import block_scores


def covered(parts, shape):
    """How often each cell is."""
    count = np.zeros(shape, int)
    for part in parts:
        count[part.index] += 1
    return count


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.9, 1])
def test_neighbours_in_a_row_become_one(share, rng):
    shape = (50, 70)
    parts = [part for part in tiles.split(shape, (8, 9)) if rng.random() < share]
    runs = tiles.join_neighbours(rng.permutation(np.array(parts, object)).tolist())
    np.testing.assert_array_equal(covered(runs, shape), covered(parts, shape))
    ends = {(run.top, run.left + run.cols) for run in runs}
    assert not any((run.top, run.left) in ends for run in runs)


def test_tiles_of_unequal_height_stay_apart():
    parts = [Tile(0, 0, 2, 3), Tile(0, 3, 1, 3)]
    assert tiles.join_neighbours(parts) == parts[::-1]


@pytest.mark.parametrize("share", [0, 0.02, 0.3, 1])
def test_blocks_are_scored_once_in_tiles_or_runs(share, rng, monkeypatch):
    shape = (5 * BLOCK + 17, 9 * BLOCK + 3)
    problem = Problem(
        (shape[0] + 4, shape[1] + 4, 1), (5, 5, 1), "uint8", (1, 1), "sad", 255, "cpu", 2
    )
    tile = 2 * BLOCK, 4 * BLOCK
    direct = Plan(Candidate("simd", problem, 0, 1, None), tile, 2, 10**9, 0, 0, ())
    # A tile costs as much as two runs of blocks in it.
    monkeypatch.setattr(simd, "seconds", lambda part: 2.0 if part.map_shape == tile else 1.0)
    blocks = [block for block in tiles.split(shape, (BLOCK, BLOCK)) if rng.random() < share]
    found = list(block_scores._merged(blocks, direct))
    count = covered(found, shape)
    assert count.max(initial=0) <= 1
    assert (count[covered(blocks, shape) > 0] == 1).all()
    assert all(part.rows <= tile[0] and part.cols <= tile[1] for part in found)
    if share == 1:
        assert Tile(0, 0, *tile) in found


def test_tiles_cover_a_map_once():
    seen = np.zeros((11, 7), dtype=int)
    for tile in tiles.split((11, 7), (4, 3)):
        seen[tile.index] += 1
    assert (seen == 1).all()


def test_a_tile_reads_the_pixels_of_its_windows():
    rows, cols = Tile(2, 3, 4, 5).source((7, 6), (2, 3))
    assert (rows.start, rows.stop) == (4, 4 + 3 * 2 + 7)
    assert (cols.start, cols.stop) == (9, 9 + 4 * 3 + 6)
