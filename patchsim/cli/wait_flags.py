"""Flags of `patchsim match` that wait for a picture to change."""

from __future__ import annotations

from typing import Annotated

import typer

Wait = Annotated[
    str | None,
    typer.Option(
        metavar="SECONDS",
        help="Look again whenever the file IMAGE is rewritten, until a match is there; exit code 1"
        " after so many seconds. It needs --threshold, and draws no heatmap unless asked.",
        show_default=False,
    ),
]
WaitGone = Annotated[
    str | None,
    typer.Option(
        metavar="SECONDS",
        help="Wait until there is no match any more; the exit code is then 0, 1 after the time.",
        show_default=False,
    ),
]
Interval = Annotated[
    str | None,
    typer.Option(
        metavar="SECONDS",
        help="How often --wait and --wait-gone look whether the file has changed, 0.1 by default.",
        show_default=False,
    ),
]
