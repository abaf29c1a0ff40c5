"""Values of flags, parsed from the text that was typed."""

from __future__ import annotations

import re
from typing import Any

from patchsim.errors import InputError, printable


def as_typed(text: str | None) -> Any:
    """Pass a number on as text: the option parses it, and its messages repeat the text."""
    return text


def whole_number(text: str | None, option: str, *, least: int = 1) -> int | None:
    """Parse a whole number from `least`."""
    if text is None:
        return None
    try:
        number = int(text)
    except ValueError:
        number = least - 1
    if number < least:
        raise InputError(f"{option} {text!r} is not possible; give a whole number from {least}")
    return number


def number(text: str | None, option: str, accepted: str) -> float | None:
    """Parse a number; an error says what is accepted."""
    if text is None:
        return None
    for parse in (int, float):  # an integer is repeated as one in messages
        try:
            return parse(text)
        except ValueError:
            pass
    raise InputError(f"{option} {text!r} is not a number; give {accepted}")


def template(text: str | None, option: str, *placeholders: str) -> str | None:
    """Check that a path has no other placeholders in braces than these."""
    for word in re.findall(r"\{([^{}]*)\}", text or ""):
        if word not in placeholders:
            known = "; there is " + ", ".join(f"{{{name}}}" for name in placeholders)
            raise InputError(
                f"{option} {printable(text)} has the unknown placeholder {{{printable(word)}}}"
                + (known if placeholders else "; take it out, this path has none")
            )
    return text


def stride(text: str) -> tuple[int, int]:
    """Parse ``2`` or ``2x1``, which has x first, into (y, x)."""
    parts = text.lower().split("x")
    try:
        steps = [int(part) for part in parts]
    except ValueError:
        steps = []
    if len(steps) not in (1, 2) or min(steps) < 1:
        raise InputError(
            f"stride {text!r} is no stride; give a whole number from 1, or two like 2x1 (x first)"
        )
    return steps[-1], steps[0]


def region(text: str | None) -> tuple[int, int, int, int] | None:
    """Parse ``X,Y,W,H``."""
    if text is None:
        return None
    try:
        x, y, width, height = map(int, text.split(","))
    except ValueError:
        raise InputError(
            f"region {text!r} is no region; give X,Y,W,H in pixels, like 90,110,36,36"
        ) from None
    return x, y, width, height


def data_range(text: str | None) -> Any:
    """Parse ``LO:HI`` into two numbers as they were typed."""
    if text is None:
        return None
    low, _, high = text.partition(":")
    try:
        float(low), float(high)
        return low, high
    except ValueError:
        raise InputError(f"data range {text!r} is no range; give LO:HI, like 0:4095") from None


def channel_weights(text: str | None) -> Any:
    """Parse ``W,W,...`` into numbers as they were typed."""
    if text is None:
        return None
    parts = text.split(",")
    try:
        for part in parts:
            float(part)
    except ValueError:
        raise InputError(
            f"channel weights {text!r} are no numbers; give W,W,... like 1,1,2"
        ) from None
    return parts
