"""Flags of `patchsim match` for the pictures of a search, and the map itself."""

from __future__ import annotations

from typing import Annotated

import typer

from patchsim import choices
from patchsim.cli.words import completing_list

Heatmap = Annotated[
    str | None,
    typer.Option(
        metavar="PATH",
        help="The .png to draw the map into, by default IMAGE.heatmap.png in the current folder,"
        " with several kernels IMAGE.{kernel}.heatmap.png. {kernel} stands for the kernel's name."
        " none draws none.",
        show_default=False,
    ),
]
HeatmapSize = Annotated[
    str | None,
    typer.Option(
        metavar="N",
        help="The most pixels of the heatmap's side: of a larger map each pixel is the best score"
        " of a square of windows. By default the map's size, and 8192 for pictures that are read by"
        " windows.",
        show_default=False,
    ),
]
NoHeatmap = Annotated[bool, typer.Option("--no-heatmap", help="Do not draw a heatmap.")]
Blend = Annotated[
    str | None,
    typer.Option(
        metavar="PATH",
        help="Write a .png, .jpg or .webp of the map's colours over the image, each at the center"
        " of its window. {kernel} stands for the kernel's name.",
        show_default=False,
    ),
]
Map = Annotated[
    str | None,
    typer.Option(
        metavar="PATH",
        help="Write the scores of all windows as float32, rows x columns: a .npy, a .tif, which is"
        " a BigTIFF in tiles, or a .zarr. {kernel} stands for the kernel's name.",
    ),
]
Resume = Annotated[
    str | None,
    typer.Option(
        metavar="PATH",
        help="Write the map into this .zarr, and go on with what an earlier run of the same command"
        " left of it, however that ended.",
        show_default=False,
    ),
]
Overlay = Annotated[
    str | None,
    typer.Option(
        metavar="PATH",
        help="Write a .png, .jpg or .webp of the image with a numbered box around each match. - is"
        " standard output, also for other files; the matches then go to stderr.",
        show_default=False,
    ),
]
Labels = Annotated[
    str | None,
    typer.Option(
        metavar="none|number,score,kernel",
        autocompletion=completing_list(choices.LABELS),
        help="What --overlay writes beside the boxes where there is room: by default the number of"
        " the match; its score; the kernel's name.",
        show_default=False,
    ),
]
Preview = Annotated[
    bool | None,
    typer.Option(
        "--preview/--no-preview",
        help="Whether to show a small picture with the boxes above the table. By default it is"
        " shown where the terminal shows pictures (kitty, iTerm2, sixels) and the extra preview is"
        " installed; other terminals get half blocks when asked. Never in a pipe.",
        show_default=False,
    ),
]
ReportPage = Annotated[
    str | None,
    typer.Option(
        "--report",
        metavar="PATH",
        help="Write a .html page to look at: the image with its matches, the map over it, a"
        " threshold to move, kernels, plan.",
    ),
]
Tolerance = Annotated[
    str | None,
    typer.Option(
        metavar="T",
        help="The largest error of scores in the heatmap or map; a larger one makes large kernels"
        " faster. Matches are always exact. By default 0.02, or 0 with --map or --resume (in Python"
        " 0).",
    ),
]
