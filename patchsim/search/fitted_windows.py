"""Poses fitted from windows: the exhaustive search of lists and steps, by the score of a pose."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from patchsim.machine.threads import in_order
from patchsim.matches import auto_threshold
from patchsim.matches.nms import BestFirst, Peak
from patchsim.matches.pose_selection import Candidate
from patchsim.options import AUTO, Options
from patchsim.poses.pose import Pose, Stretch
from patchsim.registration import SPACING, Fitted, Range
from patchsim.scene.build import Scene
from patchsim.search import criteria, jobs
from patchsim.search.exhaustive import Exhaustive
from patchsim.search.jobs import Found, Job, Scored
from patchsim.search.pose_scene import FirstLooks, PoseScene, check_memory, pose_scenes
from patchsim.search.pose_seconds import PoseSeconds, seconds_of_fits
from patchsim.search.progress import Progress, Tell, part_of
from patchsim.search.variants import at_one_scale, of_size, variants

if TYPE_CHECKING:
    from patchsim.events import Observer
    from patchsim.output.targets import Outputs

# Windows of a kernel at a scale that are fitted for each match that is asked for, and beyond it.
_EACH, _BEYOND = 3, 3
_MOST = 1024  # where all matches are asked for
_MOST_EXPECTED = 32  # where so many may be fitted, mostly few reach the threshold

_UNTIL_MEASURED = 5.0  # seconds, after which the pace of the search tells how long it will take
_PREPARATION = 0.1  # the share of the progress that makes and plans the posed kernels

# How much a fitted pose may score above the best window of its neighbours in a list or range.
_LIFTS = 0.1

# Windows of one scale that overlap by more show one thing in neighbouring poses.
_OVERLAP = 0.7

# Windows of a kernel, in one stretch of it.
_Peaks = dict[tuple[int, Stretch | None], list[tuple[Job, Peak]]]


class FittedWindows:
    """Every kernel in every pose of lists and steps against every window, and the best fitted.

    Parameters
    ----------
    scene : Scene
    options : Options
        With poses.
    outputs : Outputs
    observer : Observer
        Told of progress, which begins here: to make thousands of poses takes seconds.

    Raises
    ------
    InputError
        As of `Exhaustive`.
    """

    def __init__(
        self, scene: Scene, options: Options, outputs: Outputs, observer: Observer
    ) -> None:
        self._scene, self._options, self._observer = scene, options, observer
        self._progress, self._started = Progress(observer), time.perf_counter()
        self._can_warn = options.exhaustive  # else it is a map of one pose that is asked for
        told = part_of(partial(self._progress.tell, 0), 0, _PREPARATION)
        self._windows = Exhaustive(scene, options, outputs, tell=told)
        self._variants = variants(scene, options)
        check_memory(scene, options, self._variants, outputs)

    def run(self, observer: Observer) -> Found:
        """Score all windows, and fit the poses of the best."""
        fits = _MOST_EXPECTED if self._most == _MOST else self._most + _BEYOND
        expected = PoseSeconds.of(self._windows.jobs, fits, self._options)
        of_scores, of_contests, of_fits = expected.shares(1 - _PREPARATION)
        expected_seconds = expected.total if self._can_warn else None
        self._can_warn &= expected.total <= jobs.LONG
        told = part_of(self._tell, _PREPARATION, of_scores)
        scored = self._windows.run(observer, told, expected_seconds).scored
        peaks: _Peaks = defaultdict(list)
        told = part_of(self._tell, _PREPARATION + of_scores, of_contests)
        for group, told_of_group in self._by_scale(scored, told):
            for peak in self._best(group, told_of_group):
                job = group[peak.index].job
                peaks[job.number, job.pose.stretch].append((job, peak))
        fitted = (job for some in peaks.values() for job, _ in some)
        self._warn(self._seconds + seconds_of_fits(fitted, self._options))
        told = part_of(self._tell, 1 - of_fits, of_fits)
        candidates = at_one_scale(partial(self._fitted, peaks, told), self._options)
        self._tell(1)
        return Found(scored, candidates)

    @property
    def _most(self) -> int:
        """The number of windows of a kernel at a scale that are fitted at most, but `_BEYOND`."""
        if self._options.threshold == AUTO:
            return auto_threshold.DISTINCT
        top = self._options.top
        return _MOST if top is None or self._options.has_criteria else _EACH * top

    @property
    def _seconds(self) -> float:
        """The seconds that the search has taken."""
        return time.perf_counter() - self._started

    def _tell(self, share: float) -> None:
        """Tell of the share that is done, and announce a search that is slower than expected."""
        self._progress.tell(0, share)
        if self._can_warn and share > 0 and self._seconds > _UNTIL_MEASURED:
            self._warn(self._seconds / share)

    def _warn(self, seconds: float) -> None:
        """Announce the cost of a search that takes so many seconds, if much of that is left."""
        if self._can_warn and seconds - self._seconds > jobs.LONG:
            self._can_warn = False
            jobs.warn(self._windows.jobs, self._observer, seconds)

    @staticmethod
    def _by_scale(scored: Sequence[Scored], tell: Tell) -> Iterator[tuple[list[Scored], Tell]]:
        """Yield the poses of each kernel at each scale, and what is told of their contest."""
        groups: dict[tuple[int, Pose], list[Scored]] = defaultdict(list)
        for one in scored:
            groups[one.job.number, one.job.pose.unturned].append(one)
        done = 0
        for group in groups.values():
            yield group, part_of(tell, done / len(scored), len(group) / len(scored))
            done += len(group)
            tell(done / len(scored))

    def _best(self, group: Sequence[Scored], tell: Tell) -> list[Peak]:
        """Return the best windows of a kernel at one scale; they are used up."""
        asked: set[int] = set()

        def told(index: int, peaks: int) -> None:
            asked.add(index)
            tell((len(asked) / len(group) + peaks / (self._most + _BEYOND)) / 2)

        overlap = max(self._options.overlap, _OVERLAP)
        contest = BestFirst(
            [one.windows for one in group],
            [one.job.origin for one in group],
            overlap=overlap,
            asked=told,
        )
        threshold = criteria.least_score(self._options)
        floor = None if threshold is None else threshold - min(1 - threshold, _LIFTS)
        return contest.best(self._most, floor) + contest.best(_BEYOND, None)

    def _fitted(self, peaks: _Peaks, tell: Tell, size: Pose | None) -> list[Candidate]:
        """Fit the poses of windows, at any scale that was asked for or at one."""
        candidates: list[Candidate] = []
        threads = self._options.threads
        if self._options.same_scale:  # which fits them twice
            tell = part_of(tell, 0 if size is None else 0.5, 0.5)
        done, total = 0, sum(map(len, peaks.values()))
        kernels = of_size(self._variants, size)
        for posed in pose_scenes(self._scene, self._options, kernels, FirstLooks()):
            fit = partial(_fit, posed, self._options, size)
            with closing(in_order(fit, peaks[posed.number, posed.stretch], threads)) as fitted:
                poses = []
                for one in fitted:
                    poses += [] if one is None else [one]
                    done += 1
                    tell(done / total)
            candidates += [posed.candidate(one) for one in poses if posed.is_allowed(one)]
        return candidates


def _fit(
    posed: PoseScene, options: Options, size: Pose | None, window: tuple[Job, Peak]
) -> Fitted | None:
    """Fit the pose of a window; None where another scale than its own is asked for."""
    job, peak = window
    poses, pose = options.poses, job.pose
    assert poses is not None
    if size is not None:
        # In a list another scale is another pose; within a range the nearest windows are fitted.
        reach = poses.scales.step or pose.scale * 2 / math.hypot(*posed.size)
        if abs(pose.scale - size.scale) > (reach if poses.scales.is_range else 0.0):
            return None
        pose = pose._replace(scale=size.scale)
    start = posed.start(peak.y, peak.x, job.size, pose)
    scales = Range(start.pose.scale, start.pose.scale)
    if size is None and poses.scales.is_range:
        scales = Range(*poses.scales.span)
    angles = Range(pose.angle, pose.angle)
    if poses.angles.is_range:
        angles = Range(*poses.angles.span)
    free = ["place"]
    free += ["angle"] if angles.low < angles.high else []
    free += ["scale"] if scales.low < scales.high else []
    refine = partial(posed.search.refine, posed.kernel, free=tuple(free), scales=scales)
    fitted = refine(start, angles=angles)
    if poses.angles.is_range:
        return fitted
    # Windows lie at whole pixels, so that the best of them may be one of a neighbouring angle.
    return _at_listed_angle(refine, fitted, poses.angles.values)


def _at_listed_angle(
    refine: Callable[..., Fitted], fitted: Fitted, angles: tuple[float, ...]
) -> Fitted:
    """Return a pose at the listed angle near its own that fits best, at its best place."""
    near = math.degrees(SPACING / max(math.hypot(*fitted.size) / 2 * fitted.pose.scale, 1.0))
    tried = [fitted]
    for angle in angles:
        apart = abs(fitted.pose.angle - angle) % 360
        if 0 < min(apart, 360 - apart) <= near:
            turned = replace(fitted, pose=fitted.pose._replace(angle=angle))
            tried.append(refine(turned, angles=Range(angle, angle)))
    return min(tried, key=lambda one: (-one.score, one.pose.deviation))
