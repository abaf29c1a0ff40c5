"""Kernels with masks: every engine against the oracle."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from helpers.grids import thinned
from helpers.problems import METRICS, SPAN, problem_of, shades, values
from oracle import best_matches, score_map
from PIL import Image

from patchsim import InputError, choices, engines, match, metrics
from patchsim.engines import fft
from patchsim.engines.common import fused_weighted
from patchsim.geometry import tiles
from patchsim.pictures import reader
from patchsim.scene import masks

ENGINES = ("simd", "fft", "unfold")


@thinned(
    kind=["mask", "shades"],
    stride=[(1, 1), (2, 3)],
    channels=[1, 3],
    dtype=["uint8", "uint16", "float32", "float64"],
    metric=METRICS,
)
def test_scores_lie_within_their_stated_error_of_the_oracle(
    metric, dtype, channels, stride, kind, rng
):
    image = values(rng, dtype, 19, 23, channels)
    image[:9, :9] = image[0, 0]  # flat
    kernel = values(rng, dtype, 5, 6, channels)
    weights = shades(rng, kind, 5, 6)
    expected = np.array(
        score_map(metric, image.tolist(), kernel.tolist(), stride, SPAN[dtype], weights.tolist())
    )
    score = metrics.exact(image, kernel, metric, SPAN[dtype], weights)
    rows, cols = expected.shape
    found = [[score(r * stride[0], c * stride[1]) for c in range(cols)] for r in range(rows)]
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-13)
    tried = []
    for name in ENGINES:
        problem = problem_of(
            image, kernel, weights, metric, stride, tolerance=0.02 if name == "fft" else 0.0
        )
        if engines.load(name).refuse(problem) is not None:
            continue
        bounds = engines.load(name).prepare(kernel, problem, weights)(image)
        assert np.isfinite(bounds.map).all()
        assert np.abs(bounds.map).max() <= 1
        assert (np.abs(bounds.map - np.array(found)) <= bounds.error).all()
        if name == "fft":
            assert np.max(bounds.error) <= problem.tolerance
        elif dtype == "uint8":
            assert np.max(bounds.error) == 0
            np.testing.assert_array_equal(bounds.map, found)
        tried.append(name)
    assert tried


def test_which_engines_take_which_masks(rng):
    image, kernel = values(rng, "uint8", 40, 40, 1), values(rng, "uint8", 8, 8, 1)
    for kind in ("mask", "shades"):
        problem = problem_of(image, kernel, shades(rng, kind, 8, 8), "sad", (1, 1))
        able = [n for n in choices.ENGINES if engines.load(n).refuse(problem) is None]
        assert able == ["simd", "unfold"]


@pytest.mark.parametrize("kind", ["mask", "shades"])
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("seed", range(6))
def test_every_engine_reports_the_oracles_matches(seed, metric, kind):
    rng = np.random.default_rng(seed)
    levels = rng.choice([2, 5, 256])  # few: many ties
    image = (rng.integers(0, levels, (22, 25, 1)) * (255 // (levels - 1))).astype(np.uint8)
    kernel = image[4:9, 7:13].copy()
    weights = shades(rng, kind, 5, 6)
    if (metric == "zncc" and np.ptp(kernel[weights > 0]) == 0) or (
        metric == "ncc" and not kernel[weights > 0].any()
    ):
        return
    score = metrics.exact(image, kernel, metric, 255, weights)
    scores = [[score(y, x) for x in range(20)] for y in range(18)]
    wanted = best_matches([scores], [(5, 6)], (1, 1), 7, None, 0.3)
    mask = weights * np.uint8(255 // weights.max())
    for name in ("auto", *ENGINES):
        for tolerance in (0.0, 0.1):
            problem = problem_of(image, kernel, weights, metric, (1, 1), tolerance=tolerance)
            if name != "auto" and engines.load(name).refuse(problem) is not None:
                continue
            found = match(
                image, kernel, mask=mask, metric=metric, engine=name, top=7, tolerance=tolerance
            )
            assert [(m.x, m.y, m.score) for m in found.matches] == [
                (x, y, score) for x, y, _, _, score, _ in wanted
            ]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_a_mask_of_one_shade_changes_nothing(metric, dtype, rng):
    image = values(rng, dtype, 30, 31, 3)
    kernel = image[4:12, 5:14].copy()
    plain = match(image, kernel, metric=metric, map=True)
    for shade in (1, 77, 255):
        masked = match(
            image, kernel, metric=metric, map=True, mask=np.full((8, 9), shade, np.uint8)
        )
        assert masked.matches == plain.matches
        np.testing.assert_array_equal(masked.map, plain.map)


@pytest.mark.parametrize("metric", ["ncc", "zncc"])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_masked_correlations_are_bounded_on_flat_and_nearly_flat_windows(metric, dtype, rng):
    image = np.full((40, 44, 1), 200, np.uint8)
    image[20:, 20:] += rng.integers(0, 2, (20, 24, 1), dtype=np.uint8)
    image[:10] = 0
    kernel = values(rng, "uint8", 7, 9, 1)
    if dtype == "float32":
        image, kernel = image / np.float32(255), kernel / np.float32(255)
    mask = np.zeros((7, 9), np.uint8)
    mask[2:5, 1:7] = 255
    found = match(image, kernel, metric=metric, mask=mask, map=True)
    assert np.isfinite(found.map).all()
    assert np.abs(found.map).max() <= 1
    assert found.map[0, 0] == 0


def test_transparent_pixels_of_a_kernel_do_not_count(save, run, rng):
    image = values(rng, "uint8", 60, 80, 3)
    kernel = image[20:36, 30:50].copy()
    alpha = np.zeros((16, 20), np.uint8)
    alpha[3:13, 4:16] = 255
    image[21, 31] ^= 255  # under a transparent pixel
    kernel[0] = 0
    save("icon.png", np.dstack([kernel, alpha]))
    save("big.png", image)
    code, out, err = run("match", "big.png", "icon.png", "--top", "1", "--no-heatmap")
    assert code == 0
    assert out.splitlines()[1].split("\t")[:5] == ["30", "20", "20", "16", "1.0"]
    assert err == ""
    _, out, err = run(
        "match", "big.png", "icon.png", "--top", "1", "--no-heatmap", "--ignore-alpha"
    )
    assert float(out.splitlines()[1].split("\t")[4]) < 1
    assert "transparent pixels; alpha is ignored" in err


def picture(pixels, name="kernel", alpha=None):
    return reader.Picture(name, pixels, alpha=alpha)


def test_weights_have_no_common_factor_and_a_mask_replaces_alpha(rng):
    kernel = picture(
        values(rng, "uint8", 2, 3, 1), alpha=np.array([[0, 100, 200]] * 2, dtype=np.uint8)
    )
    found = masks.kernel_weights(kernel, None, ignore_alpha=False)
    np.testing.assert_array_equal(found, [[0, 1, 2]] * 2)
    assert masks.kernel_weights(kernel, None, ignore_alpha=True) is None
    mask = picture(np.array([[[255], [0], [255]]] * 2, dtype=np.uint8), "mask")
    np.testing.assert_array_equal(
        masks.kernel_weights(kernel, mask, ignore_alpha=False), [[1, 0, 1]] * 2
    )


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
def test_masks_of_all_types_mean_the_same(dtype, rng):
    kernel = picture(values(rng, "uint8", 2, 3, 1))
    shade = np.array([[0, 51, 255]] * 2)[..., None] / 255
    scaled = shade * SPAN[dtype] if dtype.startswith("u") else shade
    found = masks.kernel_weights(kernel, picture(scaled.astype(dtype), "mask"), ignore_alpha=False)
    np.testing.assert_array_equal(found, [[0, 1, 5]] * 2)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.zeros((8, 9), np.uint8), "black everywhere"),
        (np.ones((9, 8), bool), "mask is 8x9 pixels, kernel 9x8"),
        (np.arange(8 * 9 * 3, dtype=np.uint8).reshape(8, 9, 3), "is in colour"),
        (np.full((8, 9), 1.5), "mask has values from 1.5 to 1.5, outside 0 to 1;\nscale them"),
        (np.arange(-1, 71).reshape(8, 9) / 70, "mask has values from -0.014.* to 1, outside"),
        (np.full((8, 9), 255, np.int16), "mask has values from 255 to 255, outside 0 to 1"),
        (np.pad([[np.nan]], ((2, 5), (3, 5))), "mask has a value nan at x=3, y=2; give numbers"),
        (np.zeros((8, 0)), r"mask is empty: it has the shape \[8, 0\]"),
        ("missing.png", "missing.png"),
    ],
)
def test_masks_that_are_none(mask, message, rng):
    image = values(rng, "uint8", 30, 31, 3)
    with pytest.raises(InputError, match=message):
        match(image, image[:8, :9], mask=mask)


def test_a_kernel_without_a_visible_pixel_is_refused(rng):
    image = Image.fromarray(values(rng, "uint8", 30, 31, 3))
    kernel = image.crop((0, 0, 9, 8))
    kernel.putalpha(0)
    with pytest.raises(InputError, match=r"transparent everywhere.*ignore-alpha"):
        match(image, kernel)
    assert match(image, kernel, ignore_alpha=True).best.score == 1


@pytest.mark.parametrize("metric", ["ncc", "zncc"])
def test_a_kernel_that_is_flat_where_it_counts_has_no_correlation(metric, rng):
    image = values(rng, "uint8", 30, 31, 1)
    kernel = image[:8, :9].copy()
    kernel[:4] = 0
    mask = np.zeros((8, 9), np.uint8)
    mask[:4] = 255
    with pytest.raises(InputError, match="where its mask lets it count"):
        match(image, kernel, metric=metric, mask=mask)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("size", [(300, 320, 64), (300, 300, 5), (500, 500, 333)])
def test_a_tile_takes_no_more_memory_than_planned(dtype, metric, size, rng):
    import scipy.fft  # noqa: F401 - what an import keeps is not the tile's

    height, width, side = size
    image = values(rng, dtype, height, width, 3)
    kernel = image[:side, :side].copy()
    weights = shades(rng, "shades", side, side)
    problem = problem_of(image, kernel, weights, metric, (1, 1), tolerance=0.02)
    if fft.refuse(problem) is not None:
        assert (metric, dtype) == ("sad", "float32")
        return
    tile = next(tiles.split(problem.map_shape, fft.best_tile(problem)))
    tracemalloc.start()
    try:
        fft.prepare(kernel, problem, weights)(image[tile.source((side, side), (1, 1))])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    planned = fft.working_bytes(problem, tile.rows, tile.cols)
    planned += engines.Bounds.estimate_bytes(tile.rows, tile.cols)
    assert peak <= planned
    if fused_weighted.refusal(problem) is None:  # what C allocates is not traced
        windows = tile.rows, tile.cols
        peak += fused_weighted.working_bytes(problem, *windows)
        peak += engines.Bounds.estimate_bytes(*windows) - 4 * tile.rows * tile.cols
        peak -= fused_weighted.kernel_bytes(problem)
    assert 0.3 * planned < peak


@pytest.mark.parametrize("scale", [1, 0.05, 0.002])
def test_only_the_ratios_of_shades_count(scale, rng):
    shade = np.exp(-np.linspace(0, 2, 30).reshape(5, 6))
    kernel = picture(values(rng, "uint8", 5, 6, 1))
    found = masks.kernel_weights(
        kernel, picture((shade * scale)[..., None], "mask"), ignore_alpha=False
    )
    np.testing.assert_array_equal(found, np.rint(shade * 255))
    deep = np.rint(shade * scale * 65535).astype(np.uint16)
    found = masks.kernel_weights(kernel, picture(deep[..., None], "mask"), ignore_alpha=False)
    assert np.abs(found / found.max() - deep / deep.max()).max() <= 0.5 / 255
