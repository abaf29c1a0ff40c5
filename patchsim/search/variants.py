"""The kernels that poses are fitted of: each as it is, and each stretched as was asked for."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from patchsim import metrics
from patchsim.matches.pose_selection import Candidate, best_scale
from patchsim.metrics import Kernel
from patchsim.options import Options
from patchsim.poses.axis import Axis
from patchsim.poses.pose import UNCHANGED, Pose, Stretch
from patchsim.poses.warp import PoseRenderer
from patchsim.registration import Range
from patchsim.scene.build import Scene
from patchsim.search import jobs


class Variant(NamedTuple):
    """A kernel whose poses have one scale for both of its sides.

    Attributes
    ----------
    number : int
        The kernel's number, from 0.
    pose : Pose
        What was done to the kernel already: nothing, or it was stretched.
    kernel : Kernel
        The kernel after that.
    scales : list of Range
        The ranges of its scales, one for each scale of a list, that leave the kernel enough pixels;
        of a stretched kernel, which has its size already, the scale 1 alone.
    """

    number: int
    pose: Pose
    kernel: Kernel
    scales: list[Range]

    @property
    def stretch(self) -> Stretch | None:
        """The scales along the kernel's height and width, if it is stretched."""
        return self.pose.stretch


def variants(scene: Scene, options: Options) -> list[Variant]:
    """List the variants of all kernels that leave enough pixels.

    Raises
    ------
    InputError
        If a kernel has neither enough pixels nor contrast in any of its poses.
    """
    assert options.poses is not None
    made = []
    for number, kernel in enumerate(scene.trimmed):
        added = []
        if scales := _scales(options.poses.scales, kernel.size):
            added.append(Variant(number, UNCHANGED, kernel, scales))
        pixels = math.prod(kernel.size)
        large = [
            pose
            for pose in options.poses.stretched
            if round(pixels * pose.scale**2) >= min(jobs.LEAST_PIXELS, pixels)
        ]
        render = PoseRenderer(kernel) if large else None
        for pose in large:
            one = None if render is None else render(pose)
            if one is not None and metrics.has_scores(one, options.metric):
                added.append(Variant(number, pose, one, [Range(1.0, 1.0)]))
        if options.poses.stretched and not added:
            raise jobs.nothing_fits(scene, number, options.poses)
        made += added
    return made


def at_one_scale(
    fitted: Callable[[Pose | None], list[Candidate]], options: Options
) -> list[Candidate]:
    """Fit poses at all scales; with `same_scale` once more at the scale with the most evidence.

    `fitted` fits poses at all scales, for None, or at the scale of a pose.
    """
    candidates = fitted(None)
    size = best_scale(candidates, options.overlap) if options.same_scale else None
    return candidates if size is None else fitted(size)


def of_size(listed: Sequence[Variant], size: Pose | None) -> list[Variant]:
    """Return the variants that may have a size, at that scale alone; without a size, all."""
    if size is None:
        return list(listed)
    scale = 1.0 if size.stretch else size.scale
    only = [Range(scale, scale)]
    return [one._replace(scales=only) for one in listed if one.stretch == size.stretch]


def _scales(axis: Axis, size: tuple[int, int]) -> list[Range]:
    """Return the ranges of scales of a kernel of this (height, width).

    A kernel of fewer pixels is found everywhere.
    """
    pixels = math.prod(size)
    smallest = math.sqrt(min(jobs.LEAST_PIXELS, pixels) / pixels)
    if axis.is_range:
        low, high = axis.span
        return [Range(max(low, smallest), high, step=axis.step)] if high >= smallest else []
    return [
        Range(scale, scale)
        for scale in axis.values
        if round(pixels * scale**2) >= min(jobs.LEAST_PIXELS, pixels)
    ]
