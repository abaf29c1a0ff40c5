"""Where angles are a list: some of them are looked at first, from which scores rise to the others.

Pictures of smaller levels cannot tell angles apart that move a kernel's corners by little. The best
angle there may be another than at full size, and all of them would take the places of other
candidates.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def thinned(angles: Floats, spacing: float) -> Floats:
    """Return some of rising angles such that each lies half a spacing from one of these at most."""
    kept, first = [], 0
    while first < len(angles):
        middle = np.searchsorted(angles, angles[first] + spacing / 2, "right") - 1
        kept.append(angles[middle])
        first = int(np.searchsorted(angles, angles[middle] + spacing / 2, "right"))
    return np.array(kept)


def climbed(
    refine: Callable[[Floats], tuple[Floats, Floats]],
    poses: Floats,
    scores: Floats,
    angles: Floats,
    near: float,
) -> tuple[Floats, Floats]:
    """Return poses [n, 4] whose neighbours in a list of angles score no better, and scores [n].

    Parameters
    ----------
    refine : poses [m, 4] -> (poses [m, 4], scores [m])
        Finds the best places of poses whose angles stay.
    poses, scores : float64 arrays [n, 4] and [n]
        As `refine` returned them. The angles, at index 2, are in the list.
    angles : float64 array [A]
        The list in radians, rising, within a whole turn.
    near : float
        Angles that are farther apart, in radians, are told apart by the search itself.
    """
    poses, scores = poses.copy(), scores.copy()
    numbers = np.abs(poses[:, 2, None] - angles).argmin(1)
    to_next = np.diff(angles, append=angles[0] + 2 * math.pi)
    for step in (1, -1):
        rising = np.arange(len(poses))
        while len(rising):
            gaps = to_next[numbers[rising] - (step < 0)]
            rising = rising[gaps <= near]
            turned = (numbers[rising] + step) % len(angles)
            moved = poses[rising]
            moved[:, 2] = angles[turned]
            moved, values = refine(moved)
            is_better = values > scores[rising]
            rising = rising[is_better]
            poses[rising], scores[rising] = moved[is_better], values[is_better]
            numbers[rising] = turned[is_better]
    return poses, scores
