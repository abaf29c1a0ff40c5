"""The first look in NumPy, and what is kept of many poses: as the C extension has them, slower."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from patchsim.registration.plain import LEAST_SPREAD, Floats
from patchsim.registration.planes import OUTSIDE, PAD, KernelPlane, Plane, Turned, in_passes
from patchsim.registration.scores import sampled

TOGETHER = 8  # turned kernels that are compared with a picture in one pass
SHARED = 0.7  # of the most pixels of turned kernels that they have in common: enough to count these
MOST_LEVEL = 126.0  # of whole numbers that stand for a turned kernel; one more is a byte, too


def turn(
    kernel: KernelPlane,
    poses: Floats,
    radius: int,
    border: float,
    rounded_for: str | None = None,
    *,
    shares_masks: bool = False,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return a kernel in poses [P, 2] of angle and log scale, about a pixel of a box's middle.

    Returns
    -------
    values : float32 array [P, C, side, side], side = 2 radius + 1
        Interpolated by Catmull-Rom's cubic; 0 where nothing counts. With `rounded_for`, `zncc` or
        `ncc`, they are whole numbers from -127 to 127, as those metrics allow (see `_rounded`).
    mask : bool array [P, 1 or C, side, side]
        What lies `border` inside the kernel and, at the nearest pixel, weighs half of what counts
        most. With `shares_masks` it is what kernels that share a pass have in common, where that
        is nearly all of them, so that a pass sums the picture's pixels once.
    """
    offsets = np.arange(-radius, radius + 1)
    scale = np.exp(poses[:, 1])[:, None, None]
    cos, sin = (f(poses[:, 0])[:, None, None] / scale for f in (np.cos, np.sin))
    u, v = offsets * cos - offsets[:, None] * sin, offsets * sin + offsets[:, None] * cos
    height, width = kernel.half
    inside = (np.abs(u) <= width - border / scale) & (np.abs(v) <= height - border / scale)
    xs, ys = u + kernel.centre[1], v + kernel.centre[0]
    columns = np.clip(np.floor(xs + 0.5).astype(np.intp), 0, kernel.width - 1)
    rows = np.clip(np.floor(ys + 0.5).astype(np.intp), 0, kernel.height - 1)
    mask = inside[:, None] & (kernel.weights[:, rows, columns] >= 0.5).transpose(1, 0, 2, 3)
    pixels = kernel.taps[:, :, : kernel.width].transpose(1, 2, 0)
    values = np.where(mask, sampled(pixels, xs, ys).transpose(0, 3, 1, 2), 0).astype(np.float32)
    if shares_masks:
        order = in_passes(poses)
        for first in range(0, len(poses), TOGETHER):
            together = order[first : first + TOGETHER]
            common = mask[together].all(0)
            if common.sum() >= SHARED * mask[together].sum((1, 2, 3)).max():
                mask[together] = common
        values = np.where(mask, values, 0)
    if rounded_for is not None:
        values = _rounded(values, mask, is_centred=rounded_for == "zncc")
    return np.ascontiguousarray(values), np.ascontiguousarray(mask)


def _rounded(
    values: NDArray[np.float32], mask: NDArray[np.bool_], *, is_centred: bool
) -> NDArray[np.float32]:
    """Return turned kernels [P, C, side, side] of whole numbers, of which products are fast.

    Neither `zncc` nor `ncc` changes with a kernel's gain, nor `zncc` with its mean, which is taken
    off; of each channel the sum stays 0. No value is farther from its own than a level, of 126 to
    the largest, and half a level but for a few. So by the inequality of Cauchy and Schwarz no score
    changes by more than about half a level, over the root mean square of the values in levels.
    """
    wide = values.astype(np.float64)
    if is_centred:
        counted = np.maximum(mask.sum((2, 3), keepdims=True), 1)
        wide = np.where(mask, wide - wide.sum((2, 3), keepdims=True) / counted, 0)
    largest = np.abs(wide).max((1, 2, 3), keepdims=True)
    levels = np.rint(wide * (MOST_LEVEL / np.where(largest > 0, largest, 1)))
    if is_centred:
        surplus = levels.sum((2, 3), keepdims=True)
        flat = np.broadcast_to(mask, levels.shape).reshape(*levels.shape[:2], -1)
        rank = flat.cumsum(2).reshape(levels.shape)
        levels -= np.where(mask & (rank <= np.abs(surplus)), np.sign(surplus), 0)
    return levels.astype(np.float32)


def scores(
    plane: Plane, shapes: Turned, metric: str, full: float, rows: range, bounds: NDArray[np.int32]
) -> NDArray[np.float32]:
    """Return the scores of all poses at all places of some rows, [P, rows, W].

    The sums are over what lies under each turned kernel. Visibility is left to `refine`.
    """
    radius = shapes.values.shape[-1] // 2
    wide = ((radius, radius), (radius, radius))
    out = np.full((len(shapes.poses), len(rows), plane.width), OUTSIDE, np.float32)
    inside = plane.values[:, PAD : PAD + plane.height, PAD : PAD + plane.width]
    planes = [np.pad(p.astype(np.float64), wide, "edge") for p in inside]
    for i in range(len(out)):
        total = _look(planes, shapes.values[i], shapes.mask[i], metric, full, rows, plane.width)
        top, bottom, left, right = bounds[i]
        y = np.array(rows)[:, None]
        x = np.arange(plane.width)
        taken = (y >= top) & (y <= bottom) & (x >= left) & (x <= right)
        out[i][taken] = total[taken]
    return out


def _look(
    planes: list[Floats],
    values: NDArray[np.float32],
    mask: NDArray[np.bool_],
    metric: str,
    full: float,
    rows: range,
    width: int,
) -> Floats:
    shape = (len(rows), width)
    products, spread, distance = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    kernel_energy = count = 0.0
    for channel, plane in enumerate(planes):
        counted = mask[channel if len(mask) > 1 else 0]
        taps = values[channel].astype(np.float64)
        n = int(counted.sum())
        count += n
        if metric == "zncc" and n:
            taps = np.where(counted, taps - taps.sum() / n, 0)
        kernel_energy += float((taps * taps).sum())
        total, squares = np.zeros(shape), np.zeros(shape)
        for dy, dx in zip(*np.nonzero(counted), strict=True):
            pixel = plane[rows.start + dy : rows.stop + dy, dx : dx + width]
            tap = taps[dy, dx]
            products += tap * pixel
            squares += pixel * pixel
            if metric == "zncc":
                total += pixel
            elif metric == "sad":
                distance += np.abs(pixel - tap)
        spread += squares - (total * total / n if metric == "zncc" and n else 0)
    if count == 0:
        return np.full(shape, OUTSIDE)
    if metric == "sad":
        return 1 - distance / (count * full)
    if metric == "ssd":
        return 1 - (spread - 2 * products + kernel_energy) / (count * full**2)
    flat = spread <= LEAST_SPREAD * count
    return np.where(
        flat, 0, products / np.sqrt(np.where(flat, 1, spread) * max(kernel_energy, 1e-9))
    )


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
    """Return the local maxima of a volume of scores that reach a bar, the best `most` of them.

    Neighbours are of one scale: a kernel that is a bit too small often scores more in a first look.

    Parameters
    ----------
    volume : array [scales x angles, rows, at least `width`]
    poses : (scales, angles)
        How many of each.
    rows : (first, last + 1)
        Where maxima are wanted; their neighbours may lie beside.
    width : int
    bar : float
    most : int
    is_cyclic : bool
        Whether the first angle follows the last.
    near : int
        Angles of so many steps or fewer are neighbours.

    Returns
    -------
    found : int32 array [n, 3]
        Pose, row and column. Of equal neighbours only the first is one.
    scores : array [n]
    """
    scales, angles = poses
    shape = (scales, angles, volume.shape[1], width)
    cells = volume[: scales * angles, :, :width].reshape(shape)
    index = np.arange(cells.size).reshape(shape)
    best = cells >= bar
    best[:, :, : rows[0]] = best[:, :, rows[1] :] = False
    for shift in np.ndindex(2 * near + 1, 3, 3):
        move = (0, *(s - (n // 2) for s, n in zip(shift, (2 * near + 1, 3, 3), strict=True)))
        if not any(move) or (angles == 1 and move[1]):
            continue
        here, there = zip(*(_shifted(m, n) for m, n in zip(move, shape, strict=True)), strict=True)
        if is_cyclic and angles > 1:
            other, which = np.roll(cells, -move[1], 1), np.roll(index, -move[1], 1)
            here, there = ((a[0], slice(None), *a[2:]) for a in (here, there))
        else:
            other, which = cells, index
        beaten = (other[there] > cells[here]) | (
            (other[there] == cells[here]) & (which[there] < index[here])
        )
        best[here] &= ~beaten
    places = np.argwhere(best)
    values = cells[best].astype(np.float64)
    order = np.sort(np.argsort(-values, kind="stable")[:most])
    places, values = places[order], values[order]
    local_maxima = np.stack([places[:, 0] * angles + places[:, 1], places[:, 2], places[:, 3]], 1)
    return local_maxima.astype(np.int32), values


def _shifted(move: int, length: int) -> tuple[slice, slice]:
    """Return where cells lie that have a neighbour so far off, and where the neighbours lie."""
    return slice(max(0, -move), length - max(0, move)), slice(max(0, move), length + min(0, move))


def thinned(poses: Floats, kernel: KernelPlane, near: float, of_a_place: int) -> NDArray[np.int32]:
    """Return the indices of poses [n, 4], the best first, that are not as good as others before.

    Parameters
    ----------
    poses : array [n, 4]
        As `refine` has them. Two are the same if no corner lies a pixel from the other's.
    kernel : KernelPlane
    near : float
        Of two poses of one place, moved to one angle, more than this share lies under both.
    of_a_place : int
        How many poses of one place are kept.
    """
    left = np.ones(len(poses), bool)
    others = np.zeros(len(poses), np.intp)
    half_height, half_width = kernel.half
    kept = []
    for i, (x, y, angle, log_scale) in enumerate(poses):
        if not left[i]:
            continue
        kept.append(i)
        behind = poses[i + 1 :]
        dx, dy = behind[:, 0] - x, behind[:, 1] - y
        scale = math.exp(log_scale)
        cos, sin = math.cos(angle) / scale, math.sin(angle) / scale
        u = np.abs(dx * cos - dy * sin) / (2 * half_width)
        v = np.abs(dx * sin + dy * cos) / (2 * half_height)
        turn = np.abs((behind[:, 2] - angle + math.pi) % (2 * math.pi) - math.pi)
        corner = np.hypot(turn, behind[:, 3] - log_scale) * kernel.reach * scale
        is_same = np.hypot(dx, dy) + corner < 1
        others[i + 1 :] += (u < 1) & (v < 1) & ((1 - u) * (1 - v) > near)
        left[i + 1 :] &= ~is_same & (others[i + 1 :] < of_a_place)
    return np.array(kept, np.int32)
