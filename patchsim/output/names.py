"""Names of files in printed results: they may hold anything that a file system takes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from patchsim.output.contract import Records, Table

# Control characters, the ends of lines and paragraphs, and those that turn the direction of text
# (bidirectional ones): they drive a terminal, or show a name as another.
_CONTROL = "\x00-\x1f\x7f-\x9f"
_DIRECTION = "\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"
_UNSAFE = f"[{_CONTROL}{_DIRECTION}]"
_UNSAFE_IN_QUOTES = f"(?![\t\n\r])[{_CONTROL}{_DIRECTION}]"
_LONE_SURROGATE = "[\ud800-\udfff]"
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # how a cell begins that a spreadsheet computes


def on_one_line(text: str) -> str:
    r"""Write control and bidirectional characters as ``\t``, ``\x1b`` or ``\u202e``.

    Backslashes must have been doubled before, so that the name can be told from its escapes.
    """
    if text.isprintable():  # as most names are
        return text
    return re.sub(_UNSAFE, lambda character: repr(character[0])[1:-1], text)


def in_quotes(text: str) -> str:
    """Write them so, but leave tabs and ends of lines, which quotes hold together."""
    return re.sub(_UNSAFE_IN_QUOTES, lambda character: repr(character[0])[1:-1], text)


def in_unicode(value: Any) -> Any:
    r"""Return a JSON value whose texts are Unicode, as JSON demands.

    A name that is no UTF-8 has the bytes that are none as ``\xff``. In an object a key with
    ``_bytes`` stands beside it, with all bytes of the name in hexadecimal.
    """
    if isinstance(value, str):
        if not _is_broken(value):
            return value
        return os.fsencode(value).decode("utf-8", "backslashreplace")
    if isinstance(value, (list, tuple)):
        return [in_unicode(one) for one in value]
    if isinstance(value, dict):
        written = {}
        for key, one in value.items():
            written[key] = in_unicode(one)
            if isinstance(one, str) and _is_broken(one):
                written[f"{key}_bytes"] = os.fsencode(one).hex()
        return written
    return value


def original(value: Mapping[str, Any], key: str) -> str:
    """Return a text of an object that `in_unicode` made, as it was before.

    Raises
    ------
    KeyError, TypeError, ValueError
        If there is no such text, or its bytes are none.
    """
    in_bytes = value.get(f"{key}_bytes")
    text = value[key] if in_bytes is None else os.fsdecode(bytes.fromhex(in_bytes))
    if not isinstance(text, str):
        raise TypeError(key)
    return text


def _is_broken(text: str) -> bool:
    return re.search(_LONE_SURROGATE, text) is not None


class WithoutFormulas(NamedTuple):
    """Results as `contract.Records`, with an apostrophe before texts that are formulas."""

    records: Records

    @property
    def columns(self) -> Sequence[str]:
        return self.records.columns

    def rows(self) -> Iterator[tuple[Any, ...]]:
        for row in self.records.rows():
            yield tuple(map(_without_formula, row))

    def objects(self) -> Any:
        return self.records.objects()

    def document(self) -> Any:
        return self.records.document()

    def table(self) -> Table:
        return self.records.table()


def _without_formula(value: Any) -> Any:
    is_formula = isinstance(value, str) and value.startswith(_FORMULA)
    return f"'{value}" if is_formula else value
