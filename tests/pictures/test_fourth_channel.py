"""The fourth channel of an array is alpha where its values are bytes."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

import patchsim


@pytest.fixture
def icon(rng):
    """A round icon [12, 12, 4] whose transparent corners have a colour of no meaning."""
    y, x = np.mgrid[:12, :12] - 5.5
    alpha = np.where(np.hypot(y, x) < 6, 255, 0)[..., None]
    return np.concatenate([rng.integers(0, 256, (12, 12, 3)), alpha], 2).astype(np.uint8)


@pytest.fixture
def screen(icon, rng):
    """A screen [40, 60, 3] that shows the icon at x=31, y=17, without its corners."""
    pixels = rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)
    shown = icon[..., 3] > 0
    pixels[17:29, 31:43][shown] = icon[..., :3][shown]
    return pixels


def test_an_array_is_what_its_file_is(screen, icon):
    for image in (screen, np.dstack([screen, np.full(screen.shape[:2], 255, np.uint8)])):
        report = patchsim.match(image, icon, metric="zncc", map=True)
        expected = patchsim.match(screen, Image.fromarray(icon), metric="zncc", map=True)
        assert report.matches == expected.matches
        assert (report.best.x, report.best.y, report.best.score) == (31, 17, pytest.approx(1))
        np.testing.assert_array_equal(report.map, expected.map)
        (notice,) = report.notices  # once, whatever the number of arrays
        assert notice == (
            "an array of uint8 with 4 channels is taken as colours and alpha, like a file; give"
            " alpha=False (--no-alpha) to compare 4 channels"
        )
    assert patchsim.match(screen, Image.fromarray(icon)).notices == ()


def test_four_channels_are_compared_when_asked(rng):
    image = rng.integers(0, 256, (30, 30, 4), dtype=np.uint8)
    kernel = image[8:16, 11:20].copy()
    kernel[..., 3] ^= 255
    report = patchsim.match(image, kernel, alpha=False, top=1, map=True)
    expected = 1 - np.abs(image[8:16, 11:20] - kernel.astype(float)).mean() / 255
    assert report.map[8, 11] == pytest.approx(expected, abs=1e-6)
    assert report.notices == ()


def test_a_filler_of_zeros_is_unused(screen, icon):
    """Screenshots as BGRX have a fourth byte of 0."""
    filled = np.dstack([screen, np.zeros(screen.shape[:2], np.uint8)])
    report = patchsim.match(filled, icon[3:9, 3:9, :3])
    assert (report.best.x, report.best.y, report.best.score) == (34, 20, 1.0)
    assert "0 throughout the fourth, which is left out" in report.notices[0]


@pytest.mark.parametrize("dtype", [np.uint16, np.float32, np.float64])
def test_other_types_keep_four_channels_and_say_so(dtype, rng):
    image = (rng.random((20, 20, 4)) * (1 if np.dtype(dtype).kind == "f" else 65535)).astype(dtype)
    report = patchsim.match(image, image[4:9, 6:13])
    assert report.plans[0].problem.kernel == (5, 7, 4)
    assert [f"array of {np.dtype(dtype)} with 4" in text for text in report.notices] == [True]
    assert patchsim.match(image, image[4:9, 6:13], alpha=False).notices == ()


def test_a_masked_array_keeps_its_alpha(screen, icon):
    mask = np.zeros(icon.shape, bool)
    mask[:4] = True
    other = icon.copy()
    other[:4, :, :3] ^= 255
    report = patchsim.match(screen, np.ma.masked_array(other, mask))
    assert (report.best.x, report.best.y, report.best.score) == (31, 17, 1.0)


def test_the_command_reads_npy_so(screen, icon, run, save, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("icon.npy", icon)
    save("screen.png", screen)
    words = ("match", "screen.png", "icon.npy", "--no-heatmap", "--top", "1", "--format", "json")
    code, out, err = run(*words)
    best = json.loads(out)["matches"][0]
    assert (code, best["x"], best["y"], best["score"]) == (0, 31, 17, 1.0)
    assert "taken as colours and alpha" in err
    code, _, err = run(*words, "--no-alpha")
    assert code == 2
    assert "icon.npy has 4; give pictures with equally many" in err
