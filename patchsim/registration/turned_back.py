"""Poses whose corners lie outside the picture, turned back to the nearest angles that lie inside.

A kernel that looks alike at several angles, as a ring does, may be refined to one at which its
corners lie outside. At another angle it would be found in the same place.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from patchsim.registration.kept_candidates import Limits, room
from patchsim.registration.planes import KernelPlane

Floats = NDArray[np.float64]

# Angles that are tried lie so far apart, in radians; a pixel over the border costs more than turns.
_TURN, _MORE_THAN_TURNS = math.radians(2), 1e3


def turned_within(poses: Floats, kernel: KernelPlane, limits: Limits, level: int) -> Floats:
    """Return poses [n, 4] turned either way, as little as lets their corners lie in the bounds.

    They keep their places. Where no allowed angle on a side suffices, the one is taken whose
    corners reach least over the bounds. Of the [2n, 4] poses those of falling angles come first.
    """
    now = poses[:, 2, None]
    if limits.listed:
        angles = np.broadcast_to(np.radians(limits.listed), (len(poses), len(limits.listed)))
        turns = (angles - now + math.pi) % (2 * math.pi) - math.pi
    else:
        quarter = math.pi / 2
        # All distances to the border that a frame can have occur within a quarter turn either way.
        # Its sides are least far from its centre where it is upright.
        upright = np.floor(now / quarter) * quarter
        angles = np.hstack(
            [now + np.arange(-quarter, quarter, _TURN), now + quarter, upright, upright + quarter]
        )
        if not limits.is_cyclic:
            angles = np.clip(angles, *limits.angles)
        turns = angles - now
    tried = np.repeat(poses[:, None], angles.shape[1], 1)
    tried[..., 2] = angles
    low, high = room(tried.reshape(-1, 4), kernel, limits.bounds, level)
    places = tried.reshape(-1, 4)[:, :2]
    over = np.maximum(low - places, places - high).max(1).clip(0).reshape(angles.shape)
    sides = []
    for is_allowed in (turns <= 0, turns >= 0):
        cost = np.where(is_allowed, over * _MORE_THAN_TURNS + np.abs(turns), math.inf)
        best = cost.argmin(1)
        sides.append(tried[np.arange(len(poses)), best])
    return np.concatenate(sides)
