"""Images that are transparent in places: what is visible is compared, by every engine alike."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import best_matches, score_map
from PIL import Image
from test_masks import METRICS, problem_of, shades
from test_metrics import SPAN, values

from patchsim import InputError, engines, match, metrics
from patchsim.engines import visibility

ENGINES = ("simd", "fft", "unfold")


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
            image, kernel, weights, metric, stride, per_channel=weights.ndim == 3, **options
        )
    if visible is not None:
        problem = problem.where_visible(visible.most, least)
    engine = engines.load(name)
    if engine.refuse(problem) is not None:
        return None
    if visible is None:
        return engine.prepare(kernel, problem, weights)(image)
    return visibility.prepare(engine, kernel, problem, weights)(image, visible.levels)


@pytest.mark.parametrize("visibility_kind", ["holes", "levels"])
@pytest.mark.parametrize("kind", ["none", "mask", "shades", "channels"])
@pytest.mark.parametrize("stride", [(1, 1), (2, 3)])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
@pytest.mark.parametrize("metric", METRICS)
def test_scores_lie_within_their_stated_error_of_the_oracle(
    metric, dtype, channels, stride, kind, visibility_kind, rng
):
    image = values(rng, dtype, 17, 21, channels)
    image[:9, :9] = image[0, 0]  # flat
    kernel = values(rng, dtype, 5, 6, channels)
    weights = weights_of(rng, kind, 5, 6, channels)
    levels = levels_of(rng, visibility_kind, 17, 21)
    visible = metrics.Visible(levels, int(levels.max()))
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
    for name in ENGINES:
        bounds = scored(
            name, image, kernel, weights, visible, metric, stride, 0.3,
            tolerance=0.02 if name == "fft" else 0.0,
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
        if dtype == "uint8" and (name, metric) != ("fft", "sad"):
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
    for name in ENGINES:
        bounds = scored(
            name, image, kernel, weights, None, metric, stride, 0,
            tolerance=0.02 if name == "fft" else 0.0,
        )  # fmt: skip
        if bounds is None:
            continue
        assert (np.abs(bounds.map - np.array(found)) <= bounds.error).all()
        if dtype == "uint8" and (name, metric) != ("fft", "sad"):
            assert np.max(bounds.error) == 0
        tried.append(name)
    assert tried
