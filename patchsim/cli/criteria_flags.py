"""Flags of `patchsim match` that say which windows are matches, and in which order."""

from __future__ import annotations

from typing import Annotated

import typer

from patchsim import choices
from patchsim.cli.words import completing, one_of

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
Top = Annotated[
    str | None,
    typer.Option(
        metavar="N",
        help="The largest number of matches: by default 5, or all with --threshold.",
    ),
]
Threshold = Annotated[
    str | None,
    typer.Option(
        metavar="S|auto",
        autocompletion=completing(("auto",)),
        help="The lowest score of a match; 1 is identical. Without a threshold the best windows"
        " are printed however low they score. auto finds a threshold where the best scores have"
        " a gap that is too large for chance; JSON has it, and match prints it on stderr.",
    ),
]
Overlap = Annotated[
    str,
    typer.Option(
        metavar="F",
        help="The largest intersection over union of two matches; if two windows overlap more,"
        " only the better one is a match.",
    ),
]
Margin = Annotated[
    bool | None,
    typer.Option(
        "--margin/--no-margin",
        help="Whether to print the margin, a match's score minus that of the best place that is no"
        " match. By default it is left out where it can take longer than the search: by sad and"
        " ssd with neither heatmap nor map.",
        show_default=False,
    ),
]
PerKernel = Annotated[
    bool,
    typer.Option(
        "--per-kernel",
        help="Report up to --top matches for each kernel. Matches of different kernels then do"
        " not compete.",
    ),
]
Strict = Annotated[
    bool,
    typer.Option(
        "--strict",
        help="End with exit code 2 if one of several kernels cannot be used. Otherwise a notice"
        " tells why it is left out, and the others are searched for.",
    ),
]
Sort = Annotated[
    str,
    one_of(
        choices.SORTS,
        "The order of the matches: score has the best first; reading goes line by line from the"
        " top, each from the left.",
    ),
]
Subpixel = Annotated[
    bool,
    typer.Option(
        "--subpixel",
        help="Also print each position to a fraction of a pixel, as x_subpixel and y_subpixel;"
        " both are empty where the pixels do not determine it.",
    ),
]
