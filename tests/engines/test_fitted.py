"""Functions for a kernel's values: what they leave over is what they state, and C takes them."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from helpers.bounds import check
from helpers.correlation import VARIANTS
from helpers.correlation import extension as _correlation
from helpers.photographs import photograph
from helpers.problems import SPAN, problem, values

from patchsim import Matcher, match
from patchsim.engines import fft, simd
from patchsim.engines.common import fitted, lowrank, sad_terms
from patchsim.machine import extensions
from patchsim.metrics import Kernel

TOLERANCE = 0.02


@pytest.fixture(params=VARIANTS)
def variant(request, monkeypatch):
    monkeypatch.setenv(extensions.VARIANT_SETTING, request.param)
    return request.param


def kernel_of(kind, rng):
    """A kernel of bytes with values of some kind."""
    if kind == "photograph":
        return photograph("astronaut")[210:274, 10:60].copy()
    if kind == "noise":
        return values(rng, "uint8", 30, 40, 3)
    if kind == "two values":
        return rng.choice([3, 250], (21, 23, 1)).astype(np.uint8)
    if kind == "a flat channel":
        kernel = values(rng, "uint8", 20, 20, 3) // 4
        kernel[..., 1] = 77
        return kernel
    if kind == "flat":
        return np.full((7, 9, 2), 200, np.uint8)
    peak = rng.normal(90, 6, (40, 40, 1))
    peak[0, :2, 0] = 0, 255
    return peak.clip(0, 255).astype(np.uint8)


KINDS = ("photograph", "noise", "two values", "a flat channel", "flat", "a peak")


def in_type(kernel, dtype):
    return (kernel * (SPAN[dtype] / 255)).astype(dtype)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_stated_error_is_that_of_the_worst_pixels(kind, dtype, rng):
    """Each pixel of the kernel meets the value of which |a-b| is off by most."""
    kernel = in_type(kernel_of(kind, rng), dtype)
    limit = (0.03 if kind == "noise" else TOLERANCE) * SPAN[dtype]
    fit = fitted.of(kernel, limit, 16)
    assert fit.products >= 4 or kind != "noise"
    assert fit.residual <= limit * kernel.size
    taps, offset = fit.taps(kernel)
    taps = taps.reshape(fit.products, kernel.shape[2], -1)
    worst = np.zeros(2)  # sums that are too large, and too small
    for channel, pixels in enumerate(kernel.reshape(-1, kernel.shape[2]).T.astype(np.float64)):
        middle, half = fit.middles[channel], fit.halves[channel]
        a = np.concatenate([np.linspace(-0.2, 1.2, 2001) * SPAN[dtype], np.unique(pixels)])
        at = ((a - middle) / half).clip(-1, 1) if half else np.zeros_like(a)
        knots = np.linspace(-1, 1, fitted.KNOTS)
        own, *of_image = (np.interp(at, knots, curve) for curve in fit.curves[channel])
        outside = np.maximum(np.abs(a - middle) - half, 0)
        sums = np.array(of_image).T @ taps[:, channel] + (own + outside)[:, None]
        off = sums - np.abs(a[:, None] - pixels)  # but for the offset, which is one for all
        worst += off.max(axis=0).sum(), off.min(axis=0).sum()
    errors = worst[0] + offset, -(worst[1] + offset)
    assert max(errors) <= fit.residual * (1 + 1e-9) + 1e-6 * limit
    assert max(errors) >= 0.9 * fit.residual - 1e-6 * limit or dtype != "uint8"


@pytest.mark.parametrize("kind", KINDS)
def test_fewest_products_are_taken(kind, rng):
    kernel, limit = kernel_of(kind, rng), (0.03 if kind == "noise" else TOLERANCE) * 255
    fit = fitted.of(kernel, limit, fitted.MOST_PRODUCTS)
    assert fitted.of(kernel, limit, fit.products - 1) is None
    expected = fitted.expected_products(kernel, limit, fitted.MOST_PRODUCTS)
    assert abs(expected - fit.products) <= 1


def test_photographs_need_fewer_products_than_any_kernel():
    """A fourth of 60 kernels need half as many, nine of ten fewer."""
    image = photograph("astronaut")
    fewer = []
    for top in range(0, 440, 45):
        for left in range(0, 440, 80):
            kernel = Kernel(image[top : top + 64, left : left + 64].copy())
            work = problem(image, kernel.pixels, "sad", tolerance=TOLERANCE)
            waves = lowrank.range_of(kernel, work).products
            fit = fitted.of(kernel.pixels, TOLERANCE * 255, waves)
            fewer.append(1.0 if fit is None else fit.products / waves)
    assert len(fewer) == 60
    assert np.mean(np.array(fewer) <= 0.5) > 1 / 4
    assert np.mean(np.array(fewer) < 1) > 0.9
    assert np.mean(fewer) < 0.7


def fitted_problem(image, kernel, stride=(1, 1), tolerance=TOLERANCE):
    work = problem(image, kernel, "sad", stride, tolerance=tolerance)
    return sad_terms.counted(work, Kernel(kernel), "exact", "always")


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("kind", ["photograph", "a flat channel", "flat", "a peak"])
@pytest.mark.parametrize("stride", [(1, 1), (2, 3)])
@pytest.mark.usefixtures("variant")
def test_maps_are_within_the_tolerance(kind, dtype, stride, rng):
    kernel = in_type(kernel_of(kind, rng), dtype)
    height, width, channels = kernel.shape
    image = in_type(photograph("astronaut")[50:150, 170:290, :channels], dtype)
    image[3 : 3 + height, 5 : 5 + width] = kernel
    work = fitted_problem(image, kernel, stride)
    assert work.products.is_fitted
    bounds = fft.prepare(kernel, work)(image)
    exact = simd.prepare(kernel, work._replace(tolerance=0.0))(image)
    check(bounds, exact.map, error=TOLERANCE)
    assert bounds.error <= TOLERANCE * 1.001


@pytest.mark.parametrize(("height", "width"), [(90, 75), (1, 1), (1, 300), (300, 290)])
def test_sizes_and_parts(height, width):
    image = photograph("astronaut")[:, :, 1:2][100:420, 90:420].copy()
    kernel = image[11 : 11 + height, 13 : 13 + width].copy()
    work = fitted_problem(image, kernel)
    bounds = fft.prepare(kernel, work)(image)
    exact = simd.prepare(kernel, work._replace(tolerance=0.0))(image)
    check(bounds, exact.map, error=TOLERANCE)


def test_hot_pixels_and_values_far_outside():
    """What lies outside the kernel's range is summed beside the curves."""
    image = photograph("astronaut")[..., :1].copy() // 8 + 100
    kernel = image[40:90, 60:110].copy()
    image[::7, ::5], image[1::7, ::5] = 0, 255
    work = fitted_problem(image, kernel)
    assert work.products.each <= 2
    check(
        fft.prepare(kernel, work)(image),
        simd.prepare(kernel, work._replace(tolerance=0.0))(image).map,
        error=TOLERANCE,
    )


def test_when_functions_are_fitted():
    """Once images are alike, or have pixels enough; not for masks and images partly visible."""
    image, kernel = photograph("astronaut"), photograph("astronaut")[210:274, 10:74].copy()
    work, given = problem(image, kernel, "sad", tolerance=TOLERANCE), Kernel(kernel)
    many = work._replace(image_count=99)
    waves = lowrank.range_of(given, work).products
    fits = [
        sad_terms.counted(many, given, "exact", fitting) for fitting in ("worthwhile", "always")
    ]
    assert fits[0] == fits[1]
    assert fits[0].products.is_fitted
    assert fits[0].products.each < waves
    weights = np.full((64, 64), 3, np.uint8)
    weights[0, 0] = 0
    weighted = work._replace(weight_sum=int(weights.sum()), max_weight=3)
    for one, of_kernel, fitting in (
        (many, given, "never"),
        (work, given, "worthwhile"),
        (many._replace(opaque_level=255), given, "always"),
        (weighted, Kernel(kernel, weights), "always"),
    ):
        waves = lowrank.range_of(of_kernel, one).products
        assert sad_terms.counted(one, of_kernel, "exact", fitting).products == (waves, False)
    for fitting, fewest in (("always", 1), ("never", lowrank.FEWEST_PRODUCTS)):
        assert sad_terms.counted(work, given, "fewest", fitting).products == (fewest, False)
    expected = sad_terms.counted(work, given, "expected", "always").products
    assert not expected.is_fitted
    assert abs(expected.each - fits[0].products.each) <= 1


@pytest.mark.parametrize("engine", ["auto", "fft"])
def test_a_matcher_fits_functions_once_images_are_alike(engine):
    image = photograph("astronaut")[150:400, :300].copy()
    kernel = image[60:124, 10:74].copy()
    exact = match(image, kernel, map=True, top=3)
    kept = Matcher(kernel, tolerance=TOLERANCE, top=3, engine=engine)
    reports = [kept.match(image, map=True) for _ in range(4)]
    for report in reports:
        assert report.matches == exact.matches
        assert np.abs(report.map - exact.map).max() <= TOLERANCE
    if engine == "fft":
        counts = [report.plans[0].problem.products for report in reports]
        assert [products.is_fitted for products in counts] == [False, True, True, True]
        assert counts[1].each < counts[0].each


def test_knots_are_those_of_the_extension():
    assert fitted.KNOTS == _correlation.KNOTS


def test_kernels_beside_each_other_share_functions():
    image = photograph("astronaut")
    kernels = [image[i : i + 40, i : i + 40].copy() for i in (10, 200, 300)]
    options = {"tolerance": TOLERANCE, "top": 2, "map": True}
    several = match(np.tile(image, (2, 2, 1)), kernels, engine="fft", **options)
    assert not any(plan.problem.products.is_fitted for plan in several.plans)
    exact = match(np.tile(image, (2, 2, 1)), kernels, **options | {"tolerance": 0.0})
    assert several.matches == exact.matches


def test_a_masked_kernel_of_floats_beside_another():
    """No products are within the tolerance for it, whatever the other kernel takes."""
    image = (photograph("astronaut") / 255).astype(np.float32)
    mask = np.zeros((60, 60, 3), bool)
    mask[:20, :20] = True
    kernels = [image[210:270, 10:70].copy(), np.ma.masked_array(image[300:360, 300:360], mask)]
    options = {"map": True, "margin": False, "per_kernel": True, "top": 1}
    found = match(image, kernels, tolerance=TOLERANCE, **options)
    assert found.matches == match(image, kernels, **options).matches


def test_images_and_channels_that_the_extension_does_not_take_are_not_fitted():
    colors = photograph("astronaut")
    alpha = np.full(colors.shape[:2], 255, np.uint8)
    alpha[:90, :90] = 0
    shown = np.dstack([colors, alpha])
    report = match(shown, colors[210:274, 10:74], engine="fft", tolerance=TOLERANCE, map=True)
    assert not report.plans[0].problem.products.is_fitted
    many = np.repeat(colors[..., :1] // 8, sad_terms.MOST_CHANNELS + 1, axis=2)
    work = problem(many, many[:30, :30], "sad", tolerance=TOLERANCE)
    assert not sad_terms.counted(work, Kernel(many[:30, :30]), "exact", "always").products.is_fitted


def test_preparing_takes_no_more_than_is_planned(rng):
    kernel = rng.integers(0, 65536, (900, 900, 1)).astype(np.uint16)
    limit = 0.2 * 65535
    fit = fitted.of(kernel, limit, 5)
    tracemalloc.start()
    fit.taps(kernel)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < (8 * fit.products + 1) * kernel.size + 4e6
