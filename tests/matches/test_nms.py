"""Matches of several maps against sorting everything, with maps that are off on purpose."""

from __future__ import annotations

import numpy as np
import oracle
import pytest
from helpers.maps import field, found
from hypothesis import given, settings
from hypothesis import strategies as st

from patchsim.ranking.score_map import ScoreMap


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


def test_threshold_is_compared_with_the_exact_score():
    scores = np.array([[0.5, 0.4999999]])
    assert len(found([field(scores, kernel=(1, 1), error=0.01)], threshold=0.5)) == 1
    assert found([field(scores - 0.001, kernel=(1, 1), error=0.01)], threshold=0.5) == []


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
            each.evaluate_contenders()
    wanted = oracle.best_matches(maps, sizes, stride, top, threshold, overlap)
    assert found(fields, top, threshold, overlap) == wanted


def test_fields_that_begin_elsewhere_compete_where_they_lie_in_the_image():
    first, second = np.zeros((20, 20)), np.zeros((20, 20))
    first[2, 3], first[10, 10] = 0.9, 0.7
    second[7, 9], second[8, 10], second[0, 0] = 0.9, 0.8, 0.7
    fields = [field(first), field(second, kernel=(4, 4), error=0.01)]
    origins = [(0, 0), (-5, -7)]  # the second's 0.9 lies at y 2, x 2, before the first's
    assert found(fields, threshold=0.5, overlap=0.1, origins=origins) == [
        (2, 2, 4, 4, 0.9, 1), (-7, -5, 4, 4, 0.7, 1), (10, 10, 3, 3, 0.7, 0),
    ]  # fmt: skip


@pytest.mark.parametrize("overlap", [0.0, 0.5])
@pytest.mark.parametrize(("levels", "error"), [(40, 0.0), (10**6, 0.0), (10**6, 0.02)])
@pytest.mark.parametrize("sizes", [[(3, 4)], [(4, 3), (2, 5)]])
def test_many_matches_of_lists_are_those_of_sorting_everything(sizes, levels, error, overlap):
    random = np.random.default_rng(8)
    maps = [random.integers(0, levels, (36, 44)) / levels for _ in sizes]
    asked = []

    class Counted(ScoreMap):
        def best(self, floor):
            asked.append(floor)
            return super().best(floor)

    fields = [field(m, s, (1, 1), error, whole=True) for m, s in zip(maps, sizes, strict=True)]
    for one in fields:
        one.__class__ = Counted
    wanted = oracle.best_matches(maps, sizes, (1, 1), None, 0.6, overlap)
    assert found(fields, None, 0.6, overlap) == wanted
    assert len(wanted) > 50
    assert len(asked) <= len(sizes)  # lists have all


def test_a_list_of_equal_windows_that_is_too_long_is_left_to_the_search_window_by_window():
    scores = np.full((120, 120), 0.5)
    scores[::7, ::5] = 0.75
    one_by_one = found([field(scores, (2, 2))], 10**6, 0.5, 0.0)
    assert found([field(scores, (2, 2))], None, 0.5, 0.0) == one_by_one
    assert len(one_by_one) > 1000
