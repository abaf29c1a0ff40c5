"""Maps of which only the best of each block is kept: how often blocks are scored again."""

from __future__ import annotations

import numpy as np
import pytest

from patchsim.engines import BlockBounds, Bounds
from patchsim.geometry.tiles import Tile
from patchsim.matches import nms
from patchsim.ranking.block_cache import BlockCache
from patchsim.ranking.block_maxima import BlockMaxima


def maxima(scores, kernel, rescored):
    def rescore(blocks):
        for block in blocks:
            rescored.append(block)
            yield block, Bounds(scores[block.index])

    kept = BlockMaxima(
        scores.shape, kernel, (1, 1), lambda y, x: scores[y, x], rescore, BlockCache(0)
    )
    kept.put(Tile(0, 0, *scores.shape), Bounds(scores))
    return kept


def test_all_matches_are_found_and_blocks_without_windows_are_not_scored_again(rng):
    rescored = []
    scores = rng.random((320, 320))
    # The first match overlaps every window.
    windows = maxima(scores, (400, 400), rescored)
    peaks = nms.resolve([windows], [(0, 0)], top=None, threshold=None, overlap=0.0)
    row, col = np.unravel_index(scores.argmax(), scores.shape)
    assert [(peak.y, peak.x, peak.score) for peak in peaks] == [(row, col, scores.max())]
    assert len(rescored) <= windows.block_count + 1
    assert windows.best(-np.inf) is None
    assert len(rescored) <= windows.block_count + 1


@pytest.mark.parametrize("capacity", [0, 1, 40])
def test_wanted_blocks_are_scored_together(capacity, rng):
    """All windows above a threshold will be matches, so that their blocks are not opened singly."""
    scores = rng.random((640, 640)) / 2
    scores[5::64, 7::64] += 2  # in each of 100 blocks
    scores[200:] /= 4
    calls = []

    def rescore(blocks):
        calls.append(len(blocks))
        for block in blocks:
            yield block, Bounds(scores[block.index])

    memory = BlockCache.estimate_bytes(capacity)
    windows = BlockMaxima(
        scores.shape, (3, 3), (1, 1), lambda y, x: scores[y, x], rescore, BlockCache(memory)
    )
    windows.put(Tile(0, 0, *scores.shape), Bounds(scores))
    peaks = nms.resolve([windows], [(0, 0)], top=None, threshold=1.0, overlap=0.0)
    assert {(peak.y, peak.x) for peak in peaks} == {
        (y, x) for y in range(5, 200, 64) for x in range(7, 640, 64)
    }
    assert sum(calls) == windows.blocks_evaluated == 40
    assert calls == [max(2, capacity)] * (40 // max(2, capacity))


def test_the_blocks_of_several_kernels_share_the_cache(rng):
    scores = rng.random((640, 640)) / 2
    scores[5::64, 7::64] += 2
    calls, cache = [], BlockCache(BlockCache.estimate_bytes(20), users=2)

    def rescore(blocks):
        calls.append(len(blocks))
        for block in blocks:
            yield block, Bounds(scores[block.index])

    several = []
    for _ in range(2):
        several.append(
            BlockMaxima(scores.shape, (3, 3), (1, 1), lambda y, x: scores[y, x], rescore, cache)
        )
        several[-1].put(Tile(0, 0, *scores.shape), Bounds(scores))
    peaks = nms.resolve(several, [(0, 0)] * 2, top=None, threshold=1.0, overlap=1.0)
    assert len(peaks) == 200
    assert calls == [10] * 20


@pytest.mark.parametrize("is_last_first", [False, True])
def test_tiles_that_share_a_block_may_come_in_any_order(is_last_first, rng):
    """As memory may cut tiles within blocks, and several threads put them."""
    truth = rng.random((200, 70)).astype(np.float32)
    truth[64:100] /= 2
    truth[100, 5] = 2.0  # in the second tile, and in a block of the first one
    store = BlockMaxima(
        truth.shape,
        (3, 3),
        (1, 1),
        lambda y, x: truth[y, x].astype(float),
        None,
        BlockCache(1 << 20),
    )
    tiles = [Tile(0, 0, 100, 70), Tile(100, 0, 100, 70)]
    for tile in tiles[::-1] if is_last_first else tiles:
        cells = np.array(truth[tile.index])
        grid = -(-tile.rows // 64), -(-tile.cols // 64)
        best = [
            [cells[64 * i : 64 * i + 64, 64 * j : 64 * j + 64].max() for j in range(grid[1])]
            for i in range(grid[0])
        ]
        blocks = BlockBounds(np.array(best, np.float32), np.full(grid, 1e-5, np.float32))
        store.put(tile, Bounds(cells, 1e-5, blocks=blocks))
    assert store.best(-np.inf) == (100, 5, 2.0)
