"""The table of options: what each defaults to, how it is checked, and the type that it then has."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, Unpack

from patchsim import choices, metrics
from patchsim.checks import positive_integer, true_or_false
from patchsim.geometry import tiles
from patchsim.geometry.area import DEFAULT_PADDING, Region, check_region
from patchsim.machine import devices
from patchsim.options import checks
from patchsim.options.checks import AUTO
from patchsim.options.keywords import Given, check_keywords
from patchsim.pictures.key_color import KeyColor
from patchsim.pictures.reader import DEFAULT_MAX_PIXELS

if TYPE_CHECKING:
    from patchsim.poses.grid import Poses

_Function = TypeVar("_Function", bound=Callable[..., Any])
_Row = Mapping[str, Any]


def _option(check: Callable[[Any], object], default: object = None) -> _Row:
    """Describe an option: the check of its value, and its default."""
    return {"check": check, "default": default, "takes_all": False}


def _of_several(check: Callable[[Mapping[str, Any]], object], default: object = None) -> _Row:
    """Describe an option whose check takes the values of all keywords.

    The check runs for each search, for what it returns may differ where the option is not given.
    """
    return {"check": check, "default": default, "takes_all": True}


def _switch(name: str, *, default: bool = False) -> _Row:
    return _option(partial(true_or_false, option=name), default)


def _word(name: str, words: Callable[[], tuple[str, ...]], default: str) -> _Row:
    return _option(lambda value: choices.check(name, value, words()), default)


@dataclass(frozen=True, kw_only=True, init=False, repr=False)
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
        None for where it costs little; `is_margin_wanted` decides.
    frame : int, ``all`` or None
        The frame of the image that is searched.
    level : int
        The level of a pyramid that is searched, from 0 for the largest.
    transparent : KeyColor or None
        The colour of kernels that does not count.
    ignore : tuple of (x, y, width, height)
        Boxes of the image that do not count.
    nan : str
        One of `choices.NANS`; `is_nan_ignored` reads it.
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

    stride: tuple[int, int] = field(metadata=_option(tiles.stride_pair, 1))
    region: Region | None = field(metadata=_option(check_region))
    frame: int | str | None = field(metadata=_option(checks.frame))
    level: int = field(metadata=_of_several(checks.level, 0))
    padding: str = field(metadata=_word("padding", lambda: choices.PADDINGS, DEFAULT_PADDING))
    metric: str = field(metadata=_word("metric", lambda: choices.METRICS, metrics.DEFAULT))
    color: str = field(metadata=_word("color", lambda: choices.COLORS, "auto"))
    ignore_profile: bool = field(metadata=_switch("ignore_profile"))
    device: str = field(metadata=_option(partial(devices.check_name, several=True), "auto"))
    engine: str = field(metadata=_word("engine", lambda: ("auto", *choices.ENGINES), "auto"))
    top: int | None = field(metadata=_of_several(checks.top))
    threshold: float | str | None = field(metadata=_option(checks.threshold))
    overlap: float = field(
        metadata=_option(partial(checks.share, option="overlap", refusal="is not a share"), 0.3)
    )
    margin: bool | None = field(metadata=_option(checks.margin))
    alpha: bool = field(metadata=_switch("alpha", default=True))
    transparent: KeyColor | None = field(
        metadata=_option(partial(KeyColor.parsed, option="transparent"))
    )
    ignore: tuple[Region, ...] = field(metadata=_option(checks.boxes))
    nan: str = field(metadata=_word("nan", lambda: choices.NANS, "refuse"))
    worst: float | None = field(metadata=_option(checks.worst))
    pixel_tolerance: float | None = field(metadata=_of_several(checks.pixel_tolerance))
    max_differing: float | None = field(metadata=_option(checks.max_differing))
    ignore_alpha: bool = field(metadata=_switch("ignore_alpha"))
    trim: bool = field(metadata=_switch("trim", default=True))
    min_visible: float = field(metadata=_of_several(checks.min_visible))
    channel_weights: tuple[float, ...] | None = field(metadata=_option(checks.channel_weights))
    per_kernel: bool = field(metadata=_switch("per_kernel"))
    strict: bool = field(metadata=_switch("strict"))
    sort: str = field(metadata=_word("sort", lambda: choices.SORTS, "score"))
    subpixel: bool = field(metadata=_switch("subpixel"))
    poses: Poses | None = field(metadata=_of_several(checks.poses))
    invert: bool = field(metadata=_switch("invert"))
    same_scale: bool = field(metadata=_switch("same_scale"))
    exhaustive: bool = field(metadata=_switch("exhaustive"))
    tolerance: float = field(
        metadata=_option(partial(checks.share, option="tolerance", refusal="is not possible"), 0.0)
    )
    data_range: tuple[float, float] | None = field(metadata=_option(checks.data_range))
    max_pixels: int = field(
        metadata=_option(partial(positive_integer, option="max-pixels"), DEFAULT_MAX_PIXELS)
    )
    memory: int = field(metadata=_of_several(checks.memory))
    threads: int = field(metadata=_of_several(checks.threads))

    def __init__(self, **checked: Any) -> None:
        # That of `dataclass` takes a millisecond to compile, and sets field by field.
        self.__dict__.update(checked)

    @property
    def numeric_threshold(self) -> float | None:
        """The threshold if it is a number."""
        return None if isinstance(self.threshold, str) else self.threshold

    @property
    def is_nan_ignored(self) -> bool:
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

    def is_margin_wanted(self, *, keeps_map: bool) -> bool:
        """Return whether the margins are to be found; a search that `keeps_map` has all scores.

        They are found by default where that takes about a tenth of the search at most: if there are
        scores of all windows, as of metrics that correlate, if the threshold ``auto`` compares the
        next places anyway, or if poses were followed. A search for the best windows alone would
        take several times as long.
        """
        if self.margin is not None:
            return self.margin
        are_fitted = self.poses is not None and not self.poses.is_of_quarter_turns
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
        cls, kernel_count: int, has_image_mask: bool = False, **given: Unpack[Given]
    ) -> Options:
        """Check the options of a search for so many kernels.

        Raises
        ------
        InputError
            If a value cannot be used; the message names the option.
        TypeError
            If a keyword is unknown.
        """
        values: dict[str, Any] = {**DEFAULTS, **given}
        if len(values) > len(DEFAULTS):
            check_keywords(given, "match")
        values |= {"kernel_count": kernel_count, "has_image_mask": has_image_mask}
        checked = dict(_CHECKED_DEFAULTS)
        for name, check, takes_all in _CHECKS:
            if takes_all:
                checked[name] = check(values)
            elif name in given:
                checked[name] = check(values[name])
        return cls(**checked)


_ROWS = fields(Options)
_CHECKS = [(row.name, row.metadata["check"], row.metadata["takes_all"]) for row in _ROWS]
# The keywords of a search with their defaults; those that become `poses` default to None.
DEFAULTS: dict[str, Any] = {
    **dict.fromkeys(Given.__annotations__),
    **{row.name: row.metadata["default"] for row in _ROWS if row.name in Given.__annotations__},
}
_CHECKED_DEFAULTS = {
    name: check(DEFAULTS[name]) for name, check, takes_all in _CHECKS if not takes_all
}


def with_signature_of_options(function: _Function) -> _Function:
    """Show the options one by one in the signature of a function that takes ``**options``.

    `help` and editors read the signature; the options stand in `Given` and `Options` alone.
    """
    signature = inspect.signature(function)
    parameters = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    parameters += [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=DEFAULTS[name],
            annotation=annotation.__forward_arg__,
        )
        for name, annotation in Given.__annotations__.items()
    ]
    # `inspect` asks for it, which typeshed does not say of functions.
    function.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return function
