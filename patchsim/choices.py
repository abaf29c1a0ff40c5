"""Which words each option accepts; checks, help and completion share this table.

The module imports nothing heavy, so that `patchsim --help` and a press of Tab load no engine.
"""

from __future__ import annotations

from collections.abc import Sequence

from patchsim.errors import InputError

_MOST_LISTED = 10  # words that a message lists rather than to guess which was meant
# The commands, and what the help of all says of each.
SUMMARIES = {
    "match": "Find small pictures in a big one; print where, and draw the scores.",
    "scan": "Find small pictures in many: files, folders, or a list.",
    "merge": "Print the matches of a search that --part computed in parts.",
    "loss": "Evaluate a slot-matching loss on saved features.",
    "doctor": "Say what works here: engines, devices, formats, extras.",
}
COMMANDS = tuple(SUMMARIES)
METRICS = ("sad", "ssd", "ncc", "zncc")
COLORS = ("auto", "gray", "rgb", "hsv", "lab", "edges")
# The channels that each compares; `auto` compares those of the pictures.
COLOR_CHANNELS = {"gray": 1, "rgb": 3, "hsv": 3, "lab": 3, "edges": 2}
PADDINGS = ("valid", "edge", "reflect", "zero", "transparent")
ENGINES = ("pruned", "simd", "fft", "cuda", "unfold")
# The metrics of the engines that do not compute all.
ENGINE_METRICS = {"pruned": ("sad", "ssd"), "cuda": ("sad", "ssd"), "unfold": ("sad",)}
DEVICES = ("auto", "cpu", "cuda", "mps", "xpu")
FORMATS = ("auto", "table", "tsv", "csv", "json", "jsonl")
# The columns of a match that can be printed; those from click_x on only if named.
COLUMNS = (
    "x", "y", "width", "height", "center_x", "center_y", "score", "kernel", "margin",
    "x_subpixel", "y_subpixel", "scale", "angle", "flip", "corners", "inverted",
    "frame",
    "worst", "differing", "max_difference", "scale_x", "scale_y",
    "click_x", "click_y", "x1", "y1", "x2", "y2", "x3", "y3", "x4", "y4",
    "image",
)  # fmt: skip
LABELS = ("none", "number", "score", "kernel")
NANS = ("refuse", "ignore")
SORTS = ("score", "reading")
FLIPS = ("h", "v", "h,v")
# The names of options in other libraries and programs.
OTHER_NAMES = {
    "method": "metric",
    "measure": "metric",
    "thresh": "threshold",
    "threshold_abs": "threshold",
    "min_score": "threshold",
    "confidence": "threshold",
    "grayscale": "color",
    "greyscale": "color",
    "colour": "color",
    "limit": "top",
    "max_matches": "top",
    "num_peaks": "top",
    "max_results": "top",
    "roi": "region",
    "search_region": "region",
    "crop": "region",
    "step": "stride",
    "scale": "scales",
    "angle": "angles",
    "rotation": "angles",
    "rotate": "angles",
    "flip": "flips",
    "inverted": "invert",
    "negative": "invert",
    "mode": "padding",
    "pad": "padding",
    "iou": "overlap",
    "max_overlap": "overlap",
    "nms": "overlap",
    "workers": "threads",
    "n_jobs": "threads",
    "jobs": "threads",
}
LOSSES = ("similarity", "contrastive", "contrastive-per-img", "small-to-large")
LAYOUTS = ("2BSC", "B2SC")
REDUCTIONS = ("mean", "sum", "none")


def known(value: object, choices: Sequence[str]) -> str:
    """Return which words there are, for a message on one that is not; of many, the nearest."""
    near = nearest(str(value), choices) if len(choices) > _MOST_LISTED else None
    return f"there is {', '.join(choices)}" if near is None else f"did you mean {near}?"


def nearest(word: str, choices: Sequence[str]) -> str | None:
    """Return the choice that is spelt almost like a word; None without one."""
    import difflib  # here, because most commands need none

    near = difflib.get_close_matches(word.lower(), choices, 1)
    return near[0] if near else None


def check(option: str, value: object, choices: tuple[str, ...]) -> str:
    """Return the choice that `value` is, in upper or lower case.

    Raises
    ------
    InputError
        If the value is no choice; the message names the option and all choices.
    """
    same = [one for one in choices if isinstance(value, str) and one.lower() == value.lower()]
    if not same:
        raise InputError(f"{option} {value!r} is unknown; {known(value, choices)}")
    return same[0]
