"""The options of each command in groups, as its help and its manual page list them."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Any

_CLOSING = "\b\nExit codes:"  # begins what stands behind the options

# Names of parameters by command and title. A command lists those that it has; what no group names,
# such as --help, stands last.
_SHARED_BY_SEARCHES = {
    "What counts": (
        "region", "frame", "level", "mask", "transparent", "image_mask", "ignore", "nan",
        "no_alpha", "ignore_alpha", "no_trim", "min_visible",
    ),
    "How to compare": (
        "color", "stride", "padding", "ignore_profile", "channel_weights", "data_range",
    ),
    "Which matches": (
        "overlap", "margin", "per_kernel", "strict", "sort", "subpixel", "worst",
        "pixel_tolerance", "max_differing",
    ),
    "Poses": ("flips", "invert", "same_scale", "exhaustive", "max_poses"),
    "Output": (
        "null", "unmatched", "columns", "no_header", "print", "csv_safe", "heatmap", "heatmap_size",
        "blend", "map", "resume", "labels", "preview", "tolerance", "force", "quiet", "explain",
        "debug",
    ),
    "Waiting": ("wait", "wait_gone", "interval"),
    "More than one process": ("cluster", "part", "part_file"),
    "Computing": ("device", "engine", "memory", "threads", "max_pixels"),
}  # fmt: skip
_GROUPS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "match": {
        "Most used": (
            "threshold", "top", "metric", "scales", "angles", "region", "format", "overlay",
            "report", "no_heatmap",
        ),
        **_SHARED_BY_SEARCHES,
    },
    "scan": {
        "Most used": (
            "kernel", "threshold", "top", "metric", "scales", "angles", "list", "format", "report",
            "resume",
        ),
        **_SHARED_BY_SEARCHES,
    },
    "merge": {
        "Most used": ("format", "overlay", "report"),
        "Output": (
            "columns", "no_header", "print", "csv_safe", "labels", "preview", "force", "quiet",
            "explain", "debug",
        ),
        "Computing": ("memory", "threads"),
    },
    "loss": {
        "Most used": (
            "loss", "layout", "reduction", "temperature", "f", "p", "format", "matches", "image",
        ),
        "Keys in the files": ("f_key", "p_key", "key"),
        "Output": ("csv_safe", "force", "quiet", "debug"),
        "Computing": ("device", "memory"),
    },
}  # fmt: skip


def grouped(command: str, options: Iterable[Any]) -> dict[str, list[Any]]:
    """Sort the options of a command into its groups.

    Parameters
    ----------
    command : str
    options : iterable of typer.core.TyperOption

    Returns
    -------
    dict of lists
        Options by the titles of groups, in the order of the help. Those of no group stand under
        ``Other``, or under ``Options`` where the command has no groups.
    """
    left = {one.name: one for one in options}
    members_by_title: dict[str, list[Any]] = {}
    groups = _GROUPS.get(command, {})
    for title, names in groups.items():
        members = [left.pop(name) for name in names if name in left]
        if members:
            members_by_title[title] = members
    if left:
        members_by_title["Other" if groups else "Options"] = list(left.values())
    return members_by_title


def split_help(text: str | None) -> tuple[str, str]:
    """Split the docstring of a command into what its help has before and behind the options."""
    docstring = inspect.cleandoc(text or "")
    before, closing, rest = docstring.partition(_CLOSING)
    return before.rstrip(), closing + rest
