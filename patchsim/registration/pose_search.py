"""The search for a kernel in a picture: its place, angle and scale, between pixels and steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from patchsim.machine.threads import in_order
from patchsim.metrics import Kernel, Visibility
from patchsim.poses.pose import Pose
from patchsim.registration import descent
from patchsim.registration.first_look import BAND_BYTES
from patchsim.registration.fitted import Fitted
from patchsim.registration.kept_candidates import NEARLY, Limits, thinned
from patchsim.registration.levels import KernelLevels
from patchsim.registration.planes import KernelPlane, KernelPlanes, Planes
from patchsim.registration.polish import Polish, distinct
from patchsim.registration.scoring import Scoring
from patchsim.types import Pixels


@dataclass(frozen=True)
class Range:
    """The scales or the angles, in degrees, that are searched.

    Attributes
    ----------
    low, high : float
        Equal if there is one value. Angles that reach over 360 degrees are a whole turn.
    values : tuple of float
        Angles between `low` and `high` that alone are searched; empty for all. Scales have none.
    step : float, optional
        The coarsest spacing allowed in the first look where scales are a range; without one the
        kernel tells it.
    """

    low: float
    high: float
    values: tuple[float, ...] = ()
    step: float | None = None


class PoseSearch:
    """Finds kernels at any place, angle and scale of one picture.

    Parameters
    ----------
    picture : array [H, W, C] of uint8, uint16, float32 or float64
    metric : str
        One of `choices.METRICS`.
    data_range : float
        The data range R.
    visible : Visibility, optional
        The visibility [H, W] of the picture.
    limits : float64 array [C, 2], optional
        The ends of the data range in each channel.
    least_seen : float
        The least visible share of a pose that is wanted; those with clearly less are not followed.
    bounds : (top, left, bottom, right), optional
        The pixels that posed kernels may cover; by default all. A corner may lie up to a pixel
        outside.
    threads : int
    band_bytes : int
        The memory of the first look, for each thread; what `first_look_bytes` tells, or more.
    prepared : KernelPlanes, optional
        Levels that are already made, of one of the kernels.
    """

    def __init__(
        self,
        picture: Pixels,
        metric: str,
        data_range: float,
        *,
        visible: Visibility | None = None,
        limits: NDArray[np.float64] | None = None,
        least_seen: float = 0.0,
        bounds: tuple[float, float, float, float] | None = None,
        threads: int = 1,
        band_bytes: int = BAND_BYTES,
        prepared: KernelPlanes | None = None,
    ) -> None:
        self._metric = metric
        self._scoring = Scoring(picture, metric, data_range, visible, limits)
        self._least_seen = least_seen
        self._bounds = bounds or (0.0, 0.0, float(picture.shape[0]), float(picture.shape[1]))
        self._threads = threads
        self._band_bytes, self._prepared = band_bytes, prepared
        self._planes = Planes(picture, visible, limits)
        self._full = data_range * self._planes.unit.gain

    def find(
        self,
        kernel: Kernel,
        scales: Range,
        angles: Range,
        flips: Sequence[str] = ("none",),
        *,
        threshold: float | None = None,
        most: int | None = None,
        overlap: float = 0.5,
        rivals: int = 0,
        tell: Callable[[float], None] | None = None,
    ) -> list[Fitted]:
        """Return the places and poses where the score has a local maximum, best first.

        Parameters
        ----------
        kernel : Kernel
            Of the picture's type and channels.
        scales, angles : Range
        flips : sequence of str
            Some of `pose.FLIPS`.
        threshold : float, optional
            The least score of what is returned, but for rivals.
        most : int, optional
            The number of matches that are wanted; more are returned, so that they have rivals.
        overlap : float
            The largest overlap that matches will be allowed. Of one place only the best few poses
            are followed; what is returned may still overlap.
        rivals : int
            If not 0, poses that score less than the threshold are returned as well, about so many
            or more where many reach it, so that matches have margins.
        tell : share -> None, optional
            Told of the share of the first looks that is done, which take most of the time. It
            falls where one is repeated.

        Returns
        -------
        list of Fitted
            Each optimum once.
        """
        limits = self._limits(scales, angles, threshold, most, overlap, rivals)
        fits: list[Fitted] = []
        for number, flip in enumerate(flips):
            fits += self._in_flip(kernel, flip, limits, _of_part(tell, number, len(flips)))
        if threshold is not None and not rivals:
            fits = [fit for fit in fits if fit.score >= threshold]
        return distinct(fits, kernel)

    def _in_flip(
        self, kernel: Kernel, flip: str, limits: Limits, tell: Callable[[float], None] | None
    ) -> list[Fitted]:
        polish = self._polish(kernel, flip, limits)
        way = descent.Descent(
            self._planes, polish.kernels, limits, self._metric, self._full, self._threads,
            self._least_seen,
        )  # fmt: skip
        octaves = list(descent.octaves(polish.kernels, limits))
        fits: list[Fitted] = []
        for number, octave in enumerate(octaves):
            poses = way.to_full_size(octave, _of_part(tell, number, len(octaves)))
            for end, beside in ((1, octaves[:number][-1:]), (2, octaves[number + 1 :][:1])):
                for other in beside:
                    poses, left = way.left_at(poses, octave, end, other)
                    fits += polish.fitted(left, other[0])
            fits += polish.fitted(poses, octave[0])
        if limits.most is not None and self._metric == "sad":
            # In noise `sad` has several maxima close together, and the nearest is not the best.
            # Steps that begin once more, as least squares, lead farther from there.
            best = sorted(fits, key=lambda fit: -fit.score)[: limits.most]
            fits += [fit for fit in map(polish.better, best) if polish.is_inside(fit)]
        if limits.is_scale_free:
            best = _best_of_places(fits, polish.kernels[0], limits)
            fits += in_order(polish.at_another_scale, best, self._threads)
        if limits.is_scale_free or self._metric == "sad":
            fits += polish.settled(_best_of_places(fits, polish.kernels[0], limits))
        return fits

    def refine(
        self,
        kernel: Kernel,
        start: Fitted,
        *,
        free: Iterable[str] = ("place", "angle", "scale"),
        scales: Range,
        angles: Range,
    ) -> Fitted:
        """Return the best place and pose near one, and what is not free as it is.

        Parameters
        ----------
        kernel : Kernel
        start : Fitted
        free : iterable of str
            Some of `place`, `angle` and `scale`.
        scales, angles : Range
            What a free scale and angle stay within.

        Returns
        -------
        Fitted
            `start` itself if nothing better was found. Its corners lie in the bounds if those of
            `start` do.
        """
        free = set(free)
        pose = start.pose
        limits = self._limits(
            scales if "scale" in free else Range(pose.scale, pose.scale),
            angles if "angle" in free else Range(pose.angle, pose.angle),
            None, 1, 1.0, 0,
        )  # fmt: skip
        polish = self._polish(kernel, pose.flip, limits)
        scored = polish.scored(start.x, start.y, pose)
        better = polish.better(scored, moves="place" in free)
        if "place" in free and (limits.is_scale_free or self._metric == "sad"):
            (better,) = polish.settled([better])
        if polish.is_inside(better) or not polish.is_inside(scored):
            return better
        if free > {"place"}:
            return self.refine(kernel, start, free=["place"], scales=scales, angles=angles)
        return scored

    def posed(self, kernel: Kernel, fitted: Fitted, pose: Pose) -> Fitted:
        """Return another pose at a place, or as near as leaves its corners in the bounds."""
        scale, angle = Range(pose.scale, pose.scale), Range(pose.angle, pose.angle)
        polish = self._polish(kernel, pose.flip, self._limits(scale, angle, None, 1, 1.0, 0))
        top, left, bottom, right = self._bounds
        xs, ys = zip(*replace(fitted, pose=pose).corners, strict=True)
        x = fitted.x + max(0.0, left - min(xs)) - max(0.0, max(xs) - right)
        y = fitted.y + max(0.0, top - min(ys)) - max(0.0, max(ys) - bottom)
        return polish.scored(x, y, pose)

    def _polish(self, kernel: Kernel, flip: str, limits: Limits) -> Polish:
        return Polish(
            planes=self._planes, scoring=self._scoring, metric=self._metric, full=self._full,
            kernel=kernel, kernels=self._levels_of(kernel, flip), flip=flip, limits=limits,
            threads=self._threads,
        )  # fmt: skip

    def _levels_of(self, kernel: Kernel, flip: str) -> KernelPlanes:
        made, unit = self._prepared, self._planes.unit
        if made and made.levels[0] is kernel and (made.unit, "none") == (unit, flip):
            return made
        return KernelPlanes(KernelLevels(kernel, flip), unit)

    def _limits(
        self,
        scales: Range,
        angles: Range,
        threshold: float | None,
        most: int | None,
        overlap: float,
        rivals: int,
    ) -> Limits:
        limits = _limits_of(scales, angles, self._metric, self._bounds)
        return replace(
            limits, threshold=threshold, most=most, overlap=overlap,
            rivals=0 if threshold is None else rivals, band_bytes=self._band_bytes,
        )  # fmt: skip


def _of_part(
    tell: Callable[[float], None] | None, number: int, count: int
) -> Callable[[float], None] | None:
    """Return what takes the share of a part that is done; so many of `count` parts were before."""
    if tell is None:
        return None
    return lambda share: tell((number + share) / count)


def _best_of_places(fits: Sequence[Fitted], kernel: KernelPlane, limits: Limits) -> list[Fitted]:
    """Return what may become matches: of each place the best."""
    floor = -math.inf if limits.threshold is None else limits.threshold - NEARLY
    fits = [fit for fit in fits if fit.score >= floor]
    rows = [(f.x, f.y, math.radians(f.pose.angle), math.log(f.pose.scale)) for f in fits]
    poses, scores = np.array(rows).reshape(-1, 4), np.array([fit.score for fit in fits])
    best = thinned(poses, scores, kernel, limits.overlap, 1)
    return [fits[i] for i in best[: limits.most].tolist()]


def _limits_of(
    scales: Range, angles: Range, metric: str, bounds: tuple[float, float, float, float]
) -> Limits:
    """Return the limits of the poses of a search for all matches."""
    return Limits(
        angles=(math.radians(angles.low), math.radians(angles.high)),
        scales=(math.log(scales.low), math.log(scales.high)),
        # Neighbours of a range of scales lie farthest apart at its low end.
        spacings=(
            math.inf if angles.step is None else math.radians(angles.step),
            math.inf if scales.step is None else scales.step / scales.low,
        ),
        listed=angles.values,
        fixed=(
            angles.low if angles.low == angles.high else None,
            scales.low if scales.low == scales.high else None,
        ),
        is_cyclic=angles.high - angles.low >= 360 and not angles.values,
        metric=metric,
        bounds=bounds,
        threshold=None,
        most=None,
        overlap=1.0,
        rivals=0,
        band_bytes=BAND_BYTES,
    )


def first_look_bytes(
    kernels: KernelPlanes, scales: Sequence[Range], angles: Range, picture: tuple[int, int]
) -> tuple[int, int]:
    """Return the least bytes that first looks for a kernel take, beside picture and kernel.

    Parameters
    ----------
    kernels : KernelPlanes
        The kernel's levels.
    scales : sequence of Range
        Of each search.
    angles : Range
    picture : (height, width)

    Returns
    -------
    shared, of_a_thread : int
        What all threads share, the turned kernels, and what each of them takes.
    """
    height, width = picture
    bounds = (0.0, 0.0, float(height), float(width))
    needed = [
        descent.first_look_bytes(kernels, _limits_of(scale, angles, "zncc", bounds), picture)
        for scale in scales
    ]
    return max((n[0] for n in needed), default=0), max((n[1] for n in needed), default=0)
