"""Which plans are kept for the next image, and how many."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.problems import problem

from patchsim.planning import batching


def make(sides, memory):
    image = np.zeros((64, 64, 1), np.uint8)
    problems = [problem(image, image[:side, :side], "sad") for side in sides]
    return batching.make(problems, engine="auto", device="cpu", memory=memory, resident=0)


@pytest.fixture
def made(monkeypatch):
    """The memory of each call that was planned anew."""
    calls = []
    original = batching._make

    def noted(*words, memory, **keywords):
        calls.append(memory)
        return original(*words, memory=memory, **keywords)

    monkeypatch.setattr(batching, "_make", noted)
    return calls


def test_the_plans_used_last_are_kept_as_far_as_they_are_few(made, monkeypatch):
    monkeypatch.setattr(batching, "_MOST_PLANS", 7)
    first, second, third = 1 << 30, 2 << 30, 3 << 30
    for memory in (first, second, first, third):  # three plans each
        make((8, 9, 30), memory)
    assert made == [first, second, third]
    make((8, 9, 30), first)
    assert made == [first, second, third]
    make((8, 9, 30), second)  # was forgotten, as it was used before the others
    assert made == [first, second, third, second]


def test_plans_tell_how_many_kernels_have_the_very_same_size():
    """As many of those of one plan, on average, can share a tile's transforms."""
    image = np.zeros((64, 64, 1), np.uint8)
    for sides, groups, expected in (
        ([30] * 10, 1, 10),
        ([30] * 5 + [31, 32, 33], 2, 3),  # 32 and 33 begin a step of sizes
        ([30] * 80, 3, 27),
    ):
        problems = [problem(image, image[:side, :side], "ssd") for side in sides]
        made = batching.make(problems, engine="fft", device="cpu", memory=1 << 30, resident=0)
        assert len(made) == groups
        assert made[0].common.problem.same_size == expected
        assert {plan.problem.same_size for plan in made[0].plans} == {expected}


def test_the_last_plans_are_kept_however_many_they_are(made, monkeypatch):
    monkeypatch.setattr(batching, "_MOST_PLANS", 2)
    for _ in range(3):
        make((8, 9, 10), 1 << 30)
    assert made == [1 << 30]


def test_no_more_calls_are_kept_than_may_be(made, monkeypatch):
    monkeypatch.setattr(batching, "_MOST_KEPT", 2)
    for memory in (1 << 30, 2 << 30, 3 << 30, 2 << 30, 1 << 30):
        make((8,), memory)
    assert made == [1 << 30, 2 << 30, 3 << 30, 1 << 30]


@pytest.mark.parametrize("metric", ["sad", "ssd", "ncc", "zncc"])
@pytest.mark.parametrize("map_wanted", [True, False])
def test_the_plan_of_each_kernel_is_for_its_own_size_in_all_its_parts(metric, map_wanted, rng):
    """Blocks that bounds leave open are scored by the candidate that takes least for one."""
    image = rng.integers(0, 256, (568, 704, 1), "uint8")
    kernels = [image[: 43 - less, : 56 - less] for less in range(3)]
    problems = [problem(image, one, metric, map_wanted=map_wanted) for one in kernels]
    groups = batching.make(problems, engine="auto", device="cpu", memory=1 << 32, resident=0)
    assert any(group.common.is_envelope for group in groups)
    for plan, kernel in zip(batching.plans(groups), kernels, strict=True):
        parts = [part for part in (plan, plan.exact_plan, plan.direct_plan) if part]
        for part in [*parts, *(part.for_blocks for part in parts)]:
            assert part.problem.kernel == kernel.shape
            assert {one.problem.kernel for one in part.candidates} == {kernel.shape}
