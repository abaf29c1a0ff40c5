"""Which poses are searched for: scales, angles and flips, and how densely they are sampled."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np

from patchsim.checks import positive_integer
from patchsim.errors import InputError
from patchsim.poses.warp import DECIMALS, FLIPS, Pose

DEFAULT_MAX_POSES = 10_000
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
        In rising order, without duplicates.
    step : float
        The step of a range, whose search includes the values between the steps; 0 for a list.
    is_angle : bool
        True if the values are angles, in degrees.
    is_full_turn : bool
        True if the values are a range of angles over a full turn, which has no ends.
    """

    values: tuple[float, ...]
    step: float = 0.0
    is_angle: bool = False
    is_full_turn: bool = False

    def representatives(
        self, values: Sequence[float], spacing: float, *, relative: bool = False
    ) -> list[tuple[float, float]]:
        """Choose some of the values to stand for all.

        Parameters
        ----------
        values : sequence of float
            In rising order.
        spacing : float
            The largest difference of two values with one representative.
        relative : bool
            True if the spacing is a fraction of the smaller value.

        Returns
        -------
        list of (value, reach)
            Each representative, and how far from it the values lie that it stands for.
        """
        chosen = []
        first = 0
        while first < len(values):
            last = first
            width = spacing * values[first] if relative else spacing
            while last + 1 < len(values) and values[last + 1] - values[first] <= width:
                last += 1
            middle = (first + last) // 2
            reach = max(values[middle] - values[first], values[last] - values[middle])
            chosen.append((values[middle], max(reach, self.step / 2)))
            first = last + 1
        return chosen

    def neighbours(self, value: float, reach: float, spacing: float) -> list[tuple[float, float]]:
        """Return values at most `reach` from a value, at most `spacing` apart.

        Returns
        -------
        list of (value, reach)
            Each neighbour, and how far from it the values lie that it stands for.
        """
        if reach == 0 or len(self.values) == 1:
            return [(value, 0.0)]
        if not self.step:
            near = [v for v in self.values if abs(v - value) <= reach + _SMALLEST_STEP]
            return self.representatives(near, spacing)
        count = math.ceil(reach / spacing)
        step = reach / count
        neighbours = [self.rounded(value + i * step) for i in range(-count, count + 1)]
        return [(neighbour, step / 2) for neighbour in dict.fromkeys(neighbours)]

    def nearest(self, value: float) -> float:
        """Return the nearest of the axis's values."""
        return min(self.values, key=lambda candidate: self._distance(candidate, value))

    def _distance(self, first: float, second: float) -> float:
        difference = abs(first - second)
        return min(difference % 360, -difference % 360) if self.is_angle else difference

    def rounded(self, value: float) -> float:
        """Round a value to the reported decimals, and limit it to the range."""
        low, high = self.values[0], self.values[-1]
        if self.is_full_turn:
            return round(value % 360, DECIMALS)
        return round(min(max(value, low), high), DECIMALS)


@dataclass(frozen=True)
class Poses:
    """The poses that are searched for: every scale with every angle and flip.

    Attributes
    ----------
    scales, angles : Axis
    flips : tuple of str
        Some of `warp.FLIPS`.
    """

    scales: Axis
    angles: Axis
    flips: tuple[str, ...]

    @classmethod
    def from_options(
        cls, scales: object, angles: object, flips: object, max_poses: int, kernels: int
    ) -> Poses | None:
        """Return the poses that the options describe, or None if no pose option is given.

        Parameters
        ----------
        scales, angles : str, number or sequence of numbers
            A text is a range ``LO:HI:STEP``, which includes HI, or a list ``A,B,C``. Scales are
            from 0.01 to 100, angles from -3600 to 3600 degrees.
        flips : str or sequence of str
            ``h``, ``v`` or both; the kernel without a flip is always among the poses.
        max_poses : int
            The largest number of poses of all kernels together.
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
        poses = cls(scale_axis, _directions(angle_axis), _flips(flips))
        poses._check_count(kernels, most)
        return poses

    def _check_count(self, kernels: int, max_poses: int) -> None:
        axes = len(self.scales.values), len(self.angles.values), len(self.flips)
        count = math.prod(axes) * kernels
        # At most half of the poses are duplicates (see `Pose.key`). Only a number that may pass
        # without them is counted exactly, since that creates all poses.
        if count <= 2 * max_poses:
            count = self.count * kernels
        if count > max_poses:
            combinations = f"{axes[0]:,} scales x {axes[1]:,} angles x {axes[2]} flips"
            suffix = f" of {kernels} kernels" if kernels > 1 else ""
            raise InputError(
                f"{combinations}{suffix} are {count:,} poses, more than --max-poses"
                f" (max_poses) {max_poses:,};\ngive larger steps, or allow more"
            )

    @property
    def count(self) -> int:
        """The number of poses of one kernel."""
        return len(self.all)

    @cached_property
    def all(self) -> list[Pose]:
        """Every pose, without those that give the same picture as an earlier one."""
        pose_by_key: dict[tuple[float, float, bool], Pose] = {}
        for flip, scale, angle in product(self.flips, self.scales.values, self.angles.values):
            pose = Pose(scale, angle, flip)
            pose_by_key.setdefault(pose.key, pose)
        return list(pose_by_key.values())

    @property
    def has_ranges(self) -> bool:
        """Whether the search includes poses between the steps of a range."""
        return bool(self.scales.step or self.angles.step)


def _axis(option: object, name: str, low: float, high: float, limit: int) -> Axis:
    """Parse an option: a number, a list of numbers from `low` to `high`, or a range."""
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
        raise InputError(f"{name} {option!r} is empty; give a number, a list or LO:HI:STEP")
    for value, number in zip(values, numbers, strict=True):
        _check_within(number, value, name, low, high)
    return Axis(tuple(sorted({round(number, DECIMALS) for number in numbers})))


def _range(option: str, name: str, low: float, high: float, limit: int) -> Axis:
    """Parse a range ``LO:HI:STEP`` of at most `limit` steps."""
    fields = option.split(":")
    if len(fields) != 3:
        raise InputError(f"{name} {option!r} is no range; give LO:HI:STEP, like {_EXAMPLES[name]}")
    first, last, step = (_number(field, option, name) for field in fields)
    if step <= 0 or first > last:
        raise InputError(
            f"{name} {option!r} is an empty range; give LO:HI:STEP with LO up to HI, STEP above 0"
        )
    _check_within(first, fields[0], name, low, high)
    _check_within(last, fields[1], name, low, high)
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
    steps = [first + i * step for i in range(count)]
    numbers = dict.fromkeys(round(number, DECIMALS) for number in (*steps, last))
    return Axis(tuple(numbers), step if len(numbers) > 1 else 0.0)


def _number(value: object, option: object, name: str) -> float:
    try:
        number = float(value)  # type: ignore[arg-type] # other types are refused below
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number) or isinstance(value, bool):
        raise InputError(
            f"{name} {option!r} cannot be read at {value!r}; give a number, a list like 1,1.5,2 or"
            " a range LO:HI:STEP"
        )
    return number


def _check_within(number: float, given: object, name: str, low: float, high: float) -> None:
    if not low <= number <= high:
        raise InputError(f"{name} {given} is not possible; give {low:g} to {high:g}")


def _directions(angles: Axis) -> Axis:
    """Return the axis of the angles' directions, each once; a longer range is a full turn."""
    first, last = angles.values[0], angles.values[-1]
    if angles.step and last - first < 360:
        is_full_turn = math.isclose(last - first + angles.step, 360)
        return Axis(angles.values, angles.step, is_angle=True, is_full_turn=is_full_turn)
    values = sorted({round(value % 360, DECIMALS) % 360 for value in angles.values})
    return Axis(tuple(values), angles.step, is_angle=True, is_full_turn=bool(angles.step))


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
