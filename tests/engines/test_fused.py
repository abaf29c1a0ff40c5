"""Correlations in C: every variant, type, metric and stride against the oracle and attacks."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
from fractions import Fraction
from functools import cache

import numpy as np
import pytest
from helpers import ENVIRONMENT
from helpers.bounds import cell_errors, check
from helpers.correlation import VARIANTS
from helpers.correlation import extension as _correlation
from helpers.cuts import all_cuts
from helpers.grids import thinned
from helpers.photographs import photograph
from helpers.pictures import KINDS, patterns
from helpers.problems import CORRELATED, SPAN, problem, values
from helpers.truths import oracle_map, plain_map, remembered
from hypothesis import example, given, settings
from hypothesis import strategies as st

from patchsim import match, metrics
from patchsim.engines import fft, simd
from patchsim.engines.common import cut_times, fused, fused_costs, kernel_parts
from patchsim.engines.tile_cache import Shared
from patchsim.machine import extensions
from patchsim.metrics import Kernel
from patchsim.planning import batching

FORMATS = {"uint8": "B", "uint16": "H", "float32": "f", "float64": "d"}
DTYPES = tuple(FORMATS)
NARROW = DTYPES[:3]  # what sad takes
# The largest of bytes in each type.
SCALES = {
    "uint8": np.uint8(1),
    "uint16": np.uint16(257),
    "float32": np.float32(1 / 255),
    "float64": 1 / 255,
}
DIRECT = [name for name in VARIANTS if _correlation.at_once(name, "B")[0]]


def check_direct(variant, image, kernel, metric, truth):
    """Check direct sums, where the variant has them for such pixels: they leave no rounding."""
    if _correlation.at_once(variant, FORMATS[image.dtype.name])[0]:
        error = 1e-5 if image.dtype.kind == "f" else 1e-6
        check(found(image, kernel, metric, is_direct=True), truth, error=error)


def exact_map(image, kernel, metric, stride=(1, 1), span=None):
    score = metrics.exact(image, kernel, metric, span or SPAN[image.dtype.name])
    rows, cols = ((image.shape[i] - kernel.shape[i]) // stride[i] + 1 for i in (0, 1))
    return np.array(
        [[score(y * stride[0], x * stride[1]) for x in range(cols)] for y in range(rows)]
    )


@cache
def noise_beside_a_photograph(masked):
    """An image, a kernel of it, its weights and the scores: sums of integers, a tap at a time."""
    rng = np.random.default_rng(20)
    image = values(rng, "uint8", 70, 300, 3)
    image[:40, 200:] = photograph("astronaut")[:40, 200:300]
    kernel = image[11:30, 210:241].copy()
    weights = None
    if masked:
        weights = rng.integers(0, 2 if masked == "mask" else 9, kernel.shape[:2], dtype=np.uint8)
    counts = np.ones(kernel.shape[:2], int) if weights is None else weights.astype(int)
    rows, cols = (image.shape[axis] - kernel.shape[axis] + 1 for axis in (0, 1))
    sums = np.zeros((rows, cols), int)
    for y, x in zip(*counts.nonzero(), strict=True):
        pixels = image[y : y + rows, x : x + cols].astype(int)
        sums += counts[y, x] * np.abs(pixels - kernel[y, x]).sum(2)
    return image, kernel, weights, 1 - sums / (3 * counts.sum() * 255)


@pytest.mark.parametrize("masked", [None, "mask", "shades"])
@pytest.mark.parametrize("tolerance", [0.01, 0.02, 0.07])
@pytest.mark.parametrize("stride", [(1, 1), (2, 3)])
@pytest.mark.usefixtures("variant")
def test_sad_within_a_tolerance(masked, tolerance, stride):
    image, kernel, weights, truth = noise_beside_a_photograph(masked)
    work = problem(image, kernel, "sad", stride, tolerance=tolerance)._replace(
        weight_sum=None if weights is None else int(weights.sum()),
        max_weight=1 if weights is None else int(weights.max()),
    )
    assert fused.can_take(work)
    bounds = fft.prepare(kernel, work, weights)(image)
    check(bounds, truth[:: stride[0], :: stride[1]], error=tolerance)
    assert bounds.error <= tolerance + 1e-6


@pytest.mark.parametrize("side", [400, 512])
def test_sad_of_large_kernels_within_a_tolerance(side):
    image = np.tile(photograph("astronaut"), (2, 2, 1))[: side + 24, 90 : side + 130].copy()
    kernel = image[9 : side + 9, 17 : side + 17, ::-1].copy()
    work = problem(image, kernel, "sad", tolerance=0.02)
    assert fused.can_take(work)
    truth = simd.prepare(kernel, work._replace(tolerance=0.0))(image)
    assert np.all(np.asarray(truth.error) == 0)
    check(fft.prepare(kernel, work)(image), truth.map, error=0.02)


@pytest.mark.parametrize("size", [(1, 4097), (2, 65500), (5000, 4500)])
@pytest.mark.parametrize(
    ("dtype", "metric"),
    [
        pair
        for pair in itertools.product(DTYPES, ("sad", "ssd", "zncc"))
        if pair != ("float64", "sad")
    ],
)
def test_kernels_too_large_for_any_cut_are_left_to_others(size, dtype, metric):
    images = [np.empty((height + 1, width + 4, 1), dtype) for height, width in (size, (9, 9))]
    large, small = (problem(image, image[1:, 4:], metric, tolerance=0.02) for image in images)
    assert not fused.can_take(large)
    assert fused.can_take(small)


@pytest.mark.parametrize("metric", ["sad", "ssd", "zncc"])
def test_rows_of_checkers_wider_than_transforms(metric):
    image = (np.indices((2, 5004)).sum(0) % 2 * 255).astype(np.uint8)
    kernel = image[:, 1:5001].copy()
    best = {
        match(image, kernel, metric=metric, tolerance=tolerance, map=True).best
        for tolerance in (0.0, 0.02)
    }
    assert [(one.x, one.score) for one in best] == [(1, 1.0)]


# Shares of the data range: what the image and the kernel have, before it is cut out of the image.
PICTURES = {
    "noise": lambda rng, shape: rng.random(shape),
    "checkers": lambda _rng, shape: np.indices(shape[:2]).sum(0)[..., None] % 2 + np.zeros(shape),
    "narrow": lambda rng, shape: 0.6 + 0.1 * rng.random(shape),
    "two values": lambda rng, shape: 0.3 + 0.4 * rng.integers(0, 2, shape),
    "outliers": lambda rng, shape: np.where(rng.random(shape) < 0.02, 1.0, rng.random(shape) / 50),
    "one value": lambda _rng, shape: np.full(shape, 0.7),
    "ramp": lambda _rng, shape: np.linspace(0, 1, shape[1])[:, None] + np.zeros(shape),
}


@pytest.mark.parametrize("picture", PICTURES)
@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.parametrize(
    ("image_shape", "size", "stride", "tolerance"),
    [
        ((37, 41, 1), (37, 41), (1, 1), 0.02),  # as large as the image
        ((9, 150, 4), (1, 1), (1, 1), 0.02),
        ((67, 143, 3), (17, 30), (1, 1), 0.07),
        ((59, 143, 2), (21, 13), (3, 2), 0.01),
    ],
)
@pytest.mark.usefixtures("variant")
def test_sad_of_every_type_is_within_what_is_stated(
    picture, dtype, image_shape, size, stride, tolerance, rng
):
    """Of a kernel that lies in the image, and of its negative, beyond whose range pixels lie."""
    image = (PICTURES[picture](rng, image_shape) * SPAN[dtype]).astype(dtype)
    for is_inverted in (False, True):
        kernel = image[-size[0] :, -size[1] :].copy()
        if is_inverted:
            kernel = np.ascontiguousarray(SPAN[dtype] - kernel).astype(dtype)
        work = problem(image, kernel, "sad", stride, tolerance=tolerance)
        assert fused.can_take(work)
        bounds = fft.prepare(kernel, work)(image)
        windows = np.lib.stride_tricks.sliding_window_view(image.astype(float), size, (0, 1))
        windows = windows[:: stride[0], :: stride[1]]
        off = np.abs(windows - kernel.transpose(2, 0, 1)).mean((2, 3, 4))
        check(bounds, 1 - off / SPAN[dtype], error=tolerance)
        assert bounds.error <= tolerance + 2e-6


# The metric and type of the pixels, the kernels' size, the stride, and whether a map is wanted.
TOGETHER = [
    ("zncc", "uint8", (16, 16), (1, 1), True),
    ("zncc", "float32", (45, 31), (2, 3), True),
    ("zncc", "uint16", (140, 70), (1, 1), False),
    ("ncc", "uint8", (140, 70), (1, 1), True),
    ("ncc", "float32", (16, 16), (1, 1), True),
    ("zncc", "float64", (16, 16), (1, 1), True),
    ("ssd", "float64", (140, 70), (1, 1), False),
    ("ssd", "uint8", (45, 31), (1, 1), True),
    ("ssd", "float32", (16, 16), (3, 1), True),
    ("sad", "uint8", (45, 31), (1, 1), True),
    ("sad", "float32", (45, 31), (1, 1), True),
]


@pytest.mark.parametrize(("metric", "dtype", "size", "stride", "map_wanted"), TOGETHER)
@pytest.mark.usefixtures("variant")
def test_kernels_of_one_size_score_as_each_alone(
    metric, dtype, size, stride, map_wanted, monkeypatch
):
    """To the last bit, from one transform of each tile; part of the picture is made again."""
    image = photograph("astronaut")[:300, :400].copy()
    image[:, 170:] = image[:, 170:] // 16 + 100
    image[90:220, 200:330] = 77
    if (metric, dtype) == ("sad", "uint8"):  # every kernel has about the range of the type
        image //= 8
        image[::2] = 255 - image[::2]
    if dtype != "uint8":
        image = (image * (SPAN[dtype] / 255)).astype(dtype)
    height, width = size
    corners = [(20 + 9 * i, 30 + 6 * i) for i in range(11)]
    every = [image[y : y + height, x : x + width].copy() for y, x in corners]
    every[4] = every[4][:, :-2].copy()  # of another size, between the others
    tolerance = 0.02 if metric == "sad" else 0.0
    works = [
        problem(image, one, metric, stride, map_wanted=map_wanted, tolerance=tolerance)
        for one in every
    ]
    alone = [fft.prepare(*pair)(image) for pair in zip(every, works, strict=True)]
    calls = []

    def watched(**arguments):
        calls.append(len(arguments["taps"]))
        return scores(**arguments)

    scores = _correlation.scores
    monkeypatch.setattr(_correlation, "scores", watched)
    together = [work._replace(kernel_count=11, same_size=9) for work in works]
    # Eight of one size, the one of another, and two that are left of the first; or one by one, as
    # those of `sad` that differ in their ranges.
    one_by_one = [1] * 11
    at_most = one_by_one if (metric, dtype) == ("sad", "float32") else [8, 1, 2]
    for most, expected in ((1 << 30, at_most), (1, one_by_one)):
        calls.clear()
        monkeypatch.setattr(fused_costs, "_AT_ONCE_BYTES", most)
        prepared = fft.prepare_together([Kernel(one) for one in every], together)
        shared = Shared(image, image.shape[:2])
        found = [one(shared, work.map_shape) for one, work in zip(prepared, works, strict=True)]
        for i, one in enumerate(alone):
            np.testing.assert_array_equal(found[i].map, one.map)
            np.testing.assert_array_equal(found[i].blocks.maxima, one.blocks.maxima)
            np.testing.assert_array_equal(found[i].blocks.errors, one.blocks.errors)
            assert found[i].error == one.error
        assert calls == expected


def engine_of(is_direct):
    return simd if is_direct else fft


def found(image, kernel, metric, stride=(1, 1), *, is_direct=False, **options):
    """The bounds of a tile that is the whole image."""
    work = problem(image, kernel, metric, stride, **options)
    assert fused.refusal(work, is_direct=is_direct) is None
    engine = engine_of(is_direct)
    assert engine.can_bound_blocks(work)
    return engine.prepare(kernel, work)(image)


@pytest.fixture(params=VARIANTS)
def variant(request, monkeypatch):
    monkeypatch.setenv(extensions.VARIANT_SETTING, request.param)
    return request.param


@pytest.mark.parametrize("metric", CORRELATED)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("size", "kernel", "stride"),
    [
        ((9, 11, 1), (1, 1, 1), (1, 1)),
        ((9, 11, 3), (9, 11, 3), (1, 1)),
        ((13, 40, 2), (3, 17, 2), (1, 1)),
        ((40, 21, 5), (18, 1, 5), (3, 1)),
        ((23, 35, 1), (4, 6, 1), (2, 5)),
    ],
)
def test_small_pictures_against_the_oracle(metric, dtype, size, kernel, stride, variant, rng):
    if metric == "zncc" and kernel[:2] == (1, 1):
        pytest.skip("such a kernel is refused")
    image, taps = values(rng, dtype, *size), values(rng, dtype, *kernel)
    truth = oracle_map(metric, image, taps, stride)
    check(found(image, taps, metric, stride), truth)
    if stride == (1, 1):
        check_direct(variant, image, taps, metric, truth)


@cache
def photograph_of_several_tiles(metric, dtype):
    """An image, a kernel of it and the scores; a part of the image twice, and its scores."""
    photo = photograph("astronaut")[:300, :420]
    image = photo * SCALES[dtype]
    image[100:160, 50:180] = image[0, 0]  # flat: no contrast, equal windows
    kernel = image[20:33, 300:311].copy()
    wide = np.concatenate([image[:60], image[:60, :330]], 1)
    return image, kernel, plain_map(image, kernel, metric), wide, plain_map(wide, kernel, metric)


@pytest.mark.parametrize("metric", CORRELATED)
@pytest.mark.parametrize("dtype", DTYPES)
def test_photographs_of_several_tiles(metric, dtype, variant):
    image, kernel, truth, wide, truth_of_wide = photograph_of_several_tiles(metric, dtype)
    check(found(image, kernel, metric), truth)
    # One tile alone, and three of a row: the last of an odd number is transformed without another.
    check(found(image[:60, :200], kernel, metric), truth[:48, :190])
    check(found(wide, kernel, metric), truth_of_wide)
    check_direct(variant, image, kernel, metric, truth)


def cut_like(monkeypatch, parts, sides, folds=1):
    """Have kernels cut into these parts, for transforms of tiles of these sides."""
    cut = kernel_parts.Cut(parts, sides, folds, 1, 1.0, 0.0)
    for module in (fused, fused_costs):
        monkeypatch.setattr(module, "cut_of", lambda _problem: cut)
        monkeypatch.setattr(module, "cut_of_tile", lambda _problem, _windows: cut)


@thinned(
    folds=[1, 2],
    sides=[*itertools.pairwise(_correlation.SIDES), (512, 128)],
    metric=CORRELATED,
)
def test_transforms_of_all_sides(metric, sides, folds, variant, monkeypatch):
    cut_like(monkeypatch, (1, 1), (folds * sides[0], sides[1]), folds)
    for dtype in DTYPES if variant == VARIANTS[0] else ("uint8",):
        image, kernel, truth, wide, truth_of_wide = photograph_of_several_tiles(metric, dtype)
        check(found(image, kernel, metric), truth)
        check(found(wide, kernel, metric), truth_of_wide)
        step = 3 if folds == 1 else 1
        check(found(image, kernel, metric, (step, 2)), truth[::step, ::2])


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (2, 3), (129, 40)])
@pytest.mark.parametrize("shape", [(129, 131), (256, 256), (400, 300)])
@pytest.mark.usefixtures("variant")
def test_folded_tiles_of_odd_and_even_kernels(size, shape, rng, monkeypatch):
    """Of a kernel of one row its odd rows are none."""
    image, kernel = (values(rng, "uint8", *sides, 3) for sides in (shape, size))
    truth = plain_map(image, kernel, "ssd")
    for parts in [(1, 1)] if min(size) < 3 else [(1, 1), (3, 2)]:  # parts of 43 rows
        cut_like(monkeypatch, parts, (256, 128), 2)
        check(found(image, kernel, "ssd"), truth)


@pytest.mark.parametrize("kernel", [(32, 32), (64, 64), (128, 128), (9, 200), (256, 256)])
@pytest.mark.parametrize("windows", [(1, 1), (193, 193), (385, 257), (897, 1900)])
def test_sides_are_those_that_take_least_as_all_of_them_say(kernel, windows):
    chosen = kernel_parts.best_cut((*kernel, 1), windows)
    least, of_chosen = math.inf, math.inf
    for folds, down, across, parts, pairs, rows in all_cuts(kernel, windows):
        transform = cut_times.of_floats((down, across), folds, 1, is_near=False)
        time = pairs * (transform * (parts + 0.3) + 0.15)
        products = 4 * rows * windows[1] / 2**20
        time += math.prod(windows) / 2**16 * 0.2 * max(0, math.log2(products))
        least = min(least, time)
        if (down, across, folds, parts) == (*chosen.sides, chosen.folds, math.prod(chosen.parts)):
            of_chosen = min(of_chosen, time)
            assert pairs >= chosen.pairs
    assert of_chosen == pytest.approx(least)


@pytest.mark.parametrize("folds", [1, 2])
@pytest.mark.parametrize(
    ("cols", "tiles"), [(97, 1), (98, 2), (192, 2), (193, 2), (194, 3), (289, 3), (290, 4)]
)
@pytest.mark.usefixtures("variant")
def test_the_last_tile_of_a_row_has_the_windows_that_are_no_vector(
    cols, tiles, folds, rng, monkeypatch
):
    """Tiles of 97 windows begin at multiples of 96. All are made again, and so are counted."""
    cut_like(monkeypatch, (1, 1), (folds * 128, 128), folds)
    counts = watched_counts(monkeypatch)
    image = rng.integers(0, 2, (128, cols + 31, 1)).astype(np.uint16)
    image[:24] *= 65535
    kernel = image[60:92, 20:52].copy()
    check(found(image, kernel, "zncc"), plain_map(image, kernel, "zncc"))
    assert counts[-1][1] == tiles
    cut = kernel_parts.Cut((1, 1), (folds * 128, 128), folds, 1, 1.0, 0.0)
    assert cut.tiles((32, 32), (97, cols), (1, 1)) == tiles


def test_a_single_block_is_transformed_in_a_tile_of_its_own_size(rng):
    """Whose scores are those of a kernel that was prepared for the block alone."""
    image, kernel = values(rng, "uint8", 500, 500, 1), values(rng, "uint8", 50, 50, 1)
    whole = fft.prepare(kernel, problem(image, kernel, "zncc"))
    block = image[100:213, 30:143].copy()
    alone = fft.prepare(kernel, problem(block, kernel, "zncc"))(block)
    of_image, of_block = (
        fused_costs.cut_of(problem(pixels, kernel, "zncc")) for pixels in (image, block)
    )
    least, _ = kernel_parts.extension().values((128, 128), 1)
    assert of_block.tile_values == least < of_image.tile_values
    large, before = whole(image), whole(block)
    np.testing.assert_array_equal(before.map, alone.map)
    np.testing.assert_array_equal(whole(image).map, large.map)
    np.testing.assert_array_equal(whole(block).map, before.map)


@cache
def large_kernel(metric, dtype, size):
    """Of a picture of few windows, which a plain sum has time for: both, and the scores."""
    image = values(np.random.default_rng(20), dtype, size[0] + 9, size[1] + 30, 2)
    kernel = image[3 : 3 + size[0], 11 : 11 + size[1]].copy()
    return image, kernel, plain_map(image, kernel, metric)


@pytest.mark.parametrize("metric", CORRELATED)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("size", "parts"), [((190, 70), (2, 1)), ((60, 240), (1, 2))])
def test_kernels_in_parts(metric, dtype, size, parts, variant, monkeypatch):
    cut_like(monkeypatch, parts, (256, 256))
    image, kernel, truth = large_kernel(metric, dtype, size)
    check(found(image, kernel, metric), truth)
    if variant == VARIANTS[0]:
        check(found(image, kernel, metric, (3, 2)), truth[::3, ::2])


@pytest.mark.parametrize("dtype", DTYPES)
def test_kernels_in_parts_across_tiles(dtype, monkeypatch):
    """Against the transforms of scipy, in float64."""
    photo = photograph("camera")[:, :, None]
    image = photo * SCALES[dtype]
    kernel = image[200:410, 150:350].copy()
    cut_like(monkeypatch, (2, 2), (256, 192))
    bounds = found(image, kernel, "zncc")
    monkeypatch.setattr(kernel_parts, "extension", lambda: None)
    is_float = dtype.startswith("float")
    work = problem(image, kernel, "zncc", exact=not is_float)
    other = fft.prepare(kernel, work)(image)
    assert np.max(other.error) < 1e-9 or is_float
    check(bounds, other.map.astype(float), error=2e-5 if is_float else 1e-5)


@pytest.mark.parametrize("width", [*range(1, 10), 15, 16, 17, 33])
@pytest.mark.parametrize("height", [1, 2, 3, 4, 5, 6, 7, 12])
def test_direct_sums_of_every_remainder(width, height, variant, rng):
    for dtype in DTYPES:
        image = values(rng, dtype, height + 13, width + 67, 2)
        kernel = values(rng, dtype, height, width, 2)
        check_direct(variant, image, kernel, "ssd", plain_map(image, kernel, "ssd"))


@pytest.mark.parametrize("metric", CORRELATED)
@pytest.mark.parametrize("size", [(181, 182), (182, 182), (104, 105), (105, 105)])
@pytest.mark.usefixtures("variant")
def test_bright_windows_whose_sums_of_squares_are_about_31_bits(metric, size):
    """The largest sums that 32 bits with a sign hold, and the smallest that they do not."""
    channels = 1 if size[0] > 180 else 3
    rng = np.random.default_rng(31)
    image = rng.integers(252, 256, (size[0] + 2, size[1] + 18, channels)).astype(np.uint8)
    image[:, ::2] = 255
    kernel = np.ascontiguousarray(image[1 : size[0] + 1, 5 : size[1] + 5])
    squares = math.prod(kernel.shape) * 255**2
    assert (squares < 1 << 31) == (size in {(181, 182), (104, 105)})
    check(found(image, kernel, metric), plain_map(image, kernel, metric), error=1e-5)


@pytest.mark.parametrize("is_direct", [False, True])
@pytest.mark.parametrize("metric", CORRELATED)
def test_the_largest_sums(metric, is_direct, variant):
    """Checkers of the largest and smallest values."""
    if is_direct and variant not in DIRECT:
        pytest.skip("this variant has no direct sums")
    side = 150
    image = (np.indices((side + 3, side + 4)).sum(0) % 2 * 255).astype(np.uint8)[..., None]
    bounds = found(image, image[:side, :side].copy(), metric, is_direct=is_direct)
    even = np.indices(bounds.map.shape).sum(0) % 2 == 0
    opposite = {"ssd": 0.0, "ncc": 0.0, "zncc": -1.0}[metric]
    check(bounds, np.where(even, 1.0, opposite))


@pytest.mark.parametrize("is_direct", [False, True])
@pytest.mark.usefixtures("variant")
def test_sixteen_bits_of_the_largest_sums(is_direct):
    side = 150
    image = (np.indices((side + 3, side + 4)).sum(0) % 2 * 65535).astype(np.uint16)[..., None]
    bounds = found(image, image[:side, :side].copy(), "zncc", is_direct=is_direct)
    even = np.indices(bounds.map.shape).sum(0) % 2 == 0
    check(bounds, np.where(even, 1.0, -1.0))


@pytest.mark.usefixtures("variant")
def test_flat_windows_score_0_without_an_error(rng):
    image = np.full((130, 130, 3), 77, np.uint8)
    image[100:, 100:] = values(rng, "uint8", 30, 30, 3)
    for dtype in DTYPES:
        picture = image * SCALES[dtype]
        kernel = picture[104:120, 104:120].copy()
        bounds = found(picture, kernel, "zncc")
        assert (bounds.map[:64, :64] == 0).all()
        assert bounds.blocks.errors[0, 0] == 0
        assert bounds.blocks.errors[1, 1] > 0


@pytest.mark.parametrize("is_direct", [False, True])
@pytest.mark.parametrize("metric", ["ncc", "zncc"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_zeros_have_no_sign(dtype, metric, is_direct, variant, rng):
    """That of rounding would depend on the tiling, and so would the bytes of a map's file."""
    if is_direct and not _correlation.at_once(variant, FORMATS[dtype])[0]:
        pytest.skip("the variant has no direct sums of such pixels")
    image = np.zeros((90, 110, 1), dtype)
    image[40:70, 30:80] = values(rng, dtype, 30, 50, 1)
    image[75:, 50:] = image.max()
    bounds = found(image, image[44:56, 31:47].copy(), metric, is_direct=is_direct)
    zeros = bounds.map[bounds.map == 0]
    assert zeros.size > 1000
    assert not np.signbit(zeros).any()


@cache
def flat_beside_contrast(metric, dtype):
    """An image, a kernel of it and the scores."""
    rng = np.random.default_rng(20)
    image = rng.integers(0, 2, (200, 500, 1)).astype(np.uint8) * 255
    image[:, :240] = rng.integers(0, 2, (200, 240, 1)) + 3
    if dtype == "uint16":
        image = image.astype(np.uint16) * 200
        image[:, :240] //= 200
    kernel = image[40:72, 30:62].copy()
    return image, kernel, plain_map(image, kernel, metric)


@pytest.mark.parametrize("metric", ["ncc", "zncc"])
def test_a_flat_tile_beside_one_of_contrast(metric, variant):
    """What is left of a small spread beside a large norm, the worst that rounding can do."""
    for dtype in ("uint8", "uint16"):
        image, kernel, truth = flat_beside_contrast(metric, dtype)
        check(found(image, kernel, metric), truth)
        check_direct(variant, image, kernel, metric, truth)


@cache
def sky_and_wall(metric, dtype):
    """An image, a kernel of it and the scores."""
    rng = np.random.default_rng(20)
    faint = rng.integers(0, 2, (230, 400, 1))
    image = rng.integers(0, 2, (230, 400, 1)) * 255
    image[:, :140] = 240 + faint[:, :140]
    image[:, 140:260] = faint[:, 140:260]
    image = image.astype(np.uint8) * SCALES[dtype]
    kernel = image[40:70, 245:273].copy()
    return image, kernel, plain_map(image, kernel, metric)


def watched_counts(monkeypatch):
    """A list that gets, of each tile, the windows summed directly and the transforms made again."""
    counts, scores = [], _correlation.scores

    def watched(**arguments):
        counts.append(scores(**arguments))
        return counts[-1]

    monkeypatch.setattr(_correlation, "scores", watched)
    return counts


@pytest.mark.parametrize("folds", [1, 2])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("metric", ["ncc", "zncc"])
@pytest.mark.usefixtures("variant")
def test_tiles_with_many_windows_of_little_contrast_have_no_direct_sums(
    metric, dtype, folds, monkeypatch
):
    """They are made again at once, bright ones and dark ones beside black and white."""
    image, kernel, truth = sky_and_wall(metric, dtype)
    counts = watched_counts(monkeypatch)
    for parts in ((1, 1), (2, 2)):
        cut_like(monkeypatch, parts, (256, 256), folds)
        check(found(image, kernel, metric), truth)
        # Of bytes more are summed, and the sums of floats may leave windows open.
        if dtype == "uint16":
            assert counts[-1][0] == 0
            assert counts[-1][1] > 0
        if folds == 1:  # a sixth of the windows, which are summed
            check(found(image, kernel, metric, (3, 2)), truth[::3, ::2])


@thinned(
    size=[(1, 40), (31, 17), (32, 32), (64, 64)],
    tile=[(256, 256, 1), (128, 192, 1), (512, 128, 2)],
    dtype=NARROW,
    channels=[1, 3],
)
@pytest.mark.usefixtures("variant")
def test_rounding_stays_within_what_is_stated_where_mosaics_are_taken_off(
    channels, dtype, size, tile, rng, monkeypatch
):
    """Noise on shades that grow from 0 to 200, in three tiles of a row: one has noise alone."""
    cut_like(monkeypatch, (1, 1), tile[:2], tile[2])
    counts = watched_counts(monkeypatch)
    y, x = np.indices((150, 500))
    image = np.stack([100 + 100 * np.sin(y / 90 + x / (70 + 9 * c)) for c in range(channels)], 2)
    image[:, 330:] = 120
    image = np.rint(image + rng.integers(0, 6, image.shape)).astype(np.uint8) * SCALES[dtype]
    kernel = image[30 : 30 + size[0], 50 : 50 + size[1]].copy()
    truth = plain_map(image, kernel, "zncc")
    bounds = found(image, kernel, "zncc")
    check(bounds, truth)
    # A larger limit allows none: more of the windows are made again then.
    without = found(image, kernel, "zncc", tolerance=1.001e-5)
    check(without, truth, error=1.001e-5)
    assert not np.array_equal(bounds.map, without.map)
    made, made_without = (direct + 5e3 * repeated for direct, repeated in counts)
    assert made < made_without


@pytest.mark.parametrize("folds", [1, 2])
@pytest.mark.parametrize("width", [256, 447])
@pytest.mark.usefixtures("variant")
def test_rounding_of_the_mosaic_itself_is_stated(width, folds, rng, monkeypatch):
    """Squares of one value each, of which transforms have nothing left: of one tile, and of two."""
    cut_like(monkeypatch, (1, 1), (256, 256), folds)
    squares = rng.integers(0, 60000, (16, 28, 1))
    for left in (3, 16):
        squares[4:12, left : left + 9] = 100
        squares[8, left + 4] = 101
    image = squares.repeat(16, 0).repeat(16, 1)[:, :width].astype(np.uint16)
    kernel = rng.integers(0, 256, (64, 64, 1)).astype(np.uint16)
    bounds = found(image, kernel, "zncc")
    check(bounds, plain_map(image, kernel, "zncc"))
    assert bounds.blocks.errors.max() > 2.0**-21


def check_together(image, kernels, monkeypatch, metric="ncc"):
    """Check that kernels of one call have the scores and errors of each alone, to the last bit."""
    cut_like(monkeypatch, (1, 1), (256, 256), 1)
    works = [problem(image, one, metric) for one in kernels]
    alone = [fft.prepare(*pair)(image) for pair in zip(kernels, works, strict=True)]
    together = [work._replace(kernel_count=2, same_size=2) for work in works]
    prepared = fft.prepare_together([Kernel(one) for one in kernels], together)
    shared = Shared(image, image.shape[:2])
    for one, score, work in zip(alone, prepared, works, strict=True):
        bounds = score(shared, work.map_shape)
        np.testing.assert_array_equal(bounds.map, one.map)
        np.testing.assert_array_equal(bounds.blocks.errors, one.blocks.errors)


@pytest.mark.usefixtures("variant")
def test_a_tile_made_in_double_precision_stays_the_pair_of_its_pair(monkeypatch):
    """Scores are to the last bit those of each kernel alone, whose tiles round in pairs.

    Of three tiles of one row the second is half dark, and its contrast is between the others'. A
    kernel of contrast leaves it open for `ncc`; a faint bright one does not.
    """
    rng = np.random.default_rng(20)
    image = rng.integers(0, 2, (230, 700, 1)) * 65535
    image[:, 460:] //= 3
    image[:, 270:400] = rng.integers(0, 2, (230, 130, 1)) * 257
    image = image.astype(np.uint16)
    bright = (61680 + 257 * rng.integers(0, 2, (30, 28, 1))).astype(np.uint16)
    check_together(image, [image[40:70, 20:48].copy(), bright], monkeypatch)


@pytest.mark.parametrize("dtype", NARROW)
@pytest.mark.usefixtures("variant")
def test_mosaics_are_those_of_each_kernel_alone(dtype, monkeypatch):
    """A smooth kernel leaves more windows open than one of noise, which decides on no mosaic."""
    photo = photograph("astronaut")[:300, :400].copy()
    smooth, noisy = (
        photo[200:232, 130:162].copy(),
        values(np.random.default_rng(20), "uint8", 32, 32, 3),
    )
    pictures = [picture * SCALES[dtype] for picture in (photo, smooth, noisy)]
    check_together(pictures[0], pictures[1:], monkeypatch, "zncc")


@pytest.mark.usefixtures("variant")
def test_a_tile_is_made_in_double_precision_whether_another_kernel_needs_it_in_single(
    monkeypatch,
):
    """What is expected of a tile before its transform stands, though the transform tells more.

    A tenth of the tile's windows are dark: so many are expected to pay for double precision, and
    would not pay once there is a transform in single precision, which a faint bright kernel needs.
    """
    rng = np.random.default_rng(20)
    image = 255 * rng.integers(0, 2, (230, 230, 1), dtype=np.uint8)
    image[:, 110:160] = rng.integers(0, 2, (230, 50, 1))
    bright = 240 + rng.integers(0, 2, (30, 28, 1), dtype=np.uint8)
    check_together(image, [image[40:70, 20:48].copy(), bright], monkeypatch)


@pytest.mark.parametrize("metric", ["ncc", "zncc"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_kernel_keeps_its_transforms_in_double_precision(metric, dtype, monkeypatch):
    """The second tile of little contrast takes them; its scores are those of the first."""
    image, kernel, truth = sky_and_wall(metric, dtype)
    taken = []

    def watched(**arguments):
        taken.append(arguments["double_spectra"])
        return scores(**arguments)

    scores = _correlation.scores
    monkeypatch.setattr(_correlation, "scores", watched)
    score = fft.prepare(kernel, problem(image, kernel, metric))
    first, second, third = (score(image) for _ in range(3))
    assert taken[0] is None
    assert taken[1] is not None
    assert taken[2] is taken[1]
    check(first, truth)
    for later in (second, third):
        np.testing.assert_array_equal(later.map, first.map)
        assert later.error == first.error


@pytest.mark.parametrize("width", [1, 2, 16, 31, 32, 33, 63, 64, 65, 97])
@pytest.mark.parametrize("height", [5, 39])
@pytest.mark.usefixtures("variant")
def test_windows_of_bytes_that_are_summed_again_have_every_remainder(height, width, monkeypatch):
    """Few windows of little contrast beside the largest: they are exact, alone or side by side."""
    rng = np.random.default_rng(20)
    counts = watched_counts(monkeypatch)
    for channels, stride in itertools.product((1, 3), ((1, 1), (2, 3))):
        shape = height + 70, width + 90, channels
        image = 255 * rng.integers(0, 2, shape, dtype=np.uint8)
        kernel = image[1 : height + 1, 2 : width + 2].copy()
        faint = 254 + rng.integers(0, 2, (height + 4, width + 6, channels), dtype=np.uint8)
        image[40 : 40 + height + 4, 60 : 60 + width + 6] = faint
        counts.clear()
        bounds = found(image, kernel, "zncc", stride)
        truth = plain_map(image, kernel, "zncc")[:: stride[0], :: stride[1]]
        check(bounds, truth)
        assert counts[0][0] > 0
        assert counts[0][1] == 0
        rows, cols = (
            slice(40 // stride[0], 43 // stride[0]),
            slice(60 // stride[1], 66 // stride[1]),
        )
        assert np.abs(bounds.map - truth)[rows, cols].max() <= 2.0**-21


@pytest.mark.usefixtures("variant")
@pytest.mark.parametrize(("rare", "is_off_by_little"), [(2, True), (40, False)])
def test_scores_are_made_again_if_they_are_off_by_more_than_their_use_allows(
    rare, is_off_by_little
):
    """A score may be off by 1e-5 in a map, by 0.02 without one, or by the tolerance if it is more.

    Two neighbouring values beside black and white have little contrast, less where one is rare.
    """
    image, kernel, _ = flat_beside_contrast("zncc", "uint16")
    image = image.copy()
    image[:, :240] = np.random.default_rng(20).integers(0, rare, (200, 240, 1)) < 1
    truth = plain_map(image, kernel, "zncc")
    first = found(image, kernel, "zncc", tolerance=1.0)
    assert 0.001 < first.error < 0.02 if is_off_by_little else 0.02 < first.error < 0.2
    for options, limit in (
        ({}, 1e-5),
        ({"tolerance": 0.9 * first.error}, 0.9 * first.error),
        ({"tolerance": 1.1 * first.error}, 1.1 * first.error),
        ({"map_wanted": False}, 0.02),
        ({"map_wanted": False, "tolerance": 1e-6}, 0.02),
        ({"map_wanted": False, "tolerance": 1.1 * first.error}, max(0.02, 1.1 * first.error)),
    ):
        assert kernel_parts.error_limit(problem(image, kernel, "zncc", **options)) == limit
        bounds = found(image, kernel, "zncc", **options)
        assert (np.abs(bounds.map - truth) <= bounds.error).all()
        if limit < first.error:
            assert bounds.error <= limit
        else:
            assert bounds.error == first.error


@pytest.mark.usefixtures("variant")
def test_bytes_that_are_made_again_lose_no_digits():
    """A large window of one value but for a pixel: X is about 1, of sums of some thousand millions.

    The corner of the map has such windows alone, so that the scores made again state its error.
    """
    image = np.random.default_rng(20).integers(0, 256, (469, 469, 1)).astype(np.uint8)
    image[64:, 64:] = 254
    kernel = np.full((400, 400, 1), 254, np.uint8)
    image[300, 300] = kernel[10, 20] = 255
    truth, spread = exact_zncc(image, kernel)
    assert (spread[64:, 64:] == kernel.size - 1).all()
    bounds = found(image, kernel, "zncc")
    assert bounds.blocks.errors[-1, -1] == np.float32(2.0**-21)
    # A score is about -1/160,000 there, of which single precision has 1e-12.
    assert np.abs(bounds.map - truth)[64:, 64:].max() <= 1e-12


@pytest.mark.parametrize("stride", [(1, 1), (2, 3)])
@pytest.mark.parametrize(("dtype", "side"), [("uint8", 797), ("uint16", 400), ("uint16", 513)])
@pytest.mark.usefixtures("variant")
def test_windows_of_large_kernels_that_are_made_again_lose_no_digits(
    dtype, side, stride, monkeypatch
):
    """Windows of one value but for a pixel, beside noise: n E is beyond 2^53, or beyond 2^64."""
    rng, largest = np.random.default_rng(24), SPAN[dtype]
    image = np.full((side + 9, side + 90, 3), largest, dtype)
    image[side // 2, side // 3] -= 1
    image[:, side + 20 :] = rng.integers(0, largest, image[:, side + 20 :].shape)
    kernel = np.full((side, side, 3), largest, dtype)
    kernel[side // 2, side // 3] -= 1
    kernel[side // 2 - 2, side // 3 - 3] -= 1
    counts = watched_counts(monkeypatch)
    bounds = found(image, kernel, "zncc", stride)
    assert sum(counts[-1]) > 0
    for row, col in ((0, 0), (1, 2), (3, 4), (4, 5), (2, 6)):
        corner = row * stride[0], col * stride[1]
        off = abs(zncc_of_integers(image, kernel, *corner) - float(bounds.map[row, col]))
        assert off <= bounds.error
        assert off < 1e-7


def zncc_of_integers(image, kernel, y, x):
    """The score of a window, of sums that are exact."""
    height, width = kernel.shape[:2]
    window, taps = (
        a.astype(np.int64).reshape(height * width, -1)
        for a in (image[y : y + height, x : x + width], kernel)
    )

    def moment(one, other):
        sums = zip(one.sum(0).tolist(), other.sum(0).tolist(), strict=True)
        return height * width * int((one * other).sum()) - sum(a * b for a, b in sums)

    return moment(window, taps) / math.sqrt(moment(window, window) * moment(taps, taps))


@pytest.mark.parametrize("side", [255, 181])  # sums of squares of more and of less than 31 bits
def test_direct_sums_of_bytes_lose_no_digits(side, variant):
    """The largest kernels of direct sums, on windows that all differ from one value in a pixel."""
    if variant not in DIRECT:
        pytest.skip("this variant has no direct sums")
    image = np.full((side + 3, side + 69, 1), 254, np.uint8)
    kernel = image[:side, :side].copy()
    image[100, 100] = kernel[10, 20] = 255
    truth, spread = exact_zncc(image, kernel)
    assert (spread == kernel.size - 1).all()
    bounds = found(image, kernel, "zncc", is_direct=True)
    assert bounds.error == np.float32(2.0**-21)
    # Nearly all scores are about -1/32,760 or nearer to 0, of which single precision has 1e-11.
    assert np.abs(bounds.map - truth).max() <= 1e-11


@given(
    seed=st.integers(0, 2**32 - 1),
    kind=st.sampled_from(KINDS),
    of_kernel=st.sampled_from([*KINDS, "crop"]),
    size=st.sampled_from([(8, 8), (64, 64), (1, 5), (127, 127), (30, 100), (2, 2), (16, 16)]),
    sides=st.tuples(*[st.sampled_from([side for side in _correlation.SIDES if side <= 512])] * 2),
    folds=st.sampled_from([1, 2]),
    variant=st.sampled_from(VARIANTS),
)
@example(
    seed=55, kind="photo", of_kernel="bits", size=(30, 100), sides=(256, 256), folds=1,
    variant=VARIANTS[0],
)  # fmt: skip
@example(
    seed=55, kind="photo", of_kernel="bits", size=(30, 100), sides=(256, 256), folds=1,
    variant=VARIANTS[-1],
)  # fmt: skip
@example(
    seed=55, kind="photo", of_kernel="bits", size=(30, 100), sides=(512, 1024), folds=2,
    variant=VARIANTS[0],
)  # fmt: skip
@example(
    seed=1, kind="photo", of_kernel="crop", size=(127, 127), sides=(768, 640), folds=1,
    variant=VARIANTS[0],
)  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_rounding_stays_within_half_of_what_is_stated(
    seed, kind, of_kernel, size, sides, folds, variant
):
    """Errors of X itself, which no limit hides, in transforms of one tile."""
    rng = np.random.default_rng(seed)
    sides = folds * sides[0], sides[1]
    image = patterns(rng, kind, *sides)
    kernel = (
        image[7 : 7 + size[0], 9 : 9 + size[1]].copy()
        if of_kernel == "crop"
        else patterns(rng, of_kernel, *size)
    )
    if (kernel == kernel[0, 0]).all():
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(extensions.VARIANT_SETTING, variant)
        cut_like(patch, (1, 1), sides, folds)
        bounds = found(image, kernel, "zncc", tolerance=1e6)
    truth, spread = exact_zncc(image, kernel)
    if not (spread > 0).any():
        return
    # The stated error is that of the window of the smallest spread, and of the score's rounding.
    own = 2.0**-21
    stated = (bounds.blocks.errors.max() - own) * math.sqrt(spread[spread > 0].min())
    off = (np.abs(bounds.map - truth) - own).clip(0) * np.sqrt(spread)
    assert off.max() <= stated / 1.5


@given(
    seed=st.integers(0, 2**32 - 1),
    kind=st.sampled_from(KINDS),
    faint=st.sampled_from(KINDS),
    bright=st.sampled_from([1.0, 1e4, 1e7, 1e10]),
    metric=st.sampled_from(["ncc", "zncc"]),
    dtype=st.sampled_from(["float32", "float64"]),
    size=st.sampled_from([(8, 8), (64, 64), (2, 5), (100, 100), (30, 100), (16, 16)]),
    variant=st.sampled_from(VARIANTS),
    is_direct=st.booleans(),
)
@settings(max_examples=120, deadline=None)
def test_rounding_of_floats_stays_within_what_is_stated(
    seed, kind, faint, bright, metric, dtype, size, variant, is_direct
):
    """A faint picture below a bright one, of values that have more digits than products keep."""
    rng = np.random.default_rng(seed)
    image = patterns(rng, faint, 192, 192) / 255
    image[:75] += bright * (patterns(rng, kind, 75, 192) / 255)
    image = image.astype(dtype)
    kernel = image[128 - size[0] // 2 :, 9:][: size[0], : size[1]].copy()
    if not metrics.has_scores(Kernel(kernel), metric):
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(extensions.VARIANT_SETTING, variant)
        bounds = found(image, kernel, metric, is_direct=is_direct, tolerance=1e6)
    off = np.abs(bounds.map - plain_map(image, kernel, metric))
    assert (off <= cell_errors(bounds)).all()


@pytest.mark.parametrize("size", [(1, 5), (1, 100), (30, 100)])
@pytest.mark.parametrize("is_upright", [False, True])
@pytest.mark.usefixtures("variant")
def test_roundings_of_lines_gather_within_what_is_stated_for_thin_kernels(
    size, is_upright, rng, monkeypatch
):
    """Lines that are alike round alike, but for faint points, which lie along the kernel."""
    cut_like(monkeypatch, (1, 1), (256, 256), 1)
    for share in (0.004, 0.02, 0.04, 0.1, 0.3, 0.5) * 4:
        image = np.full((256, 256, 1), 100, np.uint8)
        image[rng.random(256) < share] = 254
        image[tuple(rng.integers(0, 256, (2, 200)))] += 1
        kernel = rng.integers(0, 2, (*size, 1), np.uint8) * 255
        kernel[0, :2, 0] = 0, 255
        if is_upright:
            image, kernel = (np.ascontiguousarray(a.swapaxes(0, 1)) for a in (image, kernel))
        bounds = found(image, kernel, "zncc", tolerance=1e6)
        truth, spread = exact_zncc(image, kernel)
        own = 2.0**-21
        stated = (bounds.blocks.errors.max() - own) * math.sqrt(spread[spread > 0].min())
        off = (np.abs(bounds.map - truth) - own).clip(0) * np.sqrt(spread)
        assert off.max() <= stated


@thinned(
    size=[16, 64, 128],
    kind=["stripes", "points"],
    tile=[(160, 1), (256, 1), (384, 1), (512, 1), (256, 2), (512, 2)],
)
@pytest.mark.parametrize("pictures", [5, pytest.param(8, marks=pytest.mark.slow)])
@pytest.mark.usefixtures("variant")
def test_what_stands_out_leaves_its_roundings_elsewhere(
    kind, size, tile, pictures, rng, monkeypatch
):
    """Faint points beside one frequency, or one product, that holds nearly all there is.

    The roundings nearest to what is stated are those of the fourth and fifth picture.
    """
    side, folds = tile
    cut_like(monkeypatch, (1, 1), (side, side), folds)
    faint = rng.integers(0, side, (2, 300))
    for _ in range(pictures):
        image = np.full((side, side, 1), 100, np.uint8)
        kernel = image[:size, :size].copy()
        if kind == "stripes":
            wave, other = rng.integers(1, side // 2, 2) * 2 * np.pi / side
            image[:] = (127 + 120 * np.cos(wave * np.arange(side) + rng.random()))[:, None, None]
            kernel[:] = (127 + 120 * np.cos(other * np.arange(size)))[:, None, None]
        else:
            image[tuple(faint)] = 101
            image[tuple(rng.integers(0, side, 2))] = kernel[tuple(rng.integers(0, size, 2))] = 255
        bounds = found(image, kernel, "zncc")
        truth = exact_zncc_map(image, kernel)
        assert (np.abs(bounds.map - truth) <= cell_errors(bounds) / 1.5).all()


@pytest.mark.usefixtures("variant")
def test_the_bound_of_folded_products_holds_where_rows_of_a_kernel_are_alike(monkeypatch):
    """One frequency stands out, of a kernel each of whose rows is there twice.

    The stated error is made of the pixels' norm, the root mean square of the products, the largest
    frequency of the products and the largest product (`pair` in _correlation_tile.h). All but the
    bound of the frequency are worked out here, and so is the frequency itself.
    """
    side, (height, width) = 128, (64, 32)
    cut_like(monkeypatch, (1, 1), (2 * side, side), 2)
    # A quarter of a turn each row: w of _correlation_folded.h is -i, and 2 |Z| |e| times
    # sqrt(3 + sqrt(5)) is reached if even and odd rows have these amplitudes.
    rows, cols = np.indices((side, side))
    wave = np.cos(2 * np.pi * (3 * rows / 4 + 5 * cols / side))
    image = np.empty((2 * side, side, 1), np.uint8)
    image[::2, :, 0], image[1::2, :, 0] = (np.rint(127 + 126 * a * wave) for a in (0.851, 0.526))
    kernel = (
        np.rint(127 + 100 * wave[: height // 2, :width]).astype(np.uint8).repeat(2, 0)[..., None]
    )
    bounds = found(image, kernel, "zncc", tolerance=1e6)

    less = np.floor(image[::8].mean() + 0.5)
    pixels, taps = image[..., 0] - less, kernel[..., 0] - kernel.mean()
    spectra = np.fft.fft2(pixels) * np.conj(np.fft.fft2(taps, pixels.shape))
    products = np.fft.ifft2(spectra).real
    folded = np.fft.fft2(products[::2] + 1j * products[1::2]) / side**2
    # Of a kernel of 64 x 32 this is taken so many times (`gathered` in _correlation.h).
    norms = 3.25 * np.sqrt((pixels**2).sum() * (taps**2).sum()) / side
    # Before its last stage, which adds side / 16 values, the way back has [k1, n0] of y and x.
    stages = np.fft.ifft(np.fft.ifft(folded.reshape(16, side // 16, side), axis=0), axis=2)
    energies = (np.abs(stages * 16 * side) ** 2).sum(1)
    largest = np.sqrt(side // 16 * energies.max())
    peak = np.abs(folded).max()
    least = norms + np.sqrt((np.abs(folded) ** 2).sum()) + (peak + largest) / 2
    _, spread = exact_zncc(image, kernel)
    count, own = kernel.size, kernel.size * (taps**2).sum()
    stated = (bounds.blocks.errors[0, 0] - 2.0**-21) * np.sqrt(spread[:64, :64].min() * own) / count
    units = stated / (16 * 2.0**-24)
    assert units >= least * (1 - 1e-4)


def exact_zncc(image, kernel):
    """Scores of bytes by integers, and n E - S^2, from prefix sums and a transform in float64."""
    height, width, _ = kernel.shape
    count, plane, taps = height * width, image[..., 0].astype(np.int64), kernel[..., 0].astype(int)

    def box(of):
        sums = np.pad(of.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
        return (sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width]) + sums[
            :-height, :-width
        ]

    # No window of the valid part wraps around in a transform of the image's own size.
    size = plane.shape
    spectra = np.fft.rfft2(plane - 128) * np.conj(np.fft.rfft2(taps - 128, size))
    products = np.rint(np.fft.irfft2(spectra, size)).astype(np.int64)
    products = products[: plane.shape[0] - height + 1, : plane.shape[1] - width + 1]
    sums = box(plane - 128)
    spread = count * box((plane - 128) ** 2) - sums**2
    own = count * int(((taps - 128) ** 2).sum()) - int((taps - 128).sum()) ** 2
    numerator = count * products - sums * int((taps - 128).sum())
    with np.errstate(invalid="ignore", divide="ignore"):
        scores = numerator / (np.sqrt(spread.astype(float)) * math.sqrt(own))
    return np.where(spread > 0, scores, 0.0), spread.astype(float)


@remembered
def exact_zncc_map(image, kernel):
    return exact_zncc(image, kernel)[0]


@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_any_size_stride_and_type(data, seed):
    rng = np.random.default_rng(seed)
    dtype = data.draw(st.sampled_from(DTYPES))
    metric = data.draw(st.sampled_from(CORRELATED))
    size = data.draw(st.tuples(st.integers(1, 40), st.integers(2, 300)))
    kernel = data.draw(st.tuples(st.integers(1, size[0]), st.integers(2, min(size[1], 150))))
    channels = data.draw(st.integers(1, 4))
    stride = data.draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    image = values(rng, dtype, *size, channels)
    kind = data.draw(st.sampled_from(["noise", "half flat", "shaded"]))
    if kind == "half flat":
        image[:, : size[1] // 2] = image[0, 0]
    taps = values(rng, dtype, *kernel, channels)
    if kind == "shaded":
        y, x = np.indices(size)
        shade = SPAN[dtype] * (0.4 + 0.4 * np.sin((x + y) / 50))
        image = (image / 16 + shade[..., None]).astype(dtype)
    if (taps == taps[0, 0]).all():
        return
    variant = data.draw(st.sampled_from(VARIANTS))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(extensions.VARIANT_SETTING, variant)
        truth = plain_map(image, taps, metric)
        check(found(image, taps, metric, stride), truth[:: stride[0], :: stride[1]])
        check_direct(variant, image, taps, metric, truth)


@pytest.mark.parametrize(
    ("dtype", "scale"),
    [
        *itertools.product(["float32", "float64"], [1e-30, 1e-10, 1e10, 1e30]),
        ("float64", 1e-60),
        ("float64", 1e60),
    ],
)
@pytest.mark.parametrize("metric", CORRELATED)
@pytest.mark.usefixtures("variant")
def test_floats_far_from_1(dtype, scale, metric, rng):
    image = (rng.random((70, 300, 2)) * scale).astype(dtype)
    kernel = image[11:40, 120:160].copy()
    work = problem(image, kernel, metric)._replace(data_range=scale)
    score = metrics.exact(image, kernel, metric, scale)
    for engine in (fft, simd):
        bounds = engine.prepare(kernel, work)(image)
        for y, x in ((11, 120), (0, 0), (41, 260), (20, 100)):
            assert abs(bounds.map[y, x] - score(y, x)) <= bounds.error <= 1.1e-5
        assert bounds.map.argmax() == 11 * bounds.map.shape[1] + 120


@pytest.mark.parametrize("value", [3e38, 1e-40])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.usefixtures("variant")
def test_a_kernel_of_one_value_far_from_1_by_ncc(value, dtype, rng):
    """It differs from its mean nowhere, so that all of a score is made of means."""
    image = (rng.random((40, 90, 2)) * value).astype(dtype)
    kernel = np.full((5, 7, 2), value / 2, dtype)
    truth = exact_map(image, kernel, "ncc", span=value)
    for is_direct in (False, True):
        check(found(image, kernel, "ncc", is_direct=is_direct), truth)


@pytest.mark.parametrize("dtype", ["uint16", "float32", "float64"])
@pytest.mark.usefixtures("variant")
def test_direct_sums_count_that_the_mean_of_a_kernel_is_rounded(dtype, rng):
    """All taps are off alike, and the pixels are much larger than what they differ by."""
    for _ in range(200):
        levels = 65530 + rng.integers(0, 3, (8, 40, 1))
        levels[3, 5:7, 0] = 65530, 65532  # no kernel is flat
        image = (levels / (1 if dtype == "uint16" else 65536)).astype(dtype)
        kernel = image[3:4, 5:12].copy()
        truth = exact_map(image, kernel, "zncc")
        check(found(image, kernel, "zncc", is_direct=True), truth)


@cache
def little_contrast(offset, dtype):
    """An image, a kernel of it and the scores."""
    rng = np.random.default_rng(20)
    image = (offset + rng.random((40, 280, 1)) * 1e-3).astype(dtype)
    image[10:40, 100:160] = image[0, 0]
    image[5:30, 200:230] = rng.random((25, 30, 1), dtype=np.float32) * (offset + 1)
    kernel = image[6:26, 203:223].copy()
    return image, kernel, exact_map(image, kernel, "zncc")


@pytest.mark.parametrize("offset", [0.0, 1.0, 1000.0])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.usefixtures("variant")
def test_floats_of_little_contrast_on_a_large_value(offset, dtype):
    """The spread is lost in sums of squares; windows of one value among them score 0."""
    image, kernel, truth = little_contrast(offset, dtype)
    for is_direct in (False, True):
        bounds = found(image, kernel, "zncc", is_direct=is_direct)
        is_stated = np.abs(bounds.map - truth) <= bounds.error
        assert is_stated.all()
        assert (bounds.map[10:, 100:140] == 0).all()


@pytest.mark.parametrize("metric", ["ncc", "zncc"])
@pytest.mark.parametrize("power", [-500, -700, -1020])
@pytest.mark.usefixtures("variant")
def test_windows_whose_squares_vanish_beside_others(metric, power, rng):
    """Windows that are summed directly are brought near 1."""
    image = np.rint(rng.random((60, 90, 1)) * 2**20) / 2**20
    kernel = image[24:32, 30:40].copy()
    image[20:] = np.ldexp(image[20:], power)
    image[50:] = 0
    truth = exact_map(image, kernel, metric)
    assert truth[24, 30] == 1
    assert (truth[21:49] != 0).all()
    for is_direct in (False, True):
        check(found(image, kernel, metric, is_direct=is_direct), truth)


@cache
def one_bright_pixel(bright, metric, dtype):
    """Two images, each with a kernel of it and the scores."""
    rng = np.random.default_rng(20)
    image = (0.5 + 1e-4 * rng.random((40, 70, 1))).astype(dtype)
    image[30:, 40:50] = 0
    image[8, 60] = bright
    dark = image * image.dtype.type(1e-30)
    dark[:, 50:] = rng.random((40, 20, 1))
    kernels = [each[20:29, 20:30].copy() for each in (image, dark)]
    return [
        (each, kernel, exact_map(each, kernel, metric))
        for each, kernel in zip((image, dark), kernels, strict=True)
    ]


@pytest.mark.parametrize("bright", [1e6, 1e10, 1e20, 1e38])
@pytest.mark.parametrize("metric", ["ncc", "zncc"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_floats_beside_one_of_another_magnitude(bright, metric, dtype, variant):
    """Rounding may leave a spread of 0 or less, or one that single precision does not hold."""
    for image, kernel, truth in one_bright_pixel(bright, metric, dtype):
        check(found(image, kernel, metric), truth)
        check_direct(variant, image, kernel, metric, truth)


@cache
def faint_noise_beside(contrast, noise, channels, dtype):
    """A picture of noise, of which one side has contrast; a kernel of the noise, and the scores."""
    rng = np.random.default_rng(40)
    image = noise * rng.normal(0, 1, (150, 170, channels))
    if contrast == "rows":
        image[:60] += rng.normal(0, 1, (1, 170, channels))
    elif contrast == "columns":
        image[:, :70] += rng.normal(0, 1, (150, 1, channels))
    else:
        image[rng.integers(0, 150, 5), rng.integers(0, 170, 5)] += 30
    image = image.astype(dtype)
    kernel = image[100:109, 120:133].copy()
    return image, kernel, {metric: plain_map(image, kernel, metric) for metric in CORRELATED}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("noise", [1e-2, 1e-4, 1e-6])
@pytest.mark.parametrize("contrast", ["rows", "columns", "points"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_running_sums_that_came_from_contrast(contrast, noise, channels, dtype, variant):
    """What contrast left in the sums over windows of floats may be more than faint noise has."""
    image, kernel, truths = faint_noise_beside(contrast, noise, channels, dtype)
    for metric in ("ncc", "zncc"):
        check(found(image, kernel, metric), truths[metric])
        check_direct(variant, image, kernel, metric, truths[metric])


@pytest.mark.parametrize("ground", [0, 0.1])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.usefixtures("variant")
def test_a_large_window_of_floats_with_a_bright_corner(ground, dtype):
    """Beside contrast it is summed directly, and its first pixel is far from its mean."""
    rng, side = np.random.default_rng(3), 1000
    image = np.full((side + 2, side + 2, 1), ground, dtype)
    image[0, 0] = 0.7
    image[side:] += rng.normal(0, 30, (2, side + 2, 1)).astype(dtype)
    image[:, side:] += rng.normal(0, 30, (side + 2, 2, 1)).astype(dtype)
    kernel = rng.normal(0, 1e-4, (side, side, 1)).astype(dtype)
    kernel[0, 0] += 1
    score = exact_map(image[:side, :side], kernel, "zncc").item()
    assert abs(found(image, kernel, "zncc").map[0, 0] - score) < 1e-7


@pytest.mark.parametrize("metric", ["ncc", "zncc"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.usefixtures("variant")
def test_black_floats_beside_noise_are_no_reason_for_double_precision(metric, dtype, monkeypatch):
    """What the sums of noise leave behind is no spread of black windows."""
    rng = np.random.default_rng(0)
    image = (rng.integers(0, 256, (400, 700, 1)) / 255).astype(dtype)
    image[:, np.arange(700) % 220 >= 100] = 0
    kernel = image[105:137, 25:57].copy()
    counts = watched_counts(monkeypatch)
    check(found(image, kernel, metric), plain_map(image, kernel, metric))
    assert counts == [(0, 0)]


@pytest.mark.parametrize("size", [1e-310, 1e-230, 1e-30])
@pytest.mark.usefixtures("variant")
def test_ssd_of_a_kernel_far_darker_than_the_image(size, rng):
    image, kernel = rng.random((60, 70, 2)), size * rng.random((9, 11, 2))
    bounds = found(image, kernel, "ssd")
    assert np.isfinite(bounds.map).all()
    check(bounds, plain_map(image, kernel, "ssd"))


@cache
def picture_with_a_tie(metric, dtype):
    """An image, two kernels and the largest score of each."""
    rng = np.random.default_rng(20)
    image = values(rng, dtype, 90, 130, 3)
    image[40:60, 30:70] = image[0, 0]
    image[61:73, 100:111] = image[5:17, 20:31]
    kernels = [image[5:17, 20:31].copy(), values(rng, dtype, 9, 14, 3)]
    return image, kernels, [plain_map(image, kernel, metric).max() for kernel in kernels]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("metric", CORRELATED)
def test_matches_are_those_of_the_specification(dtype, metric, variant):
    image, kernels, best = picture_with_a_tie(metric, dtype)
    options = {"metric": metric, "top": 12, "overlap": 0.2, "threshold": -1.0}
    wanted = match(image, kernels[0], engine="fft", memory="60MB", **options)
    for name in ("fft", "simd"):
        if name == "simd" and not _correlation.at_once(variant, FORMATS[dtype])[0]:
            continue
        for kernel, largest in zip(kernels, best, strict=True):
            report = match(image, kernel, engine=name, map=True, **options)
            score = metrics.exact(image, kernel, metric, SPAN[dtype])
            assert [m.score for m in report.matches] == [score(m.y, m.x) for m in report.matches]
            assert report.matches[0].score == pytest.approx(largest, abs=1e-9)
            assert report.map.max() == np.float32(report.matches[0].score)
        report = match(image, kernels[0], engine=name, **options)
        assert report.matches == wanted.matches
        assert [(m.x, m.y) for m in report.matches[:2]] == [(20, 5), (100, 61)]


def test_unusual_steps_are_copied(rng):
    image = values(rng, "uint8", 60, 80, 4)
    kernel = image[5:17, 20:31, :3].copy()
    rows = image[..., :3].copy()
    views = [image[..., :3], image[:, ::2, :3], image[::-1, :, :3], image[..., 2::-1]]
    for view in (*views, rows[::-1], rows[:, ::-1], rows[::2]):
        truth = plain_map(np.ascontiguousarray(view), kernel, "zncc")
        check(found(view, kernel, "zncc"), truth)


def numbers(gain=1.0, own=1.0, total=1.0, offset=0.0, residual=0.0):
    """The numbers of a kernel, as `scores` takes them."""
    return np.array([[gain, own, total, offset, residual]])


def arguments(**changed):
    """Arguments of `scores` that fit, but for what is changed."""
    spectra = kernel_parts.aligned(2 * _correlation.TILE_VALUES, np.float32)
    spectra[:] = 0
    given = {
        "image": np.zeros((20, 20, 2), np.uint8),
        "spectra": spectra,
        "taps": np.zeros((1, 2, 5, 5)),
        "summaries": np.zeros((1, 2)),
        "means": np.zeros((1, 2)),
        "numbers": numbers(),
        "map": np.full((1, 16, 16), np.nan, np.float32),
        "maxima": np.zeros((1, 1, 1), np.float32),
        "errors": np.zeros((1, 1, 1), np.float32),
        "metric": "zncc",
        "limit": 1e-5,
        "stride_y": 1,
        "stride_x": 1,
        "block": 64,
        "is_direct": False,
        "parts_y": 1,
        "parts_x": 1,
        "terms": 1,
        "variant": VARIANTS[-1],
        "double_spectra": None,
        "curves": None,
    }
    assert set(changed) <= set(given)
    return given | changed


def test_arguments_that_fit_are_taken():
    given = arguments()
    _correlation.scores(**given)
    assert (given["map"] == 0).all()


def of_one_pixel(term, **changed):
    """Arguments for kernels of one pixel: a product is the image's factor of the term itself."""
    taps = np.zeros((changed["terms"], 1, 1))
    taps[term] = 1
    given = arguments(taps=taps[None], metric="sad", **changed)
    given["spectra"] = kernel_parts.aligned(len(taps) * _correlation.TILE_VALUES, np.float32)
    given["summaries"] = np.empty((1, 1 + len(taps)))
    cut = {name: given[name] for name in ("parts_y", "parts_x", "terms")}
    _correlation.spectrum(taps=taps, out=given["spectra"], variant=given["variant"], **cut)
    _correlation.summary(taps=taps, out=given["summaries"][0], **cut)
    assert list(given["summaries"][0, 1:]) == [i == term for i in range(len(taps))]
    return given


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("term", range(16))
@pytest.mark.parametrize(
    ("dtype", "middle", "half"),
    [("uint8", 127.5, 127.5), ("uint8", 90.5, 40.5), ("uint16", 9e3, 8e3), ("float32", 0.25, 0.5)],
)
def test_factors_of_sad_are_waves_of_the_pixels(term, dtype, middle, half, variant):
    top = SPAN[dtype]
    image = np.linspace(0, top, 256).astype(dtype).reshape(16, 16, 1)
    total = 4.0 + 4 * top  # scores from above 0 to 0.75
    given = of_one_pixel(
        term, image=image, means=np.array([[middle, half]]), terms=16, variant=variant,
        numbers=numbers(offset=2.0, total=total),
    )  # fmt: skip
    _correlation.scores(**given)
    wave = np.cos if term % 2 else np.sin
    odd = term - term % 2 + 1
    shares = (image[..., 0].astype(np.float64) - middle) / half
    outside = np.maximum(np.abs(shares) - 1, 0) * half
    exact = wave(odd * np.pi / 2 * shares.clip(-1, 1)) + outside
    error = total * given["errors"].max()
    found = total * (1 - given["map"][0].astype(np.float64)) - 2
    assert np.abs(found - exact).max() <= error
    assert error < 1e-5 + odd**2 * 3e-7 + total * 2**-21


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("term", range(3))
@pytest.mark.parametrize(
    ("dtype", "middle", "half"),
    [
        ("uint8", 127.5, 127.5), ("uint8", 90.5, 40.5), ("uint8", 7.0, 0.0), ("uint16", 9e3, 8e3),
        ("float32", 0.25, 0.5),
    ],
)  # fmt: skip
def test_factors_of_sad_are_curves_of_the_pixels(term, dtype, middle, half, variant, rng):
    top = SPAN[dtype]
    image = np.linspace(0, top, 256).astype(dtype).reshape(16, 16, 1)
    total = 4.0 + 4 * top
    curves = rng.uniform(-1, 1, (1, 4, _correlation.KNOTS))
    curves[0, 0] *= half
    given = of_one_pixel(
        term, image=image, means=np.array([[middle, half]]), terms=3, variant=variant,
        curves=curves, numbers=numbers(offset=2.0 + half, total=total),
    )  # fmt: skip
    _correlation.scores(**given)
    pixels = image[..., 0].astype(np.float64)
    at = (pixels - middle) / (half or 1) * (half > 0)
    knots = np.linspace(-1, 1, _correlation.KNOTS)
    outside = np.maximum(np.abs(pixels - middle) - half, 0)
    exact = np.interp(at, knots, curves[0, 1 + term]) + np.interp(at, knots, curves[0, 0]) + outside
    error = total * given["errors"].max()
    found = total * (1 - given["map"][0].astype(np.float64)) - 2 - half
    assert np.abs(found - exact).max() <= error
    steep = 129 * half * 2**-22  # the curve that is added as it is
    assert error < 1e-4 + 2**-11 + steep + total * 2**-20


def test_a_summary_has_the_norm_of_each_part_and_term(rng):
    taps = rng.normal(0, 1, (6, 9, 7))  # three terms of two channels
    found = np.empty(1 + 2 * 3 * 3)
    _correlation.summary(taps=taps, out=found, parts_y=2, parts_x=3, terms=3)
    cuts = itertools.product(
        (slice(5), slice(5, 9)), (slice(3), slice(3, 6), slice(6, 7)), range(3)
    )
    norms = [np.sqrt((taps[2 * i : 2 * i + 2, y, x] ** 2).sum()) for y, x, i in cuts]
    np.testing.assert_allclose(found[1:], norms, rtol=1e-14)
    for kernel, share in ((np.ones((1, 8, 8)), 1.0), (np.indices((1, 8, 8)).sum(0) % 2 - 0.5, 0.0)):
        found = np.empty(2)
        _correlation.summary(taps=kernel, out=found, parts_y=1, parts_x=1, terms=1)
        assert found[0] == pytest.approx(share)
    with pytest.raises(ValueError, match="summary"):
        _correlation.summary(taps=taps, out=np.empty(3), parts_y=1, parts_x=1, terms=3)


# Arguments that have a row for each kernel: their shapes, of one, and types.
OF_KERNEL = (
    ("spectra", (2 * _correlation.TILE_VALUES,), np.float32),
    ("taps", (2, 5, 5), np.float64),
    ("summaries", (2,), np.float64),
    ("means", (2,), np.float64),
    ("numbers", (5,), np.float64),
    ("map", (16, 16), np.float32),
    ("maxima", (1, 1), np.float32),
    ("errors", (1, 1), np.float32),
)


@pytest.mark.parametrize(
    "changed",
    [
        {"image": np.zeros((20, 20, 2), np.int32)},
        {"image": np.zeros((20, 20, 2)), "metric": "sad", "means": np.ones((1, 4))},
        {"image": np.zeros((20, 20), np.uint8)},
        {"image": np.zeros((20, 20, 3), np.uint8)},
        {"image": np.zeros((4, 20, 2), np.uint8)},
        {"image": np.zeros((20, 20, 4), np.uint8)[..., ::2]},
        {"image": np.zeros((20, 20, 2), np.uint8)[::-1]},
        {"spectra": np.zeros(100, np.float32)},
        {"spectra": np.zeros(2 * _correlation.TILE_VALUES)},
        {"taps": np.zeros((1, 2, 300, 5))},
        {"taps": np.zeros((1, 2, 5, 5), np.float32)},
        {"taps": np.zeros((1, 0, 5, 5))},
        {"taps": np.zeros((1, 2, 0, 5))},
        {"taps": np.zeros((2, 5, 5))},
        {"taps": np.zeros((0, 2, 5, 5))},  # of no kernel
        {"taps": np.zeros((2, 2, 5, 5))},  # of two, where all else is of one
        {name: np.zeros((9, *shape), dtype) for name, shape, dtype in OF_KERNEL},
        {"double_spectra": np.zeros(2 * _correlation.TILE_VALUES, np.float32)},
        {"double_spectra": kernel_parts.aligned(_correlation.TILE_VALUES, np.float64)},
        {"double_spectra": kernel_parts.aligned(2 * _correlation.TILE_VALUES + 1, np.float64)[1:]},
        {"summaries": np.zeros((1, 3))},
        {"summaries": np.zeros((2, 2))},
        {"summaries": np.zeros(2)},
        {"summaries": np.zeros((1, 2), np.float32)},
        {"summaries": np.full((1, 2), -1.0)},
        {"summaries": np.full((1, 2), math.nan)},
        {"curves": np.zeros((2, 2, _correlation.KNOTS))},  # of another metric
        *(
            {"curves": curves, "metric": "sad", "means": np.ones((1, 4))}
            for curves in (
                np.zeros((2, 2, _correlation.KNOTS), np.float32),
                np.zeros((2, 1, _correlation.KNOTS)),
                np.zeros((1, 2, _correlation.KNOTS)),
                np.zeros((2, 2, _correlation.KNOTS - 1)),
                np.zeros(4 * _correlation.KNOTS),
                np.full((2, 2, _correlation.KNOTS), math.nan),
                np.full((2, 2, _correlation.KNOTS), 1e38),
                np.full((2, 2, _correlation.KNOTS), 2.5),
            )
        ),
        {"means": np.zeros((1, 3))},
        {"means": np.zeros((2, 2))},
        {"means": np.zeros((1, 2), np.float32)},
        {"numbers": np.ones((1, 4))},
        {"numbers": np.ones((2, 5))},
        {"numbers": np.ones(5)},
        {"numbers": np.ones((1, 5), np.float32)},
        {"map": np.zeros((1, 16, 15), np.float32)},
        {"map": np.zeros((2, 16, 16), np.float32)},
        {"map": np.zeros((1, 16, 16))},
        {"map": np.zeros((1, 256), np.float32)},
        {"maxima": np.zeros((1, 2, 1), np.float32)},
        {"maxima": np.zeros((2, 1, 1), np.float32)},
        {"errors": np.zeros((1, 1, 2), np.float32)},
        {"errors": np.zeros((1, 1, 1))},
        {"metric": "sad"},  # without the ranges
        {"metric": "sad", "is_direct": True, "means": np.ones((1, 4))},
        {"metric": "sad", "means": np.full((1, 4), -1.0)},
        {"metric": "sad", "means": np.full((1, 4), math.nan)},
        {"metric": "sad", "means": np.full((1, 4), math.inf)},
        {
            "metric": "sad",
            "image": np.zeros((20, 20, 2), np.float32),
            "means": np.array([[0.0, 0.0, 1.0, 1e-39]]),
        },
        {"metric": "sad", "means": np.array([[9.0, 9.0, 3.0, 2.5]])},  # ends between two bytes
        {"metric": "sad", "means": np.array([[9.0, 9.0, 3.0, 10.0]])},  # begins below 0
        {"metric": "sad", "means": np.array([[9.0, 200.0, 3.0, 56.0]])},  # ends above 255
        {"metric": "hue"},
        {"terms": 0},
        {"terms": 2},
        {"terms": 17},
        {"numbers": numbers(offset=math.nan)},
        {"numbers": numbers(residual=-1.0)},
        {"numbers": numbers(gain=0.0)},
        {"numbers": numbers(own=0.0)},
        {"numbers": numbers(own=math.nan)},
        {"numbers": numbers(total=-1.0)},
        {"limit": 0.0},
        {"stride_y": 0},
        {"stride_x": -1},
        {"block": 0},
        {"block": 65},
        {"parts_y": 0},
        {"parts_x": 5},
        {"parts_y": 4},  # of five rows
        {"parts_x": 2},  # with spectra of one part
        {"variant": "altivec"},
        {"is_direct": True, "stride_x": 2, "map": np.zeros((1, 16, 8), np.float32)},
        {"is_direct": True, **{name: np.ones((2, *shape), d) for name, shape, d in OF_KERNEL}},
    ],
)
def test_arguments_that_do_not_fit_are_refused(changed):
    with pytest.raises(ValueError, match=r"."):
        _correlation.scores(**arguments(**changed))


def test_a_map_that_cannot_be_written_is_refused():
    readonly = np.zeros((1, 16, 16), np.float32)
    readonly.flags.writeable = False
    with pytest.raises((ValueError, BufferError, TypeError), match=r"."):
        _correlation.scores(**arguments(map=readonly))


@pytest.mark.parametrize(
    "changed",
    [{"stride": (0, 1)}, {"stride": (1, -1)}, {"block": 0}, {"block": 65}, {"windows": (0, 5)},
     {"windows": (5, 0)}, {"kernel_shape": (257, 5, 1)}, {"kernel_shape": (5, 0, 1)},
     {"kernel_shape": (5, 5, 65)}, {"format": "q"},
     {"parts_y": 0}, {"terms": 17}, {"kernels": 0}, {"kernels": 9}],
)  # fmt: skip
def test_sizes_that_scratch_refuses(changed):
    given = {
        "format": "B", "windows": (16, 16), "kernel_shape": (5, 5, 2), "stride": (1, 1),
        "block": 64, "is_direct": False, "parts_y": 1, "parts_x": 1, "terms": 1,
        "variant": VARIANTS[-1], "kernels": 1, "may_repeat": True,
    }  # fmt: skip
    assert _correlation.scratch(**given) > 0
    # A float for each pixel of a band, which has at least those of the windows.
    assert _correlation.scratch(**given, is_sad=True) >= _correlation.scratch(**given) + 4 * 20 * 20
    with pytest.raises(ValueError, match="out of range"):
        _correlation.scratch(**given | changed)


@pytest.mark.parametrize("side", [256, 512, 1024])
def test_fewer_kernels_take_no_more_than_is_stated(side):
    """Those that are alike are scored together, and one by one where none are."""
    given = {"format": "H", "windows": (400, 400), "kernel_shape": (64, 64, 1), "stride": (1, 1)}
    given |= {"block": 64, "is_direct": False, "parts_y": 1, "parts_x": 1, "terms": 1}
    given |= {"variant": VARIANTS[0], "sides": (side, side), "folds": 1, "may_repeat": True}
    stated = [_correlation.scratch(**given, kernels=count) for count in range(1, 9)]
    assert stated == sorted(stated)


def test_sums_that_do_not_fit_are_refused():
    """The squares of a column of bytes, in 32 bits; and direct sums of bytes."""
    wide = {"map": np.zeros((1, 1, 1), np.float32), "maxima": np.zeros((1, 1, 1), np.float32)}
    image, taps = np.zeros((517, 4, 64), np.uint8), np.zeros((1, 64, 517, 4))
    spectra = kernel_parts.aligned(3 * 64 * _correlation.TILE_VALUES, np.float32)
    summaries = np.zeros((1, 4))
    with pytest.raises(ValueError, match="sums over so many pixels"):
        _correlation.scores(
            **arguments(
                image=image,
                taps=taps,
                spectra=spectra,
                means=np.zeros((1, 64)),
                summaries=summaries,
                parts_y=3,
                **wide,
            )
        )
    if DIRECT:
        image, taps = np.zeros((256, 256, 64), np.uint8), np.zeros((1, 64, 256, 256))
        spectra = kernel_parts.aligned(64 * _correlation.TILE_VALUES, np.float32)
        with pytest.raises(ValueError, match="as many as 32 bits hold"):
            _correlation.scores(
                **arguments(
                    image=image[..., :2],
                    taps=taps[:, :2].copy(),
                    is_direct=True,
                    variant=DIRECT[0],
                    **wide,
                )
                | {"image": np.zeros((256, 256, 2), np.uint8)}
            )


@pytest.mark.parametrize("metric", CORRELATED)
@pytest.mark.parametrize("kind", ["noise", "checkers", "almost flat"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.usefixtures("variant")
def test_large_kernels_whose_squares_times_pixels_do_not_fit(dtype, kind, metric, rng):
    """N E - sum S^2 of `zncc` is beyond float64, of 16 bits beyond 64 bits, or a few units."""
    largest, shape = SPAN[dtype], (552, 562, 3)
    image = rng.integers(0, largest + 1, shape).astype(dtype)
    kernel = image[7:519, 9:521].copy()
    if kind == "checkers":
        image = (np.indices(shape).sum(0) % 2 * largest).astype(dtype)
        kernel = image[7:519, 9:521].copy()
    elif kind == "almost flat":
        image[:] = largest
        image[rng.integers(20, 500, 3), rng.integers(20, 500, 3)] -= 1
    work = problem(image, kernel, metric)
    assert fused.can_take(work)
    bounds = fft.prepare(kernel, work)(image)
    exact = metrics.exact(image, kernel, metric, largest)
    places = [(7, 9), (0, 0), (40, 50), *rng.integers(0, 40, (20, 2)).tolist()]
    off = [abs(float(bounds.map[y, x]) - exact(y, x)) for y, x in places]
    assert max(off) <= np.max(bounds.error) + 1e-7
    assert np.max(bounds.error) < 1e-5


def test_without_the_extension_others_do_the_work(monkeypatch, rng):
    image = values(rng, "uint8", 60, 70, 1)
    kernel = image[20:30, 30:45].copy()
    wanted = match(image, kernel, metric="zncc", map=True)
    monkeypatch.setattr(kernel_parts, "extension", lambda: None)
    batching.forget()
    report = match(image, kernel, metric="zncc", map=True)
    assert report.matches == wanted.matches
    np.testing.assert_allclose(report.map, wanted.map, rtol=0, atol=2e-5)


def test_a_search_by_it_imports_neither_torch_nor_scipy(tmp_path):
    code = (
        "import sys, numpy as np, patchsim\n"
        "image = np.random.default_rng(0).integers(0, 256, (90, 90, 3), dtype=np.uint8)\n"
        "report = patchsim.match(image, image[5:65, 6:66], metric='zncc', map=True)\n"
        "print(report.plans[0].engine, [m for m in ('torch', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, env=ENVIRONMENT, check=True, cwd=tmp_path,
    )  # fmt: skip
    assert done.stdout in ("fft []\n", "simd []\n")


def test_the_best_places_of_small_pictures_import_neither_torch_nor_scipy(tmp_path):
    code = (
        "import sys, numpy as np, patchsim\n"
        "image = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)\n"
        "for pixels in (image, image * np.uint16(257), image / np.float32(255)):\n"
        "    for metric in ('sad', 'ssd', 'ncc', 'zncc'):\n"
        "        report = patchsim.match(pixels, pixels[5:21, 6:22], metric=metric)\n"
        "        print([m for m in ('torch', 'scipy') if m in sys.modules], len(report))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, env=ENVIRONMENT, check=True, cwd=tmp_path,
    )  # fmt: skip
    assert done.stdout == "[] 5\n" * 12


def test_means_are_taken_exactly():
    """The kernel's bytes come back from what is left after their mean."""
    rng = np.random.default_rng(5)
    for _ in range(20):
        kernel = rng.integers(0, 256, (7, 9, 1), np.uint8)
        mean = kernel.astype(float).mean((0, 1))
        taps = kernel - mean
        gain = 2.0 ** math.frexp(float(abs(taps).max()))[1]
        assert (np.rint(taps / gain * gain + mean) == kernel).all()
        assert abs(Fraction(float(mean[0])) - Fraction(int(kernel.sum()), 63)) < Fraction(1, 10**12)
