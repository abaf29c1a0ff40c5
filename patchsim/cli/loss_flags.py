"""The flags of `patchsim loss`: what is typed, and the help of each."""

from __future__ import annotations

from typing import Annotated

import typer

from patchsim import choices
from patchsim.cli.flags import one_of

Features = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[FEATURES]...",
        help="Files of features: .safetensors (best: it cannot hold code and is read in"
        " pieces), .pt, .pth, .npz, .npy.",
    ),
]
Loss = Annotated[str, one_of(choices.LOSSES, "Which loss.")]
F = Annotated[str | None, typer.Option("--f", metavar="PATH", help="A .npy of f, with --p.")]
P = Annotated[str | None, typer.Option("--p", metavar="PATH", help="A .npy of p, with --f.")]
FKey = Annotated[
    str | None,
    typer.Option(
        metavar="KEY",
        help="Features before the projection: by default f, or f_large for small-to-large.",
    ),
]
PKey = Annotated[
    str | None,
    typer.Option(
        metavar="KEY",
        help="Features after the projection: by default p, or p_small for small-to-large.",
    ),
]
Key = Annotated[
    str | None,
    typer.Option(metavar="KEY", help="Slots of the contrastive losses: by default slots, else p."),
]
Layout = Annotated[
    str | None,
    one_of(
        choices.LAYOUTS,
        "2BSC: all first views, then all second views (the default). B2SC: both views of"
        " an image together.",
    ),
]
Reduction = Annotated[str, one_of(choices.REDUCTIONS, "none prints a line a slot.")]
Temperature = Annotated[
    float | None, typer.Option(metavar="T", help="Of the contrastive losses, 1 by default.")
]
Format = Annotated[str, one_of(choices.FORMATS, "auto is a table on a terminal, tsv in a pipe.")]
Matches = Annotated[
    str | None,
    typer.Option(
        metavar="PATH",
        help="Draw the cosines of all slots as a .png, matched pairs framed; with --image of"
        " one image's two views.",
    ),
]
Image = Annotated[
    int | None, typer.Option(metavar="I", help="The image that --matches draws, from 0.")
]
Device = Annotated[
    str,
    one_of(
        choices.DEVICES,
        "Where to compute; auto is cpu.",
        metavar="auto|cpu|cuda[:N]|mps|xpu",
    ),
]
Memory = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        help="Memory to take, like 512MB: by default a quarter of what is available.",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print results and errors alone.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show a traceback when something fails.")]
