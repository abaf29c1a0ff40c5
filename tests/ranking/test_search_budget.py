"""What a search by bounds may take before the direct search takes over."""

from __future__ import annotations

import math

import pytest

from patchsim.ranking.search_budget import SearchBudget


@pytest.mark.parametrize("threads", [1, 4])
def test_a_step_is_taken_if_it_is_cheap_beside_the_direct_search(threads):
    budget = SearchBudget(1.0, 0.01, threads, 1000)
    cheap = budget.cheap_seconds
    assert 0 < cheap < 0.5 * threads
    assert budget.invest(cheap, 0.0)
    assert not budget.invest(1.01 * cheap, 0.0)


def test_steps_that_bring_nothing_use_up_what_is_cheap():
    budget = SearchBudget(1.0, 0.01, 1, 1000)
    budget.spent = budget.cheap_seconds
    assert budget.cheap_seconds == 0
    assert not budget.invest(1e-6, 0.0)


def test_a_longer_step_is_taken_if_it_saves_more_and_leaves_what_is_cheap():
    budget = SearchBudget(1.0, 0.01, 1, 1000)
    cheap = budget.cheap_seconds
    saved = 10 * cheap
    assert not budget.invest(1.01 * saved, saved)
    assert budget.invest(0.5 * saved, saved)
    budget.spent = 0.5 * saved
    assert budget.cheap_seconds == pytest.approx(cheap)


def test_blocks_take_no_longer_than_all_windows():
    budget = SearchBudget(1.0, 0.1, 2, 1000)
    assert budget.direct_seconds(0) == 0
    assert 0.2 <= budget.direct_seconds(1) < budget.direct_seconds(2)
    assert budget.direct_seconds(1000) == 2.0
    assert budget.is_as_long_as_all(1000)
    assert not budget.is_as_long_as_all(1)
    assert budget.is_all_quicker(0.9)
    assert not budget.is_all_quicker(0.5)


def test_a_search_that_took_as_long_as_the_direct_one_is_over():
    budget = SearchBudget(1.0, 0.01, 2, 1000)
    budget.spent = 1.9
    assert not budget.is_spent
    budget.spent = 2.1
    assert budget.is_spent


def test_without_a_direct_search_every_step_is_taken():
    budget = SearchBudget(math.inf, math.inf, 1, 1000)
    budget.spent = 1e9
    assert budget.invest(1e9, 0.0)
    assert not budget.is_spent
    assert not budget.is_all_quicker(1e9)


def test_all_windows_are_scored_for_fewer_open_blocks_where_many_matches_are_wanted():
    budget = SearchBudget(1.0, 0.1, 2, 1000, wants_many=True)
    assert budget.is_all_quicker(0.6)
    assert not budget.is_all_quicker(0.4)
