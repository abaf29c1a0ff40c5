"""Exact scores of floats do not depend on how far their values are from 1."""

from __future__ import annotations

from fractions import Fraction
from math import isqrt

import numpy as np
import pytest

from patchsim import metrics
from patchsim.metrics import Kernel, Visibility, window_sums

Y, X = np.divmod(np.arange(12), 4)


@pytest.fixture(params=["c", "numpy"])
def sums(request, monkeypatch):
    """Sums by C, where it was built, and by NumPy."""
    if request.param == "numpy":
        monkeypatch.setattr(window_sums, "extension", lambda: None)
    elif window_sums.extension() is None:
        pytest.skip("the C extension was not built")


def pictures(rng, channels):
    """An image, a kernel cut from it at (1, 2), weights and visibility."""
    image = rng.random((9, 11, channels)) - 0.25
    weights = rng.integers(0, 3, (7, 8), np.uint8)
    levels = rng.integers(0, 4, (9, 11), np.uint8)
    return image, image[1:8, 2:10].copy(), weights, Visibility(levels, 3)


@pytest.mark.usefixtures("sums")
@pytest.mark.parametrize("metric", ["ncc", "zncc"])
@pytest.mark.parametrize("power", [-1000, -540, -300, -210, 300, 540, 1020])
@pytest.mark.parametrize("parts", ["both", "image", "kernel"])
def test_a_power_of_two_changes_no_bit(metric, power, parts, rng):
    for channels in (1, 3):
        image, kernel, weights, visible = pictures(rng, channels)
        # Scaled down, values of 2^-53 of the largest are subnormal.
        image, kernel = np.rint(image * 2**20) / 2**20, np.rint(kernel * 2**20) / 2**20
        other = image if parts == "kernel" else np.ldexp(image, power)
        taps = kernel if parts == "image" else np.ldexp(kernel, power)
        for counts in ({}, {"weights": weights}, {"weights": weights, "visible": visible}):
            usual = metrics.exact(image, kernel, metric, 1.0, **counts)(Y, X)
            assert metrics.exact(other, taps, metric, 1.0, **counts)(Y, X).tolist() == (
                usual.tolist()
            )
            assert usual[6] == 1.0 > np.delete(usual, 6).max()


@pytest.mark.usefixtures("sums")
@pytest.mark.parametrize("metric", ["ncc", "zncc"])
@pytest.mark.parametrize("scale", [1e-310, 1e-160, 1e-110, 1e160, 1e307])
def test_scores_are_those_of_fractions(metric, scale, rng):
    image, kernel, weights, _ = pictures(rng, 1)
    image, kernel = image * scale, kernel * scale
    kernel[2:5] *= 0.5
    found = metrics.exact(image, kernel, metric, 1.0, weights)(1, 3)
    counts = [int(count) for count in weights.ravel()]
    sides = [[Fraction(v) for v in part.ravel()] for part in (image[1:8, 3:11], kernel)]
    if metric == "zncc":
        for side in sides:
            mean = sum(n * v for n, v in zip(counts, side, strict=True)) / sum(counts)
            side[:] = [v - mean for v in side]

    def product(one, other):
        return sum(n * a * b for n, a, b in zip(counts, one, other, strict=True))

    square = product(*sides) ** 2 / (product(sides[0], sides[0]) * product(sides[1], sides[1]))
    root = isqrt(square.numerator * 10**60 // square.denominator) / 10**30
    assert abs(found) == pytest.approx(root, abs=1e-14)


@pytest.mark.usefixtures("sums")
@pytest.mark.parametrize("metric", ["ncc", "zncc"])
def test_what_does_not_count_may_be_of_any_size(metric, rng):
    image, kernel, weights, _ = pictures(rng, 2)
    weights[3, 4] = 0
    usual = metrics.exact(image, kernel, metric, 1.0, weights)(1, 2)
    for power in (0, -600):
        window, taps = np.ldexp(image, power), np.ldexp(kernel, power)
        window[4, 6], taps[3, 4] = 1e300, 1e308
        assert metrics.exact(window, taps, metric, 1.0, weights)(1, 2) == usual == 1.0


@pytest.mark.usefixtures("sums")
@pytest.mark.parametrize("metric", ["ncc", "zncc"])
def test_zeros_score_0_beside_the_smallest_values(metric):
    image = np.zeros((6, 20, 1))
    image[2:4, 10:12, 0] = [[5e-324, 1e-323], [1e-322, 0]]
    exact = metrics.exact(image, image[1:5, 9:13].copy(), metric, 1.0)
    assert exact(np.array([1, 1, 1]), np.array([0, 9, 16])).tolist() == [0.0, 1.0, 0.0]


@pytest.mark.usefixtures("sums")
@pytest.mark.parametrize("scale", [5e-324, 1e-310, 1e-200, 1e200, 1e308])
def test_kernels_of_any_size_have_scores_unless_they_are_flat(scale):
    flat = np.full((4, 5, 1), scale)
    varied = flat.copy()
    varied[1, 2] = 0
    assert metrics.has_scores(Kernel(flat), "ncc")
    assert metrics.has_scores(Kernel(varied), "zncc")
    assert not metrics.has_scores(Kernel(flat), "zncc")
    assert not metrics.has_scores(Kernel(0 * flat), "ncc")
