"""Positions between the pixels against known shifts: analytic pictures, photographs, borders."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
from helpers.photographs import photograph
from helpers.scenes import corner, waves
from PIL import Image

from patchsim import match
from patchsim.choices import METRICS

PHOTOGRAPHS = ["astronaut", "coffee", "camera", "coins", "rocket", "chelsea"]


def moved(photo, shift):
    """What lies at x + shift comes to x, by Fourier's shift theorem."""
    y = np.fft.fftfreq(photo.shape[0])[:, None, None] * shift[0]
    x = np.fft.fftfreq(photo.shape[1])[None, :, None] * shift[1]
    spectrum = np.fft.fft2(photo, axes=(0, 1)) * np.exp(2j * np.pi * (y + x))
    return np.fft.ifft2(spectrum, axes=(0, 1)).real


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("side", [32, 64])
def test_patches_of_photographs_moved_by_a_fraction(metric, side, rng):
    errors, untold = [], 0
    for name in PHOTOGRAPHS * 4:
        photo = np.atleast_3d(photograph(name)).astype(float)
        top, left = (rng.integers(size - 3 * side + 1) for size in photo.shape[:2])
        part = photo[top : top + 3 * side, left : left + 3 * side]
        shift = rng.uniform(-0.5, 0.5, 2)
        image, kernel = (
            np.clip(np.rint(p + rng.normal(0, 2, p.shape)), 0, 255).astype(np.uint8)
            for p in (part, moved(part, shift)[side : 2 * side, side : 2 * side])
        )
        best = match(image, kernel, metric=metric, subpixel=True).best
        if best.x_subpixel is None:
            untold += 1
        else:
            errors += (np.array(corner(best)) - side - shift).tolist()
    assert untold <= 6  # sky and shadows
    # A parabola through the scores reaches 0.1; the integers have 0.29.
    assert np.sqrt(np.mean(np.square(errors))) <= 0.03


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_an_analytic_picture(metric, dtype, channels):
    scale = {np.uint8: 255, np.uint16: 65535}.get(dtype, 1)
    image, kernel = (
        np.rint(p * scale).astype(dtype) if scale > 1 else p.astype(dtype)
        for p in (waves(70, 80, channels), waves(31, 26, channels, top=20.3, left=33.85))
    )
    best = match(image, kernel, metric=metric, subpixel=True, alpha=False).best
    assert (best.x, best.y) == (34, 20)
    assert corner(best) == pytest.approx((20.3, 33.85), abs=0.005)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("stride", [1, (2, 3)])
def test_an_identical_window_lies_exactly_on_its_pixel(metric, stride, astronaut):
    image = astronaut[90:190, 180:290]
    for y, x in ((0, 0), (60, 0), (0, 78), (62, 75), (36, 33), (40, 48)):
        best = match(image, image[y : y + 38, x : x + 32], metric=metric, stride=stride,
                     subpixel=True).best  # fmt: skip
        assert corner(best) == (y, x)
        assert str(best.x_subpixel) == f"{x}.0"


@pytest.mark.parametrize(
    ("metric", "gain", "offsets"),
    [("ncc", 0.5, (0, 0, 0)), ("ncc", 1.2, (0, 0, 0)), ("zncc", 0.5, (0.3, 0.1, 0.2))],
)
def test_contrast_and_brightness_are_solved_along(metric, gain, offsets):
    kernel = waves(30, 28, 3, top=20.3, left=33.6) * gain + offsets
    best = match(waves(70, 80, 3), kernel, metric=metric, data_range=(0, 2), subpixel=True).best
    assert (best.x, best.y) == (34, 20)
    assert corner(best) == pytest.approx((20.3, 33.6), abs=0.005)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("stride", [2, 3, 5, (4, 7), (1, 6)])
def test_a_stride_does_not_change_where_it_lies(metric, stride, astronaut):
    photo = astronaut[60:210, 150:310]
    kernel = np.clip(np.rint(moved(photo.astype(float), (0.4, -0.3))[40:81, 45:92]), 0, 255)
    options = {"metric": metric, "top": 1, "subpixel": True}
    finest = match(photo, kernel.astype(np.uint8), **options).best
    best = match(photo, kernel.astype(np.uint8), stride=stride, **options).best
    down, across = stride if isinstance(stride, tuple) else (stride, stride)
    assert (best.x % across, best.y % down) == (0, 0)
    assert corner(best) == corner(finest)
    assert corner(best) == pytest.approx((40.4, 44.7), abs=0.03)


def test_a_cell_of_the_stride_ends_at_half_the_kernel():
    image, kernel = waves(90, 95, 3), waves(41, 37, 3, top=30.2, left=30.3)
    best = match(image, kernel, stride=200, subpixel=True).best  # the only window
    assert (best.x, best.y) == (0, 0)
    assert best.x_subpixel is None or max(corner(best)) < 22


@pytest.mark.parametrize(
    "at", [(0.3, 0.4), (-0.3, -0.4), (-0.3, 20.2), (39.6, 44.7), (40.3, 45.4), (17.5, 45.3)]
)
def test_windows_at_the_border_may_stick_out_by_less_than_a_pixel(at):
    image, kernel = waves(70, 80, 3), waves(30, 35, 3, top=at[0], left=at[1])
    best = match(image, kernel, metric="ssd", subpixel=True).best
    assert corner(best) == pytest.approx(at, abs=0.02)


def test_a_kernel_as_large_as_the_image():
    best = match(waves(40, 50), waves(40, 50, top=0.3, left=-0.2), subpixel=True).best
    assert corner(best) == pytest.approx((0.3, -0.2), abs=0.02)


def flat(_rng):
    return np.full((60, 60), 0.5), np.full((20, 20), 0.5)


def stripes(_rng):
    image = np.broadcast_to(waves(1, 60), (60, 60, 1))
    return image, np.broadcast_to(waves(1, 20, left=20.3), (20, 20, 1))


def diagonal_stripes(_rng):
    image = 0.5 + 0.4 * np.sin(np.add.outer(np.arange(60), np.arange(60)) / 3)
    return image, 0.5 + 0.4 * np.sin(np.add.outer(np.arange(20), np.arange(20)) / 3 + 5.1)


def noisy_stripes(rng):
    image, kernel = stripes(rng)
    return tuple(p + rng.normal(0, 0.02, p.shape) for p in (image, kernel))


def noise_of_its_own(rng):
    return tuple(0.5 + rng.normal(0, 0.02, (side, side)) for side in (60, 20))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    "pictures", [flat, stripes, diagonal_stripes, noisy_stripes, noise_of_its_own]
)
def test_what_the_pixels_do_not_tell_is_none(pictures, metric, rng):
    if pictures is flat and metric == "zncc":
        pytest.skip("such a kernel is refused")
    image, kernel = pictures(rng)
    report = match(image, kernel, metric=metric, subpixel=True, top=3, overlap=0)
    assert len(report.matches) == 3
    assert [corner(m) for m in report.matches] == [(None, None)] * 3


def test_nothing_like_the_kernel_is_none(astronaut):
    kernel = photograph("coffee")[100:140, 200:260]
    report = match(astronaut, kernel, metric="zncc", subpixel=True)
    assert [corner(m) for m in report.matches] == [(None, None)] * 5


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (2, 2), (3, 3), (2, 40)])
@pytest.mark.parametrize("metric", METRICS)
def test_small_kernels_are_told_exactly_or_not(size, metric, rng):
    image = rng.integers(1, 256, (40, 40, 3), dtype=np.uint8)
    for y, x in ((0, 0), (40 - size[0], 40 - size[1]), (11, 0)):
        kernel = image[y : y + size[0], x : x + size[1]]
        if size == (1, 1) and metric == "zncc":
            kernel = image[:1, :2]  # one pixel is flat
        best = match(image, kernel, metric=metric, subpixel=True).best
        assert corner(best) in ((best.y, best.x), (None, None))
    if min(size) >= 3:
        best = match(image, image[12:15, 13:16], metric=metric, subpixel=True).best
        assert corner(best) == (12, 13)


@pytest.mark.parametrize("metric", METRICS)
def test_engines_and_several_kernels_agree(metric, astronaut):
    photo = astronaut[60:260, 150:350].astype(float)
    shifted = np.clip(np.rint(moved(photo, (0.3, -0.4))), 0, 255).astype(np.uint8)
    kernels = [shifted[40:80, 40:90], shifted[110:150, 60:99]]
    options = {"metric": metric, "stride": (1, 2), "subpixel": True, "top": 2, "margin": True}
    engine = "unfold" if metric == "sad" else "fft"
    one = match(photo.astype(np.uint8), kernels, **options)
    other = match(photo.astype(np.uint8), kernels, engine=engine, map=True, **options)
    assert one.matches == other.matches
    found = {m.kernel: corner(m) for m in one.matches}
    assert found["kernel-1"] == pytest.approx((40.3, 39.6), abs=0.03)
    assert found["kernel-2"] == pytest.approx((110.3, 59.6), abs=0.03)


def test_without_the_option_nothing_is_told():
    report = match(waves(40, 40), waves(20, 20, top=9.7, left=9.7))
    assert not report.subpixel
    assert corner(report.best) == (None, None)


@pytest.fixture
def drawn(save):
    """big.png; small.png, which lies at 33.6, 20.3 in it; flat.png, with which a part is equal."""
    big = as_bytes(waves(70, 160, 3))
    big[10:50, 110:150] = 128
    save("big.png", big)
    save("small.png", as_bytes(waves(30, 35, 3, top=20.3, left=33.6)))
    save("flat.png", Image.new("L", (35, 30), 128))


def as_bytes(picture):
    return np.rint(picture * 255).astype(np.uint8)


@pytest.mark.usefixtures("drawn")
def test_columns_come_behind_and_are_empty_where_unknown(run):
    words = ("match", "big.png", "small.png", "flat.png", "--overlap", "0", "--top", "2",
             "--no-margin", "--subpixel", "--no-heatmap", "--format")  # fmt: skip
    tsv = [line.split("\t") for line in run(*words, "tsv")[1].splitlines()]
    first = ["x", "y", "width", "height", "score", "kernel"]
    assert tsv[0] == [*first, "x_subpixel", "y_subpixel", "center_x", "center_y"]
    assert tsv[1] == ["110", "10", "35", "30", "1.0", "flat.png", "", "", "127.5", "25.0"]
    assert tsv[2][:2] == ["34", "20"]
    assert [float(value) for value in tsv[2][6:8]] == pytest.approx([33.6, 20.3], abs=0.01)
    assert max(map(len, tsv[2][6:8])) <= 7
    assert list(csv.reader(io.StringIO(run(*words, "csv")[1]))) == tsv
    table = [line.split() for line in run(*words, "table")[1].splitlines()]
    assert table[1][6:] == ["flat.png"]
    assert table[2][6:] == ["small.png", *(f"{float(value):.2f}" for value in tsv[2][6:8])]
    found = json.loads(run(*words, "json")[1])["matches"]
    assert list(found[1])[-5:] == ["kernel", "x_subpixel", "y_subpixel", "click_x", "click_y"]
    assert found[1]["x_subpixel"] == float(tsv[2][6])
    assert found[0]["x_subpixel"] is found[0]["y_subpixel"] is None
    lines = run(*words, "jsonl")[1].splitlines()
    assert [json.loads(line) for line in lines] == found


@pytest.mark.usefixtures("drawn")
def test_columns_are_there_where_nothing_was_found(run):
    words = ("match", "big.png", "small.png", "--threshold", "1", "--no-heatmap", "--subpixel")
    code, out, _ = run(*words)
    assert code == 1
    assert out == "x\ty\twidth\theight\tscore\tkernel\tx_subpixel\ty_subpixel\tcenter_x\tcenter_y\n"


@pytest.mark.usefixtures("drawn")
def test_the_other_columns_stay_what_they_are(run):
    words = ("match", "big.png", "small.png", "--no-heatmap", "--format")
    for form in ("tsv", "csv"):
        plain, more = run(*words, form)[1], run(*words, form, "--subpixel")[1]
        separator = "\t" if form == "tsv" else ","
        assert plain.splitlines() == [
            separator.join(line.split(separator)[:6] + line.split(separator)[8:])
            for line in more.splitlines()
        ]
