"""Maps that are off on purpose: what is settled exactly, and how little of it."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.maps import field, found

from patchsim.engines import Bounds
from patchsim.geometry.tiles import Tile
from patchsim.ranking.evaluated_blocks import _MANY, SINGLES, EvaluatedBlocks
from patchsim.ranking.score_map import TOGETHER, ScoreMap


def test_a_flat_map_needs_no_exact_scores():
    flat = field(np.ones((300, 300)), kernel=(16, 16))
    assert found([flat], top=2, overlap=0.0)[1][:2] == (16, 0)
    assert flat.asked == []


def test_an_inexact_map_is_settled_with_few_exact_scores():
    scores = np.random.default_rng(3).random((100, 100))
    rough = field(scores, error=1e-3)
    exact = field(scores)
    assert found([rough], top=5) == found([exact], top=5)
    assert 0 < len(rough.asked) < 200


def test_many_windows_that_could_be_best_are_settled_block_by_block():
    flat = np.full((200, 150), 0.5)
    rough = field(flat, error=1e-3, whole=True)
    # Windows beside the reported ones are dropped, whatever they score.
    assert found([rough], top=3, overlap=0.0) == found([field(flat)], top=3, overlap=0.0)
    assert len(rough.asked_blocks) == len(set(rough.asked_blocks)) == 12
    assert len(rough.asked) <= 12 * (SINGLES + TOGETHER)
    assert (rough.windows_evaluated, rough.blocks_evaluated) == (len(rough.asked), 12)


@pytest.mark.parametrize(("side", "windows", "calls"), [(8, 1, 8), (64, 1, 8), (64, 16, 4)])
def test_a_block_is_scored_as_a_whole_after_calls_that_take_as_long(side, windows, calls):
    blocks = EvaluatedBlocks(lambda _tiles: pytest.fail("nothing is evaluated"), (side, side))
    due = []
    for _ in range(calls):
        due.append(blocks.is_due((0, 0)))
        blocks.count((0, 0), windows)
    assert due == [False] * calls
    assert blocks.is_due((0, 0))
    assert not blocks.is_due((0, 64))


def test_blocks_that_could_hold_the_best_are_known_before_anything_is_settled():
    scores = np.zeros((130, 130))
    scores[64:80, 64:80] = 0.9  # the block in the middle
    rough = field(scores, error=0.1, whole=True)
    rough.evaluate_contenders()
    assert rough.asked_blocks == [Tile(64, 64, 64, 64)]
    certain = field(scores, whole=True)
    certain.evaluate_contenders()
    assert certain.asked_blocks == []


def test_scores_that_are_settled_stand_in_the_map():
    scores = np.random.default_rng(3).random((100, 66))  # the blocks on the right are small
    rough = field(scores, error=1e-2)
    best = found([rough], top=2)
    for x, y, _, _, score, _ in best:
        assert rough.map[y, x] == np.float32(score)
    block = field(scores, error=0.2, whole=True)
    found([block], top=2)
    settled = np.zeros(scores.shape, bool)
    for tile in block.asked_blocks:
        settled[tile.index] = True
    assert 0 < settled.sum() < settled.size
    np.testing.assert_array_equal(block.map[settled], scores[settled].astype(np.float32))
    for y, x in block.asked:
        settled[y, x] = True
    assert (block.map[~settled] != scores[~settled].astype(np.float32)).all()


def test_a_cell_that_no_engine_filled_is_noticed():
    incomplete = ScoreMap((2, 2), (1, 1), (1, 1), lambda _y, _x: 0.0)
    incomplete.put(Tile(0, 0, 1, 2), Bounds(np.zeros((1, 2))))
    with pytest.raises(ValueError, match="no score in row 1, col 0"):
        found([incomplete])


def test_windows_that_contend_only_after_the_first_match_are_settled_together():
    scores = 0.6 + 0.01 * np.random.default_rng(4).random((320, 320))
    scores[200, 100] = 0.95
    rough = field(scores, error=0.02, whole=True)
    assert found([rough], top=6) == found([field(scores)], top=6)
    assert len(rough.asked) <= 3 * _MANY
