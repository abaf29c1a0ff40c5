"""How close the best place came where nothing is found: a true score, and a bound that holds."""

from __future__ import annotations

import json

import numpy as np
import oracle
import pytest
from PIL import Image, ImageDraw

from patchsim import match, metrics
from patchsim.ranking import score_memory
from patchsim.search import memory_plan

SPAN = {"uint8": 255, "uint16": 65535, "float32": 1, "float64": 1}


def drawn(dtype, size=(36, 60)):
    """Ellipses and lines [H, W, 3] without a square, and a kernel with a square."""
    picture = Image.new("RGB", size[::-1], (40, 60, 90))
    draw = ImageDraw.Draw(picture)
    for number, x in enumerate(range(6, size[1] - 24, 22)):
        draw.ellipse((x, 8 + 5 * number, x + 13, 21 + 6 * number), (200 - 9 * number, 150, 60))
        draw.line((x, 2, x + 9, size[0] - 3), (90, 20 + number, 30), 2)
    kernel = Image.new("RGB", (8, 7), (40, 60, 90))
    ImageDraw.Draw(kernel).rectangle((2, 1, 6, 5), (180, 140, 70))
    scale = {"uint8": 1, "uint16": 257}.get(dtype, 1 / 255)
    return [(np.asarray(one, float) * scale).astype(dtype) for one in (picture, kernel)]


def true_scores(image, kernel, metric, **options):
    span = SPAN[image.dtype.name]
    return np.array(oracle.score_map(metric, image.tolist(), kernel.tolist(), span=span, **options))


def check(found, scores):
    """The score is that of the window, and no window scores more than `at_most`."""
    below = found.best_below
    assert below.score == pytest.approx(scores[below.y, below.x], abs=1e-12)
    assert below.score <= below.at_most
    assert scores.max() <= below.at_most + 1e-12


@pytest.mark.parametrize("metric", ["sad", "ssd", "ncc", "zncc"])
@pytest.mark.parametrize("dtype", SPAN)
def test_the_best_place_is_told_with_its_score(metric, dtype):
    image, kernel = drawn(dtype)
    scores = true_scores(image, kernel, metric)
    best = scores.max()
    for keeps_map in (False, True):
        found = match(image, kernel, metric=metric, threshold=1, map=keeps_map)
        assert not found
        check(found, scores)
        assert found.best_below.score == pytest.approx(best, abs=1e-12)
        assert found.best_below.at_most == pytest.approx(best, abs=1e-4)
        assert found.best_below.kernel == "kernel"
        x, y, shown = found.best_below.x, found.best_below.y, np.floor(best * 1e4) / 1e4
        assert found.notices[-1] == (
            f"no match: nothing reached the threshold of 1; the best scores {shown:g} at {x},{y}"
        )


@pytest.mark.parametrize(
    "options",
    [{"engine": "pruned"}, {"engine": "simd"}, {"engine": "unfold"}, {"tolerance": 0.1},
     {"engine": "fft", "tolerance": 0.1, "map": True}],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("threshold", [0.99, 1])
def test_every_engine_tells_the_truth(options, threshold):
    image, kernel = drawn("uint8", (200, 300))
    image[150:170, 200:290] = np.random.default_rng(3).integers(0, 256, (20, 90, 3))
    found = match(image, kernel, threshold=threshold, **options)
    below, best = found.best_below, match(image, kernel, top=1, map=True).best
    exact = metrics.exact(image, kernel, "sad", 255)
    assert best.score - 0.05 < below.score == exact(below.y, below.x) <= best.score
    assert best.score <= below.at_most
    assert found.best_below.at_most < threshold or threshold == 1
    again = match(image, kernel, threshold=threshold, **options)
    assert again.best_below == found.best_below


def test_bounds_are_told_as_such(monkeypatch, astronaut):
    image, kernel = astronaut[:, :300], astronaut[100:140, 400:440, ::-1]
    found = match(image, kernel, threshold=0.95, engine="pruned")
    below, best = found.best_below, match(image, kernel, top=1).best
    assert below.score <= best.score <= below.at_most < 0.95
    assert below.at_most - below.score > 1e-3
    assert found.notices[-1] == (
        "no match: nothing reached the threshold of 0.95; the best of a quick look scores"
        f" {np.floor(below.score * 1e4) / 1e4:g} at {below.x},{below.y},"
        f" and none scores more than {np.ceil(below.at_most * 1e4) / 1e4:g}"
    )
    # Where scores are not kept and to score a block again costs much, the bound is told alone.
    monkeypatch.setattr(memory_plan, "budget_of", lambda *_, **__: score_memory.Budget(0, 0, 0))
    found = match(image, kernel, threshold=0.9, metric="zncc")
    below = found.best_below
    assert (below.x, below.y, below.score) == (None, None, None)
    scores = match(image, kernel, top=1, metric="zncc").best.score
    assert scores <= below.at_most == pytest.approx(scores, abs=1e-4)
    bound = np.ceil(below.at_most * 1e4) / 1e4
    assert found.notices[-1].endswith(f"the threshold of 0.9; none scores more than {bound:g}")


def test_of_many_kernels_one_block_is_scored_again(monkeypatch):
    image, kernel = drawn("uint8", (200, 300))
    kernels = [np.roll(kernel, (number, 2 * number), (0, 1)) for number in range(15)]
    monkeypatch.setattr(memory_plan, "budget_of", lambda *_, **__: score_memory.Budget(0, 0, 0))
    found = match(image, kernels, threshold=0.99, metric="zncc")
    best = match(image, kernels, top=1, metric="zncc").best
    below = found.best_below
    assert (below.kernel, below.x, below.y, below.score) == (
        best.kernel, best.x, best.y, best.score,
    )  # fmt: skip
    assert f"; the best, of {best.kernel}, scores " in found.notices[-1]


def test_places_are_those_in_the_whole_image():
    image, kernel = drawn("uint8")
    whole = match(image, kernel, threshold=1).best_below
    for options in ({"region": (whole.x - 3, whole.y - 2, 20, 15)}, {"padding": "edge"}):
        found = match(image, kernel, threshold=1, **options).best_below
        assert (found.x, found.y, found.score) == (whole.x, whole.y, whole.score)
    found = match(image, kernel, threshold=1, stride=(3, 4)).best_below
    assert (found.x % 4, found.y % 3) == (0, 0)
    exact = metrics.exact(image, kernel, "sad", 255)
    assert found.score == exact(found.y, found.x) <= whole.score


def test_windows_that_show_too_little_are_not_the_best():
    image, kernel = drawn("uint8")
    levels = np.full(image.shape[:2], 255, np.uint8)
    best = match(image, kernel, threshold=1).best_below
    levels[best.y : best.y + 7, best.x : best.x + 5] = 0
    for metric in ("sad", "zncc"):
        found = match(
            Image.fromarray(np.dstack([image, levels])), kernel, threshold=1, metric=metric
        )
        scores = true_scores(image, kernel, metric, visible=levels.tolist())
        check(found, scores)
        assert found.best_below.score == pytest.approx(scores.max(), abs=1e-12)
        assert "the threshold of 1 where enough is visible; the best scores " in found.notices[-1]


def test_the_best_pose_is_told():
    image, kernel = drawn("uint8", (30, 44))
    options = {"scales": "0.9,1,1.2", "exhaustive": True, "threads": 1}
    best = match(image, kernel, top=1, **options).best
    found = match(image, kernel, threshold=best.score + 1e-4, **options)
    below = found.best_below
    assert (below.x, below.y, below.at_most) == (best.x, best.y, None)
    # A larger pose with more evidence may be the match though it scores a little less.
    assert best.score <= below.score < best.score + 1e-4
    shown = np.floor(below.score * 1e4) / 1e4
    assert found.notices[-1].endswith(
        f"; the best pose that was followed scores {shown:g} at {below.x},{below.y}"
    )
    assert match(image, kernel, threshold=0.99, angles="0,90").best_below.at_most < 0.99


def test_the_command_tells_it_on_stderr_and_in_json(run, save):
    image, kernel = drawn("uint8")
    save("big.png", image)
    save("small.png", kernel)
    words = ("match", "big.png", "small.png", "--no-heatmap", "--format", "json")
    code, out, err = run(*words, "--threshold", "1.0")
    below = json.loads(out)["best_below"]
    assert code == 1
    assert list(below) == ["kernel", "x", "y", "score", "at_most", "inverted"]
    assert below["inverted"] is False
    assert f"; the best scores {np.floor(below['score'] * 1e4) / 1e4:g} at {below['x']}," in err
    assert run(*words, "--threshold", "1.0", "--quiet")[2] == ""
    assert "best_below" not in json.loads(run(*words)[1])
    assert "best_below" not in json.loads(run(*words, "--threshold", "0.1")[1])


def test_a_score_next_to_the_threshold_is_not_rounded_to_it():
    image, kernel = drawn("uint8")
    best = match(image, kernel, top=1).best
    threshold = float(np.nextafter(best.score, 2))
    (told,) = match(image, kernel, threshold=threshold).notices
    shown = float(told.split(" scores ")[1].split(" at ")[0])
    assert best.score - 1e-4 < shown < threshold


def test_auto_has_the_best_place_too(rng):
    image = rng.integers(0, 256, (60, 60), dtype=np.uint8)
    kernel = rng.integers(0, 256, (9, 9), dtype=np.uint8)
    found = match(image, kernel, threshold="auto").best_below
    best = match(image, kernel, top=1).best
    assert (found.x, found.y, found.score) == (best.x, best.y, best.score)
    assert found.at_most == best.score
    assert match(image, kernel).best_below is None
