"""The best window of a whole map beside the largest of all exact scores."""

from __future__ import annotations

import numpy as np
import pytest

from patchsim.engines import BlockBounds, Bounds
from patchsim.geometry.blocks import reduce_blocks
from patchsim.geometry.tiles import Tile
from patchsim.ranking.best_window import best_window

SHAPE, STRIDE = (150, 201), (2, 3)


def found(true, scores, errors):
    """Search a map of scores that are off by up to the errors, float32 [block rows, block cols]."""
    scores = scores.astype(np.float32)
    maxima = reduce_blocks(np.maximum, scores, Tile(0, 0, *SHAPE))
    bounds = Bounds(scores, float(errors.max()), blocks=BlockBounds(maxima, errors))

    def exact(y, x):
        assert len(y) <= 32
        return true[y // STRIDE[0], x // STRIDE[1]]

    return best_window(bounds, exact, STRIDE), scores


@pytest.mark.parametrize("error", [1e-6, 1e-3, 0.02])
def test_it_is_the_best_of_all_or_left_to_a_store(error):
    rng = np.random.default_rng(5)
    told = 0
    for _ in range(40):
        true = 0.9 * rng.random(SHAPE) ** rng.choice([0.01, 0.1, 1])
        true[rng.integers(150), rng.integers(201)] = 0.9 + rng.choice([0, 1, 3]) * error
        errors = (rng.random((3, 4)) * error).astype(np.float32)
        off = np.kron(errors, np.ones((64, 64)))[: SHAPE[0], : SHAPE[1]] * 0.999
        best, scores = found(true, true + off * rng.uniform(-1, 1, SHAPE), errors)
        row, col = divmod(int(true.argmax()), SHAPE[1])
        if best is not None:
            told += 1
            assert best == (row * STRIDE[0], col * STRIDE[1], true[row, col])
            assert scores[row, col] == np.float32(true[row, col])
    assert 0 < told < 40


@pytest.mark.parametrize("second", [(3, 9), (3, 70), (140, 0)])
def test_of_equal_windows_of_one_block_the_first_is_the_best(second):
    true = np.full(SHAPE, 0.25)
    true[3, 8] = true[second] = 0.75
    best, _ = found(true, true, np.zeros((3, 4), np.float32))
    assert best == ((6, 24, 0.75) if second == (3, 9) else None)


def test_many_windows_that_could_be_the_best_are_left_to_a_store():
    true = np.full(SHAPE, 0.25)
    true[3, :33] = 0.75
    assert found(true, true, np.zeros((3, 4), np.float32))[0] is None
    true[3, 0] = 0.25
    assert found(true, true, np.zeros((3, 4), np.float32))[0] == (6, 3, 0.75)


def test_a_missing_score_is_no_best():
    true = np.full(SHAPE, 0.25)
    true[3, 8], scores = 0.75, true.copy()
    scores[70, 5] = np.nan
    assert found(true, scores, np.zeros((3, 4), np.float32))[0] is None
