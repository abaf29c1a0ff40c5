"""Maps of which only the best of each block is kept: how often blocks are scored again."""

from __future__ import annotations

import numpy as np
import oracle
import pytest
from helpers.maps import found
from hypothesis import given, settings
from hypothesis import strategies as st

from patchsim.engines import BlockBounds, Bounds
from patchsim.geometry.tiles import Tile
from patchsim.matches import nms
from patchsim.ranking.block_cache import BlockCache
from patchsim.ranking.block_maxima import BlockMaxima


def maxima(scores, kernel, rescored, memory=0):
    def rescore(blocks):
        for block in blocks:
            rescored.append(block)
            yield block, Bounds(scores[block.index])

    kept = BlockMaxima(
        scores.shape, kernel, (1, 1), lambda y, x: scores[y, x], rescore, BlockCache(memory)
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


def test_windows_that_matches_removed_are_not_ranked():
    scores = np.full((64, 128), 0.1)
    scores[10:30, 10:30] = 0.85  # windows that overlap the best one
    scores[20, 20], scores[30, 100] = 1, 0.5
    ranked = []

    def exact(y, x):
        ranked.extend(zip(y.tolist(), x.tolist(), strict=True))
        return scores[y, x]

    cache = BlockCache(BlockCache.estimate_bytes(2))
    windows = BlockMaxima(
        scores.shape,
        (16, 16),
        (1, 1),
        exact,
        None,
        cache,
        evaluate_block=lambda tile: pytest.fail(f"{tile} is scored as a whole"),
        keeps_map=True,
    )
    windows.put(Tile(0, 0, *scores.shape), Bounds(scores, 0.05))
    assert found([windows], 2, None, 0.0) == [(20, 20, 16, 16, 1.0, 0), (100, 30, 16, 16, 0.5, 0)]
    assert set(ranked) == {(20, 20), (30, 100)}


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
    assert calls == [max(1, capacity // 4)] * (40 // max(1, capacity // 4))


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
    assert calls == [2] * 100


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_blocks_that_are_swept_have_the_matches_of_sorting_everything(data):
    stride = data.draw(st.tuples(st.integers(1, 3), st.integers(1, 3)), "stride")
    shape = data.draw(st.tuples(st.integers(1, 140), st.integers(1, 70)), "shape")
    count = data.draw(st.integers(1, 2), "kernels")
    sizes = [data.draw(st.tuples(st.integers(10, 90), st.integers(10, 90))) for _ in range(count)]
    levels = data.draw(st.sampled_from([3, 40, 10**6]), "levels")  # few levels make many ties
    error = data.draw(st.sampled_from([0.0, 0.01]), "error")
    threshold = data.draw(st.sampled_from([None, 0.5, 0.9]), "threshold")
    overlap = data.draw(st.sampled_from([0.0, 0.3, 0.5]), "overlap")
    random = np.random.default_rng(data.draw(st.integers(0, 1000), "seed"))
    capacity = data.draw(st.sampled_from([1, 9, 100]), "open blocks")
    cache = BlockCache(BlockCache.estimate_bytes(capacity), users=count)
    maps, several = [], []
    for size in sizes:
        scores = random.integers(0, levels, shape) / levels
        several.append(known_maxima(scores, size, stride, error, random, cache))
        maps.append(scores)
    wanted = oracle.best_matches(maps, sizes, stride, None, threshold, overlap)
    assert found(several, None, threshold, overlap) == wanted
    # Then the best window that is left of all, as margins ask for it.
    left = [one.best(-np.inf) for one in several]
    if threshold is None:
        assert left == [None] * count
    else:
        assert all(place is None or place[2] < threshold for place in left)


def known_maxima(scores, size, stride, error, random, cache):
    """Block maxima of scores that are off by up to `error`, also when blocks are scored again."""
    off = random.uniform(-error, error, scores.shape)

    def rescore(blocks):
        for block in blocks:
            yield block, Bounds((scores + off)[block.index], error)

    def exact(y, x):
        return scores[y // stride[0], x // stride[1]]

    made = BlockMaxima(scores.shape, size, stride, exact, rescore, cache)
    made.put(Tile(0, 0, *scores.shape), Bounds(scores + off, error))
    return made


def test_each_block_of_many_matches_is_scored_again_a_few_times_alone(rng):
    """Best first, each of 1,900 matches would lie in another block than the one before."""
    rescored = []
    scores = rng.random((6400, 128))
    windows = maxima(scores, (16, 16), rescored, BlockCache.estimate_bytes(40))
    peaks = nms.resolve([windows], [(0, 0)], top=None, threshold=0.5, overlap=0.0)
    assert len(peaks) > 1900
    assert len(rescored) <= 1.05 * windows.block_count


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
