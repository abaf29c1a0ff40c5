"""What the plan counts of direct sums and of transforms in C."""

from __future__ import annotations

import pytest
from helpers.correlation import VARIANTS
from helpers.correlation import extension as _correlation

from patchsim import Matcher, match
from patchsim.engines import Problem, fft, simd
from patchsim.engines.common import fused_costs, kernel_parts
from patchsim.engines.problem import Products
from patchsim.machine import extensions
from patchsim.planning import planner
from patchsim.search.prepared import KeptKernels

SPAN = {"uint8": 255, "uint16": 65535, "float32": 1}


@pytest.fixture(params=VARIANTS)
def variant(request, monkeypatch):
    monkeypatch.setenv(extensions.VARIANT_SETTING, request.param)
    return request.param


def problem(image, kernel, dtype="uint8", metric="ssd", channels=1, **changes):
    shapes = (*image, channels), (*kernel, channels)
    return Problem(*shapes, dtype, (1, 1), metric, SPAN[dtype], "cpu", 1, **changes)


@pytest.mark.parametrize("dtype", SPAN)
@pytest.mark.parametrize("side", [32, 64])
def test_a_window_more_than_registers_sum_takes_as_long_as_all_that_they_sum(side, dtype, variant):
    taps, tall, wide = _correlation.at_once(variant, fused_costs.FORMATS[dtype])
    if not taps:
        pytest.skip("it sums nothing directly")

    def seconds(rows, cols):
        image = rows + side - 1, cols + side - 1
        return simd.seconds(problem(image, (side, side), dtype, channels=3))

    full = seconds(12 * tall, 6 * wide)
    for rows, cols in ((11 * tall + 1, 6 * wide), (12 * tall, 5 * wide + 1)):
        assert seconds(rows, cols) == pytest.approx(full, rel=0.05)
    assert seconds(12 * tall, 5 * wide) < 0.9 * full


def test_the_time_that_prepares_a_kernel_is_spread_over_the_images():
    def searched(side, count):
        return problem((1200, 1200), (side, side), channels=8, image_count=count)

    def preparing(side, count):
        return fft.start_up(searched(side, count)) - fused_costs.CALL_SECONDS

    assert preparing(32, 8) == pytest.approx(preparing(32, 1) / 8)
    # Of a large kernel it is not: its transforms are made again for each image.
    assert not KeptKernels.has_room(fused_costs.kernel_bytes(searched(900, 8)), 1 << 40)
    assert preparing(900, 8) == preparing(900, 1)


@pytest.mark.parametrize("products", [2, 4, 5, 6, 7])
@pytest.mark.parametrize("side", [96, 128, 160])
def test_a_kernel_of_few_tiles_is_cut_so_that_it_stays_prepared(side, products):
    """Of `sad` within a tolerance, whose values are kept beside the transforms."""
    searched = problem((512, 512), (side, side), "uint8", "sad", channels=3, tolerance=0.02)
    searched = searched._replace(products=Products(products))
    size = fused_costs.kernel_bytes(searched)
    assert KeptKernels.has_room(size, 1 << 40)
    planes, cut = fused_costs.planes_of(searched), fused_costs.cut_of(searched)
    assert kernel_parts.can_stay_prepared(planes, cut.kernel_values)


def test_a_matcher_counts_more_images_than_a_single_search(rng):
    image = rng.integers(0, 256, (90, 100), "uint8")
    kernel = image[20:40, 30:50]
    for metric in ("sad", "ssd", "zncc"):
        once = match(image, kernel, metric=metric).plans[0].problem
        kept = Matcher(kernel, metric=metric)
        assert once.image_count == 1
        assert {kept.match(image).plans[0].problem.image_count for _ in range(3)} == {8}


def test_transforms_that_are_worth_preparing_for_several_images_alone(variant, monkeypatch):
    if not _correlation.at_once(variant, "B")[0]:
        pytest.skip("it sums nothing directly")
    once = problem((512, 512), (32, 32), channels=3)

    def of_transform(seconds):
        costs = seconds, *fused_costs.COSTS[variant][1:]
        monkeypatch.setitem(fused_costs.COSTS, variant, costs)
        return fft.seconds(once)

    # Transforms of which the work takes 0.9 of the time of direct sums.
    least = of_transform(0.0)
    of_transform((0.9 * simd.seconds(once) - least) / (of_transform(1.0) - least))
    assert fft.seconds(once) == pytest.approx(0.9 * simd.seconds(once))

    def engine(image_count):
        asked = once._replace(image_count=image_count)
        return planner.make(asked, engine="auto", device="cpu", memory=1 << 30, resident=0).engine

    assert engine(1) == "simd"
    assert engine(8) == "fft"
