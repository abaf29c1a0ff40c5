"""An axis of poses, the scales or the angles, and how the text or the numbers of one are read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from patchsim.errors import InputError
from patchsim.poses.pose import DECIMALS, Pose, Stretch

ANY = "any"  # all angles

_SMALLEST_STEP = 10.0**-DECIMALS
_LISTS = {"scales": "1,1.5,1.25x1", "angles": "0,45,90"}
_EXAMPLES = {"scales": "0.5:2:0.1", "angles": "0:360:15"}


class Axis(NamedTuple):
    """The values of a scale or an angle that are searched for.

    Attributes
    ----------
    values : tuple of float
        In rising order, without duplicates: those of a list; the steps of a range and its end; or
        the two ends of a range without a step.
    is_range : bool
        True if all values between the first and the last are searched.
    step : float or None
        The step of a range, the spacing of the poses of an exhaustive search; None for a list,
        and for a range whose spacing is chosen from the kernel.
    is_angle : bool
        True if the values are angles, in degrees.
    is_full_turn : bool
        True if the values are a range of angles over a full turn, which has no ends.
    stretches : tuple of (scale_y, scale_x)
        Scales along height and width that differ, in rising order; only beside values of a list,
        which may then be none.
    """

    values: tuple[float, ...]
    is_range: bool = False
    step: float | None = None
    is_angle: bool = False
    is_full_turn: bool = False
    stretches: tuple[Stretch, ...] = ()

    @property
    def is_stepped(self) -> bool:
        """Whether the values stand for all that are searched: a list, or a range with a step."""
        return not self.is_range or self.step is not None

    @property
    def largest(self) -> float:
        """The largest of all values, and of the scales along height or width."""
        return max(*self.values[-1:], *(scale for pair in self.stretches for scale in pair), 0.0)

    @property
    def span(self) -> tuple[float, float]:
        """The lowest and the highest value; 0 and 360 of a full turn."""
        return (0.0, 360.0) if self.is_full_turn else (self.values[0], self.values[-1])

    @property
    def least(self) -> float:
        """The value that changes the kernel least: the nearest to a scale of 1, or to 0 degrees."""
        if self.is_range:
            return self.rounded(0.0 if self.is_angle else 1.0)
        poses = [Pose(angle=value) if self.is_angle else Pose(value) for value in self.values]
        return min(zip(poses, self.values, strict=True), key=lambda one: one[0].deviation)[1]

    def spaced(self, spacing: float) -> tuple[float, ...]:
        """Return the values, of a range without a step such that are at most `spacing` apart."""
        if self.is_stepped:
            return self.values
        low, high = self.span
        count = max(1, math.ceil((high - low) / spacing))
        steps = [low + i * (high - low) / count for i in range(count + (not self.is_full_turn))]
        return tuple(round(value, DECIMALS) for value in steps)

    def has_value(self, value: float) -> bool:
        """Return whether a value is one of those that are searched for."""
        if self.is_range:
            return (
                self.is_full_turn or abs(self.rounded(value) - self._wound(value)) < _SMALLEST_STEP
            )
        return any(abs(known - self._wound(value)) < _SMALLEST_STEP for known in self.values)

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


def scales_of(option: object, limits: tuple[float, float], most: int) -> Axis:
    """Parse scales: a number, a list of numbers and pairs within limits, or a range.

    Parameters
    ----------
    option : str, number or sequence
        A text has pairs as ``1.25x1``, x first; a sequence has them as (y, x).
    limits : (lowest, highest)
    most : int
        The largest number of steps of a range.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    if isinstance(option, str) and ":" in option:
        return _range(option, "scales", *limits, most)
    numbers: set[float] = set()
    stretches: set[Stretch] = set()
    for value in _listed(option, "scales"):
        sides = _sides(value)
        pair = [_number(side, option, "scales", value) for side in sides]
        for side, number in zip(sides, pair, strict=True):
            _check_within(number, side, "scales", *limits)
        down, across = (round(number, DECIMALS) for number in (pair[0], pair[-1]))
        if down == across:
            numbers.add(down)
        else:
            stretches.add((down, across))
    return Axis(tuple(sorted(numbers)), stretches=tuple(sorted(stretches)))


def _sides(value: object) -> tuple[object, ...]:
    """Return the two numbers (y, x) of a pair; of anything else, itself."""
    if isinstance(value, str) and value.count("x") == 1:
        across, down = value.split("x")
        return down, across
    if isinstance(value, (tuple, list)) and len(value) == 2:
        return tuple(value)
    return (value,)


def angles_of(option: object, limits: tuple[float, float], most: int) -> Axis:
    """Parse angles: ``any``, a number, a list of numbers within limits, or a range.

    Parameters and errors are those of `scales_of`.
    """
    if isinstance(option, str) and option == ANY:
        option = "0:360"
    if isinstance(option, str) and ":" in option:
        return _directions(_range(option, "angles", *limits, most))
    values = _listed(option, "angles")
    numbers = [_number(value, option, "angles") for value in values]
    for value, number in zip(values, numbers, strict=True):
        _check_within(number, value, "angles", *limits)
    return _directions(Axis(tuple({round(number, DECIMALS) for number in numbers})))


def _listed(option: object, name: str) -> list[object]:
    """List the values of an option that is no range."""
    values: list[object]
    if isinstance(option, str):
        values = [*option.split(",")] if option.strip() else []
    elif isinstance(option, np.ndarray):
        is_pairs = name == "scales" and option.ndim == 2 and option.shape[1] == 2
        values = option.tolist() if is_pairs else option.ravel().tolist()
    elif isinstance(option, Sequence):
        values = list(option)
    else:
        values = [option]
    if not isinstance(option, str) and any(isinstance(value, str) for value in values):
        raise InputError(
            f"{name} {option!r} has text in it; give a list of numbers, or one text like"
            f" {_EXAMPLES[name]!r}"
        )
    if not values:
        raise InputError(f"{name} {option!r} is empty; give a number, a list, LO:HI or LO:HI:STEP")
    return values


def _range(option: str, name: str, low: float, high: float, limit: int) -> Axis:
    """Parse a range ``LO:HI`` or ``LO:HI:STEP`` of at most `limit` steps."""
    fields = option.split(":")
    if len(fields) not in (2, 3):
        raise InputError(
            f"{name} {option!r} is no range; give LO:HI or LO:HI:STEP, like {_EXAMPLES[name]}"
        )
    if name == "scales" and "x" in option:
        raise InputError(
            f"scales {option!r} is a range of pairs; a range has one scale for width and height,"
            " a list may have pairs like 1.25x1,1.5x1"
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


def _number(value: object, option: object, name: str, within: object = None) -> float:
    """Return a value as a number; `within` is the pair that it belongs to, if any."""
    try:
        number = float(value)  # type: ignore[arg-type] # other types are refused below
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number) or isinstance(value, bool):
        more = ", or any" if name == "angles" else ""
        raise InputError(
            f"{name} {option!r} cannot be read at {within or value!r}; give a number, a list like"
            f" {_LISTS[name]} or a range LO:HI or LO:HI:STEP{more}"
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
        return angles._replace(values=tuple(values), is_angle=True)
    closes = math.isclose(last - first + (angles.step or 0.0), 360)
    is_full_turn = last - first >= 360 or closes
    values = list(angles.values)
    if is_full_turn:
        values = sorted({_direction(value) for value in values}) if angles.step else [0.0, 360.0]
    return angles._replace(values=tuple(values), is_angle=True, is_full_turn=is_full_turn)


def _direction(angle: float) -> float:
    return round(angle % 360, DECIMALS) % 360
