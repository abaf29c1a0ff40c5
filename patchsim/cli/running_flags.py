"""Flags of `patchsim match` about messages, files that exist, and what computes."""

from __future__ import annotations

from typing import Annotated

import typer

from patchsim import choices
from patchsim.cli.words import device, one_of

Force = Annotated[
    bool,
    typer.Option("--force", help="Replace files that are read-only, too."),
]
Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="Print only matches and errors."),
]
Explain = Annotated[
    bool,
    typer.Option(
        "--explain",
        help="Print the plan of each kernel on stderr: engine, tiles, memory and the reasons.",
    ),
]
Debug = Annotated[
    bool,
    typer.Option("--debug", help="Print a traceback when something fails."),
]
Device = Annotated[
    str,
    device(
        "The device that computes. auto takes the CPU unless that would take long; cuda takes"
        " all NVIDIA cards, cuda:0,cuda:1 takes these two."
    ),
]
Engine = Annotated[
    str,
    one_of(
        ("auto", *choices.ENGINES),
        "The algorithm that computes the scores; all give the same matches. pruned draws no map.",
    ),
]
Memory = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        help="The memory that the search may use, such as 512MB or 2GiB, by default a quarter of"
        " what is available.",
    ),
]
Threads = Annotated[
    str | None,
    typer.Option(
        metavar="N",
        help="The number of CPU threads, by default one for each CPU that this process may use.",
    ),
]
MaxPixels = Annotated[
    str | None,
    typer.Option(
        metavar="N",
        help="The largest number of pixels of a picture that is read whole, 89,478,485 by default.",
    ),
]
Cluster = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Search on the workers of a Dask cluster: its scheduler, such as tcp://host:8786, or"
        " local:N for N processes on this machine. No heatmap is drawn there.",
        show_default=False,
    ),
]
