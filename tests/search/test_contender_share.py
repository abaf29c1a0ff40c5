"""What share of the blocks is to be ranked within a tolerance, and what the plan makes of it."""

from __future__ import annotations

import numpy as np
import pytest
from skimage import data

from patchsim import match
from patchsim.engines.common import lowrank
from patchsim.search import window_sample

SIDE = 64


def planned(image, kernel, **options):
    return match(image, kernel, map=True, tolerance=0.02, threads=1, **options).plans[0]


def noise(rng, low=0, high=65536):
    return rng.integers(low, high, (512, 520), np.uint16)


@pytest.mark.parametrize("ends", [(0, 65536), (30000, 31000)], ids=["noise", "flat"])
def test_where_all_blocks_are_open_the_plan_is_that_of_an_exact_map(ends, rng):
    image = noise(rng, *ends)
    kernel = image[100 : 100 + SIDE, 90 : 90 + SIDE][::-1]
    report = match(image, kernel, map=True, tolerance=0.02, threads=1)
    exactly = match(image, kernel, map=True, threads=1)
    assert report.plans[0].problem.open_share == 1
    assert report.plans[0].engine == exactly.plans[0].engine == "simd"
    assert report.matches == exactly.matches
    np.testing.assert_array_equal(report.maps[0], exactly.maps[0])


@pytest.mark.parametrize("part", [0.25, 0.5, 0.75])
def test_the_share_is_that_of_the_blocks_which_score_alike(part, rng):
    image = np.zeros((600, 1200), np.uint16)
    edge = int(1200 * part)
    image[:, :edge] = rng.integers(0, 65536, (600, edge), np.uint16)
    kernel = rng.integers(0, 65536, (SIDE, SIDE), np.uint16)
    scores = match(image, kernel, map=True).maps[0]
    blocks = [
        scores[y : y + 64, x : x + 64].max()
        for y in range(0, scores.shape[0], 64)
        for x in range(0, scores.shape[1], 64)
    ]
    alike = np.mean(np.array(blocks) > max(blocks) - 0.02)
    assert abs(planned(image, kernel).problem.open_share - alike) <= 1 / 8


def test_photographs_keep_the_approximate_map_and_the_matches_are_exact():
    image = data.camera().astype(np.uint16) * 257
    kernel = image[100 : 100 + SIDE, 200 : 200 + SIDE]
    report = match(image, kernel, map=True, tolerance=0.02, threads=1)
    assert report.plans[0].engine == "fft"
    assert 0 < report.plans[0].problem.open_share < 0.5
    assert report.matches == match(image, kernel, map=True, threads=1).matches


def test_the_share_is_halved_where_the_best_match_alone_is_wanted(rng):
    image = noise(rng)
    kernel = image[100 : 100 + SIDE, 90 : 90 + SIDE][::-1]
    assert planned(image, kernel, top=1, margin=False).problem.open_share == 0.5
    assert planned(image, kernel, top=1, margin=True).problem.open_share == 1
    assert planned(image, kernel, top=2, margin=False).problem.open_share == 1


def test_nothing_is_estimated_where_no_engine_is_chosen_or_windows_are_hidden(rng):
    image = noise(rng)
    kernel = image[100 : 100 + SIDE, 90 : 90 + SIDE][::-1]
    forced = planned(image, kernel, engine="fft")
    assert forced.engine == "fft"
    assert forced.problem.open_share == 0
    assert match(image, kernel, map=True, threads=1).plans[0].problem.open_share == 0
    pixels = rng.integers(0, 256, (1080, 1200, 4), np.uint8)
    assert planned(pixels, pixels[:128, :128, :3]).problem.open_share == 0


def test_few_blocks_are_ranked_where_next_to_none_of_the_sample_is_open():
    image = data.camera().astype(np.uint16) * 257
    kernel = image[100 : 100 + SIDE, 200 : 200 + SIDE]
    plan = planned(image, kernel, top=1, margin=False)
    assert plan.engine == "fft"
    assert plan.problem.open_share == 1 / 32


def test_the_share_grows_with_the_number_of_places_that_are_ranked():
    image = data.camera().astype(np.uint16) * 257
    kernel = image[100 : 100 + SIDE, 200 : 200 + SIDE]
    shares = [planned(image, kernel, top=top).problem.open_share for top in (1, 5, 25)]
    assert shares[0] < shares[1] < shares[2]


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_the_pixels_are_not_looked_at_for_an_engine_that_is_not_chosen(dtype, monkeypatch):
    """A search by bounds takes no longer with a tolerance than without."""
    image = (data.camera() / 255 * (65535 if dtype is np.uint16 else 1)).astype(dtype)
    kernel = image[100 : 100 + SIDE, 200 : 200 + SIDE]
    looked: list[str] = []
    watched = (lowrank, "range_of"), (window_sample, "of")
    for module, name in watched:
        monkeypatch.setattr(module, name, counting(getattr(module, name), looked))
    options = {"tolerance": 0.02, "top": 1, "margin": False, "threads": 1}
    assert match(image, kernel, **options).plans[0].engine == "pruned"
    assert not looked
    assert match(image, kernel, map=True, **options).plans[0].engine == "fft"
    assert set(looked) == {name for _, name in watched}


def counting(function, calls):
    def counted(*arguments, **options):
        calls.append(function.__name__)
        return function(*arguments, **options)

    return counted


def test_kernels_that_are_searched_together_have_the_mean_of_their_shares(rng):
    image = data.camera().astype(np.uint16) * 257
    sharp = image[100 : 100 + SIDE, 200 : 200 + SIDE]
    sky = rng.integers(0, 65536, sharp.shape, np.uint16)
    shares = [planned(image, kernel, top=1).problem.open_share for kernel in (sharp, sky)]
    plans = match(image, [sharp, sky], map=True, tolerance=0.02, threads=1, top=1).plans
    assert len({plan.engine for plan in plans}) == 1
    assert shares[0] != shares[1]
    assert {plan.problem.open_share for plan in plans} == {sum(shares) / 2}
