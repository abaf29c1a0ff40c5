"""Which candidates are followed: the limits of a search, bars on the way, each optimum once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from patchsim.geometry import polygons
from patchsim.geometry.turned_boxes import TurnedBoxes
from patchsim.poses.pose import Pose
from patchsim.registration import loops
from patchsim.registration.fitted import Corner, corners
from patchsim.registration.planes import KernelPlane

Floats = NDArray[np.float64]

# A pose that scores so little less than the threshold may reach it in the last steps, or where its
# score is exact.
NEARLY = 1e-3

# A candidate may score this share of what it must at full size for each level above, and on the
# grid so much less. Of 175 plantings (the threshold being each one's own score) zncc fell to 0.918,
# 0.831 and 0.859 one, two and three levels up at the lowest, and on the grid to this bar or more
# but for one in a hundred; of 51, ncc fell to 0.991, sad to 0.987, 0.977 and 0.964, ssd to 0.996.
_FALL = {"zncc": 0.9, "ncc": 0.97, "sad": 0.97, "ssd": 0.97}
# Fine textures, of which smaller levels have less than this share of the contrast, fall lower: of
# 2596 plantings 12 of them were lost, and none by this share.
_FINE, _FINE_FALL = 0.55, 0.85
_GRID_LOSS = {"zncc": 0.25, "ncc": 0.1, "sad": 0.1, "ssd": 0.1}
# Where the kernel does not tell neighbouring angles apart, zncc falls less: 22 of 3111 copies fell
# by more than this, and none by more than 0.23.
_DENSE_LOSS = 0.15
# Where a share of the kernel is hidden, which the grid compares as if it were seen, so much more,
# all of it from a share on: of 3091 copies, hidden by up to 60 %, zncc lost 127 without it, and
# none with it that it does not lose with all of it everywhere.
_HIDDEN_LOSS, _HIDING = {"zncc": 0.25, "ncc": 0.2, "sad": 0.2, "ssd": 0.2}, 0.25
_LEAST_BAR = 0.25
# For each pose below the threshold that is wanted so many maxima of the first look are followed,
# which may score so much less than others must. One in the end is enough to tell a margin.
FOR_A_RIVAL, RIVALS_LOSS = 4, 0.2
# Most maxima lie beside those that reach the bar, so so many are asked for each rival.
BESIDE = 30
# Candidates at most: of a first look, and the poses of one place, there and below. Of kernels of
# 8x8 pixels in a first look thousands of poses reach the bar: with 4096 three of 5683 were lost.
_MOST, OF_A_PLACE = 16_384, (6, 3)
# Where a number of matches is asked for: candidates for each at the first look, and at least.
_FOR_EACH, _AT_LEAST, _FOLLOWED = 24, 192, 24


@dataclass(frozen=True)
class Limits:
    """The poses that a search allows, and how many candidates it follows.

    Attributes
    ----------
    angles, scales : (low, high)
        In radians, and logs.
    spacings : (float, float)
        Of angles and scales in the first look, at most.
    listed : tuple of float
        The only angles, in degrees, where there are several; empty for all between the ends.
    fixed : (float or None, float or None)
        The angle, in degrees, and the scale, if there is one of it.
    is_cyclic : bool
        Whether the angles are a whole turn.
    metric : str
    bounds : (top, left, bottom, right)
        The pixels that a posed kernel may cover.
    threshold : float, optional
        The least score that is wanted.
    most : int, optional
        How many matches are wanted.
    overlap : float
        The largest overlap of two matches.
    rivals : int
        How many poses that score less than the threshold are followed, too.
    band_bytes : int
        The memory of the first look, for each thread.
    """

    angles: tuple[float, float]
    scales: tuple[float, float]
    spacings: tuple[float, float]
    listed: tuple[float, ...]
    fixed: tuple[float | None, float | None]
    is_cyclic: bool
    metric: str
    bounds: tuple[float, float, float, float]
    threshold: float | None
    most: int | None
    overlap: float
    rivals: int
    band_bytes: int

    @property
    def is_angle_free(self) -> bool:
        """Whether the angle may take any value between the ends."""
        return self.angles[0] < self.angles[1] and not self.listed

    @property
    def is_scale_free(self) -> bool:
        """Whether the scale may take any value between the ends."""
        return self.scales[0] < self.scales[1]

    def candidates(self, halvings: int) -> int:
        """Return how many candidates are followed so many levels below the first look."""
        if self.most is None:
            return _MOST
        first = max(_AT_LEAST, _FOR_EACH * self.most)
        return min(_MOST, max(_FOLLOWED, 4 * self.most, first >> halvings))

    def bar(self, level: int, contrast: float) -> float:
        """Return the score that a candidate needs at a level, which has this share of contrast."""
        if self.threshold is None:
            return -math.inf
        if level == 0:
            return self.threshold - NEARLY
        bar = self.threshold * _FALL[self.metric] ** level
        is_fine = contrast < _FINE and self.metric == "zncc"
        return bar * _FINE_FALL if is_fine else bar

    def first_bars(self, bar: float, seen: Floats, *, is_dense: bool) -> Floats:
        """Return the scores [n] that maxima of the grid need, whose angles may be dense.

        `bar` is that of the level, and `seen` [n] the visible share of each.
        """
        if self.threshold is None:
            return np.full(len(seen), -math.inf)
        loss = _DENSE_LOSS if is_dense and self.metric == "zncc" else _GRID_LOSS[self.metric]
        hides = np.minimum(1.0, (1 - seen) / _HIDING)
        return np.maximum(_LEAST_BAR, bar - loss - hides * _HIDDEN_LOSS[self.metric])


def thinned(
    poses: Floats, scores: Floats, kernel: KernelPlane, overlap: float, of_a_place: int
) -> NDArray[np.intp]:
    """Return the indices of the best poses: each optimum once, and only so many of a place.

    Of one place are poses that would, at one angle, overlap more than allowed.
    """
    order = np.argsort(-scores, kind="stable")
    allowed = max(overlap, 0.5)
    near = 2 * allowed / (1 + allowed)
    return order[loops.thinned(poses[order], kernel, near, of_a_place)]


def followed(
    poses: Floats,
    scores: Floats,
    kernel: KernelPlane,
    limits: Limits,
    reaches: NDArray[np.bool_],
    below_the_first: int,
    rivals: int,
) -> NDArray[np.intp]:
    """Return the indices of the poses that reach their bar, the best first, and of a few rivals.

    Of several rivals some may overlap the others by more than matches may, one alone does not.

    Parameters
    ----------
    poses : array [n, 4]
    scores : array [n]
    kernel : KernelPlane
    limits : Limits
    reaches : array [n]
        Which of them reach their bar.
    below_the_first : int
        How many levels below the first look.
    rivals : int
        How many of them at most.
    """
    order = np.argsort(-scores, kind="stable")
    over = order[reaches[order]][: limits.candidates(below_the_first)]
    if not rivals:
        return over
    near = np.concatenate([over, order[~reaches[order]][: BESIDE * rivals]])
    apart = near[thinned(poses[near], scores[near], kernel, limits.overlap, 1)]
    below = apart[~reaches[apart]]
    if rivals == 1:
        beside = (i for i in below if not _is_overlapping(poses[i], poses[over], kernel, limits))
        below = np.array(list(islice(beside, 1)), np.intp)
    return np.concatenate([over, below[:rivals]])


def is_within(
    poses: Floats,
    kernel: KernelPlane,
    bounds: tuple[float, float, float, float],
    level: int,
    slack: float,
) -> NDArray[np.bool_]:
    """Return which posed kernels' corners lie in the bounds, but for a slack in pixels."""
    low, high = room(poses, kernel, bounds, level)
    places = poses[:, :2]
    is_inside = (places >= low - slack) & (places <= high + slack)
    return np.logical_and(is_inside[:, 0], is_inside[:, 1])


def moved_within(
    poses: Floats, kernel: KernelPlane, bounds: tuple[float, float, float, float], level: int
) -> Floats:
    """Return poses moved so that their corners lie in the bounds, where there is room for them."""
    low, high = room(poses, kernel, bounds, level)
    moved = poses.copy()
    np.copyto(moved[:, :2], np.clip(poses[:, :2], low, high), where=low <= high)
    return moved


def room(
    poses: Floats, kernel: KernelPlane, bounds: tuple[float, float, float, float], level: int
) -> tuple[Floats, Floats]:
    """Return the least and largest x and y [n, 2] of posed kernels whose corners are inside."""
    scale = np.exp(poses[:, 3])
    cos, sin = np.abs(np.cos(poses[:, 2])) * scale, np.abs(np.sin(poses[:, 2])) * scale
    height, width = kernel.half
    reach = np.stack([width * cos + height * sin, width * sin + height * cos], 1)
    top, left, bottom, right = (edge / 2**level - 0.5 for edge in bounds)
    return np.array((left, top)) + reach, np.array((right, bottom)) - reach


def _is_overlapping(pose: Floats, others: Floats, kernel: KernelPlane, limits: Limits) -> bool:
    """Return whether a pose overlaps one of others by more than matches may, as they would."""
    x, y, angle, log_scale = np.vstack([pose, others]).T
    half_height, half_width = (half * np.exp(log_scale) for half in kernel.half)
    boxes = TurnedBoxes(x, y, angle, half_width, half_height)
    shared_at_most = boxes.shared(slice(1))[1][0, 1:]
    smaller = 4 * math.prod(kernel.half) * np.exp(2 * np.minimum(pose[3], others[:, 3]))
    frame = _frame(pose, kernel)
    for i in np.flatnonzero(shared_at_most > limits.overlap * (2 * smaller - shared_at_most)):
        shared = polygons.intersection_area(frame, _frame(others[i], kernel))
        if shared > limits.overlap * (2 * smaller[i] - shared):
            return True
    return False


def _frame(pose: Floats, kernel: KernelPlane) -> tuple[Corner, ...]:
    x, y, angle, log_scale = pose.tolist()
    size = 2 * kernel.half[0], 2 * kernel.half[1]
    return corners(size, x, y, Pose(math.exp(log_scale), math.degrees(angle)))
