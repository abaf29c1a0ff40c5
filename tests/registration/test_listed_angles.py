"""Several angles in one search, and kernels whose detail is a pixel wide, of even and odd sides."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from patchsim.metrics import Kernel
from patchsim.registration import PoseSearch, Range

ONE = Range(1.0, 1.0)


def turned(kernel, angle, size, place):
    """A kernel turned about a place (x, y) on grey, by cv2."""
    height, width = kernel.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, 1)
    matrix[:, 2] += np.subtract(place, (width / 2, height / 2))
    options = {"flags": cv2.INTER_CUBIC, "borderValue": 128.0}
    return cv2.warpAffine(kernel, matrix, size[::-1], **options)[..., None]


@pytest.mark.parametrize("metric", ["sad", "zncc"])
def test_listed_angles_are_those_of_searches_one_by_one(rng, metric):
    kernel = cv2.GaussianBlur(rng.integers(0, 256, (30, 36), np.uint8), (0, 0), 2)
    scene = turned(kernel, 59.0, (110, 140), (70.3, 52.8))
    search = PoseSearch(scene, metric, 255.0)
    angles = (0.0, 40.0, 60.0, 200.0, 355.5)
    together = search.find(
        Kernel(kernel[..., None]), ONE, Range(0.0, 355.5, angles), most=1, overlap=0.3
    )
    assert {fit.pose.angle for fit in together} <= set(angles)
    best = together[0]
    assert best.pose.angle == 60
    assert (best.x, best.y) == pytest.approx((70.3, 52.8), abs=0.1)
    alone = search.find(Kernel(kernel[..., None]), ONE, Range(60.0, 60.0), most=1, overlap=0.3)[0]
    assert best.score == pytest.approx(alone.score, abs=1e-6)
    assert (best.x, best.y) == pytest.approx((alone.x, alone.y), abs=1e-2)


@pytest.mark.parametrize("size", [(12, 12), (13, 12), (12, 15), (13, 13)])
@pytest.mark.parametrize("angles", [Range(0.0, 0.0), Range(0.0, 90.0, (0.0, 45.0, 90.0))])
def test_a_checkerboard_is_found_where_it_lies(size, angles):
    # Half a pixel beside its place it is grey.
    board = (np.indices(size).sum(0) % 2 * 255).astype(np.uint8)[..., None]
    board[:2, :3] = 128  # so that no other shift or turn is as good
    scene = np.full((50, 60, 1), 128, np.uint8)
    scene[20 : 20 + size[0], 31 : 31 + size[1]] = board
    best = PoseSearch(scene, "sad", 255.0).find(Kernel(board), ONE, angles, most=1, overlap=0.3)[0]
    assert (best.score, best.pose.angle) == (1.0, 0.0)
    assert (best.x, best.y) == (31 + size[1] / 2, 20 + size[0] / 2)


@pytest.mark.parametrize("trim", [0, 1])
def test_lines_of_a_pixel_are_found_between_other_scales(trim):
    kernel = np.full((24, 40), 230, np.uint8)
    cv2.rectangle(kernel, (2, 2), (37, 21), 60)
    kernel = kernel[trim:, trim:]
    scene = np.full((140, 200), 230, np.uint8)
    large = np.kron(kernel, np.ones((2, 2), np.uint8))
    scene[40 : 40 + large.shape[0], 60 : 60 + large.shape[1]] = large
    found = PoseSearch(scene[..., None], "sad", 255.0).find(
        Kernel(kernel[..., None]), Range(0.8, 2.4), Range(0.0, 0.0), most=1, overlap=0.3
    )
    assert found[0].pose.scale == pytest.approx(2, rel=0.01)
    height, width = kernel.shape
    assert (found[0].x, found[0].y) == pytest.approx((60 + width, 40 + height), abs=0.2)
