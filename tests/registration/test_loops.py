"""The loops in C against the same in NumPy: variants, metrics, types, masks and visibility."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from helpers.grids import thinned
from scipy import ndimage

from patchsim.machine import extensions
from patchsim.metrics import Kernel, Visibility
from patchsim.poses.pose import Pose
from patchsim.registration import (
    levels,
    looked_poses,
    loops,
    native,
    plain,
    plain_look,
    planes,
    scores,
    scoring,
)
from patchsim.registration.plain import Aim

if shutil.which("cc"):
    from patchsim.registration import _poses  # a failed build is an error where a compiler is
else:
    _poses = pytest.importorskip(
        "patchsim.registration._poses", reason="the C extension was not built: no compiler"
    )
METRICS = ("sad", "ssd", "ncc", "zncc")
DTYPES = ("uint8", "uint16", "float32", "float64")
MASKS = ("none", "mask", "shades", "channels")


@pytest.fixture(params=_poses.variants(), autouse=True)
def variant(request, monkeypatch):
    monkeypatch.setenv(extensions.VARIANT_SETTING, request.param)
    return request.param


def smooth(rng, dtype, height, width, channels):
    values = ndimage.gaussian_filter(rng.random((height, width, channels)), (1.5, 1.5, 0))
    values = (values - values.min()) / np.ptp(values)
    if dtype.startswith("uint"):
        return np.rint(values * np.iinfo(dtype).max).astype(dtype)
    return (values * 3 - 1).astype(dtype)


def weights_of(rng, masked, shape):
    if masked == "none":
        return None
    if masked == "channels":
        return rng.integers(0, 3, shape, dtype=np.uint8)
    row, column = np.mgrid[: shape[0], : shape[1]]
    middle = (shape[0] - 1) / 2, (shape[1] - 1) / 2
    inside = ((row - middle[0]) / middle[0]) ** 2 + ((column - middle[1]) / middle[1]) ** 2 < 1.1
    return inside * (np.uint8(1) if masked == "mask" else rng.integers(1, 9, shape[:2], np.uint8))


class Case:
    """A picture with a kernel of its own pixels, as the loops take them."""

    def __init__(self, rng, dtype, masked="none", *, sees_all=True, channels=2):
        self.image = smooth(rng, dtype, 47, 61, channels)
        pixels = self.image[11:28, 17:40].copy()
        self.kernel = Kernel(pixels, weights_of(rng, masked, pixels.shape))
        self.visible = None
        if not sees_all:
            self.visible = Visibility(rng.integers(0, 5, (47, 61), dtype=np.uint8), 4)
        # Ends that the picture exceeds, so that it shows whether what is sampled is limited.
        self.limits = np.quantile(self.image, (0.02, 0.98), axis=(0, 1)).T.copy()
        self.planes = planes.Planes(self.image, self.visible, self.limits)
        self.levels = levels.KernelLevels(self.kernel)
        self.kernels = planes.KernelPlanes(self.levels, self.planes.unit)
        self.full = 255.0 if dtype == "uint8" else 200.0


def aim_of(case, metric, **changes):
    wide = Aim(
        metric, case.full, 3, 0.0, False, (True,) * 4, (-math.inf, -0.5), (math.inf, 0.5), 1, 0
    )
    return replace(wide, **changes)


# The kernel's place; at the picture's border, and far outside it.
POSES = np.array(
    [[28.4, 18.6, 0.03, 0.02], [28.2, 19.1, 3.0, 0.1], [3.0, 40.0, 1.0, -0.1], [90, -30, 0, 0]]
)
AIMS = (
    {},
    {"is_cubic": True},
    {"steps": 0},
    {"free": (True, True, True, False)},
    {"free": (True, True, False, False), "is_cubic": True},
    {"every": 2, "around": 3},
    {"low": (0.0, 0.01), "high": (0.04, 0.03)},
)


@cache
def refined(metric, dtype, masked, sees_all):
    """A case, and what NumPy makes of its poses; the same for all variants."""
    case = Case(np.random.default_rng(20), dtype, masked, sees_all=sees_all)
    aims = [aim_of(case, metric, **changes) for changes in AIMS]
    return case, [(a, *plain.refine(case.planes[0], case.kernels[0], POSES, a)) for a in aims]


@thinned(metric=METRICS, dtype=["uint8", "float32"], masked=MASKS, sees_all=[True, False])
def test_refined_poses(metric, dtype, masked, sees_all):
    case, results = refined(metric, dtype, masked, sees_all)
    for aim, wanted, expected in results:
        found, values = loops.refine(case.planes[0], case.kernels[0], POSES, aim)
        assert values == pytest.approx(expected, abs=2e-4)
        # Far from an optimum steps are large and differ more.
        assert np.abs(found - wanted)[0].max() < 2e-3
        assert np.abs(found - wanted).max() < 0.05


@pytest.mark.parametrize("masked", ["none", "mask", "channels"])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("metric", METRICS)
def test_first_looks(rng, metric, dtype, masked):
    case = Case(rng, dtype, masked)
    kernel, plane = case.kernels[1], case.planes[1]
    # Eleven poses: a whole batch and part of one; the last but one has no place.
    poses = np.stack([np.linspace(0, 6, 11), np.linspace(-0.3, 0.3, 11)], 1)
    radius = math.ceil(kernel.reach * math.exp(0.3) + 0.5)
    values, mask = loops.turn(kernel, poses, radius, 0.3)
    wanted, inside = plain_look.turn(kernel, poses, radius, 0.3)
    assert np.array_equal(mask, inside)
    assert np.abs(values - wanted).max() < 1e-3
    assert mask.any((1, 2, 3)).all()
    shapes = planes.Turned(poses, wanted, inside, np.zeros((11, 2)))
    bounds = np.tile(np.array([2, 20, 3, 30], np.int32), (11, 1))
    bounds[3:7] = 0, 23, 0, 30
    bounds[9] = 5, 4, 0, 30
    for rows in (range(24), range(5, 9)):
        found = loops.scores(plane, shapes, metric, case.full, rows, bounds)
        expected = plain_look.scores(plane, shapes, metric, case.full, rows, bounds)
        assert found.shape == expected.shape == (11, len(rows), 31)
        assert np.abs(found - expected).max() < (2e-5 if dtype == "uint8" else 4e-3)
        assert (found[9] == planes.OUTSIDE).all()


@pytest.mark.parametrize("masked", ["none", "mask", "channels"])
@pytest.mark.parametrize("metric", ["zncc", "ncc"])
def test_first_looks_at_rounded_kernels(rng, metric, masked):
    case = Case(rng, "uint8", masked)
    kernel, plane = case.kernels[1], case.planes[1]
    poses = np.stack([np.linspace(0, 6, 11), np.linspace(-0.3, 0.3, 11)], 1)
    how = kernel, poses, math.ceil(kernel.reach * math.exp(0.3) + 0.5), 0.3
    values, mask = loops.turn(*how, metric)
    wanted, _ = plain_look.turn(*how, metric)
    assert np.array_equal(values, wanted)
    assert np.array_equal(values, np.rint(values))
    assert 120 < np.abs(values).max() < 128
    assert metric == "ncc" or not values.sum((2, 3)).any()
    shapes = planes.Turned(poses, values, mask, np.zeros((11, 2)))
    bounds = np.tile(np.array([0, 23, 0, 30], np.int32), (11, 1))
    arguments = metric, case.full, range(24), bounds
    found = loops.scores(plane, shapes, *arguments)
    expected = plain_look.scores(plane, shapes, *arguments)
    assert np.abs(found - expected).max() < 2e-5
    # By the inequality of Cauchy and Schwarz; a few taps lie up to a level beside, not half of one.
    given = planes.Turned(poses, plain_look.turn(*how)[0], mask, np.zeros((11, 2)))
    exact = plain_look.scores(plane, given, *arguments)
    level = np.sqrt(
        (mask & (values != 0)).sum((1, 2, 3)) / (values.astype(float) ** 2).sum((1, 2, 3))
    )
    assert (np.abs(expected - exact).max((1, 2)) < level).all()
    for bar in np.quantile(expected, (0.6, 0.95)).tolist():
        pruned = loops.scores(plane, shapes, *arguments, bar)
        reach = expected >= bar + 1e-4
        assert 0 < reach.sum() < reach.size / 2
        assert np.array_equal(pruned[reach], found[reach])
        assert (pruned[~reach] < bar + 1e-4).all()


@pytest.mark.parametrize("masked", ["none", "mask", "channels"])
@pytest.mark.parametrize("metric", METRICS)
def test_kernels_of_a_pass_count_what_they_have_in_common(rng, metric, masked):
    case = Case(rng, "uint8", masked)
    kernel, plane = case.kernels[1], case.planes[1]
    angles = np.radians(np.concatenate([np.arange(0, 360, 6), [0.5, 33.0]]))
    poses = np.column_stack([angles, np.zeros(len(angles))])
    how = kernel, poses, math.ceil(kernel.reach + 0.5), 0.3
    rounded_for = metric if metric in ("zncc", "ncc") else None
    values, mask = loops.turn(*how, rounded_for, shares_masks=True)
    wanted, inside = plain_look.turn(*how, rounded_for, shares_masks=True)
    assert np.array_equal(mask, inside)
    assert np.abs(values - wanted).max() < 1e-3
    assert not values[~np.broadcast_to(mask, values.shape)].any()
    # No more than each of them counts alone, and not much less; angles and those half a turn
    # further alike.
    _, own = plain_look.turn(*how, rounded_for)
    assert not (mask & ~own).any()
    assert (mask.sum((1, 2, 3)) >= 0.7 * own.sum((1, 2, 3))).all()
    order = planes.in_passes(poses)
    passes = [mask[order[first : first + 8]] for first in range(0, 62, 8)]
    shared = sum((one == one[0]).all() for one in passes)
    assert shared == 0 if masked == "channels" else shared > len(passes) // 2  # scattered pixels
    shapes = planes.Turned(poses, values, mask, np.zeros((len(poses), 2)))
    bounds = np.tile(np.array([0, 23, 2, 29], np.int32), (len(poses), 1))
    arguments = metric, case.full, range(24), bounds
    found = loops.scores(plane, shapes, *arguments, 0.3)
    expected = plain_look.scores(plane, shapes, *arguments)
    reach = expected >= 0.3 + 1e-4
    assert reach.any()
    assert np.abs(found - expected)[reach].max() < 2e-5
    assert (found[~reach] < 0.3 + 1e-4).all() or metric in ("sad", "ssd")


def test_half_a_turn_further_kernels_are_reversed(rng):
    """Where a whole turn has an even number of angles: beside NumPy, which turns each of them."""
    angles = looked_poses.spread(0.1, 0.1 + 2 * math.pi, 0.65, is_cyclic=True)
    poses = np.column_stack([angles, np.full(len(angles), -0.1)])
    assert len(poses) == 10
    kernel = Case(rng, "uint8", "channels").kernels[0]
    radius = math.ceil(kernel.reach) + 1
    values, mask = loops.turn(kernel, poses, radius, 0.3)
    wanted, inside = plain_look.turn(kernel, poses, radius, 0.3)
    assert np.array_equal(mask, inside)
    assert values == pytest.approx(wanted, abs=1e-3)
    assert np.array_equal(values[5:], values[:5, :, ::-1, ::-1])


@pytest.mark.parametrize("metric", METRICS)
def test_steps_end_where_the_score_stays_too_low(rng, metric):
    case = Case(rng, "uint8")
    far = np.array([[31.4, 15.6, 0.2, 0.05]])
    aim = aim_of(case, metric, steps=9)
    _, steps = loops.refine(case.planes[0], case.kernels[0], far, replace(aim, steps=1))
    _, whole = loops.refine(case.planes[0], case.kernels[0], far, aim)
    assert whole > steps
    for least in (-1.0, 100.0):
        hopeful = replace(aim, least=least)
        _, found = loops.refine(case.planes[0], case.kernels[0], far, hopeful)
        _, expected = plain.refine(case.planes[0], case.kernels[0], far, hopeful)
        assert found == pytest.approx(expected, abs=2e-4)
        assert found == (whole if least < 0 else pytest.approx(steps))


@pytest.mark.parametrize("is_cyclic", [True, False])
@pytest.mark.parametrize(
    ("poses", "near"),
    [((1, 1), 1), ((1, 2), 1), ((2, 5), 1), ((2, 5), 2), ((1, 7), 6), ((3, 1), 1)],
)
def test_maxima(rng, poses, near, is_cyclic):
    # Few values, so that many neighbours are equal.
    volume = rng.integers(0, 6, (poses[0] * poses[1], 12, 20)).astype(np.float32)
    for most in (1000, 7):
        how = poses, (1, 11), 17, 3.0, most
        found, values = loops.maxima(volume, *how, is_cyclic=is_cyclic, near=near)
        wanted, expected = plain_look.maxima(volume, *how, is_cyclic=is_cyclic, near=near)
        if most == 1000:
            assert np.array_equal(found, wanted)
            assert np.array_equal(values, expected)
            assert len(found) > 7
        else:  # of equals, those are kept that come first
            assert most // 2 <= len(found) <= most  # the best half, and what came after
            assert (values >= np.sort(expected)[0]).all()


def test_the_highest_cell_is_a_maximum(rng):
    volume = rng.random((6, 9, 14)).astype(np.float32)
    found, values = loops.maxima(volume, (2, 3), (0, 9), 14, 0.0, 100, is_cyclic=True)
    for scale in (0, 1):
        part = volume[3 * scale : 3 * scale + 3]
        where = np.unravel_index(part.argmax(), part.shape)
        assert (where[0] + 3 * scale, *where[1:]) in {tuple(row) for row in found.tolist()}
        assert part.max() in values.astype(np.float32)


@pytest.mark.parametrize("shape", [(1, 9, 14), (3, 16, 33), (2, 37, 150), (1, 1, 1)])
def test_halving_of_bytes(rng, shape):
    values = rng.integers(0, 256, shape, dtype=np.uint8).transpose(1, 2, 0)
    picture = planes.Planes(np.ascontiguousarray(values), None)
    expected = values
    for level in (1, 2):
        expected = levels.halved(expected)
        plane = picture[level]
        inside = plane.values[:, planes.PAD : planes.PAD + plane.height]
        inside = inside[:, :, planes.PAD : planes.PAD + plane.width]
        assert np.array_equal(inside.transpose(1, 2, 0), expected)
        assert np.array_equal(plane.values[:, 0, 0], expected[0, 0])
        assert np.array_equal(plane.values[:, -1, -1], expected[-1, -1])


def test_thinned_poses(rng):
    kernel = Case(rng, "uint8").kernels[0]
    poses = rng.random((300, 4)) * [60, 40, 7, 0.3]
    poses[100:150] = poses[50:100] + 0.01
    for of_a_place in (1, 3, 1000):
        kept = loops.thinned(poses, kernel, 0.6, of_a_place)
        assert np.array_equal(kept, plain_look.thinned(poses, kernel, 0.6, of_a_place))
    assert 240 < len(kept) <= 250


@thinned(channels=[1, 3], metric=METRICS, dtype=DTYPES, masked=MASKS, sees_all=[True, False])
def test_exact_scores(rng, metric, dtype, masked, sees_all, channels):
    case = Case(rng, dtype, masked, sees_all=sees_all, channels=channels)
    scorer = scoring.Scoring(case.image, metric, case.full, case.visible, case.limits)
    for pose, place in (
        (Pose(1.05, 12.0), (28.3, 19.4)),
        (Pose(0.4, -77.0), (30.0, 20.0)),
        (Pose(2.1, 200.0), (29.0, 24.0)),
        (Pose(1.0, 33.0), (2.0, 44.0)),
    ):
        found = scorer.score(case.kernel, case.levels, *place, pose)
        wanted = scores.score(
            case.image, case.kernel, *place, pose, metric, case.full, case.visible, case.limits
        )
        assert found == pytest.approx(wanted, abs=1e-11)


def test_flat_pictures_score_0():
    image = np.full((20, 20, 1), 9, np.uint8)
    kernel = Kernel((np.arange(36, dtype=np.uint8) * 7).reshape(6, 6, 1))
    scorer = scoring.Scoring(image, "zncc", 255.0, None)
    assert scorer.score(kernel, levels.KernelLevels(kernel), 9.9, 10.2, Pose(1.1, 3.0)) == 0
    scorer = scoring.Scoring(image * 0, "ncc", 255.0, None)
    assert scorer.score(kernel, levels.KernelLevels(kernel), 9.9, 10.2, Pose(1.1, 3.0)) == 0


def test_a_copy_scores_1_whatever_its_values():
    values = np.random.default_rng(1).random((12, 15, 1)) * 1e-90
    scorer = scoring.Scoring(values, "ncc", 1.0, None)
    kernel = Kernel(values[2:9, 3:11].copy())
    pose = Pose(1 + 1e-14, 0.0)
    assert scorer.score(kernel, levels.KernelLevels(kernel), 7, 5.5, pose) == pytest.approx(1)


def refine_arguments(variant):
    plane = np.zeros((2, 30, 64), np.uint8)
    taps = np.zeros((2, 5, 16), np.float32)
    return {
        "values": plane, "limits": np.zeros((2, 2), np.float32), "visible": None,
        "height": 14, "width": 20, "taps": taps,
        "weights": taps[:1], "smoothing": taps.copy(), "centre": (2.0, 3.0), "reach": 4.0,
        "poses": np.zeros((3, 4)), "scores": np.zeros(3), "metric": "zncc", "full": 255.0,
        "steps": 2, "enough": 0.1, "least": 0.5,
        "is_cubic": True, "free": 15, "low": (-1.0, -1.0), "high": (1.0, 1.0), "every": 1,
        "around": 0, "variant": variant,
    }  # fmt: skip


def look_arguments(variant):
    return {
        "values": np.zeros((2, 30, 64), np.uint8), "height": 14, "width": 20,
        "turned": np.zeros((3, 2, 7, 7), np.float32), "mask": np.ones((3, 1, 7, 7), bool),
        "order": np.arange(3, dtype=np.int32), "bounds": np.zeros((3, 4), np.int32),
        "metric": "sad", "full": 255.0, "bar": 0.5, "first": 2,
        "out": np.zeros((3, 5, 20), np.float32), "variant": variant,
    }  # fmt: skip


def exact_arguments(variant):
    return {
        "picture": np.zeros((14, 20, 2), np.uint16), "limits": np.zeros((2, 2)),
        "kernel": np.zeros((5, 6, 2), np.uint16),
        "weights": None, "smoothing": np.zeros((5, 6, 2)), "visible": None,
        "poses": np.ones((3, 4)), "centre": (2.0, 2.5),
        "metric": "zncc", "full": 255.0, "scores": np.zeros(3), "variant": variant,
    }  # fmt: skip


def maxima_arguments(variant):
    return {
        "volume": np.zeros((6, 5, 20), np.float32), "scales": 2, "angles": 3, "near": 1,
        "width": 18, "first": 1, "last": 4, "bar": 0.5, "is_cyclic": True,
        "found": np.zeros((4, 3), np.int32), "scores": np.zeros(4, np.float32),
        "variant": variant,
    }  # fmt: skip


def turn_arguments(_):
    return {
        "taps": np.zeros((2, 5, 16), np.float32), "weights": np.zeros((1, 5, 16), np.float32),
        "width": 9, "centre": (2.0, 4.0), "half": (2.5, 4.5), "poses": np.zeros((3, 2)),
        "border": 0.3, "values": np.zeros((3, 2, 7, 7), np.float32),
        "mask": np.zeros((3, 1, 7, 7), bool), "metric": "zncc",
        "order": np.arange(3, dtype=np.int32),
    }  # fmt: skip


def halve_arguments(variant):
    return {
        "planes": np.zeros((2, 31, 64), np.uint8), "out": np.zeros((2, 24, 64), np.uint8),
        "height": 15, "width": 20, "variant": variant,
    }  # fmt: skip


def thinned_arguments(_):
    return {
        "poses": np.zeros((3, 4)), "half": (2.0, 3.0), "reach": 4.0, "near": 0.6, "of_a_place": 2,
        "kept": np.zeros(3, np.int32),
    }  # fmt: skip


ARGUMENTS = {
    "refine": refine_arguments, "look": look_arguments, "exact": exact_arguments,
    "maxima": maxima_arguments, "turn": turn_arguments, "halve": halve_arguments,
    "thinned": thinned_arguments,
}  # fmt: skip


# Sizes that are the caller's to choose: a smaller picture, fewer rows, a shorter pitch.
FREE = {
    ("refine", "values", 2), ("look", "values", 2), ("look", "out", 1), ("exact", "picture", 0),
    ("exact", "picture", 1), ("exact", "kernel", 0), ("exact", "kernel", 1),
    ("maxima", "volume", 1), ("maxima", "volume", 2), ("halve", "planes", 2), ("halve", "out", 2),
}  # fmt: skip
LARGE = {("thinned", "of_a_place")}


def reshaped(array, free):
    """Arrays that are not what a buffer should be: another type, another size, gaps."""
    yield array.astype(np.complex64)
    yield array[None]
    for axis in set(range(array.ndim)) - free:
        yield np.ascontiguousarray(np.take(array, range(array.shape[axis] - 1), axis))
    yield np.repeat(array, 2, axis=-1)[..., ::2]


@pytest.mark.parametrize("name", ARGUMENTS)
def test_buffers_that_do_not_fit_are_refused(variant, name):
    function, arguments = getattr(_poses, name), ARGUMENTS[name](variant)
    function(**arguments)  # these fit
    for key, value in arguments.items():
        wrong = []
        if isinstance(value, np.ndarray):
            wrong = list(reshaped(value, {axis for axis in range(4) if (name, key, axis) in FREE}))
            if value.dtype == np.float64 and key == "poses":
                wrong += [np.full_like(value, bad) for bad in (np.nan, np.inf, 1e9)]
        elif isinstance(value, tuple):
            wrong = [(np.nan, 0.0), (0.0, np.nan)]
        elif isinstance(value, str):
            wrong = ["other"]
        elif isinstance(value, float) and key not in ("bar", "enough"):
            wrong = [math.nan]
        elif isinstance(value, int) and not isinstance(value, bool):
            wrong = [-1] if (name, key) in LARGE else [-1, 1 << 40]
        for bad in wrong:
            with pytest.raises((ValueError, BufferError, TypeError, OverflowError)):
                function(**{**arguments, key: bad})


def test_read_only_results_are_refused(variant):
    written = {"refine": ("poses", "scores"), "look": ("out",), "exact": ("scores",)}
    for name, keys in written.items():
        for key in keys:
            arguments = ARGUMENTS[name](variant)
            arguments[key].flags.writeable = False
            with pytest.raises((BufferError, ValueError)):
                getattr(_poses, name)(**arguments)


def test_many_channels_are_left_to_numpy(rng):
    assert native.extension(_poses.MOST_CHANNELS) is _poses
    assert native.extension(_poses.MOST_CHANNELS + 1) is None
    case = Case(rng, "uint8", channels=_poses.MOST_CHANNELS + 1)
    aim = aim_of(case, "zncc", steps=1)
    _, values = loops.refine(case.planes[0], case.kernels[0], np.array([[28, 19, 0, 0.0]]), aim)
    assert values[0] > 0.99


def test_many_equal_maxima_leave_some():
    volume = np.zeros((1, 40, 60), np.float32)
    volume[0, 1::2, 1::2] = 1
    found, values = loops.maxima(volume, (1, 1), (0, 40), 60, 0.5, 100, is_cyclic=False)
    assert 50 <= len(found) <= 100
    assert (values == 1).all()


@pytest.mark.parametrize("value", [0.1, 0.3, 0.9])
def test_a_large_faint_kernel_moves_to_the_best_place_around(rng, value):
    # Weights and pixels of so many are summed in parts: float32 has no digits for all of them.
    side = 1500
    pixels = ndimage.gaussian_filter(rng.random((side + 4, side + 4, 1)), (1.0, 1.0, 0))
    image = np.rint(4 * (pixels - pixels.mean()) / pixels.std() + 140).clip(0, 255)
    image = image.astype(np.uint8)
    kernel = Kernel(image[2:-2, 3:-1] - 120)
    picture = planes.Planes(image, None)
    large = planes.KernelPlane(levels.KernelLevels(kernel), 0, picture.unit)
    large.weights *= np.float32(value)
    for dx, dy in ((0, 0), (-1, 0), (0, 1)):
        # Its centre is at that of the pixel beside.
        start = np.array([[side / 2 + 2.5 + dx, side / 2 + 1.5 + dy, 0.0, 0.0]])
        aim = Aim("zncc", 255.0, 0, 0.0, False, (True,) * 4, (-9.0, -1.0), (9.0, 1.0), 64, 1)
        found, _ = loops.refine(picture[0], large, start, aim)
        assert found[0, :2].tolist() == [side / 2 + 2.5, side / 2 + 1.5]


def test_a_kernel_that_reaches_farther_than_is_said_is_refused(variant):
    arguments = refine_arguments(variant)
    arguments["weights"] = np.ones_like(arguments["weights"])
    _poses.refine(**{**arguments, "reach": 12.2})  # 12 columns and 2 rows
    with pytest.raises(ValueError, match="reaches farther"):
        _poses.refine(**{**arguments, "reach": 12.1})
