"""The best window of a whole map beside the largest of all scores, the best few beside a store."""

from __future__ import annotations

import numpy as np
import pytest

from patchsim.engines import BlockBounds, Bounds
from patchsim.geometry.blocks import reduce_blocks
from patchsim.geometry.tiles import Tile
from patchsim.matches.nms import resolve
from patchsim.ranking.best_window import best_places, best_window
from patchsim.ranking.score_map import ScoreMap

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


@pytest.mark.parametrize("error", [1e-9, 1e-3, 0.02])
def test_it_is_the_best_of_scores_with_an_error_each(error):
    rng = np.random.default_rng(6)
    shares = []
    for _ in range(60):
        true = 0.9 * rng.random(SHAPE) ** rng.choice([0.01, 0.1, 1])
        true[tuple(rng.integers(0, SHAPE, (rng.integers(1, 40), 2)).T)] = 0.9  # equal ones
        errors = rng.random(SHAPE) * error
        scores = true + errors * rng.uniform(-1, 1, SHAPE)
        asked = []

        def exact(y, x, true=true, asked=asked):
            asked.append(len(y))
            return true[y // STRIDE[0], x // STRIDE[1]]

        best = best_window(Bounds(scores, errors), exact, STRIDE)
        if best is None:
            assert (scores + errors >= (scores - errors).max()).sum() > true.size // 16
            continue
        row, col = divmod(int(true.argmax()), SHAPE[1])
        assert best == (row * STRIDE[0], col * STRIDE[1], true[row, col])
        assert scores[row, col] == true[row, col]
        shares.append(sum(asked) / true.size)
    assert len(shares) > 10
    assert max(shares) <= 1 / 16


def test_a_missing_score_among_those_with_an_error_each_is_no_best():
    scores = np.full(SHAPE, 0.25)
    scores[70, 5] = np.nan
    assert best_window(Bounds(scores, np.zeros(SHAPE)), lambda *_: None, STRIDE) is None


@pytest.mark.parametrize("overlap", [0, 0.3, 0.9, 1])
@pytest.mark.parametrize("error", [0.0, 1e-6, 1e-3])
def test_the_best_places_are_those_of_a_store(error, overlap):
    rng = np.random.default_rng(7)
    kernel, told = (9, 14), 0
    for _ in range(30):
        # Rounded scores are equal in many places, and others closer than the error.
        digits = rng.choice([2, 4, 9])
        true = np.round(0.9 * rng.random(SHAPE) ** rng.choice([1, 40]), digits)
        scores = true if error == 0 else (true + error * rng.uniform(-0.9, 0.9, SHAPE))
        scores = scores if error == 0 else scores.astype(np.float32)

        def exact(y, x, true=true):
            return true[y // STRIDE[0], x // STRIDE[1]]

        bounds, count = Bounds(scores.copy(), error + 1e-7 * (error > 0)), int(rng.integers(2, 9))
        places = best_places(bounds, exact, kernel, STRIDE, overlap=overlap, count=count)
        if places is None:
            continue
        told += 1
        store = ScoreMap(SHAPE, kernel, STRIDE, exact)
        store.put(Tile(0, 0, *SHAPE), Bounds(scores, bounds.error))
        peaks = resolve([store], [(0, 0)], top=count, threshold=None, overlap=overlap)
        assert places == [(peak.y, peak.x, peak.score) for peak in peaks]
        for y, x, score in places:
            assert bounds.map[y // STRIDE[0], x // STRIDE[1]] == bounds.map.dtype.type(score)
    assert told > 5


def test_fewer_places_than_were_asked_for_are_left_to_a_store():
    true = np.full(SHAPE, 0.25)
    size = 2 * SHAPE[0], 3 * SHAPE[1]  # each window overlaps all others
    assert best_places(Bounds(true), None, size, STRIDE, overlap=0, count=2) is None
    assert best_places(Bounds(true), None, size, STRIDE, overlap=0, count=1) == [(0, 0, 0.25)]


def test_a_missing_score_is_no_best_place():
    true = np.full(SHAPE, 0.25)
    true[70, 5] = np.nan
    for error in (0.0, 1e-3):
        found = best_places(Bounds(true, error), None, (9, 9), STRIDE, overlap=0, count=1)
        assert found is None
