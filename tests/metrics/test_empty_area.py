"""What an empty area scores: the closed forms against the oracle, and the notice of a threshold."""

from __future__ import annotations

import numpy as np
import oracle
import pytest
from helpers.problems import METRICS, SPAN, values
from PIL import Image, ImageDraw

from patchsim import Matcher, match, metrics


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", SPAN)
@pytest.mark.parametrize("kind", ["none", "mask", "channels", "one channel left out"])
def test_the_closed_form_is_the_oracles_score_of_a_window_of_the_mean(metric, dtype, kind, rng):
    kernel = values(rng, dtype, 7, 5, 3)
    weights = None
    if kind == "mask":
        weights = rng.integers(0, 256, (7, 5), dtype=np.uint8)
    elif kind != "none":
        weights = rng.integers(0, 256, (7, 5, 3), dtype=np.uint8)
    if kind == "one channel left out":
        weights[..., 1] = 0
    counts = np.ones(kernel.shape, int)
    if weights is not None:
        counts = np.broadcast_to(np.atleast_3d(weights), kernel.shape).astype(int)
    totals = np.maximum(counts.sum((0, 1)), 1)
    means = (kernel * counts.astype(float)).sum((0, 1)) / totals
    if kernel.dtype.kind == "u":
        means = np.rint(means).astype(int)

    def listed(pixels):
        """The values channel after channel, as the oracle takes them."""
        return [value for channel in range(3) for value in pixels[..., channel].ravel().tolist()]

    window = np.broadcast_to(means, kernel.shape)
    expected = oracle.score(metric, listed(window), listed(kernel), listed(counts), 3, SPAN[dtype])
    found = metrics.empty_score(metrics.Kernel(kernel, weights), metric, SPAN[dtype])
    assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("metric", ["sad", "ssd", "ncc"])
@pytest.mark.parametrize("value", [0.0, 0.1, 1.0])
def test_an_empty_area_scores_as_a_kernel_of_one_colour_itself(metric, value):
    kernel = metrics.Kernel(np.full((9, 7, 3), value))
    expected = 0.0 if metric == "ncc" and value == 0 else 1.0
    assert metrics.empty_score(kernel, metric, 1.0) == pytest.approx(expected, abs=1e-15)
    assert metrics.empty_score(kernel, metric, 1.0) <= 1


@pytest.fixture
def dark_screen():
    """A dark screen with a few bright lines, and a dark icon that is not on it."""
    screen = Image.new("RGB", (160, 90), (30, 32, 34))
    draw = ImageDraw.Draw(screen)
    for y in (10, 60):
        draw.line((10, y, 90, y), (200, 200, 200), 2)
    icon = Image.new("RGB", (16, 16), (31, 33, 36))
    ImageDraw.Draw(icon).ellipse((4, 4, 11, 11), (58, 60, 66))
    return screen, icon


def test_a_threshold_that_empty_areas_reach_is_told_once(dark_screen):
    screen, icon = dark_screen
    report = match(screen, icon, threshold=0.9)
    empty = report.kernels[0].empty_score
    assert len(report) > 1  # though the icon is not on the screen
    assert 0.9 < empty < 1
    assert report.notices == (
        "threshold 0.9 does not exceed what an empty area of the kernel's mean colour scores"
        f" ({empty:.4g});\n"
        "give a higher one, --threshold auto (threshold='auto') or --metric zncc (metric='zncc')",
    )
    # What it advises helps.
    assert match(screen, icon, threshold=0.99).notices[0].startswith("no match")
    assert not match(screen, icon, threshold=0.9, metric="zncc")
    assert match(screen, icon, threshold=empty).notices
    assert not any("empty" in text for text in match(screen, icon, threshold=0.98).notices)


def test_nothing_is_told_without_a_number_or_of_a_number_that_asks_for_all(dark_screen):
    screen, icon = dark_screen
    assert match(screen, icon).notices == ()
    assert match(screen, icon, threshold=0).notices == ()
    assert match(screen, icon, threshold=-1, metric="zncc").notices == ()


def test_kernels_are_named_where_there_are_several_and_flat_ones_are_not(dark_screen, save, run):
    screen, icon = dark_screen
    save("screen.png", np.asarray(screen))
    save("bright.png", 255 - (np.arange(256) % 2 * 200).astype(np.uint8).reshape(16, 16))
    save("flat.png", np.full((8, 8, 3), 31, np.uint8))
    names = [f"dark{number}.png" for number in range(3)]
    for number, name in enumerate(names):
        save(name, np.asarray(icon) + np.uint8(number))
    words = ("--threshold", "0.9", "--no-heatmap", "--top", "1")
    code, _, err = run("match", "screen.png", "bright.png", "flat.png", *names, *words)
    assert code == 0
    told = [line for line in err.splitlines() if "empty area" in line]
    assert len(told) == 1
    assert "the mean colour of dark0.png, dark1.png and 1 more scores" in told[0]
    assert "flat.png is flat" in err
    code, _, err = run("match", "screen.png", "bright.png", "dark2.png", *words)
    assert "the mean colour of dark2.png scores" in err
    assert run("match", "screen.png", "dark2.png", *words, "--quiet")[2] == ""


def test_the_report_has_the_score_in_the_colours_and_weights_that_are_compared(dark_screen):
    screen, icon = dark_screen
    mask = np.zeros((16, 16), np.uint8)
    mask[4:12, 4:12] = 255
    one, other = Matcher([icon, icon.convert("L")], mask=mask, color="gray").match(screen).kernels
    assert one.empty_score == other.empty_score
    pixels = np.asarray(icon.convert("L"))[..., None]
    kernel = metrics.Kernel(pixels, mask // 255)
    assert one.empty_score == metrics.empty_score(kernel, "sad", 255)
    assert match(screen, icon, metric="zncc").kernels[0].empty_score == 0
