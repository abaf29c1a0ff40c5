"""Which poses are searched for: scales, angles and flips, and how densely they are sampled."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product

from patchsim.checks import positive_integer
from patchsim.errors import InputError
from patchsim.poses.axis import Axis, angles_of, scales_of
from patchsim.poses.pose import FLIPS, Pose, facing

DEFAULT_MAX_POSES = 10_000
SPACING = 1.0  # pixels by which a corner of the kernel moves between neighbouring poses

_LARGEST_MAX_POSES = 1_000_000
_SCALE_LIMITS = (0.01, 100.0)
_ANGLE_LIMITS = (-3600.0, 3600.0)


def spacing(kernel: tuple[int, int], scale: float) -> tuple[float, float]:
    """Return the change of pose that moves a corner of the kernel by `SPACING`.

    Parameters
    ----------
    kernel : (height, width)
    scale : float
        The kernel's scale.

    Returns
    -------
    share : float
        The relative change of the scale.
    degrees : float
        The change of the angle.
    """
    radius = math.hypot(*kernel) / 2 * scale
    share = SPACING / max(radius, 1.0)
    return share, math.degrees(share)


_ONE = Axis((1.0,))  # stands for a range whose spacing is chosen from the kernel


@dataclass(frozen=True)
class Poses:
    """The poses that are searched for: every scale with every angle and flip.

    Attributes
    ----------
    scales, angles : Axis
    flips : tuple of str
        Some of `pose.FLIPS`.
    most : int
        The largest number of poses of all kernels together.
    """

    scales: Axis
    angles: Axis
    flips: tuple[str, ...]
    most: int = DEFAULT_MAX_POSES

    @classmethod
    def from_options(
        cls, scales: object, angles: object, flips: object, max_poses: int, kernels: int
    ) -> Poses | None:
        """Return the poses that the options describe, or None if no pose option is given.

        Parameters
        ----------
        scales, angles : str, number or sequence of numbers
            A text is a range ``LO:HI`` or ``LO:HI:STEP``, which includes HI, or a list ``A,B,C``.
            Scales are from 0.01 to 100, angles from -3600 to 3600 degrees; all angles are ``any``.
            Pairs of scales are ``1.25x1``, x first, in a text and (y, x) in a sequence.
        flips : str or sequence of str
            ``h``, ``v`` or both; the kernel without a flip is always among the poses.
        max_poses : int
            The largest number of poses of all kernels together. A range without a step counts
            once here; its poses depend on the kernel.
        kernels : int
            The number of kernels.

        Raises
        ------
        InputError
            If an option cannot be read or is empty, or there are more than `max_poses` poses.
        """
        most = positive_integer(max_poses, "max-poses")
        if most > _LARGEST_MAX_POSES:
            raise InputError(
                f"max-poses {max_poses} is not possible; give {_LARGEST_MAX_POSES} or less"
            )
        if scales is None and angles is None and flips is None:
            return None
        limit = kernels * most
        scale_axis = scales_of(1.0 if scales is None else scales, _SCALE_LIMITS, limit)
        angle_axis = angles_of(0.0 if angles is None else angles, _ANGLE_LIMITS, limit)
        poses = cls(scale_axis, angle_axis, _flips(flips), most)
        stepped = poses
        if not poses.is_stepped:
            axes = [axis if axis.is_stepped else _ONE for axis in (poses.scales, poses.angles)]
            stepped = replace(poses, scales=axes[0], angles=axes[1])
        stepped.check_count([(1, 1)] * kernels)
        return poses

    def check_count(self, kernels: Sequence[tuple[int, int]]) -> None:
        """Check that there are at most `most` poses of kernels of (height, width).

        Raises
        ------
        InputError
            If there are more.
        """
        if self.count is not None:
            count = self.count * len(kernels)
        else:
            count = sum(self._number(*self._spaced(kernel)) for kernel in kernels)
        if count > self.most:
            sizes, angles = self._spaced(kernels[0])
            flips = len(self.flips)
            combinations = f"{len(sizes):,} scales x {len(angles):,} angles x {flips} flips"
            suffix = f" of {len(kernels)} kernels" if len(kernels) > 1 else ""
            raise InputError(
                f"{combinations}{suffix} are {count:,} poses, more than --max-poses"
                f" (max_poses) {self.most:,};\ngive larger steps, or allow more"
            )

    def of(self, kernel: tuple[int, int]) -> list[Pose]:
        """List every pose, without those that give the same picture as an earlier one.

        Those nearest to the kernel as it is come first: of poses that tie the first is reported.

        Parameters
        ----------
        kernel : (height, width)
            The size of the kernel, whose corners poses of a range without a step move by at most
            `SPACING` pixels from one to the next.
        """
        pose_by_key: dict[object, Pose] = {}
        sizes, angles = self._spaced(kernel)
        sizes = sorted(sizes, key=lambda size: size.deviation)
        nearest_first = sorted(angles, key=lambda angle: Pose(angle=angle).deviation)
        for flip, size, angle in product(self.flips, sizes, nearest_first):
            pose = size._replace(angle=angle, flip=flip)
            pose_by_key.setdefault(pose.key, pose)
        return list(pose_by_key.values())

    def _number(self, sizes: Sequence[Pose], angles: Sequence[float]) -> int:
        """Return how many poses scaled poses are at some angles, as `of` lists them."""
        turns = {facing(angle, flip) for flip in self.flips for angle in angles}
        return len({size.scales for size in sizes}) * len(turns)

    def _spaced(self, kernel: tuple[int, int]) -> tuple[list[Pose], tuple[float, ...]]:
        """Return the scaled poses and the angles of a kernel of (height, width)."""
        largest = self.scales.largest
        share, degrees = spacing(kernel, largest)
        sizes = [Pose(scale) for scale in self.scales.spaced(share * largest)]
        return sizes + self.stretched, self.angles.spaced(degrees)

    @property
    def stretched(self) -> list[Pose]:
        """The poses, neither turned nor mirrored, whose scales along height and width differ."""
        return [Pose.stretched(stretch) for stretch in self.scales.stretches]

    @cached_property
    def count(self) -> int | None:
        """The number of poses of a kernel; None if it depends on the kernel."""
        return self._number(*self._spaced((1, 1))) if self.is_stepped else None

    @property
    def is_stepped(self) -> bool:
        """Whether the poses do not depend on the kernel: lists, and ranges with a step."""
        return self.scales.is_stepped and self.angles.is_stepped

    @property
    def has_ranges(self) -> bool:
        """Whether the search includes poses between the steps of a range."""
        return self.scales.is_range or self.angles.is_range

    @property
    def is_of_quarter_turns(self) -> bool:
        """Whether every pose shows the kernel's own pixels: quarter turns and mirror images."""
        if self.has_ranges or self.scales.values != (1.0,) or self.scales.stretches:
            return False
        return all(angle % 90 == 0 for angle in self.angles.values)

    def __str__(self) -> str:
        return "ranges of poses" if self.count is None else f"{self.count} poses"


def _flips(option: object) -> tuple[str, ...]:
    if option is None:
        return ("none",)
    flips = option.split(",") if isinstance(option, str) else option
    if not isinstance(flips, Sequence):
        flips = ("",)
    for flip in flips:
        if flip not in FLIPS:
            raise InputError(f"flips {option!r} cannot be read; give h, v or h,v")
    return tuple(dict.fromkeys(("none", *flips)))
