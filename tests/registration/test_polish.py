"""The last steps of a match: out of a scale where only an edge fits, and to the score's maximum."""

from __future__ import annotations

import math
from dataclasses import replace

import cv2
import numpy as np
import pytest
import skimage.data

from patchsim.metrics import Kernel
from patchsim.poses.pose import Pose
from patchsim.registration import Fitted, PoseSearch, Range, score
from patchsim.registration.kept_candidates import Limits
from patchsim.registration.levels import KernelLevels
from patchsim.registration.planes import KernelPlanes, Planes
from patchsim.registration.polish import Polish
from patchsim.registration.scoring import Scoring

SCALES, ANY = Range(0.6, 1.6), Range(0.0, 360.0)


def polish_of(picture, pixels, metric="zncc"):
    """The last steps for a kernel at any angle and scales from 0.6 to 1.6."""
    kernel, planes = Kernel(pixels), Planes(picture, None)
    limits = Limits(
        angles=(0.0, 2 * math.pi), scales=(math.log(0.6), math.log(1.6)),
        spacings=(math.inf, math.inf), listed=(),
        fixed=(None, None), is_cyclic=True, metric=metric,
        bounds=(0.0, 0.0, *picture.shape[:2]), threshold=0.8, most=None, overlap=0.3, rivals=0,
        band_bytes=1 << 20,
    )  # fmt: skip
    kernels = KernelPlanes(KernelLevels(kernel), planes.unit)
    scoring = Scoring(picture, metric, 255.0, None)
    return Polish(planes, scoring, metric, 255.0, kernel, kernels, "none", limits, 1)


def scaled(pixels, place):
    """A picture of 160x160 with a kernel at x, y, degrees and scale in grey, by cv2."""
    x, y, degrees, scale = place
    height, width = pixels.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, scale)
    matrix[:, 2] += np.subtract((x, y), (width / 2, height / 2))
    options = {"flags": cv2.INTER_CUBIC, "borderValue": 128.0}
    return cv2.warpAffine(pixels, matrix, (160, 160), **options)[..., None]


@pytest.mark.parametrize("place", [(81.3, 78.8, 350.5, 1.0), (80.2, 80.4, 64.0, 1.3)])
def test_a_scale_where_only_an_edge_fits_is_left(place):
    # The rim of a coin fits the rim at many scales; what is on the coin does so at one.
    pixels = skimage.data.coins()[216:249, 75:129]
    x, y, degrees, scale = place
    picture = scaled(pixels, place)
    polish = polish_of(picture, pixels[..., None])
    held = polish.better(polish.scored(x, y, Pose(0.85 * scale, degrees)))
    assert held.pose.scale < 0.92 * scale
    freed = polish.at_another_scale(held)
    assert freed.score > held.score
    assert freed.pose.scale == pytest.approx(scale, rel=0.01)
    assert math.hypot(freed.x - x, freed.y - y) < 0.3
    assert polish.at_another_scale(freed) == freed
    fixed = replace(polish, limits=replace(polish.limits, scales=(0.0, 0.0)))
    assert fixed.at_another_scale(held) is held


@pytest.mark.parametrize("metric", ["zncc", "sad"])
def test_scores_are_those_of_the_poses_at_an_octaves_end_too(coffee, metric):
    # A faint edge is found in hundreds of places, a few of which move over the end at 2 ** -0.5.
    picture = cv2.cvtColor(coffee, cv2.COLOR_RGB2GRAY)[:120, :160, None]
    kernel = Kernel(skimage.data.coins()[216:238, 75:101, None])
    threshold = {"zncc": 0.6, "sad": 0.85}[metric]
    found = PoseSearch(picture, metric, 255.0).find(kernel, SCALES, ANY, threshold=threshold)
    near = [fit for fit in found if abs(math.log(fit.pose.scale * math.sqrt(2))) < 0.1]
    assert len(near) > 5
    for fit in near:
        wanted = score(picture, kernel, fit.x, fit.y, fit.pose, metric, 255.0)
        assert fit.score == pytest.approx(wanted, abs=1e-9)
    corners = np.array([fit.corners for fit in found])
    assert corners.min() >= -1
    assert (corners.max((0, 1)) <= (161, 121)).all()


@pytest.mark.parametrize("metric", ["zncc", "sad", "ssd", "ncc"])
def test_a_match_has_no_better_pose_beside_it(astronaut, coffee, metric):
    grey = [cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY) for photo in (astronaut, coffee)]
    pixels = grey[0][100:132, 200:240]
    matrix = cv2.getRotationMatrix2D((19.5, 15.5), 33, 0.83)
    matrix[:, 2] += (60.2, 50.7)
    picture = grey[1][:140, :160].copy()
    cv2.warpAffine(
        pixels, matrix, (160, 140), picture, flags=cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_TRANSPARENT,
    )  # fmt: skip
    picture = picture[..., None]
    kernel = Kernel(pixels[..., None])
    best = PoseSearch(picture, metric, 255.0).find(kernel, SCALES, ANY, most=1)[0]
    reach = math.hypot(*best.size) / 2 * best.pose.scale
    rng = np.random.default_rng(5)
    for far in (0.01, 0.03, 0.1):
        for _ in range(40):
            step = rng.normal(size=4)
            dx, dy, turn, growth = step * (far / np.linalg.norm(step))
            pose = Pose(
                best.pose.scale * math.exp(growth / reach),
                best.pose.angle + math.degrees(turn / reach),
            )
            beside = score(picture, kernel, best.x + dx, best.y + dy, pose, metric, 255.0)
            assert beside < best.score + (5e-6 if metric == "sad" else 1e-7)


def test_settled_matches_are_no_worse(coffee):
    picture = cv2.cvtColor(coffee, cv2.COLOR_RGB2GRAY)[:120, :160, None]
    pixels = picture[30:60, 40:80].copy()
    polish = polish_of(picture, pixels, "sad")
    starts = [polish.scored(60.2, 45.1, Pose(s, 1.0)) for s in (0.69, 0.71, 1.02, 1.4, 1.43)]
    settled = polish.settled(starts)
    assert sorted(fit.score for fit in settled) > sorted(fit.score for fit in starts)
    assert all(isinstance(fit, Fitted) for fit in settled)
    assert len(settled) == len(starts)
    assert polish.settled([]) == []
