"""A table for people, without lines between its cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from patchsim.errors import escaped
from patchsim.output.contract import Records

CAN_APPEND = False
_ENDLESS = 10_000  # characters in a line


def write(records: Records, file: TextIO, *, is_first: bool) -> None:
    columns, lines, texts, dropped = records.table()
    rows = [tuple(map(escaped, row)) for row in lines]
    # No cell is cut: a line is as long as it must be, and a narrow terminal wraps it.
    console = Console(file=file, width=_ENDLESS)
    columns_kept, gone = list(range(len(columns))), []
    table = _made(columns, rows, texts, columns_kept, has_header=is_first)
    if file.isatty():
        width = Console(file=file).width
        for name in dropped:
            if console.measure(table).maximum <= width:
                break
            if name in columns:
                gone.append(name)
                columns_kept.remove(columns.index(name))
                table = _made(columns, rows, texts, columns_kept, has_header=is_first)
    console.print(table)
    if gone:
        said = Text(f"(no room for {', '.join(gone)}: see --format tsv)", "dim")
        Console(file=file).print(said)  # which wraps at words


def _made(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    texts: Sequence[str],
    columns_kept: Sequence[int],
    *,
    has_header: bool,
) -> Table:
    """Make a table of the columns with the numbers `shown`."""
    table = Table(
        *(columns[i] for i in columns_kept), box=None, pad_edge=False, show_header=has_header
    )
    for column in table.columns:
        column.justify = "left" if column.header in texts else "right"
    for row in rows:
        # Names may contain brackets, which rich would read as markup, and control characters.
        table.add_row(*(Text(row[i]) for i in columns_kept))
    return table
