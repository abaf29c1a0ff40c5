"""Which windows are matches, and their margins, against sorting everything."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import numpy as np
import oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from patchsim import match
from patchsim.engines import Bounds
from patchsim.geometry.tiles import Tile
from patchsim.matches import selection
from patchsim.ranking.score_map import ScoreMap


def field(scores, kernel):
    made = ScoreMap(scores.shape, kernel, (1, 1), lambda y, x: float(scores[y, x]))
    made.put(Tile(0, 0, *scores.shape), Bounds(scores, 0.0))
    return made


def select(maps, sizes, groups, **options):
    fields = [field(scores, size) for scores, size in zip(maps, sizes, strict=True)]
    return selection.select(
        fields, [(0, 0)] * len(fields), groups=groups, plain=lambda _: 0.0, **options
    )


def rival(found, maps, size, overlap):
    """The best score of a window that is no match and overlaps none; None without one."""
    boxes = [(peak.x, peak.y, *size[::-1]) for peak in found]
    left = [
        scores[y][x]
        for scores in maps
        for y, x in itertools.product(range(len(scores)), range(len(scores[0])))
        if all(
            (x, y) != box[:2] and oracle.overlap((x, y, *size[::-1]), box) <= overlap
            for box in boxes
        )
    ]
    return max(left, default=None)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_margins_are_those_of_the_definition(data):
    count = data.draw(st.integers(1, 2))
    shape = data.draw(st.tuples(st.integers(1, 7), st.integers(1, 12)))
    # All windows of one size, so that a box tells the window.
    size = data.draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    levels = data.draw(st.sampled_from([3, 1000]))
    rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
    maps = [rng.integers(0, levels, shape) / levels for _ in range(count)]
    overlap = data.draw(st.sampled_from([0.0, 0.3, 0.6]))
    top = data.draw(st.one_of(st.none(), st.integers(1, 6)))
    threshold = data.draw(st.one_of(st.none(), st.floats(0, 1)))
    apart = data.draw(st.booleans())
    groups = [[number] for number in range(count)] if apart else [list(range(count))]
    selected = select(
        maps, [size] * count, groups, top=top, threshold=threshold, overlap=overlap, margin=True
    )
    for each, group in zip(selected, groups, strict=True):
        own = [maps[number].tolist() for number in group]
        wanted = oracle.best_matches(own, [size] * len(own), (1, 1), top, threshold, overlap)
        assert [(p.x, p.y, p.score, group.index(p.index)) for p in each.peaks] == [
            (x, y, score, number) for x, y, _, _, score, number in wanted
        ]
        best = rival(each.peaks, own, size, overlap)
        assert each.margins == [None if best is None else peak.score - best for peak in each.peaks]
        assert each.threshold == threshold


def test_margins_that_are_not_asked_for_cost_nothing():
    scores = np.random.default_rng(1).random((30, 30))
    asked = []

    class Counted(ScoreMap):
        def best(self, floor):
            asked.append(floor)
            return super().best(floor)

    def found(**options):
        asked.clear()
        made = Counted(scores.shape, (4, 4), (1, 1), lambda y, x: float(scores[y, x]))
        made.put(Tile(0, 0, 30, 30), Bounds(scores, 0.0))
        each = selection.select(
            [made], [(0, 0)], groups=[[0]], overlap=0.3, plain=lambda _: 0.0, **options
        )[0]
        return each.margins, len(asked)

    assert found(top=3, threshold=None, margin=False) == ([None] * 3, 3)
    margins, count = found(top=3, threshold=None, margin=True)
    assert (min(margins) > 0, count) == (True, 4)
    # Where nothing is found there is no rival to look for.
    assert found(top=3, threshold=2.0, margin=True) == ([], 0)


@pytest.mark.parametrize("metric", ["sad", "ssd", "ncc", "zncc"])
def test_a_margin_is_the_difference_of_two_scores_of_the_list(metric, astronaut):
    kernel = astronaut[100:131, 200:241]
    several = match(astronaut, [kernel, kernel[:20, 5:]], metric=metric, top=9, map=True).matches
    fewer = match(astronaut, [kernel, kernel[:20, 5:]], metric=metric, top=4, margin=True).matches
    assert [found.margin for found in fewer] == [
        found.score - several[4].score for found in several[:4]
    ]
    assert match(astronaut, kernel, metric=metric, margin=False).best.margin is None


def test_with_kernels_apart_a_rival_is_of_the_same_kernel(astronaut):
    kernels = [astronaut[100:131, 200:241], astronaut[300:330, 50:90]]
    options = {"top": 2, "margin": True}
    apart = match(astronaut, kernels, per_kernel=True, **options).matches
    alone = [found for one in kernels for found in match(astronaut, one, **options).matches]
    assert [found.margin for found in apart] == [found.margin for found in alone]


def test_the_rival_may_be_below_the_threshold(astronaut):
    kernel = astronaut[100:131, 200:241]
    first, second = match(astronaut, kernel, top=2).matches
    (only,) = match(astronaut, kernel, threshold=0.99, margin=True).matches
    assert only.margin == first.score - second.score
    region = {"region": (200, 100, 41, 20)}
    found = match(astronaut, kernel[:20], threshold=1, margin=True, **region)
    assert (found.margin, found.best.margin) == (True, None)


def test_copies_of_one_thing_have_the_margin_to_what_is_none():
    screen = Image.new("L", (120, 60), 40)
    draw = ImageDraw.Draw(screen)
    for x, y in ((5, 5), (50, 5), (90, 30)):
        draw.ellipse((x + 2, y + 2, x + 13, y + 13), 220)
    draw.rectangle((20, 40, 31, 51), 220)
    icon = screen.crop((5, 5, 21, 21))
    for options in ({"threshold": 0.95}, {"top": 3}):
        found = match(screen, icon, margin=True, **options)
        (other,) = match(screen, icon, top=4)[3:]
        assert [(m.x, m.y, m.score) for m in found] == [(5, 5, 1), (50, 5, 1), (90, 30, 1)]
        assert [m.margin for m in found] == [1 - other.score] * 3
        assert other.score < 0.95
    # A copy that is not printed is a place as good.
    assert [m.margin for m in match(screen, icon, margin=True, top=2)] == [0, 0]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, False), ({"metric": "ssd", "threshold": 0.5}, False), ({"map": True}, True),
        ({"metric": "ncc"}, True), ({"metric": "zncc", "threshold": 0.5}, True),
        ({"threshold": "auto"}, True), ({"scales": "0.9,1"}, True), ({"angles": "0,90"}, False),
        ({"map": True, "margin": False}, False), ({"margin": True}, True),
    ],
    ids=str,
)  # fmt: skip
def test_margins_are_looked_for_by_default_where_the_scores_are_there(options, expected, astronaut):
    found = match(astronaut[::4, ::4], astronaut[40:80:4, 200:260:4], **options)
    assert found
    assert (found.margin, found.best.margin is not None) == (expected, expected)


@pytest.mark.parametrize("engine", ["pruned", "simd", "unfold"])
def test_every_engine_gives_the_same_margins(engine, astronaut):
    kernel = np.clip(astronaut[100:131, 200:241].astype(int) + 9, 0, 255).astype(np.uint8)
    options = {"top": 3, "stride": (2, 1), "overlap": 0.2, "margin": True}
    wanted = match(astronaut, kernel, map=True, **options).matches
    assert match(astronaut, kernel, engine=engine, **options).matches == wanted
    # Behind fewer matches the next one of the list is the best place that is none.
    fewer = [found for found in wanted if found.score >= 0.9]
    assert 0 < len(fewer) < 3
    found = match(astronaut, kernel, engine=engine, threshold=0.9, **options).matches
    assert found == tuple(
        replace(one, margin=one.score - wanted[len(fewer)].score) for one in fewer
    )


def test_columns_and_keys(run, save, astronaut):
    save("a.png", astronaut[:200, :200])
    save("k.png", astronaut[100:150, 100:150])
    words = ("match", "a.png", "k.png", "--no-heatmap", "--top", "2", "--subpixel", "--format")
    out = run(*words, "tsv")[1]
    assert run(*words, "tsv", "--no-margin")[1] == out
    without = [line.split("\t") for line in out.splitlines()]
    words = (*words[:3], "--margin", *words[3:])
    tsv = [line.split("\t") for line in run(*words, "tsv")[1].splitlines()]
    assert tsv[0][5:] == [
        "kernel", "margin", "x_subpixel", "y_subpixel", "center_x", "center_y",
    ]  # fmt: skip
    objects = json.loads(run(*words, "json")[1])["matches"]
    margins = [found["margin"] for found in objects]
    assert [float(line[6]) for line in tsv[1:]] == pytest.approx(margins, rel=0, abs=1e-6)
    table = [line.split() for line in run(*words, "table")[1].splitlines()]
    assert [line[7] for line in table[1:]] == [f"{found['margin']:.4f}" for found in objects]
    assert without == [line[:6] + line[7:] for line in tsv]
    assert "margin" not in json.loads(run(*words, "json", "--no-margin")[1])["matches"][0]
    code, out, _ = run("match", "k.png", "k.png")
    assert (code, out.splitlines()[1]) == (0, "0\t0\t50\t50\t1.0\tk.png\t\t25.0\t25.0")
