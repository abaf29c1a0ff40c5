"""Maps of which only the best of each block is kept: how often blocks are scored again."""

from __future__ import annotations

import heapq

import numpy as np

from patchsim.engines import Bounds
from patchsim.geometry.tiles import Tile
from patchsim.matches import nms
from patchsim.ranking import block_maxima
from patchsim.ranking.block_maxima import BlockCache, BlockMaxima


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


def test_entries_of_a_heap_are_sorted(rng):
    heap = [(float(value), False, 0, 0, block, 0) for block, value in enumerate(rng.random(100))]
    heapq.heapify(heap)
    kept = list(heap)
    assert list(block_maxima._sorted(heap)) == sorted(kept)
    assert heap == kept
    assert list(block_maxima._sorted([])) == []
