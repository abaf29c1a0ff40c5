"""The flags of `patchsim loss` with their help."""

from dataclasses import dataclass
from typing import Annotated

import typer

from patchsim import choices
from patchsim.cli.flags import Flags
from patchsim.cli.printing_flags import CsvSafe
from patchsim.cli.running_flags import Debug
from patchsim.cli.words import device, one_of

Features = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="FEATURES",
        help="Files of features: .safetensors (best: it cannot hold code and is read in"
        " pieces), .pt, .pth, .npz, .npy.",
    ),
]
Loss = Annotated[str, one_of(choices.LOSSES, "The loss to evaluate.")]
F = Annotated[
    str | None,
    typer.Option("--f", metavar="PATH", help="A .npy with the features f; give --p too."),
]
P = Annotated[
    str | None,
    typer.Option("--p", metavar="PATH", help="A .npy with the features p; give --f too."),
]
FKey = Annotated[
    str | None,
    typer.Option(
        metavar="KEY",
        help="Key of the features before the projection: by default f, or f_large for"
        " small-to-large.",
    ),
]
PKey = Annotated[
    str | None,
    typer.Option(
        metavar="KEY",
        help="Key of the features after the projection: by default p, or p_small for"
        " small-to-large.",
    ),
]
Key = Annotated[
    str | None,
    typer.Option(
        metavar="KEY",
        help="Key of the slots for the contrastive losses: by default slots, otherwise p.",
    ),
]
Layout = Annotated[
    str | None,
    one_of(
        choices.LAYOUTS,
        "2BSC: all first views, then all second views (the default). B2SC: both views of"
        " an image together.",
    ),
]
Reduction = Annotated[
    str, one_of(choices.REDUCTIONS, "How losses are combined; none prints one line for each slot.")
]
Temperature = Annotated[
    str | None,
    typer.Option(metavar="T", help="The temperature of the contrastive losses, 1 by default."),
]
Format = Annotated[
    str,
    one_of(
        choices.FORMATS,
        "The format of the printed losses; auto is a table on a terminal, tsv in a pipe.",
    ),
]
Matches = Annotated[
    str | None,
    typer.Option(
        metavar="PATH",
        help="Write a .png of the cosines of all slots, matched pairs framed; --image limits it"
        " to the two views of one image.",
    ),
]
Image = Annotated[
    str | None, typer.Option(metavar="I", help="The image that --matches draws, from 0.")
]
Force = Annotated[bool, typer.Option("--force", help="Replace a file that is read-only, too.")]
Device = Annotated[
    str,
    device("The device that computes; auto takes the CPU."),
]
Memory = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        help="The memory to use, such as 512MB, by default a quarter of what is available.",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only results and errors.")]


@dataclass(frozen=True, kw_only=True, init=False, eq=False, repr=False)
class LossFlags(Flags):
    """The flags of `patchsim loss` as they were typed, in the order of its help."""

    features: Features = None
    loss: Loss = "similarity"
    f: F = None
    p: P = None
    f_key: FKey = None
    p_key: PKey = None
    key: Key = None
    layout: Layout = None
    reduction: Reduction = "mean"
    temperature: Temperature = None
    format: Format = "auto"
    csv_safe: CsvSafe = False
    matches: Matches = None
    image: Image = None
    force: Force = False
    device: Device = "auto"
    memory: Memory = None
    quiet: Quiet = False
    debug: Debug = False  # read by console.run, which meets usage errors, too
