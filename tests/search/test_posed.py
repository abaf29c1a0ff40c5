"""Kernels found scaled, turned and mirrored, planted by another library's resampling."""

from __future__ import annotations

import json
import math

import cv2
import numpy as np
import pytest
from helpers.scenes import planted, turned_by
from PIL import Image

import patchsim
from patchsim.errors import InputError
from patchsim.poses.pose import Frame, Pose
from patchsim.registration import first_look, planes, score


def middle(match):
    """The middle of a match between the pixels (x, y)."""
    return tuple(np.mean(match.corners, 0))


def near(match, place):
    return float(np.hypot(*np.subtract(middle(match), place)))


@pytest.mark.parametrize(
    ("scale", "angle", "metric"),
    [
        (1.0, 0, "sad"),
        (0.62, 97.5, "sad"),
        (1.47, 203, "ssd"),
        (1.21, 331, "zncc"),
        (0.9, 12, "ncc"),
    ],
)
@pytest.mark.parametrize("steps", [True, False])
def test_a_planted_kernel_is_found_between_the_steps(
    astronaut, coffee, scale, angle, metric, steps
):
    kernel = astronaut[90:154, 200:270]
    scene = planted(coffee[:300, :400], kernel, scale, angle, (233.3, 150.6))
    ranges = ("0.5:1.6:0.1", "0:360:15") if steps else ("0.5:1.6", "any")
    best = patchsim.match(
        scene, kernel, scales=ranges[0], angles=ranges[1], metric=metric, top=1
    ).best
    assert near(best, (233.3, 150.6)) < 0.15
    assert abs(best.scale / scale - 1) < 0.006
    assert turned_by(best.angle, angle) < 0.3


@pytest.mark.parametrize("step", [1, 5, 120])
def test_a_step_is_the_coarsest_looked_at_and_what_lies_between_is_found(
    astronaut, coffee, monkeypatch, step
):
    kernel = astronaut[90:120, 200:235]
    scene = planted(coffee[:200, :300], kernel, 1.1, 47.3, (120.4, 90.2))
    looked_at, look = [], first_look.look

    def spied(plane, kernel, grid, *arguments, **others):
        looked_at.append(grid.angles)
        return look(plane, kernel, grid, *arguments, **others)

    monkeypatch.setattr(first_look, "look", spied)
    found = patchsim.match(scene, kernel, scales=1.1, angles=f"0:360:{step}", metric="zncc", top=1)
    for angles in looked_at:
        assert np.diff(angles, append=2 * np.pi).max() <= math.radians(step) + 1e-9
        assert np.diff(angles, append=2 * np.pi).max() < math.radians(20)  # what the kernel tells
    assert looked_at
    assert near(found.best, (120.4, 90.2)) < 0.15
    assert turned_by(found.best.angle, 47.3) < 0.3
    assert found.best.score > 0.98


@pytest.mark.parametrize("others", [0, 1])
def test_the_levels_of_a_lone_kernel_are_made_once(astronaut, coffee, monkeypatch, others):
    made, make = [], planes.KernelPlane.__init__

    def spied(plane, levels, k, unit):
        made.append((levels.size, k))
        make(plane, levels, k, unit)

    kernels = [astronaut[90:154, 200:270], astronaut[20:60, 100:150]][: 1 + others]
    scene = planted(coffee[:250, :350], kernels[0], 1.0, 40, (200, 120))
    monkeypatch.setattr(planes.KernelPlane, "__init__", spied)
    found = patchsim.match(scene, kernels, angles="any", threshold=0.9, metric="zncc")
    assert near(found.best, (200, 120)) < 0.15
    # Of several kernels, what the plan of the search makes is not kept.
    assert max(made.count(one) for one in made) == 1 + others


@pytest.mark.parametrize("is_crowded", [True, False])
def test_a_first_look_goes_lower_only_where_margins_need_it(rng, coffee, monkeypatch, is_crowded):
    bars, look = [], first_look.look

    def spied(*arguments, bar, **others):
        bars.append(bar)
        return look(*arguments, bar=bar, **others)

    monkeypatch.setattr(first_look, "look", spied)
    # Noise is like nothing else; a part of the picture is like others.
    kernel = coffee[90:114, 200:230] if is_crowded else rng.integers(0, 256, (24, 30, 3), np.uint8)
    scene = coffee[:250, :350].copy() if is_crowded else np.full((250, 350, 3), 90, np.uint8)
    scene[90:114, 200:230] = kernel
    found = patchsim.match(scene, kernel, angles="any", threshold=0.7, metric="zncc")
    assert (found.best.x, found.best.y, found.best.score) == (200, 90, 1.0)
    assert len(bars) == 1 if is_crowded else len(bars) > 1
    assert bars == sorted(set(bars), reverse=True)
    assert 0 < found.matches[-1].margin < 1


def test_a_mirrored_kernel_is_found_and_said_to_be(astronaut, coffee):
    kernel = astronaut[90:154, 200:270]
    scene = planted(coffee[:250, :350], kernel[:, ::-1], 0.9, 40, (200, 120))
    best = patchsim.match(scene, kernel, scales=0.9, angles="0:359:10", flips="h,v", top=1).best
    assert best.flip == "h"
    assert turned_by(best.angle, 40) < 0.3
    # Left to right and 40 degrees is upside down and 220.
    upside = patchsim.match(scene, kernel, scales=0.9, angles=[220], flips="v", top=1).best
    assert (upside.flip, upside.angle) == ("v", 220)
    assert upside.score == pytest.approx(best.score, abs=0.003)
    # In a full turn the flips have the same poses.
    both = patchsim.match(scene, kernel, scales=0.9, angles="any", flips="h,v", threshold=0.9)
    assert len(both) == 1


def test_a_turned_icon_with_alpha_is_found_on_another_ground(astronaut, coffee):
    alpha = np.hypot(*(np.indices((60, 60)) - 29.5)) < 28
    part = astronaut[90:150, 200:260]
    icon = Image.fromarray(np.dstack([part, alpha.astype(np.uint8) * 255]))
    scene = planted(coffee, part, 1.2, 70, (450, 100), alpha)
    best = patchsim.match(scene, icon, scales="0.8:1.4:0.1", angles="0:360:12", top=1).best
    assert near(best, (450, 100)) < 0.2
    assert abs(best.scale / 1.2 - 1) < 0.005
    assert turned_by(best.angle, 70) < 0.5
    assert best.score > 0.97


def test_several_poses_of_one_kernel_are_found_at_once(astronaut, coffee):
    kernel = astronaut[90:154, 200:270]
    scene = planted(coffee, kernel, 0.8, 30, (120, 100))
    scene = planted(scene, kernel, 1.3, 200, (430, 260))
    report = patchsim.match(scene, kernel, scales="0.6:1.5:0.1", angles="0:360:15", threshold=0.95)
    found = sorted((round(m.scale, 2), round(m.angle)) for m in report.matches)
    assert found == [(0.8, 30), (1.3, 200)]


def test_three_copies_of_which_one_is_half_covered_are_found_by_a_coarse_step(astronaut, coffee):
    kernel = astronaut[60:160, 180:280, :1]
    scene = planted(coffee[:300, :420, :1], kernel, 1, -12.7, (80, 200))
    scene = planted(scene, kernel, 1, 25.6, (230, 90))
    scene = planted(scene, kernel, 1, 68.1, (330, 200))
    scene[210:, 340:] = coffee[210 : len(scene), 340:420, :1]  # over a part of the third
    for metric in ("zncc", "sad"):
        report = patchsim.match(scene, kernel, angles="0:360:15", top=3, metric=metric)
        found = sorted(round(turned_by(m.angle, 0)) for m in report.matches)
        assert found == [13, 26, 68]
        assert all(
            min(near(m, place) for place in ((80, 200), (230, 90), (330, 200))) < 0.5
            for m in report.matches
        )


def test_scores_are_those_of_the_picture_at_the_pose(astronaut, coffee):
    kernel = astronaut[90:154, 200:270]
    scene = planted(coffee[:300, :400], kernel, 1.1, 50, (200, 150))
    report = patchsim.match(scene, kernel, scales="0.8:1.3:0.1", angles="0:180:10", top=3)
    for match in report.matches:
        x, y = middle(match)
        pose = Pose(match.scale, match.angle, match.flip)
        there = score(scene, patchsim.metrics.Kernel(kernel), x, y, pose, "sad", 255)
        assert match.score == pytest.approx(there, abs=1e-4)  # the pose is rounded
    # OpenCV's cubic is another one, but of a smooth photograph it makes about the same.
    x, y = middle(report.best)
    cos, sin = (f(np.radians(report.best.angle)) * report.best.scale for f in (np.cos, np.sin))
    down, across = np.indices((64, 70)) + 0.5
    across, down = across - 35, down - 32
    places = x + cos * across + sin * down - 0.5, y - sin * across + cos * down - 0.5
    shown = cv2.remap(scene, *(p.astype(np.float32) for p in places), cv2.INTER_CUBIC)
    assert report.best.score == pytest.approx(
        1 - np.abs(shown.astype(float) - kernel).mean() / 255, abs=2e-3
    )


def test_the_box_lies_around_the_corners(astronaut, coffee):
    kernel = astronaut[90:154, 200:270]
    scene = planted(coffee[:300, :400], kernel, 1.2, 25, (200.4, 150.2))
    report = patchsim.match(scene, kernel, scales="1:1.4:0.1", angles="0:60:5", top=1)
    best = report.best
    wanted = np.array(Frame.of((64, 70), Pose(1.2, 25)).corners)
    wanted += np.array([200.4, 150.2]) - wanted.mean(0)
    np.testing.assert_allclose(best.corners, wanted, atol=0.3)
    left, top = np.min(best.corners, 0)
    right, bottom = np.max(best.corners, 0)
    assert (best.x_subpixel, best.y_subpixel) == (left, top)
    assert (best.x, best.y) == (round(left), round(top))
    assert (best.x + best.width, best.y + best.height) == (round(right), round(bottom))
    inner = report.row_col_rectangles()[0][:, ::-1] + 0.5  # half a pixel within the corners
    apart = np.hypot(*(inner - best.corners).T)
    np.testing.assert_allclose(apart, np.sqrt(0.5), atol=1e-4)


@pytest.mark.parametrize("angles", ["-10:10:2", "-10:10", "0:360:15"])
def test_copies_that_are_identical_as_they_are_stay_there(astronaut, coffee, angles):
    kernel = astronaut[90:130, 200:240]
    scene = coffee[:200, :300].copy()
    places = [(10, 20), (120, 33), (201, 140)]
    for x, y in places:
        scene[y : y + 40, x : x + 40] = kernel
    report = patchsim.match(scene, kernel, angles=angles, top=3)
    assert {(m.x, m.y, m.angle, m.score) for m in report.matches} == {
        (x, y, 0.0, 1.0) for x, y in places
    }


def test_copies_side_by_side_are_all_found(rng):
    kernel = cv2.GaussianBlur(rng.integers(0, 256, (24, 24), np.uint8), (0, 0), 1)
    scene = np.tile(kernel, (4, 5))
    for scales in ("1:1.2:0.2", "0.9:1.1"):
        report = patchsim.match(scene, kernel, threshold=0.999, overlap=0, scales=scales)
        assert {(m.x, m.y) for m in report.matches} == {
            (24 * i, 24 * j) for i in range(5) for j in range(4)
        }


def test_turned_copies_whose_boxes_overlap_are_both_found(coffee, astronaut):
    # Long ones side by side at 45 degrees: their upright boxes share two thirds of their union.
    kernel = astronaut[100:116, 190:270]
    step = 17 / np.sqrt(2)
    places = [(120 + i * step, 100 + i * step) for i in (-1, 0, 1)]
    scene = coffee[:200, :240]
    for place in places:
        scene = planted(scene, kernel, 1, 45, place)
    report = patchsim.match(scene, kernel, angles="any", threshold=0.9)
    assert len(report) == 3
    assert all(min(near(m, place) for m in report) < 0.3 for place in places)


def drawn(sides, radius):
    """A regular polygon, or with no sides a ring, with soft edges on grey."""
    y, x = (np.indices((192, 192)) - 95.5) / 4
    if sides:
        turns = np.arange(sides) * 2 * np.pi / sides
        shown = np.max([np.cos(t) * x + np.sin(t) * y for t in turns], 0) < 0.8 * radius
    else:
        shown = np.abs(np.hypot(x, y) - radius) < 3
    return cv2.resize(
        np.where(shown, 220, 90).astype(np.uint8), (48, 48), interpolation=cv2.INTER_AREA
    )


@pytest.mark.parametrize("sides", [0, 4, 6])
def test_kernels_with_rotational_symmetry_are_reported_once(sides):
    kernel = drawn(sides, 18)[..., None]
    scene = np.full((150, 260, 1), 90, np.uint8)
    for place, angle in (((50, 60), 0), ((125.4, 80.7), 23), ((205, 70), 71)):
        scene = planted(scene, kernel, 1, angle, place)
    report = patchsim.match(scene, kernel, angles="any", threshold=0.9, metric="zncc")
    assert len(report) == 3
    assert all(
        min(near(m, place) for m in report) < 0.2 for place in ((50, 60), (125.4, 80.7), (205, 70))
    )


@pytest.mark.parametrize("inside", [1, 3, 6])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_copies_that_borders_and_corners_hide_are_found(seed, inside):
    rng = np.random.default_rng(seed)
    texture, part = (
        cv2.GaussianBlur(rng.normal(127, 45 * 3.5 * blur, (*size, 1)), (0, 0), blur)[..., None]
        for size, blur in (((320, 420), 3), ((51, 51), 1.6))
    )
    disc = np.clip(25.5 - np.hypot(*(np.mgrid[:51, :51] - 25)), 0, 1)
    # Of discs in a corner a quarter is seen and a bit more, of the others half.
    far = 6 + inside
    places = [
        (inside, 90.3), (415, 320 - 110.4), (130.2, inside), (270.6, 320 - inside),
        (420 - inside, 80.7), (40.9, 320 - inside), (far, far), (420 - far, 320 - far),
    ]  # fmt: skip
    scene = planted(texture, part, 1.0, rng.uniform(0, 360), places[0], disc)
    rows, columns = np.mgrid[:320, :420] + 0.5
    for x, y in places[1:]:
        with_it = planted(texture, part, 1.0, rng.uniform(0, 360), (x, y), disc)
        is_near = np.hypot(columns - x, rows - y) < 27
        scene[is_near] = with_it[is_near]
    kernel = np.dstack([part] * 3 + [disc * 255]).clip(0, 255).astype(np.uint8)
    report = patchsim.match(
        np.repeat(scene, 3, 2), kernel, metric="zncc", threshold=0.85,
        angles="any", padding="transparent", min_visible=0.3,
    )  # fmt: skip
    for place in places:
        assert min(near(match, place) for match in report.matches) < 0.5, place


@pytest.mark.parametrize("metric", ["zncc", "sad"])
@pytest.mark.parametrize("exhaustive", [False, True])
def test_corners_lie_a_pixel_outside_at_most(astronaut, coffee, metric, exhaustive):
    kernel = astronaut[90:122, 200:238]
    least = {"zncc": 0.7, "sad": 0.9}[metric]
    seen = 0
    # The corners of these copies lie up to 7 pixels outside.
    for x, y, angle in [
        (40, 17.6, 19.4),
        (182.3, 80, 67.5),
        (100, 140.6, 152.2),
        (180.4, 80, 288.9),
    ]:
        scene = planted(coffee[:160, :200], kernel, 1.0, angle, (x, y))
        found = patchsim.match(
            scene, kernel, metric=metric, threshold=least, angles="0:360:6", exhaustive=exhaustive
        )
        corners = np.array([match.corners for match in found.matches]).reshape(-1, 2)
        assert (corners >= -1.01).all()
        assert (corners <= (201.01, 161.01)).all()
        seen += len(corners)
    assert seen


@pytest.mark.parametrize("padding", ["edge", "reflect", "zero", "transparent"])
def test_with_padding_a_turned_kernel_hangs_over_the_border(astronaut, coffee, padding):
    kernel = astronaut[90:154, 200:270]
    scene = planted(coffee[:300, :400], kernel, 1.0, 30, (390, 200))
    best = patchsim.match(
        scene, kernel, angles="0:350:10", padding=padding, top=1, metric="zncc"
    ).best
    assert best.x + best.width > 400
    assert near(best, (390, 200)) < 5
    assert turned_by(best.angle, 30) < 6
    outside = patchsim.match(scene, kernel, angles="any", padding=padding, threshold=-1, top=30)
    for match in outside:  # every pose shows a pixel of the picture
        assert max(x for x, _ in match.corners) > 0
        assert min(x for x, _ in match.corners) < 400


def test_only_the_region_is_searched(astronaut, coffee):
    kernel = astronaut[90:130, 200:240]
    scene = planted(coffee[:200, :300], kernel, 1, 20, (60, 60))
    scene = planted(scene, kernel, 1, 200, (230, 140))
    report = patchsim.match(scene, kernel, angles="any", region=(160, 80, 130, 120), threshold=0.9)
    assert len(report) == 1
    assert near(report.best, (230, 140)) < 0.2
    cut = patchsim.match(scene, kernel, angles="any", region=(225, 80, 70, 120), top=1).best
    assert cut.score < 0.9
    assert min(x for x, _ in cut.corners) > 225 - 1.1


@pytest.mark.parametrize("angles", ["-5:5", "-5:5:1", "355:365"])
def test_no_pose_outside_the_range_is_reported(astronaut, coffee, angles):
    kernel = astronaut[90:154, 200:270]
    low, high = (float(edge) for edge in angles.split(":")[:2])
    for angle in (5.3, 40, -5.2):
        scene = planted(coffee[:200, :300], kernel, 1.04, angle, (150, 100))
        report = patchsim.match(scene, kernel, angles=angles, scales="0.97:1.03", top=3)
        for match in report:
            assert low <= match.angle <= high
            assert 0.97 <= match.scale <= 1.03
    inside = planted(coffee[:200, :300], kernel, 1, 4.9, (150, 100))
    assert turned_by(patchsim.match(inside, kernel, angles=angles, top=1).best.angle, 4.9) < 0.2


def test_several_kernels_compete_for_places_or_do_not(astronaut, coffee):
    first, second = astronaut[90:130, 200:240], astronaut[300:350, 150:190]
    scene = planted(coffee[:220, :320], first, 1.1, 80, (70, 80))
    scene = planted(scene, second, 0.9, 300, (220, 120))
    options = {"scales": "0.8:1.2", "angles": "any"}
    report = patchsim.match(scene, [first, second], threshold=0.9, metric="zncc", **options)
    assert sorted((m.kernel, round(m.scale, 1), round(m.angle, -1)) for m in report) == [
        ("kernel-1", 1.1, 80), ("kernel-2", 0.9, 300),
    ]  # fmt: skip
    own = patchsim.match(scene, [first, second], top=2, per_kernel=True, **options)
    assert [m.kernel for m in own] == ["kernel-1", "kernel-1", "kernel-2", "kernel-2"]
    assert (near(own[0], (70, 80)), near(own[2], (220, 120))) < (0.2, 0.2)


@pytest.mark.parametrize("dtype", [np.uint16, np.float32, np.float64])
@pytest.mark.parametrize("metric", ["sad", "zncc"])
def test_other_types_are_found_where_bytes_are(astronaut, coffee, dtype, metric):
    kernel = astronaut[90:138, 200:250]
    scene = planted(coffee[:200, :300], kernel, 1.1, 200, (130.3, 90.7))
    wide = {np.uint16: lambda a: a.astype(np.uint16) * 257}.get(
        dtype, lambda a: (a / 255).astype(dtype)
    )
    options = {"scales": "0.9:1.3", "angles": "any", "metric": metric, "top": 1}
    best = patchsim.match(wide(scene), wide(kernel), **options).best
    bytes_ = patchsim.match(scene, kernel, **options).best
    assert near(best, middle(bytes_)) < 0.02
    assert best.score == pytest.approx(bytes_.score, abs=1e-3)
    assert (best.scale, best.angle) == pytest.approx((bytes_.scale, bytes_.angle), abs=0.02)


def test_hidden_pixels_of_the_image_do_not_count(astronaut, coffee):
    kernel = astronaut[90:154, 200:270]
    scene = planted(coffee[:300, :400], kernel, 1, 140, (200, 150))
    alpha = np.full(scene.shape[:2], 255, np.uint8)
    alpha[140:160] = 0
    scene[140:160] = 0
    seen = Image.fromarray(np.dstack([scene, alpha]))
    best = patchsim.match(seen, kernel, angles="any", top=1).best
    assert near(best, (200, 150)) < 0.2
    assert best.score > 0.97
    alpha[110:190] = 0  # most of it
    hidden = Image.fromarray(np.dstack([scene, alpha]))
    for match in patchsim.match(hidden, kernel, angles="any", top=3):
        assert near(match, (200, 150)) > 20


def test_lists_are_searched_as_they_are(astronaut, coffee):
    kernel = astronaut[100:140, 210:250]
    scene = planted(coffee[:200, :300], kernel, 0.93, 47, (150.4, 100.3))
    options = {"scales": [0.8, 0.9, 1.0], "angles": list(range(0, 360, 15)), "top": 2}
    coarse = patchsim.match(scene, kernel, **options)
    assert (coarse.best.scale, coarse.best.angle) == (0.9, 45)
    assert near(coarse.best, (150.4, 100.3)) < 0.3  # between the pixels
    exact = patchsim.match(scene, kernel, exhaustive=True, **options)
    assert (exact.best.scale, exact.best.angle) == (0.9, 45)
    assert exact.best.score == pytest.approx(coarse.best.score, abs=1e-5)
    assert near(exact.best, middle(coarse.best)) < 0.02


@pytest.mark.parametrize("metric", ["sad", "zncc"])
def test_all_poses_in_all_windows_lead_to_the_same_matches(astronaut, coffee, metric):
    kernel = astronaut[100:132, 210:240]
    scene = planted(coffee[:120, :200], kernel, 0.9, 33, (60, 60))
    scene = planted(scene, kernel, 1.05, 310, (145, 70))
    options = {"scales": "0.8:1.1:0.05", "angles": "0:350:10", "metric": metric, "top": 2}
    coarse = patchsim.match(scene, kernel, **options)
    fitted = patchsim.match(scene, kernel, exhaustive=True, **options)
    for one, other in zip(coarse, fitted, strict=True):
        assert near(one, middle(other)) < 0.02
        assert one.score == pytest.approx(other.score, abs=1e-5)
        assert one.scale == pytest.approx(other.scale, abs=0.001)
        assert one.angle == pytest.approx(other.angle, abs=0.1)
    assert fitted.poses.exhaustive
    assert not coarse.poses.exhaustive


def test_without_a_step_all_windows_are_compared_a_pixel_apart(rng):
    kernel = cv2.GaussianBlur(rng.integers(0, 256, (12, 12), np.uint8), (0, 0), 1)
    scene = planted(np.full((30, 36, 1), 100, np.uint8), kernel[..., None], 1, 100, (17.3, 15.2))
    report = patchsim.match(scene, kernel, angles="any", exhaustive=True, top=1)
    assert report.poses.count == 54
    assert turned_by(report.best.angle, 100) < 1.5
    with pytest.raises(InputError, match="54 angles x 1 flips are 54 poses, more than --max-poses"):
        patchsim.match(scene, kernel, angles="any", exhaustive=True, max_poses=50)
    assert patchsim.match(scene, kernel, angles="any", max_poses=50).poses.count is None


def test_kernels_of_a_detail_that_averages_away_begin_at_full_size():
    # In halved pictures a checkerboard is grey.
    board = (np.indices((32, 32)).sum(0) % 2 * 255).astype(np.uint8)[..., None]
    scene = np.full((100, 120, 1), 128, np.uint8)
    scene[40:72, 50:82] = board
    report = patchsim.match(scene, board, angles=list(range(0, 180, 15)), top=1)
    assert (report.best.x, report.best.y, report.best.score) == (50, 40, 1.0)


@pytest.mark.parametrize("part", [np.s_[:], np.s_[60:120]])
def test_kernels_as_wide_as_the_picture_are_found_in_the_pose_that_fits(coffee, part):
    scene = coffee[:200, :300]
    report = patchsim.match(scene, scene[part], angles="-5:5:1", top=1)
    assert (report.best.angle, report.best.score, report.best.x) == (0.0, 1.0, 0)


def test_poses_too_large_are_left_out_and_none_that_fits_is_an_error(rng):
    scene, kernel = rng.integers(0, 256, (2, 30, 30, 1), np.uint8)
    found = patchsim.match(scene, kernel, scales=[0.5, 1, 2], top=1).best
    assert found.scale <= 1
    for scales in ([2, 3], list(np.linspace(2, 3, 20)), "2:3"):
        with pytest.raises(InputError, match=r"takes 60x60 even at scale 2"):
            patchsim.match(scene, kernel, scales=scales)
    with pytest.raises(InputError, match="fewer than 16 pixels"):
        patchsim.match(scene, kernel, scales="0.01:0.02")


def test_a_round_icon_is_not_found_upside_down(astronaut, coffee):
    alpha = np.hypot(*(np.indices((48, 48)) - 23.5)) < 23
    icon = Image.fromarray(np.dstack([astronaut[100:148, 205:253], alpha.astype(np.uint8) * 255]))
    for angle in (20, 110, 200, 290):
        scene = planted(coffee[:200, :300], astronaut[100:148, 205:253], 1, angle, (150, 90), alpha)
        best = patchsim.match(scene, icon, angles="0:360:10", top=1).best
        assert turned_by(best.angle, angle) < 0.5


# -- one thing, one row; one scale ----------------------------------------------------------------


def button(scale):
    """A button of one colour with a rim, drawn at a scale, on a light ground."""
    picture = Image.new("L", (40 * scale, 24 * scale), 230)
    inner = [2 * scale, 2 * scale, 38 * scale - 1, 22 * scale - 1]
    from PIL import ImageDraw

    ImageDraw.Draw(picture).rounded_rectangle(inner, 4 * scale, 120, 60, scale)
    return np.asarray(picture)


def screen(scale, places):
    picture = np.full((140 * scale, 200 * scale), 230, np.uint8)
    for x, y in places:
        one = button(scale)
        picture[y * scale : y * scale + one.shape[0], x * scale : x * scale + one.shape[1]] = one
    return picture


def test_a_flat_button_of_a_doubled_screenshot_is_reported_once():
    places = [(10, 20), (120, 30), (60, 90)]
    report = patchsim.match(
        screen(2, places), button(1), scales="1,1.25,1.5,2,3", threshold=0.9, color="gray"
    )
    assert sorted((m.x // 2, m.y // 2, m.scale) for m in report) == [
        (x, y, 2) for x, y in sorted(places)
    ]


def test_one_scale_for_all_of_a_screenshot():
    places = [(10, 20), (120, 30), (60, 90)]
    scene = screen(2, places)
    scene[4:28, 340:380] = button(1)  # smaller than the others
    for scales in ("1,1.5,2", "0.8:2.4"):
        report = patchsim.match(scene, button(1), scales=scales, same_scale=True, top=3)
        assert len({m.scale for m in report}) == 1
        assert report.best.scale == pytest.approx(2, rel=0.02)
        assert sorted((round(m.x / 2), round(m.y / 2)) for m in report) == sorted(places)
    both = patchsim.match(scene, button(1), scales="1,1.5,2", top=4)
    assert sorted(m.scale for m in both) == [1, 2, 2, 2]
    listed = patchsim.match(
        scene, button(1), scales="1,1.5,2", same_scale=True, top=3, exhaustive=True
    )
    assert {m.scale for m in listed} == {2.0}


def test_fewer_matches_than_asked_for_are_explained(astronaut, coffee):
    kernel = astronaut[90:130, 200:240]
    scene = planted(coffee[:70, :90], kernel, 1, 20, (40, 35))
    few = patchsim.match(scene, kernel, angles="any", top=6)
    assert len(few) < 6
    assert f"{len(few)} match" in few.notices[-1]
    assert few.notices[-1].endswith(
        "of the 6 asked for: all other poses that were found overlap these"
    )
    none = patchsim.match(scene, kernel, angles="any", top=6, threshold=0.999)
    (told,) = none.notices
    assert told.startswith("no match: nothing reached the threshold of 0.999; the best pose")


def test_auto_finds_the_copies_and_says_how(astronaut, coffee):
    kernel = astronaut[90:130, 200:240]
    places = [(60, 60), (230, 140), (340, 70)]
    scene = coffee[:250, :400]
    for i, place in enumerate(places):
        scene = planted(scene, kernel, 1, 20 + 80 * i, place)
    report = patchsim.match(scene, kernel, angles="any", threshold="auto", metric="zncc")
    assert len(report) == 3
    assert all(min(near(m, place) for m in report) < 0.2 for place in places)
    assert report.notices[-1].startswith("threshold auto: 0.")
    assert report.threshold == report.kernels[0].threshold
    assert (
        patchsim.match(coffee[:250, :400], kernel, angles="any", threshold="auto").threshold is None
    )


@pytest.mark.parametrize("same_scale", [False, True])
def test_progress_does_not_fall_and_ends(same_scale):
    class Watcher(patchsim.Observer):
        def __init__(self):
            self.told, self.swept_of = [], []

        def progress(self, done, total):
            self.told.append(done / total)

        def swept(self, text):
            self.swept_of.append(text)

    watcher = Watcher()
    kernels = [button(1), button(1)[:, ::-1]]
    scene = screen(2, [(10, 20), (60, 90)])
    options = {"scales": "1,2", "angles": "-5:5", "same_scale": same_scale, "top": 2}
    patchsim.match(scene, kernels, observer=watcher, **options)
    assert watcher.told == sorted(watcher.told)
    assert watcher.told[-1] == 1
    assert watcher.swept_of == ["poses coarse to fine: scale 1, 2, angle -5 to 5, flip none"]


def test_progress_of_one_range_is_told_on_the_way():
    told = []

    class Watcher(patchsim.Observer):
        def progress(self, done, total):
            told.append(done / total)

    scene = screen(2, [(10, 20), (60, 90)])
    patchsim.match(scene, button(1), observer=Watcher(), scales="0.5:2", flips="h", top=2)
    parts = 2 * 3  # as it is and mirrored, in three octaves
    assert len(told) >= parts
    assert told == sorted(told)
    assert max(np.diff([0, *told])) <= 1 / parts + 0.001
    assert told[-1] == 1


# -- what is refused; the command -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"stride": 2}, "^stride is about windows"),
        ({"stride": (1, 3)}, "^stride is about windows"),
        ({"engine": "simd"}, "^engine simd is about windows"),
        ({"device": "cuda"}, "^device cuda is about windows"),
    ],
)
@pytest.mark.parametrize("angles", ["any", "0:350:10", [0, 45]])
def test_what_is_about_windows_is_refused_with_poses(rng, options, says, angles):
    scene, kernel = rng.integers(0, 256, (60, 60), np.uint8), rng.integers(0, 256, (9, 9), np.uint8)
    with pytest.raises(InputError, match=f"{says}.*\n.*--exhaustive"):
        patchsim.match(scene, kernel, angles=angles, **options)


def test_a_stride_and_an_engine_find_windows_that_are_fitted(rng):
    scene = cv2.GaussianBlur(rng.integers(0, 256, (60, 60), np.uint8), (0, 0), 1.5)
    kernel = scene[20:36, 30:46].copy()
    options = {"angles": "-10:10:2", "exhaustive": True, "top": 1}
    for extra in ({"stride": (2, 3)}, {"engine": "pruned"}):
        best = patchsim.match(scene, kernel, **options, **extra).best
        assert (best.x, best.y, best.angle, best.score) == (30, 20, 0.0, 1.0)


def test_pictures_that_do_not_fit_the_memory_are_refused(rng):
    scene, kernel = (
        rng.integers(0, 256, (400, 400, 3), np.uint8),
        rng.integers(0, 256, (20, 20, 3), np.uint8),
    )
    with pytest.raises(InputError, match="the least for these pictures and poses"):
        patchsim.match(scene, kernel, angles="any", memory=300_000)


def test_the_command_prints_fitted_poses_and_draws_their_frames(
    run, save, astronaut, coffee, tmp_path
):
    kernel = astronaut[90:130, 200:240]
    save("scene.png", planted(coffee[:200, :300], kernel, 1.2, 25, (150.4, 90.3)))
    save("part.png", kernel)
    code, out, err = run(
        "match", "scene.png", "part.png", "--angles", "any", "--scales", "1:1.5", "--top", "1",
        "--subpixel", "--overlay", "found.png",
    )  # fmt: skip
    assert code == 0
    header, line = (text.split("\t") for text in out.splitlines())
    added = ["x_subpixel", "y_subpixel", "scale", "angle", "flip", "corners"]
    assert header[-8:] == [*added, "center_x", "center_y"]
    fields = dict(zip(header, line, strict=True))
    corners = [tuple(map(float, corner.split(","))) for corner in fields["corners"].split()]
    assert np.hypot(*np.subtract(np.mean(corners, 0), (150.4, 90.3))) < 0.2
    assert float(fields["x_subpixel"]) == min(x for x, _ in corners)
    assert not list(tmp_path.glob("*.heatmap.png"))
    assert err == "patchsim: overlay found.png: 1 box\n"
    drawn = np.asarray(Image.open(tmp_path / "found.png")).astype(int)
    for start, end in zip(corners, [*corners[1:], corners[0]], strict=True):
        x, y = np.rint(np.mean([start, end], 0)).astype(int)
        around = drawn[y - 3 : y + 4, x - 3 : x + 4].reshape(-1, 3)
        assert (np.abs(around - (255, 255, 0)).sum(1) == 0).any()  # a yellow line passes beside it


def test_the_command_prints_quarter_turns_as_windows(run, save, astronaut, tmp_path):
    save("scene.png", np.rot90(astronaut))
    save("part.png", astronaut[90:154, 200:270])
    code, out, err = run("match", "scene.png", "part.png", "--angles", "0,90,180,270", "--top", "1")
    header, line = out.splitlines()
    assert code == 0
    assert header.split("\t")[-6:-2] == ["scale", "angle", "flip", "corners"]
    fields = dict(zip(header.split("\t"), line.split("\t"), strict=True))
    assert (fields["scale"], fields["angle"], fields["flip"]) == ("1.0", "90.0", "none")
    x, y = int(fields["x"]), int(fields["y"])
    assert (x, y, fields["score"]) == (90, 512 - 270, "1.0")
    assert fields["corners"].split()[0] == f"{x}.0,{y + 70}.0"
    assert not list(tmp_path.glob("*.heatmap.png"))
    assert err == ""
    code, out, _ = run(
        "match", "scene.png", "part.png", "--angles", "90", "--top", "1", "--format", "json",
        "--overlay", "found.png",
    )  # fmt: skip
    match = json.loads(out)["matches"][0]
    assert match["corners"] == [[90, 312], [90, 242], [154, 242], [154, 312]]
    assert (tmp_path / "found.png").exists()


def test_the_command_takes_the_flags_of_poses(run, save):
    places = [(10, 20), (120, 30)]
    save("screen.png", screen(2, places))
    save("button.png", button(1))
    words = ("match", "screen.png", "button.png", "--scales", "0.8:2.4", "--same-scale")
    code, out, err = run(*words, "--threshold", "0.95")
    assert code == 0
    assert len(out.splitlines()) == 3
    code, _, err = run(*words, "--top", "60")
    assert err.startswith("patchsim: ")
    assert "matches of the 60 asked for: all other poses that were found at the same scale" in err
    code, out, err = run("match", "screen.png", "button.png", "--same-scale")
    assert (code, out) == (2, "")
    assert "--same-scale is about poses; give --scales, --angles or --flips with it" in err
    code, out, err = run("match", "screen.png", "button.png", "--angles", "0:359:0.01")
    assert (code, out) == (2, "")
    assert "--max-poses" in err


@pytest.mark.parametrize("seed", [0, 1, 4, 6])
def test_matches_over_several_octaves_have_margins(seed):
    # Smooth noise, in which small poses inside larger matches score best below the threshold.
    random = np.random.default_rng(seed)
    scene = cv2.GaussianBlur(random.random((90, 110)), (0, 0), 2.5)
    scene = np.rint(cv2.normalize(scene, None, 0, 255, cv2.NORM_MINMAX)).astype(np.uint8)
    report = patchsim.match(
        scene, scene[30:54, 40:70].copy(), metric="zncc", scales="0.5:2", angles="any",
        threshold=0.6,
    )  # fmt: skip
    assert len(report) > 1
    rests = {round(match.score - match.margin, 9) for match in report}
    assert len(rests) == 1
    assert 0 < rests.pop() < 0.6


@pytest.mark.parametrize("metric", ["zncc", "sad"])
def test_the_last_match_above_a_threshold_has_a_margin(astronaut, coffee, metric):
    kernel = astronaut[90:154, 200:270]
    scene = planted(coffee[:260, :360], kernel, 1.1, 40, (90, 100))
    how = {"scales": "0.8:1.4", "angles": "any", "metric": metric}
    two = patchsim.match(scene, kernel, top=2, **how)
    one = patchsim.match(scene, kernel, threshold=0.95, **how)
    assert len(one) == 1
    assert one.best.margin == pytest.approx(two[0].score - two[1].score, abs=0.03)
    assert patchsim.match(scene, kernel, threshold=0.95, margin=False, **how).best.margin is None


@pytest.mark.parametrize("metric", ["sad", "ssd", "ncc", "zncc"])
def test_equal_pixels_rank_by_place(astronaut, metric):
    kernel = astronaut[100:124, 200:224]
    image = np.full((200, 420, 3), 90, np.uint8)
    places = [(y, x) for y in (16, 120) for x in (8, 96, 208, 352)]
    large = cv2.resize(kernel, (48, 48), interpolation=cv2.INTER_CUBIC)
    for y, x in places:
        image[y : y + 48, x : x + 48] = large
    found = patchsim.match(image, kernel, metric=metric, scales=(1, 1.5, 2), threshold=0.99).matches
    assert [(match.y, match.x) for match in found] == places
    assert max(match.score for match in found) - min(match.score for match in found) < 1e-9
