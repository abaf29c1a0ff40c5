"""The heatmap and the overlay, pixel by pixel where it matters."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from cmap import Colormap
from PIL import Image

from patchsim.output import palette, palette_png
from patchsim.output.exporters import heatmap, overlay
from patchsim.output.report import Match


def drawn(function, *arguments):
    file = io.BytesIO()
    result = function(*arguments, file)
    return Image.open(file), result


def test_heatmap_has_the_maps_size_colours_and_range():
    scores = np.linspace(0.25, 0.75, 300 * 7, dtype=np.float32).reshape(300, 7)
    picture, span = drawn(heatmap.draw, scores)
    assert picture.size == (7, 300)
    assert span == (0.25, 0.75)
    assert (picture.text["score_min"], picture.text["score_max"]) == ("0.25", "0.75")
    steps = np.rint((scores - 0.25) / 0.5 * 255) / 255
    colors = Colormap("inferno")(steps)[..., :3] * 255
    assert np.abs(np.asarray(picture.convert("RGB")) - colors).max() <= 0.5


def test_the_constant_colours_are_those_of_their_source():
    table = np.rint(Colormap("inferno").lut(256)[:, :3] * 255).astype(np.uint8)
    assert palette.colors("inferno") == table.tobytes()


@pytest.mark.parametrize("shape", [(1, 1), (1, 70_000), (70_000, 1), (257, 400)])
def test_heatmap_is_drawn_alike_in_one_band_and_in_many(shape):
    scores = np.random.default_rng(0).random(shape, np.float32)
    picture, (low, high) = drawn(heatmap.draw, scores)
    whole = np.rint((scores - np.float32(low)) * np.float32(255 / (high - low or 1)))
    if scores.size == 1:
        whole[:] = 255
    np.testing.assert_array_equal(np.asarray(picture), whole)


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
    picture, span = drawn(heatmap.draw, np.ones((2, 3), np.float32))
    assert span == (1.0, 1.0)
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
