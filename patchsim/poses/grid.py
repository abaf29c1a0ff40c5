"""Which poses are searched for: scales, angles and flips, and how densely they are sampled."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product

import numpy as np

from patchsim.checks import positive_integer
from patchsim.errors import InputError
from patchsim.poses.warp import DECIMALS, FLIPS, Pose

DEFAULT_MAX_POSES = 10_000
ANY = "any"  # all angles
SPACING = 1.0  # pixels by which a corner of the kernel moves between neighbouring poses

_LARGEST_MAX_POSES = 1_000_000
_SCALE_LIMITS = (0.01, 100.0)
_SMALLEST_STEP = 10.0**-DECIMALS
_EXAMPLES = {"scales": "0.5:2:0.1", "angles": "0:360:15"}


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


@dataclass(frozen=True)
class Axis:
    """The values of a scale or an angle that are searched for.

    Attributes
    ----------
    values : tuple of float
        In rising order, without duplicates: those of a list; the steps of a range and its end; or
        the two ends of a range without a step.
    is_range : bool
        True if all values between the first and the last are searched.
    step : float or None
        The step of a range, the coarsest spacing that its search may begin with; None for a list,
        and for a range whose spacing is chosen from the kernel.
    is_angle : bool
        True if the values are angles, in degrees.
    is_full_turn : bool
        True if the values are a range of angles over a full turn, which has no ends.
    """

    values: tuple[float, ...]
    is_range: bool = False
    step: float | None = None
    is_angle: bool = False
    is_full_turn: bool = False

    @property
    def is_stepped(self) -> bool:
        """Whether the values stand for all that are searched: a list, or a range with a step."""
        return not self.is_range or self.step is not None

    @property
    def span(self) -> tuple[float, float]:
        """The lowest and the highest value; 0 and 360 of a full turn."""
        return (0.0, 360.0) if self.is_full_turn else (self.values[0], self.values[-1])

    def spaced(self, spacing: float) -> tuple[float, ...]:
        """Return the values, of a range without a step such that are at most `spacing` apart."""
        if self.is_stepped:
            return self.values
        low, high = self.span
        count = max(1, math.ceil((high - low) / spacing))
        steps = [low + i * (high - low) / count for i in range(count + (not self.is_full_turn))]
        return tuple(round(value, DECIMALS) for value in steps)

    def holds(self, value: float) -> bool:
        """Return whether a value is one of those that are searched for."""
        if self.is_range:
            return (
                self.is_full_turn or abs(self.rounded(value) - self._wound(value)) < _SMALLEST_STEP
            )
        return any(abs(own - self._wound(value)) < _SMALLEST_STEP for own in self.values)

    def rounded(self, value: float) -> float:
        """Round a value to the reported decimals, and limit it to the range or list."""
        if self.is_full_turn:
            return round(value % 360, DECIMALS) % 360
        return round(min(max(self._wound(value), self.values[0]), self.values[-1]), DECIMALS)

    def _wound(self, value: float) -> float:
        """Return a value; an angle lies, by whole turns, as near as can be to the others."""
        if not self.is_angle:
            return value
        middle = (self.values[0] + self.values[-1]) / 2
        return value + 360 * round((middle - value) / 360)


_ONE = Axis((1.0,))  # stands for a range whose spacing is chosen from the kernel


@dataclass(frozen=True)
class Poses:
    """The poses that are searched for: every scale with every angle and flip.

    Attributes
    ----------
    scales, angles : Axis
    flips : tuple of str
        Some of `warp.FLIPS`.
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
        low, high = _SCALE_LIMITS
        limit = kernels * most
        scale_axis = _axis(1.0 if scales is None else scales, "scales", low, high, limit)
        angle_axis = _axis(0.0 if angles is None else angles, "angles", -3600, 3600, limit)
        poses = cls(scale_axis, _directions(angle_axis), _flips(flips), most)
        axes = [axis if axis.is_stepped else _ONE for axis in (poses.scales, poses.angles)]
        replace(poses, scales=axes[0], angles=axes[1]).check_count([(1, 1)] * kernels)
        return poses

    def check_count(self, kernels: Sequence[tuple[int, int]]) -> None:
        """Check that there are at most `most` poses of kernels of (height, width).

        Raises
        ------
        InputError
            If there are more.
        """
        axes = [self._spaced(kernel) for kernel in kernels]
        count = sum(len(scales) * len(angles) for scales, angles in axes) * len(self.flips)
        # At most half of the poses are duplicates (see `Pose.key`). Only a number that may pass
        # without them is counted exactly, since that creates all poses.
        if count <= 2 * self.most:
            count = sum(len(self.of(kernel)) for kernel in kernels)
        if count > self.most:
            scales, angles = axes[0]
            flips = len(self.flips)
            combinations = f"{len(scales):,} scales x {len(angles):,} angles x {flips} flips"
            suffix = f" of {len(kernels)} kernels" if len(kernels) > 1 else ""
            raise InputError(
                f"{combinations}{suffix} are {count:,} poses, more than --max-poses"
                f" (max_poses) {self.most:,};\ngive larger steps, or allow more"
            )

    def of(self, kernel: tuple[int, int]) -> list[Pose]:
        """List every pose, without those that give the same picture as an earlier one.

        Parameters
        ----------
        kernel : (height, width)
            The size of the kernel, whose corners poses of a range without a step move by at most
            `SPACING` pixels from one to the next.
        """
        pose_by_key: dict[tuple[float, float, bool], Pose] = {}
        for flip, scale, angle in product(self.flips, *self._spaced(kernel)):
            pose = Pose(scale, angle, flip)
            pose_by_key.setdefault(pose.key, pose)
        return list(pose_by_key.values())

    def _spaced(self, kernel: tuple[int, int]) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return the scales and the angles of a kernel of (height, width)."""
        largest = self.scales.values[-1]
        share, degrees = spacing(kernel, largest)
        return self.scales.spaced(share * largest), self.angles.spaced(degrees)

    @cached_property
    def count(self) -> int | None:
        """The number of poses of a kernel; None if it depends on the kernel."""
        return len(self.of((1, 1))) if self.is_stepped else None

    @property
    def is_stepped(self) -> bool:
        """Whether the poses do not depend on the kernel: lists, and ranges with a step."""
        return self.scales.is_stepped and self.angles.is_stepped

    @property
    def has_ranges(self) -> bool:
        """Whether the search includes poses between the steps of a range."""
        return self.scales.is_range or self.angles.is_range

    @property
    def are_whole(self) -> bool:
        """Whether every pose shows the kernel's own pixels: quarter turns and mirror images."""
        quarters = all(angle % 90 == 0 for angle in self.angles.values)
        return not self.has_ranges and self.scales.values == (1.0,) and quarters

    def __str__(self) -> str:
        return "ranges of poses" if self.count is None else f"{self.count} poses"


def _axis(option: object, name: str, low: float, high: float, limit: int) -> Axis:
    """Parse an option: a number, a list of numbers from `low` to `high`, or a range."""
    if isinstance(option, str) and option == ANY and name == "angles":
        option = "0:360"
    if isinstance(option, str) and ":" in option:
        return _range(option, name, low, high, limit)
    if isinstance(option, str):
        values = option.split(",") if option.strip() else []
    elif isinstance(option, np.ndarray):
        values = option.ravel().tolist()
    elif isinstance(option, Sequence):
        values = list(option)
    else:
        values = [option]  # type: ignore[list-item] # `_number` refuses other types
    if not isinstance(option, str) and any(isinstance(value, str) for value in values):
        raise InputError(
            f"{name} {option!r} has text in it; give a list of numbers, or one text like"
            f" {_EXAMPLES[name]!r}"
        )
    numbers = [_number(value, option, name) for value in values]
    if not numbers:
        raise InputError(f"{name} {option!r} is empty; give a number, a list, LO:HI or LO:HI:STEP")
    for value, number in zip(values, numbers, strict=True):
        _check_within(number, value, name, low, high)
    return Axis(tuple(sorted({round(number, DECIMALS) for number in numbers})))


def _range(option: str, name: str, low: float, high: float, limit: int) -> Axis:
    """Parse a range ``LO:HI`` or ``LO:HI:STEP`` of at most `limit` steps."""
    fields = option.split(":")
    if len(fields) not in (2, 3):
        raise InputError(
            f"{name} {option!r} is no range; give LO:HI or LO:HI:STEP, like {_EXAMPLES[name]}"
        )
    first, last, *steps = (_number(field, option, name) for field in fields)
    if first > last or any(step <= 0 for step in steps):
        raise InputError(
            f"{name} {option!r} is an empty range; give LO:HI or LO:HI:STEP with LO up to HI,"
            " STEP above 0"
        )
    _check_within(first, fields[0], name, low, high)
    _check_within(last, fields[1], name, low, high)
    ends = tuple(dict.fromkeys(round(number, DECIMALS) for number in (first, last)))
    if not steps or len(ends) == 1:
        return Axis(ends, is_range=len(ends) > 1)
    (step,) = steps
    if step < _SMALLEST_STEP:
        raise InputError(
            f"{name} {option!r} has a step below {_SMALLEST_STEP:g}; give a larger one"
        )
    count = math.floor((last - first) / step + 1e-9) + 1
    if count > limit:
        raise InputError(
            f"{name} {option!r} has {count:,} steps, more than the {limit:,} of --max-poses"
            " (max_poses);\ngive a larger step, or allow more"
        )
    numbers = dict.fromkeys(
        round(number, DECIMALS) for number in (*(first + i * step for i in range(count)), last)
    )
    return Axis(tuple(numbers), is_range=True, step=step)


def _number(value: object, option: object, name: str) -> float:
    try:
        number = float(value)  # type: ignore[arg-type] # other types are refused below
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number) or isinstance(value, bool):
        raise InputError(
            f"{name} {option!r} cannot be read at {value!r}; give a number, a list like 1,1.5,2 or"
            f" a range LO:HI or LO:HI:STEP{', or any' if name == 'angles' else ''}"
        )
    return number


def _check_within(number: float, given: object, name: str, low: float, high: float) -> None:
    if not low <= number <= high:
        raise InputError(f"{name} {given} is not possible; give {low:g} to {high:g}")


def _directions(angles: Axis) -> Axis:
    """Return the axis of the angles' directions, each once; a range of 360 is a full turn.

    A range that ends a step before its beginning comes round again is a full turn as well.
    """
    first, last = angles.values[0], angles.values[-1]
    if not angles.is_range:
        values = sorted({_direction(value) for value in angles.values})
        return replace(angles, values=tuple(values), is_angle=True)
    closes = math.isclose(last - first + (angles.step or 0.0), 360)
    is_full_turn = last - first >= 360 or closes
    values = list(angles.values)
    if is_full_turn:
        values = sorted({_direction(value) for value in values}) if angles.step else [0.0, 360.0]
    return replace(angles, values=tuple(values), is_angle=True, is_full_turn=is_full_turn)


def _direction(angle: float) -> float:
    return round(angle % 360, DECIMALS) % 360


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
