"""The search for fitted poses: at any place, scale and angle of the ranges and lists."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from patchsim.errors import InputError
from patchsim.matches import auto_threshold
from patchsim.matches.pose_selection import Candidate
from patchsim.options import AUTO, Options
from patchsim.poses.axis import Axis
from patchsim.poses.pose import Pose
from patchsim.registration import Fitted, Range
from patchsim.scene.build import Scene
from patchsim.search import criteria
from patchsim.search.jobs import Found
from patchsim.search.pose_scene import PoseScene, check_memory, pose_scenes
from patchsim.search.progress import Progress, part_of
from patchsim.search.variants import at_one_scale, of_size, variants

if TYPE_CHECKING:
    from patchsim.events import Observer
    from patchsim.output.targets import Outputs

# Poses below a threshold that are followed, for the margin of the last match: some of them overlap
# the matches.
_RIVALS = 4


class Posed:
    """Searches a scene for its kernels in poses between the pixels.

    Parameters
    ----------
    scene : Scene
    options : Options
        With poses.
    outputs : Outputs

    Raises
    ------
    InputError
        If memory does not suffice, or if a stride, an engine or a
        device is asked for, which compare windows.
    """

    def __init__(self, scene: Scene, options: Options, outputs: Outputs) -> None:
        assert options.poses is not None
        self._scene, self._options, self._poses = scene, options, options.poses
        _check_windows_are_not_asked_for(options)
        self._variants = variants(scene, options)
        self._looks = check_memory(scene, options, self._variants, outputs)

    def run(self, observer: Observer) -> Found:
        """Fit the poses that may be matches."""
        scales, angles = self._poses.scales, self._poses.angles
        observer.swept(
            f"poses coarse to fine: {_described(scales, 'scale')}, {_described(angles, 'angle')},"
            f" flip {', '.join(self._poses.flips)}"
        )
        progress = Progress(observer, rounds=2 if self._options.same_scale else 1)

        def searched(size: Pose | None) -> list[Candidate]:
            return self._searched(partial(progress.tell, int(size is not None)), size)

        return Found([], at_one_scale(searched, self._options))

    def _searched(self, tell: Callable[[float], None], size: Pose | None) -> list[Candidate]:
        """Search at all scales, or at one."""
        is_last = size is not None or not self._options.same_scale
        rivals = _RIVALS if is_last and self._options.is_margin_wanted(keeps_map=False) else 0
        candidates: list[Candidate] = []
        kernels = of_size(self._variants, size)
        scenes = pose_scenes(self._scene, self._options, kernels, self._looks)
        done, total = 0, sum(len(one.scales) for one in kernels)
        for kernel, posed in zip(kernels, scenes, strict=True):
            for of_scale in kernel.scales:
                told = part_of(tell, done / total, 1 / total)
                poses = self._found(posed, of_scale, rivals, told)
                candidates += [posed.candidate(one) for one in poses if posed.is_allowed(one)]
                done += 1
                tell(done / total)
        return candidates

    def _found(
        self, posed: PoseScene, scales: Range, rivals: int, tell: Callable[[float], None]
    ) -> Sequence[Fitted]:
        most = self._options.top
        if self._options.has_criteria:  # any of those that score enough may be the one
            most = None
        if self._options.threshold == AUTO:
            most = auto_threshold.DISTINCT
        return posed.search.find(
            posed.kernel,
            scales,
            posed.angles,
            posed.flips,
            threshold=criteria.least_score(self._options),
            most=most,
            overlap=self._options.overlap,
            rivals=rivals,
            tell=tell,
        )


def _check_windows_are_not_asked_for(options: Options) -> None:
    asked = {
        "stride": options.stride != (1, 1),
        f"engine {options.engine}": options.engine != "auto",
        f"device {options.device}": options.device not in ("auto", "cpu"),
    }
    for name, is_asked in asked.items():
        if is_asked:
            raise InputError(
                f"{name} is about windows, and scaled or turned poses are searched for between the"
                " pixels;\nleave it out, or give --exhaustive (exhaustive=True)"
            )


def _described(axis: Axis, name: str) -> str:
    if axis.is_full_turn:
        return f"any {name}"
    if axis.is_range:
        return f"{name} {axis.span[0]:g} to {axis.span[1]:g}"
    listed = [f"{value:g}" for value in axis.values]
    listed += [f"{across:g}x{down:g}" for down, across in axis.stretches]
    return f"{name} {', '.join(listed)}"
