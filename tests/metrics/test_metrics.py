"""What scores mean: exact scores of windows against the oracle, and kernels without a score."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.problems import SPAN, values
from helpers.truths import oracle_map

import patchsim
from patchsim import InputError, choices, match, metrics
from patchsim.matches import subpixel_fit


@pytest.mark.parametrize("metric", choices.METRICS)
@pytest.mark.parametrize("dtype", SPAN)
@pytest.mark.parametrize("channels", [1, 3])
def test_exact_scores_are_the_oracles(metric, dtype, channels, rng):
    image, kernel = values(rng, dtype, 9, 10, channels), values(rng, dtype, 4, 3, channels)
    score = metrics.exact(image, kernel, metric, SPAN[dtype])
    found = [[score(y, x) for x in range(8)] for y in range(6)]
    np.testing.assert_allclose(found, oracle_map(metric, image, kernel), rtol=0, atol=1e-14)


@pytest.mark.parametrize("metric", choices.METRICS)
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_the_kernel_itself_scores_exactly_1(metric, dtype, rng):
    for size in ((1, 2), (3, 5), (64, 64), (400, 300)):
        kernel = values(rng, dtype, *size, 3)
        assert metrics.exact(kernel, kernel, metric, SPAN[dtype])(0, 0) == 1.0


def test_correlation_ignores_contrast_and_brightness_exactly(rng):
    kernel = values(rng, "uint8", 9, 8, 3) // 4
    for scale in (2, 3):
        brighter = kernel.astype(np.uint16) * scale
        taps = kernel.astype(np.uint16)
        assert metrics.exact(brighter, taps, "ncc", 65535)(0, 0) == 1.0
        assert metrics.exact(brighter + 1000, taps, "zncc", 65535)(0, 0) == 1.0


@pytest.mark.parametrize("dtype", SPAN)
def test_windows_without_contrast_score_0(dtype, rng):
    kernel = values(rng, dtype, 4, 4, 2)
    black = np.zeros((4, 4, 2), dtype)
    grey = np.full((4, 4, 2), SPAN[dtype] * 0.3, dtype)
    assert metrics.exact(black, kernel, "ncc", 1)(0, 0) == 0
    assert metrics.exact(grey, kernel, "ncc", 1)(0, 0) > 0
    assert metrics.exact(black, kernel, "zncc", 1)(0, 0) == 0
    assert metrics.exact(grey, kernel, "zncc", 1)(0, 0) == 0
    one_channel = grey.copy()
    one_channel[..., 1] = values(rng, dtype, 4, 4)
    assert metrics.exact(one_channel, kernel, "zncc", 1)(0, 0) != 0


def test_a_correlation_of_0_has_no_sign():
    scores = metrics.correlation(np.array([-0.0, -1.0, 0.0]), np.array([4.0, 0.0, 4.0]), 9.0)
    assert scores.tolist() == [0, 0, 0]
    assert not np.signbit(scores).any()


def test_a_flat_float_window_may_have_rounding(rng):
    kernel = values(rng, "float64", 5, 5, 1)
    almost = 0.5 + 1e-8 * kernel  # variance about 1e-17, mean square 0.25
    assert metrics.exact(almost, kernel, "zncc", 1)(0, 0) == 0
    assert metrics.exact(0.5 + 1e-4 * kernel, kernel, "zncc", 1)(0, 0) == pytest.approx(1)


@pytest.mark.parametrize("dtype", SPAN)
def test_a_kernel_that_cannot_be_scored_is_refused_and_sad_named(dtype, rng):
    image = values(rng, dtype, 20, 20, 3)
    grey = np.full((4, 4, 3), SPAN[dtype] * 0.4, dtype)
    with pytest.raises(InputError, match=r"kernel is flat.*zncc.*--metric sad"):
        match(image, grey, metric="zncc")
    with pytest.raises(InputError, match=r"kernel is zero everywhere.*ncc.*--metric sad"):
        match(image, 0 * grey, metric="ncc")
    assert match(image, grey, metric="ncc").best.score > 0
    assert match(image, grey, metric="ssd").best.score < 1


def test_an_unknown_metric_is_refused():
    with pytest.raises(InputError, match="metric 'mse' is unknown; there is sad, ssd, ncc, zncc"):
        match(np.zeros((9, 9), np.uint8), np.zeros((3, 3), np.uint8), metric="mse")


def test_every_metric_has_a_formula():
    for metric in choices.METRICS:
        assert metrics.formula_of(metric).correlates == (metric in ("ncc", "zncc"))


@pytest.mark.parametrize("engine", ["auto", "fft"])
def test_a_metric_without_a_formula_is_scored_by_no_other(engine, monkeypatch, rng):
    monkeypatch.setattr(choices, "METRICS", (*choices.METRICS, "new"))
    image = values(rng, "uint8", 12, 12, 1)
    kernel = metrics.Kernel(image[3:8, 2:6])
    message = "metric 'new' has no formula"
    with pytest.raises(NotImplementedError, match=message):
        match(image, kernel.pixels, metric="new", engine=engine)
    for ask in (
        lambda: metrics.exact(image, kernel.pixels, "new", 255),
        lambda: metrics.has_scores(kernel, "new"),
        lambda: metrics.empty_score(kernel, "new", 255),
        lambda: subpixel_fit.locate(image, kernel.pixels, (3, 2), "new"),
        lambda: patchsim.similarity_map(torch.rand(1, 5, 5), torch.rand(1, 2, 2), metric="new"),
    ):
        with pytest.raises(NotImplementedError, match=message):
            ask()
