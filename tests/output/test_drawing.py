"""The heatmap and the overlay, pixel by pixel where it matters."""

from __future__ import annotations

import io
import math
from dataclasses import replace

import numpy as np
import pytest
from cmap import Colormap
from PIL import Image

from patchsim.output import color_bar, digits, palette, palette_png, rings
from patchsim.output.exporters import heatmap, overlay
from patchsim.output.report_parts import Match
from patchsim.output.stretch import Stretch


def drawn(function, *arguments):
    file = io.BytesIO()
    result = function(*arguments, file)
    return Image.open(file), result


def map_part(picture):
    """The part of a heatmap that shows the map, as indices of colours."""
    cols, rows = map(int, picture.text["map_size"].split("x"))
    return np.asarray(picture)[:rows, :cols]


def test_heatmap_has_the_maps_size_colours_and_range():
    scores = np.linspace(0.25, 0.75, 300 * 7, dtype=np.float32).reshape(300, 7)
    picture, stretch = drawn(heatmap.draw, scores)
    assert picture.text["map_size"] == "7x300"
    assert (stretch.low, stretch.high) == (0.25, 0.75)
    assert (picture.text["score_min"], picture.text["score_max"]) == ("0.25", "0.75")
    shades = map_part(picture)
    colors = Colormap("inferno")(shades / heatmap.BRIGHTEST)[..., :3] * 255
    shown = np.asarray(picture.convert("RGB"))[:300, :7]
    assert np.abs(shown - colors).max() <= 3  # there are 252 colours, not 256


def test_half_of_the_brightness_belongs_to_the_best_hundredth(rng):
    scores = rng.random((120, 130)).astype(np.float32) ** 3
    shades = map_part(drawn(heatmap.draw, scores)[0]).ravel()
    order = np.argsort(scores.ravel())
    ranked = shades[order].astype(float) / heatmap.BRIGHTEST
    assert (np.diff(ranked) >= 0).all()
    count = len(ranked)
    for share, brightness in ((0.5, 0.05), (0.9, 0.25), (0.99, 0.5), (0.999, 0.8)):
        assert abs(ranked[int(share * count)] - brightness) < 0.02
    assert (ranked[0], ranked[-1]) == (0, 1)


@pytest.mark.parametrize("share", [0.6, 0.97, 0.9985])
def test_an_empty_area_does_not_glow(share, rng):
    """Its windows share one score, which is as dark as that of the worst of them."""
    scores = rng.random(20_000).astype(np.float32) * 0.3
    scores[: int(share * 20_000)] = 0.62
    scores[-3:] = (0.9, 0.95, 1.0)
    scores = rng.permutation(scores).reshape(100, 200)
    shades = map_part(drawn(heatmap.draw, scores)[0])
    below = (scores < np.float32(0.62)).mean()
    assert below < 0.5
    assert shades[scores == np.float32(0.62)].max() <= round(0.05 * heatmap.BRIGHTEST)
    assert shades[scores >= 0.9].min() >= 0.7 * heatmap.BRIGHTEST


def test_the_sample_that_tells_the_shares_sees_all_columns():
    scores = np.zeros((400, 1024), np.float32)
    scores[:, ::8] = np.linspace(0.5, 1, 128, dtype=np.float32)
    levels = Stretch.of(scores).levels
    assert levels[0] == levels[1] == 0
    assert levels[2] == pytest.approx(np.quantile(scores, 0.9), abs=0.05)
    assert levels[3] == pytest.approx(np.quantile(scores, 0.99), abs=0.05)


def test_rings_lie_around_matches_and_leave_them_alone():
    scores = np.zeros((90, 310), np.float32)
    scores[40, 50] = scores[3, 306] = 1
    plain = np.asarray(drawn(heatmap.draw, scores)[0])
    file = io.BytesIO()
    heatmap.draw(scores, file, 1, [(40, 50), (3, 306)])
    ringed = np.asarray(Image.open(file))
    radius = heatmap.radius(scores.shape)
    for row in range(90):
        for col in range(310):
            off = min(abs(math.hypot(row - y, col - x) - radius) for y, x in ((40, 50), (3, 306)))
            expected = heatmap.LINE if off <= 1 else heatmap.EDGE if off <= 2 else plain[row, col]
            assert ringed[row, col] == expected
    np.testing.assert_array_equal(ringed[90:], plain[90:])


def test_the_ring_of_the_best_match_lies_on_top():
    first = rings.around([(20, 20), (20, 24)], (40, 50), 8)
    alone = rings.around([(20, 20)], (40, 50), 8)
    canvas, expected = np.full((40, 50), -1), np.full((40, 50), -1)
    canvas[first.rows, first.cols] = first.is_edge
    expected[alone.rows, alone.cols] = alone.is_edge
    assert (canvas[expected == 0] == 0).all()


@pytest.mark.parametrize("cols", [20, 300, 1900])
def test_the_bar_shows_the_colours_from_dark_to_bright(cols):
    scores = np.linspace(0, 1, 40 * cols, dtype=np.float32).reshape(40, cols)
    picture = np.asarray(drawn(heatmap.draw, scores)[0])
    bar = picture[40:]
    factor = len(bar) // 34
    assert factor == (2 if cols == 1900 else 1)
    assert picture.shape[1] == max(cols, color_bar.LEAST_WIDTH)
    for row in bar[12 * factor : 22 * factor]:
        np.testing.assert_array_equal(row, np.rint(np.linspace(0, 251, len(row))))
    assert set(np.unique(bar[: 12 * factor])) == {heatmap.PAPER, heatmap.INK}
    if cols < 300:
        assert (picture[:40, cols:] == heatmap.PAPER).all()


def test_numbers_of_the_bar_do_not_touch():
    stretch = Stretch((-0.9999, 0.1, 0.2345, 0.3456, 0.4567, 0.9999))
    bar = color_bar.draw(stretch, color_bar.LEAST_WIDTH, 251, 255, 252)
    inked = np.flatnonzero((bar[25:32] == 255).any(axis=0))
    gaps = np.diff(inked)
    # Points in the middle of numbers leave less than a digit's width free.
    assert (gaps >= digits.WIDTH).sum() == 4
    assert inked[0] >= 1
    assert inked[-1] < color_bar.LEAST_WIDTH - 1


def test_digits_differ_and_grow():
    shapes = {character: digits.picture(character, 1) for character in "0123456789.-%"}
    assert len({shape.tobytes() for shape in shapes.values()}) == 13
    assert {shape.shape for shape in shapes.values()} == {(7, 6)}
    np.testing.assert_array_equal(digits.picture("25", 3)[::3, ::3], digits.picture("25", 1))
    np.testing.assert_array_equal(digits.picture("25", 1)[:, 6:], shapes["5"])


def test_the_constant_colours_are_those_of_their_source():
    table = np.rint(Colormap("inferno").lut(256)[:, :3] * 255).astype(np.uint8)
    assert palette.colors("inferno") == table.tobytes()


@pytest.mark.parametrize("shape", [(1, 1), (1, 70_000), (70_000, 1), (257, 400)])
def test_heatmap_is_drawn_alike_in_one_band_and_in_many(shape, monkeypatch):
    scores = np.random.default_rng(0).random(shape, np.float32)
    matches = [(shape[0] // 2, shape[1] // 2), (shape[0] - 1, 0)]
    pictures = []
    for cells in (2**30, 2**16, 2**10):
        monkeypatch.setattr(heatmap, "_BAND", cells)
        file = io.BytesIO()
        heatmap.draw(scores, file, 1, matches)
        pictures.append(np.asarray(Image.open(file)))
    np.testing.assert_array_equal(pictures[1], pictures[0])
    np.testing.assert_array_equal(pictures[2], pictures[0])


def test_indices_of_any_bands_are_read_back():
    index = np.random.default_rng(0).integers(0, 256, (9, 5), dtype=np.uint8)
    colors = bytes(range(256)) * 3
    for cuts in ([], [1], [4, 5], range(1, 9)):
        file = io.BytesIO()
        palette_png.write(file, (5, 9), colors, {"a": "b"}, in_one_array(np.split(index, cuts)))
        picture = Image.open(file)
        assert (picture.text, picture.getpalette()) == ({"a": "b"}, list(colors))
        np.testing.assert_array_equal(np.asarray(picture), index)


def in_one_array(bands):
    """Bands that take each other's place."""
    shared = np.empty((9, 5), np.uint8)
    for band in bands:
        shared[: len(band)] = band
        yield shared[: len(band)]


def test_heatmap_of_one_value_is_bright():
    picture, stretch = drawn(heatmap.draw, np.ones((2, 3), np.float32))
    assert (stretch.low, stretch.high) == (1.0, 1.0)
    brightest = np.rint(Colormap("inferno")(1.0).rgba[:3] * np.array(255))
    np.testing.assert_array_equal(np.asarray(picture.convert("RGB"))[0, 0], brightest)


@pytest.mark.parametrize("shade", [0, 128, 255])
def test_overlay_is_legible_on_any_background_and_leaves_the_match_alone(shade):
    pixels = np.full((90, 120, 3), shade, np.uint8)
    match = Match(40, 30, 20, 25, 0.9, "k")
    picture, _ = drawn(overlay.draw, pixels, 255, 0, [match])
    found = np.asarray(picture.convert("L")).astype(int)
    assert (found[30:55, 40:60] == shade).all()
    edge = found[42, 30:40]
    assert edge.max() - edge.min() > 150  # bright beside dark


@pytest.mark.parametrize("place", [(0, 0), (100, 0), (0, 70), (100, 70)])
def test_labels_stay_in_the_picture(place):
    match = Match(*place, 20, 20, 0.9, "k")
    picture, _ = drawn(overlay.draw, np.zeros((90, 120, 1), np.uint8), 255, 0, [match])
    yellow = (np.asarray(picture) == (255, 255, 0)).all(axis=2)
    plate = yellow.sum()
    middle = Match(50, 35, 20, 20, 0.9, "k")
    whole, _ = drawn(overlay.draw, np.zeros((90, 120, 1), np.uint8), 255, 0, [middle])
    assert plate >= 0.5 * (np.asarray(whole) == (255, 255, 0)).all(axis=2).sum()


@pytest.mark.parametrize(
    ("pixels", "span", "low"),
    [
        (np.array([[[0], [65535]]], np.uint16), 65535, 0),
        (np.array([[[0.0], [1.0]]], np.float32), 1, 0),
        (np.array([[[-5.0], [5.0]]], np.float64), 10, -5),
        (np.array([[[100], [200]]], np.uint8), 100, 100),
    ],
)
def test_overlay_shows_the_data_range_from_black_to_white(pixels, span, low):
    picture, _ = drawn(overlay.draw, pixels, span, low, [])
    assert np.asarray(picture)[0].tolist() == [[0, 0, 0], [255, 255, 255]]


def test_the_label_of_a_turned_frame_is_above_its_highest_corner():
    corners = ((40.0, 90.0), (90.0, 40.0), (100.0, 50.0), (50.0, 100.0))
    match = Match(40, 40, 60, 60, 0.9, "k", angle=45.0, corners=corners)
    picture, _ = drawn(overlay.draw, np.zeros((150, 160, 1), np.uint8), 255, 0, [match])
    yellow = (np.asarray(picture) == (255, 255, 0)).all(axis=2)
    _, columns = np.nonzero(yellow[:36])
    assert len(columns)
    assert 80 < columns.min() < 90 < columns.max() < 100


def test_labels_tell_of_criteria_that_are_stricter_than_a_score():
    plain = Match(40, 30, 20, 25, 0.9, "k")
    assert overlay.label(2, plain) == "2"
    strict = replace(plain, worst=0.79996, differing=12, max_difference=87.0)
    assert overlay.label(2, strict) == "2 worst 0.799, 12 differ, max 87"
    assert overlay.label(2, replace(plain, worst=-0.78)) == "2 worst -0.780"
    widths = []
    for match in (plain, strict):
        picture, _ = drawn(overlay.draw, np.zeros((90, 320, 1), np.uint8), 255, 0, [match])
        yellow = (np.asarray(picture) == (255, 255, 0)).all(axis=2)
        widths.append(np.ptp(np.flatnonzero(yellow[:24].any(axis=0))))
    assert widths[1] > widths[0] + 60
