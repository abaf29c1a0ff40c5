"""Tables in HTML, as a notebook shows them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from patchsim.errors import printable
from patchsim.metrics.written import told


def table(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a table with a column for each name; all texts are escaped, floats have six digits.

    Scores are rounded down.
    """
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    lines = (
        "".join(f"<td>{_text(value, name)}</td>" for value, name in zip(row, names, strict=True))
        for row in rows
    )
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


class Markup(str):
    """HTML in a cell, which is not escaped."""

    __slots__ = ()


def paragraph(text: str) -> str:
    """Return a paragraph of an escaped text."""
    return f"<p>{escape(printable(text))}</p>"


def _text(value: Any, name: str) -> str:
    if isinstance(value, Markup):
        return value
    if name == "score":
        return told(value)
    return escape(printable(f"{value:.6g}" if isinstance(value, float) else str(value)))
