"""The search without a map: the same matches as from a map, whatever the bounds are worth."""

from __future__ import annotations

from functools import cache

import numpy as np
import oracle
import pytest
from helpers.grids import thinned
from helpers.photographs import photograph
from hypothesis import given, settings
from hypothesis import strategies as st

from patchsim import match, metrics
from patchsim.engines import REMOVED, Problem, pruned, simd
from patchsim.engines.pruned import byte_copy, compiled
from patchsim.engines.pruned.byte_search import Search
from patchsim.geometry.tiles import Tile
from patchsim.machine import extensions
from patchsim.ranking import pruned_windows

_pruned = pytest.importorskip(
    "patchsim.engines._pruned",
    reason="the C extension was not built: no compiler at install time",
)
VARIANTS = _pruned.variants()


@pytest.fixture(params=VARIANTS)
def variant(request, monkeypatch):
    monkeypatch.setenv(extensions.VARIANT_SETTING, request.param)


def problem(image, kernel, metric="sad", stride=(1, 1), **options):
    return Problem(
        image.shape, kernel.shape, "uint8", stride, metric, 255, "cpu", 1,
        map_wanted=False, **options,
    )  # fmt: skip


def differences(image, kernel, metric, stride, weights=None):
    """In NumPy, independent of the engine."""
    patches = np.lib.stride_tricks.sliding_window_view(image, kernel.shape)[:, :, 0]
    off = patches[:: stride[0], :: stride[1]].astype(np.int64) - kernel
    size = np.abs(off) if metric == "sad" else off * off
    return (size * np.atleast_3d(1 if weights is None else weights)).sum((2, 3, 4))


def pictures(rng, kind, height, width, channels):
    shape = height, width, channels
    if kind == "noise":
        return rng.integers(0, 256, shape).astype(np.uint8)
    if kind == "flat":
        return np.full(shape, rng.integers(0, 256), np.uint8)
    if kind == "two levels":
        return (rng.random(shape) < 0.1).astype(np.uint8) * 255
    if kind == "gradient":
        return (np.indices(shape).sum(0) * 3 % 256).astype(np.uint8)
    top, left = rng.integers(0, 512 - height), rng.integers(0, 512 - width)
    photo = photograph("astronaut")[top : top + height, left : left + width]
    return photo[..., np.arange(channels) % 3].copy()


KINDS = ["noise", "flat", "two levels", "gradient", "photo"]
SHAPES = ["disc", "ring", "noise", "one pixel", "frame", "two halves"]


def shades(rng, shape, height, width, levels):
    """A mask [h, w] of so many shades, of which some pixel has the brightest."""
    y, x = np.indices((height, width))
    radius = np.hypot((y + 0.5) / height - 0.5, (x + 0.5) / width - 0.5) * 2
    inside = {
        "disc": np.clip((1 - radius) * 4, 0, 1),
        "ring": np.clip(1.5 - np.abs(radius - 0.7) * 8, 0, 1),
        "noise": rng.random((height, width)),
        "one pixel": (y == height // 3) & (x == width // 2),
        "frame": (y < 2) | (x < 2) | (y >= height - 2) | (x >= width - 2),
        "two halves": np.where(x * 2 < width, 1.0, 0.3),
    }[shape]
    found = np.rint(inside * (levels - 1)) * (255 // (levels - 1))
    if not found.any():
        found[height // 2, width // 2] = 255
    return found.astype(np.uint8)


def same_matches(image, kernels, metric="sad", **options):
    """The matches, after a comparison with those from a map."""
    found = match(image, kernels, metric=metric, engine="pruned", alpha=False, **options)
    assert found.matches == matches_from_a_map(image, kernels, metric, **options)
    return found.matches


def matches_from_a_map(image, kernels, metric, **options):
    engine = "simd" if metric == "sad" else "fft"
    return match(image, kernels, metric=metric, engine=engine, alpha=False, **options).matches


def refine(search, tile, bounds, floor=-np.inf):
    """Give a tile the bounds of all levels."""
    assert search.levels >= 1
    for level in range(search.levels):
        search.refine(level, tile, bounds, tile, floor)


def bounds_of(search, tile):
    found = np.zeros((tile.rows, tile.cols), np.uint16)
    search.bound(tile, found, Tile(0, 0, tile.rows, tile.cols))
    return found


def assert_bounds_hold(metric, image, kernel, stride, weights, truth):
    """Coarse and fine bounds are not above the differences, nor scores below."""
    total = None if weights is None else int(weights.sum(dtype=np.int64))
    search = Search(
        image, kernel, problem(image, kernel, metric, stride, weight_sum=total), weights
    )
    least = np.zeros(truth.shape, np.uint16)
    whole = Tile(0, 0, *truth.shape)
    coarse = bounds_of(search, whole)
    least[...] = coarse
    least[0, 0] = REMOVED
    scale = (255 if metric == "sad" else 255**2) * metrics.total_weight(kernel.shape, weights)
    scores = 1 - truth / scale
    # Near the best one first: bounds of few windows, with more digits.
    for floor in (scores.max(), np.quantile(scores, 0.9), -np.inf):
        refine(search, whole, least, floor)
        assert least[0, 0] == REMOVED
        assert (least >= coarse).all()
        assert (least * search.unit <= truth * (1 + 1e-12) + 1e-6)[least < REMOVED].all()
        assert (search.upper_bounds(least) >= scores)[least < REMOVED].all()


@cache
def pairs(metric, kind, channels):
    """Images and kernels with strides, no weights, and the differences."""
    rng, found = np.random.default_rng(20), []
    for size in ((1, 1), (13, 7), (25, 40), (50, 5)):
        for stride in ((1, 1), (2, 3), (7, 4)):
            image = pictures(rng, kind, 60, 70, channels)
            kernel = pictures(rng, "photo", *size, channels)
            truth = differences(image, kernel, metric, stride)
            found.append((image, kernel, stride, None, truth))
    return found


@pytest.mark.usefixtures("variant")
@thinned(metric=["sad", "ssd"], kind=KINDS, channels=[1, 2, 3])
def test_bounds_are_never_above_the_differences(metric, kind, channels):
    for case in pairs(metric, kind, channels):
        assert_bounds_hold(metric, *case)


@cache
def masked_pairs(metric, shape, levels):
    """Images and kernels with strides, weights, and the differences."""
    rng, found = np.random.default_rng(20), []
    for kind, channels in (("noise", 1), ("two levels", 3), ("photo", 3)):
        for size in ((1, 1), (13, 7), (25, 40)):
            for stride in ((1, 1), (2, 3)):
                image = pictures(rng, kind, 40, 60, channels)
                kernel = pictures(rng, "photo", *size, channels)
                weights = shades(rng, shape, *size, levels)
                truth = differences(image, kernel, metric, stride, weights)
                found.append((image, kernel, stride, weights, truth))
    return found


@pytest.mark.usefixtures("variant")
@thinned(metric=["sad", "ssd"], shape=SHAPES, levels=[2, 256])
def test_bounds_with_masks_are_never_above_the_differences(metric, shape, levels):
    for case in masked_pairs(metric, shape, levels):
        assert_bounds_hold(metric, *case)


@pytest.mark.usefixtures("variant")
@pytest.mark.parametrize("metric", ["sad", "ssd"])
def test_channels_may_have_weights_of_their_own(metric, rng):
    image, kernel = pictures(rng, "noise", 60, 70, 3), pictures(rng, "photo", 20, 25, 3)
    weights = rng.integers(1, 256, kernel.shape).astype(np.uint8)
    weights[:, :9, 1] = 0
    fits = problem(image, kernel, metric, weight_sum=int(weights.sum()) / 3)
    search = Search(image, kernel, fits, weights)
    truth = differences(image, kernel, metric, (1, 1), weights)
    whole = Tile(0, 0, *truth.shape)
    least = bounds_of(search, whole)
    assert least.max() > 0
    assert (least * search.unit <= truth * (1 + 1e-12)).all()
    refine(search, whole, least)
    assert (least * search.unit <= truth * (1 + 1e-12)).all()
    found = search.look(whole, least, whole, -np.inf, 10**9)
    assert (found.score, found.row, found.col) == (
        search.scale.score(int(truth.min())),
        *divmod(int(truth.argmin()), truth.shape[1]),
    )


@pytest.mark.usefixtures("variant")
@pytest.mark.parametrize("metric", ["sad", "ssd"])
def test_a_look_finds_the_first_of_equal_windows_whatever_their_bounds(metric, rng):
    for step in (85, 255):  # the best windows differ, or are as the kernel
        image = rng.integers(0, 2, (40, 50, 1)).astype(np.uint8) * 255
        kernel = (rng.integers(0, 255 // step + 1, (3, 2, 1)) * step).astype(np.uint8)
        search = Search(image, kernel, problem(image, kernel, metric))
        truth = differences(image, kernel, metric, (1, 1))
        assert (truth == truth.min()).sum() > 3
        whole = Tile(0, 0, *truth.shape)
        for _ in range(50):
            bounds = rng.uniform(0, truth / search.unit).astype(np.uint16)
            found = search.look(whole, bounds, whole, -np.inf, 10**9)
            assert found.done
            assert (found.row, found.col) == divmod(int(truth.argmin()), truth.shape[1])


@pytest.mark.usefixtures("variant")
@pytest.mark.parametrize("metric", ["sad", "ssd"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_a_look_that_ends_early_tells_of_the_window_with_the_lowest_bound(dtype, metric, rng):
    image = rng.integers(0, 256, (70, 70, 1))
    kernel = np.clip(image[40:56, 50:66] + rng.integers(-20, 21, (16, 16, 1)), 0, 255)
    step = np.dtype(dtype).type({"uint8": 1, "uint16": 257, "float32": 1 / 255}[dtype])
    image, kernel = (values.astype(dtype) * step for values in (image, kernel))
    span = 255 * float(step)
    search = pruned.search(
        image, kernel, problem(image, kernel, metric)._replace(dtype=dtype, data_range=span)
    )
    whole = Tile(0, 0, 55, 55)
    bounds = np.ones((55, 55), np.uint16)
    bounds[40, 50] = 0
    found = search.look(whole, bounds, whole, -np.inf, 20)
    (score,) = metrics.exact(image, kernel, metric, span)(np.array([40]), np.array([50]))
    assert (found.row, found.col, found.score, found.done) == (40, 50, score, False)


@pytest.mark.usefixtures("variant")
@pytest.mark.parametrize("metric", ["sad", "ssd"])
def test_finer_bounds_are_made_where_windows_could_reach_the_floor(metric, astronaut):
    image, kernel = astronaut[:300, :310], astronaut[310:390, 330:410]
    search = Search(image, kernel, problem(image, kernel, metric))
    whole, tile = Tile(0, 0, 221, 231), Tile(17, 20, 200, 201)
    rows, cols = np.indices((221, 231)).reshape(2, -1)
    scores = metrics.exact(image, kernel, metric, 255.0)(rows, cols).reshape(221, 231)
    kept = np.zeros(scores.shape, np.uint16)
    kept[...] = bounds_of(search, whole)
    floor = scores[tile.index].max()
    limit = search.could_reach(floor)
    was_open = np.zeros(scores.shape, bool)
    was_open[tile.index] = kept[tile.index] <= limit
    shares = [was_open.mean()]
    for level in range(search.levels):
        before = kept.copy()
        left = search.refine(level, tile, kept, tile, floor)
        assert left == (was_open & (kept <= limit)).sum()
        outside = np.ones(scores.shape, bool)
        outside[tile.index] = False
        np.testing.assert_array_equal(kept[outside], before[outside])
        shares.append((was_open & (kept <= limit)).mean())
    assert shares[0] > 4 * shares[-1] > 0
    assert (kept[tile.index][scores[tile.index] == floor] <= limit).all()


@pytest.mark.usefixtures("variant")
@pytest.mark.parametrize(
    "tile", [Tile(0, 0, 1, 1), Tile(63, 64, 2, 1), Tile(5, 60, 130, 70), Tile(0, 0, 140, 150)]
)
def test_bounds_come_with_the_least_of_each_block_and_nothing_beside(tile, rng):
    image, kernel = pictures(rng, "photo", 159, 169, 3), pictures(rng, "photo", 20, 20, 3)
    search = Search(image, kernel, problem(image, kernel))
    whole = bounds_of(search, Tile(0, 0, 140, 150))
    found = np.full((140, 150), 7, np.uint16)
    least = search.bound(tile, found, tile)
    assert found[tile.index].tolist() == whole[tile.index].tolist()
    beside = np.ones(found.shape, bool)
    beside[tile.index] = False
    assert (found[beside] == 7).all()
    blocks = {}
    for row, col in np.argwhere(~beside).tolist():
        blocks.setdefault((row // 64, col // 64), []).append(whole[row, col])
    assert least.ravel().tolist() == [min(blocks[block]) for block in sorted(blocks)]


def test_bounds_of_squares_keep_their_digits_near_the_best_window(rng):
    """Squares of small differences of large sums must not be lost, nor those of many cells."""
    noise = rng.integers(0, 256, (400, 420, 3), np.uint8)
    kernel = noise[50:250, 60:260]
    search = Search(noise, kernel, problem(noise, kernel, "ssd"))
    whole = Tile(0, 0, 201, 221)
    least = bounds_of(search, whole)
    refine(search, whole, least, 1 - 1e-4)
    assert least[50, 60] == 0
    assert np.count_nonzero(least <= search.could_reach(1 - 1e-4)) == 1


@pytest.mark.parametrize("metric", ["sad", "ssd"])
def test_bounds_of_a_patch_of_its_own_colour_are_sharp(metric):
    """Where all differences have one sign, the bound is the difference, but for its rounding."""
    image, kernel = np.full((40, 40, 3), 90, np.uint8), np.full((16, 16, 3), 60, np.uint8)
    search = Search(image, kernel, problem(image, kernel, metric))
    truth = kernel.size * (30 if metric == "sad" else 900)
    bounds = bounds_of(search, Tile(0, 0, 25, 25)) * search.unit
    assert (bounds > 0.97 * truth).all()


@cache
def planted_twice(metric, kind):
    """An image, and kernels and options with the matches from a map."""
    rng, found = np.random.default_rng(20), []
    image = pictures(rng, kind, 170, 181, 3)
    planted = image[80:120, 90:130].copy()
    noisy = np.clip(planted + rng.normal(0, 6, planted.shape), 0, 255).astype(np.uint8)
    other = pictures(rng, "photo", 24, 17, 3)
    image[10:50, 135:175] = planted  # a tie
    for options in ({"top": 1}, {"top": 7}, {"threshold": 0.8}, {"threshold": 0.9, "top": 3}):
        for kernels in (planted, [noisy, other]):
            wanted = matches_from_a_map(image, kernels, metric, **options)
            assert kernels is not planted or wanted[0].score == 1.0
            found.append((kernels, options, wanted))
    return image, found


@pytest.mark.usefixtures("variant")
@pytest.mark.parametrize("metric", ["sad", "ssd"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_matches_are_those_from_a_map(metric, kind):
    image, cases = planted_twice(metric, kind)
    for kernels, options, wanted in cases:
        found = match(image, kernels, metric=metric, engine="pruned", **options)
        assert found.matches == wanted


@cache
def planted_under_masks(metric, kind):
    """An image, a kernel, and masks and options with the matches from a map."""
    rng, found = np.random.default_rng(20), []
    image = pictures(rng, kind, 160, 190, 3)
    planted = image[60:95, 90:130].copy()
    image[10:45, 140:180] = planted  # a tie
    image[60, 90] ^= 255  # where the masks are black
    for shape in ("ring", "two halves"):
        mask = shades(rng, shape, 35, 40, 256)
        mask[0, 0] = 0
        for more in (
            {"top": 7}, {"threshold": 0.9, "top": 3}, {"top": 2, "stride": (3, 2)}, {"top": 2}
        ):  # fmt: skip
            options = {"mask": mask, **more}
            wanted = matches_from_a_map(image, planted, metric, **options)
            assert wanted[0].score <= 1.0
            assert "stride" in more or wanted[0].score == 1.0
            found.append((options, wanted))
    return image, planted, found


@pytest.mark.usefixtures("variant")
@pytest.mark.parametrize("metric", ["sad", "ssd"])
@pytest.mark.parametrize("kind", ["noise", "two levels", "photo"])
def test_the_matches_with_masks_are_those_from_a_map(metric, kind):
    image, planted, cases = planted_under_masks(metric, kind)
    for options, wanted in cases:
        found = match(image, planted, metric=metric, engine="pruned", **options)
        assert found.matches == wanted


@settings(deadline=None, max_examples=120)
@given(st.data())
def test_any_masks_give_the_same_matches(data):
    draw = data.draw
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    channels = draw(st.integers(1, 4))
    height, width = draw(st.integers(1, 120)), draw(st.integers(1, 120))
    image = pictures(rng, draw(st.sampled_from(KINDS)), height, width, channels)
    size = draw(st.integers(1, height)), draw(st.integers(1, width))
    top, left = draw(st.integers(0, height - size[0])), draw(st.integers(0, width - size[1]))
    kernel = image[top : top + size[0], left : left + size[1]].copy()
    if draw(st.booleans()):
        kernel = pictures(rng, draw(st.sampled_from(KINDS)), *size, channels)
    shape, levels = draw(st.sampled_from(SHAPES)), draw(st.sampled_from([2, 4, 18, 256]))
    threshold = draw(st.one_of(st.none(), st.floats(0.5, 1)))
    same_matches(
        image,
        kernel,
        draw(st.sampled_from(["sad", "ssd"])),
        mask=shades(rng, shape, *size, levels),
        stride=draw(st.tuples(st.integers(1, 4), st.integers(1, 4))),
        top=draw(st.integers(1, 8)) if threshold is None else None,
        threshold=threshold,
        overlap=draw(st.sampled_from([0.0, 0.3, 0.5])),
        threads=draw(st.integers(1, 2)),
    )


@settings(deadline=None, max_examples=120)
@given(st.data())
def test_any_pictures_and_options_give_the_same_matches(data):
    draw = data.draw
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    channels = draw(st.integers(1, 4))
    height, width = draw(st.integers(1, 150)), draw(st.integers(1, 150))
    image = pictures(rng, draw(st.sampled_from(KINDS)), height, width, channels)
    kernels = []
    for _ in range(draw(st.integers(1, 2))):
        size = draw(st.integers(1, height)), draw(st.integers(1, width))
        if draw(st.booleans()):
            top = draw(st.integers(0, height - size[0]))
            left = draw(st.integers(0, width - size[1]))
            kernels.append(image[top : top + size[0], left : left + size[1]].copy())
        else:
            kernels.append(pictures(rng, draw(st.sampled_from(KINDS)), *size, channels))
    top = draw(st.one_of(st.none(), st.integers(1, 8)))
    threshold = draw(st.one_of(st.none(), st.floats(0.5, 1)))
    same_matches(
        image,
        kernels,
        draw(st.sampled_from(["sad", "ssd"])),
        stride=draw(st.tuples(st.integers(1, 4), st.integers(1, 4))),
        top=min(top or 8, 8) if threshold is None else top,
        threshold=threshold,
        overlap=draw(st.sampled_from([0.0, 0.3, 0.5] + [1.0] * (top is not None))),
        threads=draw(st.integers(1, 2)),
    )


def widened(pixels, kind, rng):
    """8-bit pixels as values of more bits, of a kind, that are within `wide_range`."""
    values = pixels.astype(np.float64)
    if kind == "bytes * 257":
        return (pixels * np.uint16(257)).astype(np.uint16)
    if kind == "few levels":
        return pixels.astype(np.uint16)
    if kind == "16 bits":
        return np.clip(values * 257 + rng.integers(-128, 129, pixels.shape), 0, 65535).astype(
            np.uint16
        )
    if kind == "hot pixels":
        found = (values * 16 + rng.integers(0, 16, pixels.shape)).astype(np.uint16)
        found[rng.random(pixels.shape) < 0.0005] = 65535
        found[rng.random(pixels.shape) < 0.0005] = 0
        return found
    if kind == "bytes / 255":
        return (values / 255).astype(np.float32)
    if kind == "denormals":
        return (values * 3e-45 + rng.random(pixels.shape) * 1e-44).astype(np.float32)
    if kind == "one outlier":
        found = (values + rng.random(pixels.shape)).astype(np.float32)
        found[0, 0, 0] = 3e38
        return found
    if kind == "far from 0":
        return (1e6 + values / 16).astype(np.float32)
    if kind == "float64":
        return (values + rng.random(pixels.shape)) / 256
    if kind == "float64 outlier":  # beyond float32
        found = values + rng.random(pixels.shape)
        found[-1, -1, 0] = 1e100
        return found
    if kind == "float64 steps":  # which float32 does not hold
        return 1e9 + values / 4096
    assert kind == "signed"
    return ((values + rng.random(pixels.shape)) / 128 - 1).astype(np.float32)


WIDE = {
    "bytes * 257": None, "few levels": None, "16 bits": None, "hot pixels": None,
    "bytes / 255": None, "denormals": (0, 2e-42), "one outlier": (0, 3.1e38),
    "far from 0": (0, 2e6), "signed": (-1.5, 1.5), "float64": None,
    "float64 outlier": (0, 1.1e100), "float64 steps": (0, 2e9),
}  # fmt: skip


@cache
def wide_pairs(metric, kind, masked):
    """Images, kernels, weights, their problems, and the scores."""
    rng, made = np.random.default_rng(20), []
    span = np.ptp(WIDE[kind] or ((0, 1) if kind in ("bytes / 255", "float64") else (0, 65535)))
    for height, width in ((1, 1), (13, 7), (25, 40)):
        image = widened(pictures(rng, "photo", 60, 70, 3), kind, rng)
        kernel = widened(pictures(rng, "photo", height, width, 3), kind, rng)
        weights = shades(rng, "disc", height, width, 256) if masked else None
        fits = Problem(
            image.shape, kernel.shape, image.dtype.name, (2, 1), metric, float(span), "cpu", 1,
            map_wanted=False, weight_sum=None if weights is None else int(weights.sum()),
        )  # fmt: skip
        exact = metrics.exact(image, kernel, metric, float(span), weights)
        rows, cols = fits.map_shape
        truth = np.array([[exact(2 * row, col) for col in range(cols)] for row in range(rows)])
        made.append((image, kernel, weights, fits, truth))
    return made


@pytest.mark.usefixtures("variant")
@pytest.mark.parametrize("metric", ["sad", "ssd"])
@pytest.mark.parametrize("kind", WIDE)
@pytest.mark.parametrize("masked", [False, True])
def test_bounds_from_copies_of_8_bits_hold(metric, kind, masked):
    for image, kernel, weights, fits, truth in wide_pairs(metric, kind, masked):
        search = pruned.search(image, kernel, fits, weights)
        rows, cols = fits.map_shape
        whole = Tile(0, 0, rows, cols)
        least = bounds_of(search, whole)
        assert (search.upper_bounds(least) >= truth).all()
        refine(search, whole, least)
        assert (search.upper_bounds(least) >= truth).all()
        found = search.look(whole, least, whole, -np.inf, 10**9)
        assert (found.score, found.row, found.col) == (
            truth.max(),
            *divmod(int(truth.argmax()), cols),
        )
        assert (search.upper_bounds(least) >= truth).all()  # the look has raised the bounds
        above = np.nextafter(truth.max(), 2)
        assert search.look(whole, least, whole, above, 10**9).row == -1


def test_copies_of_8_bits_have_the_bytes_where_the_values_are_those(rng):
    pixels = pictures(rng, "photo", 50, 60, 3)
    for kind, data_range in (
        ("bytes * 257", 65535.0),
        ("bytes / 255", 1.0),
        ("few levels", 65535.0),
    ):
        wide = widened(pixels, kind, rng)
        copy = byte_copy.make(wide, wide[:9, :9], data_range)
        np.testing.assert_array_equal(copy.pixels, pixels)
        assert copy.rounding < 1e-4


def test_hot_pixels_do_not_make_the_copy_of_8_bits_coarse(rng):
    image = widened(pictures(rng, "photo", 300, 300, 1), "hot pixels", rng)
    copy = byte_copy.make(image, image[:40, :40], 65535.0)
    assert copy.step < 17
    np.testing.assert_array_equal(copy.pixels[image == 65535], 255)


@pytest.mark.parametrize("metric", ["sad", "ssd"])
@pytest.mark.parametrize("dtype", ["uint16", "float32", "float64"])
def test_the_matches_in_wide_pictures_are_those_of_the_oracle(metric, dtype, rng):
    image = widened(pictures(rng, "photo", 14, 17, 2), "16 bits", rng)
    kernel = widened(pictures(rng, "photo", 4, 3, 2), "16 bits", rng)
    image[2:6, 9:12] = image[7:11, 1:4]  # a tie
    span = 65535
    if dtype != "uint16":
        image, kernel, span = ((v / 65536).astype(dtype) for v in (image, kernel, np.array(65536)))
        span = 1.0
    weights = rng.integers(1, 256, kernel.shape[:2]).astype(np.uint8)
    for pattern in (kernel, image[7:11, 1:4]):
        for mask in (None, weights):
            for stride in ((1, 1), (1, 2)):
                truth = np.array(
                    oracle.score_map(
                        metric,
                        image.tolist(),
                        pattern.tolist(),
                        stride,
                        span,
                        weights=None if mask is None else mask.tolist(),
                    )
                )
                best = match(
                    image, pattern, metric=metric, engine="pruned", mask=mask, stride=stride, top=1
                ).best
                assert best.score == pytest.approx(truth.max(), abs=1e-12)
                row, col = best.y // stride[0], best.x // stride[1]
                assert truth[row, col] == pytest.approx(truth.max(), abs=1e-12)


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_any_wide_pictures_and_options_give_the_same_matches(data):
    draw = data.draw
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    channels = draw(st.integers(1, 4))
    height, width = draw(st.integers(1, 150)), draw(st.integers(1, 150))
    bytes_of_image = pictures(rng, draw(st.sampled_from(KINDS)), height, width, channels)
    kind = draw(st.sampled_from(list(WIDE)))
    image = widened(bytes_of_image, kind, rng)
    size = draw(st.integers(1, height)), draw(st.integers(1, width))
    top, left = draw(st.integers(0, height - size[0])), draw(st.integers(0, width - size[1]))
    source = draw(st.sampled_from(["cut out", "changed", "another"]))
    kernel = image[top : top + size[0], left : left + size[1]].copy()
    if source == "changed":
        part = bytes_of_image[top : top + size[0], left : left + size[1]]
        kernel = widened(
            np.clip(part + rng.normal(0, 6, part.shape), 0, 255).astype(np.uint8), kind, rng
        )
    elif source == "another":
        kernel = widened(pictures(rng, draw(st.sampled_from(KINDS)), *size, channels), kind, rng)
    mask = None
    if draw(st.booleans()):
        shape, levels = draw(st.sampled_from(SHAPES)), draw(st.sampled_from([2, 18, 256]))
        mask = shades(rng, shape, *size, levels)
    if draw(st.booleans()):
        image = image[:, ::-1]  # not in one piece
    threshold = draw(st.one_of(st.none(), st.floats(0.5, 1)))
    same_matches(
        image,
        [kernel, kernel[:, ::-1]] if mask is None and draw(st.booleans()) else kernel,
        draw(st.sampled_from(["sad", "ssd"])),
        mask=mask,
        data_range=WIDE[kind],
        stride=draw(st.tuples(st.integers(1, 4), st.integers(1, 4))),
        top=draw(st.integers(1, 8)) if threshold is None else None,
        threshold=threshold,
        overlap=draw(st.sampled_from([0.0, 0.3, 0.5])),
        threads=draw(st.integers(1, 2)),
    )


@pytest.mark.parametrize("metric", ["sad", "ssd"])
@pytest.mark.parametrize("kind", ["16 bits", "bytes / 255", "signed"])
def test_flat_wide_pictures_tie_in_all_windows(metric, kind):
    flat = np.full((150, 170, 3), 90, np.uint8)
    image = widened(flat, kind, np.random.default_rng(0))
    image[...] = image[0, 0]
    kernel = image[:20, :30] * image.dtype.type(1) - image.dtype.type(
        0 if kind == "16 bits" else 0.01
    )
    for part in (kernel, image[:20, :30].copy()):
        found = same_matches(image, part, metric, top=5, overlap=0.0, data_range=WIDE[kind])
        assert (found[0].x, found[0].y) == (0, 0)


@pytest.mark.parametrize("metric", ["sad", "ssd"])
@pytest.mark.parametrize("dtype", ["uint16", "float32", "float64"])
def test_wide_noise_is_left_to_the_direct_search(metric, dtype, rng):
    image, kernel = rng.random((200, 210, 1)), rng.random((24, 24, 1))
    if dtype == "uint16":
        image, kernel = image * 65535, kernel * 65535
    same_matches(image.astype(dtype), kernel.astype(dtype), metric, top=3)
    report = match(image.astype(dtype), kernel.astype(dtype), metric=metric, engine="pruned", top=3)
    assert report.plans[0].direct_plan is not None


@pytest.mark.parametrize("metric", ["sad", "ssd"])
@pytest.mark.parametrize("dtype", ["uint16", "float32", "float64"])
def test_wide_windows_are_evaluated_one_by_one_without_a_direct_search(metric, dtype, rng):
    image = (rng.random((90, 100, 1)) * 60000).astype(dtype)
    kernel = (rng.random((20, 20, 1)) * 60000).astype(dtype)
    fits = problem(image, kernel, metric)._replace(dtype=dtype, data_range=65535.0)
    alone = pruned_windows.PrunedWindows(pruned.search(image, kernel, fits), None, 1)
    alone.put(*alone.bound(Tile(0, 0, 71, 81)))
    alone.ready()
    exact = metrics.exact(image, kernel, metric, 65535.0)
    truth = np.array([[exact(row, col) for col in range(81)] for row in range(71)])
    assert alone.best(-np.inf) == (*divmod(int(truth.argmax()), 81), truth.max())


@pytest.mark.usefixtures("variant")
@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("shade", [None, 1, 255])
@pytest.mark.parametrize("dtype", ["uint16", "float32", "float64"])
def test_the_largest_wide_differences_do_not_overflow(dtype, shade, squared):
    for run in (1, 15, 16, 255, 256, 257, 1000):
        image, kernel = np.full((3, run), 65535, dtype), np.zeros((3, run), dtype)
        found = np.zeros(1, np.uint64 if dtype == "uint16" else np.float64)
        weights = None if shade is None else np.full((3, run), shade, np.uint8)
        _pruned.compare(
            image=image, type=byte_copy.TYPES[dtype], pitch=image.strides[0], kernel=kernel,
            weights=weights, run=run, height=3, stride_y=1, step_x=1, cols=1,
            places=np.zeros(1, np.int32), count=1, squared=squared, limit=np.inf, rounding=0.0,
            out=found, variant=compiled.variant(),
        )  # fmt: skip
        assert int(found[0]) == 3 * run * 65535 ** (2 if squared else 1) * (shade or 1)


@pytest.mark.usefixtures("variant")
def test_values_become_the_nearest_bytes():
    levels = np.linspace(-20, 300, 100_001)
    for dtype, low, step in (
        ("uint16", 300.0, 7.3),
        ("float32", -5.0, 1e-3),
        ("float32", 0, 1e-44),
        ("float64", 1e9, 1e-5),
    ):
        values = np.maximum(levels * step + low, 0 if dtype == "uint16" else -np.inf).astype(dtype)
        out = np.zeros(values.shape, np.uint8)
        largest = _pruned.quantise(
            values=values, type=byte_copy.TYPES[dtype], low=low, step=step, out=out,
            variant=compiled.variant(),
        )  # fmt: skip
        exact = np.clip((values.astype(np.float64) - low) / step, 0, 255)
        off = np.abs(out - exact)
        assert off.max() <= 0.5 + 1e-9
        assert off.max() <= largest <= off.max() + 1e-5
    ends = np.array([-np.inf, np.nan, np.inf, -3e38, 3e38], np.float32)
    out = np.ones(5, np.uint8)
    _pruned.quantise(
        values=ends, type="f", low=0.0, step=1e-300, out=out, variant=compiled.variant()
    )
    assert out.tolist() == [0, 0, 255, 0, 255]


@pytest.mark.parametrize("metric", ["sad", "ssd"])
def test_threads_and_tiles_change_nothing(metric, rng):
    image = pictures(rng, "photo", 400, 420, 3)
    kernel = np.clip(image[60:110, 70:140] + rng.normal(0, 9, (50, 70, 3)), 0, 255)
    kernel = kernel.astype(np.uint8)
    one, two, small = (
        match(image, kernel, metric=metric, engine="pruned", top=9, **options)
        for options in ({"threads": 1}, {"threads": 2}, {"memory": "2MB"})
    )
    assert one.plans[0].tile != small.plans[0].tile
    assert one.matches == two.matches == small.matches


def test_without_a_direct_search_windows_are_evaluated_one_by_one(rng):
    image = pictures(rng, "noise", 90, 100, 1)
    kernel = pictures(rng, "noise", 20, 20, 1)
    search = Search(image, kernel, problem(image, kernel))
    alone = pruned_windows.PrunedWindows(search, None, 1)
    alone.put(*alone.bound(Tile(0, 0, 71, 81)))
    alone.ready()
    truth = differences(image, kernel, "sad", (1, 1))
    row, col, score = alone.best(-np.inf)
    assert truth[row, col] == truth.min()
    assert score == search.scale.score(int(truth.min()))
    assert alone.blocks_evaluated == 0
    assert alone.windows_evaluated > 71 * 81 / 2


def test_where_bounds_do_not_help_the_direct_search_does_it_and_says_so(run, save, rng):
    save("noise.png", pictures(rng, "noise", 200, 200, 3))
    save("other.png", pictures(rng, "noise", 32, 32, 3))
    code, _, err = run(
        "match", "noise.png", "other.png", "--no-heatmap", "--explain", "--engine", "pruned"
    )
    assert code == 0
    assert "and 9 blocks (100% of the map) by simd" in err
    save("photo.png", photograph("astronaut"))
    save("part.png", photograph("astronaut")[100:164, 200:264])
    words = ("--no-heatmap", "--explain", "--top", "1", "--no-margin")
    code, _, err = run("match", "photo.png", "part.png", *words)
    assert code == 0
    assert "pruned on cpu, " in err
    assert "window alone\n" in err


def test_the_next_match_is_searched_for_outside_of_the_blocks_that_a_match_removes(run, save):
    """A match of a large kernel removes all windows of the blocks with the best bounds."""
    photo = photograph("coffee")
    picture = np.block([[[photo], [photo[:, ::-1]]], [[photo // 2], [photo[::-1] // 3]]])
    save("picture.png", picture)
    save("part.png", picture[40:240, 60:260])
    words = "match", "picture.png", "part.png", "--no-heatmap", "--explain", "--top", "2"
    _, truth, _ = run(*words, "--engine", "simd")
    code, found, err = run(*words, "--engine", "pruned")
    assert code == 0
    assert found == truth
    assert "scored exactly" in err
    assert "(100% of the map)" not in err


def test_it_draws_no_map(run, save, astronaut):
    save("photo.png", astronaut)
    save("part.png", astronaut[100:164, 200:264])
    words = ("match", "photo.png", "part.png", "--engine", "pruned")
    code, _, err = run(*words)
    assert code == 2
    assert "pruned on cpu: it draws no map; leave out --map and --heatmap" in err
    assert run(*words, "--no-heatmap", "--map", "map.npy")[0] == 2
    assert run(*words, "--no-heatmap")[0] == 0
    assert match(astronaut, astronaut[100:164, 200:264], map=True).plans[0].engine == "simd"


def test_what_it_cannot_do_is_refused(monkeypatch):
    fits = problem(np.zeros((9, 9, 1)), np.zeros((3, 3, 1)))
    assert pruned.refuse(fits) is None
    for change in (
        {"dtype": "float16"}, {"device": "cuda:0"}, {"metric": "zncc"}, {"exact": True},
        {"map_wanted": True}, {"data_range": 1e15}, {"weight_sum": 5, "full_cells": 0},
    ):  # fmt: skip
        assert pruned.refuse(fits._replace(**change))
    monkeypatch.setattr(compiled, "extension", lambda: None)
    assert "was not built" in pruned.refuse(fits)


def test_the_largest_difference_of_a_score():
    fits = problem(np.zeros((9, 9, 3)), np.zeros((5, 7, 3)))
    for metric in ("sad", "ssd"):
        image = np.zeros((9, 9, 3), np.uint8)
        search = Search(image, image[:5, :7], fits._replace(metric=metric))
        for difference in (*range(300), 105 * 255):
            assert search.scale.largest_difference(search.scale.score(difference)) == difference
        assert search.scale.largest_difference(1.1) == -1
        assert (
            search.scale.score(search.scale.largest_difference(0.3))
            >= 0.3
            > search.scale.score(search.scale.largest_difference(0.3) + 1)
        )


def test_a_range_of_the_data_changes_scores_alone(rng):
    image = pictures(rng, "photo", 90, 100, 3)
    kernel = pictures(rng, "photo", 20, 20, 3)
    for data_range in ((0, 400), (0.5, 1e6), (-3, 260)):
        image[image == 0] = 1
        kernel[kernel == 0] = 1
        same_matches(image, kernel, data_range=data_range, top=4)


def test_views_of_pictures_are_searched(rng):
    image = np.rot90(pictures(rng, "photo", 120, 140, 3))
    same_matches(image, image[50:70, 60:80], top=3)
    same_matches(image[:, ::-1], image[50:70, 60:80], top=3)


def _mistakes(function, arguments, changes):
    getattr(_pruned, function)(**arguments)
    for change in changes:
        with pytest.raises(ValueError, match=r"size|small|fewer|variant|type|ratio|negative"):
            getattr(_pruned, function)(**(arguments | change))


def test_a_callers_mistake_does_not_read_beyond_the_buffers():
    _mistakes(
        "boxes",
        {
            "image": np.zeros(8 * 9, np.uint8), "pitch": 9, "channels": 1, "width": 9, "planes": 1,
            "cell_height": 3, "cell_width": 4, "rows": 6, "stride_x": 2, "up": 0, "down": 0,
            "out": np.zeros(6 * 6, np.uint16), "row_pitch": 6, "phase_pitch": 3,
            "variant": "portable",
        },
        [
            {"rows": 7}, {"width": 10}, {"pitch": 8}, {"channels": 2}, {"planes": 2},
            {"row_pitch": 5},
            {"phase_pitch": 2}, {"cell_height": 0}, {"cell_height": 300}, {"cell_width": 10},
            {"up": 40},
            {"down": -1}, {"out": np.zeros(35, np.uint16)}, {"variant": "none"}, {"stride_x": 0},
        ],
    )  # fmt: skip
    _mistakes(
        "bounds",
        {
            "boxes": np.zeros(4 + 20 + 64, np.uint16), "offsets": np.array([0, 4]),
            "below": np.zeros(2, np.uint16), "above": np.zeros(2, np.uint16), "row_step": 10,
            "rows": 3, "cols": 5, "squared": False, "doublings": 0,
            "out": np.zeros(2 * 7 + 5, np.uint16), "out_pitch": 7, "variant": "portable",
            "least": np.zeros((2, 3), np.uint16), "block": 2, "down": 1, "across": 1,
        },
        [
            {"rows": 4}, {"rows": 0}, {"cols": 65}, {"row_step": 11}, {"offsets": np.array([0, 5])},
            {"offsets": np.array([-1, 4])}, {"offsets": np.array([0])}, {"out_pitch": 4},
            {"below": np.zeros(1, np.uint16)}, {"out": np.zeros(18, np.uint16)},
            {"doublings": -1}, {"doublings": 16}, {"block": 0}, {"block": 1 << 40}, {"down": 2},
            {"down": -1}, {"across": 2}, {"across": -1}, {"least": np.zeros((2, 2), np.uint16)},
            {"least": np.zeros((3, 3), np.uint16)},
        ],
    )  # fmt: skip
    _mistakes(
        "raise_bounds",
        {
            "boxes": np.zeros(4 + 20 + 64, np.uint16), "offsets": np.array([0, 4]),
            "below": np.zeros(2, np.uint16), "above": np.zeros(2, np.uint16), "row_step": 10,
            "rows": 3, "cols": 5, "squared": True, "doublings": 2,
            "out": np.zeros(2 * 7 + 5, np.uint16), "out_pitch": 7, "variant": "portable",
            "limit": 9, "ratio": 1.0,
        },
        [
            {"rows": 4}, {"rows": 0}, {"cols": 8}, {"row_step": 11}, {"offsets": np.array([0, 5])},
            {"out_pitch": 4}, {"out": np.zeros(18, np.uint16)}, {"doublings": 16},
            {"ratio": 0.0}, {"ratio": float("nan")}, {"variant": "none"},
        ],
    )  # fmt: skip
    _mistakes(
        "narrow",
        {
            "image": np.zeros(8 * 18, np.uint8), "pitch": 18, "channels": 2, "width": 9, "rows": 5,
            "kernel": bytes(4 * 6 * 2), "kernel_height": 4, "kernel_width": 6,
            "levels": np.array([[2, 3, 2, 2], [1, 1, 4, 6]]), "sums": np.zeros(56, np.uint32),
            "costs": np.zeros((2, 2)), "slack": 9, "most": 9, "bounds": np.zeros((5, 4), np.uint16),
            "variant": "portable",
        },
        [
            {"image": np.zeros(8 * 18 - 1, np.uint8)}, {"pitch": 17}, {"channels": 1}, {"rows": 6},
            {"channels": 0}, {"width": 10}, {"width": 5}, {"kernel": bytes(47)},
            {"kernel_height": 5}, {"kernel_width": 7}, {"slack": 2**63}, {"variant": "none"},
            {"levels": np.array([[2, 3, 2, 2]])}, {"costs": np.zeros((3, 2))},
            {"levels": np.zeros((0, 4), np.int64), "costs": np.zeros((0, 2))},
            {"levels": np.array([[2, 3, 2, 2], [1, 1, 5, 6]])},
            {"levels": np.array([[2, 3, 2, 2], [1, 1, 4, 7]])},
            {"levels": np.array([[2, 3, 2, 2], [0, 1, 4, 6]])},
            {"levels": np.array([[2, 3, 2, 2], [1, 1, -4, -6]])},
            {"sums": np.zeros(55, np.uint32)}, {"bounds": np.zeros((5, 3), np.uint16)},
        ],
    )  # fmt: skip
    _mistakes(
        "look",
        {
            "image": np.zeros(8 * 9, np.uint8), "pitch": 9, "kernel": bytes(6),
            "weights": bytes(6), "run": 3, "height": 2, "stride_y": 2, "step_x": 3,
            "bounds": np.zeros(4 * 3, np.uint16), "bounds_pitch": 3, "rows": 4, "cols": 3,
            "squared": False, "scale": 1.0, "limit": 9, "most": 9, "variant": "portable",
        },
        [
            {"rows": 5}, {"cols": 4}, {"rows": 0}, {"run": 4},
            {"height": 3}, {"pitch": 8}, {"bounds_pitch": 2}, {"scale": 0.0}, {"step_x": 0},
            {"bounds": np.zeros(11, np.uint16)}, {"weights": bytes(5)}, {"variant": "none"},
        ],
    )  # fmt: skip
    _mistakes(
        "screen",
        {
            "image": np.zeros(8 * 9, np.uint8), "pitch": 9, "kernel": bytes(6), "weights": None,
            "run": 3, "height": 2, "stride_y": 2, "step_x": 3,
            "bounds": np.zeros(4 * 3, np.uint16), "bounds_pitch": 3, "rows": 4, "cols": 3,
            "squared": False, "scale": 1.0, "limit": 9, "most": 9,
            "places": np.zeros(12, np.int32), "sums": np.zeros(12, np.uint64),
            "variant": "portable",
        },
        [
            {"rows": 5}, {"cols": 4}, {"height": 3}, {"bounds": np.zeros(11, np.uint16)},
            {"places": np.zeros(11, np.int32)}, {"sums": np.zeros(11, np.uint64)},
            {"variant": "none"},
        ],
    )  # fmt: skip
    _mistakes(
        "compare",
        {
            "image": np.zeros(8 * 9, np.uint16), "type": "H", "pitch": 18,
            "kernel": np.zeros(6, np.uint16), "weights": bytes(6), "run": 3, "height": 2,
            "stride_y": 2, "step_x": 3, "cols": 3, "places": np.array([0, 11], np.int32),
            "count": 2, "squared": False, "limit": 9.0, "rounding": 0.0,
            "out": np.zeros(2, np.uint64), "variant": "portable",
        },
        [
            {"type": "B"}, {"type": "f"}, {"places": np.array([0, 12], np.int32)},
            {"places": np.array([-1, 0], np.int32)}, {"count": 3}, {"weights": bytes(5)},
            {"out": np.zeros(1, np.uint64)}, {"height": 3}, {"cols": 0}, {"pitch": 4},
            {"variant": "none"},
        ],
    )  # fmt: skip
    _mistakes(
        "quantise",
        {
            "values": np.zeros(8, np.float32), "type": "f", "low": 0.0, "step": 1.0,
            "out": np.zeros(8, np.uint8), "variant": "portable",
        },
        [
            {"type": "H"}, {"type": "d"}, {"type": ""}, {"type": "ff"}, {"step": 0.0},
            {"out": np.zeros(9, np.uint8)}, {"step": float("nan")}, {"variant": "none"},
        ],
    )  # fmt: skip


@pytest.mark.usefixtures("variant")
@pytest.mark.parametrize("squared", [False, True])
def test_rows_of_any_length_are_compared_whole_and_no_further(squared, rng):
    for run in (*range(1, 71), 127, 128, 129):
        assert_rows_are_compared_whole(run, squared, rng)


def assert_rows_are_compared_whole(run, squared, rng):
    rows, cols, height = 3, 5, 6
    image = rng.integers(0, 256, (rows + height - 1, cols + run - 1), np.uint8)
    kernel = rng.integers(0, 256, (height, run), np.uint8)
    places, sums = np.empty(rows * cols, np.int32), np.empty(rows * cols, np.uint64)
    count, compared, done = _pruned.screen(
        image=image, pitch=cols + run - 1, kernel=kernel, weights=None, run=run, height=height,
        stride_y=1, step_x=1, bounds=np.zeros((rows, cols), np.uint16), bounds_pitch=cols,
        rows=rows, cols=cols, squared=squared, scale=1e-9, limit=2**62, most=10**9,
        places=places, sums=sums, variant=compiled.variant(),
    )  # fmt: skip
    expected = differences(image[..., None], kernel[..., None], "ssd" if squared else "sad", (1, 1))
    assert (count, compared, done) == (rows * cols, rows * cols * height, True)
    assert places.tolist() == list(range(rows * cols))
    assert sums.tolist() == expected.ravel().tolist()


@pytest.mark.usefixtures("variant")
@thinned(
    squared=[False, True],
    height=[1, 4, 5, 9],
    shade=[None, 1, 255],
    run=[1, 63, 65, 32767, 32768, 32769, 65536],
)
def test_the_largest_differences_do_not_overflow(run, shade, height, squared):
    image, kernel = np.full((height, run + 1), 255, np.uint8), np.zeros((height, run), np.uint8)
    image[0, -1] = 254  # the second window is the better one
    bounds = np.zeros((1, 2), np.uint16)
    found = _pruned.look(
        image=image, pitch=run + 1, kernel=kernel,
        weights=None if shade is None else np.full_like(kernel, shade), run=run, height=height,
        stride_y=1, step_x=1, bounds=bounds, bounds_pitch=2, rows=1, cols=2, squared=squared,
        scale=1e-9, limit=2**62, most=10**9, variant=compiled.variant(),
    )  # fmt: skip
    power = 2 if squared else 1
    most = (run * height - 1) * 255**power + 254**power
    assert found[:3] == (most * (shade or 1), 0, 1)
    assert found[5]


def test_a_white_kernel_whose_cells_fill_the_boxes_is_found(rng):
    image = np.full((1000, 400, 3), 255, np.uint8)
    image[:30] = rng.integers(0, 256, (30, 400, 3))
    image[:, :30] = rng.integers(0, 256, (1000, 30, 3))
    kernel = image[31 : 31 + 964, 31 : 31 + 364].copy()  # cells of 65793 values
    found = match(image, kernel, metric="ssd", engine="pruned", top=1).best
    assert (found.x, found.y, found.score) == (30, 30, 1.0)


@pytest.mark.parametrize("forced", [None, "neon", "portable"])
def test_it_needs_no_variant_of_the_other_engine(forced, monkeypatch, rng):
    monkeypatch.setattr(simd, "_extension", lambda: None)
    if forced:
        monkeypatch.setenv(extensions.VARIANT_SETTING, forced)
    image = rng.integers(0, 256, (60, 70, 3), dtype=np.uint8)
    kernel = image[9:20, 11:30].copy()
    alone = pruned_windows.PrunedWindows(Search(image, kernel, problem(image, kernel)), None, 1)
    alone.put(*alone.bound(Tile(0, 0, 50, 52)))
    alone.ready()
    assert alone.best(-1.0) == (9, 11, 1.0)


@pytest.mark.parametrize("shape", [(230, 800), (800, 230)])
@pytest.mark.parametrize("memory", ["3.5MB", "5MB", "8MB"])
def test_a_map_smaller_than_a_block_is_planned_within_little_memory(shape, memory, rng):
    image = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
    best = match(image, image[5:205, 5:205], metric="ssd", memory=memory, top=1).best
    assert (best.x, best.y, best.score) == (5, 5, 1.0)


@pytest.mark.parametrize("metric", ["sad", "ssd"])
@pytest.mark.parametrize("options", [{"top": 60}, {"threshold": 0.6}, {"top": 9, "overlap": 0.9}])
def test_the_whole_search_takes_over_where_looking_takes_longer(metric, options, rng, monkeypatch):
    image = pictures(rng, "photo", 200, 220, 3)
    kernels = [image[50:62, 60:74].copy(), image[100:112, 20:40].copy()]
    drawn = match(image, kernels, metric=metric, map=True, margin=True, **options)
    taken = []
    original = pruned_windows.PrunedWindows.__init__

    def impatient(self, *args, search_all, seconds, **kept):  # noqa: ARG001 - it has none
        def noted():
            taken.append(self)
            return search_all()

        original(self, *args, search_all=noted, seconds=0.0, **kept)

    monkeypatch.setattr(pruned_windows.PrunedWindows, "__init__", impatient)
    found = match(image, kernels, metric=metric, engine="pruned", margin=True, **options)
    assert len(taken) == 2
    assert found.matches == drawn.matches
