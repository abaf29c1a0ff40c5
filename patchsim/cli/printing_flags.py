"""Flags of `patchsim match` that say what is printed of each match."""

from __future__ import annotations

from typing import Annotated

import typer

from patchsim import choices
from patchsim.cli.words import completing_list, one_of

Format = Annotated[
    str,
    one_of(
        choices.FORMATS,
        "The format of the printed matches; auto is a table on a terminal, tsv in a pipe.",
    ),
]
Columns = Annotated[
    str | None,
    typer.Option(
        metavar="NAME,NAME,...",
        autocompletion=completing_list(choices.COLUMNS),
        help="What to print of each match, in this order: any key of the JSON output; click_x and"
        " click_y, the pixel in the middle; x1, y1 to x4, y4, the corners from the top left on.",
        show_default=False,
    ),
]
NoHeader = Annotated[
    bool, typer.Option("--no-header", help="Print matches without the names of the columns.")
]
Print = Annotated[
    str | None,
    typer.Option(
        metavar="TEMPLATE",
        help="Print a line for each match, with the names of --columns in braces:"
        " '{click_x} {click_y}'. \\t is a tab, \\n a new line.",
        show_default=False,
    ),
]
CsvSafe = Annotated[
    bool,
    typer.Option(
        "--csv-safe",
        help="With --format csv put an apostrophe before names that a spreadsheet would compute:"
        " those that begin with = + - @.",
    ),
]
