"""Many kernels in one run: no answer depends on what they share or on what is kept of them."""

from __future__ import annotations

import tracemalloc

import numpy as np
import oracle
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from patchsim import candidates, images, masks, match, metrics, peaks, plan, sketch, sought
from patchsim.cli import console
from patchsim.engines import Problem, fft
from patchsim.engines.shared import Shared
from patchsim.metrics import Kernel

SMALL_BLOCK = 8


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of so few windows that a small map has many."""
    for module in (peaks, sketch, candidates):
        monkeypatch.setattr(module, "BLOCK", SMALL_BLOCK)


def reference(image, kernels, weights, metric, span, stride, top, threshold, overlap):
    """The matches in plain loops, from the scores of single windows."""
    maps = []
    for kernel, weight in zip(kernels, weights, strict=True):
        exact = metrics.exact(image, kernel, metric, span, weight)
        tops = range(0, image.shape[0] - kernel.shape[0] + 1, stride[0])
        lefts = range(0, image.shape[1] - kernel.shape[1] + 1, stride[1])
        maps.append([[exact(y, x) for x in lefts] for y in tops])
    sizes = [kernel.shape[:2] for kernel in kernels]
    return oracle.best_matches(maps, sizes, stride, top, threshold, overlap)


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
    differences = dtype == "uint8" and not masked and options["metric"] in ("sad", "ssd")
    if differences and draw(st.booleans()):
        options |= {"engine": "pruned", "map": False}
    if draw(st.booleans()):
        options["threshold"] = draw(st.sampled_from([-1.0, 0.5, 0.9]))
    return image, kernels, shades if masked else None, options


@pytest.mark.parametrize("kept", ["fields", "sketches", "two blocks"])
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(search=searches())
@pytest.mark.usefixtures("small_blocks")
def test_matches_of_many_kernels_are_those_of_plain_loops(kept, search, monkeypatch):
    image, kernels, shades, options = search
    given_kernels, weights = kernels, [None] * len(kernels)
    if shades is not None:
        given_kernels = [
            Image.fromarray(np.dstack([kernel, alpha.astype(np.uint8)]))
            for kernel, alpha in zip(kernels, shades, strict=True)
        ]
        opened = [
            images.open_picture(k, name="k", max_pixels=10**6, memory=10**9) for k in given_kernels
        ]
        weights = [masks.weights(picture, None, ignore_alpha=False) for picture in opened]
    with monkeypatch.context() as patch:
        if kept != "fields":
            patch.setattr(sketch, "_WHOLE_FIELDS", 0)
        if kept == "two blocks":
            patch.setattr(sought, "budget_of", lambda *_, **__: sketch.Budget(0, 0, 0))
        report = match(image, given_kernels, **options)
    span = {"uint8": 255, "uint16": 65535, "float32": 1.0}[image.dtype.name]
    wanted = reference(
        image, kernels, weights, options["metric"], span, options["stride"],
        options["top"], options.get("threshold"), options["overlap"],
    )  # fmt: skip
    assert found(report) == wanted


@pytest.mark.parametrize("options", [{}, {"metric": "zncc"}, {"metric": "ssd", "map": True}])
def test_matches_of_each_kernel_are_those_of_a_run_of_its_own(options, astronaut, monkeypatch):
    monkeypatch.setattr(sketch, "_WHOLE_FIELDS", 0)
    image = astronaut[:200, :180]
    kernels = [image[y : y + 20 + y % 3, 2 * y : 2 * y + 21] + np.uint8(1) for y in range(40)]
    together = match(image, kernels, per_kernel=True, top=2, threads=2, **options)
    alone = [match(image, kernel, top=2, **options) for kernel in kernels]
    assert [(m.x, m.y, m.score) for m in together.matches] == [
        (m.x, m.y, m.score) for report in alone for m in report.matches
    ]
    assert {plan.problem.together > 1 for plan in together.plans} == {True} if options else True
    for scores, report in zip(together.maps, alone, strict=bool(options.get("map"))):
        np.testing.assert_allclose(scores, report.map, rtol=0, atol=1e-5)


@pytest.mark.parametrize("metric", ["ssd", "ncc", "zncc", "sad"])
@pytest.mark.parametrize("masked", [False, True])
def test_what_kernels_share_takes_no_more_memory_than_planned(metric, masked, rng):
    image = rng.integers(0, 256, (300, 280, 3), np.uint8)
    weights = rng.integers(1, 4, (40, 40), np.uint8) if masked else None
    kernels = [Kernel(image[y : y + 40, y : y + 40].copy(), weights) for y in range(8)]
    problem = Problem(
        image.shape, (40, 40, 3), "uint8", (1, 1), metric, 255.0, "cpu", 1,
        tolerance=0.02, together=8, weight=None if weights is None else int(weights.sum()),
        heaviest=1 if weights is None else 3,
    )  # fmt: skip
    scores = fft.prepare_together(kernels, [problem] * 8)  # what is cached must not count
    for score in scores:
        score(Shared(image[:60, :60], (60, 60)), (21, 21))
    del scores
    rows, cols = problem.map_shape
    tracemalloc.start()
    scores = fft.prepare_together(kernels, [problem] * 8)
    shared = Shared(image, image.shape[:2])
    for score in scores:
        score(shared, (rows, cols))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    planned = fft.working_bytes(problem, rows, cols) + 8 * fft.kernel_bytes(problem, rows, cols)
    assert 0.2 * planned < peak <= planned


def test_more_kernels_than_whole_fields_fit_in_little_memory(rng):
    image = rng.integers(0, 256, (300, 300), np.uint8)
    kernels = [image[y : y + 30, y : y + 30].copy() for y in range(0, 240, 6)]
    whole = sum(plan.map_bytes(p.problem, kept=False) for p in match(image, kernels).plans)
    for metric in ("sad", "zncc"):
        report = match(image, kernels, metric=metric, memory=whole // 8, threshold=0.99)
        assert max(p.held + p.working for p in report.plans) <= whole // 8
        assert sorted((m.x, m.y) for m in report.matches) == [(y, y) for y in range(0, 240, 12)]


def test_plans_of_many_kernels_are_explained_together(run, save, astronaut):
    save("big.png", astronaut[:120, :120])
    names = []
    for number in range(12):
        names.append(f"k{number:02}.png")
        save(names[-1], astronaut[number : number + 20, 5:25])
    code, _, err = run("match", "big.png", *names, "--explain", "--no-heatmap", "--metric", "zncc")
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
    assert console.some(names) == text
