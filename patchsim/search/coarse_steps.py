"""Whether the steps of an exhaustive search are so coarse that it misses what lies between."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

from patchsim.errors import titled
from patchsim.poses import grid
from patchsim.poses.axis import Axis
from patchsim.poses.grid import Poses
from patchsim.registration import SPACING

# Poses are fitted from the best windows, which leads to those that are so many pixels apart at the
# kernel's corners, as the first look of the other search has them. Of 46 copies midway between
# steps of 2 and 3 pixels none was missed, of 4 pixels 1, of 8 pixels 4, of 12 pixels 9.
_TOO_FAR = 2 * SPACING


def notices(sizes: Sequence[tuple[int, int]], names: Sequence[str], poses: Poses) -> Iterator[str]:
    """Yield a notice if a step moves the corners of a kernel by more than a few pixels.

    Parameters
    ----------
    sizes : sequence of (height, width)
        Those of the kernels. The notice is about the largest, which its steps must suit.
    names : sequence of str
        The names of the kernels.
    poses : Poses
    """
    size, name = max(zip(sizes, names, strict=True), key=lambda kernel: math.hypot(*kernel[0]))
    share, degrees = grid.spacing(size, poses.scales.largest)
    axes = (
        (poses.angles, degrees, "angles", " degrees"),
        (poses.scales, share * poses.scales.largest, "scales", ""),
    )
    coarse = [
        f"by {_gap(axis) / pixel:.0f} pixels with each step of the {which}"
        f" ({SPACING * pixel:.2g}{unit} would do)"
        for axis, pixel, which, unit in axes
        if _gap(axis) > _TOO_FAR * pixel
    ]
    if coarse:
        yield (
            f"{titled('kernel', name)} may be missed between the poses of --exhaustive"
            f" (exhaustive=True): its corners move {' and '.join(coarse)};"
            "\ngive smaller steps, or leave out --exhaustive"
        )


def _gap(axis: Axis) -> float:
    """Return the widest gap between the values of a range with a step; 0 for others."""
    if not axis.is_range or axis.step is None:
        return 0.0
    ends = (*axis.values, axis.values[0] + 360) if axis.is_full_turn else axis.values
    return max(after - before for before, after in itertools.pairwise(ends))
