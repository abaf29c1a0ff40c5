"""`match()`: photographs, seams, several kernels, engines that are off, kinds of pictures."""

from __future__ import annotations

import io
import re
import threading

import numpy as np
import oracle
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.spatial.distance import cdist

import patchsim
from patchsim import InputError, Observer, choices, engines, match, metrics
from patchsim.engines import Bounds


class Rough:
    """An engine with errors of its own making, to see that they never show."""

    OWN_THREADS, HAS_MAP, IS_EXACT, SHARES = False, True, False, False

    def __init__(self, error):
        self.error = error
        self.threads = set()

    def refuse(self, problem):
        if problem.exact:
            return "it is rough"
        return "it dislikes 13 columns" if problem.kernel[1] == 13 else None

    def start_up(self, _problem):
        return 0.0

    def seconds(self, problem):
        return problem.differences * 1e-6  # worth several threads

    def best_tile(self, _problem):
        return None

    def can_bound_blocks(self, _problem):
        return False

    def working_bytes(self, problem, rows, cols):
        return rows * cols * problem.taps * 16

    def kernel_bytes(self, problem, _rows, _cols):
        return problem.taps

    def prepare(self, kernel, problem, _weights):
        def score(pixels):
            self.threads.add(threading.current_thread().name)
            patches = np.lib.stride_tricks.sliding_window_view(pixels, kernel.shape)[:, :, 0]
            patches = patches[:: problem.stride[0], :: problem.stride[1]]
            sums = np.abs(patches.astype(float) - kernel.astype(float)).sum((2, 3, 4))
            scores = metrics.similarity(sums, problem.taps, problem.data_range)
            noise = np.random.default_rng(pixels.shape[0]).uniform(-1, 1, scores.shape)
            return Bounds(scores + self.error * noise, self.error)

        return score


@pytest.fixture
def rough(monkeypatch):
    """Install the rough engine under the name `rough`."""
    installed = Rough(0.01)
    load = engines.load
    monkeypatch.setattr(choices, "ENGINES", ("unfold", "rough"))
    monkeypatch.setattr(engines, "load", lambda name: installed if name == "rough" else load(name))
    return installed


def places(report):
    return [(m.x, m.y, m.score, m.kernel) for m in report.matches]


@pytest.mark.parametrize("name", ["astronaut", "coffee", "rocket", "camera", "page", "coins"])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_a_patch_of_a_photograph_is_found_where_it_was_cut_out(name, stride, rng):
    photo = getattr(skimage.data, name)()
    height, width = 37, 52
    y = stride * int(rng.integers((photo.shape[0] - height) // stride))
    x = stride * int(rng.integers((photo.shape[1] - width) // stride))
    best = match(photo, photo[y : y + height, x : x + width].copy(), stride=stride).best
    assert (best.x, best.y, best.score) == (x, y, 1.0)
    assert (best.width, best.height, best.center) == (width, height, (x + 26, y + 18.5))


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("quality", [90, 50])
def test_a_patch_is_found_after_jpeg_compression(stride, quality, astronaut):
    packed = io.BytesIO()
    Image.fromarray(astronaut).save(packed, "JPEG", quality=quality)
    best = match(Image.open(packed), astronaut[102:160, 210:264], stride=stride).best
    assert (best.x, best.y) == (210, 102)
    assert 0.9 < best.score < 1


def test_the_map_of_a_photograph_agrees_with_city_block_distance(astronaut):
    image, kernel = astronaut[:80, 200:300], astronaut[100:117, 210:229]
    report = match(image, kernel, stride=(2, 3), map=True)
    patches = np.lib.stride_tricks.sliding_window_view(image, kernel.shape)[::2, ::3, 0]
    flat = patches.reshape(-1, kernel.size).astype(float)
    distance = cdist(flat, kernel.reshape(1, -1).astype(float), "cityblock")
    expected = 1 - distance.reshape(patches.shape[:2]) / (kernel.size * 255)
    assert report.map.dtype == np.float32
    np.testing.assert_array_equal(report.map, expected.astype(np.float32))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_matches_agree_with_the_oracle(dtype, channels, rng):
    span = {np.uint8: 255, np.uint16: 65535}.get(dtype, 1)
    image = rng.random((19, 23, channels)) * (span + (span > 1))
    image, kernels = image.astype(dtype), []
    for size in ((4, 5), (6, 3)):
        kernels.append(image[2 : 2 + size[0], 7 : 7 + size[1]].copy())
        kernels[-1][1:] = kernels[-1][1:, ::-1]
    report = match(image, kernels, stride=(1, 2), top=6, overlap=0.2, map=True, alpha=False)
    maps = [oracle.sad_map(image.tolist(), k.tolist(), (1, 2), span) for k in kernels]
    wanted = oracle.best_matches(maps, [k.shape[:2] for k in kernels], (1, 2), 6, None, 0.2)
    assert [(m.x, m.y, m.width, m.height) for m in report.matches] == [w[:4] for w in wanted]
    for found, expected in zip(report.matches, wanted, strict=True):
        assert found.score == pytest.approx(expected[4], rel=0, abs=1e-14)
        assert found.kernel == f"kernel-{expected[5] + 1}"
    for found, expected in zip(report.maps, maps, strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("dtype", "memory"),
    [(np.uint8, "150kB"), (np.uint8, "170kB"), (np.float32, "200kB"), (np.float32, "240kB")],
)
def test_peaks_on_tile_seams_are_found(memory, dtype, rng):
    image = (rng.random((140, 90)) * 255).astype(np.uint8)
    if dtype == np.float32:
        image = image / np.float32(255)
    whole = match(image, image[:11, :13], map=True)
    tiled = match(image, image[:11, :13], memory=memory, map=True)
    rows, cols = tiled.plans[0].tile
    map_rows, map_cols = tiled.map.shape
    assert rows < map_rows / 2
    np.testing.assert_allclose(tiled.map, whole.map, rtol=0, atol=1e-7)
    assert places(tiled) == places(whole)
    seams_x = {0, cols - 1, cols, map_cols - 1} & set(range(map_cols))
    for y in (rows - 1, rows, 2 * rows - 1, map_rows - 1):
        for x in seams_x:
            report = match(image, image[y : y + 11, x : x + 13], memory=memory)
            assert (report.best.x, report.best.y, report.best.score) == (x, y, 1.0)


def test_memory_makes_the_tiles_smaller(rng):
    image = rng.integers(0, 256, (400, 300, 3), dtype=np.uint8)
    kernel = image[:40, :40]
    tiles = [match(image, kernel, memory=m, map=True).plans[0].tile for m in ("2MB", "20MB")]
    assert tiles[0][0] < tiles[1][0]


@pytest.mark.parametrize("error", [1e-9, 0.01, 0.2])
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_an_inexact_engine_reports_the_same_matches(rough, error, threads, dtype, rng):
    rough.error = error
    image = rng.integers(0, 8, (60, 70, 1), dtype=np.uint8)  # few values, many ties
    image = image if dtype == np.uint8 else image / np.float32(255)
    kernels = [image[30:34, 20:25], image[10:13, 10:12]]
    for options in ({"top": 9}, {"threshold": 0.99, "overlap": 0.0}):
        exact = match(image, kernels, engine="unfold", **options)
        found = match(image, kernels, engine="rough", threads=threads, memory="4MB", **options)
        assert found.plans[0].engine == "rough"
        assert places(found) == places(exact)
    if threads == 3:
        assert all(name.startswith(("patchsim", "MainThread")) for name in rough.threads)
        assert any(name.startswith("patchsim") for name in rough.threads)


def test_the_plan_takes_the_fastest_engine_that_can(rough, rng):
    image = rng.integers(0, 256, (60, 70), dtype=np.uint8)
    rough.seconds = lambda _problem: 0.0
    assert match(image, image[:5, :5]).plans[0].engine == "rough"
    refused = match(image, image[:5, :13]).plans[0]
    assert refused.engine == "unfold"
    assert re.search(r"^rough +cpu +- +it dislikes 13 columns$", str(refused), re.MULTILINE)
    with pytest.raises(InputError, match="rough on cpu: it dislikes 13 columns"):
        match(image, image[:5, :13], engine="rough")


@pytest.mark.usefixtures("rough")
def test_threads_of_an_interrupted_search_end(rng):
    image = rng.integers(0, 256, (300, 300), dtype=np.uint8)

    class Stop(patchsim.Observer):
        def progress(self, done, total):
            assert done < total
            raise KeyboardInterrupt

    others = set(threading.enumerate())
    with pytest.raises(KeyboardInterrupt):
        match(image, image[:20, :20], engine="rough", threads=2, memory="20MB", observer=Stop())
    for thread in set(threading.enumerate()) - others:
        thread.join(60)
        assert not thread.is_alive()


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_a_planted_patch_is_found_and_moves_with_the_picture(data):
    height, width = data.draw(st.integers(5, 40)), data.draw(st.integers(5, 40))
    tall, wide = data.draw(st.integers(3, height)), data.draw(st.integers(3, width))
    y = data.draw(st.integers(0, height - tall))
    x = data.draw(st.integers(0, width - wide))
    random = np.random.default_rng(data.draw(st.integers(0, 99)))
    image = random.integers(0, 200, (height, width, 3), dtype=np.uint8)
    kernel = random.integers(201, 256, (tall, wide, 3), dtype=np.uint8)
    image[y : y + tall, x : x + wide] = kernel
    best = match(image, kernel).best
    assert (best.x, best.y, best.score) == (x, y, 1.0)
    down, right = data.draw(st.integers(0, 5)), data.draw(st.integers(0, 5))
    moved = np.pad(image, ((down, 0), (right, 0), (0, 0)))
    best = match(moved, kernel).best
    assert (best.x, best.y, best.score) == (x + right, y + down, 1.0)


@settings(deadline=None, max_examples=40)
@given(
    st.tuples(st.integers(1, 7), st.integers(1, 7)),
    st.tuples(st.integers(1, 9), st.integers(1, 12)),
    st.integers(0, 99),
)
def test_a_strided_map_is_every_nth_cell(stride, size, seed):
    random = np.random.default_rng(seed)
    image = random.integers(0, 256, (21, 25), dtype=np.uint8)
    kernel = random.integers(0, 256, size, dtype=np.uint8)
    whole = match(image, kernel, map=True).map
    strided = match(image, kernel, stride=stride, map=True).map
    np.testing.assert_array_equal(strided, whole[:: stride[0], :: stride[1]])


@pytest.mark.parametrize("size", [(1, 1), (1, 30), (25, 1), (25, 30)])
def test_smallest_and_largest_kernels(size, rng):
    image = rng.integers(0, 256, (25, 30), dtype=np.uint8)
    y, x = 25 - size[0], 30 - size[1]
    report = match(image, image[y:, x:], map=True, top=1000, overlap=1.0)
    assert report.map.shape == (y + 1, x + 1)
    assert (x, y, 1.0) in [(m.x, m.y, m.score) for m in report.matches]


def test_a_kernel_of_another_picture_does_not_reach_the_threshold(astronaut):
    kernel = skimage.data.coffee()[100:140, 200:260]
    report = match(astronaut, kernel, threshold=0.95)
    assert report.best is None
    assert report.matches == ()


def test_the_other_coins_are_less_like_a_coin_than_itself():
    coins = skimage.data.coins()
    report = match(coins, coins[20:70, 20:70], top=4, overlap=0.1)
    assert (report.best.x, report.best.y) == (20, 20)
    scores = [m.score for m in report.matches]
    assert scores == sorted(scores, reverse=True)
    assert scores[1] < 0.95


def test_suppression_runs_across_kernels(rng):
    image = rng.integers(0, 256, (60, 60), dtype=np.uint8)
    kernels = [image[10:30, 10:30], image[12:32, 12:32], image[40:50, 40:50]]
    found = match(image, kernels, threshold=0.999)
    assert [(m.x, m.y, m.kernel) for m in found.matches] == [
        (10, 10, "kernel-1"),
        (40, 40, "kernel-3"),
    ]
    assert len(match(image, kernels, threshold=0.999, overlap=0.9).matches) == 3


def test_maps_of_several_kernels(rng):
    image = rng.integers(0, 256, (20, 20), dtype=np.uint8)
    report = match(image, [image[:3, :3], image[:5, :4]], map=True)
    assert [m.shape for m in report.maps] == [(18, 18), (16, 17)]
    with pytest.raises(InputError, match=r"use report.maps\[i\]"):
        _ = report.map
    assert match(image, image[:3, :3]).map is None


@pytest.mark.parametrize(
    ("image", "kernel"),
    [
        (np.uint8, np.uint16),
        (np.uint16, np.uint8),
        (np.uint8, np.float32),
        (np.float64, np.uint8),
        (np.uint16, np.float16),
    ],
)
def test_depths_are_brought_to_one_range(image, kernel, rng):
    values = rng.integers(0, 256, (30, 30))

    def as_type(dtype, part):
        if dtype == np.uint16:
            return (part * 257).astype(dtype)
        return part.astype(dtype) if dtype == np.uint8 else (part / 255).astype(dtype)

    report = match(as_type(image, values), as_type(kernel, values[4:14, 9:20]))
    assert (report.best.x, report.best.y) == (9, 4)
    assert report.best.score == pytest.approx(1, abs=1e-3 if kernel == np.float16 else 1e-6)


def test_grey_beside_colour_becomes_colour(rng):
    grey = rng.integers(0, 256, (30, 30), dtype=np.uint8)
    color = np.repeat(grey[..., None], 3, axis=2)
    for image, kernel in ((grey, color), (color, grey)):
        report = match(image, kernel[5:15, 6:18])
        assert places(report)[0] == (6, 5, 1.0, "kernel")
        assert report.plans[0].problem.kernel == (10, 12, 3)
    assert match(grey, grey[:9, :9]).plans[0].problem.kernel == (9, 9, 1)


def test_the_data_range_divides_and_is_checked(rng):
    image = rng.integers(0, 4096, (20, 20), dtype=np.uint16)
    kernel = image[3:9, 4:9] // 2
    expected = oracle.sad_map(image[..., None].tolist(), kernel[..., None].tolist(), (1, 1), 4095)
    found = match(image, kernel, data_range=(0, 4095), map=True).map
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-7)
    with pytest.raises(InputError, match="outside 0 to 1000"):
        match(image, kernel, data_range=(0, 1000))


ARGUMENTS = {"image": np.zeros((20, 20), np.uint8), "kernel": np.zeros((3, 3), np.uint8)}


@pytest.mark.parametrize("source", [3, None, b"bytes", [[1, 2], [3, 4]]])
def test_what_is_no_picture_is_refused(source):
    with pytest.raises(InputError, match="give a path, a PIL image or a NumPy array"):
        match(source, np.zeros((2, 2), np.uint8))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"top": 0}, "top 0"),
        ({"threshold": float("nan")}, "threshold nan"),
        ({"threshold": 95}, "from -1 to 1"),
        ({"overlap": 1.5}, "overlap 1.5"),
        ({"min_visible": 0.7, "ignore_alpha": True}, "min-visible 0.7 has no meaning"),
        ({"threads": 0}, "threads 0"),
        ({"top": True}, "top True"),
        ({"max_pixels": 0}, "max-pixels 0"),
        ({"stride": (0, 1)}, r"stride \(0, 1\)"),
        ({"memory": 1000}, "is the least for these pictures"),
        ({"engine": "fast"}, "'fast' is unknown; there is auto, pruned, simd, fft, cuda, unfold"),
        ({"device": "tpu"}, "device 'tpu' is unknown"),
        ({"kernel": []}, "no kernel"),
        ({"kernel": np.zeros((3, 21), np.uint8)}, "21x3 pixels, larger than the image "),
        ({"kernel": np.zeros((3, 3, 2), np.uint8)}, "differ in channels"),
        ({"kernel": np.zeros((3, 3), np.int64)}, "array of int64"),
        ({"kernel": np.full((3, 3), 7, np.int32)}, "values from 7 to 7, outside 0 to 1"),
        ({"kernel": np.zeros((3, 3), complex)}, "array of complex128"),
        ({"top": 2.5}, "top 2.5"),
        ({"top": "3"}, "top '3'"),
        ({"threshold": "high"}, "threshold 'high' is not a number"),
        ({"heatmap": True}, "heatmap True is no path"),
        ({"overlay": ""}, "overlay '' is no path"),
        ({"overlay": "a.{kernel}.png"}, "shows all kernels"),
        ({"data_range": 255}, "data range 255 is not two numbers"),
        ({"data_range": (-1e308, 1e308)}, "wider than a float can hold"),
        ({"image": ""}, "name of a picture is empty"),
        ({"kernel": np.zeros((3, 0), np.uint8)}, r"kernel is empty: it has the shape \[3, 0\]"),
        ({"image": np.zeros((0, 9), np.uint8)}, r"image is empty: it has the shape \[0, 9\]"),
        ({"kernel": np.full((3, 3), np.nan)}, "nan at x=0, y=0"),
        ({"kernel": np.full((3, 3), 1.5)}, "1.5 to 1.5, outside 0 to 1"),
    ],
)  # fmt: skip
def test_bad_options_are_named(options, says):
    with pytest.raises(InputError, match=says):
        match(**(ARGUMENTS | options))


@pytest.mark.parametrize(
    ("option", "value"),
    [
        (option, value)
        for option in (
            "margin",
            "ignore_profile",
            "ignore_alpha",
            "trim",
            "per_kernel",
            "subpixel",
            "exhaustive",
        )
        for value in ("no", "", 0, 1, None)
        if (option, value) != ("margin", None)  # its default
    ],
)
def test_switches_are_true_or_false(option, value):
    with pytest.raises(InputError, match=f"{option} {value!r} is neither True nor False"):
        match(**ARGUMENTS, **{"scales": "1,2", option: value})
    assert match(**ARGUMENTS, **{"scales": "1,2", option: np.True_})


@pytest.mark.parametrize("value", [True, np.True_, "1"])
@pytest.mark.parametrize("option", [
    "top", "stride", "threads", "max_pixels", "max_poses", "threshold", "overlap", "min_visible",
    "tolerance",
])  # fmt: skip
def test_text_and_true_are_no_numbers(option, value):
    with pytest.raises(
        InputError, match=r"give one from|give a share|give a whole number"
    ) as error:
        match(**ARGUMENTS, **{"angles": "0,90", option: value})
    assert f"{option.replace('_', '-')} {value!r} is not" in str(error.value)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"stride": "2x1"}, r"whole number from 1, or two as a tuple \(y, x\)"),
        ({"channel_weights": ["1"]}, "not a list of numbers"),
        ({"channel_weights": "1"}, "not a list of numbers"),
        ({"channel_weights": [True]}, "not a list of numbers"),
        ({"data_range": ("0", "255")}, "is not two numbers"),
        ({"data_range": (0, True)}, "is not two numbers"),
        ({"region": (0, 0, 9, "9")}, "is not four whole numbers"),
        ({"scales": ["1", "2"]}, "has text in it; give a list of numbers"),
    ],
)
def test_text_among_numbers_is_refused(options, says):
    with pytest.raises(InputError, match=says):
        match(**ARGUMENTS, **options)


@pytest.mark.parametrize("options", [{"exhaustive": True}, {"max_poses": 20}], ids=str)
def test_options_about_poses_are_refused_without_poses(options):
    with pytest.raises(InputError, match=f"{next(iter(options))} is about poses; give scales, ang"):
        match(**ARGUMENTS, **options)
    assert match(**ARGUMENTS, **options, flips="h")


def test_none_stands_for_no_output():
    report = match(**ARGUMENTS, map=None, heatmap=None, overlay=None, observer=None)
    assert report.maps == ()
    with pytest.raises(InputError, match="map 1 is no path; give True, or the path of a file"):
        match(**ARGUMENTS, map=1)


def test_an_unknown_keyword_is_a_type_error_that_names_the_closest():
    with pytest.raises(TypeError, match=r"^match\(\) .* 'treshold'; did you mean 'threshold'\?"):
        match(**ARGUMENTS, treshold=0.5)
    with pytest.raises(TypeError, match=r"^match\(\) .* 'heat_map'; did you mean 'heatmap'\?"):
        match(**ARGUMENTS, heat_map="a.png")
    with pytest.raises(TypeError, match=r"^match\(\) .* 'zzz'; help\(patchsim.match\) lists them"):
        match(**ARGUMENTS, zzz=1)


@pytest.mark.parametrize(
    ("observer", "says"),
    [
        (object(), "has no method notice, planned, swept, resolved, progress, wrote; give an"),
        (print, "has no method notice"),
        (Observer, "is a class; give an instance of it"),
    ],
)
def test_an_observer_is_checked_before_the_search(observer, says):
    with pytest.raises(InputError, match=f"observer .* {says}"):
        match(**(ARGUMENTS | {"image": "missing.png"}), observer=observer)


def test_an_observer_needs_the_methods_alone():
    class Duck:
        def __getattr__(self, name):
            return lambda *_: told.append(name)

    told = []
    match(**ARGUMENTS, observer=Duck())
    assert {"notice", "planned", "progress"} <= set(told)


def test_a_picture_without_a_file_is_named_once():
    image, kernel = ARGUMENTS["image"], ARGUMENTS["kernel"]
    with pytest.raises(InputError, match=r"^kernel-2 is 20x20 pixels, larger than the image with"):
        match(image[:9], [kernel, image], strict=True)
    with pytest.raises(InputError, match=r"^region 20,0,99,9 .* in the image with 20x20 pixels"):
        match(image, kernel, region=(20, 0, 99, 9))
    assert match(image, kernel).notices[0].startswith("image is flat")


@pytest.mark.parametrize("metric", ["sad", "zncc"])
@pytest.mark.parametrize("count", [1, 3])
def test_the_least_memory_named_is_enough(metric, count):
    image = np.zeros((141, 143), np.uint8)
    image[60:70] = 200
    kernels = [image[50 : 140 - 5 * number, :90] for number in range(count)]
    with pytest.raises(InputError, match="the least") as caught:
        match(image, kernels, metric=metric, memory=1000 + image.nbytes + count * 90 * 90)
    least = str(caught.value).split(";")[1].split(" is the least")[0].strip()
    assert match(image, kernels, metric=metric, memory=least).best.score == 1.0


def test_no_file_is_written_unless_a_path_is_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    match(np.zeros((9, 9), np.uint8), np.zeros((3, 3), np.uint8), map=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("stride", [10**6, 2**62, 10**30, (1, 10**30)])
def test_a_stride_beyond_the_picture_gives_one_window(stride):
    image = np.arange(600, dtype=np.uint16).reshape(20, 30)
    report = match(image, image[:4, :5], stride=stride, map=True)
    assert report.map.shape[1] == 1
    assert (report.best.x, report.best.y, report.best.score) == (0, 0, 1.0)


def test_numpy_integers_are_numbers_too():
    image = np.arange(600, dtype=np.uint16).reshape(20, 30)
    report = match(image, image[4:8, 6:9], stride=np.int64(2), top=np.int32(1))
    assert [(m.x, m.y) for m in report.matches] == [(6, 4)]


def test_booleans_and_wide_integers_are_compared(rng):
    mask = rng.random((20, 20)) > 0.5
    assert match(mask, mask[3:9, 4:9]).best.score == 1.0
    wide = rng.integers(-500, 500, (20, 20), dtype=np.int32)
    best = match(wide, wide[3:9, 4:9], data_range=(-500, 500)).best
    assert (best.x, best.y, best.score) == (4, 3, 1.0)


def test_black_on_black_floats_need_no_exact_scores(monkeypatch):
    asked = []
    exact = metrics.exact

    def counted(*arguments, **keywords):
        score = exact(*arguments, **keywords)
        return lambda y, x: asked.extend(zip(y, x, strict=True)) or score(y, x)

    monkeypatch.setattr(metrics, "exact", counted)
    report = match(np.zeros((200, 200), np.float32), np.zeros((16, 16), np.float32), overlap=0)
    assert [(m.x, m.y, m.score) for m in report.matches[:2]] == [(0, 0, 1.0), (16, 0, 1.0)]
    assert asked == []


def test_a_card_is_fed_by_two_threads(monkeypatch):
    from patchsim.engines import Problem
    from patchsim.machine import devices
    from patchsim.planning import planner

    monkeypatch.setattr(devices, "accelerators", lambda: ["cuda:0"])
    monkeypatch.setattr(devices, "free_memory", lambda _name: 1 << 40)
    problem = Problem(
        (9000, 9000, 3), (200, 200, 3), "float64", (1, 1), "sad", 1, device="cpu", threads=16
    )
    for device in ("cuda", "auto"):
        made = planner.make(problem, engine="auto", device=device, memory=1 << 40, resident=0)
        assert (made.problem.device, made.problem.threads, made.parallel) == ("cuda:0", 2, 2)
    on_cpu = planner.make(problem, engine="auto", device="cpu", memory=1 << 34, resident=0)
    assert on_cpu.parallel == 16
    small = planner.make(
        problem._replace(image=(300, 300, 3)),
        engine="auto",
        device="auto",
        memory=1 << 34,
        resident=0,
    )
    assert small.problem.device == "cpu"


def test_an_absent_device_is_named():
    with pytest.raises(InputError, match="device 'cuda:99' is not here; torch sees cpu"):
        match(np.zeros((9, 9), np.uint8), np.zeros((3, 3), np.uint8), device="cuda:99")


@pytest.mark.parametrize("threads", [1, 2])
def test_a_score_of_zero_has_no_sign(threads):
    image = skimage.data.camera()[:300, :400].copy()
    image[50:250, 60:340] = 0
    report = match(
        image, image[:48, :48].copy(), metric="zncc", top=45, overlap=0, threads=threads, map=True
    )
    for scores in (np.array([one.score for one in report.matches]), report.map):
        zeros = scores[scores == 0]
        assert zeros.size
        assert not np.signbit(zeros).any()


@pytest.mark.parametrize("metric", choices.METRICS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_maps_of_direct_sums_of_integers_do_not_depend_on_threads_and_memory(dtype, metric):
    image = np.tile(skimage.data.astronaut(), (2, 2, 1))[:700, :800].astype(dtype)
    image *= 257 if dtype == np.uint16 else 1
    image[300:500] = 7
    options = {"metric": metric, "engine": "simd", "map": True, "top": 1}
    kernel = image[40:60, 50:75].copy()
    maps = [
        match(image, kernel, threads=threads, memory=memory, **options).map.tobytes()
        for threads, memory in ((1, None), (2, None), (3, None), (2, 30_000_000))
    ]
    assert len(set(maps)) == 1
