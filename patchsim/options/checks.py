"""Checks of single options; a check of several options takes all that is given, by keyword."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from patchsim import metrics
from patchsim.checks import is_number, number, positive_integer, true_or_false, whole_number
from patchsim.errors import InputError
from patchsim.geometry.area import TRANSPARENT, Region, check_region
from patchsim.machine import devices
from patchsim.machine.memory import default_limit, parse_size
from patchsim.machine.threads import clamp

if TYPE_CHECKING:
    from patchsim.poses.grid import Poses

AUTO = "auto"  # the threshold that is found from the scores themselves
ALL = "all"  # the frames of an image
_STEPS = 255  # of the data range, in which differences are given
_TOP = 5
_MIN_VISIBLE = 0.5  # a match shows more of the kernel than it hides


def top(given: Mapping[str, Any]) -> int | None:
    """Check the number of matches: without a threshold there is one in any case."""
    if given["top"] is not None:
        return positive_integer(given["top"], "top")
    return _TOP if given["threshold"] is None else None


def memory(given: Mapping[str, Any]) -> int:
    """Return bytes, by default what the machine has to spare."""
    size = given["memory"]
    return default_limit() if size is None else parse_size(size)


def threads(given: Mapping[str, Any]) -> int:
    """Return the number of threads, by default one for each CPU."""
    count = given["threads"]
    return devices.cpu_count() if count is None else clamp(positive_integer(count, "threads"))


def worst(given: object) -> float | None:
    return None if given is None else share(given, "worst", "is no score of a block")


def margin(given: object) -> bool | None:
    return None if given is None else true_or_false(given, "margin")


def poses(given: Mapping[str, Any]) -> Poses | None:
    """Return the poses; options about poses are refused where none are asked for."""
    about = [
        name
        for name, is_given in (
            ("same_scale", true_or_false(given["same_scale"], "same_scale")),
            ("exhaustive", true_or_false(given["exhaustive"], "exhaustive")),
            ("max_poses", given["max_poses"] is not None),
        )
        if is_given
    ]
    scales, angles, flips, most, kernels = (
        given[name] for name in ("scales", "angles", "flips", "max_poses", "kernel_count")
    )
    asked = None
    if not (scales is None and angles is None and flips is None and most is None):
        from patchsim.poses.grid import DEFAULT_MAX_POSES, Poses  # where poses are asked for

        most = DEFAULT_MAX_POSES if most is None else most
        asked = Poses.from_options(scales, angles, flips, most, kernels)
    if asked is None and about:
        raise InputError(f"{about[0]} is about poses; give scales, angles or flips with it")
    return asked


def frame(given: object) -> int | str | None:
    """Return the number of a frame, ``all``, or None.

    Raises
    ------
    InputError
        If it is anything else.
    """
    if given is None or given == ALL:
        return ALL if given is not None else None
    number = whole_number(given)
    if number is None or number < 0:
        raise InputError(f"frame {given!r} is no frame; give a whole number from 0, or all")
    return number


def level(given: Mapping[str, Any]) -> int:
    """Check the level of a pyramid, which no frame goes with."""
    value, frame = given["level"], given["frame"]
    level = whole_number(value)
    if level is None or level < 0:
        raise InputError(f"level {value!r} is no level; give a whole number from 0, the largest")
    if level and frame is not None:
        raise InputError(
            f"level {level} is of the first picture of a file, and the frame {frame!r} is asked"
            " for; give one of the two"
        )
    return level


def boxes(given: object) -> tuple[Region, ...]:
    """Return a list of boxes, of which one alone may be given."""
    values = list(given) if isinstance(given, Sequence) and not isinstance(given, str) else [given]
    boxes = [given] if values and not isinstance(values[0], Sequence) else values
    checked = (check_region(box, "ignore") for box in boxes)
    return tuple(box for box in checked if box is not None)


def pixel_tolerance(given: Mapping[str, Any]) -> float | None:
    """Check by how much pixels may differ; by nothing where only their number is given."""
    value = given["pixel_tolerance"]
    if value is None:
        return None if given["max_differing"] is None else 0.0
    tolerance = number(value, "pixel-tolerance", "give one from 0 to 255")
    if not 0 <= tolerance <= _STEPS:
        raise InputError(f"pixel-tolerance {value} is not possible; give one from 0 to 255")
    return tolerance


def max_differing(given: object) -> float | None:
    """Return a number of pixels as an integer, and a share as a float."""
    if given is None:
        return None
    if isinstance(given, int | np.integer) and not isinstance(given, bool):
        if given < 0:
            raise InputError(f"max-differing {given} is negative; give a number of pixels from 0")
        return int(given)
    advice = "give a number of pixels, such as 20, or a share, such as 0.05"
    return share(given, "max-differing", "is no number of pixels, and no share", advice)


def share(value: object, option: str, refusal: str, advice: str = "give one from 0 to 1") -> float:
    checked = number(value, option, advice)
    if not 0 <= checked <= 1:
        raise InputError(f"{option} {value} {refusal}; {advice}")
    return checked


def data_range(given: tuple[float, float] | None) -> tuple[float, float] | None:
    if given is None:
        return None
    metrics.check_range(given)
    low, high = given
    return float(low), float(high)


def threshold(given: object) -> float | str | None:
    if given is None:
        return None
    if isinstance(given, str) and given == AUTO:
        return AUTO
    threshold = number(given, "threshold", "give one from -1 to 1, or auto")
    if not -1 <= threshold <= 1:
        raise InputError(f"threshold {given} cannot be a score; give one from -1 to 1, or auto")
    return threshold


def min_visible(given: Mapping[str, Any]) -> float:
    """Check the smallest visible share, which is refused where everything is visible."""
    value = given["min_visible"]
    if value is None:
        return _MIN_VISIBLE
    share = number(value, "min-visible", "give a share above 0, up to 1")
    if not 0 < share <= 1:
        raise InputError(f"min-visible {value} is not possible; give a share above 0, up to 1")
    can_hide = given["has_image_mask"] or given["ignore"] or given["nan"] == "ignore"
    if given["ignore_alpha"] and not (can_hide or given["padding"] == TRANSPARENT):
        raise InputError(
            f"min-visible {value} has no meaning where alpha is ignored: all of the image counts;"
            "\ngive --min-visible or --ignore-alpha (min_visible, ignore_alpha), not both"
        )
    return share


def channel_weights(given: object) -> tuple[float, ...] | None:
    """Check for finite numbers from 0, of which at least one is larger."""
    if given is None:
        return None
    values = [] if isinstance(given, str) or not isinstance(given, Iterable) else list(given)
    weights = tuple(float(weight) for weight in values if is_number(weight))
    if not weights or len(weights) < len(values):
        raise InputError(
            f"channel weights {given!r} are not a list of numbers; give one for each channel"
        )
    text = ",".join(str(weight) for weight in values)
    if not all(math.isfinite(weight) and weight >= 0 for weight in weights):
        raise InputError(f"channel weights {text} are not all finite numbers from 0")
    if not any(weights):
        raise InputError(f"channel weights {text} leave no channel; give one above 0")
    return weights
