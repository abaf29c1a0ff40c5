"""Poses between the steps of ranges: uphill from the best that were searched, at full size."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Self

from patchsim.machine.threads import in_order
from patchsim.matches.nms import BestFirst, Peak
from patchsim.options import AUTO, Options
from patchsim.poses.grid import SPACING, Poses, spacing
from patchsim.poses.warp import Pose
from patchsim.ranking.scored_windows import ScoredWindows
from patchsim.scene.build import Scene
from patchsim.search import jobs
from patchsim.search.jobs import Job, Scored
from patchsim.search.pose_scores import Spot, Views

# Matches that are looked for: to tell a threshold, and where all that reach one are asked for.
_TELLING = 32
MOST = 1024

_EACH = 3  # candidates whose pose is refined, for each match
_LAST_SPACING = 0.1  # pixels between poses at the kernel's corner, at the end
_LIFTS = 0.1  # what a better pose adds to a score


def matches_wanted(options: Options) -> int | None:
    """How many matches are looked for; None is all."""
    return _TELLING if options.threshold == AUTO else options.top


@dataclass(frozen=True)
class Placed:
    """A kernel in a pose, at a place."""

    number: int  # of the kernel
    pose: Pose
    spot: Spot

    @property
    def score(self) -> float:
        return self.spot.score

    def posed(self, pose: Pose, views: Views, level: int) -> Self | None:
        """The kernel in another pose around the same place, where it is halved so often."""
        spot = views.near(self.number, pose, level, self.spot)
        return None if spot is None else replace(self, pose=pose, spot=spot)


class Refinement:
    """Refines the poses of a scene's kernels where ranges of poses are asked for.

    Parameters
    ----------
    views : Views
    scene : Scene
    poses : Poses
    options : Options
    per_kernel : bool
        Each kernel has matches of its own.
    """

    def __init__(
        self, views: Views, scene: Scene, poses: Poses, options: Options, *, per_kernel: bool
    ) -> None:
        self._views, self._scene, self._poses, self._options = views, scene, poses, options
        self._per_kernel, self._top = per_kernel, matches_wanted(options)

    def of_searched(self, scored: Sequence[Scored]) -> list[Scored]:
        """The best windows of poses between those that were searched in full.

        The windows that are given are used up.
        """
        competing: dict[int | None, list[Scored]] = defaultdict(list)
        for one in scored:
            competing[one[0].number if self._per_kernel else None].append(one)
        found = []
        for own in competing.values():
            contest = BestFirst(
                [field for _, field in own],
                [one.origin for one, _ in own],
                overlap=self._options.overlap,
            )
            threshold = self._options.numeric_threshold
            best = contest.best(self._top and self._most, threshold)
            if threshold is not None:  # what a better pose could lift above it
                best += contest.best(self._most, self._least)
            best += contest.best(_EACH, None)  # rivals
            found += [self._placed(peak, own[peak.index][0]) for peak in best]
        return self.of_followed(found)

    def _placed(self, peak: Peak, one: Job) -> Placed:
        spot = self._views.spot(one, peak.y - one.origin[0], peak.x - one.origin[1], peak.score)
        return Placed(one.number, one.pose, spot)

    def of_followed(self, found: Sequence[Placed]) -> list[Scored]:
        """Windows that are known at full size, with the best poses between the steps of ranges."""
        if self._poses.has_ranges:
            counts: dict[int | None, int] = defaultdict(int)
            good: list[Placed] = []
            others: list[Placed] = []
            for placed in sorted(found, key=lambda p: -p.score):
                competing = placed.number if self._per_kernel else None
                counts[competing] += 1
                worth = placed.score >= self._least and counts[competing] <= self._most
                (good if worth else others).append(placed)
            threads = self._options.threads
            with closing(in_order(self._refined, good, threads)) as refined:
                found = [*refined, *others]
        windows: dict[tuple[int, Pose], list[tuple[int, int, float]]] = defaultdict(list)
        for placed in found:
            assert placed.spot.window is not None, "at full size there is one"
            windows[placed.number, placed.pose].append((*placed.spot.window, placed.score))
        for number in set(range(len(self._scene.kernels))) - {number for number, _ in windows}:
            windows[number, self._any(number)] = []
        listed: list[Scored] = []
        for (number, pose), own in windows.items():
            full = self._views.sought(number, pose)
            assert full is not None, "it was searched"
            listed.append(Scored(full, ScoredWindows(full.size, own)))
        return listed

    def _any(self, number: int) -> Pose:
        """A pose of a kernel of which no window is left."""
        for pose in self._poses.all:
            if self._views.sought(number, pose) is not None:
                return pose
        raise jobs.nothing_fits(self._scene, number, self._poses)

    def _refined(self, placed: Placed) -> Placed:
        """The best pose between the steps, uphill from one on them."""
        scales, angles = self._poses.scales, self._poses.angles
        share, degrees = spacing(self._scene.sizes[placed.number], placed.pose.scale)
        # Scores of poses side by side differ by how their pixels happen to lie, so all between the
        # neighbouring steps are tried.
        own = placed.pose
        near = [
            replace(own, angle=angle)
            for angle, _ in angles.neighbours(own.angle, angles.step, degrees)
        ]
        near += [
            replace(own, scale=scale)
            for scale, _ in scales.neighbours(own.scale, scales.step, share * own.scale)
        ]
        placed = self._best(placed, near)
        step = 1.0
        while step * SPACING >= _LAST_SPACING:
            moves = [(step * share, 0.0), (-step * share, 0.0)] if scales.step else []
            moves += [(0.0, step * degrees), (0.0, -step * degrees)] if angles.step else []
            before = None
            while before is not placed:
                before = placed
                for by, turn in moves:
                    pose = replace(
                        placed.pose,
                        scale=scales.rounded(placed.pose.scale * (1 + by)),
                        angle=angles.rounded(placed.pose.angle + turn),
                    )
                    placed = self._best(placed, [pose])
            step /= 2
        # What is as good on the steps themselves is what was asked for.
        own = placed.pose
        on_steps = Pose(scales.nearest(own.scale), angles.nearest(own.angle), own.flip)
        found = placed.posed(on_steps, self._views, 0)
        return found if found and found.score >= placed.score else placed

    def _best(self, placed: Placed, poses: Iterable[Pose]) -> Placed:
        """Return the given pose, or the first of the others that scores higher in its place."""
        for pose in poses:
            found = placed.posed(pose, self._views, 0) if pose != placed.pose else None
            if found and found.score > placed.score:
                placed = found
        return placed

    @property
    def _most(self) -> int:
        """How many poses are refined between the steps."""
        return MOST if self._top is None else _EACH * self._top

    @property
    def _least(self) -> float:
        """The lowest score of those, which a better pose could lift above the threshold."""
        threshold = self._options.numeric_threshold
        return -math.inf if threshold is None else threshold - min(1 - threshold, _LIFTS)
