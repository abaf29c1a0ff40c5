"""The third search of a kind of array: what a first one finds, whatever the pixels."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from helpers.grids import thinned

import patchsim
from patchsim import InputError, Matcher, match
from patchsim.choices import METRICS
from patchsim.engines import pruned
from patchsim.matching.repeated import Repeated
from patchsim.metrics.window_sums import Pair as WindowSums
from patchsim.scene import color
from patchsim.search import windows


@pytest.fixture
def repetitions(monkeypatch):
    """Count the searches that repeat one before; one by the direct search is that of an image."""
    found = []
    search, depth = Repeated.search, []

    def counted(self, image, started):
        depth.append(self)
        report = search(self, image, started)
        depth.pop()
        if not depth:
            found.append(report is not None)
        return report

    monkeypatch.setattr(Repeated, "search", counted)
    return found


def assert_same(one, other, tolerance=0.0):
    """Check that reports are the same; maps may be of two engines, within a tolerance."""
    without = [replace(each, seconds=0.0, maps=(), kernels=(), plans=()) for each in (one, other)]
    assert without[0] == without[1]
    for ours, theirs in zip(one.kernels, other.kernels, strict=True):
        engine = theirs.engine if tolerance else ours.engine
        assert replace(ours, tolerance=0, engine=engine) == replace(theirs, tolerance=0)
    assert len(one.maps) == len(other.maps)
    for ours, theirs in zip(one.maps, other.maps, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance + 2e-6)


def searched_first(image, kernel, *, map=None, **options):
    """Search by a matcher that searched no image before, which plans as others do."""
    return Matcher(kernel, **options).match(image, map=map)


DTYPES = [np.uint8, np.uint16, np.float32, np.float64]
FLOATS = np.float32, np.float64
OPTIONS = [
    {"top": 1, "margin": False}, {"top": 3}, {"threshold": 0.9}, {"threshold": "auto"},
    {"threshold": 1.0, "top": None}, {"stride": (2, 3), "top": 2}, {"tolerance": 0.02},
    {"sort": "reading", "top": 4},
]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES[:3])
def test_blocks_of_an_absent_kernel_are_scored_at_once(dtype, repetitions, monkeypatch, rng):
    """Their windows one by one would take longer than a map without a tolerance."""
    image = rng.integers(0, 200, (160, 170)).astype(dtype)
    kernel = rng.integers(0, 200, (40, 40)).astype(dtype)
    span = (0, 255) if dtype in FLOATS else None
    if dtype == np.uint16:
        image, kernel = image * dtype(300), kernel * dtype(300)
    asked, score = [], WindowSums.scores

    def counted(self, places, arguments):
        asked.append(len(places))
        return score(self, places, arguments)

    monkeypatch.setattr(WindowSums, "scores", counted)
    matcher = Matcher(kernel, engine="fft", tolerance=0.02, top=1, margin=False, data_range=span)
    truth = match(image, kernel, engine="simd", top=1, margin=False, data_range=span)
    for is_repeated in (False, False, True):
        asked.clear()
        report = matcher.match(image, map=True)
        assert repetitions == [True] * is_repeated
        assert report.matches == truth.matches
        assert sum(asked) < 500  # of 15851, all of which are within the tolerance


def test_a_finder_that_gave_up_is_left_out_for_more_and_more_images(monkeypatch, astronaut):
    searched, asked = [], []

    class Counted:
        working_bytes = 0
        answer = None

        def __call__(self, _pixels):
            asked.append(len(searched))
            return self.answer

    finder = Counted()
    monkeypatch.setattr(pruned, "finder", lambda *_: finder)
    image, kernel = astronaut[:64, :64], astronaut[20:30, 20:30]
    matcher = Matcher(kernel, top=1, margin=False)
    while len(searched) < 200:
        searched.append(matcher.match(image).best)
    assert {(best.x, best.y, best.score) for best in searched} == {(20, 20, 1.0)}
    assert asked == [2, 4, 8, 16, 32, 64, 128, 192]
    finder.answer = 20, 20, 1.0  # it is asked for each image again once it has found something
    while len(searched) < 259:
        searched.append(matcher.match(image).best)
    assert asked[8:] == [256, 257, 258]


@thinned(3, dtype=DTYPES, metric=METRICS, options=OPTIONS, keeps_map=[False, True], threads=[1, 2])
def test_the_next_image_has_the_report_of_a_search_of_its_own(
    dtype, metric, options, keeps_map, threads, astronaut, repetitions
):
    shades = dtype(1 / 255) if dtype in FLOATS else dtype(np.iinfo(dtype).max // 255)
    images = [astronaut[top : top + 90, 30:150].astype(dtype) * shades for top in (0, 60, 200)]
    images.append(np.full_like(images[0], 77 * shades))
    kernel = images[1][20:40, 50:74]
    # Without a limit the plans change with what other processes leave of the memory.
    options = {**options, "metric": metric, "threads": threads, "memory": 10**9}
    matcher = Matcher(kernel, **options)
    reports = [matcher.match(image, map=keeps_map) for image in images]
    tolerance = options.get("tolerance", 0.0)
    for image, found in zip(images, reports, strict=True):
        own = searched_first(image, kernel, **options | {"tolerance": 0.0}, map=keeps_map)
        assert_same(found, own, tolerance)
    quiet = [number for number, report in enumerate(reports) if not report.notices]
    # The first two of a kind are searched; the second, if nothing was told, serves the others.
    first = min((number for number in quiet if number > 0), default=len(images))
    assert len(repetitions) == max(0, len(images) - 1 - first)


@pytest.mark.parametrize("data_range", [(0, 65535), (-(2.0**31), 2.0**31)])
@pytest.mark.parametrize("dtype", [np.int32, np.uint32])
def test_integers_of_32_bits_are_searched_as_floats(data_range, dtype, astronaut, repetitions):
    """The values of the wider range are scaled."""
    images = [astronaut[top : top + 90, 30:150].astype(dtype) * 257 for top in (0, 60, 200)]
    kernel = images[1][20:40, 50:74].copy()
    options = {"metric": "ssd", "data_range": data_range, "top": 2, "memory": 10**9}
    matcher = Matcher(kernel, **options)
    for image in images:
        own = searched_first(image, kernel, map=True, **options)
        assert_same(matcher.match(image, map=True), own)
    assert repetitions == [True]


def outcome(search, image):
    """The report of a search, or what it says of an image that it refuses."""
    try:
        return search(image)
    except InputError as error:
        return str(error)


@pytest.mark.parametrize(
    ("dtype", "kernel_type", "scale", "data_range"),
    [
        (np.int8, np.int8, 0.5, (-128, 127)), (np.int16, np.int16, 1, (0, 255)),
        (np.int16, np.uint8, 1, (0, 255)), (np.int16, np.int16, 1, (-300.5, 300)),
        (np.int16, np.int16, 100, None), (np.float16, np.float16, 1 / 255, None),
        (np.float16, np.float16, 1, (0, 255)), (np.float32, np.float32, 1, None),
        (np.float32, np.uint8, 1 / 255, None), (np.float32, np.float32, 1e-30, None),
        (np.float64, np.float64, 1e30, (0, 256e30)), (np.float64, np.float32, 1, None),
        (np.uint16, np.uint8, 257, None), (np.uint32, np.float64, 1, (0, 255)),
    ],
)  # fmt: skip
@pytest.mark.parametrize("metric", METRICS)
def test_images_whose_values_are_converted(
    dtype, kernel_type, scale, data_range, metric, astronaut, repetitions
):
    """A kernel may have another type, and scores no range; the last images are no repetitions."""
    photo = astronaut[..., 1].astype(np.float64)
    images = [(photo[top : top + 90, 30:150] * scale).astype(dtype) for top in (0, 60, 200)]
    kernel = photo[80:100, 50:74] * (1 if kernel_type is np.uint8 else scale)
    kernel = kernel.astype(kernel_type)
    bright, dark, negative = images[1].copy(), images[1].copy(), images[1].copy()
    bright[3, 4] = min(1000 * scale, np.finfo(dtype).max if dtype in FLOATS else 120)
    dark[:] = images[1] / 64
    negative[5, 6] = -1 * (dtype not in (np.uint16, np.uint32))
    images += [bright, dark, negative, images[0]]
    if dtype in FLOATS:
        images.append(images[1].copy())
        images[-1][7, 8] = np.nan
    options = {"metric": metric, "data_range": data_range, "top": 2, "memory": 10**9}
    matcher = Matcher(kernel, **options)
    for image in images:
        own = outcome(lambda one: searched_first(one, kernel, map=True, **options), image)
        found = outcome(lambda one: matcher.match(one, map=True), image)
        if isinstance(own, str):
            assert found == own
        else:
            assert_same(found, own)
    usual = [(photo[top : top + 90, 40:160] * scale).astype(dtype) for top in (60, 100, 150, 170)]
    if all(not isinstance(outcome(matcher.match, image), str) for image in usual):
        repetitions.clear()
        for image in usual:
            matcher.match(image, map=True)
        assert repetitions[-2:] == [True, True]
    else:  # differences of pixels that have no range
        assert metric in ("sad", "ssd")
        assert data_range is None


@pytest.mark.parametrize("data_range", [None, (0, 255)])
def test_colours_that_stay_as_they_are_are_converted_alike(data_range, rng):
    """Most colours are others in `hsv`, but for some."""
    colours = np.array([[(130, 129, 128), (147, 136, 131), (254, 179, 145)]], np.uint8)
    assert np.array_equal(color.convert(colours, 3, "hsv", low=0, span=255), colours)
    still = colours[0, rng.integers(0, 3, (60, 80))]
    photo = rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)
    kernel = photo[20:30, 30:42].copy()
    matcher = Matcher(kernel, color="hsv", data_range=data_range)
    for image in (still, still.copy(), photo):
        own = searched_first(image, kernel, color="hsv", data_range=data_range)
        assert_same(matcher.match(image), own)


def test_kernels_that_are_left_out_are_no_repetition(rng, repetitions):
    images = rng.integers(0, 256, (3, 50, 60), dtype=np.uint8)
    kernels = [images[2, 10:20, 30:40].copy(), np.zeros((6, 6), np.uint8)]
    matcher = Matcher(kernels, metric="zncc", top=1)
    for image in images:
        assert_same(matcher.match(image), searched_first(image, kernels, metric="zncc", top=1))
    assert repetitions == []


def test_regions_and_padding_are_no_repetition(rng, repetitions):
    """The windows may be as many as those of the whole array."""
    images = rng.integers(0, 256, (3, 50, 60), dtype=np.uint8)
    kernel = images[2, 10:21, 30:41].copy()
    options = {"region": (5, 5, 50, 40), "padding": "zero", "top": 1}
    matcher = Matcher(kernel, **options)
    for image in images:
        assert_same(matcher.match(image), searched_first(image, kernel, **options))
    assert repetitions == []


def test_windows_that_tie_are_scored_once(rng, repetitions, monkeypatch):
    """They are too many to be compared without a store, which takes the scores that there are."""
    image = np.tile(rng.random((3, 3), dtype=np.float32), (20, 20))
    kernel = image[:9, :9].copy()
    matcher = Matcher(kernel, engine="simd", top=1, margin=False)
    own = searched_first(image, kernel, engine="simd", top=1, margin=False, map=True)
    for _ in range(2):
        matcher.match(image, map=True)
    scored = []

    def watched(scorer):
        return lambda pixels: scored.append(pixels.shape) or scorer(pixels)

    before = matcher._before
    monkeypatch.setattr(matcher, "_before", before._replace(scorer=watched(before.scorer)))
    monkeypatch.setattr(windows, "score_all", lambda *_: pytest.fail("windows are scored again"))
    assert_same(matcher.match(image, map=True), own)
    assert scored == [(60, 60, 1)]
    assert repetitions == [True]


def test_grey_images_in_two_shapes_are_no_repetition(astronaut, repetitions):
    grey = np.ascontiguousarray(astronaut[..., 1])
    kernel = grey[30:50, 30:60]
    matcher = Matcher(kernel, metric="zncc")
    for image in (grey[:90, :99], grey[:91, :99], grey[:90, :99].astype(np.float32)):
        try:
            found = matcher.match(image)
        except InputError:
            continue
        assert_same(found, searched_first(image, kernel, metric="zncc"))
    assert repetitions == []
    for _ in range(3):
        matcher.match(grey[10:101, 5:104])
    assert repetitions == [True]


@pytest.mark.parametrize("top", [1, 3])
@pytest.mark.parametrize("metric", ["ssd", "ncc", "zncc"])
def test_the_largest_kernels_whose_scores_are_rounded(metric, top, rng):
    """No cut of the pass in C is long enough for them; transforms in NumPy state each error."""
    images = rng.integers(0, 256, (3, 4, 3080, 2), dtype=np.uint8)
    kernel = images[2, 1:3, 40:2869].copy()
    options = {"metric": metric, "engine": "fft", "top": top, "margin": False}
    matcher = Matcher(kernel, **options)
    for image in (*images, images[0]):
        assert_same(matcher.match(image), match(image, kernel, **options))


@pytest.mark.parametrize("metric", ["ssd", "zncc"])
@pytest.mark.parametrize(
    ("dtype", "data_range", "beyond"),
    [
        (np.uint8, (0, 100), 101),
        (np.float32, (0, 100), 101),
        (np.float32, (0, 100), np.nan),
        (np.float32, None, 1.5),
        (np.float32, None, np.nan),
    ],
)
def test_values_beyond_the_range_are_no_repetition(
    metric, dtype, data_range, beyond, astronaut, repetitions
):
    grey = np.ascontiguousarray(astronaut[:80, :90, 1])
    usual = (grey / 2.55).astype(dtype) if data_range else grey / np.float32(255)
    options = {"metric": metric, "data_range": data_range, "top": 1, "margin": False}
    kernel = usual[20:40, 30:50]
    matcher = Matcher(kernel, **options)
    for _ in range(2):
        matcher.match(usual)
    turned = usual[::-1].copy()
    assert_same(matcher.match(turned), searched_first(turned, kernel, **options))
    assert repetitions == [True]
    image = usual.copy()
    image[70, 80] = beyond
    try:
        own = searched_first(image, kernel, **options)
    except InputError as error:
        with pytest.raises(InputError, match=re.escape(str(error))):
            matcher.match(image)
    else:
        assert_same(matcher.match(image), own)
    assert repetitions == [True, False]


@pytest.mark.parametrize("metric", METRICS)
def test_floats_that_vary_little_have_their_own_offset(metric, astronaut):
    grey = astronaut[:80, :90, 1] / np.float32(255)
    nearly = np.float32(0.9) + grey / 20
    matcher = Matcher(nearly[20:40, 30:50], metric=metric, threshold=0.5, top=3)
    for image in (nearly, grey, nearly[::-1].copy(), grey):
        own = searched_first(image, nearly[20:40, 30:50], metric=metric, threshold=0.5, top=3)
        assert_same(matcher.match(image), own)


@pytest.mark.parametrize("metric", ["sad", "ssd"])
@pytest.mark.parametrize("options", [{}, {"top": 1, "margin": False}, {"top": 3, "map": True}])
def test_dark_pictures_are_repeated_with_what_is_told_of_them(
    options, metric, astronaut, repetitions
):
    """That is told of each, as long as it is the same."""
    made, asked = dict(options), {}
    if "map" in made:
        asked["map"] = made.pop("map")
    picture = np.ascontiguousarray(astronaut[:80, :90, 1])
    dark = [(picture[::step] / np.float32(2560))[:40].copy() for step in (1, -1, 1, -1, 1)]
    for image in dark:
        image[0, 0] = 0.09
    darker = dark[0] / 2
    kernel = dark[0][10:20, 20:32].copy()
    matcher = Matcher(kernel, metric=metric, **made)
    for image in (*dark, darker, *dark[:3]):
        own = searched_first(image, kernel, metric=metric, **made, **asked)
        assert own.notices
        assert_same(matcher.match(image, **asked), own)
    assert True in repetitions


def test_small_values_are_told_of_a_repetition_too(astronaut, repetitions):
    grey = np.ascontiguousarray(astronaut[:80, :80, 1])
    matcher = Matcher(np.array([[0, 1], [1, 0]], np.uint8), metric="ssd")
    dark = (grey > 99).astype(np.uint8)
    bright = match(grey, np.array([[0, 1], [1, 0]], np.uint8), metric="ssd").notices
    for _ in range(2):
        matcher.match(grey)
    told = matcher.match(dark).notices
    assert told != bright
    assert told == match(dark, np.array([[0, 1], [1, 0]], np.uint8), metric="ssd").notices
    assert True not in repetitions


@pytest.mark.parametrize("given", [
    {"region": (3, 4, 60, 50)}, {"threads": 2}, {"observer": patchsim.Observer()},
], ids=lambda given: next(iter(given)))  # fmt: skip
def test_other_keywords_are_heeded(given, astronaut, repetitions):
    image, kernel = astronaut[:90, :120], astronaut[20:40, 30:50]
    matcher = Matcher(kernel, metric="zncc", threads=1)
    for _ in range(2):
        matcher.match(image)
    assert_same(
        matcher.match(image, **given),
        match(image, kernel, metric="zncc", **{"threads": 1, **given}),
    )
    assert repetitions == []


def test_rows_with_gaps_and_turned_arrays_have_their_own_matches(astronaut):
    kernel = astronaut[20:40, 30:50]
    matcher = Matcher(kernel, metric="ncc", top=2)
    for image in (astronaut[:90, :90], astronaut[:180:2, :90], astronaut[:90, :90].swapaxes(0, 1)):
        own = searched_first(image, kernel, metric="ncc", top=2)
        assert_same(matcher.match(image), own)


def test_a_matcher_that_has_searched_can_be_pickled(astronaut):
    import pickle

    matcher = Matcher(astronaut[20:40, 30:50], metric="zncc")
    before = len(pickle.dumps(matcher))
    for _ in range(2):
        matcher.match(astronaut[:90, :90])
    assert len(pickle.dumps(matcher)) < before + 2000


@pytest.mark.parametrize("engine", ["simd", "unfold"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("stride", [1, (2, 3)])
def test_the_first_of_equal_windows_of_a_whole_map(engine, dtype, stride, rng, repetitions):
    shade = dtype(257 if dtype is np.uint16 else 1)
    kernel = rng.integers(0, 256, (6, 9)).astype(dtype) * shade
    images = [rng.integers(0, 256, (90, 120)).astype(dtype) * shade for _ in range(4)]
    for number, image in enumerate(images):
        for y, x in ((4 + 6 * number, 72), (70, 12), (70, 48)):
            image[y : y + 6, x : x + 9] = kernel
    options = {"top": 1, "margin": False, "engine": engine, "stride": stride, "memory": 10**9}
    if dtype in FLOATS:
        options["data_range"] = (0, 255)
    matcher = Matcher(kernel, **options)
    for number, image in enumerate(images):
        found = matcher.match(image, map=True)
        assert_same(found, searched_first(image, kernel, map=True, **options))
        assert (found.best.y, found.best.x, found.best.score) == (4 + 6 * number, 72, 1.0)
        assert found.maps[0].dtype == np.float32
    assert repetitions == [True, True]


@pytest.mark.parametrize("threads", [1, 2])
def test_a_small_map_of_some_tiles(threads, astronaut, repetitions):
    images = [astronaut[..., channel].copy() for channel in range(3)]
    kernel = images[2][470:490, 300:330].copy()
    options = {"top": 1, "margin": False, "threads": threads, "memory": 10**9}
    matcher = Matcher(kernel, **options)
    for image in images:
        found = matcher.match(image, map=True)
        own = searched_first(image, kernel, **options, map=True)
        assert_same(found, own)
        assert found.plans[0].tile != found.maps[0].shape
        np.testing.assert_array_equal(found.maps[0], own.maps[0])
    assert (found.best.x, found.best.y, found.best.score) == (300, 470, 1.0)
    assert repetitions == [True]
