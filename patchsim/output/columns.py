"""The names under which a match's values are told: columns of rows, keys of JSON objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from patchsim.output.report_parts import Match, box

COLUMNS = ("x", "y", "width", "height", "score", "kernel")
MARGIN_COLUMNS = ("margin",)
SUBPIXEL_COLUMNS = ("x_subpixel", "y_subpixel")
POSE_COLUMNS = ("scale", "angle", "flip", "corners")
STRETCH_COLUMNS = ("scale_x", "scale_y")
INVERT_COLUMNS = ("inverted",)
FRAME_COLUMNS = ("frame",)
CRITERIA_COLUMNS = {"worst": ("worst",), "pixel_tolerance": ("differing", "max_difference")}
CENTER_COLUMNS = ("center_x", "center_y")
_CLICK_COLUMNS = ("click_x", "click_y")


def usual(
    *,
    margin: bool,
    subpixel: bool,
    posed: bool,
    inverts: bool,
    frames: bool,
    criteria: Sequence[str],
    stretched: bool,
) -> tuple[str, ...]:
    """List the names of what is printed of each match: `COLUMNS`, then what was asked for."""
    names: tuple[str, ...] = COLUMNS
    names += MARGIN_COLUMNS if margin else ()
    names += SUBPIXEL_COLUMNS if subpixel else ()
    names += POSE_COLUMNS if posed else ()
    names += INVERT_COLUMNS if inverts else ()
    names += FRAME_COLUMNS if frames else ()
    names += tuple(name for one in criteria for name in CRITERIA_COLUMNS[one])
    return names + (STRETCH_COLUMNS if stretched else ())


def keys(columns: Sequence[str]) -> tuple[str, ...]:
    """List the keys of a match's JSON object, if these are its usual columns."""
    *box, score, kernel = COLUMNS
    return *box, *CENTER_COLUMNS, score, kernel, *columns[len(COLUMNS) :], *_CLICK_COLUMNS


def objects(matches: Sequence[Match], names: Sequence[str]) -> list[dict[str, Any]]:
    """Return matches as JSON objects with keys of these names."""
    return [{name: value(match, name) for name in names} for match in matches]


def value(match: Match, key: str) -> Any:
    """Return what a match has under one of `choices.COLUMNS`."""
    if key in ("center_x", "center_y"):
        return match.center[key == "center_y"]
    if key in ("click_x", "click_y"):
        return match.click[key == "click_y"]
    if key[1:].isdecimal():  # x1, y1 and so on
        return (match.corners or box(match))[int(key[1:]) - 1][key[0] == "y"]
    return getattr(match, key)
