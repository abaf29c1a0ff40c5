"""The options of a search: what a user gives by keywords, checked and with its defaults.

The command and Python name them alike. `Given` says which keywords there are and what they take,
`Options.checked` what they default to; everything behind it gets one frozen `Options`.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict, TypeVar

import numpy as np

from patchsim import choices, metrics
from patchsim.checks import is_number, number, positive_integer, true_or_false, whole_number
from patchsim.errors import InputError
from patchsim.geometry import tiles
from patchsim.geometry.area import DEFAULT_PADDING, TRANSPARENT, Region, check_region
from patchsim.machine import devices
from patchsim.machine.memory import default_limit, parse_size
from patchsim.machine.threads import clamp
from patchsim.pictures.frames import check_frame
from patchsim.pictures.key_color import KeyColor
from patchsim.pictures.reader import DEFAULT_MAX_PIXELS
from patchsim.poses.grid import DEFAULT_MAX_POSES, Poses

DEFAULT_TOP = 5
DEFAULT_OVERLAP = 0.3
_STEPS = 255  # of the data range, in which differences are given
AUTO = "auto"  # the threshold that is found from the scores themselves
# A match shows more of the kernel than it hides.
DEFAULT_MIN_VISIBLE = 0.5

_Function = TypeVar("_Function", bound=Callable[..., Any])
_Values = str | float | Sequence[float]
_Scales = str | float | Sequence[float | tuple[float, float]]


class Given(TypedDict, total=False):
    """The keywords of `match` and `Matcher`; the docstring of `match` explains them."""

    stride: int | tuple[int, int]
    region: Region | None
    frame: int | str | None
    level: int
    padding: str
    metric: str
    color: str
    ignore_profile: bool
    device: str
    engine: str
    top: int | None
    threshold: float | str | None
    overlap: float
    margin: bool | None
    alpha: bool
    transparent: str | None
    ignore: Region | Sequence[Region] | None
    nan: str
    worst: float | None
    pixel_tolerance: float | None
    max_differing: float | None
    ignore_alpha: bool
    trim: bool
    min_visible: float | None
    channel_weights: Sequence[float] | None
    per_kernel: bool
    strict: bool
    sort: str
    subpixel: bool
    scales: _Scales | None
    angles: _Values | None
    flips: str | Sequence[str] | None
    invert: bool
    max_poses: int | None
    same_scale: bool
    exhaustive: bool
    tolerance: float
    data_range: tuple[float, float] | None
    max_pixels: int
    memory: int | str | None
    threads: int | None


@dataclass(frozen=True, kw_only=True)
class Options:
    """The checked options of a search.

    Attributes
    ----------
    stride : (y, x)
    region : (x, y, width, height) or None
    padding, metric, color, device, engine, sort : str
        `choices` has their words.
    top : int or None
        The most matches; None for all.
    threshold : float, ``auto`` or None
        The lowest score of a match.
    overlap : float
        The largest intersection over union of two matches, 0 to 1.
    margin : bool or None
        None for where it costs little; `wants_margin` decides.
    frame : int, ``all`` or None
        The frame of the image that is searched.
    level : int
        The level of a pyramid that is searched, from 0 for the largest.
    transparent : KeyColor or None
        The colour of kernels that does not count.
    ignore : tuple of (x, y, width, height)
        Boxes of the image that do not count.
    nan : str
        One of `choices.NANS`; `ignores_nan` reads it.
    worst : float or None
        The lowest score of a block of a match.
    pixel_tolerance : float or None
        By how much pixels may differ, in 255ths of the data range.
    max_differing : int, float or None
        How many may differ by more, or their share.
    alpha, ignore_profile, ignore_alpha, trim, per_kernel, strict, subpixel : bool
    invert, same_scale, exhaustive : bool
    min_visible : float
        The smallest visible share of a match, above 0 and up to 1.
    channel_weights : tuple of float or None
    poses : Poses or None
        None if the kernels are searched only as they are.
    tolerance : float
        How far a map's scores may be off, 0 to 1.
    data_range : (low, high) or None
        None for the range that the pixels' type has.
    max_pixels : int
    memory : int
        Bytes that the search may take.
    threads : int
    """

    stride: tuple[int, int]
    region: Region | None
    frame: int | str | None
    level: int
    padding: str
    metric: str
    color: str
    ignore_profile: bool
    device: str
    engine: str
    top: int | None
    threshold: float | str | None
    overlap: float
    margin: bool | None
    alpha: bool
    transparent: KeyColor | None
    ignore: tuple[Region, ...]
    nan: str
    worst: float | None
    pixel_tolerance: float | None
    max_differing: float | None
    ignore_alpha: bool
    trim: bool
    min_visible: float
    channel_weights: tuple[float, ...] | None
    per_kernel: bool
    strict: bool
    sort: str
    subpixel: bool
    poses: Poses | None
    invert: bool
    same_scale: bool
    exhaustive: bool
    tolerance: float
    data_range: tuple[float, float] | None
    max_pixels: int
    memory: int
    threads: int

    @property
    def numeric_threshold(self) -> float | None:
        """The threshold if it is a number."""
        return None if isinstance(self.threshold, str) else self.threshold

    @property
    def ignores_nan(self) -> bool:
        """Whether pixels of image and kernels that are NaN do not count."""
        return self.nan == "ignore"

    @property
    def criteria(self) -> tuple[str, ...]:
        """The options about single places of a match that are given."""
        given = {"worst": self.worst, "pixel_tolerance": self.pixel_tolerance}
        return tuple(name for name, value in given.items() if value is not None)

    @property
    def has_criteria(self) -> bool:
        """Whether single places of a match count beside its score."""
        return self.worst is not None or self.pixel_tolerance is not None

    def wants_margin(self, *, keeps_map: bool) -> bool:
        """Return whether the margins are to be found; a search that `keeps_map` has all scores.

        They are found by default where that takes about a tenth of the search at most: if there are
        scores of all windows, as of metrics that correlate, if the threshold ``auto`` compares the
        next places anyway, or if poses were followed. A search for the best windows alone would
        take several times as long.
        """
        if self.margin is not None:
            return self.margin
        are_fitted = self.poses is not None and not self.poses.are_whole
        has_scores = keeps_map or metrics.formula_of(self.metric).correlates
        return has_scores or are_fitted or self.threshold == AUTO

    def changed(self, *, with_memory: bool) -> str:
        """Return the options that differ from their defaults, as keywords.

        Parameters
        ----------
        with_memory : bool
            The memory was given; otherwise it is what the machine has to spare.
        """
        usual = Options.checked(1, threshold=self.threshold, memory=self.memory)
        names = [
            name
            for name in self.__dataclass_fields__
            if name != "poses" and getattr(self, name) != getattr(usual, name)
        ]
        names += ["threshold"] if self.threshold is not None else []
        names += ["memory"] if with_memory else []
        texts = [f"{name}={getattr(self, name)!r}" for name in names]
        texts += [str(self.poses)] if self.poses is not None else []
        return ", ".join(texts)

    @property
    def texts(self) -> dict[str, str]:
        """The options on which matches depend, by their names."""
        machine = ("device", "engine", "memory", "threads", "tolerance")
        return {
            name: str(getattr(self, name))
            for name in self.__dataclass_fields__
            if name not in machine
        }

    @classmethod
    def checked(
        cls,
        kernel_count: int,
        has_image_mask: bool = False,
        *,
        stride: int | tuple[int, int] = 1,
        region: Region | None = None,
        frame: int | str | None = None,
        level: int = 0,
        padding: str = DEFAULT_PADDING,
        metric: str = metrics.DEFAULT,
        color: str = "auto",
        ignore_profile: bool = False,
        device: str = "auto",
        engine: str = "auto",
        top: int | None = None,
        threshold: float | str | None = None,
        overlap: float = DEFAULT_OVERLAP,
        margin: bool | None = None,
        alpha: bool = True,
        transparent: str | None = None,
        ignore: Region | Sequence[Region] | None = None,
        nan: str = "refuse",
        worst: float | None = None,
        pixel_tolerance: float | None = None,
        max_differing: float | None = None,
        ignore_alpha: bool = False,
        trim: bool = True,
        min_visible: float | None = None,
        channel_weights: Sequence[float] | None = None,
        per_kernel: bool = False,
        strict: bool = False,
        sort: str = "score",
        subpixel: bool = False,
        scales: _Scales | None = None,
        angles: _Values | None = None,
        flips: str | Sequence[str] | None = None,
        invert: bool = False,
        max_poses: int | None = None,
        same_scale: bool = False,
        exhaustive: bool = False,
        tolerance: float = 0.0,
        data_range: tuple[float, float] | None = None,
        max_pixels: int = DEFAULT_MAX_PIXELS,
        memory: int | str | None = None,
        threads: int | None = None,
    ) -> Options:
        """Check the options of a search for so many kernels.

        Raises
        ------
        InputError
            If a value cannot be used; the message names the option.
        """
        most = None if top is None else positive_integer(top, "top")
        return cls(
            stride=tiles.stride_pair(stride),
            region=check_region(region),
            padding=choices.check("padding", padding, choices.PADDINGS),
            metric=choices.check("metric", metric, choices.METRICS),
            color=choices.check("color", color, choices.COLORS),
            ignore_profile=true_or_false(ignore_profile, "ignore_profile"),
            device=devices.check_name(device, several=True),
            engine=choices.check("engine", engine, ("auto", *choices.ENGINES)),
            top=DEFAULT_TOP if most is None and threshold is None else most,
            threshold=_threshold(threshold),
            overlap=_share(overlap, "overlap", "is not a share"),
            margin=None if margin is None else true_or_false(margin, "margin"),
            frame=check_frame(frame),
            level=_level(level, frame),
            transparent=KeyColor.parsed(transparent, "transparent"),
            ignore=_boxes(ignore),
            nan=choices.check("nan", nan, choices.NANS),
            worst=None if worst is None else _share(worst, "worst", "is no score of a block"),
            pixel_tolerance=_pixel_tolerance(pixel_tolerance, max_differing),
            max_differing=_max_differing(max_differing),
            alpha=true_or_false(alpha, "alpha"),
            ignore_alpha=true_or_false(ignore_alpha, "ignore_alpha"),
            trim=true_or_false(trim, "trim"),
            min_visible=_min_visible(
                min_visible,
                is_all_visible=bool(ignore_alpha)
                and not (has_image_mask or ignore or nan == "ignore" or padding == TRANSPARENT),
            ),
            channel_weights=_channel_weights(channel_weights),
            per_kernel=true_or_false(per_kernel, "per_kernel"),
            strict=true_or_false(strict, "strict"),
            sort=choices.check("sort", sort, choices.SORTS),
            subpixel=true_or_false(subpixel, "subpixel"),
            poses=_poses(scales, angles, flips, max_poses, same_scale, exhaustive, kernel_count),
            invert=true_or_false(invert, "invert"),
            same_scale=bool(same_scale),
            exhaustive=bool(exhaustive),
            tolerance=_share(tolerance, "tolerance", "is not possible"),
            data_range=_data_range(data_range),
            max_pixels=positive_integer(max_pixels, "max-pixels"),
            memory=default_limit() if memory is None else parse_size(memory),
            threads=devices.cpu_count()
            if threads is None
            else clamp(positive_integer(threads, "threads")),
        )


def check_keywords(given: Iterable[str], function: str, others: Iterable[str] = ()) -> None:
    """Check that a function knows the keywords of its ``**options``.

    Parameters
    ----------
    given : iterable of str
    function : str
        The name of the function in the message.
    others : iterable of str
        The keywords that the function has beside the options.

    Raises
    ------
    TypeError
        If a keyword is unknown; the message names the most similar keyword.
    """
    unknown = [name for name in given if name not in Given.__annotations__]
    if not unknown:
        return
    import difflib

    known = choices.OTHER_NAMES.get(unknown[0])
    similar = difflib.get_close_matches(unknown[0], [*others, *Given.__annotations__], n=1)
    similar = similar if known is None else [known]
    hint = f"did you mean {similar[0]!r}?" if similar else f"help(patchsim.{function}) lists them"
    raise TypeError(f"{function}() got an unexpected keyword argument {unknown[0]!r}; {hint}")


def with_signature_of_options(function: _Function) -> _Function:
    """Show the options one by one in the signature of a function that takes ``**options``.

    `help` and editors read the signature; the options stand in `Options.checked` alone.
    """
    signature = inspect.signature(function)
    parameters = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    options = inspect.signature(Options.checked).parameters.values()
    parameters += [p for p in options if p.kind is p.KEYWORD_ONLY]
    function.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return function


def _poses(
    scales: object,
    angles: object,
    flips: object,
    max_poses: int | None,
    same_scale: object,
    exhaustive: object,
    kernel_count: int,
) -> Poses | None:
    """Return the poses; options about poses are refused where none are asked for."""
    about = [
        name
        for name, is_given in (
            ("same_scale", true_or_false(same_scale, "same_scale")),
            ("exhaustive", true_or_false(exhaustive, "exhaustive")),
            ("max_poses", max_poses is not None),
        )
        if is_given
    ]
    most = DEFAULT_MAX_POSES if max_poses is None else max_poses
    poses = Poses.from_options(scales, angles, flips, most, kernel_count)
    if poses is None and about:
        raise InputError(f"{about[0]} is about poses; give scales, angles or flips with it")
    return poses


def _level(given: object, frame: object) -> int:
    level = whole_number(given)
    if level is None or level < 0:
        raise InputError(f"level {given!r} is no level; give a whole number from 0, the largest")
    if level and frame is not None:
        raise InputError(
            f"level {level} is of the first picture of a file, and the frame {frame!r} is asked"
            " for; give one of the two"
        )
    return level


def _boxes(given: object) -> tuple[Region, ...]:
    """Return a list of boxes, of which one alone may be given."""
    values = list(given) if isinstance(given, Sequence) and not isinstance(given, str) else [given]
    boxes = [given] if values and not isinstance(values[0], Sequence) else values
    checked = (check_region(box, "ignore") for box in boxes)
    return tuple(box for box in checked if box is not None)


def _pixel_tolerance(given: object, max_differing: object) -> float | None:
    if given is None:
        return None if max_differing is None else 0.0
    tolerance = number(given, "pixel-tolerance", "give one from 0 to 255")
    if not 0 <= tolerance <= _STEPS:
        raise InputError(f"pixel-tolerance {given} is not possible; give one from 0 to 255")
    return tolerance


def _max_differing(given: object) -> float | None:
    """Return a number of pixels as an integer, and a share as a float."""
    if given is None:
        return None
    if isinstance(given, int | np.integer) and not isinstance(given, bool):
        if given < 0:
            raise InputError(f"max-differing {given} is negative; give a number of pixels from 0")
        return int(given)
    advice = "give a number of pixels, such as 20, or a share, such as 0.05"
    return _share(given, "max-differing", "is no number of pixels, and no share", advice)


def _share(value: object, option: str, refusal: str, advice: str = "give one from 0 to 1") -> float:
    share = number(value, option, advice)
    if not 0 <= share <= 1:
        raise InputError(f"{option} {value} {refusal}; {advice}")
    return share


def _data_range(given: tuple[float, float] | None) -> tuple[float, float] | None:
    if given is None:
        return None
    metrics.check_range(given)
    low, high = given
    return float(low), float(high)


def _threshold(given: object) -> float | str | None:
    if given is None:
        return None
    if isinstance(given, str) and given == AUTO:
        return AUTO
    threshold = number(given, "threshold", "give one from -1 to 1, or auto")
    if not -1 <= threshold <= 1:
        raise InputError(f"threshold {given} cannot be a score; give one from -1 to 1, or auto")
    return threshold


def _min_visible(given: object, *, is_all_visible: bool) -> float:
    if given is None:
        return DEFAULT_MIN_VISIBLE
    share = number(given, "min-visible", "give a share above 0, up to 1")
    if not 0 < share <= 1:
        raise InputError(f"min-visible {given} is not possible; give a share above 0, up to 1")
    if is_all_visible:
        raise InputError(
            f"min-visible {given} has no meaning where alpha is ignored: all of the image counts;"
            "\ngive --min-visible or --ignore-alpha (min_visible, ignore_alpha), not both"
        )
    return share


def _channel_weights(given: object) -> tuple[float, ...] | None:
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
