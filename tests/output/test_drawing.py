"""The heatmap and the overlay, pixel by pixel where it matters."""

from __future__ import annotations

import io
import math
import re
from dataclasses import replace

import numpy as np
import pytest
from cmap import Colormap
from PIL import Image

import patchsim
from patchsim.errors import InputError
from patchsim.output import color_bar, digits, labels, palette, palette_png, picture_file, rings
from patchsim.output.exporters import blend, heatmap, overlay
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
    first = rings.around([(20, 20), (20, 30)], (40, 50), 8)
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
    picture, _ = overlay.drawn(pixels, 255, 0, [match])
    found = np.asarray(picture.convert("L")).astype(int)
    assert (found[30:55, 40:60] == shade).all()
    edge = found[42, 30:40]
    assert edge.max() - edge.min() > 150  # bright beside dark


@pytest.mark.parametrize("place", [(0, 0), (100, 0), (0, 70), (100, 70)])
def test_labels_stay_in_the_picture(place):
    match = Match(*place, 20, 20, 0.9, "k")
    picture, _ = overlay.drawn(np.zeros((90, 120, 1), np.uint8), 255, 0, [match])
    yellow = (np.asarray(picture) == (255, 255, 0)).all(axis=2)
    plate = yellow.sum()
    middle = Match(50, 35, 20, 20, 0.9, "k")
    whole, _ = overlay.drawn(np.zeros((90, 120, 1), np.uint8), 255, 0, [middle])
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
    picture, _ = overlay.drawn(pixels, span, low, [])
    assert np.asarray(picture)[0].tolist() == [[0, 0, 0], [255, 255, 255]]


def test_the_label_of_a_turned_frame_is_above_its_highest_corner():
    corners = ((40.0, 90.0), (90.0, 40.0), (100.0, 50.0), (50.0, 100.0))
    match = Match(40, 40, 60, 60, 0.9, "k", angle=45.0, corners=corners)
    picture, _ = overlay.drawn(np.zeros((150, 160, 1), np.uint8), 255, 0, [match])
    yellow = (np.asarray(picture) == (255, 255, 0)).all(axis=2)
    _, columns = np.nonzero(yellow[:36])
    assert len(columns)
    assert 80 < columns.min() < 90 < columns.max() < 100


def test_the_label_of_a_turned_frame_below_the_border_is_at_its_lowest_corner():
    corners = ((20.0, 20.0), (110.0, 0.0), (115.0, 22.5), (25.0, 42.5))
    match = Match(20, 0, 95, 43, 0.9, "k", angle=12.5, corners=corners)
    ((left, top, right, _),) = plates_of([match], (160, 150)).values()
    assert left < 25 < right
    assert 43 <= top <= 46


@pytest.mark.parametrize("degrees", [1e-15, 1.0, 30.0, 75.0, 200.0])
@pytest.mark.parametrize("centre", [(60.5, 60.5), (60.0, 61.0)])
def test_a_turned_frame_lies_around_the_match(degrees, centre, monkeypatch):
    monkeypatch.setattr(overlay, "_draw_label", lambda *_: None)
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    ends = ((-20, -10), (20, -10), (20, 10), (-20, 10))  # right and down from the centre
    corners = tuple((centre[0] + a * cos + b * sin, centre[1] - a * sin + b * cos) for a, b in ends)
    match = Match(40, 40, 40, 40, 0.9, "k", angle=degrees, corners=corners)
    picture, _ = overlay.drawn(np.full((120, 120, 1), 200, np.uint8), 255, 0, [match])
    rows, columns = np.nonzero((np.asarray(picture) != 200).any(2))
    right, down = columns + 0.5 - centre[0], rows + 0.5 - centre[1]
    along, across = np.abs(right * cos - down * sin), np.abs(right * sin + down * cos)
    beyond = np.maximum(along - 20, across - 10)
    # All of three pixels around the match, which is left alone.
    assert -1e-9 <= beyond.min() <= 0.5
    assert 2.5 <= beyond.max() <= 3 + 1e-9
    assert abs(len(rows) - (46 * 26 - 40 * 20)) < 20


def test_labels_tell_of_criteria_that_are_stricter_than_a_score():
    plain = Match(40, 30, 20, 25, 0.9, "k")
    assert labels.text(2, plain, ("number",)) == "2"
    strict = replace(plain, worst=0.79996, differing=12, max_difference=87.0)
    assert labels.text(2, strict, ("number",)) == "2 worst 0.799, 12 differ, max 87"
    assert labels.text(2, replace(plain, worst=-0.78), ("number",)) == "2 worst -0.780"
    widths = []
    for match in (plain, strict):
        picture, _ = overlay.drawn(np.zeros((90, 320, 1), np.uint8), 255, 0, [match])
        yellow = (np.asarray(picture) == (255, 255, 0)).all(axis=2)
        widths.append(np.ptp(np.flatnonzero(yellow[:24].any(axis=0))))
    assert widths[1] > widths[0] + 60


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (None, ("number",)),
        ("none", ()),
        ("Score", ("score",)),
        ("number,score,kernel", ("number", "score", "kernel")),
        (["kernel"], ("kernel",)),
    ],
)
def test_words_of_labels(given, words):
    assert labels.check(given) == words


@pytest.mark.parametrize("given", ["", "number,", "size", "none,score", ["x"]])
def test_unknown_words_of_labels_are_refused(given):
    with pytest.raises(InputError, match="labels"):
        labels.check(given)


def test_what_labels_say():
    match = Match(0, 0, 5, 5, 0.99996, "folder/an icon with quite a long name.png")
    assert labels.text(3, match, ("number", "score")) == "3 0.999"
    assert labels.text(3, match, ("kernel",)) == "an icon with quite a ..."
    assert labels.text(3, match, ()) == ""
    assert labels.text(3, replace(match, score=-0.25), ("score",)) == "-0.250"


def plates_of(matches, size, words=("number",)):
    """The boxes of the labels that are drawn, by what they say."""
    picture = Image.new("RGB", size)
    canvas = overlay.ImageDraw.Draw(picture)
    texts = {i: labels.text(i, match, words) for i, match in enumerate(matches, 1)}
    return {one.text: one.box for one in overlay._plates(canvas, matches, texts, 1, size)}


def test_labels_of_a_dense_overlay_hide_no_other_label(rng):
    matches = [Match(int(x), int(y), 9, 9, 0.9, "k") for x, y in rng.integers(0, 190, (300, 2))]
    plates = plates_of(matches, (200, 200))
    assert 20 < len(plates) < 300
    assert "1" in plates  # the best has its label
    taken = np.zeros((200, 200), int)
    for left, top, right, bottom in plates.values():
        assert (left >= 0, top >= 0, right <= 200, bottom <= 200) == (True,) * 4
        taken[top:bottom, left:right] += 1
    assert taken.max() == 1


def test_labels_stay_off_the_lines_of_other_boxes_where_they_can():
    # There is no room above the second box but on the first.
    matches = [Match(50, 20, 40, 40, 1.0, "k"), Match(50, 70, 40, 40, 0.9, "k")]
    plates = plates_of(matches, (300, 200))
    assert plates["1"][3] <= 20
    left, top, right, _ = plates["2"]
    assert (top >= 110) or right <= 50 or left >= 90


@pytest.mark.parametrize("gap", [6, 8, 20])
def test_a_label_among_dense_boxes_stands_in_its_own_box_or_in_none(gap):
    step = 40 + gap
    matches = [
        Match(8 + step * (i % 10), 8 + step * (i // 10), 40, 40, 0.9, "k") for i in range(60)
    ]
    plates = plates_of(matches, (10 * step + 10, 6 * step + 10))
    assert len(plates) == 60
    for text, (left, top, right, bottom) in plates.items():
        for number, one in enumerate(matches, 1):
            is_apart = left >= one.x + 40 or right <= one.x or top >= one.y + 40 or bottom <= one.y
            assert is_apart or str(number) == text


def test_a_label_that_has_no_room_is_told(tmp_path, rng):
    image = np.zeros((60, 60), np.uint8)
    image[20:40, 20:40] = rng.integers(100, 255, (20, 20))
    told = []

    class Listener(patchsim.Observer):
        def wrote(self, text):
            told.append(text)

    patchsim.match(
        image, image[20:40, 20:40], top=200, overlap=0.95, overlay=tmp_path / "o.png",
        observer=Listener(),
    )  # fmt: skip
    assert re.search(r"o\.png: \d+ boxes, \d+ without room for a label", told[-1])


@pytest.mark.parametrize(
    ("suffix", "form"), [(".PNG", "PNG"), (".jpg", "JPEG"), (".jpeg", "JPEG"), (".webp", "WEBP")]
)
def test_formats_of_pictures(suffix, form, tmp_path, astronaut):
    path = tmp_path / f"o{suffix}"
    patchsim.match(astronaut, astronaut[100:140, 200:250], top=1, overlay=path)
    with Image.open(path) as picture:
        assert (picture.format, picture.size) == (form, (512, 512))
        shown = np.asarray(picture.convert("RGB")).astype(int)
    far = np.abs(shown[300:] - astronaut[300:])
    assert far.mean() < (0.01 if form == "PNG" else 4)


@pytest.mark.parametrize(
    ("option", "ending", "width", "says"),
    [
        ("overlay", "webp", 16_384, "16384x12 pixels, and WEBP takes 16,383 a side"),
        ("blend", "webp", 16_384, r"16384x\d+ pixels, and WEBP takes 16,383 a side"),
        ("overlay", "jpg", 65_501, "65501x12 pixels, and JPEG takes 65,500 a side"),
    ],
)
def test_a_picture_that_is_too_large_for_its_format_is_refused_before_the_search(
    option, ending, width, says, tmp_path
):
    class Searching(patchsim.Observer):
        def planned(self, *_):
            raise AssertionError("the search began")

    image = np.zeros((12, width), np.uint8)
    image[3:6, 5:9] = 200
    path = tmp_path / f"o.{ending}"
    with pytest.raises(InputError, match=f"{says}; end the name in .png"):
        patchsim.match(image, image[2:8, 3:12], observer=Searching(), **{option: path})
    assert not path.exists()
    patchsim.match(image[:, :-1], image[2:8, 3:12], top=1, **{option: path})
    assert path.exists()


def test_a_blend_and_its_bar_have_the_size_that_was_checked(tmp_path, rng):
    image = rng.integers(0, 256, (90, 200), np.uint8)
    path = tmp_path / "b.png"
    patchsim.match(image, image[5:9, 5:9], blend=path)
    checked = []

    def note(_path, width, height):
        checked.append((width, height))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(picture_file, "check_side", note)
        blend.check_image(str(path), 90, 200)
    with Image.open(path) as picture:
        assert checked == [picture.size]


@pytest.mark.parametrize(
    ("size", "origin", "step", "factor", "pixels", "cells"),
    [(5, 0, 1, 1, 20, 16), (4, 0, 1, 1, 20, 17), (6, -5, 3, 1, 30, 14), (9, 2, 2, 3, 40, 5)],
)
def test_cells_of_a_blend_are_those_of_the_nearest_center(
    size, origin, step, factor, pixels, cells
):
    found = blend.cells(size, origin, step, factor, (pixels, cells))
    centers = origin + size / 2 + step * np.arange(cells * factor)  # of all windows
    for pixel in range(pixels):
        off = np.abs(centers - (pixel + 0.5))
        nearest = {int(i) // factor for i in np.flatnonzero(off == off.min())}
        beside = {-1} if off.min() >= step / 2 else set()  # half a step away is both
        assert found[pixel] in (beside | nearest if off.min() <= step / 2 else beside)


def test_a_blend_shows_the_match_at_its_center_and_the_image_elsewhere(tmp_path, astronaut):
    path = tmp_path / "b.png"
    patchsim.match(astronaut, astronaut[100:140, 200:250], top=1, blend=path)
    shown = np.asarray(Image.open(path).convert("RGB")).astype(int)
    assert shown.shape == (512 + 34, 512, 3)
    grey = np.asarray(Image.fromarray(astronaut).convert("L")).astype(int)
    # No window's center lies so close to the border.
    np.testing.assert_array_equal(shown[:19, :, 0], grey[:19])
    np.testing.assert_array_equal(shown[:512, 489:, 2], grey[:, 489:])
    center = shown[118:122, 223:227].reshape(-1, 3)
    assert (center[:, 0] - center[:, 2]).min() > 60  # the bright end of the colours
    assert (shown[400, 100:300].max(axis=1) - grey[400, 100:300]).max() < 30
    ring = shown[108:133, 213:238]
    assert (ring == (0, 255, 255)).all(axis=2).sum() > 100


def test_a_place_in_the_ring_of_a_better_match_has_none_of_its_own():
    one = rings.around([(30, 30)], (60, 90), 9)
    several = rings.around([(30, 30), (32, 35), (30, 60)], (60, 90), 9)
    assert len(several.rows) == 2 * len(one.rows)
