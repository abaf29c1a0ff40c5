"""The pose search's loops: in C where the extension was built, otherwise in NumPy."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from patchsim.registration import native, plain, plain_look
from patchsim.registration.plain import Aim, Floats
from patchsim.registration.planes import KernelPlane, Plane, Turned, in_passes


def turn(
    kernel: KernelPlane,
    poses: Floats,
    radius: int,
    border: float,
    rounded_for: str | None = None,
    *,
    shares_masks: bool = False,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return what `plain_look.turn` does."""
    extension = native.extension(kernel.channels)
    if extension is None:
        return plain_look.turn(
            kernel, poses, radius, border, rounded_for, shares_masks=shares_masks
        )
    side = 2 * radius + 1
    values = np.empty((len(poses), kernel.channels, side, side), np.float32)
    mask = np.empty((len(poses), len(kernel.weights), side, side), np.bool_)
    extension.turn(
        taps=kernel.taps, weights=kernel.weights, width=kernel.width, centre=kernel.centre,
        half=kernel.half, poses=np.ascontiguousarray(poses), border=border, values=values,
        mask=mask, metric=rounded_for, order=in_passes(poses) if shares_masks else None,
    )  # fmt: skip
    return values, mask


def scores(
    plane: Plane,
    shapes: Turned,
    metric: str,
    full: float,
    rows: range,
    bounds: NDArray[np.int32],
    bar: float = -math.inf,
) -> NDArray[np.float32]:
    """Return what `plain_look.scores` does, or `OUTSIDE` where the score is less than a bar."""
    extension = native.extension(len(plane.values))
    if extension is None:
        return plain_look.scores(plane, shapes, metric, full, rows, bounds)
    out = np.empty((len(shapes.poses), len(rows), plane.width), np.float32)
    extension.look(
        values=plane.values, height=plane.height, width=plane.width, turned=shapes.values,
        mask=shapes.mask, order=in_passes(shapes.poses), bounds=bounds, metric=metric, full=full,
        bar=bar, first=rows.start, out=out, variant=native.variant(),
    )  # fmt: skip
    return out


def maxima(
    volume: NDArray[np.float32],
    poses: tuple[int, int],
    rows: tuple[int, int],
    width: int,
    bar: float,
    most: int,
    *,
    is_cyclic: bool,
    near: int = 1,
) -> tuple[NDArray[np.int32], Floats]:
    """Return what `plain_look.maxima` does."""
    extension = native.extension()
    if extension is None:
        return plain_look.maxima(
            volume, poses, rows, width, bar, most, is_cyclic=is_cyclic, near=near
        )
    maxima = np.empty((most, 3), np.int32)
    values = np.empty(most, np.float32)
    count = extension.maxima(
        volume=volume, scales=poses[0], angles=poses[1], near=near, width=width, first=rows[0],
        last=rows[1], bar=bar, is_cyclic=is_cyclic, found=maxima, scores=values,
        variant=native.variant(),
    )  # fmt: skip
    return maxima[:count], values[:count].astype(np.float64)


def refine(plane: Plane, kernel: KernelPlane, poses: Floats, aim: Aim) -> tuple[Floats, Floats]:
    """Return what `plain.refine` does."""
    extension = native.extension(kernel.channels)
    if extension is None:
        return plain.refine(plane, kernel, poses, aim)
    better = np.array(poses, np.float64, order="C")
    values = np.empty(len(better))
    extension.refine(
        values=plane.values, limits=plane.limits, visible=plane.visible, height=plane.height,
        width=plane.width, taps=kernel.taps, weights=kernel.weights,
        smoothing=kernel.smoothing if aim.low[1] < 0 else None, centre=kernel.centre,
        reach=kernel.reach,
        poses=better, scores=values, metric=aim.metric, full=aim.full, steps=aim.steps,
        enough=aim.enough, least=aim.least, is_cubic=aim.is_cubic,
        free=sum(1 << i for i in range(4) if aim.free[i]), low=aim.low, high=aim.high,
        every=aim.every, around=aim.around, variant=native.variant(),
    )  # fmt: skip
    return better, values


def thinned(poses: Floats, kernel: KernelPlane, near: float, of_a_place: int) -> NDArray[np.int32]:
    """Return what `plain_look.thinned` does."""
    extension = native.extension()
    if extension is None:
        return plain_look.thinned(poses, kernel, near, of_a_place)
    kept = np.empty(len(poses), np.int32)
    count = extension.thinned(
        poses=np.ascontiguousarray(poses), half=kernel.half, reach=kernel.reach, near=near,
        of_a_place=of_a_place, kept=kept,
    )  # fmt: skip
    return kept[:count]


__all__ = ["Aim", "maxima", "refine", "scores", "thinned", "turn"]
