"""From the first look's candidates to full size, level by level, until few are left."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from patchsim.machine.threads import in_order
from patchsim.registration import first_look, loops
from patchsim.registration.kept_candidates import (
    BESIDE,
    FOR_A_RIVAL,
    OF_A_PLACE,
    RIVALS_LOSS,
    Limits,
    followed,
    is_within,
    moved_within,
    thinned,
)
from patchsim.registration.listed_angles import climbed
from patchsim.registration.looked_poses import grid_of
from patchsim.registration.loops import Aim
from patchsim.registration.planes import KernelPlane, KernelPlanes, Plane, Planes
from patchsim.registration.seen_shares import seen_shares, slack_of
from patchsim.registration.turned_back import turned_within

Floats = NDArray[np.float64]

# The pixels of a kernel that a pass looks at: at full effort, and for the best place around.
PIXELS, _ROUGH_PIXELS = 16_384, 4_096
# The first look is where about so many pixels count.
_FIRST_PIXELS = 100
# Where detail is so fine that more must be shown, so many of its pixels at most are compared, and
# fewer where a first look would take more products than about 5 seconds of a core.
_MOST_FIRST_PIXELS, _MOST_LOOK = 512, 1e11
# A kernel's least side and contrast there, as a share of the contrast at full size.
_LEAST_SIDE, _LEAST_CONTRAST = 3, 0.2
# Fine textures are lost there: with less contrast than this the first look is a level larger, if
# that takes at most so many products of pixels.
_FINE_CONTRAST, _MOST_PRODUCTS = 0.35, 5e9
# Steps of Gauss-Newton at the first look's level, between, and at full size; the last step's length
# in pixels at a corner.
_SCALE_SLACK = 0.05  # of the log of a scale, beyond an octave or a range, above full size
_STEPS, _ENOUGH = (6, 4, 10), (0.05, 0.05, 0.001)
# Pixels of a kernel that are worth a thread, about half a millisecond; for less it saves no time.
_SHARE = 200_000
# A pose so near the end of an octave, in the log of the scale, was held back by it.
_AT_END = 1e-6
# Octaves leave a gap of twice as much, so that a scale that is rounded stays in its own.
_APART = 2e-4


def first_level(kernels: KernelPlanes) -> int:
    """Return the level of a kernel for the first look: the smallest that still shows enough."""
    k = 0
    while k < kernels.deepest:
        if math.prod(kernels.size(k + 1)) < _FIRST_PIXELS:  # it need not be made
            break
        kernel = kernels[k + 1]
        if kernel.counted < _FIRST_PIXELS or min(kernel.height, kernel.width) < _LEAST_SIDE:
            break
        if kernels.contrast(k + 1) < _LEAST_CONTRAST:
            break
        k += 1
    return k


def first_pixels(kernel: KernelPlane, poses: int, height: int, width: int) -> int:
    """Return how many pixels of a kernel a first look of a level [height, width] compares."""
    places = height * width * poses * kernel.channels
    return int(min(_MOST_FIRST_PIXELS, max(_FIRST_PIXELS, _MOST_LOOK / places)))


def octaves(kernels: KernelPlanes, limits: Limits) -> Iterator[tuple[int, float, float]]:
    """Yield how often the picture is halved, and between which logs of scales."""
    low, high = (edge / math.log(2) for edge in limits.scales)
    first = max(math.floor(low + 0.5), -kernels.deepest)
    last = max(math.floor(high + 0.5), -kernels.deepest)
    for octave in range(first, last + 1):
        start = low * math.log(2) if octave == first else (octave - 0.5) * math.log(2) + _APART
        end = high * math.log(2) if octave == last else (octave + 0.5) * math.log(2) - _APART
        if start > end:  # the range ends in the gap
            start = end = start if octave == first else end
        yield octave, start, end


def first_look_at(
    kernels: KernelPlanes,
    octave: tuple[int, float, float],
    limits: Limits,
    picture: tuple[int, int],
) -> tuple[int, first_look.Grid]:
    """Return the kernel's level of the first look of an octave, and the poses looked at.

    The picture has this (height, width).
    """
    halvings, low, high = octave
    scales = low - halvings * math.log(2), high - halvings * math.log(2)

    def grid_at(level: int) -> first_look.Grid:
        return grid_of(
            kernels[level],
            limits.angles,
            scales,
            limits.spacings,
            is_cyclic=limits.is_cyclic,
            listed=limits.listed,
        )

    top = max(first_level(kernels), -halvings)
    if top > max(0, -halvings) and kernels.contrast(top) < _FINE_CONTRAST:
        height, width = (math.ceil(side / 2 ** (top - 1 + halvings)) for side in picture)
        pixels = min(kernels[top - 1].counted, _MOST_FIRST_PIXELS) * kernels[0].channels
        if height * width * len(grid_at(top - 1).poses) * pixels <= _MOST_PRODUCTS:
            top -= 1
    return top, grid_at(top)


def first_look_bytes(
    kernels: KernelPlanes, limits: Limits, picture: tuple[int, int]
) -> tuple[int, int]:
    """Return the least bytes of all first looks at a picture of (height, width).

    Returns
    -------
    shared, of_a_thread : int
    """
    shared, of_a_thread = 0, 0
    for octave in octaves(kernels, limits):
        top, grid = first_look_at(kernels, octave, limits, picture)
        kernel, angles = kernels[top], len(grid.angles)
        side, width = first_look.side_of(kernel, grid), picture[1] / 2 ** (top + octave[0])
        shared = max(shared, first_look.turned_bytes(side, kernel.channels, angles))
        min_bytes = first_look.least_band_bytes(math.ceil(width), kernel.channels, angles, side)
        of_a_thread = max(of_a_thread, min_bytes)
    return shared, of_a_thread


@dataclass(frozen=True)
class Descent:
    """The way of one kernel's poses in a picture from the first look to full size.

    Attributes
    ----------
    planes : Planes
        The picture's levels.
    kernels : KernelPlanes
        The kernel's.
    limits : Limits
    metric : str
    full : float
        The data range, in units of the planes.
    threads : int
    least_seen : float
        The least visible share of a pose that is followed.
    """

    planes: Planes
    kernels: KernelPlanes
    limits: Limits
    metric: str
    full: float
    threads: int
    least_seen: float

    def to_full_size(
        self, octave: tuple[int, float, float], tell: Callable[[float], None] | None = None
    ) -> Floats:
        """Return the best poses [n, 4] of an octave at full size, in pixels of level 0."""
        size = self.planes[0].height, self.planes[0].width
        top, grid = first_look_at(self.kernels, octave, self.limits, size)
        for starts in self._first_poses(octave[0], top, grid, tell):
            poses, scores, bar = self._followed(starts, octave, top, top)
            if (scores < bar).sum() >= self._few(octave, top):
                break
        for k in range(top - 1, max(0, -octave[0]) - 1, -1):
            poses[:, :2] = poses[:, :2] * 2 + 0.5
            poses, scores, bar = self._followed(poses, octave, top, k)
        return poses

    def _few(self, octave: tuple[int, float, float], k: int) -> int:
        """Return how many rivals a level follows; one is dear at full size."""
        return self.limits.rivals if k > max(0, -octave[0]) + 1 else min(1, self.limits.rivals)

    def _followed(
        self, poses: Floats, octave: tuple[int, float, float], top: int, k: int
    ) -> tuple[Floats, Floats, float]:
        """Return the refined poses of a level that are followed, their scores and the bar."""
        halvings, low, high = octave
        scales = low - halvings * math.log(2), high - halvings * math.log(2)
        last = max(0, -halvings)
        plane, kernel = self.planes[k + halvings], self.kernels[k]
        bar = self.limits.bar(k, self.kernels.contrast(k))
        aim = self._aim(kernel, scales, is_first=k == top, is_last=k == last)
        aim = replace(aim, least=bar)
        poses = moved_within(poses, kernel, self.limits.bounds, k + halvings)
        poses, scores = self._refined(plane, kernel, poses, aim)
        slack, of_a_place = 2 if k > last else 1, OF_A_PLACE[int(k < top)]
        keep = is_within(poses, kernel, self.limits.bounds, k + halvings, slack)
        over = np.flatnonzero(~keep & (scores >= bar))
        if len(over) and self.limits.fixed[0] is None:
            held = replace(aim, free=(True, True, False, aim.free[3]), around=0)
            best = thinned(poses[over], scores[over], kernel, self.limits.overlap, of_a_place)
            turned = turned_within(poses[over[best]], kernel, self.limits, k + halvings)
            more, of_more = refine(plane, kernel, turned, held, self.threads)
            is_inside = is_within(more, kernel, self.limits.bounds, k + halvings, slack)
            poses, scores = np.concatenate([poses, more]), np.concatenate([scores, of_more])
            keep = np.concatenate([keep, is_inside])
        if not self.limits.rivals:
            keep &= scores >= bar
        poses, scores = poses[keep], scores[keep]
        seen = seen_shares(plane, kernel, poses)
        is_seen = seen >= self.least_seen - slack_of(kernel, poses)
        poses, scores = poses[is_seen], scores[is_seen]
        best = thinned(poses, scores, kernel, self.limits.overlap, of_a_place)
        poses, scores = poses[best], scores[best]
        reaches, rivals = scores >= bar, self._few(octave, k)
        chosen = followed(poses, scores, kernel, self.limits, reaches, top - k, rivals)
        poses, scores = poses[chosen], scores[chosen]
        if k == last and self.limits.rivals:  # whose steps may have ended early
            to_the_end = replace(aim, least=-math.inf, around=0)
            below = np.flatnonzero(scores < bar)
            ends, _ = refine(plane, kernel, poses[below], to_the_end, self.threads)
            is_inside = is_within(ends, kernel, self.limits.bounds, k + halvings, slack)
            poses[below[is_inside]] = ends[is_inside]
        return poses, scores, bar

    def _refined(
        self, plane: Plane, kernel: KernelPlane, poses: Floats, aim: Aim
    ) -> tuple[Floats, Floats]:
        """Return what `refine` does, and of a list of angles the best of neighbouring ones."""
        poses, scores = refine(plane, kernel, poses, aim, self.threads)
        if not self.limits.listed:
            return poses, scores
        again = replace(aim, around=0)
        return climbed(
            lambda moved: refine(plane, kernel, moved, again, self.threads),
            poses, scores, np.radians(self.limits.listed),
            first_look.SPACING / (kernel.reach * math.exp(max(aim.high[1], 0.0))),
        )  # fmt: skip

    def left_at(
        self,
        poses: Floats,
        octave: tuple[int, float, float],
        end: int,
        other: tuple[int, float, float],
    ) -> tuple[Floats, Floats]:
        """Return poses of an octave [n, 4], and those that another one takes from them, [m, 4].

        A pose at the end (1: lower, 2: upper) where the other octave begins is no optimum if
        scores rise beyond it. They jump there, because the picture or the kernel is halved once
        more, which leaves less noise and detail that could differ. If neither octave lets a pose
        go, the one with less halving is taken, so that none gains by the jump.
        """
        halvings, there = octave[0], other[0]
        offset, limit = halvings * math.log(2), octave[end]
        is_at_end = np.abs(poses[:, 3] + offset - limit) < _AT_END
        moved = poses[is_at_end]
        if len(moved) == 0:
            return poses, moved
        moved[:, :2] = (moved[:, :2] + 0.5) * 2.0 ** (max(halvings, 0) - max(there, 0)) - 0.5
        moved[:, 3] += offset - there * math.log(2)
        scales = other[1] - there * math.log(2), other[2] - there * math.log(2)
        kernel = self.kernels[max(0, -there)]
        aim = self._aim(kernel, scales, is_first=False, is_last=True)
        aim = replace(aim, around=0)
        moved, _ = refine(self.planes[max(0, there)], kernel, moved, aim, self.threads)
        leaves = np.abs(moved[:, 3] + there * math.log(2) - other[3 - end]) >= _AT_END
        leaves |= abs(there) < abs(halvings)
        leaves &= is_within(moved, kernel, self.limits.bounds, max(0, there), 1)
        is_at_end[is_at_end] = leaves
        return poses[~is_at_end], moved[leaves]

    def _first_poses(
        self, halvings: int, top: int, grid: first_look.Grid, tell: Callable[[float], None] | None
    ) -> Iterator[Floats]:
        """Yield the poses [n, 4] that a first look leaves, with more rivals each time."""
        kernel, plane, limits = self.kernels[top], self.planes[top + halvings], self.limits
        rivals = FOR_A_RIVAL * limits.rivals
        most = limits.candidates(0) + BESIDE * rivals
        sampled = kernel.sampled(first_pixels(kernel, len(grid.poses), plane.height, plane.width))
        look = partial(
            first_look.look, plane, sampled, grid, self.metric, self.full, threads=self.threads,
            most=most, band_bytes=limits.band_bytes, tell=tell,
        )  # fmt: skip
        bar = limits.bar(top, self.kernels.contrast(top))
        bars = partial(limits.first_bars, bar, is_dense=grid.near > 1)
        high, low = bars(np.array([1.0, 1.0 if plane.visible is None else 0.0])).tolist()
        lower_bars = dict.fromkeys((low, min(low, high - RIVALS_LOSS), 0.0)) if rivals else (low,)
        for lower in lower_bars:
            poses, scores = look(bar=lower)
            seen = seen_shares(plane, kernel, poses)
            is_seen = seen >= self.least_seen - slack_of(kernel, poses)
            reaches = (scores >= bars(seen))[is_seen]
            poses, scores = poses[is_seen], scores[is_seen]
            yield poses[followed(poses, scores, kernel, limits, reaches, 0, rivals)]

    def _aim(
        self, kernel: KernelPlane, scales: tuple[float, float], *, is_first: bool, is_last: bool
    ) -> Aim:
        """Return what a level's candidates are refined for."""
        which = 2 if is_last else 0 if is_first else 1
        turns = (-math.inf, math.inf) if self.limits.is_cyclic else self.limits.angles
        low, high = scales
        if low < high:
            # An optimum a bit outside the octave may come back at a finer level. At full size it
            # must stay, because the next octave compares other levels.
            slack = -1e-9 if is_last else _SCALE_SLACK
            low, high = low - slack, high + slack
        is_free = self.limits.is_angle_free, scales[0] < scales[1]
        return Aim(
            metric=self.metric, full=self.full, steps=_STEPS[which], enough=_ENOUGH[which],
            is_cubic=is_last, free=(True, True, *is_free), low=(turns[0], low),
            high=(turns[1], high), every=kernel.every(PIXELS),
            around=0 if is_first else kernel.every(_ROUGH_PIXELS),
        )  # fmt: skip


def refine(
    plane: Plane, kernel: KernelPlane, poses: Floats, aim: Aim, threads: int
) -> tuple[Floats, Floats]:
    """Return what `plain.refine` does, by several threads."""
    if len(poses) == 0:
        return poses, np.empty(0)
    share = share_of(len(poses), kernel.counted // aim.every * (1 + aim.steps), threads)
    parts = list(
        in_order(
            lambda first: loops.refine(plane, kernel, poses[first : first + share], aim),
            range(0, len(poses), share),
            threads,
        )
    )
    return np.concatenate([p for p, _ in parts]), np.concatenate([s for _, s in parts])


def share_of(poses: int, pixels: int, threads: int) -> int:
    """Return how many poses, each of which reads so many pixels, a thread takes at a time."""
    if threads == 1:
        return poses
    return max(1, math.ceil(poses / (4 * threads)), math.ceil(_SHARE / max(pixels, 1)))
