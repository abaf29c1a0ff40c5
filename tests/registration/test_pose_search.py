"""Poses found: plantings by OpenCV at known poses."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from patchsim.metrics import Kernel
from patchsim.registration import PoseSearch, Range, score


def planted(image, kernel, x, y, angle, scale, flip="none"):
    """A copy of an image with a kernel at a pose, by cv2."""
    mirrored = {"none": kernel, "h": kernel[:, ::-1], "v": kernel[::-1]}[flip]
    height, width = kernel.shape[:2]
    matrix = cv2.getRotationMatrix2D((0, 0), angle, scale)
    matrix[:, 2] += np.subtract((x, y), 0.5) - matrix[:, :2] @ ((width - 1) / 2, (height - 1) / 2)
    size = image.shape[1::-1]
    options = {"flags": cv2.INTER_CUBIC if scale > 0.7 else cv2.INTER_AREA}
    wide = cv2.copyMakeBorder(np.ascontiguousarray(mirrored), 2, 2, 2, 2, cv2.BORDER_REPLICATE)
    beside = matrix.copy()
    beside[:, 2] -= matrix[:, :2] @ (2, 2)
    moved = cv2.warpAffine(wide, beside, size, **options).reshape(image.shape)
    inside = cv2.warpAffine(np.ones((height, width), np.float32), matrix, size)[..., None]
    return np.where(inside > 0.5, moved, image).astype(image.dtype)


def turn(one, other):
    return abs((one - other + 180) % 360 - 180)


@pytest.mark.parametrize("metric", ["zncc", "ncc", "ssd", "sad"])
@pytest.mark.parametrize("flip", ["none", "h"])
def test_turned_and_scaled_copies(astronaut, coffee, metric, flip):
    kernel = astronaut[100:148, 200:261, :]
    image = planted(coffee[:200, :260], kernel, 81.3, 92.8, 37.0, 1.2, flip)
    search = PoseSearch(image, metric, 255.0)
    found = search.find(Kernel(kernel), Range(0.8, 1.3), Range(0, 360), ["none", "h"], most=1)
    best = found[0]
    assert best.pose.flip == flip
    assert turn(best.pose.angle, 37) < 0.2
    assert best.pose.scale == pytest.approx(1.2, abs=0.004)
    assert (best.x, best.y) == pytest.approx((81.3, 92.8), abs=0.1)
    assert best.score == score(image, Kernel(kernel), best.x, best.y, best.pose, metric, 255.0)


def test_an_exact_copy_scores_1(coffee):
    kernel = coffee[40:71, 60:100]
    found = PoseSearch(coffee[:150, :200], "zncc", 255.0).find(
        Kernel(kernel), Range(0.9, 1.1), Range(0, 360), threshold=0.8
    )
    assert found[0].score == 1
    assert (found[0].x, found[0].y, found[0].pose.angle, found[0].pose.scale) == (80, 55.5, 0, 1)
