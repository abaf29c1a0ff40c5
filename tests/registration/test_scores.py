"""The score of a pose: whole poses as `metrics.exact` has them, others by independent samplers."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from patchsim import metrics
from patchsim.metrics import Kernel, Visibility
from patchsim.poses.pose import Pose
from patchsim.registration import levels, score, scores, scoring

METRICS = ("sad", "ssd", "ncc", "zncc")
DTYPES = ("uint8", "uint16", "float32", "float64")


def picture(rng, dtype, height=30, width=41, channels=2):
    """A picture that is smooth enough to be interpolated, in most of its type's range."""
    values = ndimage.gaussian_filter(rng.random((height, width, channels)), (2, 2, 0))
    values = (values - values.min()) / np.ptp(values)
    if dtype.startswith("uint"):
        return np.rint(values * np.iinfo(dtype).max).astype(dtype)
    return values.astype(dtype)


def span(dtype):
    return float(np.iinfo(dtype).max) if dtype.startswith("uint") else 1.0


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("flip", ["none", "h", "v"])
@pytest.mark.parametrize("angle", [0.0, 90.0, 180.0, -90.0, 450.0])
def test_whole_poses_score_as_windows(rng, dtype, metric, flip, angle):
    image = picture(rng, dtype)
    kernel = image[3:12, 5:19].copy()
    weights = rng.integers(0, 4, kernel.shape[:2], dtype=np.uint8)
    seen = Visibility(rng.integers(0, 5, image.shape[:2], dtype=np.uint8), 4)
    mirrored = {"none": kernel, "h": kernel[:, ::-1], "v": kernel[::-1]}[flip]
    counts = {"none": weights, "h": weights[:, ::-1], "v": weights[::-1]}[flip]
    turned, counts = (np.rot90(a, round(angle / 90)) for a in (mirrored, counts))
    y, x = 6, 11
    want = metrics.exact(image, turned, metric, span(dtype), counts, seen)(y, x)
    height, width = turned.shape[:2]
    found = score(
        image, Kernel(kernel, weights), x + width / 2, y + height / 2, Pose(1.0, angle, flip),
        metric, span(dtype), seen,
    )  # fmt: skip
    assert found == want


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("flip", ["none", "h", "v"])
def test_the_formula_at_whole_pixels_is_that_of_windows(rng, dtype, metric, flip):
    # Scale and angle a hair beside those of a window, so that the pixels are sampled.
    image = picture(rng, dtype)
    kernel = image[3:12, 5:19].copy()
    weights = rng.integers(0, 4, kernel.shape, dtype=np.uint8)
    flipped = levels.flipped(Kernel(kernel, weights), flip)
    want = metrics.exact(image, flipped.pixels, metric, span(dtype), flipped.weights)(3, 8)
    pose = Pose(1 + 1e-13, 0.0, flip)
    found = score(image, Kernel(kernel, weights), 15.0, 7.5, pose, metric, span(dtype))
    assert found == pytest.approx(want, abs=1e-9)


@pytest.mark.parametrize("angle", [0.0, 17.0, 123.4])
@pytest.mark.parametrize("metric", METRICS)
def test_sampling_agrees_with_opencv(rng, angle, metric):
    # cv2's cubic has a = -3/4, so that a plane is what both reproduce exactly.
    y, x = np.mgrid[:60, :70].astype(np.float32)
    image = (0.002 * x + 0.007 * y)[..., None]
    kernel = rng.random((11, 14, 1)).astype(np.float32)
    centre, pose = (31.3, 28.8), Pose(1.2, angle)
    # From kernel to picture, in cv2's coordinates, which begin at a pixel's centre.
    matrix = cv2.getRotationMatrix2D((0, 0), angle, 1.2)
    matrix[:, 2] += np.subtract(centre, 0.5) - matrix[:, :2] @ (6.5, 5.0)
    window = cv2.warpAffine(image, matrix, (14, 11), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    values = window[..., None].astype(np.float64)
    want = metrics.exact(values, kernel.astype(np.float64), metric, 1.0)(0, 0)
    assert score(image, Kernel(kernel), *centre, pose, metric, 1.0) == pytest.approx(want, abs=2e-4)


def test_catmull_rom_reproduces_quadratics(rng):
    y, x = np.mgrid[:20, :20].astype(np.float64)
    image = (0.3 * x * x - 0.2 * x * y + 0.1 * y * y + x)[..., None]
    xs, ys = rng.uniform(2, 17, (2, 50))
    want = 0.3 * xs * xs - 0.2 * xs * ys + 0.1 * ys * ys + xs
    assert scores.sampled(image, xs, ys)[:, 0] == pytest.approx(want, abs=1e-10)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("ends", [(0, 1), (0.25, 0.75)])
def test_what_is_sampled_beside_an_edge_stays_in_the_data_range(dtype, ends):
    """Half a pixel off, the cubic gives 1/16 of the edge too little before it, too much behind."""
    low, high = np.array(ends).astype(dtype).tolist()
    if dtype.startswith("uint"):
        low, high = (round(end * span(dtype)) for end in ends)
    image = np.full((12, 14, 1), low, dtype)
    image[:, 6:] = high
    kernel = Kernel(image[4:8, 4:8].copy())
    ask = image, kernel, 6.5, 6.0, Pose(1.0), "sad", high - low
    assert score(*ask) == pytest.approx(1 - (1 / 16 + 1 / 2 + 1 / 16) / 4, abs=1e-6)
    limits = np.array([[low, high]])
    assert score(*ask, limits=limits) == pytest.approx(1 - (1 / 2) / 4, abs=1e-6)
    scorer = scoring.Scoring(image, "sad", high - low, None, limits)
    found = scorer.score(kernel, levels.KernelLevels(kernel), *ask[2:5])
    assert found == pytest.approx(1 - (1 / 2) / 4, abs=1e-6)


def test_a_turned_wave_is_told_by_its_angle():
    # A plane wave turned by 30 degrees, sampled at 30 degrees, is the wave.
    y, x = np.mgrid[:80, :80] + 0.5
    turn = np.radians(30)

    def wave(u, v):
        return 0.5 + 0.4 * np.sin(2 * np.pi * (u / 9 + v / 14))

    dx, dy = x - 41.2, y - 38.7
    image = wave(dx * np.cos(turn) - dy * np.sin(turn), dx * np.sin(turn) + dy * np.cos(turn))
    row, column = np.mgrid[:24, :31] + 0.5
    kernel = wave(column - 15.5, row - 12.0)
    best = score(image[..., None], Kernel(kernel[..., None]), 41.2, 38.7, Pose(1, 30), "zncc", 1)
    assert best > 0.9995
    for angle in (27, 33):
        pose = Pose(1, angle)
        assert (
            score(image[..., None], Kernel(kernel[..., None]), 41.2, 38.7, pose, "zncc", 1) < best
        )


@pytest.mark.parametrize("size", [(16, 20), (17, 21), (19, 23), (18, 23)])
@pytest.mark.parametrize("scale", [0.25, 0.5, 1.0, 2.0, 4.0])
def test_levels_leave_the_centre_where_it_is(size, scale):
    # A ramp scaled about the kernel's centre has the same value there; ssd tells any shift.
    y, x = np.mgrid[:101, :101] + 0.5
    image = (0.004 * ((x - 50) + 0.5 * (y - 50)) / scale + 0.5)[..., None]
    row, column = np.mgrid[: size[0], : size[1]] + 0.5
    kernel = 0.004 * ((column - size[1] / 2) + 0.5 * (row - size[0] / 2)) + 0.5
    found = score(image, Kernel(kernel[..., None]), 50, 50, Pose(scale), "ssd", 1.0)
    assert found == pytest.approx(1, abs=1e-9)


def test_octaves():
    assert [levels.octave(s, 9) for s in (0.3, 0.5, 0.7, 0.72, 1, 1.41, 1.42, 2.8, 2.9)] == [
        -2, -1, -1, 0, 0, 0, 1, 1, 2,
    ]  # fmt: skip
    assert levels.octave(0.1, 1) == -1


def test_a_mean_counts_if_all_its_pixels_do(rng):
    pixels = rng.integers(0, 255, (5, 6, 1), dtype=np.uint8)
    weights = np.ones((5, 6), np.uint8)
    weights[1, 3] = 0
    small = levels.halved_kernel(Kernel(pixels, weights))
    assert small.weights.tolist() == [[1, 0, 1], [1, 1, 1]]
    mean = pixels[:4].reshape(2, 2, 3, 2).astype(float).mean((1, 3))
    counted = small.weights > 0
    assert np.abs(small.pixels[..., 0] - mean)[counted].max() <= 0.5
    thin = np.eye(5, 6, dtype=np.uint8)  # no mean has four pixels that count
    assert levels.halved_kernel(Kernel(pixels, thin)).weights.tolist() == [[1, 0, 0], [0, 1, 0]]


@pytest.mark.parametrize("metric", METRICS)
def test_hidden_and_flat_windows_score_0(rng, metric):
    image = np.full((20, 20, 1), 7, np.uint8)
    kernel = Kernel(rng.integers(0, 255, (6, 6, 1), dtype=np.uint8))
    nothing = Visibility(np.zeros((20, 20), np.uint8), 1)
    pose = Pose(1.1, 20)
    assert score(image, kernel, 10.2, 9.9, pose, metric, 255, nothing) == 0
    if metric == "zncc":
        assert score(image, kernel, 10.2, 9.9, pose, metric, 255) == 0
    if metric == "ncc":
        assert score(np.zeros_like(image), kernel, 10.2, 9.9, pose, metric, 255) == 0


def test_colours_of_hidden_pixels_have_no_say(rng):
    image = picture(rng, "uint8")
    levels_ = np.ones(image.shape[:2], np.uint8)
    levels_[10:14, 12:15] = 0
    other = image.copy()
    other[10:14, 12:15] = 255 - other[10:14, 12:15]
    kernel, pose = Kernel(image[5:20, 8:22].copy()), Pose(1.05, 5)
    one, two = (
        score(a, kernel, 15.1, 12.4, pose, "zncc", 255, Visibility(levels_, 1))
        for a in (image, other)
    )
    assert one == two > 0.9


@pytest.mark.parametrize("masked", [False, True])
def test_the_mean_of_neighbours(rng, masked):
    pixels = rng.integers(0, 255, (5, 7, 2), dtype=np.uint8)
    weights = rng.integers(0, 3, (5, 7), dtype=np.uint8) if masked else None
    found = levels.neighbours_mean(Kernel(pixels, weights))
    for (y, x, c), value in np.ndenumerate(pixels):
        total = count = 0.0
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                v, u = y + dy, x + dx
                if 0 <= v < 5 and 0 <= u < 7:
                    weight = (
                        (2 - abs(dy)) * (2 - abs(dx)) * (1 if weights is None else weights[v, u])
                    )
                    total, count = total + weight * float(pixels[v, u, c]), count + weight
        is_counted = weights is None or weights[y, x]
        assert found[y, x, c] == pytest.approx(total / count if is_counted else value)


def test_scores_do_not_jump_where_halving_begins(coffee):
    # Pillow's resampling. Unsmoothed kernels scored 0.006 less at scales of 57/80 and 114/80.
    kernel = coffee[20:100, 300:380, :1].copy()
    for below, above in ((56, 57), (112, 114)):
        scores_ = []
        for side in (below, above):
            copy = Image.fromarray(kernel[..., 0]).resize((side, side), Image.Resampling.BICUBIC)
            image, pose = np.asarray(copy)[..., None], Pose(side / 80)
            scores_.append(score(image, Kernel(kernel), side / 2, side / 2, pose, "zncc", 255))
        assert abs(scores_[0] - scores_[1]) < 0.0015
        assert min(scores_) > 0.998


def test_softness():
    assert [levels.softness(s) for s in (2, 1, 0.75, 0.5, 0.3)] == [0, 0, 0.5, 1, 1]
