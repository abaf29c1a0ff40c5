"""Flags of `patchsim match` for criteria that are stricter than a score."""

from __future__ import annotations

from typing import Annotated

import typer

Worst = Annotated[
    str | None,
    typer.Option(
        metavar="F",
        help="The lowest score that any block of a match may have, such as 0.9: a wrong digit shows"
        " in its block, not in the mean. Adds the column worst.",
        show_default=False,
    ),
]
PixelTolerance = Annotated[
    str | None,
    typer.Option(
        metavar="N",
        help="Count the pixels of a match that differ by more than N of 255. Adds the columns"
        " differing and max_difference.",
        show_default=False,
    ),
]
MaxDiffering = Annotated[
    str | None,
    typer.Option(
        metavar="SHARE|COUNT",
        help="How many pixels of a match may differ by more than --pixel-tolerance: a number such"
        " as 20, or a share such as 0.01.",
        show_default=False,
    ),
]
