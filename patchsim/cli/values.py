"""Values of flags, parsed from the text that was typed."""

from __future__ import annotations

import re
from typing import Any

from patchsim import choices
from patchsim.errors import InputError, printable


class _Typed(float):
    """A number that messages show as it was typed: ``1e6``, ``0.50``."""

    _text: str

    def __new__(cls, text: str) -> _Typed:
        number = super().__new__(cls, text)
        number._text = text.strip()
        return number

    def __repr__(self) -> str:
        return self._text

    def __index__(self) -> int:
        """Return a whole number exactly, whatever its size."""
        try:
            return int(self._text)
        except ValueError:
            raise TypeError(f"{self._text} is no whole number") from None


def number(text: str | None) -> Any:
    """Parse a number, which messages repeat as it was typed.

    Any other text stays as it is: the option takes it, as the threshold takes ``auto``, or refuses
    it as Python's options refuse text, and says what it accepts.
    """
    try:
        return None if text is None else _Typed(text)
    except ValueError:
        return text


def template(text: str | None, option: str, *placeholders: str) -> str | None:
    """Check that a path has no other placeholders in braces than these."""
    for word in re.findall(r"\{([^{}]*)\}", text or ""):
        if not word and placeholders:
            raise InputError(
                f"{option} {printable(text)} has braces without a name; write a placeholder such as"
                f" {{{placeholders[0]}}}"
            )
        if word not in placeholders:
            names = [f"{{{name}}}" for name in placeholders]
            known = f"; {choices.known(f'{{{word}}}', names)}"
            raise InputError(
                f"{option} {printable(text)} has the unknown placeholder {{{printable(word)}}}"
                + (known if placeholders else "; take it out, this path has none")
            )
    return text


def columns(text: str | None) -> tuple[str, ...] | None:
    """Parse names of columns with commas between them."""
    if text is None:
        return None
    return tuple(
        choices.check("columns", name.strip(), choices.COLUMNS) for name in text.split(",")
    )


def print_template(text: str | None) -> str | None:
    """Parse a template for lines, in which ``\\t``, ``\\n`` and ``\\\\`` are as in printf."""
    if text is None:
        return None
    template(text, "print", *choices.COLUMNS)
    if text.count("{") != text.count("}"):
        raise InputError(
            f"print {printable(text)} has a brace without its other half; write {{x}} for a column"
        )
    characters = {"t": "\t", "n": "\n", "\\": "\\"}
    return re.sub(r"\\([tn\\])", lambda escape: characters[escape[1]], text)


def stride(text: str) -> tuple[int, int]:
    """Parse ``2`` or ``2x1``, which has x first, into (y, x)."""
    parts = text.lower().split("x")
    try:
        steps = [int(step) for step in parts]
    except ValueError:
        steps = []
    if len(steps) not in (1, 2) or min(steps) < 1:
        raise InputError(
            f"stride {text!r} is no stride; give a whole number from 1, or two like 2x1 (x first)"
        )
    return steps[-1], steps[0]


def region(text: str | None, option: str = "region") -> tuple[int, int, int, int] | None:
    """Parse ``X,Y,W,H``."""
    if text is None:
        return None
    try:
        x, y, width, height = map(int, text.split(","))
    except ValueError:
        what = "region" if option == "region" else "box"
        raise InputError(
            f"{option} {text!r} is no {what}; give X,Y,W,H in pixels, like 90,110,36,36"
        ) from None
    return x, y, width, height


def count_or_share(text: str | None) -> Any:
    """Parse a whole number, or a share such as ``0.01`` or ``1.0``, which has a point."""
    return int(text) if text is not None and text.strip().isdecimal() else number(text)


def boxes(texts: list[str] | None) -> list[tuple[int, int, int, int]]:
    """Parse each ``X,Y,W,H``."""
    return [box for text in texts or () if (box := region(text, "ignore")) is not None]


def data_range(text: str | None) -> Any:
    """Parse ``LO:HI``."""
    if text is None:
        return None
    low, _, high = text.partition(":")
    ends = number(low), number(high)
    if any(isinstance(end, str) for end in ends):
        raise InputError(f"data range {text!r} is no range; give LO:HI, like 0:4095")
    return ends


def channel_weights(text: str | None) -> Any:
    """Parse ``W,W,...``."""
    if text is None:
        return None
    weights = [number(item) for item in text.split(",")]
    if any(isinstance(weight, str) for weight in weights):
        raise InputError(f"channel weights {text!r} are no numbers; give W,W,... like 1,1,2")
    return weights
