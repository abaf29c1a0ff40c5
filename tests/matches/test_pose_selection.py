"""Matches among fitted poses: overlaps in closed form, one thing one match, margins, one scale."""

from __future__ import annotations

import math

import numpy as np
import pytest

from patchsim.matches.pose_selection import Candidate, apart, best_scale, overlap, select
from patchsim.poses.pose import Pose
from patchsim.registration import Fitted


def at(x, y, score, scale=1.0, angle=0.0, *, size=(10, 10), number=0, plain=0.5):
    fitted = Fitted(x, y, Pose(scale, angle), score, size)
    return Candidate(number, fitted, float(math.prod(size)), plain)


def of(first, second):
    return overlap(first, second)


def test_poses_of_one_scale_overlap_by_intersection_over_union():
    assert of(at(0, 0, 1), at(4, 5, 1)) == pytest.approx(30 / 170)
    assert of(at(0, 0, 1), at(0, 0, 1)) == pytest.approx(1)
    assert of(at(0, 0, 1), at(10, 0, 1)) == 0
    eighth = 8 * math.tan(math.pi / 8) * 25  # a regular octagon
    assert of(at(0, 0, 1), at(0, 0, 1, angle=45)) == pytest.approx(eighth / (200 - eighth))
    # Of another kernel, too: nine pixels of a hundred.
    assert of(at(0, 0, 1), at(0, 0, 1, size=(3, 3))) == pytest.approx(0.09)


def test_long_frames_side_by_side_at_an_angle_do_not_overlap():
    # Their upright boxes would share most of their union.
    first, second = (at(x, 0, 1, angle=45, size=(4, 40)) for x in (0, 6))
    assert of(first, second) == 0


def test_a_small_pose_inside_a_large_one_overlaps_all_of_it():
    large = at(50, 50, 0.9, scale=4)
    assert of(at(60, 42, 1), large) == of(large, at(60, 42, 1)) == 1
    half = at(70, 50, 1)  # over the border of the large one
    assert of(half, large) == pytest.approx(50 / 150)


def test_the_overlap_hardly_changes_from_scale_to_scale():
    shifted = at(5, 0, 1)
    assert of(at(0, 0, 1, scale=1.0001), shifted) == pytest.approx(1 / 3, abs=1e-3)


def test_the_best_that_do_not_overlap_are_taken_in_one_order():
    found = apart([at(20, 5, 0.9), at(5, 5, 0.9), at(6, 5, 0.95), at(20, 30, 0.8)], 0.3)
    assert [(c.fitted.x, c.score) for c in found] == [(6, 0.95), (20, 0.9), (20, 0.8)]
    # Equal scores rank by y, then x, then the kernel.
    equal = [at(x, y, 0.9, number=n) for x, y, n in ((9, 40, 0), (50, 3, 0), (9, 3, 1), (9, 3, 0))]
    ranked = apart(equal, 1.0)
    assert [(c.fitted.y, c.fitted.x, c.number) for c in ranked] == [
        (3, 9, 0), (3, 9, 1), (3, 50, 0), (40, 9, 0),
    ]  # fmt: skip


def test_of_poses_that_tie_the_nearest_to_the_kernel_as_it_is_is_taken():
    as_it_is, turned = at(50.2, 50.1, 1), at(50, 50, 1, angle=90)
    larger, elsewhere = at(49, 49, 1, scale=1.5), at(90, 20, 1, angle=90)
    assert apart([larger, turned, as_it_is, elsewhere], 0.3) == [elsewhere, as_it_is]
    better = at(50, 50, 1 + 1e-8, angle=90)
    assert apart([better, as_it_is], 0.3) == [better]
    other = at(50.2, 50.1, 1, number=1)
    assert apart([turned, other], 0.3) == [turned]  # the poses of a kernel tie, not the kernels


@pytest.mark.parametrize("limit", [0.0, 0.3, 0.7, 1.0])
def test_of_many_poses_no_two_overlap_by_more_than_the_limit(rng, limit):
    rows = rng.random((150, 5)) * [60, 60, 1, 360, 0.08]
    rows = np.concatenate([rows, rows[:60] + np.array([0.2, 0.1, 0, 181, 0])])
    left = [
        at(x, y, score, 1 + growth, turn, size=(7, 19), number=n)
        for n, (x, y, score, turn, growth) in enumerate(rows)
    ]
    wanted = []
    for one in sorted(left, key=lambda c: (-c.score, c.fitted.y)):
        if all(overlap(one, other) <= limit + 0.01 for other in wanted):
            wanted.append(one)
    assert apart(left, limit) == wanted
    assert (len(wanted) == len(left)) == (limit == 1)


def test_poses_that_are_stretched_overlap_along_their_long_sides():
    pose = Pose(3.0, 30.0, stretch=(1.0, 9.0))  # 10 pixels high and 90 wide
    along = 40 * math.cos(math.radians(30)), -40 * math.sin(math.radians(30))
    first, second = (
        Candidate(0, Fitted(100 + x, 100 + y, pose, score, (10, 10)), 100.0, 0.5)
        for x, y, score in ((0, 0, 0.9), (*along, 0.8))
    )
    assert of(first, second) == pytest.approx(50 / 130)
    assert apart([first, second], 0.3) == [first]
    assert apart([first, second], 0.4) == [first, second]


def test_frames_that_touch_are_two_matches_at_any_overlap():
    # Places are known to a fraction of a pixel.
    assert len(apart([at(5, 5, 0.9), at(14.98, 5, 0.9)], 0.0)) == 2
    assert len(apart([at(5, 5, 0.9), at(14, 5, 0.9)], 0.0)) == 1


def test_a_large_pose_that_fits_as_well_takes_the_place_of_small_ones_inside():
    large = at(50, 50, 0.97, scale=3)
    small = [at(x, y, 0.98) for x, y in ((42, 42), (58, 45), (50, 60))]
    elsewhere = at(120, 50, 0.98)
    assert apart([*small, large, elsewhere], 0.3) == [elsewhere, large]


def test_what_only_a_replaced_pose_overlaps_is_kept():
    large, beside = at(50, 50, 0.97, scale=3), at(70.5, 50, 0.96)
    over_both = at(64, 50, 0.98)
    assert of(over_both, large) > 0.3
    assert of(over_both, beside) > 0.2
    assert of(large, beside) == 0
    assert apart([over_both, beside, large], 0.2) == [large, beside]


def test_a_large_pose_that_fits_worse_does_not():
    # A wrong large pose that shows a right small one, and has more pixels that agree a little.
    small, large = at(50, 50, 0.98), at(50, 50, 0.85, scale=3)
    assert large.evidence > small.evidence
    assert apart([small, large], 0.3) == [small]


def test_of_poses_of_about_one_scale_the_best_score_counts():
    # With noise a slightly larger pose has more evidence.
    right, larger = at(50, 50, 0.80), at(50, 50, 0.799, scale=1.08)
    assert larger.evidence > right.evidence
    assert apart([right, larger], 0.3) == [right]


def test_no_pose_below_the_threshold_takes_the_place_of_one_above():
    small, large = at(50, 50, 0.98), at(50, 50, 0.96, scale=3)
    kept = select([small, large], top=None, threshold=0.97, overlap=0.3, margin=True)
    assert kept.matches == [small]
    kept = select([small, large], top=None, threshold=0.95, overlap=0.3, margin=True)
    assert kept.matches == [large]


def test_margins_are_the_lead_on_the_best_pose_that_is_no_match_and_overlaps_none():
    candidates = [at(5, 5, 0.9), at(7, 5, 0.89), at(30, 5, 0.8), at(60, 5, 0.6)]
    found = select(candidates, top=2, threshold=None, overlap=0.3, margin=True)
    assert [c.score for c in found.matches] == [0.9, 0.8]
    assert found.margins == pytest.approx([0.3, 0.2])
    assert found.rest == 0.6
    found = select(candidates, top=None, threshold=0.7, overlap=0.3, margin=True)
    assert found.margins == pytest.approx([0.3, 0.2])
    found = select(candidates[:3], top=None, threshold=0.7, overlap=0.3, margin=True)
    assert found.margins == [None, None]
    assert found.rest is None
    assert select(candidates, top=2, threshold=None, overlap=0.3, margin=False).margins == [
        None, None,
    ]  # fmt: skip


def test_nothing_found_is_no_match():
    found = select([], top=3, threshold=0.5, overlap=0.3, margin=True)
    assert (found.matches, found.margins, found.rest) == ([], [], None)


def test_auto_finds_the_gap_below_the_matches():
    right = [at(20 * i, 0, 0.97 - i * 1e-3) for i in range(3)]
    wrong = [at(20 * i, 50, 0.7 - i * 5e-3) for i in range(30)]
    found = select([*wrong, *right], top=None, threshold="auto", overlap=0.3, margin=True)
    assert found.matches == right
    assert 0.7 < found.threshold < 0.968
    assert found.message.startswith("threshold auto: 0.8")
    for count in (6, 0):
        found = select(wrong[:count], top=None, threshold="auto", overlap=0.3, margin=True)
        assert (found.matches, found.threshold) == ([], None)
        assert f"it needs 10, and this search has {count};" in found.message


def test_one_scale_is_that_of_most_evidence():
    twice = [at(100 * i, 0, 0.95, scale=2.0) for i in range(2)]
    once = [at(100 * i, 200, 0.97) for i in range(4)]
    assert best_scale([*once, *twice], 0.3).scale == 2.0  # twice as many pixels
    assert best_scale([*once, *twice[:1]], 0.3).scale == 1.0
    assert best_scale([], 0.3) is None
    # Scales of a range differ a little; overlapping poses count once.
    about = [at(100 * i, 0, 0.95, scale=2 + d) for i, d in enumerate((-0.02, 0.0, 0.03))]
    assert best_scale([*about, at(101, 0, 0.94, scale=2.05)], 0.3).scale == pytest.approx(
        2.003, abs=0.002
    )


def test_scores_that_differ_by_rounding_rank_by_place():
    later, first = at(300, 0, 0.98 + 4e-16), at(0, 0, 0.98)
    found = select([later, first], top=None, threshold=0.9, overlap=0.3, margin=False)
    assert found.matches == [first, later]


def test_a_pose_below_the_threshold_takes_the_place_of_none_that_reaches_it():
    """Their scores differ by less than what counts as a tie."""
    turned, nearer = at(50, 50, 1.0, angle=90), at(50.2, 50.1, 1 - 1e-10)
    earlier = at(50, 40, 1 - 1e-10)
    for others in ([nearer], [earlier], [nearer, earlier]):
        found = select([turned, *others], top=None, threshold=1.0, overlap=0.3, margin=False)
        assert found.matches == [turned]
