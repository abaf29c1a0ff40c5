"""A search without a match says why, once, in every format, and not with --quiet."""

from __future__ import annotations

import json

import numpy as np
import pytest
from helpers import said
from PIL import Image

import patchsim


@pytest.fixture
def mostly_transparent(rng):
    """A picture [40, 50, 4] of which the 8x8 pixels at the top left are visible."""
    pixels = np.dstack([rng.integers(0, 256, (40, 50, 3)), np.zeros((40, 50))]).astype(np.uint8)
    pixels[:8, :8, 3] = 255
    return pixels


@pytest.mark.parametrize("form", ["table", "tsv", "csv", "json", "jsonl"])
def test_the_command_says_why_once(form, run, save, mostly_transparent):
    save("a.png", mostly_transparent)
    save("k.png", np.ascontiguousarray(mostly_transparent[:20, :20, :3]))
    words = ("match", "a.png", "k.png", "--no-heatmap", "--format", form)
    code, out, err = run(*words)
    assert code == 1
    assert said(err) == (
        "no match: no window shows 0.5 of the kernel's pixels; the best shows 16% of"
        " kernel k.png;\nlower --min-visible (min_visible=), or use --ignore-alpha"
        " (ignore_alpha=True)"
    )
    if form == "json":
        assert json.loads(out)["matches"] == []
    assert run(*words, "--quiet")[::2] == (1, "")
    words = (*words, "--ignore-alpha", "--threshold", "1.0")
    save("k.png", np.zeros((20, 20, 3), np.uint8) + np.arange(20, dtype=np.uint8)[:, None, None])
    code, _, err = run(*words)
    assert code == 1
    (told,) = err.splitlines()[1:]
    assert told.startswith(
        "patchsim: no match: nothing reached the threshold of 1; the best scores 0."
    )


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("stride", [1, 3])
def test_the_share_is_that_of_the_most_visible_window(weighted, stride, rng):
    image = rng.integers(0, 256, (40, 50, 4), dtype=np.uint8)
    image[..., 3] = 0
    image[7:12, 9:18, 3] = rng.integers(0, 256, (5, 9))
    image[9, 12, 3] = 255
    kernel = image[3:17, 4:23, :3].copy()
    mask = rng.integers(0, 256, kernel.shape[:2], dtype=np.uint8) if weighted else None
    report = patchsim.match(
        Image.fromarray(image), kernel, mask=mask, stride=stride, min_visible=0.9
    )
    assert not report.matches
    weights = np.ones(kernel.shape[:2], int) if mask is None else mask.astype(int)
    shares = [
        (weights * image[y : y + 14, x : x + 19, 3]).sum() / (255 * weights.sum())
        for y in range(0, 40 - 14 + 1, stride)
        for x in range(0, 50 - 19 + 1, stride)
    ]
    percent = np.floor(max(shares) * 1000) / 10
    assert f"the best shows {percent:g}% of kernel;" in report.notices[-1]
    assert patchsim.match(
        Image.fromarray(image), kernel, mask=mask, stride=stride, min_visible=max(shares) - 0.001
    )


def test_an_automatic_threshold_has_its_own_words(rng):
    image = rng.integers(0, 256, (60, 60), dtype=np.uint8)
    kernel = rng.integers(0, 256, (9, 9), dtype=np.uint8)
    report = patchsim.match(image, kernel, threshold="auto")
    assert not report.matches
    assert [text.startswith("threshold auto: no place") for text in report.notices] == [True]
    report = patchsim.match(image, kernel, threshold=0.99, scales="1,0.9", angles="0,90")
    assert report.notices[-1].startswith(
        "no match: nothing reached the threshold of 0.99; the best pose that was followed scores 0."
    )
    assert patchsim.match(image, image[9:20, 9:20]).notices == ()
