"""The engine `fft`: every metric against the oracle, its stated errors, and the exact sums in C."""

from __future__ import annotations

import gc
import threading
import time
import tracemalloc
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from helpers.grids import thinned
from helpers.problems import CORRELATED, SPAN, brute, hits, problem, values
from helpers.signals import at_each_step
from helpers.truths import oracle_map, plain_map
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import best_matches

from patchsim import InputError, match, metrics
from patchsim.engines import Bounds, fft
from patchsim.engines.common import fused_costs, lowrank
from patchsim.engines.fft import window_moments
from patchsim.geometry import tiles
from patchsim.numerics import box_sums, overlap_save
from patchsim.numerics.array_api import tensor, to_numpy
from patchsim.planning import batching


def bounds(image, kernel, metric, stride=(1, 1), **options):
    work = problem(image, kernel, metric, stride, **options)
    assert fft.refuse(work) is None
    return fft.prepare(kernel, work)(image)


@pytest.fixture(params=["C", "NumPy"])
def sums(request, monkeypatch):
    """With the sums over windows made in C, and without the extension."""
    if request.param == "NumPy":
        monkeypatch.setattr(window_moments, "_extension", lambda: None)
    else:
        assert window_moments._extension() is not None, "the C extension was not built"


@pytest.mark.usefixtures("sums")
@thinned(metric=CORRELATED, dtype=SPAN, channels=[1, 2, 3, 4], stride=[(1, 1), (2, 3), (7, 4)])
def test_scores_lie_within_their_stated_error_of_the_oracle(metric, dtype, channels, stride, rng):
    image, kernel = values(rng, dtype, 15, 18, channels), values(rng, dtype, 5, 6, channels)
    image[:7, :8] = image[0, 0]  # flat
    image[8:, 9:] = 0
    truth = oracle_map(metric, image, kernel, stride)
    found = bounds(image, kernel, metric, stride)
    assert hits(found, truth).all()
    assert np.max(found.error) <= 1e-5
    if dtype in metrics.INTEGER_RANGE:
        exact = bounds(image, kernel, metric, stride, exact=True)
        assert np.max(exact.error) == 0
        score = metrics.exact(image, kernel, metric, SPAN[dtype])
        rows, cols = truth.shape
        one_by_one = [
            [score(r * stride[0], c * stride[1]) for c in range(cols)] for r in range(rows)
        ]
        np.testing.assert_array_equal(exact.map, one_by_one)


@pytest.mark.usefixtures("sums")
@pytest.mark.parametrize("metric", CORRELATED)
@pytest.mark.parametrize("size", [(1, 2), (2, 1), (30, 40), (1, 40), (30, 1), (29, 7)])
def test_smallest_and_largest_kernels(metric, size, rng):
    image, kernel = values(rng, "uint8", 30, 40, 3), values(rng, "uint8", *size, 3)
    assert hits(bounds(image, kernel, metric), oracle_map(metric, image, kernel)).all()


@pytest.mark.usefixtures("sums")
@pytest.mark.parametrize("metric", CORRELATED)
def test_a_faint_picture_on_a_bright_ground_is_not_lost(metric, rng):
    # Near 60,000 of 65,535 with a contrast of 4: float32 alone is off by 1e-3 here.
    image = (60_000 + rng.integers(0, 5, (80, 90, 1))).astype(np.uint16)
    kernel = image[20:41, 30:47].copy()
    found = bounds(image, kernel, metric)
    assert hits(found, brute(metric, image, kernel)).all()
    assert np.max(found.error) <= 1e-5
    best = match(image, kernel, metric=metric, engine="fft").best
    assert (best.x, best.y, best.score) == (30, 20, 1.0)


@pytest.mark.usefixtures("sums")
def test_a_nearly_flat_area_beside_strong_texture(rng):
    image = values(rng, "uint16", 200, 300, 1)
    image[:, 150:] = 30_000 + rng.integers(0, 3, (200, 150, 1))
    kernel = image[50:66, 220:236].copy()
    found = bounds(image, kernel, "zncc")
    assert hits(found, brute("zncc", image, kernel)).all()
    assert np.max(found.error) <= 1e-5
    assert match(image, kernel, metric="zncc", engine="fft").best.score == 1.0


@pytest.mark.parametrize("metric", CORRELATED)
def test_16_bit_sums_beyond_64_bits(metric, rng):
    # n sum I^2 of 300x300 full-range 16-bit pixels is about 2^65.
    image = (np.indices((302, 303)).sum(0) % 2 * 65535).astype(np.uint16)[..., None]
    image[:, 151:] = values(rng, "uint16", 302, 152, 1)
    kernel = image[1:301, 2:302].copy()
    found = bounds(image, kernel, metric)
    assert hits(found, brute(metric, image, kernel)).all()
    best = match(image, kernel, metric=metric, engine="fft").best
    assert (best.x, best.y, best.score) == (2, 1, 1.0)


@pytest.mark.usefixtures("sums")
def test_dots_on_a_grid_whose_sample_is_far_from_the_mean(rng):
    image = np.full((420, 440, 1), 60_000)
    image[::4, ::4] = 0
    image = (image + rng.integers(0, 3000, image.shape)).astype(np.uint16)
    kernel = image[8:408, 4:404].copy()
    found = bounds(image, kernel, "zncc")
    assert hits(found, brute_sums(image, kernel)).all()
    assert found.map[8, 4] == pytest.approx(1)


def brute_sums(image, kernel):
    """Zncc of one channel by sums, which so large a kernel leaves time for."""
    scores = np.empty((image.shape[0] - kernel.shape[0] + 1, image.shape[1] - kernel.shape[1] + 1))
    taps = kernel - kernel.mean()
    for y, x in np.ndindex(scores.shape):
        window = image[y : y + kernel.shape[0], x : x + kernel.shape[1]].astype(float)
        window -= window.mean()
        scores[y, x] = (window * taps).sum() / np.sqrt((window**2).sum() * (taps**2).sum())
    return scores


@pytest.mark.parametrize("metric", CORRELATED)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_tiles_and_bands_give_the_same_matches(metric, dtype, rng, monkeypatch):
    image = values(rng, dtype, 230, 250, 3)
    image[100:140, 60:110] = 0
    image[60:75, 100:120] = image[10:25, 30:50]
    kernel = image[10:25, 30:50].copy()
    whole = match(image, kernel, metric=metric, engine="fft", top=9, map=True)
    batching.forget()
    monkeypatch.setattr(fused_costs, "_WIDEST", 128)
    monkeypatch.setattr(fused_costs, "_TILE_SECONDS", 1e-4)
    small = match(image, kernel, metric=metric, engine="fft", top=9, map=True)
    assert whole.plans[0].tile != small.plans[0].tile
    assert whole.matches == small.matches
    np.testing.assert_allclose(whole.map, small.map, rtol=0, atol=2.1e-5)
    assert [(m.x, m.y) for m in whole.matches[:2]] == [(30, 10), (100, 60)]
    assert np.isfinite(whole.map).all()


@pytest.mark.parametrize("tiny", [1e-160, 1e150])
def test_floats_far_from_1_give_scores(tiny, rng):
    image = values(rng, "float64", 30, 30, 1) * tiny
    kernel = image[5:12, 6:14].copy()
    for metric in CORRELATED:
        best = match(image, kernel, metric=metric, engine="fft", data_range=(0, tiny)).best
        assert (best.x, best.y) == (6, 5)
        assert best.score == pytest.approx(1)


@given(seed=st.integers(0, 2**32 - 1), metric=st.sampled_from(CORRELATED))
@settings(max_examples=30, deadline=None)
def test_matches_are_those_of_the_exact_scores(seed, metric):
    rng = np.random.default_rng(seed)
    levels = rng.choice([2, 4, 256])  # few levels: many ties
    image = (rng.integers(0, levels, (24, 27, 1)) * (255 // (levels - 1))).astype(np.uint8)
    kernel = image[3:8, 4:10].copy()
    if metric == "zncc" and np.ptp(kernel) == 0:
        return
    found = match(image, kernel, metric=metric, engine="fft", top=6)
    score = metrics.exact(image, kernel, metric, 255)
    scores = [[score(y, x) for x in range(22)] for y in range(20)]
    wanted = best_matches([scores], [(5, 6)], (1, 1), 6, None, 0.3)
    assert [(m.x, m.y, m.score) for m in found.matches] == [
        (x, y, score) for x, y, _, _, score, _ in wanted
    ]


@pytest.mark.usefixtures("sums")
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("metric", ["sad", *CORRELATED])
@pytest.mark.parametrize("size", [(300, 320, 64), (300, 300, 5), (500, 500, 333)])
def test_a_tile_takes_no_more_memory_than_planned(dtype, metric, size, rng):
    import scipy.fft  # noqa: F401 - what an import keeps is not the tile's

    height, width, side = size
    image = values(rng, dtype, height, width, 3)
    kernel = image[9 : 9 + side, 7 : 7 + side].copy()
    work = problem(image, kernel, metric, tolerance=0.02 if metric == "sad" else 0.0)
    tile = next(tiles.split(work.map_shape, fft.best_tile(work)))
    tracemalloc.start()
    try:
        fft.prepare(kernel, work)(image[tile.source((side, side), (1, 1))])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    bounds = Bounds.estimate_bytes(tile.rows, tile.cols)
    assert peak <= fft.working_bytes(work, tile.rows, tile.cols) + bounds


def test_without_a_tolerance_sad_is_refused_and_the_reason_names_it():
    image = np.zeros((40, 40, 3), np.uint8)
    work = problem(image, image[:9, :9], "sad")
    assert fft.refuse(work) == "its sad may be off by 0.006, more than the tolerance 0"
    narrow = work._replace(data_range=51.0, tolerance=0.02)
    assert fft.refuse(narrow) == "its sad may be off by 0.030, more than the tolerance 0.02"
    masked = work._replace(dtype="float32", data_range=1.0, tolerance=0.02, weight_sum=81)
    assert fft.refuse(masked) == "its sad of float32 takes no masks"
    tiny = work._replace(dtype="float32", data_range=1e-35, tolerance=0.02)
    assert fft.refuse(tiny) is not None
    assert fft.refuse(work._replace(tolerance=0.02)) is None
    assert fft.refuse(work._replace(tolerance=0.02, exact=True))
    assert fft.refuse(work._replace(tolerance=0.02, dtype="float64"))
    assert fft.refuse(work._replace(tolerance=0.02, dtype="uint16", opaque_level=255))
    assert fft.refuse(work._replace(tolerance=0.02, dtype="float32", weight_sum=9))
    assert fft.refuse(work._replace(tolerance=0.02, data_range=50.0))
    with pytest.raises(InputError, match="more than the tolerance 0"):
        match(image, image[:9, :9], engine="fft")


@pytest.mark.parametrize("half", [0.0, 0.3, 127.5, 1e9])
@pytest.mark.parametrize("products", lowrank.LARGEST_ERRORS)
def test_the_recorded_errors_are_those_of_the_approximation(products, half):
    """For values of the range, and for those beyond it with how far they are beyond it."""
    middle = 0.4 * half
    image = (middle + half * np.linspace(-1.3, 1.3, 521))[:, None]
    kernel = (middle + half * np.linspace(-1, 1, 401))[:, None]
    for_all = lowrank.Range(products, np.array([middle]), np.array([half]))
    of_image = np.stack([*lowrank.waves(for_all.angles(image), products)])[..., 0]
    of_kernel = np.stack([*lowrank.factors(kernel, for_all)])[..., 0]
    sums = of_image.T @ of_kernel + half + for_all.beyond(image)
    off = np.abs(sums - np.abs(image - kernel.T)).max()
    most = lowrank.LARGEST_ERRORS[products] * 2 * half
    assert 0.99 * most <= off <= most + 1e-9 * half


@pytest.mark.parametrize(("spread", "products"), [(255, 6), (180, 4), (80, 2), (0, 2)])
def test_kernels_of_a_narrow_range_need_fewer_products(spread, products, rng):
    low = (255 - spread) // 2
    kernel = rng.choice([low, low + spread], (40, 40, 1)).astype(np.uint8)
    kernel[0, 0] = 0  # what lies beyond in a few pixels costs no product
    work = problem(np.zeros((90, 90, 1), np.uint8), kernel, "sad", tolerance=0.02)
    assert lowrank.range_of(metrics.Kernel(kernel), work).products == products


@pytest.mark.parametrize("picture", ["noise", "cut out", "black and white", "flat"])
@pytest.mark.parametrize("tolerance", [0.01, 0.02, 0.1])
def test_sad_within_a_tolerance(picture, tolerance, rng):
    image = values(rng, "uint8", 60, 70, 3)
    if picture == "black and white":
        image = image // 128 * 255
    if picture == "flat":
        image[:] = 90
    kernel = image[20:37, 30:49].copy() if picture != "noise" else values(rng, "uint8", 17, 19, 3)
    patches = np.lib.stride_tricks.sliding_window_view(image.astype(float), kernel.shape)[:, :, 0]
    truth = 1 - np.abs(patches - kernel).mean((2, 3, 4)) / 255
    found = bounds(image, kernel, "sad", tolerance=tolerance)
    assert hits(found, truth).all()
    assert np.max(found.error) <= tolerance * 1.001
    report = match(image, kernel, engine="fft", tolerance=tolerance, top=4, map=True)
    assert report.matches == match(image, kernel, engine="simd", top=4, margin=True).matches
    # What was scored exactly stands in the map, the matches at the least.
    for found_match in report.matches:
        assert report.map[found_match.y, found_match.x] == np.float32(found_match.score)


def test_photographs_within_a_tolerance(rng):
    data = pytest.importorskip("skimage.data", reason="scikit-image has the photographs")
    image = data.astronaut()
    noisy = image[100:164, 200:264] + rng.normal(0, 2, (64, 64, 3))
    kernel = np.clip(noisy, 0, 255).astype(np.uint8)
    for stride in (1, (2, 3)):
        fast = match(image, kernel, stride=stride, engine="fft", tolerance=0.02, map=True)
        slow = match(image, kernel, stride=stride, map=True)
        assert fast.matches == slow.matches
        assert np.abs(fast.map - slow.map).max() <= fast.kernels[0].tolerance <= 0.02


def test_window_sums_of_floats_do_not_lose_small_windows_beside_large_ones():
    values_ = np.zeros((3, 4000))
    values_[:, :2000] = 1e12
    values_[:, 2000:] = 1e-3
    found = box_sums.box_sums(values_, (2, 5), (1, 3))
    np.testing.assert_allclose(found[:, -600:], 1e-2, rtol=1e-12)


@pytest.mark.parametrize("stride", [(1, 1), (3, 2), (5, 9)])
@pytest.mark.parametrize("size", [(1, 1), (4, 3), (13, 17)])
def test_window_sums(stride, size, rng):
    image = values(rng, "uint16", 2, 13, 17).astype(np.int64)
    windows = np.lib.stride_tricks.sliding_window_view(image, size, (1, 2))
    truth = windows[:, :: stride[0], :: stride[1]].sum((3, 4))
    np.testing.assert_array_equal(box_sums.box_sums(image, size, stride), truth)


@pytest.mark.parametrize("stride", [(1, 1), (3, 2)])
@pytest.mark.parametrize("size", [(1, 1), (1, 4), (5, 1), (2, 2), (6, 7), (23, 19)])
@pytest.mark.parametrize("is_tensor", [False, True])
def test_uniform_windows(is_tensor, size, stride, rng):
    image = np.zeros((23, 19, 2), np.uint16) + values(rng, "uint16", 2)
    for _ in range(4):
        y, x, channel = rng.integers(0, image.shape)
        image[y, x, channel] = rng.integers(0, 9)
    windows = np.lib.stride_tricks.sliding_window_view(image, size, (0, 1))
    windows = windows[:: stride[0], :: stride[1]]
    truth = (windows == windows[..., :1, :1]).all((2, 3, 4))
    found = box_sums.uniform_windows(tensor(image, "cpu") if is_tensor else image, size, stride)
    np.testing.assert_array_equal(to_numpy(found), truth)


@pytest.mark.parametrize(
    "change",
    [
        {"rows": 5}, {"cols": 5}, {"height": 4}, {"height": 70_000}, {"width": 4}, {"pitch": 17},
        {"rows": 0}, {"stride_x": 0}, {"stride_y": -1}, {"type": "d"}, {"channels": 65},
        {"constants": np.zeros(2, np.int64)}, {"weights": np.zeros(4, np.int64)},
        {"means": np.zeros(15, np.int64)}, {"spread": np.zeros(17)},
    ],
)  # fmt: skip
def test_a_callers_mistake_does_not_read_beyond_the_buffers(change):
    arguments = {
        "image": np.zeros((6, 6, 3), np.uint8), "type": "B", "pitch": 18, "channels": 3,
        "height": 3, "width": 3, "stride_y": 1, "stride_x": 1, "rows": 4, "cols": 4,
        "constants": np.zeros(3, np.int64), "weights": np.zeros(3, np.int64),
        "spread": np.zeros(16), "means": np.zeros(16, np.int64),
    }  # fmt: skip
    moments = window_moments._extension().moments
    moments(**arguments)
    with pytest.raises(ValueError, match=r"size|smaller|type"):
        moments(**(arguments | change))


@pytest.mark.usefixtures("sums")
def test_exact_is_stated_only_where_it_holds(rng):
    # Energies beyond 2**53: float64 rounds their differences.
    bright = (65_535 - rng.integers(0, 9, (1500, 1500, 1))).astype(np.uint16)
    dark = (1000 + rng.integers(0, 3, (1495, 1495, 1))).astype(np.uint16)
    for metric in ("ssd", "zncc"):
        found = bounds(bright, dark, metric, exact=True)
        score = metrics.exact(bright, dark, metric, 65535)
        for row, col in ((0, 0), (2, 3), (5, 5)):
            off = abs(score(row, col) - found.map[row, col])
            assert off <= np.broadcast_to(found.error, found.map.shape)[row, col]


def test_a_kernel_taller_than_a_column_of_32_bits_holds(rng):
    image = values(rng, "uint8", 65_300, 3, 1)
    kernel = image[100:65_200].copy()
    for metric in CORRELATED:
        best = match(image, kernel, metric=metric).best
        assert (best.x, best.y, best.score) == (0, 100, 1.0)


def test_threads_share_the_transforms_of_a_kernel_and_its_errors():
    made, lock = [], threading.Lock()

    def work(number):
        with lock:
            made.append(number)
        time.sleep(0.002)
        return number * number

    shared = overlap_save._Shared(work, range(20))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: shared.all(), range(8)))
    assert found == [[n * n for n in range(20)]] * 8
    assert sorted(made) == list(range(20))

    def fails(number):
        time.sleep(0.002)
        if number == 3:
            raise MemoryError("the fourth")
        return number

    shared = overlap_save._Shared(fails, range(9))
    with ThreadPoolExecutor(3) as pool:
        for future in [pool.submit(shared.all) for _ in range(3)]:
            assert isinstance(future.exception(timeout=20), MemoryError)


PICTURES = {
    # Found among ten million values: each stage of the transforms rounds it the same way.
    "one value": lambda _rng: np.full((1875, 1250), 1.1204078197479248),
    "rows": lambda rng: np.where(rng.random((256, 1)) < 0.1, 155, rng.random((1, 243)) < 0.02),
    "a point": lambda _rng: np.where(np.arange(256 * 243).reshape(256, 243) == 5000, 1e6, 1.0),
}


@pytest.mark.parametrize("size", [(1, 100), (100, 1), (3, 200), (1875, 1250)])
@pytest.mark.parametrize("picture", PICTURES)
@pytest.mark.parametrize("is_tensor", [False, True])
def test_products_are_off_by_less_than_two_thirds_of_what_is_stated(picture, size, is_tensor, rng):
    image = PICTURES[picture](rng).astype(np.float32)
    kernel = image[: size[0], : size[1]].copy()
    singles = [tensor(each, "cpu") if is_tensor else each for each in (image, kernel)]
    found = overlap_save.Products(singles[1:]).over(singles[:1])
    truth = overlap_save.Products([kernel.astype(np.float64)]).over([image.astype(np.float64)])
    norms = overlap_save.norm_of(image.astype(float)) * overlap_save.norm_of(kernel.astype(float))
    off = np.abs(to_numpy(found) - truth).max()
    assert off <= overlap_save.rounding(np.dtype(np.float32)) * norms / 1.5


def test_what_failed_is_tried_again_and_holds_nothing():
    class Pixels:
        pass

    full, held = [True], []

    def work(number):
        pixels = Pixels()
        held.append(weakref.ref(pixels))
        if full:
            raise MemoryError
        return number

    shared = overlap_save._Shared(work, range(3))
    for _ in range(2):
        with pytest.raises(MemoryError):
            shared.all()
        assert not [reference for reference in held if reference() is not None]
    full.clear()
    assert shared.all() == [0, 1, 2]


def test_products_are_freed_at_once():
    products = overlap_save.Products([np.ones((3, 3))])
    products.over([np.ones((9, 9))])
    reference = weakref.ref(products)
    gc.disable()
    try:
        del products
        assert reference() is None
    finally:
        gc.enable()


def test_the_spectra_of_a_kernel_are_kept_of_the_last_sizes_alone(rng):
    products = overlap_save.Products([np.ones((3, 3))])
    for side in (20, 30, 20, 40, 50, 20):
        image = rng.random((side, side))
        truth = box_sums.box_sums(image, (3, 3), (1, 1))
        np.testing.assert_allclose(products.over([image]), truth)
    assert [size for size, _ in products._spectra] == [(50, 50), (20, 20)]


@pytest.mark.parametrize("metric", CORRELATED)
@pytest.mark.parametrize("offset", [300.0, 1e4, 1e5, 3e7])
def test_floats_far_from_0_lie_within_their_stated_error(metric, offset, rng):
    image = rng.random((30, 40, 1)) + offset
    kernel = image[5:10, 5:12].copy()
    work = problem(image, kernel, metric)._replace(data_range=1.0)
    bounds = fft.prepare(kernel, work)(image)
    score = metrics.exact(image, kernel, metric, 1.0)
    truth = np.array([[score(y, x) for x in range(34)] for y in range(26)])
    assert (np.abs(bounds.map - truth) <= bounds.error).all()


@pytest.mark.parametrize("metric", ["ncc", "zncc"])
@pytest.mark.parametrize("exponents", [(0, 0), (-90, -90), (-140, -140), (-140, 0), (-80, 20)])
def test_floats_near_0_lie_within_their_stated_error(metric, exponents, rng):
    """Their products, and squares, are less than the numbers of float32; a scale changes no score.

    Transforms in NumPy take the kernel, because no cut of the pass in C is long enough for it.
    """
    plain = rng.integers(1, 256, (2, 5880, 5)).astype(np.float32)
    own = plain[1:, 1228:5703].copy()
    truth = plain_map(plain, own, metric)
    image, kernel = np.ldexp(plain, exponents[0]), np.ldexp(own, exponents[1])
    bounds = fft.prepare(kernel, problem(image, kernel, metric))(image)
    assert bounds.blocks is None
    assert (np.abs(bounds.map - truth) <= bounds.error + 1e-9).all()
    assert np.max(bounds.error) < 1e-5


def test_a_signal_leaves_no_transform_that_others_wait_for():
    shared = []

    def transform():
        shared.append(overlap_save._Shared(abs, [-1, -2, -3]))
        shared[-1].all()

    def transform_too():
        assert shared[-1].all() == [1, 2, 3]

    shared.append(overlap_save._Shared(abs, [-1, -2, -3]))
    assert at_each_step(transform, transform_too) > 8


def test_an_error_of_shared_work_is_raised_at_once():
    called = []

    def fails(number):
        called.append(number)
        raise IndexError

    with pytest.raises(IndexError):
        overlap_save._Shared(fails, [1]).all()
    assert called == [1]
