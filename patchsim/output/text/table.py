"""A table for people, without lines between its cells."""

from __future__ import annotations

from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from patchsim.errors import escaped
from patchsim.output.contract import Records

CAN_APPEND = False


def write(records: Records, file: TextIO, *, is_first: bool) -> None:  # noqa: ARG001
    columns, rows, text = records.table()
    table = Table(*columns, box=None, pad_edge=False)
    for column in table.columns:
        column.justify = "left" if column.header == text else "right"
    for row in rows:
        # Names may contain brackets, which rich would read as markup, and control characters.
        table.add_row(*(Text(escaped(value)) for value in row))
    # No cell is cut: a line is as long as it must be, and a narrow terminal wraps it.
    Console(file=file, width=10_000).print(table)
