"""How much of posed kernels a picture with hidden pixels shows."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from patchsim.registration.planes import PAD, KernelPlane, Plane

Floats = NDArray[np.float64]

# Points of a kernel that count, about so many, tell the share to a few hundredths; their rows are
# evenly spaced, their columns by the golden ratio, so that no straight border takes many at once.
_POINTS, _MOST_POINTS, _GOLDEN = 100, 1000, 0.6180339887498949
_POSES = 1024  # whose points lie in memory together
# A pose may move by so many pixels of the level before its share is exact.
_MOVES, _INEXACT = 2.0, 0.05


def seen_shares(plane: Plane, kernel: KernelPlane, poses: Floats) -> Floats:
    """Return which share of each posed kernel [n, 4] is visible, [n], to a few hundredths."""
    if plane.visible is None:
        return np.ones(len(poses))
    across, down, weights = _points(kernel)
    shares = np.ones(len(poses))
    if len(weights) == 0:
        return shares
    seen = plane.visible.ravel()
    pitch, most = plane.visible.shape[1], np.array(plane.visible.shape, np.float32)[::-1] - 1
    for first in range(0, len(poses), _POSES):
        x, y, angle, log_scale = poses[first : first + _POSES].astype(np.float32).T[..., None]
        cos, sin = np.exp(log_scale) * np.cos(angle), np.exp(log_scale) * np.sin(angle)
        columns = (cos * across + sin * down + (x + (PAD + 0.5))).clip(0, most[0])
        rows = (cos * down - sin * across + (y + (PAD + 0.5))).clip(0, most[1])
        at = rows.astype(np.int32) * np.int32(pitch) + columns.astype(np.int32)
        np.matmul(seen[at], weights, out=shares[first : first + _POSES])
    return shares


def _points(kernel: KernelPlane) -> tuple[NDArray[np.float32], ...]:
    """Return points of a kernel from its centre, across and down, and what they weigh of 255."""
    share = kernel.counted / (kernel.height * kernel.width)
    count = min(_MOST_POINTS, math.ceil(_POINTS / max(share, 1e-9)))
    index = np.arange(count)
    x, y = index * _GOLDEN % 1 * kernel.width, (index + 0.5) / count * kernel.height
    weights = kernel.weights.max(0)[y.astype(np.intp), x.astype(np.intp)].astype(np.float64)
    x, y, weights = (a[weights > 0] for a in (x, y, weights))
    across, down = x - 0.5 - kernel.centre[1], y - 0.5 - kernel.centre[0]
    weights = weights / max(weights.sum() * 255, 1e-9)
    return across.astype(np.float32), down.astype(np.float32), weights.astype(np.float32)


def slack_of(kernel: KernelPlane, poses: Floats) -> Floats:
    """Return how much more of poses [n, 4] may be seen once they are refined, [n]."""
    shorter = 2 * min(kernel.half) * np.exp(poses[:, 3])
    slack: Floats = np.minimum(1.0, _MOVES / shorter + _INEXACT)
    return slack
