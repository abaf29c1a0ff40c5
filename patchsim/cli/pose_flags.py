"""Flags of `patchsim match` about scaled, turned, mirrored and inverted kernels."""

from __future__ import annotations

from typing import Annotated

import typer

from patchsim import choices
from patchsim.cli.words import completing, one_of

Scales = Annotated[
    str | None,
    typer.Option(
        metavar="LIST|LO:HI[:STEP]",
        help="Search the kernel at these scales: a list 0.5,1,2 as it is, or all of a range 0.5:2."
        " 1.25x1 in a list is width and height apart. A step, as in 0.5:2:0.1, is the"
        " coarsest spacing that a search may begin with.",
    ),
]
Angles = Annotated[
    str | None,
    typer.Option(
        metavar="any|LIST|LO:HI[:STEP]",
        autocompletion=completing(("any",)),
        help="Search the kernel turned counter-clockwise by these degrees: any, all of a range"
        " -5:5, or a list 0,90 as it is. A step is as for --scales.",
    ),
]
Flips = Annotated[
    str | None,
    one_of(
        choices.FLIPS,
        "Also search the kernel mirrored: h swaps left and right, v swaps top and bottom.",
    ),
]
Invert = Annotated[
    bool,
    typer.Option(
        "--invert",
        help="Also search the kernel inverted, light on dark: a value v becomes low + high - v of"
        " the data range. Adds the column inverted.",
    ),
]
SameScale = Annotated[
    bool,
    typer.Option(
        "--same-scale",
        help="All matches have one scale, that of --scales for which there is most evidence, as in"
        " a screenshot.",
    ),
]
Exhaustive = Annotated[
    bool,
    typer.Option(
        "--exhaustive",
        help="Compare every pose of lists and steps with every window, and then fit the best."
        " Otherwise poses are searched coarse to fine, which is faster, takes no stride, and can"
        " miss a match whose detail is lost in smaller pictures.",
    ),
]
MaxPoses = Annotated[
    str | None,
    typer.Option(metavar="N", help="The largest number of poses, 10,000 by default."),
]
