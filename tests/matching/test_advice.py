"""Notices of pictures that can be compared, but hardly as people mean it."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import said
from PIL import Image

import patchsim

GREY = "in which grey differs from any colour;\n--color gray (color='gray')"


@pytest.fixture
def screen(rng):
    """A drawing in colours [60, 80, 3]: rectangles of one colour on another."""
    pixels = np.zeros((60, 80, 3), np.uint8)
    pixels[...] = 230, 200, 40
    for _ in range(30):
        y, x = rng.integers(0, 50), rng.integers(0, 70)
        pixels[y : y + 9, x : x + 7] = rng.integers(0, 256, 3)
    return pixels


def test_a_grey_kernel_in_a_picture_in_colour(screen, save, run):
    icon = Image.fromarray(screen[20:36, 30:50])
    save("screen.png", screen)
    save("icon.png", icon.convert("L"))
    words = ("match", "screen.png", "icon.png", "--top", "1", "--no-heatmap")
    _, _, err = run(*words)
    assert "patchsim: kernel icon.png is grey, screen.png is in colour: they" in err
    assert GREY in said(err)
    _, out, err = run(*words, "--color", "gray", "--columns", "x,y,score", "--no-header")
    assert (out, err) == ("30\t20\t1.0\n", "")
    save("screen.png", Image.fromarray(screen).convert("L"))
    save("icon.png", icon)
    _, _, err = run(*words)
    assert "patchsim: kernel icon.png is in colour, screen.png is grey: they" in err


def test_a_grey_icon_that_is_found_needs_no_notice(screen):
    """Programs store grey parts of a screenshot as grey."""
    screen[20:36, 30:50] = screen[20:36, 30:50, :1]
    grey = screen[20:36, 30:50, 0].copy()
    assert patchsim.match(screen, grey).notices == ()
    screen[:20] = screen[:20, :, :1]
    screen[20:] = screen[20:, :, :1]  # all grey, as RGB
    assert patchsim.match(screen, 255 - grey).notices == ()


def test_several_grey_kernels_have_one_notice(screen, rng):
    kernels = list(rng.integers(0, 256, (3, 8, 8), dtype=np.uint8))
    (notice,) = patchsim.match(screen, [kernels[0], screen[9:20, 9:20]]).notices
    assert notice.startswith("kernel-1 is grey, image is in colour")
    (notice,) = patchsim.match(screen, kernels[:2]).notices
    assert notice.startswith("kernel-1 and kernel-2 are grey, image is in colour")
    (notice,) = patchsim.match(screen, kernels, threshold=1.0).notices[:1]
    assert notice.startswith("kernel-1 and 2 more kernels are grey")
    report = patchsim.match(screen, kernels[0], angles="0:10", top=1)
    assert [GREY in text for text in report.notices] == [True]


@pytest.mark.parametrize(
    ("largest", "dtype", "end"),
    [
        (4095, np.uint16, "4095"), (4096, np.uint16, "16383"), (900, np.uint16, "1023"),
        (255, np.uint16, "255"), (1, np.uint8, "1"), (0.05, np.float64, "0.05"),
        (0.0123, np.float32, "0.013"), (0.25, np.float32, "0.25"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("metric", ["sad", "ssd"])
def test_small_values_name_their_range(largest, dtype, end, metric, rng):
    image = (rng.random((40, 50)) * largest).astype(dtype)
    image[0, 0] = largest
    if dtype == np.uint8:
        image[:] = rng.integers(0, 2, image.shape)
    kernel = image[8:19, 20:33]
    (notice,) = patchsim.match(image, kernel, metric=metric).notices
    assert "every score is high;" in notice
    assert notice.endswith(f"give --data-range 0:{end} (data_range=(0, {end}))")
    given = {"data_range": (0, float(end))}
    for options in ({"metric": "zncc"}, {"metric": "ncc"}, {"metric": metric} | given):
        assert patchsim.match(image, kernel, **options).notices == ()
    told = patchsim.match(image, rng.random((9, 9)), metric=metric).notices
    if dtype == np.uint8:  # it is a dark picture
        assert told == ()
    else:
        assert ": it counts as far darker than kernel;\nuse --metric zncc" in told[0]


@pytest.mark.parametrize(("largest", "dtype"), [(16384, np.uint16), (17, np.uint8), (0.26, float)])
def test_larger_values_need_no_notice(largest, dtype, rng):
    image = np.zeros((40, 50), dtype)
    image[7, 9] = largest  # no sampled row has it
    image[20:, 20:] = rng.integers(0, 2, (20, 30)) * (0.1 if dtype is float else 1)
    assert patchsim.match(image, image[18:30, 18:30]).notices == ()


@pytest.mark.parametrize("is_image_deep", [True, False])
def test_eight_bits_in_the_range_of_others_are_told(is_image_deep, rng):
    deep = rng.integers(0, 4096, (40, 50), np.uint16)
    plain = (deep >> 4).astype(np.uint8)
    image, kernel = (deep, plain) if is_image_deep else (plain, deep)
    options = {"data_range": (0, 4095)}
    (notice,) = patchsim.match(image, kernel[5:15, 6:18], **options).notices
    name = "kernel" if is_image_deep else "image"
    assert notice.startswith(f"{name} has 8 bits, which --data-range takes as values up to 255 of")
    assert "--metric zncc" in notice
    best = patchsim.match(image, kernel[5:15, 6:18], metric="zncc", **options)
    assert (best.notices, best[0].x, best[0].y) == ((), 6, 5)
    assert patchsim.match(deep, deep[5:15, 6:18], **options).notices == ()
