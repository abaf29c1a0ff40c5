"""Which words each option accepts; checks, help and completion share this table.

The module imports nothing heavy, so that `patchsim --help` and a press of Tab load no engine.
"""

from __future__ import annotations

from patchsim.errors import InputError

METRICS = ("sad", "ssd", "ncc", "zncc")
COLORS = ("auto", "gray", "rgb", "hsv", "lab")
PADDINGS = ("valid", "edge", "reflect", "zero")
ENGINES = ("pruned", "simd", "fft", "cuda", "unfold")
DEVICES = ("auto", "cpu", "cuda", "mps", "xpu")
FORMATS = ("auto", "table", "tsv", "csv", "json", "jsonl")
SORTS = ("score", "reading")
FLIPS = ("h", "v", "h,v")
LOSSES = ("similarity", "contrastive", "contrastive-per-img", "small-to-large")
LAYOUTS = ("2BSC", "B2SC")
REDUCTIONS = ("mean", "sum", "none")


def check(option: str, value: object, choices: tuple[str, ...]) -> str:
    """Return `value` if it is one of the choices.

    Raises
    ------
    InputError
        If the value is no choice; the message names the option and all choices.
    """
    if not isinstance(value, str) or value not in choices:
        raise InputError(f"{option} {value!r} is unknown; there is {', '.join(choices)}")
    return value
