"""Edges: magnitude and doubled direction of the gradient, against loops and drawn pictures."""

from __future__ import annotations

import math

import numpy as np
import oracle
import pytest
from PIL import Image, ImageDraw

from patchsim import InputError, match
from patchsim.choices import METRICS
from patchsim.scene import color

SPAN = {"uint8": 255, "uint16": 65535, "float32": 1, "float64": 1}


def converted(pixels):
    return color.convert(pixels, 2, "edges", low=0, span=SPAN[pixels.dtype.name])


def edges(pixels, span):
    """The two channels in units of R, in loops; the border is repeated."""
    height, width = len(pixels), len(pixels[0])
    shares = (19595, 38470, 7471)

    def luma(y, x):
        pixel = pixels[min(max(y, 0), height - 1)][min(max(x, 0), width - 1)]
        red, green, blue = pixel * 3 if len(pixel) == 1 else pixel
        return sum(a * b for a, b in zip(shares, (red, green, blue), strict=True)) / 65536 / span

    result = []
    for y in range(height):
        line = []
        for x in range(width):
            right = (luma(y, x + 1) - luma(y, x - 1)) / 2
            down = (luma(y + 1, x) - luma(y - 1, x)) / 2
            size, angle = math.hypot(right, down), math.atan2(down, right)
            unit = math.sqrt(2) * size
            line.append([(128 + 127 * unit * f(2 * angle)) / 255 for f in (math.cos, math.sin)])
        result.append(line)
    return result


def as_type(unit, dtype):
    span = SPAN[dtype]
    return (np.rint(unit * span) if span > 1 else unit).astype(dtype)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
def test_edges_are_those_of_plain_loops(dtype, channels, rng):
    unit = rng.random((19, 23, channels))
    unit[:6] = np.round(unit[:6])  # steps of the whole range
    unit[6:12] = 0.3  # and none at all
    pixels = as_type(unit, dtype)
    found = converted(pixels)
    assert (found.dtype, found.shape) == (dtype, (19, 23, 2))
    expected = edges(pixels.tolist(), SPAN[dtype])
    rounding = 0.5 / SPAN[dtype] if SPAN[dtype] > 1 else 0
    single = 1e-14 if dtype == "float64" else 1e-6
    np.testing.assert_allclose(found / SPAN[dtype], expected, rtol=0, atol=rounding + single)


@pytest.mark.parametrize("dtype", ["uint8", "float64"])
def test_flat_areas_are_the_zero_and_all_edges_lie_in_the_range(dtype, rng):
    flat = converted(as_type(np.full((5, 6, 3), 0.4), dtype))
    zero = as_type(np.full((5, 6, 2), 128 / 255), dtype)
    np.testing.assert_array_equal(flat, zero)
    steps = converted(as_type(rng.integers(0, 2, (90, 90, 1)).astype(float), dtype)) / SPAN[dtype]
    assert steps.min() == pytest.approx(1 / 255, abs=1e-9)
    assert steps.max() == pytest.approx(1, abs=1e-9)


def test_opposite_contrasts_have_the_same_edges(rng):
    unit = rng.integers(0, 1025, (30, 40, 1)) / 1024
    np.testing.assert_array_equal(converted(unit), converted(1 - unit))


@pytest.mark.parametrize("shape", [(1, 1), (1, 700), (700, 1), (40, 1100), (17, 513)])
def test_borders_of_blocks_do_not_show(shape, rng):
    pixels = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
    luma = np.pad(pixels @ np.array([19595, 38470, 7471]) / 65536, 1, "edge") / 255
    right = (luma[1:-1, 2:] - luma[1:-1, :-2]) / 2
    down = (luma[2:, 1:-1] - luma[:-2, 1:-1]) / 2
    squared = (right + 1j * down) ** 2
    size = np.abs(right + 1j * down)
    vector = squared / np.where(size == 0, 1, size) * math.sqrt(2)
    expected = 128 + 127 * np.stack([vector.real, vector.imag], 2)
    np.testing.assert_allclose(converted(pixels), expected, rtol=0, atol=0.5 + 1e-4)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", ["uint8", "float64"])
@pytest.mark.parametrize("trim", [False, True])
def test_maps_agree_with_the_oracle(metric, dtype, trim, rng):
    image = as_type(rng.random((13, 16, 3)), dtype)
    kernel = as_type(rng.random((6, 7, 3)), dtype)
    found = match(image, kernel, color="edges", metric=metric, map=True, trim=trim)
    span = SPAN[dtype]
    pictures = [np.array(edges(one.tolist(), span)) * span for one in (image, kernel)]
    if span > 1:
        pictures = [np.rint(one).astype(int) for one in pictures]
    weights = np.zeros((6, 7), int)
    weights[1:-1, 1:-1] = 1  # the outermost pixels have neighbours that the kernel lacks
    expected = oracle.score_map(
        metric, *(one.tolist() for one in pictures), span=span, weights=weights.tolist()
    )
    np.testing.assert_allclose(found.map, expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("options", [{}, {"trim": False}, {"region": (30, 20, 60, 50)}])
def test_an_identical_window_scores_1(metric, options, astronaut):
    image = astronaut[100:200, 150:260]
    for x, y in ((30, 20), (40, 31)):
        kernel = image[y : y + 25, x : x + 31]
        (best,) = match(image, kernel, color="edges", metric=metric, top=1, **options)
        assert (best.x, best.y, best.width, best.height, best.score) == (x, y, 31, 25, 1.0)


def test_only_a_margin_of_the_kernel_hangs_over_the_border(rng):
    image = rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)
    kernel = np.full((20, 24, 4), 255, np.uint8)
    kernel[5:, 3:, :3] = image[:15, :21]
    kernel[:5, :, 3] = kernel[:, :3, 3] = 0
    found = match(image, kernel, color="edges", map=True, top=1)
    assert (found.best.x, found.best.y, found.best.score) == (-3, -5, 1.0)
    assert found.kernels[0].origin == (-3, -5)
    assert found.map.shape == (40 - 15 + 1, 50 - 21 + 1)


def button(text, ink, paper):
    drawn = Image.new("RGB", (48, 20), paper)
    pen = ImageDraw.Draw(drawn)
    pen.rounded_rectangle((2, 2, 45, 17), 4, outline=ink)
    pen.text((10, 4), text, fill=ink)
    return drawn


@pytest.fixture
def screen():
    """A screen of 140x70 pixels: "Send" has another colour under the mouse, "Back" has not."""
    drawn = Image.new("RGB", (140, 70), (200, 200, 205))
    drawn.paste(button("Send", (255, 250, 235), (30, 90, 190)), (71, 33))
    drawn.paste(button("Back", (20, 20, 20), (225, 225, 225)), (9, 12))
    return drawn


@pytest.mark.parametrize("metric", ["sad", "ssd", "zncc"])
def test_a_button_is_found_in_its_colour_under_the_mouse(metric, screen):
    usual = button("Send", (20, 20, 20), (225, 225, 225))
    (best,) = match(screen, usual, color="edges", metric=metric, top=1)
    assert (best.x, best.y) == (71, 33)
    # By its colours, the other button is nearer.
    (other,) = match(screen, usual, metric=metric, top=1)
    assert (other.x, other.y) == (9, 12)


def test_what_does_not_count_has_no_edges(rng):
    image = rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)
    kernel = image[10:24, 20:37].copy()
    mask = np.zeros((14, 17), np.uint8)
    mask[2:12, 3:14] = 255
    kernel[mask == 0] = 0  # edges to what is masked must not matter
    for trim in (True, False):
        (best,) = match(image, kernel, mask=mask, color="edges", top=1, trim=trim)
        assert (best.x, best.y, best.score) == (20, 10, 1.0)
    hidden = image.copy()
    hidden[14:18, 24:30] = 255 - hidden[14:18, 24:30]
    (best,) = match(hidden, image[10:24, 20:37], color="edges", ignore=(24, 14, 6, 4), top=1)
    assert (best.x, best.y, best.score) == (20, 10, 1.0)


def test_what_hangs_over_a_transparent_border_has_no_edges(rng):
    whole = rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)
    image, kernel = whole[3:, 2:], whole[:16, :18]
    (best,) = match(image, kernel, color="edges", padding="transparent", top=1)
    assert (best.x, best.y, best.score) == (-2, -3, 1.0)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"scales": "0.5:2"}, "gradients, which have a direction and a size"),
        ({"flips": "h"}, "gradients, which have a direction and a size"),
        ({"padding": "zero"}, "--padding zero .* continues colours"),
        ({"invert": True}, "adds nothing to --color edges"),
    ],
)
def test_what_edges_cannot_do_is_refused(options, says, rng):
    image = rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)
    with pytest.raises(InputError, match=says):
        match(image, image[:9, :9], color="edges", **options)


def test_a_kernel_without_inner_pixels_is_left_out(rng):
    image = rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)
    with pytest.raises(InputError, match="no pixel whose four neighbours all count"):
        match(image, image[:2, :9], color="edges")
    report = match(image, [image[:2, :9], image[5:14, 6:15]], color="edges", top=1)
    assert [one.name for one in report.skipped] == ["kernel-1"]
    assert (report.best.x, report.best.y, report.best.score) == (6, 5, 1.0)


def test_an_image_read_by_windows_is_refused(tmp_path, rng):
    pixels = rng.integers(0, 256, (200, 300), dtype=np.uint8)
    np.save(tmp_path / "large.npy", pixels)
    with pytest.raises(InputError, match="edges need the pixels around each"):
        match(tmp_path / "large.npy", pixels[5:20, 5:20], color="edges", max_pixels=10_000)
