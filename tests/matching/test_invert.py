"""Kernels in the other polarity: a dark theme, and a kernel of the light one."""

from __future__ import annotations

import base64
import io
import json
import re

import numpy as np
import oracle
import pytest
from PIL import Image, ImageDraw

from patchsim import InputError, Matcher, match
from patchsim.choices import METRICS
from patchsim.engines import BlockBounds, Bounds
from patchsim.execution import runner

PLACES = [(12, 9), (70, 31)]  # x, y of the two buttons


def button(text, ink, paper):
    """A button of 40x18 pixels."""
    drawn = Image.new("RGB", (40, 18), paper)
    pen = ImageDraw.Draw(drawn)
    pen.rounded_rectangle((1, 1, 38, 16), 4, outline=ink)
    pen.text((8, 3), text, fill=ink)
    return drawn


@pytest.fixture
def dark():
    """A dark screen of 120x60 pixels with two buttons, light on dark."""
    screen = Image.new("RGB", (120, 60), (15, 25, 35))
    for place, text in zip(PLACES, ("Save", "Open"), strict=True):
        screen.paste(button(text, (235, 225, 215), (15, 25, 35)), place)
    return screen


@pytest.fixture
def light():
    """The button "Open" as the light theme has it: the exact inverse of the dark one."""
    return button("Open", (20, 30, 40), (240, 230, 220))


def placed(report):
    return [(one.x, one.y, one.score, one.inverted) for one in report]


@pytest.mark.parametrize("metric", METRICS)
def test_a_dark_theme_is_found_with_a_light_kernel(metric, dark, light):
    found = match(dark, light, metric=metric, invert=True, top=1)
    assert placed(found) == [(*PLACES[1], 1.0, True)]
    assert placed(match(dark, light, metric=metric, top=1))[0][:2] != PLACES[1]
    same = match(dark, button("Open", (235, 225, 215), (15, 25, 35)), metric=metric, invert=True)
    assert placed(same)[0] == (*PLACES[1], 1.0, False)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
def test_scores_are_those_of_both_kernels(metric, dtype, rng):
    span = {"uint8": 255, "uint16": 65535}.get(dtype, 1)
    unit = rng.random((11, 13, 3))
    image = (np.rint(unit * span) if span > 1 else unit).astype(dtype)
    kernel = image.dtype.type(span) - image[4:9, 7:13]
    found = match(image, kernel, metric=metric, invert=True, top=999, overlap=1, threshold=-1)
    windows = 7 * 8
    pixels = image.tolist()
    kernels = [kernel.tolist(), (image.dtype.type(span) - kernel).tolist()]
    expected = [oracle.score_map(metric, pixels, one, span=span) for one in kernels]
    assert len(found) == 2 * windows
    assert placed(found)[0][:2] == (7, 4)
    assert found[0].inverted
    for one in found:
        assert one.score == pytest.approx(expected[one.inverted][one.y][one.x], abs=2e-6)


def test_zncc_of_floats_takes_the_sign_and_needs_no_range(rng):
    air = (101325 + 0.08 * rng.standard_normal((40, 50))).astype(np.float64)
    kernel = 2 * 101325 - air[11:20, 21:33]
    found = match(air, kernel, metric="zncc", invert=True, top=1)
    assert placed(found)[0] == (21, 11, pytest.approx(1, abs=1e-9), True)
    plain = match(air, kernel, metric="zncc", region=(21, 11, 12, 9), top=1)
    assert plain[0].score == pytest.approx(-found[0].score, abs=1e-9)


def test_the_data_range_has_the_ends(rng):
    deep = rng.integers(100, 4001, (30, 40), dtype=np.uint16)
    kernel = 4100 - deep[5:12, 8:17]
    found = match(deep, kernel, invert=True, data_range=(100, 4000), top=1)
    assert placed(found) == [(8, 5, 1.0, True)]
    signed = deep.astype(np.int16) - 2000
    found = match(signed, kernel.astype(np.int16) - 2000, invert=True, data_range=(-1900, 2000))
    assert placed(found)[0] == (8, 5, 1.0, True)


def test_masks_and_regions_and_the_place_of_trimmed_kernels(dark, light):
    alpha = Image.new("L", light.size, 0)
    ImageDraw.Draw(alpha).ellipse((6, 2, 33, 15), fill=255)
    light.putalpha(alpha)
    found = match(dark, light, invert=True, region=(60, 20, 60, 40), top=1)
    assert placed(found) == [(*PLACES[1], 1.0, True)]
    assert (found[0].width, found[0].height) == light.size


@pytest.mark.parametrize("options", [{}, {"exhaustive": True}])
def test_scaled_and_turned_poses_are_inverted_too(options, dark, light):
    turned = dark.resize((240, 120), Image.Resampling.BICUBIC).rotate(90, expand=True)
    found = match(
        turned, light, invert=True, scales="1.5,2", angles="0,90", metric="zncc", top=1, **options
    )
    (best,) = found
    assert (best.scale, best.angle, best.inverted) == (2, 90, True)
    assert best.score > 0.9
    assert np.abs(np.subtract((best.x, best.y), (62, 20))).max() <= 1


def test_mirror_images_are_inverted_too(dark, light):
    mirrored = light.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    (best,) = match(dark, mirrored, invert=True, flips="h", top=1)
    assert (best.x, best.y, best.score, best.flip, best.inverted) == (*PLACES[1], 1.0, "h", True)


def test_both_polarities_of_a_kernel_are_one_kernel(dark, light):
    other = button("Save", (20, 30, 40), (240, 230, 220))
    report = match(dark, [light, other], invert=True, per_kernel=True, top=1)
    assert [kernel.name for kernel in report.kernels] == ["kernel-1", "kernel-2"]
    assert placed(report) == [(*PLACES[1], 1.0, True), (*PLACES[0], 1.0, True)]
    assert [one.kernel for one in report] == ["kernel-1", "kernel-2"]
    # A kernel that is its own inverse is found once at each place.
    checks = np.kron([[0, 255], [255, 0]], np.ones((8, 8))).astype(np.uint8)
    screen = np.full((50, 60), 90, np.uint8)
    screen[20:36, 30:46] = checks
    assert placed(match(screen, checks, invert=True, threshold=0.9)) == [(30, 20, 1.0, False)]


def test_criteria_measure_the_inverted_kernel(dark, light):
    (best,) = match(dark, light, invert=True, worst=0.99, pixel_tolerance=0, threshold=0.5)
    assert (best.worst, best.differing, best.max_difference) == (1.0, 0, 0.0)
    pixels = np.array(light)
    pixels[8, 20] = 255 - pixels[8, 20]
    assert not match(dark, pixels, invert=True, max_differing=0, threshold=0.5)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"color": "lab"}, "no opposites in the colours lab"),
        ({"map": True}, r"a map is of one polarity.*; leave out --map \(map=\)$"),
        ({"blend": "b.png"}, r"a map is of one polarity.*; leave out --blend \(blend=\)$"),
        (
            {"blend": "b.png", "heatmap": "h.png"},
            r"leave out --heatmap \(heatmap=\) and --blend \(blend=\)$",
        ),
        ({"data_range": (0, 1000)}, "inverted has values from 760 to 980, beyond the 0 to 255"),
        ({"invert": "yes"}, "invert 'yes'"),
    ],
)
def test_what_cannot_be_inverted_is_refused(options, says, dark, light):
    with pytest.raises(InputError, match=says):
        match(dark, light, **{"invert": True, **options})


def test_ncc_of_floats_needs_a_range_to_invert(rng):
    image = 300 * rng.random((20, 30))
    with pytest.raises(InputError, match="under ncc depends on the data range"):
        match(image, image[3:9, 4:11], metric="ncc", invert=True)
    found = match(
        image, 300 - image[3:9, 4:11], metric="ncc", invert=True, data_range=(0, 300), top=1
    )
    assert placed(found)[0] == (4, 3, pytest.approx(1), True)


def test_a_white_kernel_has_no_inverse_under_ncc(dark, light):
    white = Image.new("RGB", (9, 9), "white")
    with pytest.raises(InputError, match="inverted is zero everywhere"):
        match(dark, white, metric="ncc", invert=True)
    report = match(dark, [white, light], metric="ncc", invert=True, top=1)
    assert [one.name for one in report.skipped] == ["kernel-1"]
    assert placed(report)[0][:2] == PLACES[1]


def test_the_command_prints_the_polarity_where_it_is_asked_for(run, dark, light):
    dark.save("dark.png")
    light.save("light.png")
    code, out, err = run("match", "dark.png", "light.png", "--invert", "--top", "1")
    header, line = (text.split("\t") for text in out.splitlines())
    assert (code, err) == (0, "")
    assert dict(zip(header, line, strict=True))["inverted"] == "true"
    _, out, _ = run("match", "dark.png", "light.png", "--invert", "--top", "1", "--format", "json")
    assert json.loads(out)["matches"][0]["inverted"] is True
    _, out, _ = run("match", "dark.png", "light.png", "--no-heatmap", "--format", "json")
    assert "inverted" not in out
    assert run("match", "dark.png", "light.png", "--invert", "--heatmap", "h.png")[0] == 2


def test_the_page_compares_a_match_with_the_inverted_kernel(tmp_path, dark, light):
    match(dark, light, invert=True, top=1, report=tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    data = re.findall(r"data:image/(?:png|jpeg);base64,([A-Za-z0-9+/=]+)", page)
    pictures = [np.asarray(Image.open(io.BytesIO(base64.b64decode(one)))) for one in data]
    # The difference of the two, which are identical.
    assert any(one.size and not one.any() for one in pictures)


@pytest.mark.parametrize("engine", ["auto", "simd", "fft"])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_one_pass_of_zncc_tells_both_polarities(engine, dtype, rng, monkeypatch):
    image = rng.integers(0, 256, (96, 90, 3), dtype=np.uint8)
    image[30:55, 30:65] = 90  # flat windows score 0
    alpha = np.full((96, 90), 255, np.uint8)
    alpha[60:80, 60:85] = 0
    kernel = 255 - image[71:88, 20:41]
    opposite = 255 - kernel
    if dtype == "float32":
        image, kernel, opposite = (a.astype(dtype) / 255 for a in (image, kernel, opposite))
    if engine == "fft" and dtype == "uint8":
        image = np.dstack([image, alpha])
    given = []
    together = runner.run_together

    def counted(plans, *arguments):
        given.append(len(plans))
        return together(plans, *arguments)

    monkeypatch.setattr(runner, "run_together", counted)
    options = {"metric": "zncc", "engine": engine}
    both = match(image, kernel, invert=True, top=200, overlap=0.9, **options)
    assert given == [1]
    singly = [
        (one.score, one.y, one.x, inverted)
        for inverted, own in ((False, kernel), (True, opposite))
        for one in match(image, own, threshold=-1, overlap=1, **options)
    ]
    scores = {(y, x, inverted): score for score, y, x, inverted in singly}
    assert [one.score for one in both] == sorted((one.score for one in both), reverse=True)
    assert (both[0].x, both[0].y, both[0].inverted) == (20, 71, True)
    # The inverse of floats that are rounded is another kernel by a digit or two.
    slack = 0 if dtype == "uint8" else 1e-7
    for one in both:
        assert one.score == pytest.approx(scores[one.y, one.x, one.inverted], abs=slack)
        assert str(one.score) != "-0.0"


def test_bounds_of_the_other_sign_hold_for_each_block(rng):
    scores = rng.uniform(-1, 1, (100, 150)).astype(np.float32)
    hidden = rng.random((100, 150)) < 0.3
    errors = rng.random((2, 3)).astype(np.float32)
    for out in (None, hidden):
        given = Bounds(scores, 0.25, out, BlockBounds(np.zeros((2, 3), np.float32), errors))
        found = given.opposite()
        np.testing.assert_array_equal(found.map, -scores)
        assert (found.error, found.hidden) == (0.25, out)
        np.testing.assert_array_equal(found.blocks.errors, errors)
        for i, j in np.ndindex(2, 3):
            block = np.s_[64 * i : 64 * i + 64, 64 * j : 64 * j + 64]
            shown = -scores[block] if out is None else -scores[block][~out[block]]
            assert found.blocks.maxima[i, j] == shown.max()
    assert np.signbit(Bounds(np.zeros((1, 1))).opposite().map).sum() == 0


@pytest.mark.parametrize("options", [{"metric": "zncc"}, {"metric": "sad"}, {"angles": "-3:3"}])
def test_what_came_closest_says_its_polarity(options, dark, light, rng):
    noisy = np.asarray(dark) + rng.integers(0, 15, (60, 120, 3), dtype=np.uint8)
    found = match(noisy, light, invert=True, threshold=0.999, **options)
    assert not found
    assert found.best_below.inverted
    assert not match(noisy, light, threshold=0.999, **options).best_below.inverted


def test_the_text_and_json_of_what_came_closest_say_its_polarity(dark, light, save, run, rng):
    save("dark.png", np.asarray(dark) + rng.integers(0, 15, (60, 120, 3), dtype=np.uint8))
    save("light.png", np.asarray(light))
    words = ("match", "dark.png", "light.png", "--metric", "zncc", "--threshold", "0.999")
    _, out, told = run(*words, "--invert", "--no-heatmap", "--format", "json")
    assert "; the best, inverted, scores 0.99" in told
    assert json.loads(out)["best_below"]["inverted"] is True


@pytest.mark.parametrize("metric", METRICS)
def test_a_matcher_keeps_both_polarities_prepared(metric, dark, light):
    made = Matcher(light, metric=metric, invert=True, engine="simd")
    alpha = np.full((18, 40), 255, np.uint8)
    alpha[:, :3] = 0  # a margin that is trimmed
    trimmed = Matcher(np.dstack([np.asarray(light), alpha]), metric=metric, invert=True)
    for matcher in (made, trimmed):
        first = placed(matcher.match(dark))
        kept = dict(matcher._kept._kept)
        assert kept
        assert placed(matcher.match(dark)) == first
        assert matcher._kept._kept.keys() == kept.keys()
