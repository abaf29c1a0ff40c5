"""Options that contradict each other, or say nothing without another one.

What is typed is refused by the command itself. This table is for defaults from the environment,
which give way to what is typed, and are ignored where they say nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import combinations
from typing import Any, NamedTuple

from patchsim.choices import COLOR_CHANNELS, ENGINE_METRICS, METRICS

# The values of all options of a command by their names, as text.
Values = Mapping[str, Any]


def _is_always(_: Values) -> bool:
    return True


class Contradiction(NamedTuple):
    """Options of which each of `ones` contradicts each of `others` where `holds` says so.

    Attributes
    ----------
    ones, others : tuple of str
    holds : values -> bool
        Of the other `ones` and `others` it sees none that are given.
    is_told : bool
        A default that gives way is told, because a file or a part of the search goes with it.
    is_mutual : bool
        A typed one of `others` also takes the place of one of `ones`.
    """

    ones: tuple[str, ...]
    others: tuple[str, ...]
    holds: Callable[[Values], bool] = _is_always
    is_told: bool = True
    is_mutual: bool = True


class Need(NamedTuple):
    """An option that says nothing unless `is_met`, and what it is about."""

    option: str
    is_met: Callable[[Values], bool]
    reason: str


_MAPS = ("map", "resume", "heatmap", "blend")  # in a scan `resume` is no map
_DRAWN = ("map", "heatmap", "blend", "overlay", "report")
_POSES = ("scales", "angles", "flips")
_NOT_OF_A_PART = (
    "cluster",
    "map",
    "resume",
    "blend",
    "overlay",
    "labels",
    "report",
    "wait",
    "wait_gone",
    "frame",
)


def _has_any(values: Values, *names: str) -> bool:
    """Return whether one of these options is given, and is not off."""
    return any(bool(values.get(name)) for name in names)


def _is_match(values: Values) -> bool:
    return "map" in values


def _is_scan(values: Values) -> bool:
    return "pictures" in values


def _is_several(values: Values) -> bool:
    """Return whether several poses are asked for."""
    texts = [str(values[name]) for name in ("scales", "angles") if _has_any(values, name)]
    return _has_any(values, "flips") or any(
        set(",:") & set(text) or text == "any" for text in texts
    )


def _is_fitted(values: Values) -> bool:
    """Return whether poses are searched between the pixels, not in windows."""
    return not _has_any(values, "exhaustive") and _is_resampled(values)


def _is_resampled(values: Values) -> bool:
    """Return whether there are poses beside quarter turns."""
    is_scaled = not _has_only(values, "scales", lambda scale: scale == 1)
    return is_scaled or not _has_only(values, "angles", lambda angle: angle % 90 == 0)


def _has_only(values: Values, name: str, holds: Callable[[float], bool]) -> bool:
    """Return whether an option is not given, or a list of numbers for all of which it holds."""
    if not _has_any(values, name):
        return True
    try:
        return all(holds(float(text)) for text in str(values[name]).split(","))
    except ValueError:  # a range
        return False


def _is(name: str, *texts: str) -> Callable[[Values], bool]:
    """Return a function of values that says whether an option has one of these."""
    return lambda values: str(values.get(name)) in texts


def _has_heatmap(values: Values) -> bool:
    return _has_any(values, "heatmap") and values["heatmap"] != "none"


def _is_of_a_map(values: Values) -> bool:
    return _is_match(values) and (
        _has_any(values, "map", "resume", "blend") or _has_heatmap(values)
    )


def _has_default_heatmap(values: Values) -> bool:
    is_other = _has_any(values, "no_heatmap", "heatmap", "wait", "wait_gone", "invert", *_POSES)
    return _is_match(values) and not is_other and values.get("frame") != "all"


def _has_hidden_part(values: Values) -> bool:
    hidden = _has_any(values, "ignore", "image_mask") or values.get("nan") == "ignore"
    return hidden or values.get("padding") == "transparent"


def _is_unknown_to_engine(values: Values) -> bool:
    return values["metric"] not in ENGINE_METRICS.get(values["engine"], METRICS)


def _has_other_channels(values: Values) -> bool:
    count = COLOR_CHANNELS.get(values["color"])
    return count is not None and len(str(values["channel_weights"]).split(",")) != count


def _is_contrastive(values: Values) -> bool:
    return str(values["loss"]).startswith("contrastive")


def _both_to_stdout(one: str, other: str) -> Callable[[Values], bool]:
    return lambda values: values[one] == values[other] == "-"


CONTRADICTIONS = (
    Contradiction(("heatmap",), ("no_heatmap",), is_told=False),
    Contradiction(("wait",), ("wait_gone",), is_told=False),
    Contradiction(("print",), ("format", "columns", "no_header"), is_told=False),
    Contradiction(("unmatched",), ("columns", "print"), is_told=False),
    Contradiction(
        ("format",),
        ("csv_safe",),
        lambda values: values["format"] != "csv",
        is_told=False,
        is_mutual=False,
    ),
    Contradiction(("resume",), ("print", "no_header", "unmatched"), _is_scan, is_told=False),
    Contradiction(
        ("resume",),
        ("format",),
        lambda values: _is_scan(values) and values["format"] not in ("auto", "jsonl"),
        is_told=False,
    ),
    Contradiction(("resume",), ("report",), _is_scan),
    Contradiction(("resume",), ("map", "wait", "wait_gone"), _is_match),
    Contradiction(("resume",), _POSES, _is_match),
    Contradiction(
        ("map", "heatmap", "blend"),
        _POSES,
        lambda values: _is_several(values) and _is_of_a_map(values),
    ),
    Contradiction(_MAPS, ("invert",), _is_of_a_map),
    Contradiction(
        (*_DRAWN, "resume"),
        ("frame",),
        lambda values: (
            _is_match(values)
            and values["frame"] == "all"
            and (_is_of_a_map(values) or _has_any(values, "overlay", "report"))
        ),
    ),
    Contradiction(("wait", "wait_gone"), ("frame",)),
    Contradiction(("level",), ("frame",), lambda values: values["level"] != "0"),
    Contradiction(
        ("stride",),
        ("scales", "angles"),
        lambda values: _is_fitted(values) and values["stride"] != "1",
    ),
    Contradiction(
        ("engine",),
        ("scales", "angles"),
        lambda values: _is_fitted(values) and values["engine"] != "auto",
    ),
    Contradiction(("engine",), ("metric",), _is_unknown_to_engine),
    Contradiction(
        ("engine",),
        _MAPS,
        lambda values: values["engine"] == "pruned" and _is_of_a_map(values),
    ),
    Contradiction(
        ("engine",),
        ("padding", "ignore"),
        lambda values: (
            values["engine"] == "pruned"
            and (_has_any(values, "ignore") or values["padding"] == "transparent")
        ),
    ),
    Contradiction(
        ("ignore_alpha",), ("min_visible",), lambda values: not _has_hidden_part(values)
    ),
    Contradiction(("part",), _NOT_OF_A_PART),
    Contradiction(("part",), ("heatmap",), _has_heatmap),
    Contradiction(("part",), ("scales", "angles"), _is_resampled),
    Contradiction(("part",), ("engine",), _is("engine", "pruned")),
    Contradiction(("cluster",), ("map", "resume", "blend", "frame"), _is_match),
    Contradiction(
        ("cluster",), ("heatmap",), lambda values: _is_match(values) and _has_heatmap(values)
    ),
    Contradiction(
        ("cluster",), ("scales", "angles"), lambda values: _is_match(values) and _is_fitted(values)
    ),
    Contradiction(
        ("cluster",),
        ("engine",),
        lambda values: _is_match(values) and values["engine"] == "pruned",
    ),
    Contradiction(("color",), ("channel_weights",), _has_other_channels),
    Contradiction(("color",), _POSES, _is("color", "edges")),
    Contradiction(("color",), ("invert",), _is("color", "edges", "lab", "hsv")),
    Contradiction(
        ("color",),
        ("padding",),
        lambda values: (
            values["color"] == "edges" and values["padding"] in ("edge", "reflect", "zero")
        ),
    ),
    Contradiction(
        ("metric",),
        ("max_differing",),
        lambda values: (
            values["metric"] in ("ncc", "zncc") and not _has_any(values, "threshold", "worst")
        ),
    ),
    *(
        Contradiction((one,), (other,), _both_to_stdout(one, other))
        for one, other in combinations(_DRAWN, 2)
    ),
    Contradiction(("f_key", "p_key"), ("loss",), _is_contrastive, is_mutual=False),
)  # fmt: skip

_NEED_POSES = "is about poses, and neither --scales nor --angles nor --flips is given"
_NEED_THRESHOLD = "needs a threshold, and --threshold is not given"
_OF_LOSS = "says nothing to this --loss"
NEEDS = (
    *(
        Need(name, lambda values: _has_any(values, *_POSES), _NEED_POSES)
        for name in ("same_scale", "exhaustive", "max_poses")
    ),
    Need("csv_safe", _is("format", "csv"), "is about --format csv, which is not given"),
    Need(
        "labels",
        lambda values: _has_any(values, "overlay"),
        "is about the overlay, and --overlay is not given",
    ),
    Need(
        "interval",
        lambda values: _has_any(values, "wait", "wait_gone"),
        "is about waiting, and neither --wait nor --wait-gone is given",
    ),
    Need(
        "part_file",
        lambda values: _has_any(values, "part"),
        "is about a part, and --part is not given",
    ),
    *(
        Need(name, lambda values: _has_any(values, "threshold"), _NEED_THRESHOLD)
        for name in ("wait", "wait_gone", "unmatched")
    ),
    Need(
        "force",
        lambda values: not _is_scan(values) or _has_any(values, "report"),
        "is about the page, and --report is not given",
    ),
    Need(
        "null",
        lambda values: _has_any(values, "list") or "-" in (values["pictures"] or ()),
        "is about a list, and there is none",
    ),
    Need(
        "engine",
        lambda values: values["engine"] != "pruned" or not _has_default_heatmap(values),
        "draws no map, and a heatmap is drawn unless --no-heatmap is given",
    ),
    *(Need(name, _is_contrastive, _OF_LOSS) for name in ("key", "temperature")),
    *(
        Need(name, lambda values: not _is_contrastive(values), _OF_LOSS)
        for name in ("f_key", "p_key")
    ),
    *(
        Need(name, lambda values: values["loss"] != "small-to-large", _OF_LOSS)
        for name in ("layout", "matches")
    ),
    Need(
        "image",
        lambda values: _has_any(values, "matches"),
        "is about a drawing, and --matches is not given",
    ),
)
