"""What share of the windows a threshold asks for, and what the plan makes of it."""

from __future__ import annotations

import numpy as np
import pytest

from patchsim import match

SIDE = 32


def planned(image, kernel, **options):
    return match(image, kernel, margin=False, **options).plans[0]


def halves(rng, share):
    """A picture of noise, of whose windows this share is almost black, and a black kernel."""
    image = rng.integers(0, 256, (600, 610, 3), np.uint8)
    image[:, : int((610 - SIDE) * share) + SIDE] //= 64
    return image, np.zeros((SIDE, SIDE, 3), np.uint8)


@pytest.mark.parametrize("metric", ["sad", "ssd"])
@pytest.mark.parametrize("share", [0.5, 0.25])
def test_the_share_is_estimated(metric, share, rng):
    image, kernel = halves(rng, share)
    plan = planned(image, kernel, metric=metric, threshold=0.9)
    assert plan.problem.share_wanted == share


def test_nothing_is_estimated_where_the_number_of_matches_is_given_or_few_reach_it(rng):
    image, kernel = halves(rng, 0.5)
    for options in ({"threshold": 0.9, "top": 5}, {"top": 5}, {}):
        assert planned(image, kernel, **options).problem.share_wanted == 0
    noise = rng.integers(0, 256, (600, 610, 3), np.uint8)
    plan = planned(noise, noise[40:72, 50:82], threshold=0.9)
    assert plan.problem.share_wanted == 0
    assert plan.engine == "pruned"
    hangs_over = planned(noise[:10, :10], noise[40:72, 50:82], threshold=0.2, padding="zero")
    assert hangs_over.problem.share_wanted == 0


@pytest.mark.parametrize("metric", ["sad", "ssd"])
def test_where_many_windows_are_wanted_a_map_is_planned_and_the_matches_are_the_same(metric, rng):
    image, kernel = halves(rng, 0.5)
    few = match(image, kernel, metric=metric, threshold=0.9, top=3)
    assert few.plans[0].engine == "pruned"
    many = match(image, kernel, metric=metric, threshold=0.9)
    assert many.plans[0].engine != "pruned"
    bounds = match(image, kernel, metric=metric, threshold=0.9, engine="pruned")
    assert bounds.plans[0].engine == "pruned"
    assert many.matches == bounds.matches
    assert len(many.matches) > 100


def test_kernels_of_one_size_are_searched_together_whatever_is_wanted_of_each(rng):
    image, kernel = halves(rng, 0.5)
    other = rng.integers(0, 256, kernel.shape, np.uint8)
    report = match(image, [kernel, other], threshold=0.9)
    shares = sorted(plan.problem.share_wanted for plan in report.plans)
    assert shares == [0.25] or shares == [0.0, 0.5]
    alone = [match(image, one, threshold=0.9) for one in (kernel, other)]
    assert len(report.matches) == sum(len(one.matches) for one in alone)
