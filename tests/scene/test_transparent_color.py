"""Kernels with a key colour, of which nothing else is compared."""

from __future__ import annotations

import numpy as np
import pytest
from oracle import score_map

from patchsim import InputError, match

KEY = (255, 0, 255)


def sprite(rng, height=9, width=11, key=KEY):
    """A drawing on a ground of the key colour, and where it is."""
    kernel = rng.integers(0, 200, (height, width, 3), dtype=np.uint8)
    drawn = rng.random((height, width)) < 0.6
    drawn[0, 0], drawn[-1, -1] = True, False
    kernel[~drawn] = key
    return kernel, drawn


@pytest.mark.parametrize("metric", ["sad", "ssd", "ncc", "zncc"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
def test_the_colour_weighs_nothing_in_any_type(metric, dtype, rng):
    kernel, drawn = sprite(rng)
    image = rng.integers(0, 256, (30, 33, 3), dtype=np.uint8)
    image[7:16, 12:23][drawn] = kernel[drawn]
    scale = {"uint8": 1, "uint16": 257}.get(dtype, 1 / 255)
    span = {"uint8": 255, "uint16": 65535}.get(dtype, 1)
    image, kernel = (
        (one * scale).astype(dtype) for one in (image.astype(float), kernel.astype(float))
    )
    report = match(image, kernel, transparent="ff00ff", metric=metric, map=True, top=1)
    expected = score_map(
        metric, image.tolist(), kernel.tolist(), span=span, weights=drawn.astype(int).tolist()
    )
    np.testing.assert_allclose(report.map, expected, rtol=0, atol=2e-6)
    assert (report.best.x, report.best.y) == (12, 7)
    assert report.best.score == pytest.approx(1, abs=1e-9)


def test_near_colours_are_taken_by_their_channels(rng):
    kernel, drawn = sprite(rng)
    near = kernel.copy()
    near[~drawn] = [250, 5, 250]
    image = rng.integers(0, 256, (30, 33, 3), dtype=np.uint8)
    options = {"map": True, "trim": False}
    wanted = match(image, kernel, transparent="#FF00FF", **options).map
    np.testing.assert_array_equal(match(image, near, transparent="FF00FF~5", **options).map, wanted)
    other = match(image, near, transparent="FF00FF~4", **options)
    assert (other.map != wanted).any()
    assert other.notices == (
        "kernel has no pixel of the transparent colour FF00FF~4; a larger ~N takes more",
    )
    assert match(image, near, transparent="00FF00").notices == (
        "kernel has no pixel of the transparent colour 00FF00; ~N takes similar ones, as in"
        " 00FF00~8",
    )


def test_it_counts_beside_mask_alpha_and_ranges(rng):
    kernel, drawn = sprite(rng)
    image = rng.integers(0, 256, (30, 33, 3), dtype=np.uint8)
    mask = rng.integers(0, 256, kernel.shape[:2], dtype=np.uint8)
    both = np.where(drawn, mask, np.uint8(0))
    options = {"map": True, "trim": False, "transparent": "FF00FF"}
    wanted = match(image, kernel, mask=both, map=True, trim=False).map
    np.testing.assert_allclose(match(image, kernel, mask=mask, **options).map, wanted, atol=1e-6)
    alpha = np.dstack([kernel, mask])
    np.testing.assert_allclose(match(image, alpha, **options).map, wanted, atol=1e-6)
    # A range of 12 bits; a grey kernel has the colour where it is as bright.
    grey = np.array([[0, 4095, 2000], [4095, 7, 4095]], np.uint16)
    deep = rng.integers(0, 4096, (9, 9), dtype=np.uint16)
    found = match(deep, grey, data_range=(0, 4095), map=True, transparent="FFFFFF").map
    weights = (grey < 4095).astype(int).tolist()
    expected = score_map(
        "sad", deep[..., None].tolist(), grey[..., None].tolist(), span=4095, weights=weights
    )
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    assert "no pixel of" in match(deep, grey, data_range=(0, 4095), transparent="FF00FF").notices[0]


@pytest.mark.parametrize("given", ["FF00F", "magenta", "FF00FF~", "FF00FF~256", "FF00FF~-1", 7, ""])
def test_what_is_no_colour_is_refused(given):
    image = np.zeros((9, 9), np.uint8)
    with pytest.raises(
        InputError, match=r"(?s)^transparent .* is no colour; give RRGGBB .* FF00FF~8"
    ):
        match(image, image, transparent=given)


def test_a_kernel_of_that_colour_alone_is_refused(rng):
    image = rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)
    kernel = np.full((3, 3, 3), 255, np.uint8)
    with pytest.raises(InputError, match="has the transparent colour FFFFFF wherever it counts"):
        match(image, kernel, transparent="FFFFFF")
    report = match(image, [kernel, image[2:5, 2:5]], transparent="FFFFFF")
    assert [one.number for one in report.skipped] == [0]
    with pytest.raises(InputError, match="no meaning for kernel of 5 channels; give a mask"):
        match(np.zeros((9, 9, 5)), np.zeros((3, 3, 5)), transparent="FFFFFF")


def test_the_command(run, save, rng):
    kernel, drawn = sprite(rng)
    image = rng.integers(0, 256, (30, 33, 3), dtype=np.uint8)
    image[7:16, 12:23][drawn] = kernel[drawn]
    save("image.png", image)
    save("sprite.png", kernel)
    words = ("match", "image.png", "sprite.png", "--no-heatmap", "--threshold", "1", "--print",
             "{x} {y}")  # fmt: skip
    assert run(*words)[:2] == (1, "")
    assert run(*words, "--transparent", "FF00FF")[:2] == (0, "12 7\n")
    assert run(*words, "--transparent", "FF00FF~3")[:2] == (0, "12 7\n")
    assert run(*words, "--transparent", "pink")[0] == 2
