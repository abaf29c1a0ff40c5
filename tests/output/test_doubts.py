"""A hint, on a terminal alone, that the kernel may not be there; none where it is."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from patchsim import choices, match
from patchsim.cli import watcher
from patchsim.output.doubts import doubt


@pytest.fixture
def screen():
    """A dark screen with three bright discs, some lines and a square."""
    picture = Image.new("L", (160, 90), 30)
    draw = ImageDraw.Draw(picture)
    for x, y in ((8, 8), (60, 20), (110, 50)):
        draw.ellipse((x, y, x + 15, y + 15), 220)
    draw.rectangle((20, 60, 35, 75), 220)
    for y in (4, 45, 84):
        draw.line((90, y, 150, y), 120)
    return np.asarray(picture)


@pytest.mark.parametrize("metric", choices.METRICS)
@pytest.mark.parametrize("options", [{}, {"top": 1}, {"top": 2}, {"top": 1, "map": True}], ids=str)
def test_what_is_there_is_not_doubted(metric, options, screen, rng):
    disc = screen[6:26, 6:26]
    noisy = np.clip(screen + rng.normal(0, 5, screen.shape), 0, 255).astype(np.uint8)
    for image in (screen, noisy):
        assert doubt(match(image, disc, metric=metric, **options)) is None


def cut(score):
    """Four decimals of a score that is not negative."""
    return f"{int(score * 10000) / 10000:g}"


def test_an_icon_that_is_no_better_than_an_empty_area_is_doubted(screen):
    icon = np.full((16, 16), 33, np.uint8)
    icon[4:12, 4:12] = 45
    report = match(screen, icon)
    assert report.best.score <= report.kernels[0].empty_score
    assert doubt(report) == (
        f"kernel scores {cut(report.best.score)} at best, no more than an empty area of its mean"
        f" colour ({cut(report.kernels[0].empty_score)});\n"
        "it may not be there; --threshold auto asks whether a place stands out"
    )


def test_places_that_score_alike_are_doubted(rng):
    image = rng.integers(0, 256, (90, 120), dtype=np.uint8)
    kernel = rng.integers(0, 256, (12, 12), dtype=np.uint8)
    report = match(image, kernel, metric="zncc", margin=True)
    scores = [found.score for found in report]
    sixth = scores[-1] - report[-1].margin
    assert doubt(report) == (
        f"the 6 best places score alike, {cut(scores[0])} to {cut(sixth)}, so none stands out as"
        " kernel;\nit may not be there; --threshold auto asks whether a place stands out"
    )
    image[40:52, 50:62] = kernel
    assert doubt(match(image, kernel, metric="zncc", margin=True)) is None


def test_one_score_alone_says_nothing(rng):
    image = rng.integers(0, 256, (30, 40), dtype=np.uint8)
    kernel = rng.integers(0, 256, (12, 12), dtype=np.uint8)
    assert doubt(match(image, kernel, metric="zncc", top=1, margin=False)) is None
    assert doubt(match(image, kernel, metric="zncc", threshold=1)) is None


def test_the_hint_is_for_people_alone(run, save, screen, monkeypatch):
    icon = np.full((16, 16), 33, np.uint8)
    icon[4:12, 4:12] = 45
    save("screen.png", screen)
    save("icon.png", icon)
    words = ("match", "screen.png", "icon.png", "--no-heatmap")
    code, out, err = run(*words)
    assert (code, len(out.splitlines()), err) == (0, 6, "")
    monkeypatch.setattr(watcher, "is_watched", lambda *, quiet: not quiet)
    told = run(*words)
    assert told[:2] == (0, out)
    assert told[2].startswith("patchsim: icon.png scores 0.")
    assert run(*words, "--quiet")[2] == ""
    assert "may not be there" not in run(*words, "--threshold", "0.5")[2]
