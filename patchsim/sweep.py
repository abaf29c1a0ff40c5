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
from functools import cached_property, lru_cache, partial
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from patchsim import budget, engines, metrics, peaks, plan, sought, tiles, walk
from patchsim.engines import Bounds, Problem
from patchsim.errors import InputError
from patchsim.metrics import Kernel, Pixels, Visible
from patchsim.options import AUTO, Options
from patchsim.peaks import overlapping
from patchsim.plan import Plan
from patchsim.poses import DECIMALS, Axis, Pose, Poses, Posing
from patchsim.scene import Scene
from patchsim.sought import Scored, Sought
from patchsim.tiles import Tile

if TYPE_CHECKING:
    from patchsim.observer import Observer
    from patchsim.outputs import Outputs

# So few poses are all searched in full: exact, and quick enough.
FEW = 8

# What a kernel must keep when it is halved: pixels that count, along a side, and of its variance.
_LEAST_AREA = 100
_LEAST_SIDE = 4
_LEAST_VARIANCE = 0.2

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

_REACH = 2  # pixels around a candidate that are searched at the next size
_LEAST_KEPT = 24
_FINISHED_EACH = 3  # candidates whose pose is refined, for each match
_MANY = 1000  # poses, whose cost is told before
_SAMPLES = 8
_CACHED = 64  # posed kernels


class Found:
    """Some windows of a kernel with their exact scores, as `peaks.resolve` asks for them."""

    map: NDArray[np.float32] | None = None
    error = 0.0
    singly = blocks = block_count = 0  # nothing is left to score

    def __init__(self, kernel: tuple[int, int], windows: Iterable[tuple[int, int, float]]) -> None:
        self.kernel = kernel
        self._windows = sorted(set(windows), key=lambda w: (-w[2], w[0], w[1]))

    @property
    def ceiling(self) -> float:
        """The score of the best window left."""
        return self._windows[0][2] if self._windows else -math.inf

    def best(self, floor: float) -> tuple[int, int, float] | None:
        """The best window left, y, x and its score, or None if none reaches the floor."""
        first = self._windows[0] if self._windows else None
        return first if first and first[2] >= floor else None

    def drop(self, y: int, x: int) -> None:
        """Drop one window."""
        self._windows = [window for window in self._windows if window[:2] != (y, x)]

    def drop_overlapping(self, box: tuple[int, int, int, int], overlap: float) -> None:
        """Drop windows whose intersection over union with the box (y, x, h, w) is larger."""
        self._windows = [
            (y, x, score)
            for y, x, score in self._windows
            if not any(
                over.any()
                for _, over in overlapping(
                    (1, 1), self.kernel, (1, 1), (box[0] - y, box[1] - x, *box[2:]), overlap
                )
            )
        ]


@dataclass(frozen=True)
class _Candidate:
    """A pose at a place; `y`, `x` are the middle of its box, in pixels of the picture."""

    score: float
    y: float
    x: float
    number: int
    pose: Pose
    group: tuple[int, int, float]  # size, kernel and scale that it was found at
    scale_reach: float  # how far from the pose's own the true values may be
    angle_reach: float
    window: tuple[int, int] | None = None  # at full size


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

    Raises
    ------
    InputError
        If the engine draws no maps, or a kernel fits in no pose.
    """

    def __init__(
        self, scene: Scene, poses: Poses, options: Options, engine: str, wanted: Outputs
    ) -> None:
        if engine != "auto" and engines.searches(engine):
            raise InputError(
                f"engine {engine} draws no map, as the first looks at {poses.count:,} poses need;"
                " use --exhaustive (exhaustive=True) or another engine"
            )
        self._scene, self._poses, self._options = scene, poses, options
        self._posings = [Posing(kernel) for kernel in scene.kernels]
        largest = max(poses.scales.values)
        sides = [math.hypot(*size) * largest for size in scene.sizes]
        around = (math.ceil(max(sides)) + 1,) * 2
        self._start = scene.area.origin(around)
        held = sought.holding(scene, [around], wanted, 0) * 4 // 3  # and the halved ones
        if held > options.memory:
            raise InputError(
                f"memory {budget.text(options.memory)} does not suffice;"
                f" {budget.text(held)} is the least for these pictures and poses"
            )
        image = scene.area.under(scene.image, [around], scene.zero)[0]
        self._sizes = [image]
        self._seen = scene.seen([around])

        @lru_cache(1024)
        def plan_of(problem: Problem) -> Plan:
            return plan.make(
                problem, engine=engine, device=options.device, memory=options.memory, held=held
            )

        self._plan_of = plan_of
        self.sought = lru_cache(_CACHED)(self._sought)
        self._shown = lru_cache(_CACHED)(self._posed_at)

    def _sought(self, number: int, pose: Pose) -> Sought | None:
        """A pose at full size; None where it does not fit the picture."""
        scene, area = self._scene, self._scene.area
        kernel = sought.fitting(scene, self._posings[number], pose, self._options.metric)
        if kernel is None:
            return None
        size = kernel.pixels.shape[:2]
        (top, left), (rows, cols) = self._first(size), area.extent(size)
        pixels = self._sizes[0][top : top + rows, left : left + cols]
        problem = self._problem(kernel, (rows, cols), None)
        visible = self._visible(0, np.s_[top : top + rows, left : left + cols])
        origin = area.origin(size)
        return Sought(number, pose, kernel, pixels, origin, self._plan(problem), visible)

    def _visible(self, level: int, where: tuple[slice, slice]) -> Visible | None:
        """How much is of a part of the image at a size."""
        seen = self._seen[level]
        return None if seen is None else seen.part(where)

    def _first(self, size: tuple[int, int]) -> tuple[int, int]:
        """Row and column in the full image of the first window of this (height, width)."""
        origin = self._scene.area.origin(size)
        return origin[0] - self._start[0], origin[1] - self._start[1]

    def _problem(
        self, kernel: Kernel, extent: tuple[int, int], stride: tuple[int, int] | None = (1, 1)
    ) -> Problem:
        found = sought.problem(
            self._scene, self._options, kernel, extent, stride=stride, map_wanted=True, threads=1
        )
        return replace(found, tolerance=0.0)

    def _plan(self, problem: Problem) -> Plan:
        """One for all problems that differ by their weights' sum alone."""
        if problem.weight is None:
            return self._plan_of(problem)
        found = self._plan_of(replace(problem, weight=1, least=0))
        return replace(found, chosen=replace(found.chosen, problem=problem))

    # -- sizes -------------------------------------------------------------------------------

    def _posed_at(self, number: int, pose: Pose, level: int) -> Kernel | None:
        return self._posings[number](replace(pose, scale=pose.scale / 2**level))

    def _first_level(self, number: int, scale: float) -> int:
        """How often the picture is halved for the first look at a kernel."""
        kernel = self._scene.kernels[number]
        height, width = kernel.pixels.shape[:2]
        counted = height * width if kernel.weights is None else np.count_nonzero(kernel.weights)
        level, variance = 0, _variance(kernel)
        while True:
            by = scale / 2 ** (level + 1)
            if counted * by * by < _LEAST_AREA or min(height, width) * by < _LEAST_SIDE:
                return level
            shown = self._posings[number](Pose(scale=by)) if by < 1 else kernel
            if shown is None or _variance(shown) < _LEAST_VARIANCE * variance:
                return level
            if min(self._sizes[level].shape[:2]) < 2 * _LEAST_SIDE:
                return level
            level += 1
            if len(self._sizes) == level:
                self._halve()

    def _spacing(self, number: int, scale: float, level: int) -> tuple[float, float]:
        """Of scales, as a share, and of angles in degrees, that move a corner by `_SPACING`."""
        height, width = self._scene.sizes[number]
        radius = math.hypot(height, width) / 2 * scale / 2**level
        share = _SPACING / max(radius, 1.0)
        return share, math.degrees(share)

    def _halve(self) -> None:
        self._sizes.append(halved(self._sizes[-1]))
        seen = self._seen[-1]
        if seen is not None:
            seen = Visible(halved(seen.levels[..., None])[..., 0], seen.most)
        self._seen.append(seen)

    # -- the first look ----------------------------------------------------------------------

    @cached_property
    def looks(self) -> list[_Look]:
        """The poses that are compared with all windows, at the size where they begin."""
        found: dict[tuple[int, float, float, bool], _Look] = {}
        poses = self._poses
        for number, kernel in enumerate(self._scene.sizes):
            levels = defaultdict(list)
            for scale in poses.scales.values:
                levels[self._first_level(number, scale)].append(scale)
            for level, scales in sorted(levels.items()):
                share, _ = self._spacing(number, scales[-1], level)
                for scale, reach in _spread(scales, poses.scales.step, share, relative=True):
                    _, degrees = self._spacing(number, scale, level)
                    turns = _spread(poses.angles.values, poses.angles.step, degrees)
                    for flip, (angle, around) in product(poses.flips, turns):
                        pose = Pose(scale, angle, flip)
                        if self._scene.area.fits(pose.box(kernel)):
                            look = number, pose, level, reach, around
                            found.setdefault((number, *pose.key), look)
            if not any(number == look[0] for look in found.values()):
                raise sought.nothing_fits(self._scene, number, poses)
        return list(found.values())

    def _look(self, look: _Look, most: int) -> list[_Candidate]:
        """The best windows of one pose, at most one of each part of the picture."""
        number, pose, level, reach, around = look
        kernel = self._shown(number, pose, level)
        if kernel is None:
            return []
        factor = 2**level
        height, width = kernel.pixels.shape[:2]
        # With padding, smaller poses have no windows far outside.
        box = pose.box(self._scene.sizes[number])
        (top, left), (rows, cols) = self._first(box), self._scene.area.extent(box)
        down, across = top // factor, left // factor
        where = np.s_[
            down : max(-(-(top + rows) // factor), down + height),
            across : max(-(-(left + cols) // factor), across + width),
        ]
        view, visible = self._sizes[level][where], self._visible(level, where)
        if view.shape[0] < height or view.shape[1] < width:
            return []
        stride = tiles.clamped(self._options.stride, (rows, cols)) if level == 0 else (1, 1)
        problem = self._problem(kernel, view.shape[:2], stride)
        if not metrics.scores(kernel, problem.metric):
            return []
        found = []
        side = max(2, min(height // stride[0], width // stride[1]) // 2)
        chosen = self._plan(problem)
        prepared = walk.prepare(chosen, kernel)
        with closing(walk.run(chosen, view, prepared, visible=visible)) as scored:
            for tile, bounds in scored:
                for row, col, score in _block_maxima(_shown(bounds), side, most):
                    y = down + (tile.top + row) * stride[0] + height / 2
                    x = across + (tile.left + col) * stride[1] + width / 2
                    group = level, number, pose.scale
                    found.append(
                        _Candidate(
                            score, y * factor, x * factor, number, pose, group, reach, around
                        )
                    )
        return sorted(found, key=lambda c: -c.score)[:most]

    # -- following ---------------------------------------------------------------------------

    def _follow(self, candidate: _Candidate, level: int) -> _Candidate:
        """The best of the poses and places around a candidate, at a finer size."""
        if level == candidate.group[0] > 0 and not (candidate.scale_reach or candidate.angle_reach):
            return candidate
        pose = candidate.pose
        share, degrees = self._spacing(candidate.number, pose.scale, level)
        scales = _around(self._poses.scales, pose.scale, candidate.scale_reach, share * pose.scale)
        angles = _around(self._poses.angles, pose.angle, candidate.angle_reach, degrees, turn=True)
        # One after the other: a wrong scale blurs which angle is best, but hardly moves it.
        turned = [
            replace(near, angle_reach=reach)
            for angle, reach in angles
            if (near := self._near(candidate, replace(pose, angle=angle), level))
        ]
        best = max(turned, key=lambda c: c.score, default=candidate)
        scaled = [
            replace(near, scale_reach=reach)
            for scale, reach in scales
            if (near := self._near(best, replace(best.pose, scale=scale), level))
        ]
        return max(scaled, key=lambda c: c.score, default=best)

    def _near(self, candidate: _Candidate, pose: Pose, level: int) -> _Candidate | None:
        """The best window of a pose around a candidate's place."""
        if level == 0:
            return self._exactly(candidate, pose)
        kernel = self._shown(candidate.number, pose, level)
        if kernel is None:
            return None
        image, factor = self._sizes[level], 2**level
        height, width = kernel.pixels.shape[:2]
        top, rows = _span(candidate.y / factor - height / 2, image.shape[0] - height)
        left, cols = _span(candidate.x / factor - width / 2, image.shape[1] - width)
        if rows < 1 or cols < 1:
            return None
        where = np.s_[top : top + rows - 1 + height, left : left + cols - 1 + width]
        view = image[where]
        problem = self._problem(kernel, view.shape[:2])
        if not metrics.scores(kernel, problem.metric):
            return None
        visible = self._visible(level, where)
        scores = _shown(self._scored(problem, kernel, view, visible))
        row, col = divmod(int(scores.argmax()), scores.shape[1])
        if scores[row, col] == -np.inf:
            return None
        y, x = (top + row + height / 2) * factor, (left + col + width / 2) * factor
        return replace(candidate, score=float(scores[row, col]), y=y, x=x, pose=pose)

    def _exactly(self, candidate: _Candidate, pose: Pose) -> _Candidate | None:
        """The same at full size, where windows are `stride` apart and scores exact."""
        full = self.sought(candidate.number, pose)
        if full is None:
            return None
        problem = full.plan.problem
        height, width = problem.kernel[:2]
        # The middle of the box, in pixels of what the pose is searched in.
        down, across = self._first(full.size)
        y, x = candidate.y - down, candidate.x - across
        rows, cols = problem.map_shape
        top, tall = _span(y - height / 2, rows - 1, problem.stride[0])
        left, wide = _span(x - width / 2, cols - 1, problem.stride[1])
        if tall < 1 or wide < 1:
            return None
        tile = Tile(top, left, tall, wide)
        where = tile.source(problem.kernel[:2], problem.stride)
        view = full.pixels[where]
        visible = full.visible and full.visible.part(where)
        part = self._problem(full.kernel, view.shape[:2], problem.stride)
        exact = metrics.exact(
            view, full.kernel.pixels, problem.metric, problem.span, full.kernel.weights, visible
        )
        field = peaks.Field((tall, wide), problem.kernel[:2], problem.stride, exact)
        field.put(Tile(0, 0, tall, wide), self._scored(part, full.kernel, view, visible))
        best = field.best(-math.inf)
        if best is None:  # too little is visible
            return None
        row, col = where[0].start + best[0], where[1].start + best[1]
        y, x = row + down + height / 2, col + across + width / 2
        return replace(candidate, score=best[2], y=y, x=x, pose=pose, window=(row, col))

    def _scored(
        self, problem: Problem, kernel: Kernel, view: Pixels, visible: Visible | None
    ) -> Bounds:
        prepared = walk.prepare(self._plan(problem), kernel)
        return prepared(view) if visible is None else prepared(view, visible.levels)

    # -- between the steps -------------------------------------------------------------------

    def _between(self, candidate: _Candidate) -> _Candidate:
        """The best pose between the steps of ranges, uphill from a candidate at full size."""
        scales, angles = self._poses.scales, self._poses.angles
        share, degrees = self._spacing(candidate.number, candidate.pose.scale, 0)
        step = 2.0
        while step * _SPACING >= _LAST_SPACING:
            moves = [(step * share, 0.0), (-step * share, 0.0)] if scales.step else []
            moves += [(0.0, step * degrees), (0.0, -step * degrees)] if angles.step else []
            better = True
            while better:
                better = False
                for by, turn in moves:
                    pose = replace(
                        candidate.pose,
                        scale=_rounded(scales, candidate.pose.scale * (1 + by)),
                        angle=_rounded(angles, candidate.pose.angle + turn, turn=True),
                    )
                    found = self._exactly(candidate, pose) if pose != candidate.pose else None
                    if found and found.score > candidate.score:
                        candidate, better = found, True
            step /= 2
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
        """The poses that have good windows, with these windows.

        Raises
        ------
        InputError
            If a kernel fits in no pose.
        """
        self._announce(observer)
        top = self._top
        kept = _KEPT_OF_ALL if top is None else max(_KEPT, _KEPT_EACH * top)
        of_group = _KEPT_OF_GROUP
        begun: dict[int, list[_Candidate]] = defaultdict(list)
        first = walk.in_order(lambda look: self._look(look, kept), self.looks, self._threads)
        with closing(first) as looked:
            for done, (look, best) in enumerate(zip(self.looks, looked, strict=True), 1):
                begun[look[2]] += best
                observer.progress(done, len(self.looks) + 1)
        found: list[_Candidate] = []
        for level in reversed(range(len(self._sizes))):
            found += self._places(begun[level], kept, of_group)
            found = self._each(partial(self._follow, level=level), found)
            kept, of_group = max(kept // 2, _LEAST_KEPT), max(of_group // 2, 1)
            found = self._places(found, kept, of_group)
        return self._finished([c for c in found if c.window])

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
        if count > _MANY:
            seconds = self._estimate()
            about = f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
            observer.notice(f"{count:,} poses are searched, which takes about {about}")

    def _finished(self, found: list[_Candidate]) -> list[Scored]:
        """Candidates at full size, with the poses between the steps of ranges."""
        top, threshold = self._top, self._options.given_threshold
        if self._poses.between:
            found = sorted(found, key=lambda c: -c.score)
            if threshold is not None:
                # As far below as it is from 1: a better pose can lift the others above.
                found = [c for c in found if c.score >= 2 * threshold - 1]
            if top is not None:
                found = found[: _FINISHED_EACH * (top + 1)]
            found = self._each(self._between, found)
        windows: dict[tuple[int, Pose], list[tuple[int, int, float]]] = defaultdict(list)
        for candidate in found:
            assert candidate.window is not None, "at full size there is one"
            windows[candidate.number, candidate.pose].append((*candidate.window, candidate.score))
        listed: list[Scored] = []
        for (number, pose), own in windows.items():
            full = self.sought(number, pose)
            assert full is not None, "it has windows"
            listed.append((full, Found(full.size, own)))
        return listed

    def between(self, scored: Sequence[Scored]) -> list[Scored]:
        """The best windows of poses between those that were searched in full.

        The windows that are given are used up.
        """
        top, threshold = self._top, self._options.given_threshold
        best = peaks.resolve(
            [field for _, field in scored],
            [one.origin for one, _ in scored],
            top=None if top is None else _FINISHED_EACH * (top + 1),
            threshold=None if threshold is None else 2 * threshold - 1,
            overlap=self._options.overlap,
        )
        found = []
        for peak in best:
            one = scored[peak.field][0]
            height, width = one.size
            window = peak.y - one.origin[0], peak.x - one.origin[1]
            down, across = self._first(one.size)
            y, x = window[0] + down + height / 2, window[1] + across + width / 2
            group = 0, one.number, one.pose.scale
            found.append(
                _Candidate(peak.score, y, x, one.number, one.pose, group, 0.0, 0.0, window)
            )
        return self._finished(found)

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
    def _threads(self) -> int:
        return self._options.threads

    def _places(self, found: list[_Candidate], most: int, of_group: int) -> list[_Candidate]:
        """The best, and some of each group; of one place only a few poses."""
        kept: list[_Candidate] = []
        places: dict[tuple[int, int, int], int] = defaultdict(int)
        groups: dict[tuple[int, int, float], int] = defaultdict(int)
        for candidate in sorted(found, key=lambda c: -c.score):
            if len(kept) >= most and groups[candidate.group] >= of_group:
                continue
            side = max(1.0, min(self._scene.sizes[candidate.number]) * candidate.pose.scale / 2)
            place = candidate.number, int(candidate.y // side), int(candidate.x // side)
            if places[place] < _KEPT_OF_PLACE:
                places[place] += 1
                groups[candidate.group] += 1
                kept.append(candidate)
        return kept


def halved(pixels: Pixels) -> Pixels:
    """Means of 2x2 pixels, in their type; an odd last row or column counts twice."""
    height, width, _ = pixels.shape
    if height % 2 or width % 2:
        pixels = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), "edge")
    wide = np.uint32 if pixels.dtype.kind == "u" else pixels.dtype
    total = pixels[::2, ::2].astype(wide)
    for top, left in ((0, 1), (1, 0), (1, 1)):
        total += pixels[top::2, left::2]
    if pixels.dtype.kind == "u":
        return ((total + 2) >> 2).astype(pixels.dtype)
    return total / 4


def _shown(bounds: Bounds) -> NDArray[np.float64]:
    """The scores; of windows of which too little is visible -inf."""
    return bounds.map if bounds.hidden is None else np.where(bounds.hidden, -np.inf, bounds.map)


def _variance(kernel: Kernel) -> float:
    """Of the values that count, all channels together."""
    pixels = kernel.pixels.astype(np.float64)
    if kernel.weights is not None:
        weights = kernel.weights.reshape(*kernel.pixels.shape[:2], -1)
        counted = np.broadcast_to(weights > 0, pixels.shape)
        spread = [pixels[..., c][counted[..., c]].var() for c in range(pixels.shape[2])
                  if counted[..., c].any()]  # fmt: skip
        return float(np.sum(spread))
    return float(pixels.var((0, 1)).sum())


def _spread(
    values: Sequence[float], step: float, spacing: float, *, relative: bool = False
) -> list[tuple[float, float]]:
    """Values at most `spacing` apart instead of all, and how far around each what counts lies."""
    found = []
    first = 0
    while first < len(values):
        last = first
        wide = spacing * values[first] if relative else spacing
        while last + 1 < len(values) and values[last + 1] - values[first] <= wide:
            last += 1
        middle = (first + last) // 2
        reach = max(values[middle] - values[first], values[last] - values[middle])
        found.append((values[middle], max(reach, step / 2)))
        first = last + 1
    return found


def _around(
    axis: Axis, value: float, reach: float, spacing: float, *, turn: bool = False
) -> list[tuple[float, float]]:
    """Values around one, and how far around each of them what counts lies."""
    if reach == 0 or len(axis.values) == 1:
        return [(value, 0.0)]
    if axis.step:
        count = math.ceil(reach / spacing)
        apart = reach / count
        values = [_rounded(axis, value + i * apart, turn=turn) for i in range(-count, count + 1)]
        return [(found, apart / 2) for found in dict.fromkeys(values)]
    near = [found for found in axis.values if abs(found - value) <= reach + 10**-DECIMALS]
    return _spread(near, 0.0, spacing)


def _rounded(axis: Axis, value: float, *, turn: bool = False) -> float:
    """As it will be told, within the range; a full turn has no end."""
    whole = turn and axis.values[-1] - axis.values[0] + axis.step >= 360
    value = value % 360 if whole else axis.clamped(value)
    return round(value, DECIMALS)


def _block_maxima(
    scores: NDArray[np.float64], side: int, most: int
) -> list[tuple[int, int, float]]:
    """Row, column and score of the best cell of each block, the best `most` of them."""
    rows, cols = scores.shape
    down, across = -(-rows // side), -(-cols // side)
    padded = np.full((down * side, across * side), -np.inf)
    padded[:rows, :cols] = scores
    blocks = padded.reshape(down, side, across, side).transpose(0, 2, 1, 3).reshape(-1, side**2)
    cells = blocks.argmax(1)
    values = blocks[np.arange(len(blocks)), cells]
    first = np.argsort(-values, kind="stable")[:most]
    first = first[values[first] > -np.inf]
    top, left = np.divmod(first, across)
    row, col = np.divmod(cells[first], side)
    return list(
        zip(
            (top * side + row).tolist(),
            (left * side + col).tolist(),
            values[first].tolist(),
            strict=True,
        )
    )


def _span(start: float, last: int, stride: int = 1) -> tuple[int, int]:
    """First and number of the cells within `_REACH` pixels of a place, and within 0 to `last`."""
    first = max(0, math.ceil((start - max(_REACH, stride)) / stride))
    final = min(last, math.floor((start + max(_REACH, stride)) / stride))
    return first, final - first + 1
