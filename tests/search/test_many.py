"""Many kernels in one run: no answer depends on what they share or on what is kept of them."""

from __future__ import annotations

import sys
import tracemalloc
from dataclasses import replace
from functools import partial
from itertools import product

import numpy as np
import oracle
import pytest
from helpers.grids import thinned
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from patchsim import engines, match, metrics
from patchsim.cli import watcher
from patchsim.engines import Bounds, Problem, fft
from patchsim.engines.common import visibility
from patchsim.engines.pruned import byte_search
from patchsim.engines.tile_cache import Shared
from patchsim.geometry import blocks
from patchsim.matches import swept_blocks
from patchsim.metrics import Kernel
from patchsim.pictures import reader
from patchsim.ranking import (
    block_cache,
    block_grid,
    cell_queue,
    evaluated_blocks,
    pruned_windows,
    removed_windows,
    score_map,
    score_memory,
)
from patchsim.scene import masks
from patchsim.search import memory_plan

SMALL_BLOCK = 8
MIN_VISIBLE = 0.6


@pytest.fixture
def small_blocks():
    """Blocks of so few windows that a small map has many."""
    modules = (
        blocks, score_map, cell_queue, evaluated_blocks, block_cache, block_grid, removed_windows,
        pruned_windows, byte_search, swept_blocks,
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        for module in modules:
            patch.setattr(module, "BLOCK", SMALL_BLOCK)
        yield
    # A module that was first imported meanwhile would keep the small blocks for all later tests.
    named = [(name, one) for name, one in sys.modules.items() if name.startswith("patchsim.")]
    assert not [name for name, one in named if getattr(one, "BLOCK", None) == SMALL_BLOCK]


def reference(image, kernels, weights, levels, metric, span, stride, top, threshold, overlap):
    """The matches in plain loops, from the scores of single windows."""
    maps = []
    visible = None if levels is None else metrics.Visibility(levels, int(levels.max()))
    for kernel, weight in zip(kernels, weights, strict=True):
        exact = metrics.exact(image, kernel, metric, span, weight, visible)
        height, width = kernel.shape[:2]
        every = np.ones((height, width), int) if weight is None else weight.astype(int)

        def score(y, x, exact=exact, every=every):
            if levels is not None:
                shown = (levels[y : y + every.shape[0], x : x + every.shape[1]] * every).sum()
                if shown / (every.sum() * visible.full_level) < MIN_VISIBLE:
                    return -9.0
            return exact(y, x)

        tops = range(0, image.shape[0] - height + 1, stride[0])
        lefts = range(0, image.shape[1] - width + 1, stride[1])
        maps.append([[score(y, x) for x in lefts] for y in tops])
    sizes = [kernel.shape[:2] for kernel in kernels]
    lowest = -1.0 if threshold is None else threshold
    return oracle.best_matches(maps, sizes, stride, top, lowest, overlap)


def found(report):
    names = [kernel.name for kernel in report.kernels]
    return [(m.x, m.y, m.width, m.height, m.score, names.index(m.kernel)) for m in report.matches]


@st.composite
def searches(draw):
    random = np.random.default_rng(draw(st.integers(0, 1 << 30)))
    dtype = draw(st.sampled_from(["uint8", "uint8", "uint16", "float32"]))
    height, width = draw(st.integers(14, 34)), draw(st.integers(14, 34))
    levels = draw(st.sampled_from([2, 5, 256]))  # few of them tie
    whole = random.integers(0, levels, (height, width, 3)) * (255 // (levels - 1))
    image = whole.astype(np.uint8)
    if dtype == "uint16":
        image = image.astype(np.uint16) * 257
    elif dtype == "float32":
        image = (image / 255).astype(np.float32)
    size = draw(st.integers(2, 9)), draw(st.integers(2, 9))
    masked = dtype == "uint8" and draw(st.booleans())
    levels = None
    if dtype == "uint8" and draw(st.booleans()):
        levels = random.choice([0, 1, 5, 5, 5], (height, width)).astype(np.uint8)
        levels[: height // 2] = 5
        levels[-1, -2:] = 1, 5
    kernels = []
    for _ in range(draw(st.integers(2, 6))):
        if draw(st.booleans()):
            size = draw(st.integers(2, 9)), draw(st.integers(2, 9))
        y, x = (
            random.integers(0, side - own + 1) for side, own in zip(image.shape, size, strict=False)
        )
        kernel = image[y : y + size[0], x : x + size[1]].copy()
        kernel[0, 0] = kernel[0, 0] // 2 + 1 if dtype != "float32" else 0.25
        kernel[-1, -1] = 0
        kernels.append(kernel)
    shades = [random.choice([0, 100, 255], kernel.shape[:2]) for kernel in kernels]
    for alpha in shades:
        alpha[0, 0] = alpha[-1, -1] = 255
    options = {
        "stride": (draw(st.integers(1, 3)), draw(st.integers(1, 2))),
        "metric": draw(st.sampled_from(["sad", "ssd", "ncc", "zncc"])),
        "top": draw(st.sampled_from([1, 4, 50])),
        "overlap": draw(st.sampled_from([0.0, 0.3, 1.0])),
        "tolerance": draw(st.sampled_from([0.0, 0.02])),
        "threads": draw(st.integers(1, 3)),
        "map": draw(st.booleans()),
    }
    products = options["metric"] != "sad" or (dtype == "uint8" and options["tolerance"])
    if products and draw(st.booleans()):
        options["engine"] = "fft"
    differences = dtype == "uint8" and levels is None and options["metric"] in ("sad", "ssd")
    if differences and draw(st.booleans()):
        options |= {"engine": "pruned", "map": False}
    if draw(st.booleans()):
        options["threshold"] = draw(st.sampled_from([-1.0, 0.5, 0.9]))
    return image, levels, kernels, shades if masked else None, options


@pytest.mark.parametrize("kept", ["fields", "sketches", "two blocks"])
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(search=searches())
@pytest.mark.usefixtures("small_blocks")
def test_matches_of_many_kernels_are_those_of_plain_loops(kept, search, monkeypatch):
    image, levels, kernels, shades, options = search
    given_kernels, weights = kernels, [None] * len(kernels)
    given_image = image
    if levels is not None:
        given_image = Image.fromarray(np.dstack([image, levels * np.uint8(51)]))
        options = options | {"min_visible": MIN_VISIBLE}
    if shades is not None:
        given_kernels = [
            Image.fromarray(np.dstack([kernel, alpha.astype(np.uint8)]))
            for kernel, alpha in zip(kernels, shades, strict=True)
        ]
        opened = [
            reader.open_picture(k, name="k", max_pixels=10**6, memory=10**9) for k in given_kernels
        ]
        weights = [masks.kernel_weights(picture, None, ignore_alpha=False) for picture in opened]
    with monkeypatch.context() as patch:
        if kept != "fields":
            patch.setattr(score_memory, "_LARGEST_SCORE_MAPS", 0)
        if kept == "two blocks":
            patch.setattr(memory_plan, "budget_of", lambda *_, **__: score_memory.Budget(0, 0, 0))
        report = match(given_image, given_kernels, **options)
    span = {"uint8": 255, "uint16": 65535, "float32": 1.0}[image.dtype.name]
    wanted = reference(
        image, kernels, weights, levels, options["metric"], span, options["stride"],
        options["top"], options.get("threshold"), options["overlap"],
    )  # fmt: skip
    assert found(report) == wanted


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"metric": "zncc", "engine": "fft"},
        {"metric": "ssd", "map": True, "engine": "fft"},
    ],
)
def test_matches_of_each_kernel_are_those_of_a_run_of_its_own(options, astronaut, monkeypatch):
    monkeypatch.setattr(score_memory, "_LARGEST_SCORE_MAPS", 0)
    image = astronaut[:200, :180]
    kernels = [image[y : y + 20 + y % 3, 2 * y : 2 * y + 21] + np.uint8(1) for y in range(40)]
    together = match(image, kernels, per_kernel=True, top=2, threads=2, **options)
    alone = [match(image, kernel, top=2, **options) for kernel in kernels]
    assert [(m.x, m.y, m.score) for m in together.matches] == [
        (m.x, m.y, m.score) for report in alone for m in report.matches
    ]
    assert {plan.problem.kernel_count > 1 for plan in together.plans} == {True} if options else True
    for scores, report in zip(together.maps, alone, strict=bool(options.get("map"))):
        np.testing.assert_allclose(scores, report.map, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kept", ["fields", "two blocks"])
@pytest.mark.parametrize("metric", ["sad", "zncc"])
@pytest.mark.parametrize(
    "options",
    [
        {"top": 3},
        {"top": 3, "threshold": 0.8, "stride": 2, "padding": "edge"},
        {"angles": "0,90", "scales": "0.5,1", "top": 2},
        {"transparent": True, "top": 2},
        {"transparent": True, "angles": "0,90", "padding": "reflect", "top": 2},
    ],
)
@pytest.mark.usefixtures("small_blocks")
def test_matches_and_margins_of_each_kernel_are_those_of_a_run_of_its_own(
    options, metric, kept, astronaut, monkeypatch
):
    image = astronaut[100:160, 60:130]
    kernels = [image[y : y + 14 + y % 3, 3 * y : 3 * y + 15].copy() for y in range(0, 18, 3)]
    kernels[1] = np.dstack([kernels[1], np.tile(np.uint8([255, 0, 90]), (14 + 3 % 3, 5))])
    kernels = [Image.fromarray(kernel) for kernel in kernels]
    if options.get("transparent"):
        opacity = np.full(image.shape[:2], 255, np.uint8)
        opacity[30:, 40:], opacity[8:30, :9] = 0, 102
        image = np.dstack([image, opacity])
    image = Image.fromarray(image)
    options = {key: value for key, value in options.items() if key != "transparent"}
    options["margin"] = True
    alone = [match(image, kernel, metric=metric, threads=2, **options) for kernel in kernels]
    if kept == "two blocks":
        monkeypatch.setattr(memory_plan, "budget_of", lambda *_, **__: score_memory.Budget(0, 0, 0))
    each = match(image, kernels, metric=metric, threads=2, per_kernel=True, **options)
    assert [replace(m, kernel="") for m in each.matches] == [
        replace(m, kernel="") for report in alone for m in report.matches
    ]
    assert all(m.margin is not None for m in each.matches)


@pytest.mark.parametrize("kept", ["fields", "two blocks"])
@pytest.mark.parametrize("metric", ["sad", "ssd", "zncc"])
@pytest.mark.parametrize("floats", [False, True])
@pytest.mark.usefixtures("small_blocks")
def test_windows_of_which_little_is_visible_are_no_matches_of_many_kernels(
    kept, metric, floats, rng, monkeypatch
):
    image = rng.integers(0, 256, (21, 24, 3), np.uint8)
    levels = np.full((21, 24), 255, np.uint8)
    levels[3:17, 9:] = rng.choice([0, 0, 51, 102], (14, 15))
    kernels = [image[y : y + 5, y : y + 6] / np.float32(255) for y in range(3)]
    if not floats:
        kernels = [np.rint(kernel * 255).astype(np.uint8) for kernel in kernels]
    if kept == "two blocks":
        monkeypatch.setattr(memory_plan, "budget_of", lambda *_, **__: score_memory.Budget(0, 0, 0))
    found = match(
        Image.fromarray(np.dstack([image, levels])), kernels, metric=metric, map=True,
        min_visible=MIN_VISIBLE, per_kernel=True, threshold=-1, overlap=1, margin=False,
    )  # fmt: skip
    shown = np.lib.stride_tricks.sliding_window_view(levels, (5, 6)).sum((2, 3), dtype=int)
    enough = shown / (30 * 255) >= MIN_VISIBLE
    assert 0 < np.count_nonzero(~enough) < enough.size
    for kernel, scores in zip(found.kernels, found.maps, strict=True):
        places = [(m.y, m.x) for m in found.matches if m.kernel == kernel.name]
        assert sorted(places) == list(zip(*np.nonzero(enough), strict=True))
        assert np.isfinite(scores).all()
        assert (scores[~enough] == 0).all()


@pytest.mark.parametrize("options", [{"top": 6}, {"threshold": "auto"}, {"threshold": 0.97}])
@pytest.mark.usefixtures("small_blocks")
def test_margins_in_little_memory_are_those_of_all_scores(options, astronaut, monkeypatch):
    image = astronaut[:120, 200:300]
    kernels = [image[y : y + 12, 2 * y : 2 * y + 12] + np.uint8(1) for y in range(0, 40, 4)]
    for metric in ("sad", "zncc"):
        whole = match(image, kernels, metric=metric, margin=True, **options)
        with monkeypatch.context() as patch:
            patch.setattr(memory_plan, "budget_of", lambda *_, **__: score_memory.Budget(0, 0, 0))
            little = match(image, kernels, metric=metric, margin=True, **options)
        assert little.matches == whole.matches
        assert little.threshold == whole.threshold
        assert whole.matches or options == {"threshold": "auto"}
        assert all(m.margin is not None for m in whole.matches)


@thinned(metric=["ssd", "ncc", "zncc", "sad"], masked=[False, True], hidden=[None, "half", "pixel"])
def test_what_kernels_share_takes_no_more_memory_than_planned(metric, masked, hidden, rng):
    image = rng.integers(0, 256, (300, 280, 3), np.uint8)
    weights = rng.integers(1, 4, (40, 40), np.uint8) if masked else None
    kernels = [Kernel(image[y : y + 40, y : y + 40].copy(), weights) for y in range(8)]
    problem = Problem(
        image.shape, (40, 40, 3), "uint8", (1, 1), metric, 255.0, "cpu", 1,
        tolerance=0.02, kernel_count=8, weight_sum=None if weights is None else int(weights.sum()),
        max_weight=1 if weights is None else 3,
    )  # fmt: skip
    levels, prepare = np.full(image.shape[:2], 5, np.uint8), fft.prepare_together
    if hidden:
        levels[0, 150 if hidden == "half" else -1 :] = 2
        problem = problem.where_visible(5, 0.5)
        prepare = partial(visibility.prepare_together, fft)
    scores = prepare(kernels, [problem] * 8)  # what is cached must not count
    for score in scores:
        score(Shared(image[:60, -60:], (60, 60), levels[:60, -60:]), (21, 21))
    del scores
    rows, cols = problem.map_shape
    tracemalloc.start()
    scores = prepare(kernels, [problem] * 8)
    shared = Shared(image, image.shape[:2], levels)
    for score in scores:
        for less in (0, 1):  # without the last column all may be visible
            score(shared, (rows, cols - less))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    planned = fft.working_bytes(problem, rows, cols) + 8 * fft.kernel_bytes(problem, rows, cols)
    planned += Bounds.estimate_bytes(rows, cols)
    assert 0.2 * planned < peak <= planned


@pytest.mark.parametrize(
    ("metric", "floats"),
    [*product(["ssd", "ncc", "zncc"], [False, True]), ("sad", False)],  # `fft` takes no other sad
)
@pytest.mark.parametrize("masked", [False, True])
def test_kernels_that_share_a_tile_score_what_each_has_of_it(metric, masked, floats, rng):
    image = rng.integers(0, 256, (40, 50, 2), np.uint8)
    levels = np.full((40, 50), 5, np.uint8)
    levels[:, 45:] = rng.integers(0, 4, (40, 5))
    if floats:
        image = (image / 255).astype(np.float32)
    engine = engines.load("fft")
    windows = [(33, 42), (33, 30), (20, 42), (33, 37), (33, 38)]  # under 37 columns all is visible
    kernels, problems = [], []
    for number in range(len(windows)):
        weights = rng.integers(1, 4, (8, 9), np.uint8) if masked else None
        kernels.append(Kernel(image[number : number + 8, 3:12].copy(), weights))
        problem = Problem(
            image.shape, (8, 9, 2), image.dtype.name, (1, 1), metric, 1.0 if floats else 255.0,
            "cpu", 1, tolerance=0.02, kernel_count=len(windows), max_weight=3 if masked else 1,
            weight_sum=int(weights.sum()) if masked else None,
        )  # fmt: skip
        problems.append(problem.where_visible(5, 0.8))
    shared = Shared(image, image.shape[:2], levels)
    together = visibility.prepare_together(engine, kernels, problems)
    hidden = []
    for kernel, problem, score, size in zip(kernels, problems, together, windows, strict=True):
        found = score(shared, size)
        alone = visibility.prepare(engine, kernel.pixels, problem, kernel.weights)
        wanted = alone(*(array[: size[0] + 7, : size[1] + 8] for array in (image, levels)))
        assert (np.abs(found.map - wanted.map) <= found.error + wanted.error).all()
        hidden.append(np.any(found.hidden))
        np.testing.assert_array_equal(found.hidden, wanted.hidden)
    assert hidden == [True, False, True, False, hidden[4]]


def test_more_kernels_than_whole_fields_fit_in_little_memory(rng):
    image = rng.integers(0, 256, (300, 300), np.uint8)
    kernels = [image[y : y + 30, y : y + 30].copy() for y in range(0, 240, 6)]
    whole = sum(score_memory.largest_bytes(p.problem) for p in match(image, kernels).plans)
    for metric in ("sad", "zncc"):
        report = match(image, kernels, metric=metric, memory=whole // 8, threshold=0.99)
        assert max(p.resident + p.working for p in report.plans) <= whole // 8
        assert sorted((m.x, m.y) for m in report.matches) == [(y, y) for y in range(0, 240, 12)]


def test_plans_of_many_kernels_are_explained_together(run, save, astronaut):
    save("big.png", astronaut[:120, :120])
    names = []
    for number in range(12):
        names.append(f"k{number:02}.png")
        save(names[-1], astronaut[number : number + 20, 5:25])
    code, _, err = run(
        "match",
        "big.png",
        *names,
        "--explain",
        "--no-heatmap",
        "--metric",
        "zncc",
        "--engine",
        "fft",
    )
    assert code == 0
    assert err.count("plan for") == 1
    assert "plan for k00.png, k01.png and 10 more: fft on cpu, " in err
    assert " 12 kernels together, about " in err


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (["a"], "a"),
        (["a", "b"], "a and b"),
        (["a", "b", "c"], "a, b and c"),
        (["a", "b", "c", "d"], "a, b and 2 more"),
    ],
)
def test_names_are_listed_as_people_do(names, text):
    assert watcher.some(names) == text


def test_a_kernel_of_other_floats_costs_no_match_its_digits():
    rng = np.random.default_rng(1)
    scene = rng.random((200, 200))
    dark, bright = 1e-6 * rng.random((32, 32)), 0.99 + 0.01 * rng.random((32, 32))
    noise = rng.random((32, 32)) - 0.5
    scene[60:92, 120:152] = np.clip(0.5 + 0.3 * (dark * 1e6 - 0.5) + 0.15 * noise, 0, 1)
    scene[120:152, 20:52] = 0.2 + 0.5 * dark * 1e6
    second = match(scene, dark, metric="zncc", top=2).matches[1].score
    for kernels in ([dark], [dark, bright]):
        report = match(scene, kernels, metric="zncc", threshold=second, per_kernel=True)
        own = [(m.x, m.y) for m in report.matches if m.kernel in ("kernel", "kernel-1")]
        assert own == [(20, 120), (120, 60)]
