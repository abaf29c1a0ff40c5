"""Posed kernels beside closed forms and other libraries; what can be asked and what cannot."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import skimage.transform
from hypothesis import given
from hypothesis import strategies as st

from patchsim.errors import InputError
from patchsim.metrics import Kernel
from patchsim.poses.grid import Poses
from patchsim.poses.pose import UNCHANGED, Frame, Pose
from patchsim.poses.warp import PoseRenderer

FLIPS = ("none", "h", "v")


def waves(y, x):
    """A picture with two channels that is known between the pixels, in [0, 1]."""
    first = 0.5 + 0.2 * np.sin(x / 5.0 + 0.3) + 0.2 * np.cos(y / 6.0 + x / 9.0)
    return np.stack([first, 0.5 + 0.3 * np.sin(y / 7.0 - x / 11.0)], axis=-1)


def seen_through(pose, size, box):
    """Where in the kernel (y, x) each pixel of the box comes from, by the definition of a pose."""
    rows, cols = np.indices(box, float)
    y, x = rows - (box[0] - 1) / 2, cols - (box[1] - 1) / 2
    turn = math.radians(pose.angle)
    right = (x * math.cos(turn) - y * math.sin(turn)) / pose.scale
    down = (x * math.sin(turn) + y * math.cos(turn)) / pose.scale
    if pose.flip == "h":
        right = -right
    elif pose.flip == "v":
        down = -down
    return down + (size[0] - 1) / 2, right + (size[1] - 1) / 2


@pytest.mark.parametrize("flip", FLIPS)
@pytest.mark.parametrize("scale", [0.4, 0.83, 1, 1.7])
@pytest.mark.parametrize("angle", [0, 30, 90, 135.5, 180, 270, 301])
def test_a_known_picture_is_what_its_formula_gives(scale, angle, flip):
    size, pose = (41, 52), Pose(scale, angle, flip)
    kernel = Kernel(waves(*np.indices(size)))
    found = PoseRenderer(kernel)(pose)
    box = found.pixels.shape[:2]
    assert box == Frame.of(size, pose).size
    y, x = seen_through(pose, size, box)
    margin = 2 / min(scale, 1)  # where it depends on what lies beyond the border
    within = (np.abs(y - 20) <= 20.5 - margin) & (np.abs(x - 25.5) <= 26 - margin)
    assert within.sum() > 100
    # Averaging over 1 / scale pixels takes (pi / scale)^2 / 24 / 25 of a wave of length 10 pi.
    np.testing.assert_allclose(found.pixels[within], waves(y, x)[within], atol=2e-3 + 3e-3 / scale)
    # Turned, pixels within 0.4 of the border do not count.
    border = 0.4 / scale if angle % 90 else 0
    inside = (np.abs(y - 20) <= 20.5 - border + 1e-9) & (np.abs(x - 25.5) <= 26 - border + 1e-9)
    counts = np.ones(box, bool) if found.weights is None else found.weights > 0
    np.testing.assert_array_equal(counts, inside)


@pytest.mark.parametrize("flip", FLIPS)
@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_quarter_turns_and_mirror_images_are_exact(rng, turns, flip):
    pixels = rng.integers(0, 256, (5, 8, 3), np.uint8)
    weights = rng.integers(0, 4, (5, 8), np.uint8)
    found = PoseRenderer(Kernel(pixels, weights))(Pose(1, 90 * turns, flip))
    seen = {"none": pixels, "h": pixels[:, ::-1], "v": pixels[::-1]}[flip]
    for _ in range(turns):  # the last column becomes the first row
        seen = seen.transpose(1, 0, 2)[::-1]
    np.testing.assert_array_equal(found.pixels, seen)
    own = {"none": weights, "h": weights[:, ::-1], "v": weights[::-1]}[flip]
    for _ in range(turns):
        own = own.T[::-1]
    np.testing.assert_array_equal(found.weights, own)


def test_as_it_is_is_the_kernel_itself(rng):
    pixels = rng.integers(0, 256, (4, 6, 1), np.uint8)
    found = PoseRenderer(Kernel(pixels))(UNCHANGED)
    assert found.weights is None
    np.testing.assert_array_equal(found.pixels, pixels)


def test_halves_of_a_photograph_are_what_other_libraries_make(astronaut):
    found = PoseRenderer(Kernel(astronaut))(Pose(scale=0.5)).pixels.astype(float)
    wanted = cv2.resize(astronaut, (256, 256), interpolation=cv2.INTER_AREA).astype(float)
    assert np.abs(found - wanted).mean() < 1.5
    assert np.corrcoef(found.ravel(), wanted.ravel())[0, 1] > 0.998


def test_turned_photographs_are_what_other_libraries_make(astronaut):
    part = astronaut[100:180, 200:300]
    found = PoseRenderer(Kernel(part))(Pose(angle=25))
    wanted = skimage.transform.rotate(part, 25, resize=True, order=3, preserve_range=True)
    assert abs(found.pixels.shape[0] - wanted.shape[0]) <= 1
    assert abs(found.pixels.shape[1] - wanted.shape[1]) <= 1
    middle = np.s_[45:65, 50:70]
    moved = [
        np.abs(found.pixels[middle] - np.roll(wanted, (i, j), (0, 1))[middle]).mean()
        for i in (-1, 0, 1)
        for j in (-1, 0, 1)
    ]
    assert min(moved) < 6 < max(moved)  # of two cubic splines whose grids may be half a pixel apart


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
def test_every_type_stays_and_no_value_leaves_the_kernels_range(rng, dtype):
    pixels = rng.integers(100, 200, (20, 30, 2)).astype(dtype)
    for pose in (Pose(0.6), Pose(1.4, 20), Pose(0.7, 100, "h")):
        found = PoseRenderer(Kernel(pixels))(pose).pixels
        assert found.dtype == dtype
        assert found.min() >= 100
        assert found.max() <= 199


def test_floats_far_from_zero_keep_their_digits():
    small = waves(*np.indices((30, 30)))
    near = PoseRenderer(Kernel(small))(Pose(0.8, 10))
    far = PoseRenderer(Kernel(small + 1e6))(Pose(0.8, 10))
    counts = near.weights > 0
    np.testing.assert_allclose(far.pixels[counts] - 1e6, near.pixels[counts], atol=1e-6)


def test_colours_under_transparent_pixels_do_not_show(rng):
    weights = np.zeros((20, 20), np.uint8)
    weights[4:16, 4:16] = 1
    pixels = rng.integers(90, 110, (20, 20, 1), np.uint8)
    loud = np.where(weights[..., None] > 0, pixels, 255).astype(np.uint8)
    for pose in (Pose(0.5), Pose(1, 33), Pose(1.5, 200, "v")):
        quiet, found = (
            PoseRenderer(Kernel(pixels, weights))(pose),
            PoseRenderer(Kernel(loud, weights))(pose),
        )
        np.testing.assert_array_equal(quiet.weights, found.weights)
        counts = found.weights > 0
        np.testing.assert_array_equal(quiet.pixels[counts], found.pixels[counts])
        assert found.pixels[counts].max() < 110


def test_shades_of_alpha_stay_shades():
    ramp = np.tile(np.linspace(0, 255, 40).astype(np.uint8), (40, 1))
    found = PoseRenderer(Kernel(np.full((40, 40, 1), 7, np.uint8), ramp))(Pose(1, 180))
    np.testing.assert_array_equal(found.weights, ramp[::-1, ::-1])
    turned = PoseRenderer(Kernel(np.full((40, 40, 1), 7, np.uint8), ramp))(Pose(1, 45)).weights
    assert len(np.unique(turned)) > 50


@given(
    height=st.integers(1, 30),
    width=st.integers(1, 30),
    scale=st.floats(0.05, 4),
    angle=st.floats(-360, 720),
    flip=st.sampled_from(FLIPS),
)
def test_boxes_hold_the_corners_and_all_that_counts(height, width, scale, angle, flip):
    pose = Pose(scale, angle, flip)
    frame = Frame.of((height, width), pose)
    for x, y in frame.corners:
        assert -0.5 - 1e-9 <= x <= frame.size[1] + 0.5 + 1e-9
        assert -0.5 - 1e-9 <= y <= frame.size[0] + 0.5 + 1e-9
    sides = np.roll(frame.corners, -1, 0) - np.array(frame.corners)
    lengths = np.hypot(*sides.T)
    np.testing.assert_allclose(lengths, np.array([width, height] * 2) * scale, rtol=1e-9)
    pixels = np.arange(height * width, dtype=np.float64).reshape(height, width, 1)
    found = PoseRenderer(Kernel(pixels))(pose)
    if found is not None:
        assert found.pixels.shape[:2] == frame.size
        assert np.isfinite(found.pixels).all()


def test_corners_are_in_the_order_of_the_kernels_own():
    # A quarter turn counter-clockwise brings the top-left corner to the bottom left.
    assert Frame.of((10, 20), Pose(1, 90)).corners == ((0, 20), (0, 0), (10, 0), (10, 20))
    assert Frame.of((10, 20), Pose(2, 0, "h")).corners == ((40, 0), (0, 0), (0, 20), (40, 20))


def poses(scales=None, angles=None, flips=None, max_poses=10_000, kernels=1):
    return Poses.from_options(scales, angles, flips, max_poses, kernels)


def test_nothing_asked_is_no_poses():
    assert poses() is None


def test_ranges_have_their_ends_and_lists_stay_lists():
    asked = poses("0.5:2:0.1", "0:360:15", "h")
    assert asked.scales.values[:2] == (0.5, 0.6)
    assert asked.scales.values[-1] == 2
    assert len(asked.scales.values) == 16
    assert asked.angles.values == tuple(range(0, 360, 15))
    assert asked.flips == ("none", "h")
    assert asked.has_ranges
    assert asked.count == 16 * 24 * 2
    listed = poses([2, 0.5, 1, 1], "0,90")
    assert listed.scales.values == (0.5, 1, 2)
    assert not listed.has_ranges


def test_a_range_without_a_step_takes_its_spacing_from_the_kernel():
    asked = poses("0.5:2", "-20:40")
    assert (asked.scales.values, asked.scales.step) == ((0.5, 2), None)
    assert (asked.angles.span, asked.angles.is_full_turn) == ((-20, 40), False)
    assert asked.has_ranges
    assert asked.count is None
    small, large = asked.of((10, 10)), asked.of((20, 20))
    for size, made in ((10, small), (20, large)):
        scales, angles = (
            sorted({getattr(pose, name) for pose in made}) for name in ("scale", "angle")
        )
        assert (scales[0], scales[-1], angles[0], angles[-1]) == (0.5, 2, -20, 40)
        # A corner of the largest pose moves by at most a pixel, and by more than half of one.
        corner = math.hypot(size, size) / 2
        assert 0.5 < np.diff(scales).max() * corner <= 1 + 1e-3
        assert 0.5 < math.radians(np.diff(angles).max()) * 2 * corner <= 1 + 1e-3
    assert poses("1:1", "7:7").count == 1


@pytest.mark.parametrize("text", ["any", "0:360", "-180:180", "10:400"])
def test_any_angle_is_a_full_turn(text):
    angles = poses(None, text).angles
    assert (angles.is_full_turn, angles.span, angles.step) == (True, (0, 360), None)
    made = sorted(pose.angle for pose in poses(None, text).of((30, 40)))
    assert made[0] == 0
    assert np.diff([*made, 360]).max() == pytest.approx(math.degrees(1 / 25), rel=0.02)


def test_only_a_range_that_comes_round_again_is_a_full_turn():
    assert poses(None, "0:350:10").angles.is_full_turn
    assert not poses(None, "0:340:10").angles.is_full_turn
    assert not poses(None, "0:350").angles.is_full_turn
    assert not poses(None, "0,120,240").angles.is_full_turn


@pytest.mark.parametrize(
    ("asked", "value", "reported"),
    [
        ("-5:5", 5.00004, 5.0),
        ("-5:5", -7, -5.0),
        ("-5:5", 359.5, -0.5),
        ("350:370", 1.25, 361.25),
        ("any", 359.99999, 0.0),
        ("any", -1, 359.0),
        ("any", 12.345678, 12.3457),
    ],
)
def test_reported_angles_lie_in_the_range(asked, value, reported):
    assert poses(None, asked).angles.rounded(value) == reported


def test_poses_of_the_kernels_own_pixels_are_whole():
    assert poses(None, "0,90,180,270", "h,v").is_of_quarter_turns
    assert poses([1], [-90]).is_of_quarter_turns
    assert not poses("1,2").is_of_quarter_turns
    assert not poses(None, "0,45").is_of_quarter_turns
    assert not poses(None, "0:90:90").is_of_quarter_turns


def test_poses_nearest_to_the_kernel_as_it_is_come_first():
    made = poses("0.5,1,1.25,2", "0:360:90", "h").of((30, 40))
    assert list(dict.fromkeys(pose.flip for pose in made)) == ["none", "h"]
    assert list(dict.fromkeys(pose.scale for pose in made)) == [1, 1.25, 0.5, 2]
    assert [pose.angle for pose in made[:4]] == [0, 90, 270, 180]


def test_a_pose_that_is_another_one_is_searched_once():
    # Upside down is left to right after half a turn.
    assert poses(None, "0,180", "h,v").count == 4
    assert poses(None, "0,360,-360").count == 1


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        ({"scales": "2:1:0.1"}, "empty range"),
        ({"scales": "1:2:0"}, "empty range"),
        ({"angles": "0:90:1:1"}, "no range; give LO:HI or LO:HI:STEP"),
        ({"angles": "90:0"}, "empty range"),
        ({"angles": ":"}, "cannot be read at ''.*, or any"),
        ({"angles": "all"}, "cannot be read at 'all'.*, or any"),
        ({"scales": "any"}, "cannot be read at 'any'.*LO:HI:STEP$"),
        ({"scales": "0:2"}, "0.01 to 100"),
        ({"angles": ""}, "is empty"),
        ({"angles": []}, "is empty"),
        ({"scales": "1,two"}, "cannot be read at 'two'"),
        ({"scales": "nan"}, "cannot be read"),
        ({"scales": 0}, "0.01 to 100"),
        ({"scales": "-1:2:0.5"}, "0.01 to 100"),
        ({"angles": 1e9}, "-3600 to 3600"),
        ({"scales": "0.1:90:0.0001"}, "899,001 steps"),
        ({"flips": "x"}, "give h, v or h,v"),
        ({"flips": 7}, "give h, v or h,v"),
        ({"angles": True}, "cannot be read"),
    ],
)
def test_what_cannot_be_read_is_said(asked, text):
    with pytest.raises(InputError, match=text):
        poses(**asked)


def test_ranges_without_a_step_have_as_many_poses_as_their_kernels_need():
    asked = poses("0.5:2", "any", "h", max_poses=3000)
    asked.check_count([(12, 12)])
    with pytest.raises(
        InputError, match=r"14 scales x 107 angles x 2 flips of 2 kernels are 5,992"
    ):
        asked.check_count([(12, 12), (12, 12)])


def test_too_many_poses_are_counted_in_the_error():
    with pytest.raises(InputError, match=r"101 scales x 360 angles x 2 flips are 72,720 poses"):
        poses("1:2:0.01", "0:359:1", "h")
    with pytest.raises(InputError, match=r"of 3 kernels are 30 poses.*\(max_poses\) 29"):
        poses(list(np.linspace(1, 2, 10)), max_poses=29, kernels=3)
