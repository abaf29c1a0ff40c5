"""Values of flags, parsed from the text that was typed."""

from __future__ import annotations

from patchsim.errors import InputError


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


def threshold(text: str | None) -> float | str | None:
    """Parse a number; any other text, such as ``auto``, stays as it is."""
    try:
        return None if text is None else float(text)
    except ValueError:
        return text


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


def data_range(text: str | None) -> tuple[float, float] | None:
    """Parse ``LO:HI``."""
    if text is None:
        return None
    low, _, high = text.partition(":")
    try:
        return float(low), float(high)
    except ValueError:
        raise InputError(f"data range {text!r} is no range; give LO:HI, like 0:4095") from None


def channel_weights(text: str | None) -> list[float] | None:
    """Parse ``W,W,...``."""
    if text is None:
        return None
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise InputError(
            f"channel weights {text!r} are no numbers; give W,W,... like 1,1,2"
        ) from None
