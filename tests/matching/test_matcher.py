"""A kept `Matcher`: the matches of `match`, in threads, after pickling, image after image."""

from __future__ import annotations

import gc
import inspect
import pickle
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import patchsim
from patchsim import InputError, Matcher, match, metrics
from patchsim.options import Given, Options
from patchsim.planning import batching


@pytest.fixture
def images(astronaut):
    grey = np.asarray(Image.fromarray(astronaut).convert("L"))
    return [
        astronaut[:200, :300],
        grey[:150, :170],
        astronaut[:120, :160].astype(np.uint16) * 257,
        astronaut[:100, :90].astype(np.float32) / 255,
        astronaut[50:250, 100:400],
        astronaut[:200, :300],
    ]


@pytest.fixture
def kernels(astronaut):
    return [astronaut[30:50, 40:70], astronaut[60:92, 10:30, 0]]


def same(one, other):
    return replace(one, seconds=0.0) == replace(other, seconds=0.0)


def same_but_for_the_engine(one, other):
    """As `same`; a matcher may choose an engine that takes long to prepare sooner than `match`."""

    def plain(report):
        kernels = tuple(replace(each, engine="", tolerance=0.0) for each in report.kernels)
        below = report.best_below and replace(report.best_below, at_most=None)
        return replace(report, kernels=kernels, best_below=below)

    return same(plain(one), plain(other))


@pytest.mark.parametrize("options", [
    {}, {"metric": "zncc", "top": 3}, {"threshold": 0.9, "per_kernel": True},
    {"stride": (2, 3), "margin": False}, {"scales": "0.8:1.2:0.2", "top": 1}, {"subpixel": True},
], ids=str)  # fmt: skip
def test_a_matcher_finds_in_each_image_what_match_finds(images, kernels, options):
    matcher = Matcher(kernels, **options)
    for image in images:
        assert same_but_for_the_engine(matcher.match(image), match(image, kernels, **options))


def test_threads_share_a_matcher(images, kernels):
    matcher = Matcher(kernels, top=3)
    expected = [match(image, kernels, top=3) for image in images]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            reports = pool.map(matcher.match, images)
            for one, other in zip(reports, expected, strict=True):
                assert same_but_for_the_engine(one, other)


def test_a_matcher_can_be_pickled(images, kernels):
    matcher = Matcher(kernels, mask=None, metric="ncc", angles="0,90")
    copy = pickle.loads(pickle.dumps(matcher))
    assert copy.options == matcher.options
    assert same(copy.match(images[0]), matcher.match(images[0]))


def test_a_pickled_matcher_has_no_kernels_converted_for_an_image(images, kernels):
    matcher = Matcher(kernels, memory="1GB")
    before = len(pickle.dumps(matcher))
    matcher.match(images[3])  # of floats, so that its kernels take four times as much
    assert len(pickle.dumps(matcher)) < before + kernels[0].nbytes


def test_plans_are_kept_for_images_of_one_shape_and_type(images, kernels, monkeypatch):
    matcher = Matcher(kernels, memory="1GB")
    made = []
    make = batching._make
    monkeypatch.setattr(batching, "_make", lambda *a, **k: made.append(1) or make(*a, **k))
    for _ in range(3):
        matcher.match(images[0])
    assert len(made) == 1
    matcher.match(images[2])
    assert len(made) == 2
    for _ in range(2):  # which counts one image
        match(images[0], kernels, memory="1GB")
    assert len(made) == 3


def test_kernels_are_converted_once_for_images_of_one_kind(images, kernels, monkeypatch):
    matcher = Matcher(kernels, metric="zncc", color="lab", channel_weights=[2, 1, 0])
    checked = []
    check = metrics.check_kernel
    monkeypatch.setattr(
        metrics, "check_kernel", lambda *a, **k: checked.append(1) or check(*a, **k)
    )
    for number in (0, 4, 5):  # of one type, in different sizes
        matcher.match(images[number])
    assert len(checked) == len(kernels)
    for number in (2, 0):
        report = matcher.match(images[number])
        options = {"metric": "zncc", "color": "lab", "channel_weights": [2, 1, 0]}
        assert same_but_for_the_engine(report, match(images[number], kernels, **options))


def test_kernels_and_mask_are_opened_once(save, astronaut):
    path = save("kernel.png", astronaut[30:50, 40:70])
    mask = save("mask.png", np.full((20, 30), 255, np.uint8))
    matcher = Matcher(path, mask=mask)
    path.unlink()
    mask.unlink()
    best = matcher.match(astronaut[:100, :100]).best
    assert (best.x, best.y, best.score) == (40, 30, 1.0)


def test_an_option_is_refused_before_any_image(kernels):
    with pytest.raises(InputError, match="engine 'warp' is unknown"):
        Matcher(kernels, engine="warp")
    with pytest.raises(InputError, match="data range"):
        Matcher(kernels, data_range=(3, 1))
    with pytest.raises(TypeError, match="strid"):
        Matcher(kernels, strid=2)


def test_outputs_are_for_each_image(kernels):
    for output in ("map", "heatmap", "overlay", "observer"):
        with pytest.raises(TypeError, match=f"takes no '{output}'.*give it to Matcher.match"):
            Matcher(kernels, **{output: None})
    with pytest.raises(TypeError, match=r"^Matcher\(\) .* 'scale'; did you mean 'scales'\?"):
        Matcher(kernels, scale=2)


def test_options_of_a_matcher_are_read_only(kernels):
    matcher = Matcher(kernels)
    with pytest.raises(AttributeError):
        matcher.options = 1
    with pytest.raises(AttributeError):
        matcher.options.top = 1


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "kernel-1 30x20, kernel-2 20x32"),
        ({"top": 5, "margin": None, "stride": 1}, "kernel-1 30x20, kernel-2 20x32"),
        (
            {"margin": False, "threshold": 0.9, "memory": "1GB", "metric": "ssd"},
            "kernel-1 30x20, kernel-2 20x32; metric='ssd', margin=False, threshold=0.9,"
            " memory=1000000000",
        ),
        ({"angles": "0,90,180"}, "kernel-1 30x20, kernel-2 20x32; 3 poses"),
    ],
    ids=str,
)
def test_a_matcher_shows_its_kernels_and_the_options_that_were_changed(kernels, options, expected):
    assert repr(Matcher(kernels, **options)) == f"<patchsim.Matcher: {expected}>"


def test_a_matcher_shows_its_mask_and_the_first_of_many_kernels(kernels):
    kernel = kernels[0]
    masked = Matcher(kernel, mask=np.eye(20, 30))
    assert repr(masked) == "<patchsim.Matcher: kernel 30x20 with a mask>"
    many = Matcher([kernel] * 9)
    assert "kernel-3 30x20 and 6 more>" in repr(many)


def test_a_matcher_stays_usable_after_an_image_that_cannot_be_searched(images, kernels):
    matcher = Matcher(kernels)
    with pytest.raises(InputError):
        matcher.match(images[0][:10, :10])
    assert matcher.match(images[0]).best.score == 1


def test_files_are_written_for_each_image(tmp_path, images, kernels):
    matcher = Matcher(kernels[0], top=1)
    for number, image in enumerate(images[:2]):
        path = tmp_path / f"{number}.png"
        report = matcher.match(image, overlay=path, map=True)
        assert path.exists()
        assert report.map is not None
    assert matcher.match(images[0]).maps == ()


def test_options_stand_in_the_signatures():
    options = list(Given.__annotations__)
    assert list(inspect.signature(patchsim.match).parameters)[-len(options) :] == options
    assert set(options) - set(Options.__dataclass_fields__) == {
        "scales", "angles", "flips", "max_poses",
    }  # fmt: skip


def test_kernels_are_kept_for_several_kinds_of_image(rng):
    colour = rng.integers(0, 256, (30, 40, 3), np.uint8)
    kinds = [colour, colour[..., 0], colour.astype(np.uint16), colour / 255]
    matcher = Matcher(colour[5:12, 7:19])
    comparisons = matcher._comparisons._as_they_are
    for image in [kinds[0], kinds[1], kinds[0], kinds[1]]:
        matcher.match(image)
    first = list(comparisons._kept.values())
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(matcher.match, [kinds[0], kinds[1], kinds[2]] * 4))
    assert len(comparisons._kept) == 3
    assert all(one in comparisons._kept.values() for one in first)
    matcher.match(kinds[3])
    assert len(comparisons._kept) == 3
    assert pickle.loads(pickle.dumps(matcher)).match(colour).best.score == 1


@pytest.mark.parametrize(
    "options",
    [
        {"top": 1},
        {"metric": "zncc", "threshold": 0.5},
        {"metric": "zncc", "engine": "fft", "memory": "60MB"},
        {"threshold": "auto", "invert": True},
        {"threshold": 0.9, "worst": 0.5, "subpixel": True},
        {"angles": "0,10", "scales": "1,1.3", "exhaustive": True},
        {"angles": "0:360", "threshold": 0.9},
    ],
    ids=str,
)
def test_images_are_freed_with_their_report(options, rng):
    kernel = rng.integers(0, 256, (20, 30, 3), np.uint8)
    matcher = Matcher(kernel, **options)
    gc.collect()
    gc.disable()  # which would free cycles
    try:
        for _ in range(2):
            image = rng.integers(0, 256, (300, 320, 3), np.uint8)
            image[30:50, 40:70] = kernel
            report = matcher.match(image)
            assert (report[0].x, report[0].y) == (40, 30)
            is_there = weakref.ref(image)
            del image, report
            assert is_there() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("metric", ["ncc", "zncc"])
def test_a_kernel_of_usual_size_stays_prepared_for_the_next_array(metric, channels, rng):
    image = rng.integers(0, 256, (700, 720, channels), np.uint8)
    matcher = Matcher(image[100:196, 200:296].copy(), metric=metric, engine="fft", threads=1)
    for _ in range(2):
        matcher.match(image)
    assert matcher._before is not None
