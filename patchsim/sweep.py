"""Many poses of kernels, coarse to fine: which windows of which poses are worth an exact score.

The picture and the kernels are halved as often as the kernels' content allows. There every pose is
compared with every window, poses as far apart as a pixel of that size can tell. The best of each
kernel and scale are followed down from size to size, among the poses and places around them, and
at full size between the steps of ranges; the last scores are exact.
"""

from __future__ import annotations

import math
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import product
from typing import TYPE_CHECKING

from patchsim import engines, sought, walk
from patchsim.asked import Poses
from patchsim.contest import Contest, Peak
from patchsim.errors import InputError
from patchsim.listed import Listed
from patchsim.options import AUTO, Options
from patchsim.poses import Pose
from patchsim.scene import Scene
from patchsim.sought import Scored, Sought
from patchsim.views import Spot, Views

if TYPE_CHECKING:
    from patchsim.observer import Observer
    from patchsim.outputs import Outputs

# So few poses are all searched in full: exact, and quick enough.
FEW = 8

# Poses are so many pixels apart at the kernel's corner, at each size; and at the end.
_SPACING = 1.0
_LAST_SPACING = 0.1

# What is followed: so many candidates for each match that is asked for, so many of each kernel and
# scale whatever their scores, and poses of one place; at the next size half as many.
_KEPT_EACH = 24
_KEPT = 96
_PLACES = 32  # that tell a threshold
_KEPT_OF_ALL = 1024  # where all matches are asked for
_KEPT_OF_GROUP = 3
_KEPT_OF_PLACE = 3

_TURNED = 3  # other angles and flips of a place
_PRUNED_FROM = 20  # times as many as are kept
_LEAST_KEPT = 24
_FINISHED_EACH = 3  # candidates whose pose is refined, for each match
_MANY = 1000  # poses, whose cost is told before
_SAMPLES = 8
_LIFTS = 0.1  # what a better pose adds to a score


@dataclass(frozen=True)
class _Candidate:
    """A pose at a place."""

    spot: Spot
    number: int  # of the kernel
    pose: Pose
    group: tuple[int, int, float]  # size, kernel and scale that it was found at
    scale_reach: float  # how far from the pose's own the true values may be
    angle_reach: float

    @property
    def score(self) -> float:
        return self.spot.score


def warn(count: int, seconds: float, observer: Observer) -> None:
    """Tell what many poses cost."""
    if count > _MANY:
        about = f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
        observer.notice(f"{count:,} poses are searched, which takes about {about}")


_Look = tuple[int, Pose, int, float, float]  # kernel, pose, size, reaches of scale and angle


class Sweep:
    """Of a scene's kernels in many poses.

    Parameters
    ----------
    scene : Scene
    poses : Poses
    options : Options
    engine : str
    wanted : Outputs
    per_kernel : bool
        Each kernel has matches of its own.
    coarse : bool
        `run` will be called; otherwise `between` alone.

    Raises
    ------
    InputError
        As of `Views`, or if the engine draws no maps.
    """

    def __init__(
        self,
        scene: Scene,
        poses: Poses,
        options: Options,
        engine: str,
        wanted: Outputs,
        *,
        per_kernel: bool,
        coarse: bool = True,
    ) -> None:
        if coarse and engine != "auto" and engines.searches(engine):
            raise InputError(
                f"engine {engine} draws no map, as poses that are searched coarse to fine need;"
                " use --exhaustive (exhaustive=True) or another engine"
            )
        self._scene, self._poses, self._options = scene, poses, options
        self._per_kernel = per_kernel
        if engine != "auto" and engines.searches(engine):
            engine = "auto"  # for windows around a place
        self._views = Views(scene, options, engine, wanted, max(poses.scales.values), halved=coarse)

    def check(self) -> None:
        """Refuse kernels that fit in no pose.

        Raises
        ------
        InputError
        """
        sought_for = {look[0] for look in self.looks}
        for number in range(len(self._scene.kernels)):
            if number not in sought_for:
                raise sought.nothing_fits(self._scene, number, self._poses)

    def _spacing(self, number: int, scale: float, level: int) -> tuple[float, float]:
        """Of scales, as a share, and of angles in degrees, that move a corner by `_SPACING`."""
        height, width = self._scene.sizes[number]
        radius = math.hypot(height, width) / 2 * scale / 2**level
        share = _SPACING / max(radius, 1.0)
        return share, math.degrees(share)

    # -- the first look ----------------------------------------------------------------------

    @cached_property
    def looks(self) -> list[_Look]:
        """The poses that are compared with all windows, at the size where they begin."""
        found: dict[tuple[int, float, float, bool], _Look] = {}
        poses = self._poses
        for number, kernel in enumerate(self._scene.sizes):
            levels = defaultdict(list)
            for scale in poses.scales.values:
                levels[self._views.first_level(number, scale)].append(scale)
            for level, scales in sorted(levels.items()):
                share, _ = self._spacing(number, scales[-1], level)
                fitting = {scale: self._fitting(kernel, scale) for scale in scales}
                able = [scale for scale in scales if fitting[scale]]
                for scale, reach in poses.scales.spread(able, share, relative=True):
                    _, degrees = self._spacing(number, scale, level)
                    turns = poses.angles.spread(fitting[scale], degrees)
                    for flip, (angle, around) in product(poses.flips, turns):
                        pose = Pose(scale, angle, flip)
                        look = number, pose, level, reach, around
                        found.setdefault((number, *pose.key), look)
        return list(found.values())

    def _fitting(self, kernel: tuple[int, int], scale: float) -> list[float]:
        """The angles in which a kernel of (height, width) has windows and pixels enough."""
        return [
            angle
            for angle in self._poses.angles.values
            if sought.fits(self._scene.area, kernel, Pose(scale, angle))
        ]

    def _look(self, look: _Look, most: int) -> list[_Candidate]:
        number, pose, level, scale_reach, angle_reach = look
        group = level, number, pose.scale
        return [
            _Candidate(spot, number, pose, group, scale_reach, angle_reach)
            for spot in self._views.everywhere(number, pose, level, most)
        ]

    # -- following ---------------------------------------------------------------------------

    def _follow(self, candidate: _Candidate, level: int) -> _Candidate:
        """The best of the poses and places around a candidate, at a finer size."""
        if level == candidate.group[0] > 0 and not (candidate.scale_reach or candidate.angle_reach):
            return candidate
        pose = candidate.pose
        share, degrees = self._spacing(candidate.number, pose.scale, level)
        scales = self._poses.scales.around(pose.scale, candidate.scale_reach, share * pose.scale)
        angles = self._poses.angles.around(pose.angle, candidate.angle_reach, degrees)
        # One after the other: a wrong scale blurs which angle is best, but hardly moves it.
        turned = [
            replace(near, angle_reach=reach)
            for angle, reach in angles
            if (near := self._near(candidate, replace(pose, angle=angle), level))
        ]
        best = max(turned, key=lambda c: c.score, default=candidate)
        scaled = [
            replace(best, scale_reach=reach) for scale, reach in scales if scale == pose.scale
        ]
        scaled += [
            replace(near, scale_reach=reach)
            for scale, reach in scales
            if scale != pose.scale
            and (near := self._near(best, replace(best.pose, scale=scale), level))
        ]
        return max(scaled, key=lambda c: c.score, default=best)

    def _near(self, candidate: _Candidate, pose: Pose, level: int) -> _Candidate | None:
        """A pose around a candidate's place."""
        spot = self._views.near(candidate.number, pose, level, candidate.spot)
        return None if spot is None else replace(candidate, spot=spot, pose=pose)

    def _turned(self, candidate: _Candidate, level: int) -> list[_Candidate]:
        """Other angles and flips at a candidate's place: what looked the same half as large."""
        poses, pose = self._poses, candidate.pose
        _, degrees = self._spacing(candidate.number, pose.scale, level)
        turns = poses.angles.spread(poses.angles.values, degrees)
        others = [
            replace(found, angle_reach=reach)
            for flip, (angle, reach) in product(poses.flips, turns)
            if (found := self._near(candidate, Pose(pose.scale, angle, flip), level))
        ]
        return sorted(others, key=lambda c: -c.score)[:_TURNED]

    # -- between the steps -------------------------------------------------------------------

    def _between(self, candidate: _Candidate) -> _Candidate:
        """The best pose between the steps of ranges, uphill from a candidate at full size."""
        scales, angles = self._poses.scales, self._poses.angles
        share, degrees = self._spacing(candidate.number, candidate.pose.scale, 0)
        # Scores of poses side by side differ by how their pixels happen to lie, so all between the
        # neighbouring steps are tried.
        own = candidate.pose
        near = [
            replace(own, angle=angle) for angle, _ in angles.around(own.angle, angles.step, degrees)
        ]
        near += [
            replace(own, scale=scale)
            for scale, _ in scales.around(own.scale, scales.step, share * own.scale)
        ]
        candidate = self._best(candidate, near)
        step = 1.0
        while step * _SPACING >= _LAST_SPACING:
            moves = [(step * share, 0.0), (-step * share, 0.0)] if scales.step else []
            moves += [(0.0, step * degrees), (0.0, -step * degrees)] if angles.step else []
            before = None
            while before is not candidate:
                before = candidate
                for by, turn in moves:
                    pose = replace(
                        candidate.pose,
                        scale=scales.rounded(candidate.pose.scale * (1 + by)),
                        angle=angles.rounded(candidate.pose.angle + turn),
                    )
                    candidate = self._best(candidate, [pose])
            step /= 2
        # What is as good on the steps themselves is what was asked for.
        own = candidate.pose
        on_steps = Pose(scales.nearest(own.scale), angles.nearest(own.angle), own.flip)
        found = self._near(candidate, on_steps, 0)
        return found if found and found.score >= candidate.score else candidate

    def _best(self, candidate: _Candidate, poses: Iterable[Pose]) -> _Candidate:
        """The candidate at full size, or the first of the poses that score higher there."""
        for pose in poses:
            found = self._near(candidate, pose, 0) if pose != candidate.pose else None
            if found and found.score > candidate.score:
                candidate = found
        return candidate

    # -- all of it ---------------------------------------------------------------------------

    def _estimate(self) -> float:
        """Seconds that the first looks take, from some of them."""
        some = self.looks[:: -(-len(self.looks) // _SAMPLES)]
        started = time.perf_counter()
        for look in some:
            self._look(look, _KEPT)
        each = (time.perf_counter() - started) / len(some)
        return each * len(self.looks) / self._threads

    def run(self, observer: Observer) -> list[Scored]:
        """The poses that have good windows, with these windows."""
        self._announce(observer)
        top = self._top
        kept = _KEPT_OF_ALL if top is None else max(_KEPT, _KEPT_EACH * top)
        of_group = _KEPT_OF_GROUP
        # Following and finishing take about as long as the first looks.
        total, steps = 2 * len(self.looks), self._views.levels + 1
        begun: dict[int, list[_Candidate]] = defaultdict(list)
        first = walk.in_order(lambda look: self._look(look, kept), self.looks, self._threads)
        with closing(first) as looked:
            for done, (look, best) in enumerate(zip(self.looks, looked, strict=True), 1):
                begun[look[2]] += best
                if len(begun[look[2]]) > _PRUNED_FROM * kept:
                    begun[look[2]] = self._places(begun[look[2]], kept, of_group)
                observer.progress(done, total)
        found: list[_Candidate] = []
        for level in reversed(range(self._views.levels)):
            found += self._places(begun[level], kept, of_group)
            found = self._each(partial(self._follow, level=level), found)
            found += self._reconsidered(found, level)
            kept = kept if top is None else max(kept // 2, _LEAST_KEPT)
            of_group = max(of_group // 2, 1)
            found = self._places(found, kept, of_group)
            observer.progress(total - total * (level + 1) // (2 * steps), total)
        finished = self._finished([c for c in found if c.spot.window])
        threshold = self._options.given_threshold
        if (
            top is None
            and sum(c.score >= (-1 if threshold is None else threshold) for c in found)
            >= _KEPT_OF_ALL
        ):
            observer.notice(
                f"more than {_KEPT_OF_ALL:,} places may reach the threshold, and no more are"
                " followed; --exhaustive (exhaustive=True) finds all"
            )
        observer.progress(total, total)
        return finished

    def _reconsidered(self, found: list[_Candidate], level: int) -> list[_Candidate]:
        """The best places of those first looked at half as large, turned otherwise."""
        if len(self._poses.angles.values) * len(self._poses.flips) == 1:
            return []
        places: dict[tuple[int, int, int], _Candidate] = {}
        for candidate in sorted(found, key=lambda c: -c.score):
            if candidate.group[0] == level + 1:
                places.setdefault(self._place(candidate), candidate)
        count = _KEPT if self._top is None else _LEAST_KEPT // 2 + 2 * self._top
        if self._per_kernel:
            count *= len(self._scene.kernels)
        best = list(places.values())[:count]
        with closing(
            walk.in_order(lambda c: self._turned(c, level), best, self._threads)
        ) as turned:
            others = [other for each in turned for other in each]
        return self._each(partial(self._follow, level=level), others)

    def _announce(self, observer: Observer) -> None:
        count = self._poses.count * len(self._scene.kernels)
        levels = Counter(look[2] for look in self.looks)
        observer.swept(
            f"{count:,} poses coarse to fine; compared with all windows are "
            + ", ".join(
                f"{number:,} at " + (f"1/{2**level} of the size" if level else "full size")
                for level, number in sorted(levels.items())
            )
        )
        if count > _MANY:  # not tried for few
            warn(count, self._estimate(), observer)

    def _finished(self, found: list[_Candidate]) -> list[Scored]:
        """Candidates at full size, with the poses between the steps of ranges."""
        if self._poses.between:
            counts: dict[int | None, int] = defaultdict(int)
            good: list[_Candidate] = []
            others: list[_Candidate] = []
            for candidate in sorted(found, key=lambda c: -c.score):
                competing = candidate.number if self._per_kernel else None
                counts[competing] += 1
                worth = candidate.score >= self._least and counts[competing] <= self._most
                (good if worth else others).append(candidate)
            found = self._each(self._between, good) + others
        windows: dict[tuple[int, Pose], list[tuple[int, int, float]]] = defaultdict(list)
        for candidate in found:
            assert candidate.spot.window is not None, "at full size there is one"
            window = *candidate.spot.window, candidate.score
            windows[candidate.number, candidate.pose].append(window)
        for number in set(range(len(self._scene.kernels))) - {number for number, _ in windows}:
            windows[number, self._any(number)] = []
        listed: list[Scored] = []
        for (number, pose), own in windows.items():
            full = self._views.sought(number, pose)
            assert full is not None, "it was searched"
            listed.append((full, Listed(full.size, own)))
        return listed

    def _any(self, number: int) -> Pose:
        """A pose of a kernel of which no window is left."""
        for pose in self._poses.each:
            if self._views.sought(number, pose) is not None:
                return pose
        raise sought.nothing_fits(self._scene, number, self._poses)

    def between(self, scored: Sequence[Scored]) -> list[Scored]:
        """The best windows of poses between those that were searched in full.

        The windows that are given are used up.
        """
        competing: dict[int | None, list[Scored]] = defaultdict(list)
        for one in scored:
            competing[one[0].number if self._per_kernel else None].append(one)
        found = []
        for own in competing.values():
            contest = Contest(
                [field for _, field in own],
                [one.origin for one, _ in own],
                overlap=self._options.overlap,
            )
            threshold = self._options.given_threshold
            best = contest.best(self._top and self._most, threshold)
            if threshold is not None:  # what a better pose could lift above it
                best += contest.best(self._most, self._least)
            best += contest.best(_FINISHED_EACH, None)  # rivals
            found += [self._candidate(peak, own[peak.field][0]) for peak in best]
        return self._finished(found)

    def _candidate(self, peak: Peak, one: Sought) -> _Candidate:
        spot = self._views.spot(one, peak.y - one.origin[0], peak.x - one.origin[1], peak.score)
        return _Candidate(spot, one.number, one.pose, (0, one.number, one.pose.scale), 0.0, 0.0)

    def _each(
        self, work: Callable[[_Candidate], _Candidate], todo: Sequence[_Candidate]
    ) -> list[_Candidate]:
        with closing(walk.in_order(work, todo, self._threads)) as done:
            return list(done)

    @property
    def _top(self) -> int | None:
        """How many matches are wanted; None is all."""
        return _PLACES if self._options.threshold == AUTO else self._options.top

    @property
    def _most(self) -> int:
        """How many candidates' poses are refined between the steps."""
        return _KEPT_OF_ALL if self._top is None else _FINISHED_EACH * self._top

    @property
    def _least(self) -> float:
        """The lowest score of those, which a better pose could lift above the threshold."""
        threshold = self._options.given_threshold
        return -math.inf if threshold is None else threshold - min(1 - threshold, _LIFTS)

    @property
    def _threads(self) -> int:
        return self._options.threads

    def _place(self, candidate: _Candidate) -> tuple[int, int, int]:
        """The same for candidates of a kernel that lie within half of it."""
        side = max(1.0, min(self._scene.sizes[candidate.number]) * candidate.pose.scale / 2)
        return candidate.number, int(candidate.spot.y // side), int(candidate.spot.x // side)

    def _places(self, found: list[_Candidate], most: int, of_group: int) -> list[_Candidate]:
        """The best, and some of each group; of one place only a few poses."""
        kept: list[_Candidate] = []
        counts: dict[int | None, int] = defaultdict(int)
        places: dict[tuple[int, int, int], int] = defaultdict(int)
        groups: dict[tuple[int, int, float], int] = defaultdict(int)
        for candidate in sorted(found, key=lambda c: -c.score):
            competing = candidate.number if self._per_kernel else None
            if counts[competing] >= most and groups[candidate.group] >= of_group:
                continue
            place = self._place(candidate)
            if places[place] < _KEPT_OF_PLACE:
                places[place] += 1
                counts[competing] += 1
                groups[candidate.group] += 1
                kept.append(candidate)
        return kept
