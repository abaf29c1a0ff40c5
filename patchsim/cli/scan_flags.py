"""The flags of `patchsim scan`: those of `patchsim match`, and its own."""

from dataclasses import dataclass
from typing import Annotated

import typer

from patchsim.cli.flags import Image, MatchFlags

# Flags of `match` that are about one picture and its files.
WITHOUT = (
    "image", "tolerance", "heatmap", "heatmap_size", "no_heatmap", "blend", "map", "overlay",
    "labels", "preview", "wait", "wait_gone", "interval", "part",
    "part_file",
)  # fmt: skip

Pictures = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PICTURE",
        help="Pictures, folders with all their folders, patterns such as 'scans/*.png', or URLs;"
        " - reads a list from standard input.",
        show_default=False,
    ),
]
Kernels = Annotated[
    list[str],
    typer.Option(
        "--kernel",
        "-k",
        metavar="PATH",
        help="A small picture to find; give the option once for each.",
        show_default=False,
    ),
]
List = Annotated[
    str | None,
    typer.Option(
        metavar="PATH",
        help="A file or pipe with a list: a path on each line, or an object"
        ' {"image": "a.png", "region": [x,y,w,h]}; - is standard input. Each line is answered at'
        " once.",
        show_default=False,
    ),
]
Null = Annotated[
    bool,
    typer.Option(
        "--null",
        "-0",
        help="The list has paths that end with a null character, as find -print0 writes.",
    ),
]
Unmatched = Annotated[
    bool,
    typer.Option(
        "--unmatched",
        help="Print the names of the pictures without a match instead (column image).",
    ),
]
Resume = Annotated[
    str | None,
    typer.Option(
        metavar="PATH",
        help="Write JSON lines into this file instead, and leave out the pictures that it has from"
        " an earlier run with the same kernels and options, however that ended. The first line"
        " tells of the scan, each other line of a picture.",
        show_default=False,
    ),
]
ReportPage = Annotated[
    str | None,
    typer.Option(
        "--report",
        metavar="PATH",
        help="Write a .html page to look at: thumbnails of up to 300 pictures, those with the best"
        " matches, to filter and to sort.",
        show_default=False,
    ),
]
Cluster = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Search on the workers of a Dask cluster: its scheduler, such as tcp://host:8786, or"
        " local:N for N processes on this machine.",
        show_default=False,
    ),
]
Strict = Annotated[
    bool,
    typer.Option(
        "--strict",
        help="End with exit code 2 if any kernel cannot be used or any picture not be searched.",
    ),
]


@dataclass(frozen=True, kw_only=True, init=False, eq=False, repr=False)
class ScanFlags(MatchFlags):
    """The flags of `patchsim scan` as they were typed."""

    image: Image = ""
    kernel: Kernels = ()  # type: ignore[assignment] # an empty list that nothing can change
    strict: Strict = False
    pictures: Pictures = None
    list: List = None
    null: Null = False
    unmatched: Unmatched = False
    resume: Resume = None
    report: ReportPage = None
    cluster: Cluster = None
