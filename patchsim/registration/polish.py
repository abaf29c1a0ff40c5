"""From poses at full size to matches: the last steps, exact scores, each optimum once."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray

from patchsim.machine.threads import in_order
from patchsim.metrics import Kernel
from patchsim.poses.pose import Pose
from patchsim.registration import loops, scores
from patchsim.registration.descent import PIXELS, first_level, refine, share_of
from patchsim.registration.fitted import Fitted
from patchsim.registration.kept_candidates import Limits
from patchsim.registration.levels import halved_kernel, octave
from patchsim.registration.loops import Aim
from patchsim.registration.planes import KernelPlanes, Planes
from patchsim.registration.scoring import Scoring
from patchsim.registration.surfaces import climbed

Floats = NDArray[np.float64]

# A place so near a whole pixel, in pixels, and a corner so near a quarter turn at scale 1, is tried
# there, too: an exact copy then scores exactly 1.
_WHOLE = 0.1
_STEPS, _ENOUGH = 20, 1e-3
# Steps begin again so many halvings up, at scales that move the corners so many pixels there, the
# first none; to which precision; how far from a match they do not lead back to it; from so many of
# their ends they go on; and so often.
_UP, _APART = 2, (0.0, -4.0, -2.0, 2.0, 4.0)
_COARSELY, _SAME, _TRIED, _RESTARTS = 0.05, 0.5, 2, 3
# A kernel is itself when turned if zncc says so, of a copy with sides of so many pixels at most.
_ALIKE, _LARGEST_ALIKE = 0.9, 64


@dataclass(frozen=True)
class Polish:
    """The last steps of the poses of one kernel in one flip: refined, with exact scores.

    Attributes
    ----------
    planes : Planes
    scoring : Scoring
    metric : str
    full : float
        The data range, in units of the planes.
    kernel : Kernel
    kernels : KernelPlanes
        Its levels, mirrored.
    flip : str
    limits : Limits
    threads : int
    """

    planes: Planes
    scoring: Scoring
    metric: str
    full: float
    kernel: Kernel
    kernels: KernelPlanes
    flip: str
    limits: Limits
    threads: int

    def fitted(self, poses: Floats, halvings: int) -> list[Fitted]:
        """Return poses [n, 4] of an octave, from `Descent.to_full_size`, with exact scores."""
        if len(poses) == 0:
            return []
        return self._scored_in(halvings, self._told(poses, halvings))

    def _scored_in(self, halvings: int, told: Floats) -> list[Fitted]:
        """Return poses [n, 4] of an octave, as `_told` has them, with exact scores."""
        counted = self.kernels[max(0, -halvings)].counted
        share = share_of(len(told), counted, self.threads)
        scored = in_order(
            lambda first: self.scoring.scores(
                self.kernels.levels, halvings, told[first : first + share]
            ),
            range(0, len(told), share),
            self.threads,
        )
        exact_scores = np.concatenate(list(scored)).tolist()
        size = self.kernel.pixels.shape[:2]
        fits = [
            Fitted(x, y, Pose(scale, angle, self.flip), score, size)
            for (x, y, angle, scale), score in zip(told.tolist(), exact_scores, strict=True)
        ]
        # Most lie far from whole poses, which are looked for one by one.
        turns = np.radians(told[:, 2] - np.rint(told[:, 2] / 90) * 90)
        near = math.hypot(*size) / 2 * np.hypot(turns, told[:, 3] - 1) <= _WHOLE
        return [self._or_whole(f) if n else f for f, n in zip(fits, near.tolist(), strict=True)]

    def _told(self, poses: Floats, halvings: int) -> Floats:
        """Return poses [n, 4] as x and y in pixels, degrees and scale."""
        told = np.empty_like(poses)
        told[:, :2] = (poses[:, :2] + 0.5) * 2.0 ** max(halvings, 0)
        told[:, 2] = np.degrees(poses[:, 2])
        told[:, 3] = np.exp(poses[:, 3] + halvings * math.log(2))
        if self.limits.is_cyclic:
            told[:, 2] %= 360
        if self.limits.listed:
            listed = np.array(self.limits.listed)
            told[:, 2] = listed[np.abs(told[:, 2, None] - listed).argmin(1)]
        for column, fixed in enumerate(self.limits.fixed, 2):
            if fixed is not None:
                told[:, column] = fixed
        return told

    def scored(self, x: float, y: float, pose: Pose) -> Fitted:
        """Return a place and pose with its exact score."""
        score = self.scoring.score(self.kernel, self.kernels.levels, x, y, pose)
        return Fitted(x, y, pose, score, self.kernel.pixels.shape[:2])

    def _or_whole(self, fit: Fitted) -> Fitted:
        """Return the match of whole pixels beside one, if it is no worse."""
        snapped = self._whole(fit)
        if snapped is None or snapped == fit:
            return fit
        scored = self.scored(snapped.x, snapped.y, snapped.pose)
        return scored if scored.score >= fit.score else fit

    def _whole(self, fit: Fitted) -> Fitted | None:
        """Return the nearest pose of whole pixels that is allowed, or None if it is not near."""
        quarter = round(fit.pose.angle / 90) * 90
        height, width = fit.size if quarter % 180 == 0 else fit.size[::-1]
        y, x = (round(a - b / 2) + b / 2 for a, b in ((fit.y, height), (fit.x, width)))
        turn = math.radians(fit.pose.angle - quarter)
        corner = math.hypot(*fit.size) / 2 * math.hypot(turn, fit.pose.scale - 1)
        if math.hypot(fit.x - x, fit.y - y) + corner > _WHOLE:
            return None
        low, high = self.limits.angles
        is_allowed = self.limits.is_cyclic or low <= math.radians(quarter) <= high
        if self.limits.listed:
            is_allowed = quarter == fit.pose.angle
        if not is_allowed or not self.limits.scales[0] <= 0 <= self.limits.scales[1]:
            return None
        angle = float(quarter % 360) if self.limits.is_cyclic else float(quarter)
        return replace(fit, x=x, y=y, pose=Pose(1.0, angle, fit.pose.flip))

    def better(self, fit: Fitted, *, moves: bool = True) -> Fitted:
        """Return the match where steps at full size lead from one, or itself if it is no worse."""
        halvings = octave(fit.pose.scale, self.kernels.deepest)
        level, k = max(halvings, 0), max(-halvings, 0)
        aim = self._aim(k, halvings, _STEPS, _ENOUGH, moves=moves, is_cubic=True)
        start = self._starts(fit, level, halvings, (0.0,))
        poses, _ = loops.refine(self.planes[level], self.kernels[k], start, aim)
        x, y, angle, size = self._told(poses, halvings)[0].tolist()
        moved = self._or_whole(self.scored(x, y, Pose(size, angle, fit.pose.flip)))
        return max(fit, moved, key=lambda one: one.score)

    def at_another_scale(self, fit: Fitted) -> Fitted:
        """Return a better match of the same thing at another scale, or the match itself.

        A kernel that is mostly an edge, with a little detail, scores high at many scales: where the
        edge is on the edge. Steps end at one of them, because on the way to the one where the
        detail is on the detail, too, the score falls. In a quarter of the size it falls less. So
        they begin again there, from scales around (D. J. Wales, J. P. K. Doye, "Global optimization
        by basin hopping", J. Phys. Chem. A 101, 1997).
        """
        if not self.limits.is_scale_free:
            return fit
        for _ in range(_RESTARTS):
            best = max(self._restarted(fit), key=lambda one: one.score, default=fit)
            if best.score <= fit.score:
                break
            fit = best
        return fit

    def _restarted(self, fit: Fitted) -> list[Fitted]:
        """Return where steps in less than the size lead from scales around, if not back."""
        halvings = octave(fit.pose.scale, self.kernels.deepest)
        level, k = max(halvings, 0), max(-halvings, 0)
        up = min(_UP, max(0, first_level(self.kernels) - k))
        starts = self._starts(fit, level + up, halvings, _APART)
        kernel = self.kernels[k + up]
        aim = self._aim(k + up, halvings, _STEPS, _COARSELY, moves=True, is_cubic=False)
        poses, refined_scores = loops.refine(self.planes[level + up], kernel, starts, aim)
        reach = kernel.reach * math.exp(starts[0, 3])
        ends = [starts[0]]
        for i in np.argsort(-refined_scores, kind="stable"):
            change = np.array(ends) - poses[i]
            change[:, 2:] *= reach
            if (np.hypot(np.hypot(*change.T[:2]), np.hypot(*change.T[2:])) >= _SAME).all():
                ends.append(poses[i])
        poses = np.array(ends[1 : 1 + _TRIED]).reshape(-1, 4)
        for below in range(up - 1, -1, -1):
            poses[:, :2] = poses[:, :2] * 2 + 0.5
            if below:
                aim = self._aim(k + below, halvings, _STEPS, _COARSELY, moves=True, is_cubic=False)
                poses, _ = loops.refine(
                    self.planes[level + below], self.kernels[k + below], poses, aim
                )
        moved = (
            self.better(self.scored(x, y, Pose(size, angle, fit.pose.flip)))
            for x, y, angle, size in self._told(poses, halvings).tolist()
        )
        return [end for end in moved if self.is_inside(end)]

    def is_inside(self, fit: Fitted) -> bool:
        """Return whether a match's corners lie in the bounds, or up to a pixel outside."""
        top, left, bottom, right = self.limits.bounds
        return all(
            left - 1 <= x <= right + 1 and top - 1 <= y <= bottom + 1 for x, y in fit.corners
        )

    def settled(self, fits: Sequence[Fitted]) -> list[Fitted]:
        """Return matches where the score is largest, to what shows in it, by their score alone.

        Steps of Gauss-Newton end beside it where the slopes do not tell all: of `sad`, and where
        the kernel is smoothed as its scale asks.
        """
        groups: dict[int, list[Fitted]] = defaultdict(list)
        for fit in fits:
            groups[octave(fit.pose.scale, self.kernels.deepest)].append(fit)
        return [fit for halvings, group in groups.items() for fit in self._settled(group, halvings)]

    def _settled(self, fits: list[Fitted], halvings: int) -> list[Fitted]:
        level, k = max(halvings, 0), max(-halvings, 0)
        aim = self._aim(k, halvings, 0, 0.0, moves=True, is_cubic=True)
        starts = np.concatenate([self._starts(fit, level, halvings, (0.0,)) for fit in fits])
        reach = self.kernels[k].reach * np.exp(starts[:, 3])
        low, high = (
            np.array([end, end, *of]) for end, of in ((-np.inf, aim.low), (np.inf, aim.high))
        )

        def value(poses: Floats) -> Floats:
            return refine(self.planes[level], self.kernels[k], poses, aim, self.threads)[1]

        poses = climbed(value, starts, reach, aim.free, low, high)
        told = self._told(poses, halvings)
        # A few have crossed the octave's end, beyond which scores are of other levels.
        octaves = np.array([octave(scale, self.kernels.deepest) for scale in told[:, 3].tolist()])
        moved = list(fits)
        for here in np.unique(octaves).tolist():
            index = np.flatnonzero(octaves == here)
            for i, fit in zip(index.tolist(), self._scored_in(here, told[index]), strict=True):
                if fit.score > fits[i].score and self.is_inside(fit):
                    moved[i] = fit
        return moved

    def _starts(self, fit: Fitted, level: int, halvings: int, apart: tuple[float, ...]) -> Floats:
        """Return poses [n, 4] at a level of the picture: a match, its corners so far apart."""
        turn = math.radians(fit.pose.angle)
        scale = math.log(fit.pose.scale) - halvings * math.log(2)
        reach = math.hypot(*fit.size) / 2 * fit.pose.scale / 2**level
        place = fit.x / 2**level - 0.5, fit.y / 2**level - 0.5
        return np.array([[*place, turn, scale + far / reach] for far in apart])

    def _aim(
        self, k: int, halvings: int, steps: int, enough: float, *, moves: bool, is_cubic: bool
    ) -> Aim:
        """Return what a match is refined for at level k of the kernel, in an octave."""
        low, high = self.limits.angles
        smallest, largest = self.limits.scales
        offset = halvings * math.log(2)
        return Aim(
            metric=self.metric, full=self.full, steps=steps, enough=enough, is_cubic=is_cubic,
            free=(moves, moves, self.limits.is_angle_free, self.limits.is_scale_free),
            low=(-math.inf if self.limits.is_cyclic else low, smallest - offset),
            high=(math.inf if self.limits.is_cyclic else high, largest - offset),
            every=self.kernels[k].every(PIXELS), around=0,
        )  # fmt: skip


def distinct(fits: list[Fitted], kernel: Kernel) -> list[Fitted]:
    """Return each optimum once, best first; of a kernel that is itself when turned, one turn."""
    is_alike = cache(partial(_is_alike, kernel))
    fits = sorted(fits, key=lambda fit: (-fit.score, fit.y, fit.x, fit.pose.deviation))
    kept: dict[tuple[int, int, str], list[Fitted]] = {}
    chosen = []
    for fit in fits:
        # Poses less than a pixel apart lie in one cell of two pixels, or in neighbouring ones.
        x, y, flip = fit.x / 2, fit.y / 2, fit.pose.flip
        beside = (
            other
            for row in (math.floor(y - 0.5), math.floor(y + 0.5))
            for column in (math.floor(x - 0.5), math.floor(x + 0.5))
            for other in kept.get((row, column, flip), ())
        )
        if not any(_is_same_pose(fit, other, is_alike) for other in beside):
            kept.setdefault((math.floor(y), math.floor(x), flip), []).append(fit)
            chosen.append(fit)
    return chosen


def _is_same_pose(one: Fitted, other: Fitted, is_alike: Callable[[int], bool]) -> bool:
    """Return whether two poses' corners are less than a pixel apart, or look as if they were."""
    degrees = abs((one.pose.angle - other.pose.angle + 180) % 360 - 180)
    reach = math.hypot(*one.size) / 2 * one.pose.scale
    growth = math.log(one.pose.scale / other.pose.scale)
    apart = math.hypot(one.x - other.x, one.y - other.y)
    if apart + reach * math.hypot(math.radians(degrees), growth) < 1:
        return True
    return apart + reach * abs(growth) < 1 and is_alike(round(degrees))


def _is_alike(kernel: Kernel, degrees: int) -> bool:
    """Return whether a kernel turned about its middle is itself."""
    while max(kernel.pixels.shape[:2]) > _LARGEST_ALIKE:
        kernel = halved_kernel(kernel)
    height, width = kernel.pixels.shape[:2]
    score = scores.score(
        kernel.pixels, kernel, width / 2, height / 2, Pose(1.0, float(degrees)), "zncc", 1.0
    )
    return score > _ALIKE
