"""Which fitted poses are matches: one for each thing, from what score on, and how far ahead.

Poses compete as windows do (`selection`), with two differences. Their frames are turned, and poses
of different scale may show one thing: a small pose inside a large one, with little of their union
in common. So the overlap of two poses is the intersection over union that they would have at the
smaller of their scales (`overlap`). And small poses score higher, because few pixels agree with
many places; so among poses of one thing that fit about equally well the one with the most evidence
is the match (`Candidate.evidence`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from patchsim.geometry import polygons
from patchsim.geometry.turned_boxes import TurnedBoxes
from patchsim.matches import auto_threshold
from patchsim.poses.pose import Pose

if TYPE_CHECKING:
    from patchsim.metrics.local_differences import Measured
    from patchsim.registration import Fitted

# A pose of another size may take the place of one that scores more if it is so many times as large,
# and if it goes so far towards an identical window as this share of the other's way. Scales that
# lie closer are estimates of one scale, of which the better score is the better estimate.
_OTHER_SCALE = 1.1
_FITS_AS_WELL = 0.9

# Places are known to a fraction of a pixel, so frames that touch may overlap by a little.
_SLACK = 0.01

# Bounds of overlaps are rounded by less than this share.
_ROUNDED = 1e-9

# How many scales are weighed, those of the candidates with the most evidence.
_SCALES = 64

# Pairs of frames that are compared together.
_PAIRS = 4096

# The least difference from the kernel that counts as evidence: half a step of 8 bits.
_LEAST_DIFFERENCE = 0.5 / 255


@dataclass(frozen=True)
class Candidate:
    """A kernel in a fitted pose, which may be a match.

    Attributes
    ----------
    number : int
        The kernel's number, from 0.
    fitted : Fitted
        In pixels of the image.
    pixels : float
        How many pixels of the kernel count.
    plain : float
        The score of a window that has the kernel's mean in every pixel.
    measured : Measured or None
        What criteria that are stricter than a score say of it, if any are asked for.
    """

    number: int
    fitted: Fitted
    pixels: float
    plain: float
    measured: Measured | None = None

    @property
    def score(self) -> float:
        return self.fitted.score

    @property
    def tie(self) -> tuple[float, int]:
        """The score and the kernel, which are equal for poses of which none is better."""
        # The last digits of what is fitted to equal pixels differ from place to place.
        return round(self.score, 9), self.number

    @property
    def scale(self) -> float:
        return self.fitted.pose.scale

    @cached_property
    def corners(self) -> tuple[tuple[float, float], ...]:
        return self.fitted.corners

    @property
    def radius(self) -> float:
        """The distance of the corners from the centre, in pixels."""
        sides = zip(self.fitted.size, self.fitted.pose.scales, strict=True)
        return math.hypot(*(side * scale for side, scale in sides)) / 2

    @property
    def skill(self) -> float:
        """How far it is on the way from a window of the kernel's mean, at 0, to an identical one.

        A skill score (A. H. Murphy, Mon. Wea. Rev. 116, 1988), at most 1.
        """
        return 1 - (1 - self.score) / max(1 - self.plain, _LEAST_DIFFERENCE)

    @property
    def evidence(self) -> float:
        """How much better the pose explains the image than the kernel's mean does, in nats.

        The logarithm of the ratio of the two likelihoods: for the pixels of the image that it
        covers, each as much as its mean difference is less than that of the mean.
        """
        before = max(1 - self.plain, _LEAST_DIFFERENCE)
        after = max(1 - self.score, _LEAST_DIFFERENCE)
        return self.pixels * self.scale**2 * math.log(before / after)


class PoseSelection(NamedTuple):
    """The matches of kernels that compete.

    Attributes
    ----------
    matches : list of Candidate
        Best first.
    margins : list of float or None
        For each match, its score less that of the best pose that is no match and overlaps none;
        None if there is none or none was asked for.
    threshold : float or None
        The lowest score of a match: given, or found; None without one, and where no place stands
        out.
    message : str or None
        How the threshold was found.
    rest : float or None
        The score of the best pose that is no match and overlaps none.
    """

    matches: list[Candidate]
    margins: list[float | None]
    threshold: float | None
    message: str | None
    rest: float | None


def overlap(first: Candidate, second: Candidate) -> float:
    """Return how much two poses overlap, 0 to 1.

    It is the area that their frames share over that of their union, both as large as at the smaller
    of their scales. Poses of one scale have their intersection over union. A pose of a kernel that
    lies inside a larger pose of it has 1.
    """
    shared = polygons.intersection_area(first.corners, second.corners)
    scale = min(first.scale, second.scale)
    both = scale**2 * (math.prod(first.fitted.size) + math.prod(second.fitted.size))
    return min(1.0, shared / (both - shared))


def select(
    candidates: Sequence[Candidate],
    *,
    top: int | None,
    threshold: float | str | None,
    overlap: float,
    margin: bool,
    accepts: Callable[[Candidate], bool] | None = None,
) -> PoseSelection:
    """Return the matches among candidates that compete.

    Parameters
    ----------
    candidates : sequence of Candidate
    top : int or None
        The largest number of matches; None for all.
    threshold : float, ``auto`` or None
    overlap : float
        Two matches overlap by at most so much.
    margin : bool
        Find the margins, too.
    accepts : Candidate -> bool, optional
        Whether one that reaches the threshold may be a match. One that may not suppresses no other,
        but counts among the places from whose scores ``auto`` finds the threshold.
    """
    if isinstance(threshold, str):
        places = apart(candidates, overlap, most=auto_threshold.DISTINCT)
        scores = [place.score for place in places]
        gap = auto_threshold.find_gap(scores, [place.plain for place in places])
        message = auto_threshold.describe(gap, scores)
        lowest, count = (gap.threshold, gap.count) if gap else (None, 0)
        if accepts is not None:
            reaching = [place for place in places[:count] if accepts(place)]
            places, count = reaching + places[count:], len(reaching)
    else:
        message, lowest = None, threshold
        floor = -math.inf if lowest is None else lowest
        if accepts is not None:
            candidates = [one for one in candidates if one.score < floor or accepts(one)]
        most = None if top is None else top + 1
        places = apart(candidates, overlap, most=most, lowest=lowest)
        count = sum(lowest is None or place.score >= lowest for place in places)
    matches = places[:count][:top]
    rest = places[len(matches)].score if len(places) > len(matches) else None
    margins: list[float | None] = [None] * len(matches)
    if margin and rest is not None:
        margins = [match.score - rest for match in matches]
    return PoseSelection(matches, margins, lowest, message, rest)


def apart(
    candidates: Iterable[Candidate],
    overlap: float,
    *,
    most: int | None = None,
    lowest: float | None = None,
) -> list[Candidate]:
    """Return the best candidates of which no two overlap by more than a limit, best first.

    The best of those left is taken, or a larger one of the same thing (see `_most_evident`), and
    those that overlap it are dropped. Equal scores rank by smaller y, then smaller x, then the
    earlier kernel; but of the poses of a kernel that overlap the one nearest to it as it is.

    Parameters
    ----------
    candidates : iterable of Candidate
    overlap : float
    most : int or None
        The largest number; None for all.
    lowest : float or None
        No candidate that scores less takes the place of one that scores as much. One at most is
        returned that scores less.
    """
    # Scores may round alike of which only some are high enough: they come first.
    left = sorted(candidates, key=lambda c: (lowest is not None and c.score < lowest, *_rank(c)))
    frames = _Frames(left, overlap)
    is_left = [True] * len(left)
    taken: list[int] = []
    for i, best in enumerate(left):
        if most is not None and len(taken) == most:
            break
        if not is_left[i]:
            continue
        rivals = frames.rivals(i, is_left)
        is_below = lowest is not None and best.score < lowest
        floor = lowest if lowest is not None and not is_below else -math.inf
        others = [left[j] for j in rivals if left[j].score >= floor]
        tie = best.tie
        tied = (other for other in others if other.tie == tie)
        nearest = min([best, *tied], key=lambda candidate: candidate.fitted.pose.deviation)
        chosen = _most_evident(nearest, others)
        k = i if chosen is best else next(j for j in rivals if left[j] is chosen)
        taken.append(k)
        if is_below:
            break
        if k != i:
            rivals = [k, *frames.rivals(k, is_left)]
        for j in (i, *rivals):
            is_left[j] = False
    return [left[k] for k in sorted(taken)]


def best_scale(candidates: Sequence[Candidate], overlap: float) -> Pose | None:
    """Return the scale for which there is the most evidence, as a pose; None without candidates.

    The evidence for a scale is that of all candidates, at most one for each place, whose scale is
    the same to a pixel at their corners. Where scales differ by less, their mean is returned,
    weighted by evidence. Scales along height and width that differ are always those of a list.
    """
    best: tuple[float, Pose] | None = None
    evident = sorted(candidates, key=lambda c: -c.evidence)
    for size in list(dict.fromkeys(c.fitted.pose.unturned for c in evident))[:_SCALES]:
        alike = [
            c
            for c in candidates
            if c.fitted.pose.stretch == size.stretch
            and abs(c.scale - size.scale) * c.radius <= c.scale
        ]
        places = [c for c in apart(alike, overlap) if c.evidence > 0]
        total = sum(c.evidence for c in places)
        if places and (best is None or total > best[0]):
            mean = sum(c.evidence * c.scale for c in places) / total
            best = total, size if all(c.scale == size.scale for c in places) else Pose(mean)
    return best and best[1]


def _rank(candidate: Candidate) -> tuple[float, float, float, int]:
    fitted, (score, number) = candidate.fitted, candidate.tie
    return -score, round(fitted.y, 3), round(fitted.x, 3), number


class _Frames:
    """The frames of n candidates, each compared with all: which overlap by more than a limit."""

    def __init__(self, candidates: Sequence[Candidate], limit: float) -> None:
        self._candidates, self._limit = candidates, limit + _SLACK
        fits = [candidate.fitted for candidate in candidates]
        rows = [(f.x, f.y, f.pose.angle, f.pose.scale, *f.pose.scales, *f.size) for f in fits]
        x, y, angle, self._scale, *sides = np.array(rows).reshape(-1, 8).T
        down, across, height, width = sides
        self._area = height * width
        self._boxes = TurnedBoxes(x, y, np.radians(angle), across * width / 2, down * height / 2)
        self._together = max(1, _PAIRS // max(len(rows), 1))
        self._first = 0
        # For each frame of a block: the frames that may overlap it, each with whether it must.
        self._near: list[list[tuple[int, bool]]] = []

    def rivals(self, i: int, is_left: Sequence[bool]) -> list[int]:
        """Return which of those that are left overlap frame i."""
        if not self._first <= i < self._first + len(self._near):
            self._first = i - i % self._together
            self._bound(slice(self._first, self._first + self._together))
        best = self._candidates[i]
        return [
            j
            for j, must in self._near[i - self._first]
            if is_left[j] and j != i and (must or self._is_overlapping(best, self._candidates[j]))
        ]

    def _bound(self, some: slice) -> None:
        """Find which of all frames may overlap each of some, and which must."""
        at_least, at_most = self._boxes.shared(some)
        scale = np.minimum(self._scale[some, None], self._scale)
        # As `overlap` has it: what is shared over the rest of both is more than the limit.
        bar = self._limit / (1 + self._limit) * scale**2 * (self._area[some, None] + self._area)
        if self._limit >= 1:
            bar[:] = np.inf
        rows, columns = np.nonzero(at_most > bar * (1 - _ROUNDED))
        must = at_least[rows, columns] > bar[rows, columns] * (1 + _ROUNDED)
        self._near = [[] for _ in bar]
        pairs = zip(columns.tolist(), must.tolist(), strict=True)
        for row, pair in zip(rows.tolist(), pairs, strict=True):
            self._near[row].append(pair)

    def _is_overlapping(self, first: Candidate, second: Candidate) -> bool:
        return overlap(first, second) > self._limit


def _most_evident(best: Candidate, rivals: Sequence[Candidate]) -> Candidate:
    """Return the best candidate, or a larger one that shows the same thing as well.

    A wrong small pose can lie anywhere inside a thing, and among so many one scores high by chance.
    A wrong large pose would have to fit by chance what lies around the thing, too.
    """
    larger = [
        rival
        for rival in rivals
        if rival.scale >= _OTHER_SCALE * best.scale
        and rival.skill >= _FITS_AS_WELL * best.skill
        and rival.evidence > best.evidence
    ]
    return max(larger, key=lambda rival: rival.evidence, default=best)
