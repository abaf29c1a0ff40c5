"""Flags of `patchsim match` that say what of the pictures counts."""

from __future__ import annotations

from typing import Annotated

import typer

Frame = Annotated[
    str | None,
    typer.Option(
        metavar="N|all",
        help="The frame of an animated GIF, PNG or WebP, or the page of a TIFF, to search, from 0;"
        " all searches each of them, with --top matches in each. By default the first is searched.",
        show_default=False,
    ),
]
Transparent = Annotated[
    str | None,
    typer.Option(
        metavar="RRGGBB[~N]",
        help="A colour of the kernel that does not count, as FF00FF; FF00FF~8 also takes colours"
        " whose channels differ from it by up to 8 of 255.",
        show_default=False,
    ),
]
