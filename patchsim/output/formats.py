"""Rows as lines of text: tab-separated, comma-separated, JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

Row = Sequence[Any]


def tsv(columns: Sequence[str], rows: Iterable[Row]) -> Iterator[str]:
    """A header and a line a row; tab, newline and backslash in values are escaped."""
    yield "\t".join(columns)
    for row in rows:
        yield "\t".join(map(_escaped, row))


def comma_separated(columns: Sequence[str], rows: Iterable[Row]) -> Iterator[str]:
    """A header and a line a row, quoted where needed; None is empty."""
    for row in (columns, *rows):
        line = io.StringIO()
        # A line end of both characters, so that fields with either are quoted.
        csv.writer(line, lineterminator="\r\n").writerow(row)
        yield line.getvalue().removesuffix("\r\n")


def json_lines(columns: Sequence[str], rows: Iterable[Row]) -> Iterator[str]:
    """A JSON object a row."""
    for row in rows:
        yield json.dumps(dict(zip(columns, row, strict=True)))


LINES: dict[str, Callable[[Sequence[str], Iterable[Row]], Iterator[str]]] = {
    "tsv": tsv,
    "csv": comma_separated,
    "jsonl": json_lines,
}


def _escaped(value: Any) -> str:
    """One field of a tab-separated line; None is empty."""
    text = "" if value is None else str(value).replace("\\", "\\\\")
    return text.replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")
