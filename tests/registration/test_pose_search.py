"""Poses found: plantings by OpenCV at known poses, closed forms, and kernels that are awkward."""

from __future__ import annotations

import math
import threading

import cv2
import numpy as np
import pytest
from helpers.grids import thinned
from scipy import ndimage

from patchsim.metrics import Kernel, Visibility
from patchsim.poses.pose import Frame, Pose
from patchsim.registration import Fitted, PoseSearch, Range, descent, native, score
from patchsim.registration.fitted import corners
from patchsim.registration.levels import KernelLevels, octave
from patchsim.registration.loops import Aim
from patchsim.registration.planes import KernelPlanes, Planes, Unit

ONCE = Range(1.0, 1.0)
ANY = Range(0.0, 360.0)


def planted(image, kernel, place, flip="none"):
    """A copy of an image with a kernel at x, y, degrees, scale: by cv2, the mean of 4x4 samples."""
    mirrored = {"none": kernel, "h": kernel[:, ::-1], "v": kernel[::-1]}[flip]
    x, y, degrees, scale = place
    height, width = kernel.shape[:2]
    fine = 4
    matrix = cv2.getRotationMatrix2D((0, 0), degrees, scale * fine)
    matrix[:, 2] += np.subtract((x * fine, y * fine), 0.5)
    matrix[:, 2] -= matrix[:, :2] @ ((width - 1) / 2, (height - 1) / 2)
    size = image.shape[1] * fine, image.shape[0] * fine
    # The border is repeated, so that no pixel of the kernel is mixed with nothing.
    wide = cv2.copyMakeBorder(np.ascontiguousarray(mirrored), 2, 2, 2, 2, cv2.BORDER_REPLICATE)
    beside = matrix.copy()
    beside[:, 2] -= matrix[:, :2] @ (2, 2)
    small = image.shape[1::-1]
    moved = cv2.warpAffine(wide, beside, size, flags=cv2.INTER_CUBIC)
    moved = cv2.resize(moved, small, interpolation=cv2.INTER_AREA).reshape(image.shape)
    inside = cv2.warpAffine(np.ones((height, width), np.float32), matrix, size)
    inside = cv2.resize(inside, small, interpolation=cv2.INTER_AREA)[..., None]
    return (np.where(inside > 0.5, moved, image)).astype(image.dtype)


def turned_by(one, other):
    return abs((one - other + 180) % 360 - 180)


def check(fit, place, *, pixels, degrees, share):
    assert math.hypot(fit.x - place[0], fit.y - place[1]) < pixels
    assert turned_by(fit.pose.angle, place[2]) < degrees
    assert abs(fit.pose.scale / place[3] - 1) < share


@thinned(
    dtype=["uint8", "uint16", "float32", "float64"],
    metric=["zncc", "ncc", "ssd", "sad"],
    flip=["none", "h"],
)
def test_turned_and_scaled_copies(astronaut, coffee, metric, flip, dtype):
    kernel = astronaut[100:148, 200:261]
    place = (81.3, 92.8, 37.0, 1.2)
    image = planted(coffee[:200, :260], kernel, place, flip)
    gain = {"uint8": 1, "uint16": 257, "float32": 1 / 255, "float64": 1e-3}[dtype]
    image, kernel = ((a.astype(np.float64) * gain).astype(dtype) for a in (image, kernel))
    search = PoseSearch(image, metric, 255.0 * gain)
    found = search.find(Kernel(kernel), Range(0.8, 1.3), ANY, ["none", "h"], most=1)
    best = found[0]
    assert best.pose.flip == flip
    check(best, place, pixels=0.1, degrees=0.2, share=0.005)
    wanted = score(image, Kernel(kernel), best.x, best.y, best.pose, metric, 255.0 * gain)
    assert best.score == pytest.approx(wanted, abs=1e-11)


@pytest.mark.parametrize("metric", ["zncc", "sad"])
def test_every_copy_is_found_and_nothing_else(astronaut, metric):
    rng = np.random.default_rng(3)
    image = ndimage.gaussian_filter(rng.integers(0, 256, (360, 480, 1)).astype(float), (2, 2, 0))
    image = np.clip((image - image.mean()) * 4 + 128, 0, 255).astype(np.uint8)
    kernel = astronaut[20:80, 200:250, :1]
    places = []
    for row in range(3):
        for column in range(4):
            middle = 60 + 120 * column + rng.uniform(-9, 9), 60 + 120 * row + rng.uniform(-9, 9)
            place = (*middle, rng.uniform(0, 360), rng.uniform(0.75, 1.35))
            image = planted(image, kernel, place)
            places.append(place)
    threshold = 0.9 if metric == "zncc" else 0.96
    found = PoseSearch(image, metric, 255.0).find(
        Kernel(kernel), Range(0.7, 1.4), ANY, threshold=threshold
    )
    assert len(found) == len(places)
    for place in places:
        near = [fit for fit in found if math.hypot(fit.x - place[0], fit.y - place[1]) < 2]
        assert len(near) == 1
        check(near[0], place, pixels=0.25, degrees=0.4, share=0.012)


@pytest.mark.parametrize("metric", ["zncc", "ncc", "ssd"])
def test_a_threshold_finds_what_scores_it(astronaut, metric):
    """The score of the best pose, found without a threshold, keeps it where it is the threshold."""
    random = np.random.default_rng(0)
    image = np.ascontiguousarray(astronaut[..., :1])
    search, angles, scales = PoseSearch(image, metric, 255.0), Range(0.0, 360.0), Range(1.0, 1.0)
    lost = 0
    for _ in range(12):
        size = int(random.integers(20, 60))
        top, left = random.integers(60, 380, 2)
        around = image[top - 40 : top + size + 40, left - 40 : left + size + 40, 0].astype(float)
        turned = ndimage.rotate(around, random.uniform(0, 360), reshape=False, order=1)
        noisy = turned[40:-40, 40:-40] + random.normal(0, 3, (size, size))
        kernel = Kernel(np.clip(noisy, 0, 255).astype(np.uint8)[..., None])
        best = max(search.find(kernel, scales, angles, most=1), key=lambda fit: fit.score)
        found = search.find(kernel, scales, angles, threshold=best.score)
        lost += not found
    assert lost == 0


def test_an_exact_copy_scores_1(coffee):
    kernel = coffee[40:71, 60:100]
    found = PoseSearch(coffee[:150, :200], "zncc", 255.0).find(
        Kernel(kernel), Range(0.9, 1.1), ANY, threshold=0.8
    )
    assert found[0].score == 1
    assert (found[0].x, found[0].y, found[0].pose.angle, found[0].pose.scale) == (80, 55.5, 0, 1)


@pytest.mark.parametrize("masked", ["mask", "shades", "channels"])
def test_masked_kernels(astronaut, coffee, masked):
    rng = np.random.default_rng(8)
    kernel = astronaut[90:140, 190:240].copy()
    row, column = np.mgrid[:50, :50] - 24.5
    inside = np.hypot(row, column) < 24
    weights = inside.astype(np.uint8)
    if masked == "shades":
        weights *= np.rint(255 - 4 * np.hypot(row, column)).astype(np.uint8)
    elif masked == "channels":
        weights = weights[..., None] * np.array([1, 2, 0], np.uint8)
    place = (120.4, 70.7, 211.0, 0.9)
    image = planted(coffee[:160, :240], kernel, place)
    kernel[~inside] = rng.integers(0, 256, kernel[~inside].shape)
    found = PoseSearch(image, "zncc", 255.0).find(
        Kernel(kernel, weights), Range(0.7, 1.2), ANY, most=1
    )
    check(found[0], place, pixels=0.1, degrees=0.3, share=0.01)
    assert found[0].score > 0.95


def test_hidden_pixels_have_no_say(astronaut, coffee):
    rng = np.random.default_rng(5)
    kernel = astronaut[90:150, 190:250]
    place = (120.4, 70.7, 25.0, 1.0)
    image = planted(coffee[:160, :240], kernel, place)
    seen = np.ones(image.shape[:2], np.uint8)
    seen[50:80, 125:150] = 0
    image[seen == 0] = rng.integers(0, 256, image[seen == 0].shape)
    search = PoseSearch(image, "zncc", 255.0, visible=Visibility(seen, 1))
    found = search.find(Kernel(kernel), ONCE, ANY, most=1)
    check(found[0], place, pixels=0.1, degrees=0.3, share=1e-9)
    assert found[0].score > 0.95


def test_fixed_and_limited_poses(astronaut, coffee):
    kernel = astronaut[100:148, 200:261]
    image = planted(coffee[:200, :260], kernel, (81.3, 92.8, 37.0, 1.2))
    search = PoseSearch(image, "zncc", 255.0)
    fixed = search.find(Kernel(kernel), Range(1.2, 1.2), Range(37, 37), most=1)[0]
    assert fixed.pose == Pose(1.2, 37)
    assert math.hypot(fixed.x - 81.3, fixed.y - 92.8) < 0.1
    # The best within a range that ends before the optimum lies at its end.
    short = search.find(Kernel(kernel), Range(1.1, 1.17), Range(20, 35), most=1)[0]
    assert short.pose.angle == pytest.approx(35)
    assert short.pose.scale == pytest.approx(1.17)
    assert short.score < fixed.score
    negative = search.find(Kernel(kernel), Range(1.2, 1.2), Range(-400, -300), most=1)[0]
    assert negative.pose.angle == pytest.approx(37 - 360, abs=0.2)


def test_bounds(coffee):
    kernel = coffee[40:71, 60:100]
    picture = coffee[:150, :200]
    whole = PoseSearch(picture, "zncc", 255.0)
    part = PoseSearch(picture, "zncc", 255.0, bounds=(60, 0, 150, 200))
    assert whole.find(Kernel(kernel), ONCE, Range(0, 0), most=1)[0].score == 1
    found = part.find(Kernel(kernel), ONCE, Range(0, 0), most=1)
    for fit in found:
        assert min(y for _, y in fit.corners) >= 59 - 1e-9
    assert found[0].score < 1


def test_refined_starts(astronaut, coffee):
    kernel = Kernel(astronaut[100:148, 200:261])
    place = (81.3, 92.8, 37.0, 1.2)
    image = planted(coffee[:200, :260], kernel.pixels, place)
    search = PoseSearch(image, "zncc", 255.0)
    start = Fitted(81.9, 92.1, Pose(1.21, 36.0), 0.0, (48, 61))
    value = score(image, kernel, start.x, start.y, start.pose, "zncc", 255.0)
    wide = {"scales": Range(0.5, 2.0), "angles": ANY}
    best = search.refine(kernel, start, **wide)
    check(best, place, pixels=0.1, degrees=0.2, share=0.005)
    moved = search.refine(kernel, start, free=("place",), **wide)
    assert moved.pose == start.pose
    assert value < moved.score < best.score
    turned = search.refine(kernel, start, free=("angle",), **wide)
    assert (turned.x, turned.y, turned.pose.scale) == pytest.approx((81.9, 92.1, 1.21))
    assert value < turned.score < best.score
    again = search.refine(kernel, best, **wide)
    assert again.score >= best.score
    lost = Fitted(200.0, 30.0, Pose(1.0, 80.0), 0.0, (48, 61))
    assert search.refine(kernel, lost, **wide).score >= score(
        image, kernel, 200.0, 30.0, lost.pose, "zncc", 255.0
    )


def test_threads_change_nothing(astronaut, coffee):
    kernel = Kernel(astronaut[100:148, 200:261])
    image = planted(coffee[:200, :260], kernel.pixels, (81.3, 92.8, 37.0, 1.2))
    one, three = (
        PoseSearch(image, "zncc", 255.0, threads=threads).find(
            kernel, Range(0.8, 1.3), ANY, threshold=0.5
        )
        for threads in (1, 3)
    )
    assert one == three != []


def test_little_work_starts_no_thread(astronaut, coffee, monkeypatch):
    kernel = Kernel(astronaut[100:148, 200:261])
    image = planted(coffee[:200, :260], kernel.pixels, (81.3, 92.8, 37.0, 1.2))
    started, start = [], threading.Thread.start

    def counted(thread):
        started.append(thread.name)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", counted)
    search = PoseSearch(image, "sad", 255.0, threads=3)
    near = Fitted(81.5, 92.6, Pose(1.21, 36.8), 0.0, (48, 61))
    search.refine(kernel, near, scales=Range(0.5, 2.0), angles=ANY)
    assert started == []
    poses = np.tile([81.3, 92.8, math.radians(37), math.log(1.2)], (600, 1))
    planes = Planes(image, None)
    plane = KernelPlanes(KernelLevels(kernel), planes.unit)[0]
    aim = Aim("zncc", 255.0, 1, 0.0, False, (True,) * 4, (-9, -1), (9, 1), 1, 0)
    descent.refine(planes[0], plane, poses, aim, 3)
    assert started


def test_without_the_extension(astronaut, coffee, monkeypatch):
    kernel = Kernel(astronaut[100:124, 200:230, :1])
    place = (41.3, 42.8, 37.0, 1.1)
    image = planted(coffee[:80, :90, :1], kernel.pixels, place)

    def found():
        return PoseSearch(image, "zncc", 255.0).find(kernel, Range(0.9, 1.2), ANY, most=1)[0]

    native_one = found()
    monkeypatch.setattr(native, "extension", lambda *_: None)
    plain = found()
    check(plain, place, pixels=0.4, degrees=1, share=0.05)
    assert (plain.x, plain.y) == pytest.approx((native_one.x, native_one.y), abs=0.01)
    assert plain.score == pytest.approx(native_one.score, abs=1e-4)


def test_a_turned_plane_wave_with_an_envelope():
    # A wave under a Gaussian bell has one optimum; its pose has a closed form.
    def wave(u, v):
        return 0.5 + 0.4 * np.exp(-(u * u + 2 * v * v) / 150) * np.sin(u / 2.1 + 0.4)

    row, column = np.mgrid[:31, :41] + 0.5
    kernel = wave(column - 20.5, row - 15.5)[..., None]
    y, x = np.mgrid[:90, :110] + 0.5
    place = (52.37, 41.81, 63.0, 1.15)
    dx, dy, turn = x - place[0], y - place[1], np.radians(place[2])
    u = (dx * np.cos(turn) - dy * np.sin(turn)) / place[3]
    v = (dx * np.sin(turn) + dy * np.cos(turn)) / place[3]
    image = wave(u, v)[..., None]
    for metric in ("zncc", "ncc", "ssd", "sad"):
        found = PoseSearch(image, metric, 1.0).find(Kernel(kernel), Range(0.9, 1.4), ANY, most=1)
        check(found[0], place, pixels=0.01, degrees=0.02, share=5e-4)
        assert found[0].score > 0.999


def disc(size, middle, radius):
    y, x = np.mgrid[: size[0], : size[1]] + 0.5
    edge = radius - np.hypot(x - middle[0], y - middle[1])
    return np.rint(40 + 160 * np.clip(edge + 0.5, 0, 1)).astype(np.uint8)[..., None]


def test_a_disc_is_told_once():
    kernel = Kernel(disc((31, 31), (15.5, 15.5), 10))
    image = np.maximum(disc((120, 160), (50.3, 60.8), 10), disc((120, 160), (110.6, 40.2), 12))
    found = PoseSearch(image, "zncc", 255.0).find(kernel, Range(0.8, 1.4), ANY, threshold=0.97)
    assert len(found) == 2
    for fit, place in zip(
        sorted(found, key=lambda f: f.x), ((50.3, 60.8, 1.0), (110.6, 40.2, 1.2)), strict=True
    ):
        assert math.hypot(fit.x - place[0], fit.y - place[1]) < 0.05
        assert fit.pose.scale == pytest.approx(place[2], abs=0.005)


def test_a_square_is_told_once():
    image = np.full((100, 120, 1), 60, np.uint8)
    image[40:60, 50:70] = 200
    found = PoseSearch(image, "zncc", 255.0).find(
        Kernel(image[30:70, 40:80].copy()), ONCE, ANY, threshold=0.9
    )
    assert [(fit.x, fit.y, fit.score) for fit in found] == [(60, 50, 1)]


@pytest.mark.parametrize("metric", ["zncc", "ncc", "ssd", "sad"])
@pytest.mark.parametrize("shape", [(4, 4), (1, 1), (1, 12), (3, 30), (10, 60), (40, 67), (39, 66)])
def test_awkward_kernels_end(metric, shape):
    rng = np.random.default_rng(1)
    image = ndimage.gaussian_filter(rng.random((40, 67, 1)), (1, 1, 0))
    image = np.rint(255 * (image - image.min()) / np.ptp(image)).astype(np.uint8)
    kernel = Kernel(image[: shape[0], : shape[1]].copy())
    for scales, angles in ((ONCE, Range(0, 0)), (Range(0.8, 1.2), ANY)):
        search = PoseSearch(image, metric, 255.0)
        found = search.find(kernel, scales, angles, threshold=0.7)
        assert all(0.7 <= fit.score <= 1 for fit in found)
        best = search.find(kernel, scales, angles, most=1)
        assert len(best) <= 4096
        if min(shape) > 2:
            # Few pixels are like others elsewhere, of which only the best are followed.
            assert max(fit.score for fit in best) >= (1 if math.prod(shape) > 16 else 0.95)


@pytest.mark.parametrize("flat", ["kernel", "picture", "both"])
@pytest.mark.parametrize("metric", ["zncc", "ncc", "ssd", "sad"])
def test_flat_pictures_end(metric, flat):
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (90, 120, 2), dtype=np.uint8)
    kernel = image[10:30, 20:50].copy()
    if flat != "kernel":
        image[:] = 77
    if flat != "picture":
        kernel[:] = 77
    found = PoseSearch(image, metric, 255.0).find(
        Kernel(kernel), Range(0.7, 1.5), ANY, threshold=0.99
    )
    if metric in ("ssd", "sad"):
        assert (len(found) > 0) == (flat == "both")
    assert len(found) <= 3 * 4096


def test_too_large_kernels_are_not_found(coffee):
    search = PoseSearch(coffee[:50, :60], "zncc", 255.0)
    assert search.find(Kernel(coffee[:60, :60]), ONCE, Range(0, 0), most=3) == []
    assert search.find(Kernel(coffee[:20, :20]), Range(4, 5), ANY, most=3) == []


@pytest.mark.parametrize("flip", ["none", "h", "v"])
@pytest.mark.parametrize("angle", [0.0, 90.0, 33.0, 180.0])
def test_corners_are_those_of_frames(flip, angle):
    pose = Pose(1.3, angle, flip)
    frame = Frame.of((20, 31), pose)
    middle = frame.size[1] / 2, frame.size[0] / 2
    found = corners((20, 31), *middle, pose)
    assert np.array(found) == pytest.approx(np.array(frame.corners))


@pytest.mark.parametrize("seed", range(6))
def test_the_best_pose_in_noise_scores_no_less_than_the_true_one(astronaut, coffee, seed):
    # sad has several maxima a few percent of the scale apart there.
    rng = np.random.default_rng(seed)
    kernel = astronaut[100:148, 200:248]
    place = (120.4, 90.7, rng.uniform(0, 360), rng.uniform(0.55, 0.8))
    image = planted(coffee[:200, :260], kernel, place) + rng.normal(0, 40, (200, 260, 3))
    search = PoseSearch(np.uint8(np.clip(np.rint(image), 0, 255)), "sad", 255.0)
    scales = Range(0.5, 2.0)
    best = search.find(Kernel(kernel), scales, ANY, most=1)[0]
    true = Fitted(*place[:2], Pose(place[3], place[2]), 0.0, (48, 48))
    there = search.refine(Kernel(kernel), true, scales=scales, angles=ANY)
    assert best.score >= there.score - 1e-4


@pytest.mark.parametrize(
    ("low", "high"),
    [(0.5, 2.0), (1.0, 1.0), (0.7071, 0.7072), (2**-0.5, 2**0.5), (1.41421, 1.5), (0.3, 5.0)],
)
def test_octaves_lie_within_the_range_and_hold_their_scales_when_rounded(low, high):
    levels_ = KernelLevels(Kernel(np.zeros((512, 512, 1), np.uint8)))
    kernels = KernelPlanes(levels_, Unit(0.0, 1.0))
    limits = PoseSearch(np.zeros((9, 9, 1), np.uint8), "sad", 255.0)._limits(
        Range(low, high), ONCE, None, 1, 0.5, 0
    )
    ends = []
    for halvings, least, most in descent.octaves(kernels, limits):
        assert low - 1e-12 <= math.exp(least) <= math.exp(most) <= high + 1e-12
        for edge in (least, most):
            if edge not in limits.scales:
                assert octave(round(math.exp(edge), 4), levels_.deepest) == halvings
        ends += [least, most]
    assert ends == sorted(ends)
    assert (ends[0], ends[-1]) == pytest.approx(limits.scales)


def test_the_best_of_noise_is_found_however_low_it_scores(astronaut):
    image = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    kernel = Kernel(astronaut[:200, 150:330].copy())
    found = PoseSearch(image, "zncc", 255.0).find(kernel, Range(0.5, 1.0), ANY, most=3)
    assert len(found) >= 3
    assert found[0].score < 0.1


@pytest.mark.parametrize("size", [(12, 200), (90, 80)])
def test_detail_as_fine_as_pixels_is_found_by_some_of_them(rng, size):
    """Larger than a first look compares, and no smaller level shows it."""
    image = rng.integers(0, 256, (260, 300, 1), dtype=np.uint8)
    kernel = rng.integers(0, 256, (*size, 1), dtype=np.uint8)
    kernels = KernelPlanes(KernelLevels(Kernel(kernel)), Unit(0, 1))
    assert kernels[descent.first_level(kernels)].counted > 512
    place = (151.3, 127.9, 67.0, 1.0)
    found = PoseSearch(planted(image, kernel, place), "zncc", 255.0).find(
        Kernel(kernel), ONCE, ANY, most=1
    )
    check(found[0], place, pixels=0.1, degrees=0.1, share=1e-9)


@pytest.mark.parametrize(
    ("side", "poses", "count"), [(100, 1000, 512), (1000, 400, 250), (4000, 10_000, 100)]
)
def test_a_first_look_takes_a_bounded_number_of_products(side, poses, count):
    # A checkerboard is grey in half the size, so that it is looked for at its full one.
    pixels = np.indices((64, 64)).sum(0) % 2 * 255
    kernel = Kernel(pixels.astype(np.uint8)[..., None])
    planes = KernelPlanes(KernelLevels(kernel), Unit(0.0, 1.0))
    assert descent.first_level(planes) == 0
    assert descent.first_pixels(planes[0], poses, side, side) == count
