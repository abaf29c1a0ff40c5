"""The best window of small pictures in one call: that of the formula, whatever bounds are worth."""

from __future__ import annotations

from itertools import product

import numpy as np
import oracle
import pytest
from helpers.photographs import photograph
from helpers.truths import remembered
from hypothesis import given
from hypothesis import strategies as st

from patchsim import Matcher, match
from patchsim.engines import Problem, pruned
from patchsim.machine import extensions
from patchsim.metrics import Kernel

_pruned = pytest.importorskip(
    "patchsim.engines._pruned",
    reason="the C extension was not built: no compiler at install time",
)
FOREVER = 1e9


@pytest.fixture(params=_pruned.variants())
def variant(request, monkeypatch):
    monkeypatch.setenv(extensions.VARIANT_SETTING, request.param)


def problem(image, kernel, **options):
    span = np.iinfo(kernel.dtype).max if kernel.dtype.kind == "u" else 1.0
    return Problem(
        image.shape, kernel.shape, kernel.dtype.name, (1, 1), "sad", span, "cpu", 1,
        map_wanted=False, **options,
    )  # fmt: skip


def finder(image, kernel, seconds=FOREVER):
    found = pruned.finder(Kernel(kernel), problem(image, kernel), seconds, image)
    assert found is not None
    return found


@remembered
def differences(image, kernel):
    """In NumPy, independent of the engine."""
    patches = np.lib.stride_tricks.sliding_window_view(image, kernel.shape)[:, :, 0]
    return np.abs(patches.astype(np.int64) - kernel).sum((2, 3, 4))


def assert_finds_the_best(image, kernel):
    sums = differences(image, kernel)
    y, x = divmod(int(sums.argmin()), sums.shape[1])  # the first of equal ones
    row, col, score = finder(image, kernel)(image)
    assert (row, col) == (y, x)
    assert score == pytest.approx(1 - sums.min() / (kernel.size * 255), abs=1e-15)


@pytest.mark.usefixtures("variant")
@pytest.mark.parametrize("channels", [1, 2, 3, 5])
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (5, 4), (17, 16), (33, 50), (64, 66)])
@pytest.mark.parametrize("is_there", [True, False])
def test_the_best_window(size, channels, is_there, rng):
    photo = photograph("astronaut")[..., np.arange(channels) % 3]
    image = np.ascontiguousarray(photo[100:180, 150:240])
    top, left = (7, 5) if is_there else (-60 - size[0], -20 - size[1])
    taps = (image if is_there else photo)[top:, left:][: size[0], : size[1]]
    kernel = np.clip(taps + rng.normal(0, 6, taps.shape), 0, 255).astype(np.uint8)
    assert_finds_the_best(image, kernel)


@pytest.mark.usefixtures("variant")
@pytest.mark.parametrize("kind", ["noise", "flat", "two levels", "twice", "black on white"])
def test_pictures_that_bounds_tell_nothing_of(kind, rng):
    image = rng.integers(0, 256, (130, 150, 1)).astype(np.uint8)
    kernel = rng.integers(0, 256, (70, 65, 1)).astype(np.uint8)
    if kind == "flat":
        image[:], kernel[:] = 255, 0
    elif kind == "two levels":
        image, kernel = image // 128 * 255, kernel // 128 * 255
    elif kind == "twice":
        image[3:73, 70:135] = image[55:125, 8:73] = kernel
    elif kind == "black on white":
        image[:], kernel[:] = 255, 255
        image[60, 75], kernel[30, 30] = 0, 0
    assert_finds_the_best(image, kernel)


def wide(pixels, dtype, rng):
    """Pixels of another type, with digits of their own."""
    values = np.clip(pixels * np.int32(257) + rng.integers(-128, 129, pixels.shape), 0, 65535)
    if dtype == "uint16":
        return values.astype(np.uint16)
    if dtype == "float64":  # with more digits than float32 has
        return (values + rng.random(pixels.shape) / 1e6) / 65536
    return values.astype(np.float32) / np.float32(65535)


@remembered
def means_of_wide(image, kernel):
    """Mean differences in float64, which integers of 16 bits sum to exactly."""
    patches = np.lib.stride_tricks.sliding_window_view(image, kernel.shape)[:, :, 0]
    span = 65535 if image.dtype.kind == "u" else 1
    return np.abs(patches.astype(np.float64) - kernel).mean((2, 3, 4)) / span


def best_of_wide(image, kernel):
    means = means_of_wide(image, kernel)
    return *divmod(int(means.argmin()), means.shape[1]), 1 - means.min()


@pytest.mark.usefixtures("variant")
@pytest.mark.parametrize("dtype", ["uint16", "float32", "float64"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(1, 1), (5, 4), (17, 16), (33, 50)])
@pytest.mark.parametrize("is_there", [True, False])
def test_16_bits_and_floats_in_pictures_like_the_first_and_others(
    size, channels, is_there, dtype, rng
):
    photo = photograph("astronaut")[..., np.arange(channels) % 3]
    image = wide(photo[100:160, 150:230], dtype, rng)
    kernel = image[7:, 5:][: size[0], : size[1]]
    if not is_there:
        kernel = wide(photo[-60:, -80:][: size[0], : size[1]], dtype, rng)
    search = finder(image, np.ascontiguousarray(kernel))
    dark, bright = image // 200 if dtype == "uint16" else image / 200, image.copy()
    bright[bright < 0.5 * bright.max()] = bright.max()
    for picture in (image, dark.astype(dtype), bright, image):
        y, x, score = search(np.ascontiguousarray(picture))
        assert (y, x) == best_of_wide(picture, kernel)[:2]
        assert score == pytest.approx(best_of_wide(picture, kernel)[2], abs=1e-12)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 300), (40, 40), (130, 3), (200, 250)])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_bounds_of_wide_values_are_read_in_the_unit_in_which_they_are_made(channels, size, rng):
    image = wide(rng.integers(0, 256, (210, 310, channels)), "uint16", rng)
    search = finder(image, image[: size[0], : size[1]].copy())
    copied = rng.integers(0, 256, image.shape).astype(np.uint8)
    _, _, unit = search._finder.narrowed(copied, 0)
    assert unit == search._search._bytes.unit


@pytest.mark.parametrize("dtype", ["uint16", "float32", "float64"])
def test_of_equal_windows_of_wide_values_the_first_is_found(dtype, rng):
    image = wide(rng.integers(0, 256, (90, 100, 1)), dtype, rng)
    kernel = wide(rng.integers(0, 256, (20, 24, 1)), dtype, rng)
    image[60:80, 9:33] = image[8:28, 70:94] = kernel
    assert finder(image, kernel)(image) == (8, 70, 1.0)
    image[8:28, 70:94] = image[60:80, 9:33] = image[30:50, 40:64] = kernel[::-1]
    assert finder(image, kernel[::-1].copy())(image) == (8, 70, 1.0)


@given(st.data())
def test_any_small_picture_against_the_oracle(data):
    height, width, channels = (data.draw(st.integers(1, most)) for most in (12, 14, 3))
    tall, wide = data.draw(st.integers(1, height)), data.draw(st.integers(1, width))
    values = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    levels = data.draw(st.sampled_from([2, 5, 256]))
    image, kernel = (
        (values.integers(0, levels, (*shape, channels)) * (255 // (levels - 1))).astype(np.uint8)
        for shape in ((height, width), (tall, wide))
    )
    scores = np.array(oracle.sad_map(image.tolist(), kernel.tolist(), span=255))
    y, x, score = finder(image, kernel)(image)
    assert score == pytest.approx(scores.max(), abs=1e-12)
    best = np.argwhere(np.abs(scores - scores.max()) < 1e-12)[0]
    assert [y, x] == best.tolist()


@pytest.mark.usefixtures("variant")
def test_the_bounds_of_every_level_lie_below_the_differences():
    photo = photograph("astronaut")
    image, kernel = np.ascontiguousarray(photo[:120, :130]), photo[300:364, 9:81]
    search = finder(image, kernel)
    sums = differences(image, kernel)
    for count in range(1, len(search._narrow["levels"]) + 1):
        bounds = np.empty(sums.shape, np.uint16)
        levels = search._narrow["levels"][:count]
        cells = int(levels[:, 2:].prod(1).sum())
        least, unit, left, _ = _pruned.narrow(
            image=image, pitch=image.strides[0], bounds=bounds,
            **search._narrow | {
                "levels": levels, "sums": search._narrow["sums"][:cells],
                "costs": np.zeros((count, 2)), "slack": 99, "most": 10**9,
            },
        )  # fmt: skip
        assert (bounds * unit <= sums).all()
        assert least in sums
        assert left >= (sums <= least + 99).sum()
        assert least >= sums.min()


def test_it_gives_up_where_windows_would_take_too_long(rng):
    image, kernel = (rng.integers(0, 256, (side, side, 1)).astype(np.uint8) for side in (150, 40))
    assert finder(image, kernel)(image) is not None
    assert finder(image, kernel, 1e-6)(image) is None


def test_what_does_not_lie_row_by_row_takes_a_search_of_its_own():
    image = photograph("astronaut")[:90, :80]
    kernel = image[20:30, 20:30]
    search = finder(image, kernel)
    assert search(np.ascontiguousarray(image))[:2] == (20, 20)
    assert search(np.asfortranarray(image)) is None


def test_problems_that_it_does_not_take():
    image, kernel = np.zeros((90, 90, 1), np.uint8), Kernel(np.zeros((30, 30, 1), np.uint8))
    fits = problem(image, kernel.pixels)
    assert pruned.finder(kernel, fits, FOREVER, image) is not None
    for change in (
        {"metric": "ssd"}, {"stride": (1, 2)}, {"dtype": "int32"}, {"weight_sum": 5},
        {"image": (4000, 4000, 1)},
    ):  # fmt: skip
        assert pruned.finder(kernel, fits._replace(**change), FOREVER, image) is None


@pytest.mark.parametrize("engine", ["auto", "simd", "pruned"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
@pytest.mark.parametrize(("is_there", "channels"), [*product([True, False], [1, 3])])
def test_a_kept_matcher_finds_what_one_search_does(is_there, channels, engine, dtype, rng):
    photo = photograph("astronaut")[..., :channels]
    if dtype != "uint8":
        photo = wide(photo, dtype, rng)
    kernel = photo[300:364, 200:264] if is_there else photo.max() - photo[10:74, 300:364]
    options = {"top": 1, "margin": False, "engine": engine, "memory": 10**9}
    matcher = Matcher(np.ascontiguousarray(kernel), **options)
    for top in (0, 50, 150, 180, 212):
        image = np.ascontiguousarray(photo[top : top + 300, 90:400])
        found = matcher.match(image)
        assert found.matches == match(image, kernel, **options).matches
        assert engine in ("auto", found.plans[0].engine)


def test_the_report_tells_the_plan_by_which_it_was_found():
    photo = photograph("astronaut")[..., 0]
    image, kernel = photo[:160, :160].copy(), photo[50:66, 60:76].copy()
    matcher = Matcher(kernel, top=1, margin=False, memory=10**9, threads=1)
    engines = [matcher.match(image).plans[0].engine for _ in range(3)]
    assert engines == ["simd", "simd", "pruned"]
    assert matcher.match(image, map=True).plans[0].engine == "simd"
    noise = np.random.default_rng(0).integers(0, 256, image.shape).astype(np.uint8)
    assert matcher.match(noise).plans[0].engine == "simd"  # bounds exclude nothing
