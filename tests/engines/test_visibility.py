"""Images that are transparent in places: what is visible is compared, by every engine alike."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import numpy as np
import oracle
import pytest
from helpers import load
from helpers.grids import thinned
from helpers.problems import METRICS, SPAN, problem_of, shades, values
from helpers.scenes import corner, waves
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import best_matches, score_map
from PIL import Image

from patchsim import InputError, engines, match, metrics
from patchsim.engines.common import visibility
from patchsim.geometry import tiles
from patchsim.scene import masks

EXAMPLES = Path(__file__).parents[2] / "examples"

ENGINES = ("simd", "fft", "unfold")
# And whether every score must be exact.
WAYS = (*((name, False) for name in ENGINES), ("fft", True))


def levels_of(rng, kind, height, width):
    """Visibility of an image, some of it in full, some not at all."""
    found = np.full((height, width), 1 if kind == "holes" else 5, np.uint8)
    found[:, width // 2 :] = rng.integers(0, found.max() + 1, (height, width - width // 2))
    found[height // 2 :, -7:] = 0
    return found


def weights_of(rng, kind, height, width, channels):
    if kind == "none":
        return None
    if kind == "channels":
        found = shades(rng, "shades", height, width)[..., None] * np.arange(1, channels + 1)
        return found.astype(np.uint8)
    return shades(rng, kind, height, width)


def listed(array):
    return None if array is None else array.tolist()


def scored(name, image, kernel, weights, visible, metric, stride, least, **options):
    """An engine's bounds of all windows, or None where it refuses."""
    if weights is None:
        problem = engines.Problem(
            image.shape, kernel.shape, image.dtype.name, stride, metric, SPAN[image.dtype.name],
            "cpu", 1, **options,
        )  # fmt: skip
    else:
        problem = problem_of(
            image, kernel, weights, metric, stride, has_channel_weights=weights.ndim == 3, **options
        )
    if visible is not None:
        problem = problem.where_visible(visible.full_level, least)
    engine = engines.load(name)
    if engine.refuse(problem) is not None:
        return None
    if visible is None:
        return engine.prepare(kernel, problem, weights)(image)
    return visibility.prepare(engine, kernel, problem, weights)(image, visible.levels)


@thinned(
    4,
    visibility_kind=["holes", "levels"],
    kind=["none", "mask", "shades", "channels"],
    stride=[(1, 1), (2, 3)],
    channels=[1, 3],
    dtype=["uint8", "uint16", "float32", "float64"],
    metric=METRICS,
)
def test_scores_lie_within_their_stated_error_of_the_oracle(
    metric, dtype, channels, stride, kind, visibility_kind, rng
):
    image = values(rng, dtype, 17, 21, channels)
    image[:9, :9] = image[0, 0]  # flat
    kernel = values(rng, dtype, 5, 6, channels)
    weights = weights_of(rng, kind, 5, 6, channels)
    levels = levels_of(rng, visibility_kind, 17, 21)
    visible = metrics.Visibility(levels, int(levels.max()))
    expected = np.array(
        score_map(
            metric, image.tolist(), kernel.tolist(), stride, SPAN[dtype], listed(weights),
            levels.tolist(), 0.3,
        )
    )  # fmt: skip
    score = metrics.exact(image, kernel, metric, SPAN[dtype], weights, visible)
    rows, cols = expected.shape
    found = [[score(r * stride[0], c * stride[1]) for c in range(cols)] for r in range(rows)]
    hidden = None
    tried = []
    for name, exact in WAYS:
        bounds = scored(
            name, image, kernel, weights, visible, metric, stride, 0.3, exact=exact,
            tolerance=0.02 if name == "fft" and not exact else 0.0,
        )  # fmt: skip
        if bounds is None:
            continue
        hidden = bounds.hidden
        assert hidden.any()
        assert not hidden.all()
        assert np.isfinite(bounds.map).all()
        assert np.abs(bounds.map).max() <= 1
        assert (bounds.map[hidden] == 0).all()
        shown = np.where(hidden, 0.0, found)
        np.testing.assert_allclose(shown, expected, rtol=0, atol=4e-13)
        assert (np.abs(bounds.map - shown) <= bounds.error).all()
        if dtype == "uint8" and (name != "fft" or exact):
            assert np.max(bounds.error) == 0
            np.testing.assert_array_equal(bounds.map, shown)
        tried.append(name)
    assert tried


@pytest.mark.parametrize("stride", [(1, 1), (2, 3)])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
@pytest.mark.parametrize("metric", METRICS)
def test_weights_of_channels_are_the_oracles(metric, dtype, stride, rng):
    image, kernel = values(rng, dtype, 17, 21, 3), values(rng, dtype, 5, 6, 3)
    image[:9, :9] = image[0, 0]
    weights = weights_of(rng, "channels", 5, 6, 3)
    expected = np.array(
        score_map(metric, image.tolist(), kernel.tolist(), stride, SPAN[dtype], listed(weights))
    )
    score = metrics.exact(image, kernel, metric, SPAN[dtype], weights)
    rows, cols = expected.shape
    found = [[score(r * stride[0], c * stride[1]) for c in range(cols)] for r in range(rows)]
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-13)
    tried = []
    for name, exact in WAYS:
        bounds = scored(
            name, image, kernel, weights, None, metric, stride, 0, exact=exact,
            tolerance=0.02 if name == "fft" and not exact else 0.0,
        )  # fmt: skip
        if bounds is None:
            continue
        assert (np.abs(bounds.map - np.array(found)) <= bounds.error).all()
        if dtype == "uint8" and (name != "fft" or exact):
            assert np.max(bounds.error) == 0
        tried.append(name)
    assert tried


def transparent(pixels, levels):
    """A PIL image of grey or RGB with alpha."""
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    picture.putalpha(Image.fromarray(levels))
    return picture


def ranked(report):
    return [(m.x, m.y, m.score) for m in report.matches]


@pytest.mark.parametrize("kind", ["holes", "levels"])
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("seed", range(4))
def test_every_engine_reports_the_oracles_matches(seed, metric, kind):
    rng = np.random.default_rng(seed)
    steps = rng.choice([2, 5, 256])  # few: many ties
    image = (rng.integers(0, steps, (22, 25, 1)) * (255 // (steps - 1))).astype(np.uint8)
    kernel = image[4:9, 7:13].copy()
    if (metric == "zncc" and np.ptp(kernel) == 0) or (metric == "ncc" and not kernel.any()):
        return
    levels = levels_of(rng, kind, 22, 25)
    visible = metrics.Visibility(levels, int(levels.max()))
    exact = metrics.exact(image, kernel, metric, 255, None, visible)
    sums = np.array([[levels[y : y + 5, x : x + 6].sum() for x in range(20)] for y in range(18)])
    for stride, share in (((1, 1), 0.3), ((2, 3), 0.75)):
        gone = sums[:: stride[0], :: stride[1]] / (30 * visible.full_level) < share
        scores = [
            [-9 if gone[y // stride[0], x // stride[1]] else exact(y, x)
             for x in range(0, 20, stride[1])]
            for y in range(0, 18, stride[0])
        ]  # fmt: skip
        wanted = best_matches([scores], [(5, 6)], stride, 7, -1, 0.3)
        for name in ("auto", *ENGINES):
            for tolerance in (0.0, 0.1):
                problem = engines.Problem(
                    image.shape, kernel.shape, "uint8", stride, metric, 255, "cpu", 1,
                    tolerance=tolerance, opaque_level=visible.full_level,
                )  # fmt: skip
                if name != "auto" and engines.load(name).refuse(problem) is not None:
                    continue
                found = match(
                    transparent(image, levels * (255 // visible.full_level)), kernel, stride=stride,
                    metric=metric, engine=name, top=7, tolerance=tolerance, min_visible=share,
                )  # fmt: skip
                assert ranked(found) == [(x, y, score) for x, y, _, _, score, _ in wanted]


@pytest.mark.parametrize("padding", ["edge", "reflect", "zero"])
@pytest.mark.parametrize("metric", METRICS)
def test_padding_goes_on_with_pixels_and_their_visibility(metric, padding, rng):
    image, kernel = values(rng, "uint8", 12, 13, 3), values(rng, "uint8", 4, 5, 3)
    levels = levels_of(rng, "levels", 12, 13)
    wide = oracle.padded(image.tolist(), 3, 4, padding)
    around = oracle.padded(levels[..., None].tolist(), 3, 4, padding)
    around = np.array(around)[..., 0]
    assert padding != "zero" or not around[:3].any()  # zeros around it are invisible
    expected = score_map(metric, wide, kernel.tolist(), (1, 1), 255, None, around.tolist(), 0.6)
    found = match(
        transparent(image, levels * 51), kernel, metric=metric, padding=padding, min_visible=0.6,
        map=True,
    )  # fmt: skip
    np.testing.assert_allclose(found.map, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("is_opaque", [True, False])
@pytest.mark.parametrize(
    ("metric", "engine"),
    [*((metric, "auto") for metric in METRICS), ("sad", "simd"), ("sad", "unfold"), ("ssd", "fft"),
     ("ncc", "fft"), ("zncc", "fft")],
)  # fmt: skip
def test_with_transparent_padding_what_hangs_over_does_not_count(metric, engine, is_opaque, rng):
    image, kernel = values(rng, "uint8", 12, 13, 3), values(rng, "uint8", 4, 5, 3)
    image[-3:, -3:] = kernel[:3, :3]
    levels = np.full((12, 13), 5) if is_opaque else levels_of(rng, "levels", 12, 13)
    wide = oracle.padded(image.tolist(), 3, 4, "edge")
    around = np.array(oracle.padded(levels[..., None].tolist(), 3, 4, "zero"))[..., 0]
    expected = score_map(metric, wide, kernel.tolist(), (1, 1), 255, None, around.tolist(), 0.4)
    options = {"metric": metric, "padding": "transparent", "min_visible": 0.4}
    pixels = image if is_opaque else transparent(image, levels * 51)
    report = match(pixels, kernel, map=True, engine=engine, **options)
    np.testing.assert_allclose(report.map, expected, rtol=0, atol=1e-6)
    assert report.min_visible == 0.4
    best = match(pixels, kernel, top=1, **options).best
    assert best.score == pytest.approx(np.max(expected), abs=1e-9)
    if is_opaque:
        assert (best.x, best.y, best.score) == (10, 9, 1.0)
        part = match(image, kernel, map=True, region=(0, 0, 13, 12), ignore_alpha=True, **options)
        np.testing.assert_array_equal(part.map, report.map)


@pytest.mark.parametrize("metric", METRICS)
def test_a_region_has_the_scores_of_the_whole(metric, rng):
    image, kernel = values(rng, "uint8", 30, 40, 3), values(rng, "uint8", 5, 6, 3)
    levels = levels_of(rng, "levels", 30, 40) * 51
    levels[12:16, 3:9] = 51  # in the region no pixel hides nothing
    image = transparent(image, levels)
    for box in ((20, 4, 15, 12), (3, 12, 6, 4), (0, 0, 12, 9)):
        x, y, width, height = box
        small = kernel[:4]
        whole = match(image, small, metric=metric, map=True, min_visible=0.4)
        part = match(image, small, metric=metric, map=True, min_visible=0.4, region=box)
        expected = whole.map[y : y + height - 3, x : x + width - 5]
        np.testing.assert_allclose(part.map, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("floats", [False, True])
@pytest.mark.parametrize("color", ["auto", "gray", "hsv", "lab"])
def test_what_is_not_visible_does_not_matter_at_all(metric, floats, color, rng):
    image = values(rng, "uint8", 30, 40, 3)
    kernel = image[8:15, 10:19] / np.float32(255) if floats else image[8:15, 10:19].copy()
    levels = levels_of(rng, "levels", 30, 40) * 51
    other = np.where(levels[..., None] == 0, values(rng, "uint8", 30, 40, 3), image)
    found = [
        match(
            transparent(pixels, levels), kernel, metric=metric, color=color, map=True,
            subpixel=True, stride=(1, 2), padding="reflect",
        )
        for pixels in (image, other)
    ]  # fmt: skip
    assert found[0].matches == found[1].matches
    np.testing.assert_array_equal(found[0].map, found[1].map)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    metric=st.sampled_from(METRICS),
    alpha=st.integers(1, 255),
    share=st.floats(0.01, 1),
    floats=st.booleans(),
)
def test_an_image_that_is_as_visible_everywhere_is_one_without_alpha(
    seed, metric, alpha, share, floats
):
    rng = np.random.default_rng(seed)
    image, kernel = values(rng, "uint8", 14, 15, 3), values(rng, "uint8", 4, 5, 3)
    kernel = kernel / np.float32(255) if floats else kernel
    plain = match(Image.fromarray(image), kernel, metric=metric, map=True)
    clear = transparent(image, np.full((14, 15), alpha, np.uint8))
    found = match(clear, kernel, metric=metric, map=True, min_visible=share)
    assert found.matches == plain.matches
    assert found.notices == plain.notices
    assert found.min_visible is None
    np.testing.assert_array_equal(found.map, plain.map)


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    metric=st.sampled_from(METRICS),
    share=st.sampled_from([1e-9, 0.1, 0.5, 1.0]),
    floats=st.booleans(),
    flat=st.booleans(),
)
def test_scores_are_bounded_and_hidden_windows_are_no_matches(seed, metric, share, floats, flat):
    rng = np.random.default_rng(seed)
    # Flat but for a few windows, or black: what masked correlations divide by is nothing there.
    image = np.full((16, 18, 1), rng.choice([0, 200]), np.uint8)
    if not flat:
        image[9:, 9:] += rng.integers(0, 2, (7, 9, 1), dtype=np.uint8)
    kernel = np.full((4, 5, 1), 9, np.uint8)
    kernel[0, :2] = rng.integers(10, 200, 2)[:, None]
    kernel = kernel / np.float32(255) if floats else kernel
    levels = rng.choice([0, 1, 128, 255], (16, 18)).astype(np.uint8)
    levels[:5, :6] = 0
    found = match(
        transparent(image, levels), kernel, metric=metric, min_visible=share, map=True, top=999,
        overlap=1,
    )  # fmt: skip
    assert np.isfinite(found.map).all()
    assert np.abs(found.map).max() <= 1
    assert found.map[0, 0] == 0
    sums = [[levels[y : y + 4, x : x + 5].sum(dtype=int) for x in range(14)] for y in range(13)]
    enough = np.array(sums) / (20 * int(levels.max())) >= share
    assert {(m.y, m.x) for m in found.matches} == set(zip(*np.nonzero(enough), strict=True))
    assert (found.map[~enough] == 0).all()


def test_the_least_share_counts_as_enough(rng):
    image = values(rng, "uint8", 10, 10, 1)
    levels = np.full((10, 10), 255, np.uint8)
    levels[4, 4] = 0
    for share, expected in ((0.9, 1), (0.9000001, 0)):
        found = match(
            transparent(image, levels), image[3:5, 2:7], min_visible=share, region=(2, 3, 5, 2)
        )
        assert len(found.matches) == expected


def test_an_icon_under_a_transparent_area_of_a_screenshot_is_found():
    screen, icon = load(EXAMPLES / "desktop.png"), load(EXAMPLES / "folder.png")
    before = match(screen, icon, threshold=0.95)
    assert (before.best.x, before.best.y) == (90, 110)
    clear = np.asarray(screen).copy()
    clear[112:140, 95:107] = 255, 0, 255
    levels = np.full(clear.shape[:2], 255, np.uint8)
    levels[112:140, 95:107] = 0
    for metric in METRICS:
        found = match(transparent(clear, levels), icon, metric=metric, threshold=0.999)
        assert ranked(found) == ranked(before)
    hidden = match(transparent(clear, levels), icon, threshold=0.95, min_visible=0.75)
    assert ranked(hidden) == ranked(before)[1:]
    ignored = match(transparent(clear, levels), icon, threshold=0.95, ignore_alpha=True)
    assert ranked(ignored) == ranked(before)[1:]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("channel_weights", [None, (1, 2, 3)])
def test_positions_between_the_pixels_are_those_of_what_is_visible(metric, channel_weights):
    kernel = waves(30, 34, 3).astype(np.float32)
    image = (waves(80, 90, 3, top=-20.3, left=-30.6) * 255).round().astype(np.uint8)
    levels = np.full((80, 90), 255, np.uint8)
    levels[24:36, 34:48] = 0
    levels[40:46, 50:66] = 77
    image[levels == 0] = 255
    found = match(
        transparent(image, levels), kernel, metric=metric, subpixel=True, top=1,
        channel_weights=channel_weights,
    )  # fmt: skip
    assert corner(found.best) == pytest.approx((20.3, 30.6), abs=0.01)
    unseen = match(
        Image.fromarray(image), kernel, metric=metric, subpixel=True, top=1,
        region=(25, 15, 50, 45), channel_weights=channel_weights,
    )  # fmt: skip
    assert corner(unseen.best) != pytest.approx((20.3, 30.6), abs=0.01)


@thinned(
    dtype=["uint8", "float32"],
    metric=METRICS,
    kind=["none", "shades", "channels"],
    size=[(300, 320, 64), (300, 300, 5), (500, 500, 333)],
)
def test_a_tile_takes_no_more_memory_than_planned(dtype, metric, kind, size, rng):
    import scipy.fft  # noqa: F401 - what an import keeps is not the tile's

    height, width, side = size
    image = values(rng, dtype, height, width, 3)
    kernel = image[:side, :side].copy()
    weights = weights_of(rng, kind, side, side, 3)
    levels = levels_of(rng, "levels", height, width)
    for name in ("fft", "simd"):
        problem = engines.Problem(
            image.shape, kernel.shape, dtype, (1, 1), metric, SPAN[dtype], "cpu", 1,
            tolerance=0.02, weight_sum=None if weights is None else int(weights.sum()),
            max_weight=1 if weights is None else int(weights.max()),
            has_channel_weights=kind == "channels",
        ).where_visible(5, 0.3)  # fmt: skip
        engine = engines.load(name)
        if engine.refuse(problem) is not None:
            continue
        tile = next(tiles.split(problem.map_shape, engine.best_tile(problem)))
        source = tile.source((side, side), (1, 1))
        visibility.prepare(engine, kernel, problem, weights)(
            image[:side, :side], levels[:side, :side]
        )
        tracemalloc.start()
        try:
            visibility.prepare(engine, kernel, problem, weights)(image[source], levels[source])
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        bounds = engines.Bounds.estimate_bytes(tile.rows, tile.cols)
        assert peak <= engine.working_bytes(problem, tile.rows, tile.cols) + bounds


def test_an_image_without_a_visible_pixel_is_refused(rng):
    image, kernel = values(rng, "uint8", 20, 21, 3), values(rng, "uint8", 4, 5, 3)
    with pytest.raises(InputError, match=r"^image is transparent everywhere.*ignore-alpha"):
        match(transparent(image, np.zeros((20, 21), np.uint8)), kernel)
    levels = np.full((20, 21), 255, np.uint8)
    levels[:10, :10] = 0
    with pytest.raises(InputError, match=r"region 1,2,8,7 of the image is transparent"):
        match(transparent(image, levels), kernel, region=(1, 2, 8, 7))
    assert match(transparent(image, levels), kernel, region=(1, 2, 8, 7), ignore_alpha=True).best


@pytest.mark.parametrize("share", [0, -1, 1.01, float("nan"), "much"])
def test_shares_that_are_none(share, rng):
    image = values(rng, "uint8", 20, 21, 3)
    with pytest.raises(InputError, match="min-visible"):
        match(image, image[:4, :5], min_visible=share)


def test_engines_that_cannot_say_so(rng):
    image = transparent(values(rng, "uint8", 20, 21, 3), levels_of(rng, "holes", 20, 21))
    with pytest.raises(InputError, match="pruned on cpu: it takes images that are visible"):
        match(image, values(rng, "uint8", 4, 5, 3), engine="pruned")


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("floats", [False, True])
def test_a_channel_without_weight_is_left_out(metric, floats, rng):
    image = values(rng, "uint8", 20, 21, 3)
    image = image / np.float32(255) if floats else image
    kernel = image[3:9, 4:11].copy()
    kernel[0, 0] = 0
    for shares, kept in (((1, 0, 1), [0, 2]), ((0, 7, 0), [1])):
        found = match(image, kernel, metric=metric, channel_weights=shares, map=True)
        # Laid out alike, as sums of floats depend on that.
        pair = [np.ascontiguousarray(pixels[..., kept]) for pixels in (image, kernel)]
        alone = match(*pair, metric=metric, map=True)
        assert found.matches == alone.matches
        np.testing.assert_array_equal(found.map, alone.map)


@settings(max_examples=60, deadline=None)
@given(
    shares=st.tuples(*[st.integers(0, 9)] * 3).filter(any),
    scale=st.floats(1e-3, 1e3),
    metric=st.sampled_from(METRICS),
    seed=st.integers(0, 2**32 - 1),
)
def test_only_the_ratios_of_channel_weights_count(shares, scale, metric, seed):
    rng = np.random.default_rng(seed)
    image, kernel = values(rng, "uint8", 14, 15, 3), values(rng, "uint8", 4, 5, 3)
    mask = rng.choice(np.array([0, 51, 255], np.uint8), (4, 5))
    mask[0, :2] = 0, 255
    mask[1, :] = mask[-1, 0] = 255  # every side has pixels that count
    found = match(image, kernel, metric=metric, channel_weights=shares, map=True, mask=mask)
    scaled = tuple(share * scale for share in shares)
    again = match(image, kernel, metric=metric, channel_weights=scaled, map=True, mask=mask)
    assert found.matches == again.matches
    np.testing.assert_array_equal(found.map, again.map)
    weights = (mask // 51)[..., None] * np.array(shares)
    expected = score_map(
        metric, image.tolist(), kernel.tolist(), (1, 1), 255, weights.astype(int).tolist()
    )
    np.testing.assert_allclose(found.map, expected, rtol=0, atol=1e-6)
    if len(set(shares)) == 1:
        plain = match(image, kernel, metric=metric, map=True, mask=mask)
        assert found.matches == plain.matches
        np.testing.assert_array_equal(found.map, plain.map)


def test_weights_of_channels_in_whole_numbers():
    assert masks.channel_shares((0.1, 0.1, 0.2), 3) == [1, 1, 2]
    assert masks.channel_shares((254, 255), 2) == [254, 255]
    assert masks.channel_shares((0.299, 0.587, 0.114), 3) == [130, 255, 50]
    assert masks.channel_shares((1, 1e-9), 2) == [255, 0]
    found = masks.value_weights(np.array([[3, 0]], np.uint8), [2, 4], (1, 2))
    assert found.tolist() == [[[1, 2], [0, 0]]]
    heavy = masks.value_weights(np.array([[255, 1]], np.uint8), [130, 255], (1, 2))
    assert heavy.tolist() == [[[130, 255], [1, 1]]]


@pytest.mark.parametrize("metric", ["ncc", "zncc"])
def test_a_kernel_flat_in_the_channels_that_count_has_no_correlation(metric, rng):
    image, kernel = values(rng, "uint8", 20, 21, 3), values(rng, "uint8", 4, 5, 3)
    kernel[..., 1] = 0
    with pytest.raises(InputError, match=r"in the channels that count, so .*ncc has nothing"):
        match(image, kernel, metric=metric, channel_weights=(0, 1, 0))
    assert match(image, kernel, metric=metric, channel_weights=(0, 1, 2)).best


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((1, 1), r"1,1 are 2, but the pictures are compared in 3 channels"),
        ((1, 1, 1, 1), r"are 4, but the pictures are compared in 3 channels"),
        ((), "not a list of numbers"),
        (3, "not a list of numbers"),
        ("red", "not a list of numbers"),
        ((0, 0, 0), "0,0,0 leave no channel"),
        ((1, -1, 1), "1,-1,1 are not all finite numbers from 0"),
        ((1, float("inf"), 1), "1,inf,1 are not all finite"),
        ((1, float("nan"), 1), "1,nan,1 are not all finite"),
    ],
)
def test_weights_of_channels_that_are_none(given, message, rng):
    image = values(rng, "uint8", 20, 21, 3)
    with pytest.raises(InputError, match=message):
        match(image, image[:4, :5], channel_weights=given)
    grey = image[..., 0]
    with pytest.raises(InputError, match="compared in 1 channel;"):
        match(image, grey[:4, :5], channel_weights=(1, 2), color="gray")


def test_the_command_has_both(run, save, rng):
    pixels = values(rng, "uint8", 40, 50, 3)
    icon = pixels[10:22, 20:34].copy()
    levels = np.full((40, 50), 255, np.uint8)
    levels[10:16, 20:30] = 0
    pixels[10:16, 20:30] = 0
    icon[..., 2] ^= 255
    save("big.png", transparent(pixels, levels))
    save("icon.png", icon)
    words = ("match", "big.png", "icon.png", "--channel-weights", "1,2,0", "--threshold", "0.9")
    code, out, err = run(*words, "--format", "json", "--overlay", "found.png")
    document = json.loads(out)
    assert code == 0
    assert [(m["x"], m["y"], m["score"]) for m in document["matches"]] == [(20, 10, 1.0)]
    assert list(document)[-2:] == ["min_visible", "channel_weights"]
    assert document["min_visible"] == 0.5
    assert document["channel_weights"] == [1, 2, 0]
    assert "alpha" not in err
    # Drawn as it is, whatever is compared of it.
    np.testing.assert_array_equal(np.asarray(load("found.png"))[30:, 40:, :3], pixels[30:, 40:])
    assert (np.asarray(load("found.png"))[13, 25, :3] == 0).all()
    code, out, err = run(*words, "--min-visible", "0.7", "--format", "table")
    assert (code, out) == (1, "")
    assert "no match: nothing reached the threshold of 0.9 where enough is visible" in err
    code, out, _ = run(*words[:-2], "--ignore-alpha", "--format", "json")
    assert (code, "min_visible" in json.loads(out)) == (0, False)
    for bad in (("--min-visible", "0"), ("--channel-weights", "1,a"), ("--channel-weights", "1,2")):
        code, out, err = run("match", "big.png", "icon.png", *bad)
        assert (code, out) == (2, "")
        assert bad[0][2:5] in err


def test_without_either_the_document_stays_as_it_was(run, save, rng):
    save("big.png", values(rng, "uint8", 40, 50, 3))
    save("icon.png", values(rng, "uint8", 9, 9, 3))
    document = json.loads(run("match", "big.png", "icon.png", "--format", "json")[1])
    assert not {"min_visible", "channel_weights"} & set(document)


def test_a_flat_image_is_one_where_it_is_visible(rng):
    pixels = values(rng, "uint8", 20, 21, 3)
    levels = np.full((20, 21), 255, np.uint8)
    levels[5:, 3:] = 0
    pixels[levels > 0] = 7, 8, 9
    notices = match(transparent(pixels, levels), pixels[6:10, 6:10]).notices
    assert any(text.startswith("image is flat") for text in notices)


def test_sums_beyond_64_bits_state_what_they_are_off_by(rng):
    for dtype in ("uint8", "uint16"):
        image = values(rng, dtype, 90, 95, 3)
        kernel = image[5:85, 6:86].copy()
        levels = rng.integers(0, 256, (90, 95), dtype=np.uint8)
        levels[0, 0] = 255
        weights = rng.integers(1, 256, (80, 80, 3), dtype=np.uint8)
        visible = metrics.Visibility(levels, 255)
        for metric in ("ssd", "ncc", "zncc"):
            score = metrics.exact(image, kernel, metric, SPAN[dtype], weights, visible)
            truth = [[score(y, x) for x in range(16)] for y in range(11)]
            for exact, largest in ((False, 1e-7), (True, 1e-9)):
                bounds = scored(
                    "fft", image, kernel, weights, visible, metric, (1, 1), 0.1, exact=exact
                )
                assert (np.abs(bounds.map - truth) <= bounds.error).all()
                assert np.max(bounds.error) < largest
            assert score(5, 6) == 1


def test_wide_kernels_of_words_are_counted_in_full():
    """The largest sums there are: of squares of 16 bits, weights and levels of 8."""
    kernel = np.zeros((230, 240, 3), np.uint16)
    image = np.full((231, 240, 3), 65535, np.uint16)
    weights = np.full((230, 240), 255, np.uint8)
    weights[0, 0] = 254
    levels = np.full((231, 240), 255, np.uint8)
    levels[0, 1] = 254
    visible = metrics.Visibility(levels, 255)
    for metric in ("sad", "ssd"):
        assert metrics.exact(image, kernel, metric, 65535, weights, visible)(0, 0) == 0
        for name in ENGINES:
            bounds = scored(name, image, kernel, weights, visible, metric, (1, 1), 0.5)
            assert bounds is None or np.abs(bounds.map).max() <= 1e-9
    square = metrics.exact(image, image[1:], "ncc", 65535, weights, visible)
    assert square(0, 0) == 1
