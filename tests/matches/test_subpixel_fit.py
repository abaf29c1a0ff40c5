"""Registration of analytic pictures whose shift is known: noise, memory, weights."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.scenes import waves

from patchsim.choices import METRICS
from patchsim.matches.subpixel_fit import locate


@pytest.mark.parametrize("shift", [(-0.5, 0.5), (0.49, -0.49), (0.0, 0.25), (-0.1, 0.02)])
def test_shifts_of_either_sign_have_no_bias_to_the_middle(shift, rng):
    """Noise as large as the texture's gradient, over many pixels: what a bias would show in."""
    image = waves(180, 180)
    kernel = waves(140, 140, top=20 + shift[0], left=20 + shift[1])
    image, kernel = (p + rng.normal(0, 0.05, p.shape) for p in (image, kernel))
    found = locate(image, kernel, (20, 20), "ssd")
    assert found == pytest.approx((20 + shift[0], 20 + shift[1]), abs=0.02)


def test_little_memory_gives_the_same(rng):
    image, kernel = waves(200, 210, 3), waves(150, 140, 3, top=20.3, left=33.6)
    image, kernel = (p + rng.normal(0, 0.01, p.shape) for p in (image, kernel))
    whole = locate(image, kernel, (20, 34), "zncc")
    for memory in (1, 10**6, 10**9):
        assert locate(image, kernel, (20, 34), "zncc", memory=memory) == whole


@pytest.mark.parametrize("metric", METRICS)
def test_pixels_of_no_weight_do_not_count(metric, rng):
    image, kernel = waves(70, 80, 3), waves(30, 35, 3, top=20.3, left=33.6)
    weights = np.zeros((30, 35))
    weights[4:25, 5:31] = 1
    weights[10:14, 10:20] = 0
    clean = locate(image, kernel, (20, 34), metric, weights)
    assert clean == pytest.approx((20.3, 33.6), abs=0.01)
    for garbage in (0, rng.random(kernel.shape)):
        other = np.where(weights[..., None] > 0, kernel, garbage)
        assert locate(image, other, (20, 34), metric, weights) == clean
    assert locate(image, kernel, (20, 34), metric, np.zeros((30, 35))) is None
    even = locate(image, kernel, (20, 34), metric, np.ones((30, 35)))
    assert even == locate(image, kernel, (20, 34), metric)
