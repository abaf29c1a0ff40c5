"""Flags of `patchsim match` that compute one part of a search."""

from __future__ import annotations

from typing import Annotated

import typer

Part = Annotated[
    str | None,
    typer.Option(
        metavar="I/N",
        help="Compute part I of N of the search, I from 1, and write a file for patchsim merge,"
        " which prints the matches: for job arrays and make. It draws nothing.",
        show_default=False,
    ),
]
PartFile = Annotated[
    str | None,
    typer.Option(
        metavar="PATH",
        help="The .npz that --part writes, by default IMAGE.part-I-of-N.npz in the current folder.",
        show_default=False,
    ),
]
