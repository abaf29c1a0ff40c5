"""Flags of `patchsim match` that say what of the pictures counts."""

from __future__ import annotations

from typing import Annotated

import typer

from patchsim import choices
from patchsim.cli.words import one_of

Frame = Annotated[
    str | None,
    typer.Option(
        metavar="N|all",
        help="The frame of an animated GIF, PNG or WebP, or the page of a TIFF, to search, from 0;"
        " all searches each of them, with --top matches in each. By default the first is searched.",
        show_default=False,
    ),
]
Level = Annotated[
    str | None,
    typer.Option(
        metavar="N",
        help="The level of a pyramidal TIFF (COG, OME-TIFF) or OME-Zarr to search, from 0, the"
        " largest. x and y are its pixels.",
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
ImageMask = Annotated[
    str | None,
    typer.Option(
        metavar="PATH",
        help="A picture that says how much each pixel of IMAGE counts: white counts, black does"
        " not, like transparent pixels.",
        show_default=False,
    ),
]
Ignore = Annotated[
    list[str] | None,
    typer.Option(
        metavar="X,Y,W,H",
        help="A box of IMAGE that does not count, such as a clock; may be given several times.",
        show_default=False,
    ),
]
Nan = Annotated[
    str,
    one_of(
        choices.NANS,
        "What to do with pictures that have NaN: refuse them, or ignore the pixels, which then"
        " do not count.",
    ),
]
Region = Annotated[
    str | None,
    typer.Option(
        metavar="X,Y,W,H",
        help="Search this box alone, as if it were the image: x and y of its top-left pixel,"
        " width, height. The map then covers the box.",
    ),
]
Mask = Annotated[
    str | None,
    typer.Option(
        metavar="PATH",
        help="A picture that weights the pixels of the kernel: white counts, black does not, grey"
        " counts in part. By default the kernel's alpha channel is its mask.",
        show_default=False,
    ),
]
NoAlpha = Annotated[
    bool,
    typer.Option(
        "--no-alpha",
        help="Compare all four channels of a .npy of 8 bits; otherwise its fourth is alpha.",
    ),
]
IgnoreAlpha = Annotated[
    bool,
    typer.Option("--ignore-alpha", help="Treat transparent pixels of kernels and image as opaque."),
]
NoTrim = Annotated[
    bool,
    typer.Option(
        "--no-trim",
        help="Do not let transparent margins of a kernel, or black ones of its mask, hang over the"
        " border of the image: the whole kernel lies inside.",
    ),
]
MinVisible = Annotated[
    str | None,
    typer.Option(
        metavar="F",
        help="The smallest visible share of a match, 0.5 by default, in an image with transparent"
        " pixels. A window is compared over its visible pixels.",
    ),
]
