"""Blocks in order of their bounds, of which few are entries at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patchsim.ranking import block_queue
from patchsim.ranking.block_queue import BlockQueue


@pytest.fixture(autouse=True)
def few_entries(monkeypatch):
    monkeypatch.setattr(block_queue, "_FIRST_ENTRIES", 3)


def drained(queue):
    while (first := queue.first) is not None:
        yield first
        queue.drop_first()


def test_blocks_come_in_order_and_equal_ones_as_they_lie(rng):
    bounds = rng.integers(0, 20, (13, 17)) / 7
    bounds[3, 4:9] = -math.inf
    listed = [(-bound, block) for block, bound in enumerate(bounds.ravel()) if bound > -math.inf]
    assert [(entry[0], entry[4]) for entry in drained(BlockQueue(bounds))] == sorted(listed)


def test_without_blocks():
    assert BlockQueue(np.full((2, 3), -math.inf)).first is None
    assert list(BlockQueue(np.zeros((0, 0))).in_order()) == []


@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_lower_scores_and_bounds_are_sorted_in(data, seed):
    """Against a list that is sorted anew each time; equal bounds may change places."""
    rng = np.random.default_rng(seed)
    bounds = rng.integers(0, data.draw(st.integers(1, 30)), data.draw(st.integers(1, 60))) / 8
    listed = sorted((-bound, False, 0, 0, block, 0) for block, bound in enumerate(bounds))
    queue = BlockQueue(bounds[None])
    while listed:
        first = queue.first
        assert first[:2] == listed[0][:2]
        listed.remove(first)
        assert queue.second_bound == max((-entry[0] for entry in listed), default=-math.inf)
        seen = [entry[:2] for entry in queue.in_order()]
        assert seen == sorted(entry[:2] for entry in [first, *listed])[: len(seen)]
        if rng.random() < 0.5:
            queue.drop_first()
            continue
        value = first[0] + rng.integers(0, 9) / 8
        entry = (value, bool(rng.random() < 0.5), 1, 2, first[4], 3)
        queue.replace_first(entry)
        listed = sorted([*listed, entry])
    assert queue.first is None
