"""The other polarity of a kernel: light on dark for dark on light.

A value v becomes low + high - v, low and high being the ends of the data range, in each of the
channels that are compared. Floats under a metric that takes the means off become -v instead: their
scores are the same, and no digit is lost to a range that is far wider than they vary.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from patchsim import metrics
from patchsim.errors import InputError, printable, titled
from patchsim.metrics import Kernel
from patchsim.options import Options
from patchsim.scene import color as colors


def check(options: Options, *, is_range_known: bool) -> None:
    """Check that kernels can be inverted in such a search.

    Parameters
    ----------
    options : Options
    is_range_known : bool
        The data range is given, or that of the type; otherwise it only holds all values.

    Raises
    ------
    InputError
        If they cannot.
    """
    if options.color == "edges":
        raise InputError(
            "--invert (invert=True) adds nothing to --color edges, in which light on dark and dark"
            " on light are the same;\nleave it out"
        )
    if options.color not in colors.LINEAR:
        raise InputError(
            f"--invert (invert=True) is of light and dark, which are no opposites in the colours"
            f" {options.color};\ngive --color gray, rgb or auto"
        )
    if not is_range_known and not metrics.formula_of(options.metric).subtracts_means:
        raise InputError(
            f"--invert (invert=True) under {options.metric} depends on the data range, and values"
            " lie beyond 0 to 1;\nname it with --data-range LO:HI (data_range=), or use --metric"
            " zncc, which needs none"
        )


class Inverses:
    """Inverted kernels, kept for the next image with which the same kernels are compared."""

    def __init__(self) -> None:
        # By ids, which stay those of the kernels that are kept with them.
        self._kept: dict[int, tuple[Kernel, Kernel]] = {}

    def get(self, kernel: Kernel, make: Callable[[], Kernel]) -> Kernel:
        """Return the inverted kernel that is kept, or make it; two threads get the same one."""
        kept = self._kept.get(id(kernel))
        return (kept or self._kept.setdefault(id(kernel), (kernel, make())))[1]


def inverted(kernel: Kernel, limits: NDArray[np.float64], metric: str, name: str) -> Kernel:
    """Return a kernel in the other polarity, with the same weights.

    Parameters
    ----------
    kernel : Kernel
        As it is compared.
    limits : float64 array [C, 2]
        The ends of the data range in each channel.
    metric : str
    name : str
        The kernel's name in messages.

    Raises
    ------
    InputError
        If its type does not hold the inverted values, or the metric cannot score them.
    """
    pixels, total = kernel.pixels, limits.sum(1)
    if pixels.dtype.kind == "f":
        subtracts = metrics.formula_of(metric).subtracts_means
        opposite = -pixels if subtracts else total.astype(pixels.dtype) - pixels
    else:
        # Rounded once, if the ends of the range are no integers.
        exact = np.rint(total).astype(np.int64) - pixels.astype(np.int64)
        most = np.iinfo(pixels.dtype).max
        if exact.min() < 0 or exact.max() > most:
            raise InputError(
                f"{titled('kernel', name)} inverted has values from {exact.min()} to {exact.max()},"
                f" beyond the 0 to {most} of its type;\ngive a --data-range (data_range=) within"
                " these, or leave out --invert (invert=True)"
            )
        opposite = exact.astype(pixels.dtype)
    made = Kernel(opposite, kernel.weights, kernel.margins)
    if not metrics.has_scores(made, metric):
        raise InputError(
            f"{printable(name)} inverted is zero everywhere, and {metric} has nothing to compare;"
            "\nleave out --invert (invert=True), or use sad or ssd"
        )
    return made
