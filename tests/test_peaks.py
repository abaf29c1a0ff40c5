"""Best-first resolution against sorting everything, with maps that are off on purpose."""

from __future__ import annotations

import numpy as np
import oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patchsim import peaks, tiles
from patchsim.engines import Bounds
from patchsim.tiles import Tile


def field(scores, kernel=(3, 3), stride=(1, 1), error=0.0, seed=0, *, whole=False):
    """A field whose map is off by up to `error`, and which knows the truth cell by cell.

    With `whole` also of a block at once.
    """
    scores = np.asarray(scores, dtype=float)
    asked, blocks = [], []

    def exact(y, x):
        asked.append((y, x))
        return float(scores[y // stride[0], x // stride[1]])

    def several(wanted):
        for tile in wanted:
            blocks.append(tile)
            yield tile, Bounds(scores[tile.index])

    made = peaks.Field(
        scores.shape, kernel, stride, exact, blocks=several if whole else None, keeps_map=True
    )
    made.asked, made.asked_blocks = asked, blocks
    noise = np.random.default_rng(seed).uniform(-1, 1, scores.shape) * error
    made.put(Tile(0, 0, *scores.shape), Bounds(scores + noise, error))
    return made


def found(fields, top=None, threshold=None, overlap=0.3, origins=None):
    origins = origins or [(0, 0)] * len(fields)
    peaks_found = peaks.resolve(fields, origins, top=top, threshold=threshold, overlap=overlap)
    sizes = [f.kernel for f in fields]
    return [(p.x, p.y, *sizes[p.field][::-1], p.score, p.field) for p in peaks_found]


def test_the_best_comes_first_and_overlaps_are_dropped():
    scores = np.zeros((20, 20))
    scores[5, 7], scores[6, 7], scores[15, 2] = 0.9, 0.8, 0.7
    assert [(x, y) for x, y, *_ in found([field(scores)], top=2)] == [(7, 5), (2, 15)]


def test_equal_scores_rank_by_y_then_x_then_kernel():
    scores = np.zeros((200, 200))
    for y, x in ((150, 3), (3, 150), (3, 70), (70, 3)):
        scores[y, x] = 0.5
    both = [field(scores), field(scores)]
    assert [(x, y, k) for x, y, _, _, _, k in found(both, top=8, overlap=1.0)] == [
        (70, 3, 0), (70, 3, 1), (150, 3, 0), (150, 3, 1), (3, 70, 0), (3, 70, 1),
        (3, 150, 0), (3, 150, 1),
    ]  # fmt: skip


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
    assert len(rough.asked) <= 12 * peaks.SINGLES
    assert (rough.singly, rough.blocks) == (len(rough.asked), 12)


def test_blocks_that_could_hold_the_best_are_known_before_anything_is_settled():
    scores = np.zeros((130, 130))
    scores[64:80, 64:80] = 0.9  # the block in the middle
    rough = field(scores, error=0.1, whole=True)
    rough.settle_contenders()
    assert rough.asked_blocks == [Tile(64, 64, 64, 64)]
    certain = field(scores, whole=True)
    certain.settle_contenders()
    assert certain.asked_blocks == []


def test_scores_that_are_settled_stand_in_the_map():
    scores = np.random.default_rng(3).random((100, 100))
    rough = field(scores, error=1e-2)
    best = found([rough], top=2)
    for x, y, _, _, score, _ in best:
        assert rough.map[y, x] == np.float32(score)
    block = field(scores, error=1e-2, whole=True)
    found([block], top=2)
    settled = np.zeros(scores.shape, bool)
    for tile in block.asked_blocks:
        settled[tile.index] = True
    assert 0 < settled.sum() < settled.size
    np.testing.assert_array_equal(block.map[settled], scores[settled].astype(np.float32))
    for y, x in block.asked:
        settled[y, x] = True
    assert (block.map[~settled] != scores[~settled].astype(np.float32)).all()


def test_threshold_is_compared_with_the_exact_score():
    scores = np.array([[0.5, 0.4999999]])
    assert len(found([field(scores, kernel=(1, 1), error=0.01)], threshold=0.5)) == 1
    assert found([field(scores - 0.001, kernel=(1, 1), error=0.01)], threshold=0.5) == []


def test_a_cell_that_no_engine_filled_is_noticed():
    incomplete = peaks.Field((2, 2), (1, 1), (1, 1), lambda _y, _x: 0.0)
    incomplete.put(Tile(0, 0, 1, 2), Bounds(np.zeros((1, 2))))
    with pytest.raises(ValueError, match="no score in row 1, col 0"):
        found([incomplete])


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_any_maps_errors_and_options_give_what_sorting_gives(data):
    stride = data.draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    shape = data.draw(st.tuples(st.integers(1, 9), st.integers(1, 70)))
    count = data.draw(st.integers(1, 3))
    sizes = [data.draw(st.tuples(st.integers(1, 6), st.integers(1, 6))) for _ in range(count)]
    levels = data.draw(st.sampled_from([2, 5, 1000]))  # few levels make many ties
    seed = data.draw(st.integers(0, 1000))
    maps = [
        np.random.default_rng(seed + i).integers(0, levels, shape) / levels for i in range(count)
    ]
    error = data.draw(st.sampled_from([0.0, 1e-9, 0.01, 0.3]))
    top = data.draw(st.one_of(st.none(), st.integers(1, 8)))
    threshold = data.draw(st.one_of(st.none(), st.floats(0, 1)))
    overlap = data.draw(st.sampled_from([0.0, 0.1, 0.3, 0.5, 1.0]))
    whole = data.draw(st.booleans())
    fields = [
        field(m, s, stride, error, seed, whole=whole) for m, s in zip(maps, sizes, strict=True)
    ]
    if whole and data.draw(st.booleans()):
        for each in fields:
            each.settle_contenders()
    wanted = oracle.best_matches(maps, sizes, stride, top, threshold, overlap)
    assert found(fields, top, threshold, overlap) == wanted


def test_tiles_cover_a_map_once():
    seen = np.zeros((11, 7), dtype=int)
    for tile in tiles.split((11, 7), (4, 3)):
        seen[tile.index] += 1
    assert (seen == 1).all()


def test_a_tile_reads_the_pixels_of_its_windows():
    rows, cols = Tile(2, 3, 4, 5).source((7, 6), (2, 3))
    assert (rows.start, rows.stop) == (4, 4 + 3 * 2 + 7)
    assert (cols.start, cols.stop) == (9, 9 + 4 * 3 + 6)


def test_fields_that_begin_elsewhere_compete_where_they_lie_in_the_image():
    first, second = np.zeros((20, 20)), np.zeros((20, 20))
    first[2, 3], first[10, 10] = 0.9, 0.7
    second[7, 9], second[8, 10], second[0, 0] = 0.9, 0.8, 0.7
    fields = [field(first), field(second, kernel=(4, 4), error=0.01)]
    origins = [(0, 0), (-5, -7)]  # the second's 0.9 lies at y 2, x 2, before the first's
    assert found(fields, threshold=0.5, overlap=0.1, origins=origins) == [
        (2, 2, 4, 4, 0.9, 1), (-7, -5, 4, 4, 0.7, 1), (10, 10, 3, 3, 0.7, 0),
    ]  # fmt: skip


def test_windows_that_contend_only_after_the_first_match_are_settled_together():
    scores = 0.6 + 0.01 * np.random.default_rng(4).random((320, 320))
    scores[200, 100] = 0.95
    rough = field(scores, error=0.02, whole=True)
    assert found([rough], top=6) == found([field(scores)], top=6)
    assert len(rough.asked) <= 3 * peaks._MANY
