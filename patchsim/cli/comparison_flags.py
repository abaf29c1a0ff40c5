"""Flags of `patchsim match` that say how windows are compared."""

from __future__ import annotations

from typing import Annotated

import typer

from patchsim import choices
from patchsim.cli.words import one_of

Metric = Annotated[
    str,
    one_of(
        choices.METRICS,
        "How windows are compared: sad is the mean absolute difference, ssd the mean squared"
        " difference, ncc the cosine, zncc the correlation coefficient, which brightness and"
        " contrast do not change.",
    ),
]
Color = Annotated[
    str,
    one_of(
        choices.COLORS,
        "The colour space: auto compares grey pictures as grey and others as RGB, hsv treats"
        " hue as a circle, lab measures differences as people see them, edges compares gradients,"
        " for themes and hover states.",
    ),
]
Stride = Annotated[
    str,
    typer.Option(metavar="N|NxM", help="Step between windows in pixels: one number, or x and y."),
]
Padding = Annotated[
    str,
    one_of(
        choices.PADDINGS,
        "How the image, or its --region, continues beyond the border, so that kernels may hang over"
        " it: edge repeats the outermost pixels, reflect mirrors at them, zero adds 0; with"
        " transparent what hangs over does not count. With valid kernels stay inside.",
    ),
]
IgnoreProfile = Annotated[
    bool,
    typer.Option(
        "--ignore-profile",
        help="Compare the values of pictures as they are, whatever their colour profiles. Otherwise"
        " pictures whose profiles differ are converted to sRGB.",
    ),
]
ChannelWeights = Annotated[
    str | None,
    typer.Option(
        metavar="W,W,...",
        help="The weight of each channel that --color compares; 0 leaves a channel out.",
        show_default=False,
    ),
]
DataRange = Annotated[
    str | None,
    typer.Option(
        metavar="LO:HI",
        help="The range of the pixel values, by default 0:255 for 8 bits, 0:65535 for 16 bits, 0:1"
        " for floats. With it values of different types are compared without scaling. ncc and zncc"
        " need none.",
    ),
]
