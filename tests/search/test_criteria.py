"""Criteria stricter than a mean: the worst block, and how many pixels differ."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from oracle import best_matches, score_map
from PIL import Image, ImageDraw, ImageFont

from patchsim import InputError, Observer, match, registration
from patchsim.metrics import Kernel, formula_of, local_differences
from patchsim.poses.pose import Pose


def dialog(text):
    """A button of a dialog, uint8 [26, 150, 3]."""
    picture = Image.new("RGB", (150, 26), (238, 238, 240))
    ImageDraw.Draw(picture).text((8, 6), text, (20, 20, 30), ImageFont.load_default(12))
    return np.asarray(picture)


@pytest.fixture
def screen():
    """A screen with a wrong digit, twice, and the right one in a slightly other shade."""
    picture = np.full((120, 200, 3), 250, np.uint8)
    picture[10:36, 20:170] = picture[44:70, 30:180] = dialog("Invoice 10482 paid")
    right = dialog("Invoice 10432 paid").astype(int)
    picture[80:106, 10:160] = np.clip(right - 9, 0, 255)
    return picture


def halves(length):
    count = max(1, round(length / 8))
    if count == 1:
        return [(0, length)]
    edges = [round(i * length / (2 * count)) for i in range(2 * count + 1)]
    return [(edges[i], edges[i + 2]) for i in range(2 * count - 1)]


def slow_correlated_worst(window, kernel, weights, *, subtracts):
    """The same by `ncc`, or by `zncc` with `subtracts`: block by block, of lists of values."""
    height, width, channels = kernel.shape
    places = list(np.ndindex(height, width, channels))
    units = []
    for values in (window, kernel):
        values = {place: float(values[place]) for place in places}
        for c in range(channels) if subtracts else ():
            own = [place for place in places if place[2] == c]
            total = sum(weights[y, x] for y, x, _ in own)
            mean = sum(weights[y, x] * values[y, x, c] for y, x, _ in own) / total
            values.update({place: values[place] - mean for place in own})
        root = np.sqrt(sum(weights[y, x] * values[y, x, c] ** 2 for y, x, c in places))
        units.append({place: value / root for place, value in values.items()})
    whole = sum(weights[y, x] for y, x, _ in places)
    lowest = 1.0
    for top, bottom in halves(height):
        for left, right in halves(width):
            inside = [(y, x, c) for y, x, c in places if top <= y < bottom and left <= x < right]
            count = sum(weights[y, x] for y, x, _ in inside)
            squares = sum(
                weights[y, x] * (units[0][y, x, c] - units[1][y, x, c]) ** 2 for y, x, c in inside
            )
            if count:
                lowest = min(lowest, 1 - whole / count * squares / 2)
    return lowest


def slow_worst(window, kernel, weights, span, power):
    """The lowest score of a block, by nested loops."""
    height, width, channels = kernel.shape
    lowest = 1.0
    for top, bottom in halves(height):
        for left, right in halves(width):
            total = count = 0
            for y in range(top, bottom):
                for x in range(left, right):
                    for c in range(channels):
                        difference = abs(float(window[y, x, c]) - float(kernel[y, x, c]))
                        total += float(weights[y, x]) * difference**power
                        count += float(weights[y, x])
            if count:
                lowest = min(lowest, 1 - total / (count * span**power))
    return lowest


@pytest.mark.parametrize("metric", ["sad", "ssd", "ncc", "zncc"])
@pytest.mark.parametrize("shape", [(26, 35, 3), (3, 5, 1), (12, 61, 1)])
def test_blocks_are_those_of_nested_loops(shape, metric, rng):
    window, kernel = (rng.integers(0, 256, shape, dtype=np.uint8) for _ in range(2))
    window[:, : shape[1] // 2] = kernel[:, : shape[1] // 2]
    some = rng.integers(0, 3, shape[:2]).astype(np.uint8)
    for weights in (some, None):
        counts = np.ones(shape[:2], int) if weights is None else weights.astype(int)
        found = local_differences.worst_block(window, kernel, weights, 255.0, formula_of(metric))
        if metric in ("sad", "ssd"):
            expected = slow_worst(window, kernel, counts, 255, 1 + (metric == "ssd"))
        else:
            subtracts = metric == "zncc"
            expected = slow_correlated_worst(window, kernel, counts, subtracts=subtracts)
        assert found == pytest.approx(expected, abs=1e-12)


def test_brightness_and_contrast_do_not_count_in_blocks_of_zncc(screen):
    kernel = dialog("Invoice 10432 paid")
    screen[80:106, 10:160] = 20 + screen[80:106, 10:160] * 0.4
    asked = {"metric": "zncc", "threshold": 0.9}
    assert len(match(screen, kernel, **asked)) == 3
    (only,) = match(screen, kernel, worst=0.9, **asked)
    assert (only.x, only.y) == (10, 80)
    counts = np.ones((26, 150), int)
    window = screen[80:106, 10:160]
    assert only.worst == pytest.approx(
        slow_correlated_worst(window, kernel, counts, subtracts=True), abs=1e-12
    )
    assert only.worst <= only.score
    # Without a threshold the bound that follows from the criterion ends the search.
    first = match(screen, kernel, metric="zncc", worst=0.9)
    assert [(one.x, one.y, one.worst) for one in first] == [(10, 80, only.worst)]


@pytest.mark.parametrize("metric", ["ncc", "zncc"])
def test_an_empty_window_has_blocks_of_0(metric):
    kernel = dialog("10432")[..., :1]
    empty = np.zeros_like(kernel)
    found = local_differences.worst_block(empty, kernel, None, 255.0, formula_of(metric))
    assert found == 0.0
    found = local_differences.worst_block(kernel * 0.5, kernel, None, 255.0, formula_of(metric))
    assert found == 1.0


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_pixels_that_differ_are_counted(dtype, rng):
    window, kernel = (rng.integers(0, 256, (9, 14, 3), dtype=np.uint8) for _ in range(2))
    weights = rng.integers(0, 3, (9, 14)).astype(np.uint8)
    count, weight, largest = 0, 0, 0
    for y, x in np.ndindex(9, 14):
        steps = max(abs(int(window[y, x, c]) - int(kernel[y, x, c])) for c in range(3))
        if weights[y, x]:
            largest = max(largest, steps)
            if steps > 100:
                count, weight = count + 1, weight + int(weights[y, x])
    scale = {"uint8": 1, "uint16": 257, "float32": 1 / 255}[dtype]
    span = {"uint8": 255, "uint16": 65535, "float32": 1}[dtype]
    one, two = ((a.astype(float) * scale).astype(dtype) for a in (window, kernel))
    found = local_differences.differing(one, two, weights, span, 100)
    assert found.pixels == count
    assert found.share == pytest.approx(weight / weights.sum(), abs=1e-12)
    assert found.largest == pytest.approx(largest, abs=1e-4)


@pytest.mark.parametrize(
    ("metric", "engine"),
    [("sad", "pruned"), ("sad", "simd"), ("sad", "unfold"), ("ssd", "simd"), ("ssd", "fft")],
)
def test_a_wrong_digit_is_no_match(metric, engine, screen):
    kernel = dialog("Invoice 10432 paid")
    options = {"metric": metric, "engine": engine, "threshold": 0.9}
    plain = match(screen, kernel, top=3, **options)
    scores = {(one.x, one.y): one.score for one in plain}
    assert min(scores[20, 10], scores[30, 44]) > 0.98
    found = match(screen, kernel, worst=0.95 if metric == "sad" else 0.99, **options)
    assert [(one.x, one.y) for one in found] == [(10, 80)]
    window = screen[80:106, 10:160]
    power = 2 if metric == "ssd" else 1
    expected = slow_worst(window, kernel, np.ones((26, 150)), 255, power)
    assert found.best.worst == pytest.approx(expected, abs=1e-12)
    assert found.best.score == match(screen[80:], kernel, metric=metric).best.score
    by_pixels = match(screen, kernel, pixel_tolerance=40, max_differing=0, **options)
    assert [(one.x, one.y) for one in by_pixels] == [(10, 80)]
    assert (by_pixels.best.differing, by_pixels.best.max_difference) == (0, 9)


def test_a_refused_window_suppresses_no_neighbour(rng):
    kernel = rng.integers(0, 256, (16, 16, 1), dtype=np.uint8)
    image = np.full((40, 40, 1), 128, np.uint8)
    image[10:26, 10:26] = kernel
    image[12:20, 12:20] ^= 255
    scores = score_map("sad", image.tolist(), kernel.tolist(), span=255)
    refused = 0
    for y, x in np.ndindex(25, 25):
        window = image[y : y + 16, x : x + 16]
        if slow_worst(window, kernel, np.ones((16, 16)), 255, 1) < 0.6:
            scores[y][x] = -1.0
            refused += 1
    expected = best_matches([scores], [(16, 16)], (1, 1), None, 0.7, 0.3)
    found = match(image[..., 0], kernel[..., 0], worst=0.6, threshold=0.7)
    assert [(one.y, one.x) for one in found] == [(one[1], one[0]) for one in expected]
    assert 1 <= refused < 300
    assert len(found) > 1
    # Without a threshold the bound that follows from the criterion ends the search.
    first = match(image[..., 0], kernel[..., 0], worst=0.6, top=1)
    assert (first.best.y, first.best.x) == (found[0].y, found[0].x)
    assert len(match(image[..., 0], kernel[..., 0], worst=0.99)) == 0


def test_correlation_counts_pixels_from_a_threshold_on(screen):
    kernel = dialog("Invoice 10432 paid")
    options = {"metric": "zncc", "pixel_tolerance": 40, "max_differing": 0.001}
    found = match(screen, kernel, threshold=0.9, **options)
    assert [(one.x, one.y) for one in found] == [(10, 80)]
    with pytest.raises(InputError, match="give --threshold or --worst, too"):
        match(screen, kernel, **options)
    assert match(screen, kernel, worst=0.5, **options).matches[0].x == 10


def test_nothing_visible_counts_in_a_block(screen):
    kernel = dialog("Invoice 10432 paid")
    columns = np.flatnonzero((kernel != dialog("Invoice 10482 paid")).any((0, 2)))
    box = 20 + int(columns[0]), 10, int(np.ptp(columns)) + 1, 26
    found = match(screen, kernel, worst=0.95, ignore=box, threshold=0.9)
    assert [(one.x, one.y) for one in found] == [(20, 10), (10, 80)]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"worst": 1.5}, "worst 1.5 is no score of a block"),
        ({"pixel_tolerance": 256}, "give one from 0 to 255"),
        ({"max_differing": -1}, "max-differing -1 is negative"),
        ({"max_differing": 1.5}, "is no number of pixels, and no share"),
    ],
)
def test_what_cannot_be_used_is_refused(options, says, screen):
    with pytest.raises(InputError, match=says):
        match(screen, dialog("10432"), **options)


@pytest.mark.parametrize("exhaustive", [False, True])
@pytest.mark.parametrize("metric", ["sad", "zncc"])
def test_a_wrong_digit_is_no_match_at_another_scale(metric, exhaustive, screen):
    kernel = dialog("Invoice 10432 paid")
    size = 300, 180
    large = np.asarray(Image.fromarray(screen).resize(size, Image.Resampling.BICUBIC))
    asked = {"metric": metric, "scales": "1,1.5", "threshold": 0.9, "exhaustive": exhaustive}
    asked["threads"] = 1
    plain = match(large, kernel, **asked)
    assert {(round(one.x / 1.5), round(one.y / 1.5)) for one in plain} >= {(20, 10), (10, 80)}
    least = {"sad": 0.86, "zncc": 0.6}[metric]
    for criteria in ({"worst": least}, {"pixel_tolerance": 100, "max_differing": 0.0}):
        (only,) = match(large, kernel, **criteria, **asked)
        assert (only.x, only.y, only.scale) == (15, 120, 1.5)
    # What a pose compares is the kernel with the picture between its pixels.
    (only,) = match(large, kernel, worst=least, pixel_tolerance=30, **asked)
    x, y = np.mean(only.corners, axis=0)
    compared = registration.compared(
        large, Kernel(kernel), x, y, Pose(1.5), None, np.array([[0.0, 255.0]] * 3)
    )
    worst = local_differences.worst_block(*compared, 255, formula_of(metric))
    assert only.worst == pytest.approx(worst, abs=1e-3)
    pixels, taps, _ = compared
    over = (np.abs(pixels - taps) > 30).any(2)
    assert abs(only.differing - over.sum()) <= 3  # corners are rounded to 4 decimals
    assert only.worst <= only.score


def test_auto_finds_the_threshold_without_the_criteria(rng):
    picture = rng.integers(0, 256, (200, 260, 3), dtype=np.uint8)
    kernel = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
    for y, x in ((10, 20), (100, 30), (60, 200)):
        picture[y : y + 32, x : x + 32] = kernel
    picture[104:112, 34:42] = 255 - kernel[4:12, 4:12]
    plain = match(picture, kernel, threshold="auto")
    assert len(plain) == 3
    found = match(picture, kernel, threshold="auto", worst=0.9)
    assert [(one.x, one.y) for one in found] == [(20, 10), (200, 60)]
    assert found.threshold == plain.threshold
    assert found[0].margin == pytest.approx(plain[0].margin)
    posed = match(picture, kernel, threshold="auto", worst=0.9, angles="-5:5")
    assert [(one.x, one.y) for one in posed] == [(20, 10), (200, 60)]


def test_pixels_are_counted_without_a_limit(screen):
    kernel = dialog("Invoice 10432 paid")
    for metric in ("sad", "zncc"):
        best = match(screen, kernel, metric=metric, pixel_tolerance=8, top=1).best
        assert best.differing > 0


def test_from_the_shell(run, save, screen):
    save("screen.png", screen)
    save("button.png", dialog("Invoice 10432 paid"))
    plain = ["match", "screen.png", "button.png", "--no-heatmap", "--threshold", "0.9"]
    asked = ["--worst", "0.95", "--pixel-tolerance", "8", "--max-differing", "1.0"]
    code, out, _ = run(*plain, *asked, "--format", "json")
    (one,) = json.loads(out)["matches"]
    assert (code, one["x"], one["y"], one["max_difference"]) == (0, 10, 80, 9)
    assert one["worst"] > 0.95
    assert one["differing"] > 3000
    header = run(*plain, *asked)[1].splitlines()[0].split("\t")
    assert header[6:9] == ["worst", "differing", "max_difference"]
    code, _, told = run(*plain, "--max-differing", "3")
    assert code == 1
    assert "no match: places that meet --max-differing (max_differing) score 0.99" in told
    assert "or more; the best scores 0.9" in told
    code, _, told = run(*plain, "--worst", "0.98")
    assert code == 1
    assert "did not meet --worst (worst);" in told
    assert "of the best, at 20,10, its worst block scores" in told
    _, _, told = run(*plain, "--worst", "0.98", "--max-differing", "1")
    assert "places that meet --worst and --max-differing (worst, max_differing) score" in told


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"worst": 0.999}, "places that meet --worst (worst) score 0.999 or more;"),
        ({"worst": 0.999, "threshold": 0.9}, "places that meet --worst (worst) score 0.999 or"),
        ({"worst": 0.9, "threshold": 0.9999}, "nothing reached the threshold of 0.9999;"),
        (
            {"worst": 0.999, "max_differing": 0, "pixel_tolerance": 2},
            "that meet --worst and --max-differing (worst, max_differing) score 0.999 or more;",
        ),
    ],
)
def test_how_close_the_best_place_came_where_criteria_ask_for_more(options, says, screen, rng):
    kernel = dialog("Invoice 10432 paid") // 2
    kernel += rng.integers(0, 100, kernel.shape, dtype=np.uint8)
    told = []
    observer = Observer()
    observer.notice = told.append
    assert len(match(screen, kernel, metric="zncc", observer=observer, **options)) == 0
    assert len(match(screen, 255 - kernel, observer=observer, **options)) == 0
    for text in told:
        assert says in text
        assert re.search(r"; the best.* scores 0\.\d+ at \d+,\d+", text)
    assert len(told) == 2
