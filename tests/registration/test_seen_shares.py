"""Which share of a posed kernel a picture with hidden pixels shows, and what follows from it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import ndimage

from patchsim.metrics import Kernel, Visibility
from patchsim.poses.pose import Pose
from patchsim.registration import Fitted, PoseSearch, Range
from patchsim.registration.planes import KernelPlanes, Planes
from patchsim.registration.seen_shares import seen_shares
from patchsim.search.pose_scene import visible_share


@pytest.mark.parametrize("kind", ["whole", "disc", "corner", "shades"])
def test_shares_at_full_size_are_those_of_all_pixels(rng, kind):
    image = rng.integers(0, 256, (90, 120, 3), np.uint8)
    levels = np.full((90, 120), 4, np.uint8)
    levels[:, 70:] = 0
    levels[40:50] = 2
    rows, columns = np.indices((24, 31))
    weights = {
        "whole": None,
        "disc": (np.hypot(rows - 11.5, columns - 15) < 11).astype(np.uint8),
        "corner": ((rows < 6) & (columns < 7)).astype(np.uint8),
        "shades": np.stack([rows < 12, rows < 12, rows < 0], 2).astype(np.uint8),
    }[kind]
    kernel = Kernel(rng.integers(0, 256, (24, 31, 3), np.uint8), weights)
    visible = Visibility(levels, 4)
    planes, kernels = Planes(image, visible), KernelPlanes.of_bytes(kernel)
    poses = np.array(
        [
            [x, y, angle, math.log(scale)]
            for x in (30.2, 66.6, 80.1)
            for y in (27.5, 44.0)
            for angle in (0.0, 0.7, 3.3)
            for scale in (0.8, 1.0, 1.3)
        ]
    )
    shares = seen_shares(planes[0], kernels[0], poses)
    exact = [
        visible_share(
            visible,
            kernel,
            Fitted(x + 0.5, y + 0.5, Pose(math.exp(s), math.degrees(a)), 1.0, (24, 31)),
        )
        for x, y, a, s in poses.tolist()
    ]
    assert np.ptp(exact) > 0.5
    np.testing.assert_allclose(shares, exact, atol=0.05)


def test_poses_far_outside_show_what_the_border_repeats(rng):
    image = rng.integers(0, 256, (40, 50, 1), np.uint8)
    levels = np.ones((40, 50), np.uint8)
    levels[:, 0] = 0
    planes = Planes(image, Visibility(levels, 1))
    kernel = KernelPlanes.of_bytes(Kernel(image[:12, :14].copy()))[0]
    poses = np.array([[-1e4, 20.0, 0.3, 0.0], [1e4, 1e4, 0.3, 0.0]])
    np.testing.assert_array_equal(seen_shares(planes[0], kernel, poses).round(6), [0, 1])


@pytest.mark.parametrize("threshold", [None, 0.3])
def test_poses_that_are_hidden_more_than_is_wanted_are_not_followed(rng, threshold):
    smooth = ndimage.gaussian_filter(rng.normal(128, 400, (120, 160, 1)), (2, 2, 0))
    image = smooth.clip(0, 255).astype(np.uint8)
    levels = np.zeros((120, 160), np.uint8)
    levels[:, :60] = 1
    visible = Visibility(levels, 1)
    kernel = Kernel(image[40:64, 20:46].copy())

    def found(least_seen):
        search = PoseSearch(image, "zncc", 255.0, visible=visible, least_seen=least_seen)
        any_angle = Range(0.0, 360.0)
        fits = search.find(kernel, Range(1.0, 1.0), any_angle, threshold=threshold, most=20)
        return fits, [visible_share(visible, kernel, fit) for fit in fits]

    fits, shares = found(0.5)
    assert (fits[0].x, fits[0].y, fits[0].score) == (33, 52, 1.0)
    assert min(shares) > 0.3
    assert min(found(0.0)[1]) < 0.1
