"""Correlations with weights in C: every variant, type, metric and stride against the oracle."""

from __future__ import annotations

import itertools
import math
from functools import cache

import numpy as np
import pytest
import skimage.data
from helpers.bounds import cell_errors, check
from helpers.correlation import VARIANTS
from helpers.correlation import extension as _correlation
from helpers.cuts import all_cuts
from helpers.grids import thinned
from helpers.pictures import KINDS, patterns
from helpers.problems import CORRELATED, SPAN, problem, problem_of, values
from helpers.truths import oracle_map, plain_map
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image

from patchsim import match, metrics
from patchsim.engines import fft
from patchsim.engines.common import cut_times, fused_weighted, kernel_parts, visibility
from patchsim.geometry import blocks
from patchsim.machine import extensions

DTYPES = ("uint8", "uint16", "float32", "float64")
# What a score in float64 is off by when it is rounded to float32, and some. Those of floats may be
# off by more: by as much as a map may be.
ROUNDED = 1e-7
LARGEST = {"uint8": ROUNDED, "uint16": ROUNDED, "float32": 1e-5, "float64": 1e-5}


@pytest.fixture(params=VARIANTS)
def variant(request, monkeypatch):
    monkeypatch.setenv(extensions.VARIANT_SETTING, request.param)
    return request.param


def weights_of(rng, kind, height, width, channels):
    """Weights of pixels (0 and 1, or shades) or of values, of which one channel may not count."""
    most = 2 if kind == "mask" else 256
    size = (height, width, channels) if kind == "channels" else (height, width)
    found = rng.integers(0, most, size, dtype=np.uint8)
    if kind == "channels" and channels > 1:
        found[..., rng.integers(1, channels)] = 0
    found[0, 0, ...], found[-1, -1] = 1, 1  # two pixels at the least, in every channel that counts
    if kind == "channels" and channels > 1:
        found[..., 1] = 0
    return found


def found(image, kernel, weights, metric, stride=(1, 1), **options):
    """The bounds of a tile that is the whole image."""
    work = problem_of(
        image, kernel, weights, metric, stride, has_channel_weights=weights.ndim == 3, **options
    )
    assert fused_weighted.refusal(work) is None
    assert fft.can_bound_blocks(work)
    return fft.prepare(kernel, work, weights)(image)


@thinned(
    metric=CORRELATED,
    dtype=DTYPES,
    kind=["mask", "shades", "channels"],
    sizes=[
        ((9, 11, 3), (9, 11, 3), (1, 1)),
        ((13, 40, 2), (3, 17, 2), (1, 1)),
        ((40, 21, 4), (18, 2, 4), (3, 1)),
        ((23, 35, 1), (4, 6, 1), (2, 5)),
    ],
)
@pytest.mark.usefixtures("variant")
def test_small_pictures_against_the_oracle(metric, dtype, kind, sizes, rng):
    size, kernel, stride = sizes
    image, taps = values(rng, dtype, *size), values(rng, dtype, *kernel)
    image[: size[0] // 2, : size[1] // 2] = image[0, 0]
    weights = weights_of(rng, kind, *kernel)
    bounds = found(image, taps, weights, metric, stride)
    check(bounds, oracle_map(metric, image, taps, stride, weights), error=ROUNDED)


@pytest.mark.parametrize("metric", ["ssd", "ncc"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.usefixtures("variant")
def test_a_kernel_of_one_pixel_that_counts(metric, dtype, rng):
    image, kernel = values(rng, dtype, 9, 11, 2), values(rng, dtype, 3, 2, 2)
    weights = np.zeros((3, 2), np.uint8)
    weights[1, 1] = 7
    one = np.full((1, 1), 7, np.uint8)
    truth = oracle_map(metric, image[1:-1, 1:], kernel[1:2, 1:])
    check(found(image, kernel, weights, metric), truth, error=ROUNDED)
    check(found(image[1:-1, 1:], kernel[1:2, 1:], one, metric), truth, error=ROUNDED)


def picture(dtype, metric):
    """Of several tiles, with windows of one value, some only where the mask counts."""
    scale = {
        "uint8": np.uint8(1),
        "uint16": np.uint16(257),
        "float32": np.float32(1 / 255),
        "float64": 1 / 255,
    }[dtype]
    image = skimage.data.astronaut()[:300, :420] * scale
    image[100:160, 50:180] = image[0, 0] if metric == "zncc" else 0
    kernel = image[20:41, 300:319].copy()
    y, x = np.mgrid[-10:11, -9:10]
    return image, kernel, (y * y + x * x <= 82).astype(np.uint8)


@pytest.mark.parametrize("metric", ["ncc", "zncc"])
@pytest.mark.parametrize("power", [-500, -700, -1020])
@pytest.mark.usefixtures("variant")
def test_windows_whose_squares_vanish_beside_others(metric, power, rng):
    """Windows that are summed directly are brought near 1, but not what does not count in them."""
    image = np.rint(rng.random((60, 90, 1)) * 2**20) / 2**20
    kernel, weights = image[24:32, 30:40].copy(), rng.integers(0, 3, (8, 10), np.uint8)
    weights[3, 4] = 0
    image[20:] = np.ldexp(image[20:], power)
    image[27, 34] = 1
    image[50:] = 0
    exact = metrics.exact(image, kernel, metric, 1.0, weights)
    truth = exact(*np.mgrid[:53, :81].reshape(2, -1)).reshape(53, 81)
    assert truth[24, 30] == 1
    check(found(image, kernel, weights, metric), truth)


@pytest.mark.parametrize("metric", CORRELATED)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.usefixtures("variant")
def test_photographs_of_several_tiles(metric, dtype):
    image, kernel, weights = picture(dtype, metric)
    # Scores do not depend on the scale of pixels; float32 rounds them.
    plain, own, _ = picture(dtype if dtype == "float32" else "uint8", metric)
    truth = plain_map(plain, own, metric, weights)
    bounds = found(image, kernel, weights, metric)
    check(bounds, truth, error=LARGEST[dtype])
    if metric != "ssd":
        assert (bounds.map[100:140, 50:162] == 0).all()
    # One tile alone, and three of a row: the last of an odd number is transformed without another.
    check(found(image[:60, :200], kernel, weights, metric), truth[:40, :182], error=LARGEST[dtype])
    wide, plain = (np.concatenate([one[:60], one[:60, :330]], 1) for one in (image, plain))
    truth = plain_map(plain, own, metric, weights)
    check(found(wide, kernel, weights, metric), truth, error=LARGEST[dtype])


def test_single_blocks_of_searches_by_bounds_have_transforms_of_one_shape(rng):
    image, weights = values(rng, "uint8", 700, 900, 1), np.ones((40, 40), np.uint8)
    cuts = {
        metric: [
            fused_weighted.cut_of(
                problem_of(picture, image[:40, :40], weights, metric, (1, 1), map_wanted=wanted)
            )
            for picture in (image, image[:103, :103])
            for wanted in (False, True)
        ]
        for metric in ("ssd", "zncc")
    }
    of_ssd = [(cut.sides, cut.folds) for cut in cuts["ssd"]]
    assert of_ssd[0] == of_ssd[2] == ((256, 256), 1)
    assert ((256, 256), 1) not in (of_ssd[1], of_ssd[3])
    assert [cut.sides for cut in cuts["zncc"][::2]] == [cut.sides for cut in cuts["zncc"][1::2]]


def cut_like(monkeypatch, parts, sides, folds=1):
    """Have kernels cut into these parts, for transforms of tiles of these sides."""
    cut = kernel_parts.Cut(parts, sides, folds, 1, 1.0, 0.0)
    monkeypatch.setattr(fused_weighted, "cut_of", lambda _problem: cut)


@cache
def photograph_and_truths(dtype, metric):
    """A picture, its kernel and weights, and the scores: of the mask, and of what is visible."""
    image, kernel, weights = picture(dtype, metric)
    levels = np.full(image.shape[:2], 3, np.uint8)
    levels[30:200:3, 40:300] = 1
    levels[150:250, 330:] = 0
    score = metrics.exact(
        image, kernel, metric, SPAN[dtype], weights, metrics.Visibility(levels, 3)
    )
    rows, cols = (image.shape[i] - kernel.shape[i] + 1 for i in (0, 1))
    shown = {(y, x): score(y, x) for y in range(0, rows, 23) for x in range(0, cols, 19)}
    return image, kernel, weights, levels, plain_map(image, kernel, metric, weights), shown


@thinned(
    2,
    folds=[1, 2],
    sides=[*itertools.pairwise(_correlation.SIDES), (512, 128)],
    metric=CORRELATED,
    dtype=DTYPES,
)
@pytest.mark.usefixtures("variant")
def test_transforms_of_all_sides(metric, dtype, sides, folds, monkeypatch):
    cut_like(monkeypatch, (1, 1), (folds * sides[0], sides[1]), folds)
    image, kernel, weights, levels, truth, of_shown = photograph_and_truths(dtype, metric)
    check(found(image, kernel, weights, metric), truth, error=LARGEST[dtype])
    step = 3 if folds == 1 else 1
    strided = found(image, kernel, weights, metric, (step, 2))
    check(strided, truth[::step, ::2], error=LARGEST[dtype])
    bounds = shown(image, kernel, weights, levels, metric, (1, 1), 0.2)
    # Sums of 16 bits times levels are larger than float64 holds exactly.
    assert bounds.error <= 1.1 * (ROUNDED if dtype == "uint8" else 1e-5)
    for (y, x), score in of_shown.items():
        assert bounds.hidden[y, x] or abs(bounds.map[y, x] - score) <= bounds.error


@thinned(
    metric=CORRELATED,
    dtype=DTYPES,
    kind=["mask", "channels"],
    sizes=[
        ((190, 70), (2, 1), (256, 256), 1),
        ((60, 250), (1, 2), (256, 256), 1),
        ((131, 75), (3, 2), (256, 128), 2),
    ],
)
def test_kernels_in_parts(metric, dtype, kind, sizes, variant, rng, monkeypatch):
    size, parts, of_tile, folds = sizes
    monkeypatch.setattr(fused_weighted, "_MOST_TRANSFORMS", 1.0)
    cut_like(monkeypatch, parts, of_tile, folds)
    image = values(rng, dtype, size[0] + 9, size[1] + 20, 2)
    kernel = image[3 : 3 + size[0], 11 : 11 + size[1]].copy()
    weights = weights_of(rng, kind, *size, 2)
    truth = plain_map(image, kernel, metric, weights)
    check(found(image, kernel, weights, metric), truth, error=LARGEST[dtype])
    if variant == VARIANTS[0]:
        step = 3 if folds == 1 else 1
        strided = found(image, kernel, weights, metric, (step, 2))
        check(strided, truth[::step, ::2], error=LARGEST[dtype])


@pytest.mark.parametrize("kernel", [(32, 32), (64, 64), (128, 128), (9, 200), (256, 256)])
@pytest.mark.parametrize("windows", [(1, 1), (193, 193), (385, 257), (897, 1900)])
@pytest.mark.parametrize("work", [(2, 2, 1), (4, 7, 5), (6, 14, 9)])
def test_sides_are_those_that_take_least_as_all_of_them_say(kernel, windows, work):
    forward, products, backward = work

    def time_of(down, across, folds, parts):
        area = down * across / folds / 256**2
        cached, power = cut_times._CACHED_DOUBLE, cut_times._UNCACHED_DOUBLE
        in_parts = parts * (forward + kernel_parts._PRODUCT * products) + backward
        other = cut_times._OTHER_WIDTH_OF_DOUBLES if across != 256 else 1
        return other * area * max(area, cached) ** power * in_parts

    chosen = kernel_parts.best_double_cut(kernel, kernel_parts.DoubleWork(*work), windows)
    least = math.inf
    for folds, down, across, parts, pairs, _ in all_cuts(kernel, windows):
        least = min(least, pairs * time_of(down, across, folds, parts))
    time = time_of(*chosen.sides, chosen.folds, math.prod(chosen.parts))
    assert chosen.pairs * time == pytest.approx(least)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("metric", CORRELATED)
@pytest.mark.usefixtures("variant")
def test_the_largest_sums(metric, dtype):
    """Checkers of the largest and smallest values, with the largest weights."""
    side = 150
    image = (np.indices((side + 3, side + 4)).sum(0) % 2 * SPAN[dtype]).astype(dtype)[..., None]
    weights = np.full((side, side), 255, np.uint8)
    weights[:20, :20] = 254
    bounds = found(image, image[:side, :side].copy(), weights, metric)
    even = np.indices(bounds.map.shape).sum(0) % 2 == 0
    opposite = {"ssd": 0.0, "ncc": 0.0, "zncc": -1.0}[metric]
    check(bounds, np.where(even, 1.0, opposite), error=LARGEST[dtype])


@thinned(kind=["mask", "shades"], dtype=DTYPES, metric=["ncc", "zncc"])
@pytest.mark.usefixtures("variant")
def test_a_flat_tile_beside_one_of_contrast(metric, dtype, kind, rng):
    """What is left of a small spread beside a large norm, the worst that rounding can do."""
    image = rng.integers(0, 2, (200, 500, 1)) * SPAN[dtype]
    step = 1e-6 if dtype.startswith("float") else 1
    image = image.astype(np.float64)
    image[:, :240] = (rng.integers(0, 2, (200, 240, 1)) + 3) * step
    image[20:130, 30:150] = 4 * step
    image[90, 100] = 0  # which the mask hides in the corner of a window that is flat otherwise
    image = image.astype(dtype)
    kernel = image[140:172, 60:92].copy()
    y, x = np.mgrid[-16:16, -16:16] + 0.5
    weights = (y * y + x * x < 256) * (1 if kind == "mask" else rng.integers(1, 256, y.shape))
    bounds = found(image, kernel, weights.astype(np.uint8), metric)
    error = ROUNDED if dtype == "uint8" else 1e-5
    check(bounds, plain_map(image, kernel, metric, weights), error=error)
    if metric == "zncc":
        assert (bounds.map[20:58, 30:68] == 0).all()
        assert bounds.map[90, 100] == 0


@pytest.mark.usefixtures("variant")
def test_weights_so_small_that_squares_vanish_come_to_an_end(rng, monkeypatch):
    """No power of two brings pixels that are near 1 nearer to it."""
    image = 0.55 + 0.4 * rng.random((30, 40, 1))
    kernel = image[3:12, 4:14].copy()
    image[:15] *= 1e-8
    whole = fused_weighted._planes

    def planes(*given):
        made, others = whole(*given)
        made[len(others["means"]) :] *= 1e-300
        return made, others

    monkeypatch.setattr(fused_weighted, "_planes", planes)
    assert found(image, kernel, np.ones((9, 10), np.uint8), "ncc").map.shape == (22, 31)


@pytest.mark.parametrize("offset", [0.0, 1.0, 1000.0, 1e5])
@pytest.mark.usefixtures("variant")
def test_floats_of_little_contrast_on_a_large_value(offset, rng):
    """Spreads near and below the one that counts as flat are summed directly."""
    image = (offset + rng.random((40, 280, 1)) * 1e-3).astype(np.float32)
    image[10:40, 100:160] = image[0, 0]
    image[5:30, 200:230] = rng.random((25, 30, 1), dtype=np.float32) * (offset + 1)
    kernel = image[6:26, 203:223].copy()
    weights = weights_of(rng, "shades", 20, 20, 1)
    score = metrics.exact(image, kernel, "zncc", 1.0, weights)
    bounds = found(image, kernel, weights, "zncc")
    truth = np.array([[score(y, x) for x in range(261)] for y in range(21)])
    assert (np.abs(bounds.map - truth) <= cell_errors(bounds)).all()
    assert (bounds.map[10:, 100:140] == 0).all()


@given(
    seed=st.integers(0, 2**32 - 1),
    kind=st.sampled_from(KINDS),
    faint=st.sampled_from(KINDS),
    bright=st.sampled_from([1.0, 1e4, 1e7, 1e10]),
    metric=st.sampled_from(["ncc", "zncc"]),
    size=st.sampled_from([(8, 8), (64, 64), (2, 5), (128, 128), (30, 100), (16, 16)]),
    sides=st.sampled_from([(256, 256), (192, 256), (320, 160), (160, 512)]),
    folds=st.sampled_from([1, 2]),
    variant=st.sampled_from(VARIANTS),
)
@settings(max_examples=120, deadline=None)
def test_rounding_stays_within_half_of_what_is_stated(
    seed, kind, faint, bright, metric, size, sides, folds, variant
):
    """A faint picture below a bright one, whose roundings a wide limit does not hide."""
    rng = np.random.default_rng(seed)
    image = patterns(rng, faint, 192, 192) / np.float32(255)
    image[:75] += bright * (patterns(rng, kind, 75, 192) / np.float32(255))
    kernel = image[128 - size[0] // 2 :, 9:][: size[0], : size[1]].copy()
    weights = rng.integers(0, 256, size, dtype=np.uint8)
    weights[0, 0] = weights[-1, -1] = 1
    if not metrics.has_scores(metrics.Kernel(kernel, weights), metric):
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(extensions.VARIANT_SETTING, variant)
        cut_like(patch, (1, 1), (folds * sides[0], sides[1]), folds)
        bounds = found(image, kernel, weights, metric, tolerance=1e6)
    off = np.abs(bounds.map - plain_map(image, kernel, metric, weights)) - ROUNDED
    assert (off <= cell_errors(bounds) / 1.5).all()


@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_any_size_stride_and_type(data, seed):
    rng = np.random.default_rng(seed)
    dtype = data.draw(st.sampled_from(DTYPES))
    metric = data.draw(st.sampled_from(CORRELATED))
    kind = data.draw(st.sampled_from(["mask", "shades", "channels"]))
    size = data.draw(st.tuples(st.integers(1, 40), st.integers(2, 300)))
    shape = data.draw(st.tuples(st.integers(1, size[0]), st.integers(2, min(size[1], 150))))
    channels = data.draw(st.integers(1, 4))
    stride = data.draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    image = values(rng, dtype, *size, channels)
    if data.draw(st.booleans()):
        image[:, : size[1] // 2] = image[0, 0]
    taps, weights = values(rng, dtype, *shape, channels), weights_of(rng, kind, *shape, channels)
    if not metrics.has_scores(metrics.Kernel(taps, weights), metric):
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(extensions.VARIANT_SETTING, data.draw(st.sampled_from(VARIANTS)))
        truth = plain_map(image, taps, metric, weights)[:: stride[0], :: stride[1]]
        check(found(image, taps, weights, metric, stride), truth, error=LARGEST[dtype])


def levels_of(rng, kind, height, width):
    """Visibility of an image, some of it in full, some not at all."""
    most = 1 if kind == "holes" else 255
    found = np.full((height, width), most, np.uint8)
    found[:, width // 2 :] = rng.integers(0, most + 1, (height, width - width // 2))
    found[height // 2 :, -width // 4 :] = 0
    return found


def shown(image, kernel, weights, levels, metric, stride, least):
    """The bounds of an image that is visible in part."""
    if weights is None:
        work = problem(image, kernel, metric, stride)
    else:
        of_values = weights.ndim == 3
        work = problem_of(image, kernel, weights, metric, stride, has_channel_weights=of_values)
    work = work.where_visible(int(levels.max()), least)
    assert fused_weighted.refusal(work) is None
    return visibility.prepare(fft, kernel, work, weights)(image, levels)


def check_shown(bounds, truth, hidden, error):
    np.testing.assert_array_equal(bounds.hidden, hidden)
    assert (bounds.map[hidden] == 0).all()
    off = np.where(hidden, 0, np.abs(bounds.map - truth))
    assert (off <= cell_errors(bounds)).all()
    assert bounds.error <= 1.1 * error
    side = blocks.BLOCK
    for row, col in np.ndindex(blocks.grid_shape(truth.shape)):
        cells = np.s_[row * side : (row + 1) * side, col * side : (col + 1) * side]
        seen = bounds.map[cells][~hidden[cells]]
        assert bounds.blocks.maxima[row, col] == (seen.max() if len(seen) else -np.inf)


@thinned(
    3,
    metric=CORRELATED,
    dtype=DTYPES,
    kind=["none", "mask", "shades", "channels"],
    visible=["holes", "levels"],
    sizes=[
        ((9, 11, 3), (9, 11, 3), (1, 1)),
        ((13, 90, 2), (3, 7, 2), (1, 1)),
        ((40, 31, 4), (8, 2, 4), (3, 2)),
    ],
)
@pytest.mark.usefixtures("variant")
def test_what_is_visible_against_the_oracle(metric, dtype, kind, visible, sizes, rng):
    size, kernel, stride = sizes
    image, taps = values(rng, dtype, *size), values(rng, dtype, *kernel)
    image[: size[0] // 2, : size[1] // 2] = image[0, 0]
    weights = None if kind == "none" else weights_of(rng, kind, *kernel)
    levels = levels_of(rng, visible, *size[:2])
    bounds = shown(image, taps, weights, levels, metric, stride, 0.4)
    truth = oracle_map(metric, image, taps, stride, weights, levels, 0.4)
    often = np.broadcast_to(1 if weights is None else np.atleast_3d(weights), kernel)
    windows = sliding_window_view(levels, kernel[:2])[:: stride[0], :: stride[1]]
    seen = np.einsum("yxij,ijc->yx", windows.astype(float), often)
    hidden = seen / (often.sum() * int(levels.max())) < 0.4
    # Sums of 16 bits times shades and levels are larger than float64 holds exactly.
    check_shown(bounds, truth, hidden, ROUNDED if dtype == "uint8" else 1e-5)


@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_holes_of_any_image(data, seed):
    """Of several tiles: what a hole hides does not matter, and counts as if it had no weight."""
    rng = np.random.default_rng(seed)
    dtype = data.draw(st.sampled_from(DTYPES))
    metric = data.draw(st.sampled_from(CORRELATED))
    kernel = data.draw(st.tuples(st.integers(1, 30), st.integers(2, 40), st.integers(1, 3)))
    image = values(rng, dtype, 270, 300, kernel[2])
    taps = values(rng, dtype, *kernel)
    levels = np.ones(image.shape[:2], np.uint8)
    levels[rng.random(levels.shape) < 0.3] = 0
    levels[100:150, 60:120] = 0
    image[levels == 0] = SPAN[dtype]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(extensions.VARIANT_SETTING, data.draw(st.sampled_from(VARIANTS)))
        bounds = shown(image, taps, None, levels, metric, (1, 1), 0.2)
    visible = metrics.Visibility(levels, 1)
    score = metrics.exact(image, taps, metric, SPAN[dtype], None, visible)
    windows = sliding_window_view(levels, kernel[:2])
    hidden = windows.mean((2, 3)) < 0.2
    np.testing.assert_array_equal(bounds.hidden, hidden)
    # Two pixels of 16 bits that differ by 1 have a spread of 0.5, which is the difference of sums
    # of squares near 2e9: float64 rounds it by 4e-7 of itself and more.
    most = LARGEST["float32"] if dtype == "uint16" and metric == "zncc" else LARGEST[dtype]
    for y, x in zip(*np.nonzero(~hidden), strict=True):
        if rng.random() < 0.01:
            assert abs(bounds.map[y, x] - score(y, x)) <= bounds.error <= most * 1.1


@pytest.mark.parametrize("noise", [0, 1e-9])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [(50, 1), (5, 5), (50, 20)])
@pytest.mark.usefixtures("variant")
def test_the_visible_part_of_a_kernel_may_be_black(size, dtype, noise, rng):
    """What its mean leaves behind there, which is of the bright part as well, is no contrast."""
    image = values(rng, dtype, 70, 60, 1)
    kernel = image[: size[0], : size[1]].copy()
    kernel[: size[0] * 3 // 5] = 0.1 * noise
    kernel[: size[0] * 3 // 5, 0] = noise
    levels = np.full((70, 60), 255, np.uint8)
    levels[60:] = 0
    bounds = shown(image, kernel, None, levels, "zncc", (1, 1), 0.1)
    truth = oracle_map("zncc", image, kernel, (1, 1), None, levels, 0.1)
    check_shown(bounds, truth, bounds.hidden, 1e-5)
    if noise == 0:
        assert not bounds.map[60 - size[0] * 3 // 5 :].any()


@pytest.mark.parametrize("metric", ["ncc", "zncc"])
@pytest.mark.parametrize("scale", [1e-8, 1e-13, 1e-17, 1e-30, 1e-200])
@pytest.mark.usefixtures("variant")
def test_the_visible_part_of_a_kernel_may_be_far_darker_than_the_rest(metric, scale, rng):
    image = rng.random((80, 90))
    image[30:40] *= scale
    levels = np.full(image.shape, 255, np.uint8)
    levels[20:30, 15:40] = 0
    options = {"metric": metric, "image_mask": levels, "min_visible": 0.3, "threshold": 1}
    (found,) = match(image, image[24:36, 20:34], **options)
    assert (found.x, found.y, found.score) == (20, 24, 1.0)


@pytest.mark.parametrize("is_hidden", [False, True])
@pytest.mark.parametrize("metric", ["ncc", "zncc"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.usefixtures("variant")
def test_zeros_have_no_sign(dtype, metric, is_hidden, rng):
    image = np.zeros((90, 110, 1), dtype)
    image[40:70, 30:80] = values(rng, dtype, 30, 50, 1)
    kernel, weights = image[44:56, 31:47].copy(), np.ones((12, 16), np.uint8)
    weights[:4, :5] = 0
    levels = np.full(image.shape[:2], 255, np.uint8)
    levels[:, 100:] = 0
    bounds = (
        shown(image, kernel, weights, levels, metric, (1, 1), 0.5)
        if is_hidden
        else found(image, kernel, weights, metric, (1, 1))
    )
    zeros = bounds.map[bounds.map == 0]
    assert zeros.size > 1000
    assert not np.signbit(zeros).any()


@pytest.mark.parametrize("kind", ["none", "mask"])
@pytest.mark.parametrize("metric", CORRELATED)
def test_matches_in_what_is_visible(metric, kind, rng):
    """In blocks of which some are hidden, in all or in part."""
    image = values(rng, "uint8", 90, 230, 3)
    image[40:60, 30:70] = image[0, 0]
    image[61:73, 100:111] = image[5:17, 20:31]
    kernel = image[5:17, 20:31].copy()
    levels = np.full((90, 230), 255, np.uint8)
    levels[:, 120:210] = 0
    levels[8:11, 22:25] = 100
    options = {
        "metric": metric,
        "top": 12,
        "overlap": 0.2,
        "threshold": -1.0,
        "min_visible": 0.3,
        "margin": True,
    }
    weights = None
    if kind == "mask":
        weights = np.zeros((12, 11), np.uint8)
        weights[2:, 1:9] = 1
        options["mask"] = weights * 255
    picture = Image.fromarray(np.dstack([image, levels]))
    wanted = match(picture, kernel, engine="fft", memory="60MB", **options)
    report = match(picture, kernel, engine="fft", map=True, **options)
    visible = metrics.Visibility(levels // 5, 51)  # without their common factor
    score = metrics.exact(image, kernel, metric, 255, weights, visible)
    assert report.matches == wanted.matches
    assert [m.score for m in report.matches] == [score(m.y, m.x) for m in report.matches]
    assert {(m.x, m.y) for m in report.matches[:2]} == {(20, 5), (100, 61)}
    assert (report.map[:, 125:195] == 0).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("metric", CORRELATED)
def test_matches_are_those_of_the_specification(dtype, metric, rng):
    image = values(rng, dtype, 90, 130, 3)
    image[40:60, 30:70] = image[0, 0]
    image[61:73, 100:111] = image[5:17, 20:31]  # a tie
    kernel = image[5:17, 20:31].copy()
    mask = np.zeros((12, 11), np.uint8)
    mask[2:, 1:9] = 255
    options = {
        "metric": metric,
        "top": 12,
        "overlap": 0.2,
        "threshold": -1.0,
        "mask": mask,
        "margin": True,
        "trim": False,
    }
    wanted = match(image, kernel, engine="fft", memory="60MB", **options)
    report = match(image, kernel, engine="fft", map=True, **options)
    score = metrics.exact(image, kernel, metric, SPAN[dtype], (mask > 0).astype(np.uint8))
    assert report.matches == wanted.matches
    assert [m.score for m in report.matches] == [score(m.y, m.x) for m in report.matches]
    assert [(m.x, m.y, m.score) for m in report.matches[:2]] == [(20, 5, 1.0), (100, 61, 1.0)]


def test_unusual_steps_are_copied(rng):
    image = values(rng, "uint8", 60, 80, 4)
    kernel = image[5:17, 20:31, :3].copy()
    weights = weights_of(rng, "shades", 12, 11, 3)
    for view in (image[..., :3], image[:, ::2, :3], image[::-1, :, :3], image[..., 2::-1]):
        truth = plain_map(np.ascontiguousarray(view), kernel, "zncc", weights)
        check(found(view, kernel, weights, "zncc"), truth, error=ROUNDED)


def arguments(**changed):
    """Arguments that fit, but for those that are changed."""
    planes = np.zeros((4, 5, 5))
    planes[:, 2, 2] = 1
    given = {
        "image": np.zeros((20, 20, 2), np.uint8), "levels": np.ones((20, 20), np.uint8),
        "spectra": kernel_parts.aligned(4 * _correlation.TILE_VALUES, np.float64),
        "planes": planes, "means": np.zeros(2), "map": np.zeros((16, 16), np.float32),
        "maxima": np.zeros((1, 1), np.float32), "errors": np.zeros((1, 1), np.float32),
        "hidden": np.zeros((16, 16), np.bool_), "metric": "zncc", "own": 1.0, "total": 1.0,
        "limit": 1.0, "least": 0.0, "stride_y": 1, "stride_x": 1, "block": 64,
        "weight_planes": 1, "parts_y": 1, "parts_x": 1, "variant": VARIANTS[-1],
        "sides": (256, 256), "folds": 1,
    }  # fmt: skip
    given["spectra"][:] = 0
    return given | changed


def test_arguments_that_fit_are_taken():
    _correlation.weighted_scores(**arguments())
    none = {"levels": np.empty((0, 0), np.uint8), "hidden": np.empty((0, 0), np.bool_)}
    planes = np.zeros((3, 5, 5))
    spectra = kernel_parts.aligned(3 * _correlation.TILE_VALUES, np.float64)
    spectra[:] = 0
    _correlation.weighted_scores(**arguments(planes=planes, spectra=spectra, **none))


@pytest.mark.parametrize(
    "changed",
    [
        {"image": np.zeros((20, 20, 2), np.int16)},
        {"image": np.zeros((20, 20, 2), np.int64)},
        {"image": np.zeros((20, 20), np.uint8)},
        {"image": np.zeros((20, 20, 1), np.uint8)},
        {"image": np.zeros((20, 19, 2), np.uint8)},
        {"image": np.zeros((4, 20, 2), np.uint8)},
        {"image": np.zeros((20, 40, 2), np.uint8)[:, ::2]},
        {"image": np.zeros((20, 20, 2), np.uint8)[::-1]},
        {"levels": np.ones((20, 19), np.uint8)},
        {"levels": np.ones((20, 40), np.uint8)[:, ::2]},
        {"levels": np.ones((20, 20), np.uint16)},
        {"levels": np.empty((0, 0), np.uint8)},  # beside a plane of squares
        {"spectra": np.zeros(4, np.float64)},
        {"spectra": kernel_parts.aligned(4 * _correlation.TILE_VALUES, np.float32)},
        {"spectra": kernel_parts.aligned(4 * _correlation.TILE_VALUES + 1, np.float64)[1:]},
        {"planes": np.zeros((3, 5, 5))},
        {"planes": np.zeros((4, 5, 6))},
        {"planes": np.zeros((4, 5, 5), np.float32)},
        {"planes": np.zeros((4, 257, 5))},
        {"means": np.zeros(3)},
        {"means": np.zeros(2, np.float32)},
        {"means": np.zeros(0)},
        {"map": np.zeros((16, 17), np.float32)},
        {"map": np.zeros((16, 16))},
        {"maxima": np.zeros((1, 2), np.float32)},
        {"errors": np.zeros((2, 1), np.float32)},
        {"hidden": np.zeros((16, 15), np.bool_)},
        {"hidden": np.empty((0, 0), np.bool_)},
        {"metric": "sad"},
        {"own": -1.0},
        {"own": float("nan")},
        {"total": 0.0},
        {"limit": 0.0},
        {"least": -1.0},
        {"stride_y": 0},
        {"stride_x": -1},
        {"block": 0},
        {"block": 65},
        {"weight_planes": 2},
        {"weight_planes": 0},
        {"parts_y": 0},
        {"parts_x": 5},
        {"parts_y": 4},  # of five rows
        {"parts_x": 2},  # with spectra of one part
        {"variant": "altivec"},
        {"sides": (255, 256)},
        {"sides": (256, 2048)},
        {"sides": (512, 256)},  # with spectra of others
        {"folds": 0},
        {"folds": 2},  # with spectra of one that is not folded
        {
            "folds": 2,
            "stride_y": 2,
            "map": np.zeros((8, 16), np.float32),
            "hidden": np.zeros((8, 16), np.bool_),
            "spectra": kernel_parts.aligned(4 * _correlation.values((256, 256), 2)[1], np.float64),
        },
    ],
)
def test_arguments_that_do_not_fit_are_refused(changed):
    with pytest.raises(ValueError, match=r"."):
        _correlation.weighted_scores(**arguments(**changed))


@pytest.mark.parametrize(
    "changed",
    [{"stride": (0, 1)}, {"stride": (1, -1)}, {"block": 0}, {"block": 65}, {"windows": (0, 5)},
     {"windows": (5, 0)}, {"kernel_shape": (257, 5, 1)}, {"kernel_shape": (5, 0, 1)},
     {"kernel_shape": (5, 5, 17)}, {"format": "q"}, {"weight_planes": 3}, {"parts_y": 0},
     {"metric": "sad"}, {"sides": (250, 256)}, {"folds": 3},
     {"kernel_shape": (200, 5, 1), "weight_planes": 1, "sides": (128, 128)}],
)  # fmt: skip
def test_sizes_that_scratch_refuses(changed):
    given = {
        "format": "d", "windows": (16, 16), "kernel_shape": (5, 5, 2), "has_levels": True,
        "metric": "zncc", "stride": (1, 1), "block": 64, "weight_planes": 2, "parts_y": 1,
        "parts_x": 1,
    }  # fmt: skip
    assert _correlation.weighted_scratch(**given) > 0
    with pytest.raises(ValueError, match=r"out of range|metric"):
        _correlation.weighted_scratch(**given | changed)


@pytest.mark.parametrize("metric", CORRELATED)
@pytest.mark.usefixtures("variant")
def test_float64_without_weights(metric, rng):
    image = values(rng, "float64", 60, 300, 2) * 1e-3 + 0.5  # lost in part by float32
    image[:, 250:] = image[0, 0]
    kernel = image[20:33, 100:120].copy()
    work = problem(image, kernel, metric)
    assert fft.can_bound_blocks(work)
    ones = np.ones((13, 20), np.uint8)
    check(fft.prepare(kernel, work)(image), plain_map(image, kernel, metric, ones))
