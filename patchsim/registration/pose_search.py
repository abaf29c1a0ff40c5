"""The search for a kernel in a picture: its place, angle and scale, between pixels and steps."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from patchsim.machine.threads import in_order
from patchsim.metrics import Kernel, Visibility
from patchsim.poses.warp import Pose
from patchsim.registration import descent, loops
from patchsim.registration.descent import Limits
from patchsim.registration.fitted import Fitted
from patchsim.registration.levels import KernelLevels, octave
from patchsim.registration.loops import Aim
from patchsim.registration.planes import KernelPlanes, Planes
from patchsim.registration.scoring import Scoring
from patchsim.types import Pixels

Floats = NDArray[np.float64]

# A place so near a whole pixel, in pixels, and a corner so near a quarter turn at scale 1, is tried
# there, too: an exact copy then scores exactly 1.
_WHOLE = 0.1
_STEPS, _ENOUGH = 8, 1e-3


@dataclass(frozen=True)
class Range:
    """The scales or the angles, in degrees, that are searched.

    Attributes
    ----------
    low, high : float
        Equal if there is one value. Angles that reach over 360 degrees are a whole turn.
    step : float, optional
        The coarsest spacing allowed in the first look; without one the kernel tells it.
    """

    low: float
    high: float
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
    bounds : (top, left, bottom, right), optional
        The pixels that posed kernels may cover; by default all. A corner may lie up to a pixel
        outside.
    threads : int
    """

    def __init__(
        self,
        picture: Pixels,
        metric: str,
        data_range: float,
        *,
        visible: Visibility | None = None,
        bounds: tuple[float, float, float, float] | None = None,
        threads: int = 1,
    ) -> None:
        self._metric = metric
        self._scoring = Scoring(picture, metric, data_range, visible)
        self._bounds = bounds or (0.0, 0.0, float(picture.shape[0]), float(picture.shape[1]))
        self._threads = threads
        self._planes = Planes(picture, visible)
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
    ) -> list[Fitted]:
        """Return the places and poses where the score has a local maximum, best first.

        Parameters
        ----------
        kernel : Kernel
            Of the picture's type and channels.
        scales, angles : Range
        flips : sequence of str
            Some of `warp.FLIPS`.
        threshold : float, optional
            The least score of what is returned.
        most : int, optional
            The number of matches that are wanted; more are returned, so that they have rivals.
        overlap : float
            The largest overlap that matches will be allowed. Of one place only the best few poses
            are followed; what is returned may still overlap.

        Returns
        -------
        list of Fitted
            Each optimum once.
        """
        limits = self._limits(scales, angles, threshold, most, overlap)
        found: list[Fitted] = []
        for flip in flips:
            kernels = self._kernels(kernel, flip)
            for part in descent.octaves(kernels, limits):
                poses = descent.descend(
                    self._planes, kernels, part, limits, self._metric, self._full, self._threads
                )
                found += self._fitted(kernel, kernels, poses, part[0], limits, flip)
        found.sort(key=lambda fit: (-fit.score, fit.y, fit.x))
        found = [fit for fit in found if threshold is None or fit.score >= threshold]
        return _distinct(found)

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
            `start` itself if nothing better was found.
        """
        free = set(free)
        kernels = self._kernels(kernel, start.pose.flip)
        limits = self._limits(scales, angles, None, 1, 1.0)
        best = self._scored(kernel, kernels, start.x, start.y, start.pose)
        fit = self._at_full_size(kernel, kernels, best, limits, free)
        return max(best, fit, key=lambda each: each.score)

    def _kernels(self, kernel: Kernel, flip: str) -> KernelPlanes:
        return KernelPlanes(KernelLevels(kernel, flip), self._planes.unit)

    def _limits(
        self,
        scales: Range,
        angles: Range,
        threshold: float | None,
        most: int | None,
        overlap: float,
    ) -> Limits:
        step = None if scales.step is None else scales.step / scales.high
        return Limits(
            (
                math.radians(angles.low),
                math.radians(angles.high),
                None if angles.step is None else math.radians(angles.step),
            ),
            (math.log(scales.low), math.log(scales.high), step),
            angles.high - angles.low >= 360,
            self._bounds,
            threshold,
            most,
            overlap,
        )

    def _fitted(
        self,
        kernel: Kernel,
        kernels: KernelPlanes,
        poses: Floats,
        halvings: int,
        limits: Limits,
        flip: str,
    ) -> list[Fitted]:
        """Return poses of an octave as they are told, with their exact scores."""

        def fitted(at: Floats) -> Fitted:
            pose = self._pose(at, halvings, limits, flip)
            x, y = ((at[i] + 0.5) * 2 ** max(halvings, 0) for i in (0, 1))
            fit = self._scored(kernel, kernels, x, y, pose)
            if octave(pose.scale, kernels.deepest) != halvings:
                fit = self._at_full_size(kernel, kernels, fit, limits, {"place", "angle", "scale"})
            return fit

        return list(in_order(fitted, list(poses), self._threads))

    def _pose(self, at: Floats, halvings: int, limits: Limits, flip: str) -> Pose:
        angle = math.degrees(at[2])
        if limits.is_cyclic:
            angle %= 360
        elif limits.angles[0] == limits.angles[1]:
            angle = math.degrees(limits.angles[0])
        return Pose(math.exp(at[3] + halvings * math.log(2)), angle, flip)

    def _scored(
        self, kernel: Kernel, kernels: KernelPlanes, x: float, y: float, pose: Pose
    ) -> Fitted:
        """Return a place and pose with its exact score, or the whole one beside it if better."""
        fit = Fitted(
            x,
            y,
            pose,
            self._scoring.score(kernel, kernels.levels, x, y, pose),
            kernel.pixels.shape[:2],
        )
        whole = self._whole(fit)
        if whole is None or whole == fit:
            return fit
        score = self._scoring.score(kernel, kernels.levels, whole.x, whole.y, whole.pose)
        return replace(whole, score=score) if score >= fit.score else fit

    def _whole(self, fit: Fitted) -> Fitted | None:
        """Return the nearest pose of whole pixels, or None if it is not near."""
        quarter = round(fit.pose.angle / 90) * 90
        height, width = fit.size if quarter % 180 == 0 else fit.size[::-1]
        y, x = (round(a - b / 2) + b / 2 for a, b in ((fit.y, height), (fit.x, width)))
        reach = math.hypot(*fit.size) / 2
        turn = math.radians(fit.pose.angle - quarter)
        corner = reach * math.hypot(turn, fit.pose.scale - 1)
        if math.hypot(fit.x - x, fit.y - y) + corner > _WHOLE:
            return None
        return replace(fit, x=x, y=y, pose=Pose(1.0, float(quarter % 360), fit.pose.flip))

    def _at_full_size(
        self,
        kernel: Kernel,
        kernels: KernelPlanes,
        fit: Fitted,
        limits: Limits,
        free: set[str],
    ) -> Fitted:
        """Return a place and pose after steps at full size, all pixels taken."""
        halvings = octave(fit.pose.scale, kernels.deepest)
        k, level = max(-halvings, 0), max(halvings, 0)
        offset = halvings * math.log(2)
        plane = kernels[k]
        aim = Aim(
            self._metric, self._full, _STEPS, _ENOUGH, True,
            ("place" in free, "place" in free, "angle" in free, "scale" in free),
            (-math.inf if limits.is_cyclic else limits.angles[0], limits.scales[0] - offset),
            (math.inf if limits.is_cyclic else limits.angles[1], limits.scales[1] - offset),
            plane.every(descent.PIXELS), 0,
        )  # fmt: skip
        at = np.array(
            [
                fit.x / 2**level - 0.5,
                fit.y / 2**level - 0.5,
                math.radians(fit.pose.angle),
                math.log(fit.pose.scale) - offset,
            ]
        )
        poses, _ = loops.refine(self._planes[level], plane, at[None], aim)
        pose = self._pose(poses[0], halvings, limits, fit.pose.flip)
        pose = replace(
            pose,
            scale=pose.scale if "scale" in free else fit.pose.scale,
            angle=pose.angle if "angle" in free else fit.pose.angle,
        )
        x, y = ((poses[0][i] + 0.5) * 2**level for i in (0, 1))
        return self._scored(kernel, kernels, x, y, pose)


def _distinct(found: list[Fitted]) -> list[Fitted]:
    """Return each optimum once, from a list that begins with the best."""
    kept: dict[tuple[int, int], list[Fitted]] = {}
    for fit in found:
        row, column = math.floor(fit.y), math.floor(fit.x)
        beside = [
            other
            for cell in product((row - 1, row, row + 1), (column - 1, column, column + 1))
            for other in kept.get(cell, ())
        ]
        if all(_distance(fit, other) > 1 for other in beside):
            kept.setdefault((row, column), []).append(fit)
    chosen = [fit for cell in kept.values() for fit in cell]
    return sorted(chosen, key=lambda fit: (-fit.score, fit.y, fit.x))


def _distance(one: Fitted, other: Fitted) -> float:
    """Return how far apart two poses' corners are at most, in pixels."""
    if math.hypot(one.x - other.x, one.y - other.y) > 1:
        return math.inf
    return max(math.dist(a, b) for a, b in zip(one.corners, other.corners, strict=True))
