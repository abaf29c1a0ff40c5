"""Which poses are asked for: scales, angles and flips, and how densely they are looked at."""

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
SPACING = 1.0  # pixels between poses side by side, at the kernel's corner

_MOST_POSES = 1_000_000
_SCALES = (0.01, 100.0)  # the least and the most
_ROUNDED = 10.0**-DECIMALS
_LIKE = {"scales": "0.5:2:0.1", "angles": "0:360:15"}


def spacing(kernel: tuple[int, int], scale: float) -> tuple[float, float]:
    """What moves a corner of a kernel of (height, width) at a scale by `SPACING`.

    Returns
    -------
    (share, degrees)
        By which the scale is larger, and the angle.
    """
    radius = math.hypot(*kernel) / 2 * scale
    share = SPACING / max(radius, 1.0)
    return share, math.degrees(share)


@dataclass(frozen=True)
class Axis:
    """Values of a scale or an angle.

    Attributes
    ----------
    values : tuple of float
        In rising order, each once.
    step : float
        Between those of a range; what lies between them is looked for, too. 0 for a list.
    turn : bool
        They are angles.
    whole : bool
        Of a full turn, which has no end.
    """

    values: tuple[float, ...]
    step: float = 0.0
    turn: bool = False
    whole: bool = False

    def spread(
        self, among: Sequence[float], spacing: float, *, relative: bool = False
    ) -> list[tuple[float, float]]:
        """Some of the values, at most `spacing` apart, and how far around each the others lie."""
        found = []
        first = 0
        while first < len(among):
            last = first
            wide = spacing * among[first] if relative else spacing
            while last + 1 < len(among) and among[last + 1] - among[first] <= wide:
                last += 1
            middle = (first + last) // 2
            reach = max(among[middle] - among[first], among[last] - among[middle])
            found.append((among[middle], max(reach, self.step / 2)))
            first = last + 1
        return found

    def around(self, value: float, reach: float, spacing: float) -> list[tuple[float, float]]:
        """Values within reach of one, `spacing` apart, and how far around each others lie."""
        if reach == 0 or len(self.values) == 1:
            return [(value, 0.0)]
        if not self.step:
            near = [found for found in self.values if abs(found - value) <= reach + _ROUNDED]
            return self.spread(near, spacing)
        count = math.ceil(reach / spacing)
        apart = reach / count
        values = [self.rounded(value + i * apart) for i in range(-count, count + 1)]
        return [(found, apart / 2) for found in dict.fromkeys(values)]

    def nearest(self, value: float) -> float:
        """Of the values the nearest."""
        return min(self.values, key=lambda own: self._apart(own, value))

    def _apart(self, first: float, second: float) -> float:
        apart = abs(first - second)
        return min(apart % 360, -apart % 360) if self.turn else apart

    def rounded(self, value: float) -> float:
        """As it will be told, within the range."""
        low, high = self.values[0], self.values[-1]
        if self.whole:
            return round(value % 360, DECIMALS)
        return round(min(max(value, low), high), DECIMALS)


@dataclass(frozen=True)
class Poses:
    """All that are searched: every scale with every angle and flip.

    Attributes
    ----------
    scales, angles : Axis
    flips : tuple of str
    """

    scales: Axis
    angles: Axis
    flips: tuple[str, ...]

    @classmethod
    def from_options(
        cls, scales: object, angles: object, flips: object, max_poses: int, kernels: int
    ) -> Poses | None:
        """Of what was asked, or None if nothing was.

        Parameters
        ----------
        scales, angles : str, number or sequence of numbers
            A text is a range ``LO:HI:STEP``, HI included, or a list ``A,B,C``.
        flips : str or sequence of str
            ``h`` and ``v`` are looked for beside the kernel as it is.
        max_poses : int
            For all kernels together.
        kernels : int
            How many there are.

        Raises
        ------
        InputError
            If that cannot be read, is empty, or is more than `max_poses`.
        """
        max_poses = positive_integer(max_poses, "max-poses")
        if max_poses > _MOST_POSES:
            raise InputError(
                f"max-poses {max_poses:,} is not possible; give {_MOST_POSES:,} or less"
            )
        if scales is None and angles is None and flips is None:
            return None
        low, high = _SCALES
        found = cls(
            _axis(1.0 if scales is None else scales, "scales", low, high, kernels * max_poses),
            _turns(_axis(0.0 if angles is None else angles, "angles", -3600, 3600,
                         kernels * max_poses)),
            _flips(flips),
        )  # fmt: skip
        count = len(found.scales.values) * len(found.angles.values) * len(found.flips)
        # Those upside down may be others turned; so many are not counted one by one.
        count *= kernels
        if count <= 2 * max_poses:
            count = found.count * kernels
        if count > max_poses:
            parts = (
                f"{len(found.scales.values):,} scales x {len(found.angles.values):,} angles"
                f" x {len(found.flips)} flips"
            )
            of = f" of {kernels} kernels" if kernels > 1 else ""
            raise InputError(
                f"{parts}{of} are {count:,} poses, more than --max-poses"
                f" (max_poses) {max_poses:,};\ngive larger steps, or allow more"
            )
        return found

    @property
    def count(self) -> int:
        return len(self.all)

    @cached_property
    def all(self) -> list[Pose]:
        """Every pose once: upside down is left to right half a turn on."""
        found: dict[tuple[float, float, bool], Pose] = {}
        for flip, scale, angle in product(self.flips, self.scales.values, self.angles.values):
            pose = Pose(scale, angle, flip)
            found.setdefault(pose.key, pose)
        return list(found.values())

    @property
    def has_ranges(self) -> bool:
        """Whether poses between the steps of a range are looked for."""
        return bool(self.scales.step or self.angles.step)


def _axis(given: object, name: str, low: float, high: float, most: int) -> Axis:
    if isinstance(given, str) and ":" in given:
        return _range(given, name, low, high, most)
    if isinstance(given, str):
        values = given.split(",") if given.strip() else []
    elif isinstance(given, np.ndarray):
        values = given.ravel().tolist()
    elif isinstance(given, Sequence):
        values = list(given)
    else:
        values = [given]  # type: ignore[list-item] # `_number` refuses what is none
    numbers = [_number(value, given, name) for value in values]
    if not numbers:
        raise InputError(f"{name} {given!r} is empty; give a number, a list or LO:HI:STEP")
    for number in (min(numbers), max(numbers)):
        _within(number, name, low, high)
    return Axis(tuple(sorted({round(number, DECIMALS) for number in numbers})))


def _range(given: str, name: str, low: float, high: float, most: int) -> Axis:
    parts = given.split(":")
    if len(parts) != 3:
        raise InputError(f"{name} {given!r} is no range; give LO:HI:STEP, like {_LIKE[name]}")
    first, last, step = (_number(part, given, name) for part in parts)
    if step <= 0 or first > last:
        raise InputError(
            f"{name} {given!r} is an empty range; give LO:HI:STEP with LO up to HI, STEP above 0"
        )
    _within(first, name, low, high)
    _within(last, name, low, high)
    if step < _ROUNDED:
        raise InputError(f"{name} {given!r} has a step below {_ROUNDED:g}; give a larger one")
    count = math.floor((last - first) / step + 1e-9) + 1
    if count > most:
        raise InputError(
            f"{name} {given!r} has {count:,} steps, more than the {most:,} of --max-poses"
            " (max_poses);\ngive a larger step, or allow more"
        )
    steps = [first + i * step for i in range(count)]
    numbers = dict.fromkeys(round(number, DECIMALS) for number in (*steps, last))
    return Axis(tuple(numbers), step if len(numbers) > 1 else 0.0)


def _number(value: object, given: object, name: str) -> float:
    try:
        number = float(value)  # type: ignore[arg-type] # what is no number is refused below
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number) or isinstance(value, bool):
        raise InputError(
            f"{name} {given!r} cannot be read at {value!r}; give a number, a list like 1,1.5,2 or"
            " a range LO:HI:STEP"
        )
    return number


def _within(number: float, name: str, low: float, high: float) -> None:
    if not low <= number <= high:
        raise InputError(f"{name} {number:g} is not possible; give {low:g} to {high:g}")


def _turns(angles: Axis) -> Axis:
    """Each direction once; a full turn of a range is all of it."""
    first, last = angles.values[0], angles.values[-1]
    if angles.step and last - first < 360:
        whole = bool(angles.step) and math.isclose(last - first + angles.step, 360)
        return Axis(angles.values, angles.step, turn=True, whole=whole)
    values = sorted({round(value % 360, DECIMALS) % 360 for value in angles.values})
    return Axis(tuple(values), angles.step, turn=True, whole=bool(angles.step))


def _flips(given: object) -> tuple[str, ...]:
    if given is None:
        return ("none",)
    parts = given.split(",") if isinstance(given, str) else given
    if not isinstance(parts, Sequence):
        parts = ("",)
    for part in parts:
        if part not in FLIPS:
            raise InputError(f"flips {given!r} cannot be read; give h, v or h,v")
    return tuple(dict.fromkeys(("none", *parts)))
