"""The colour of a kernel that does not count becomes a weight of 0."""

from __future__ import annotations

import numpy as np

from patchsim.errors import InputError, titled
from patchsim.metrics import divided_by_gcd
from patchsim.options import Options
from patchsim.pictures.reader import Picture
from patchsim.types import Weights


def left_out(
    kernel: Picture, weights: Weights | None, options: Options
) -> tuple[Picture, Weights | None]:
    """Return a kernel and the weights of its pixels, 0 where they have the transparent colour.

    If no pixel has it, the kernel has a notice about that.

    Raises
    ------
    InputError
        If all pixels that count have it.
    """
    color = options.transparent
    if color is None:
        return kernel, weights
    hidden = color.of(kernel, options.data_range)
    name = titled("kernel", kernel.name)
    if not hidden.any():
        more = "a larger ~N takes more" if color.reach else "~N takes similar ones, as in"
        more += "" if color.reach else f" {color}~8"
        told = f"{name} has no pixel of the transparent colour {color}; {more}"
        return kernel._replace(notices=(*kernel.notices, told)), weights
    kept = np.where(hidden, np.uint8(0), np.uint8(1) if weights is None else weights)
    if not kept.any():
        raise InputError(
            f"{name} has the transparent colour {color} wherever it counts, so no pixel of it is"
            " left; give another colour, or a smaller ~N"
        )
    return kernel, divided_by_gcd(kept)
