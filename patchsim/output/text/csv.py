"""Comma-separated lines; values are quoted where they must be."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any, TextIO

from patchsim.output import names
from patchsim.output.contract import Records

CAN_APPEND = True


def write(records: Records, file: TextIO, *, is_first: bool) -> None:
    if is_first:
        print(_line(records.columns), file=file)
    for row in records.rows():
        print(_line(row), file=file)


def _line(row: Sequence[Any]) -> str:
    """Return a row as a line without its end; None is empty."""
    line = io.StringIO()
    # The csv module quotes values that contain a character of the line end: here \r and \n.
    csv.writer(line, lineterminator="\r\n").writerow(map(_cell, row))
    return line.getvalue().removesuffix("\r\n")


def _cell(value: Any) -> Any:
    return names.in_quotes(value) if isinstance(value, str) else value
