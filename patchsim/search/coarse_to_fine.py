"""Many poses of kernels, coarse to fine: which windows of which poses are worth an exact score.

The picture and the kernels are halved as often as the kernels' content allows. There every pose is
compared with every window, poses as far apart as a pixel of that size can tell. The best of each
kernel and scale are followed down from size to size, among the poses and places around them; the
last scores are exact.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import product
from typing import TYPE_CHECKING

from patchsim import engines
from patchsim.errors import InputError
from patchsim.machine.threads import in_order
from patchsim.options import Options
from patchsim.poses.grid import spacing
from patchsim.poses.warp import Pose
from patchsim.scene.build import Scene
from patchsim.search import jobs
from patchsim.search.jobs import Scored
from patchsim.search.pose_scores import Views
from patchsim.search.refine import MOST, Placed, Refinement, matches_wanted

if TYPE_CHECKING:
    from patchsim.events import Observer
    from patchsim.output.targets import Outputs

# What is followed: so many candidates for each match that is asked for, so many of each kernel and
# scale whatever their scores, and poses of one place; at the next size half as many.
_KEPT_EACH = 24
_KEPT = 96
_KEPT_OF_GROUP = 3
_KEPT_OF_PLACE = 3

_TURNED = 3  # other angles and flips of a place
_PRUNED_FROM = 20  # times as many as are kept
_LEAST_KEPT = 24
_SAMPLES = 8


@dataclass(frozen=True)
class _Candidate(Placed):
    """A pose in a place that is followed from size to size."""

    group: tuple[int, int, float]  # size, kernel and scale that it was found at
    scale_reach: float  # how far from the pose's own the true values may be
    angle_reach: float


_Look = tuple[int, Pose, int, float, float]  # kernel, pose, size, reaches of scale and angle


class Sweep:
    """Searches a scene for its kernels in many poses, from coarse to fine.

    Parameters
    ----------
    scene : Scene
    options : Options
        With poses.
    outputs : Outputs

    Raises
    ------
    InputError
        As of `Views`, if the engine draws no maps, or if a kernel fits in no pose.
    """

    def __init__(self, scene: Scene, options: Options, outputs: Outputs) -> None:
        poses, engine, per_kernel = options.poses, options.engine, options.per_kernel
        assert poses is not None
        if engine != "auto" and not engines.load(engine).HAS_MAP:
            raise InputError(
                f"engine {engine} draws no map, as poses that are searched coarse to fine need;"
                " use --exhaustive (exhaustive=True) or another engine"
            )
        self._scene, self._poses, self._options = scene, poses, options
        self._per_kernel, self._top = per_kernel, matches_wanted(options)
        self._views = Views(scene, options, engine, outputs, max(poses.scales.values), halved=True)
        self._refinement = Refinement(self._views, scene, poses, options, per_kernel=per_kernel)
        self._check()

    def _check(self) -> None:
        """Refuse kernels that fit in no pose."""
        sought_for = {look[0] for look in self.looks}
        for number in range(len(self._scene.kernels)):
            if number not in sought_for:
                raise jobs.nothing_fits(self._scene, number, self._poses)

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
                share, _ = spacing(kernel, scales[-1] / 2**level)
                fitting = {scale: self._fitting(kernel, scale) for scale in scales}
                able = [scale for scale in scales if fitting[scale]]
                for scale, reach in poses.scales.representatives(able, share, relative=True):
                    _, degrees = spacing(kernel, scale / 2**level)
                    turns = poses.angles.representatives(fitting[scale], degrees)
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
            if jobs.fits(self._scene.area, kernel, Pose(scale, angle))
        ]

    def _look(self, look: _Look, most: int) -> list[_Candidate]:
        number, pose, level, scale_reach, angle_reach = look
        group = level, number, pose.scale
        return [
            _Candidate(number, pose, spot, group, scale_reach, angle_reach)
            for spot in self._views.everywhere(number, pose, level, most)
        ]

    # -- following ---------------------------------------------------------------------------

    def _spacing(self, candidate: _Candidate, level: int) -> tuple[float, float]:
        """Return the spacing of scales, as a share, and of angles, in degrees."""
        return spacing(self._scene.sizes[candidate.number], candidate.pose.scale / 2**level)

    def _follow(self, candidate: _Candidate, level: int) -> _Candidate:
        """The best of the poses and places around a candidate, at a finer size."""
        if level == candidate.group[0] > 0 and not (candidate.scale_reach or candidate.angle_reach):
            return candidate
        pose = candidate.pose
        share, degrees = self._spacing(candidate, level)
        scales = self._poses.scales.neighbours(
            pose.scale, candidate.scale_reach, share * pose.scale
        )
        angles = self._poses.angles.neighbours(pose.angle, candidate.angle_reach, degrees)
        # One after the other: a wrong scale blurs which angle is best, but hardly moves it.
        turned = [
            replace(near, angle_reach=reach)
            for angle, reach in angles
            if (near := candidate.posed(replace(pose, angle=angle), self._views, level))
        ]
        best = max(turned, key=lambda c: c.score, default=candidate)
        scaled = [
            replace(best, scale_reach=reach) for scale, reach in scales if scale == pose.scale
        ]
        scaled += [
            replace(near, scale_reach=reach)
            for scale, reach in scales
            if scale != pose.scale
            and (near := best.posed(replace(best.pose, scale=scale), self._views, level))
        ]
        return max(scaled, key=lambda c: c.score, default=best)

    def _turned(self, candidate: _Candidate, level: int) -> list[_Candidate]:
        """Other angles and flips at a candidate's place: what looked the same half as large."""
        poses, pose = self._poses, candidate.pose
        _, degrees = self._spacing(candidate, level)
        turns = poses.angles.representatives(poses.angles.values, degrees)
        others = [
            replace(found, angle_reach=reach)
            for flip, (angle, reach) in product(poses.flips, turns)
            if (found := candidate.posed(Pose(pose.scale, angle, flip), self._views, level))
        ]
        return sorted(others, key=lambda c: -c.score)[:_TURNED]

    # -- all of it ---------------------------------------------------------------------------

    def _estimate(self) -> float:
        """Seconds that the first looks take, from some of them."""
        some = self.looks[:: -(-len(self.looks) // _SAMPLES)]
        started = time.perf_counter()
        for look in some:
            self._look(look, _KEPT)
        each = (time.perf_counter() - started) / len(some)
        return each * len(self.looks) / self._options.threads

    def run(self, observer: Observer) -> list[Scored]:
        """The poses that have good windows, with these windows."""
        self._announce(observer)
        top = self._top
        kept = MOST if top is None else max(_KEPT, _KEPT_EACH * top)
        of_group = _KEPT_OF_GROUP
        # Following and finishing take about as long as the first looks.
        total, steps = 2 * len(self.looks), self._views.levels + 1
        begun: dict[int, list[_Candidate]] = defaultdict(list)
        first = in_order(lambda look: self._look(look, kept), self.looks, self._options.threads)
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
        finished = self._refinement.of_followed([c for c in found if c.spot.window])
        threshold = self._options.numeric_threshold
        if (
            top is None
            and sum(c.score >= (-1 if threshold is None else threshold) for c in found) >= MOST
        ):
            observer.notice(
                f"more than {MOST:,} places may reach the threshold, and no more are"
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
            in_order(lambda c: self._turned(c, level), best, self._options.threads)
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
        if count > jobs.MANY:  # not tried for few
            jobs.warn(count, self._estimate(), observer)

    def _each(
        self, work: Callable[[_Candidate], _Candidate], todo: Sequence[_Candidate]
    ) -> list[_Candidate]:
        with closing(in_order(work, todo, self._options.threads)) as done:
            return list(done)

    def _place(self, candidate: _Candidate) -> tuple[int, int, int]:
        """Return a key that candidates of a kernel share if they lie within half of it."""
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
