"""A hint, on a terminal alone, that what was not found is there at another scale."""

from __future__ import annotations

import os

import numpy as np
import pytest
from PIL import Image

from patchsim import match
from patchsim.cli import watcher
from patchsim.matching import other_scales


def resized(pixels, scale):
    height, width = (round(side * scale) for side in pixels.shape[:2])
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC))


def told(image, kernel, masks=None, **options):
    masks = masks or {}
    return other_scales.hint(
        image, kernel, masks, options, match(image, kernel, **masks, **options)
    )


@pytest.mark.parametrize("side", [20, 40, 80])
@pytest.mark.parametrize("scale", [0.6, 1.25, 2.0])
@pytest.mark.parametrize("metric", ["sad", "zncc"])
def test_the_scale_and_the_place_are_told(side, scale, metric, astronaut):
    kernel = astronaut[100 : 100 + side, 200 : 200 + side].copy()
    image = resized(astronaut[:300], scale)
    text = told(image, kernel, metric=metric, threshold=0.999)
    assert text.startswith("kernel seems to be there at about ")
    words = text.split()
    assert float(words[7]) == pytest.approx(scale, rel=0.02)
    x, y = map(int, text.split("size, at ")[1].split(";")[0].split(","))
    assert abs(x - 200 * scale) <= 2
    assert abs(y - 100 * scale) <= 2
    assert text.splitlines()[1].startswith("try --scales 0.5:2, or --scales ")


@pytest.mark.parametrize("metric", ["sad", "zncc"])
def test_nothing_is_told_of_what_is_not_there(metric, astronaut, coffee):
    for side in (16, 30, 64):
        kernel = astronaut[100 : 100 + side, 200 : 200 + side]
        assert told(coffee[:300, :400], kernel, metric=metric, threshold=0.999) is None
    # It is there as it is, with noise that the threshold does not let pass.
    noise = np.random.default_rng(1).normal(0, 6, (300, 512, 3))
    image = np.clip(astronaut[:300] + noise, 0, 255).astype(np.uint8)
    assert told(image, astronaut[100:140, 200:240], metric=metric, threshold=0.999) is None


def test_alpha_and_regions_count(astronaut):
    kernel = np.dstack([astronaut[100:140, 200:240], np.full((40, 40), 255, np.uint8)])
    kernel[:, :10] = 0
    image = resized(astronaut[:300], 1.5)
    text = told(image, kernel, threshold=0.999)
    assert "about 1.50 times" in text
    text = told(image, kernel, threshold=0.999, region=(250, 100, 200, 200))
    assert "about 1.50 times" in text
    assert told(image, kernel, threshold=0.999, region=(0, 0, 200, 200)) is None
    part = {"ignore": (290, 140, 80, 80), "threshold": 0.999}
    assert told(image, kernel[..., :3].copy(), **part) is None
    seen = np.full(image.shape[:2], 255, np.uint8)
    assert "about 1.50 times" in told(image, kernel, {"image_mask": seen}, threshold=0.999)
    seen[140:220, 290:370] = 0
    assert told(image, kernel, {"image_mask": seen}, threshold=0.999) is None


CASES = ["poses", "frame", "small", "two", "large", "stdin", "pipe", "url"]


@pytest.mark.parametrize("case", CASES)
def test_no_look_is_taken_where_it_makes_no_sense(case, astronaut, monkeypatch, tmp_path):
    kernel = astronaut[100:120, 200:220].copy()
    image = resized(astronaut[:300], 1.5)
    options = {"threshold": 0.999}
    sources = image, kernel
    if case == "poses":
        options["scales"] = "0.5,1"
    elif case == "frame":
        options["frame"] = 0
    elif case == "small":
        sources = image, kernel[:10, :10]
    elif case == "large":
        monkeypatch.setattr(other_scales, "_MOST_PIXELS", 1000)
    report = match(image, [kernel] * 2 if case == "two" else sources[1], **options)
    assert not report
    monkeypatch.setattr(other_scales, "match", None)
    if case == "pipe":
        os.mkfifo(tmp_path / "pipe")
    others = {"stdin": "-", "pipe": tmp_path / "pipe", "url": "memory://image.png"}
    sources = others.get(case, sources[0]), sources[1]
    assert other_scales.hint(*sources, {}, options, report) is None


def test_the_command_tells_it_on_a_terminal(run, save, astronaut, monkeypatch):
    save("a.png", resized(astronaut[:200, 100:300], 2))
    save("k.png", astronaut[100:140, 200:240])
    words = ("match", "a.png", "k.png", "--no-heatmap", "--threshold", "0.98")
    assert "seems to be there" not in run(*words)[2]
    monkeypatch.setattr(watcher, "is_watched", lambda *, quiet: not quiet)
    code, _, err = run(*words)
    assert code == 1
    assert "k.png seems to be there at about 2.00 times its size, at 200,200;\n" in err
    assert run(*words, "--quiet")[2] == ""
    assert "seems to be there at about 2.00" in run(*words[:4])[2]  # the best place is poor

    def fail(*_):
        raise AssertionError

    monkeypatch.setattr(other_scales, "hint", fail)
    save("there.png", astronaut[:200, 100:300])
    assert run("match", "there.png", *words[2:])[0] == 0
    assert run("match", "there.png", *words[2:4])[0] == 0
