"""The table of `--explain`: which engine, why, and what the others would take."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

import patchsim
from patchsim.planning import candidate_table
from patchsim.planning.candidates import duration


@pytest.fixture
def plan(rng):
    image = rng.integers(0, 256, (90, 100, 3), np.uint8)
    return patchsim.match(image, image[10:30, 20:40], map=True).plans[0]


def rows(plan):
    return [re.split(r" {2,}", line, maxsplit=3) for line in
            candidate_table.lines(plan.chosen, plan.candidates)]  # fmt: skip


def test_each_engine_has_a_row(plan):
    title, *found = rows(plan)
    assert title == ["engine", "device", "time", "why"]
    assert [row[0] for row in found] == [one.engine for one in plan.candidates]
    assert (
        len(
            {
                line.index(row[3])
                for line, row in zip(
                    candidate_table.lines(plan.chosen, plan.candidates)[1:], found, strict=True
                )
            }
        )
        == 1
    )
    for row, one in zip(found, plan.candidates, strict=True):
        if one.refusal is not None:
            assert row[2:] == ["-", one.refusal]
        elif one.engine == plan.engine:
            assert row[3] == "chosen: the fastest that can do it"
        else:
            assert row[2] == duration(one.seconds)
            assert re.fullmatch(r"[\d.,]+ times as long", row[3])


def test_a_faster_engine_without_memory_says_so(plan):
    faster = [
        one._replace(work=plan.chosen.work / 10, start_up=0.0, refusal=None)
        if one.engine == "unfold"
        else one
        for one in plan.candidates
    ]
    found = rows(replace(plan, candidates=tuple(faster)))
    assert found[-1][3] == "it is faster, but the memory does not suffice"


def test_the_plan_prints_the_table(plan):
    text = str(plan)
    for line in candidate_table.lines(plan.chosen, plan.candidates):
        assert line in text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.00042, "0.4 ms"), (0.00996, "10 ms"), (0.0123, "12 ms"), (0.9996, "1.0 s"), (3, "3.0 s"),
     (99, "99.0 s"), (180, "3 min")],
)  # fmt: skip
def test_durations(seconds, text):
    assert duration(seconds) == text
