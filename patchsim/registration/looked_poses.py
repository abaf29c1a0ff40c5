"""The poses of a first look: as far apart as the kernel lets them be told apart."""

from __future__ import annotations

import math

import numpy as np

from patchsim.registration.first_look import SPACING, Floats, Grid, turned
from patchsim.registration.listed_angles import thinned
from patchsim.registration.planes import KernelPlane

# At one scale angles lie closer where half a spacing turns a kernel of fine detail into one that
# correlates with it by less than this; but no closer than this share of the spacing. Of 2732 copies
# at one scale 9 were lost without it, 3 with it, for a tenth more time.
_STILL_ALIKE, _LEAST_SHARE = 0.95, 0.25


def spread(low: float, high: float, spacing: float, *, is_cyclic: bool = False) -> Floats:
    """Return values so that all from low to high lie half a spacing from one at most."""
    count = max(1, math.ceil((high - low) / spacing))
    first = 0.0 if is_cyclic else 0.5
    steps = np.arange(count, dtype=np.float64) + first
    values: Floats = low + steps * ((high - low) / count)
    return values


def grid_of(
    kernel: KernelPlane,
    angles: tuple[float, float],
    scales: tuple[float, float],
    spacings: tuple[float, float] = (math.inf, math.inf),
    *,
    is_cyclic: bool,
    listed: tuple[float, ...] = (),
) -> Grid:
    """Return the grid over ranges (low, high) of radians and log scales, with spacings at most.

    Listed angles, in degrees, take the place of those of the range; `listed_angles.climbed` leads
    to those that are left out.
    """
    # A smaller kernel needs fewer angles; those of the largest scale serve all.
    spacing = SPACING / max(kernel.reach * math.exp(scales[1]), 1.0)
    are_turns_alone = scales[0] == scales[1] and angles[0] < angles[1]
    if are_turns_alone:
        known, way = kernel.told_apart, (spacing, scales[0])
        if way not in known:  # the plan of a search and the search itself ask for it
            known[way] = _share_told_apart(kernel, *way)
        spacing *= known[way]
    log_scales = spread(*scales, min(spacing, spacings[1]))
    if listed:
        return Grid(thinned(np.radians(listed), spacing), log_scales, is_cyclic)
    turns = spread(*angles, min(spacing, spacings[0]), is_cyclic=is_cyclic)
    near = 1
    if are_turns_alone:
        steps = spacing * len(turns) / (angles[1] - angles[0])
        near = max(1, min(len(turns) - 1, int(steps)))
    return Grid(turns, log_scales, is_cyclic, near)


def _share_told_apart(kernel: KernelPlane, spacing: float, log_scale: float) -> float:
    """Return which share of a spacing of angles, in radians, still leads to every angle between.

    What a turn takes from the correlation grows with its square.
    """
    turns = np.array([[-spacing / 4, log_scale], [spacing / 4, log_scale]])
    shapes = turned(kernel, turns)
    counted = np.broadcast_to(shapes.mask.all(0), shapes.values.shape[1:])
    products = np.zeros((2, 2))
    for both, is_counted in zip(shapes.values.swapaxes(0, 1), counted, strict=True):
        values = both[:, is_counted]
        if values.size:
            values = values - values.mean(1, keepdims=True)
            products += values @ values.T
    energy = math.sqrt(products[0, 0] * products[1, 1])
    lost = 1 - products[0, 1] / energy if energy > 0 else 0.0
    if lost <= 1 - _STILL_ALIKE:
        return 1.0
    return max(_LEAST_SHARE, math.sqrt((1 - _STILL_ALIKE) / lost))
