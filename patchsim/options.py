"""What was asked of a search: checked, and with its defaults."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from patchsim import choices
from patchsim.checks import whole
from patchsim.errors import InputError
from patchsim.geometry import tiles
from patchsim.geometry.area import Region, check_region
from patchsim.machine import devices
from patchsim.machine.memory import default_limit, parse_size

DEFAULT_TOP = 5
DEFAULT_OVERLAP = 0.3
AUTO = "auto"  # the threshold that the scores themselves tell
# A match shows more of the kernel than it leaves open.
DEFAULT_MIN_VISIBLE = 0.5


@dataclass(frozen=True)
class Options:
    """What was asked, checked and with its defaults."""

    stride: tuple[int, int]
    region: Region | None
    padding: str
    metric: str
    color: str
    device: str
    top: int | None
    threshold: float | str | None
    overlap: float
    tolerance: float
    memory: int
    threads: int
    max_pixels: int
    min_visible: float
    channel_weights: tuple[float, ...] | None

    @property
    def given_threshold(self) -> float | None:
        """The threshold if it is a number."""
        return None if isinstance(self.threshold, str) else self.threshold

    @classmethod
    def checked(
        cls,
        stride: int | tuple[int, int],
        region: Region | None,
        padding: str,
        metric: str,
        color: str,
        device: str,
        top: int | None,
        threshold: float | str | None,
        overlap: float,
        tolerance: float,
        memory: int | str | None,
        threads: int | None,
        max_pixels: int,
        min_visible: float | None,
        channel_weights: Sequence[float] | None,
        *,
        ignore_alpha: bool,
    ) -> Options:
        top = None if top is None else whole(top, "top")
        if threshold is not None and threshold != AUTO:
            threshold = _number(threshold, "threshold", "; give one from -1 to 1, or auto")
            if not -1 <= threshold <= 1:
                raise InputError(
                    f"threshold {threshold} cannot be a score; give one from -1 to 1, or auto"
                )
        overlap, tolerance = _number(overlap, "overlap"), _number(tolerance, "tolerance")
        threads = devices.cpu_count() if threads is None else whole(threads, "threads")
        max_pixels = whole(max_pixels, "max-pixels")
        if not 0 <= overlap <= 1:
            raise InputError(f"overlap {overlap} is not a share; give one from 0 to 1")
        if not 0 <= tolerance <= 1:
            raise InputError(f"tolerance {tolerance} is not possible; give one from 0 to 1")
        return cls(
            stride=tiles.stride_pair(stride),
            region=check_region(region),
            padding=choices.check("padding", padding, choices.PADDINGS),
            metric=choices.check("metric", metric, choices.METRICS),
            color=choices.check("color", color, choices.COLORS),
            device=devices.check_name(device, several=True),
            top=DEFAULT_TOP if top is None and threshold is None else top,
            threshold=threshold,
            overlap=overlap,
            tolerance=tolerance,
            memory=default_limit() if memory is None else parse_size(memory),
            threads=threads,
            max_pixels=max_pixels,
            min_visible=_min_visible(min_visible, ignore_alpha=ignore_alpha),
            channel_weights=_channel_weights(channel_weights),
        )


def _number(value: object, option: str, hint: str = "") -> float:
    try:
        return float(value)  # type: ignore[arg-type] # what is none is refused
    except (TypeError, ValueError):
        raise InputError(f"{option} {value!r} is not a number{hint}") from None


def _min_visible(given: object, *, ignore_alpha: bool) -> float:
    """What of a match is visible at least."""
    if given is None:
        return DEFAULT_MIN_VISIBLE
    share = _number(given, "min-visible")
    if not 0 < share <= 1:
        raise InputError(f"min-visible {share:g} is not possible; give a share above 0, up to 1")
    if ignore_alpha:
        raise InputError(
            f"min-visible {share:g} has no meaning where alpha is ignored: all of the image counts;"
            "\ngive --min-visible or --ignore-alpha (min_visible, ignore_alpha), not both"
        )
    return share


def _channel_weights(given: Sequence[float] | None) -> tuple[float, ...] | None:
    """Finite numbers from 0, of which one is larger."""
    if given is None:
        return None
    try:
        found = tuple(float(weight) for weight in given)
    except (TypeError, ValueError):
        found = ()
    if not found:
        raise InputError(
            f"channel weights {given!r} are not a list of numbers; give one for each channel"
        )
    text = ",".join(f"{weight:g}" for weight in found)
    if not all(math.isfinite(weight) and weight >= 0 for weight in found):
        raise InputError(f"channel weights {text} are not all finite numbers from 0")
    if not any(found):
        raise InputError(f"channel weights {text} leave no channel; give one above 0")
    return found
