"""The first look: all poses of a coarse grid at all places of a small level."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import closing
from copy import copy
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from patchsim.machine.threads import in_order
from patchsim.registration import loops
from patchsim.registration.planes import PIECE, KernelPlane, Plane, Turned

Floats = NDArray[np.float64]
Array = NDArray[np.float32]

# How far a corner moves between neighbouring poses, in pixels of the level.
SPACING = 2.0
# A posed kernel's box may reach so far over the picture's border, in pixels of the level.
SLACK = 1.5
# Bytes of a band of rows of a thread, the scores of which are all held until their maxima are
# found. Where that is only a few rows, scales are looked at one by one, and so they are where
# turned kernels would take more than so many bytes, as long thin ones do.
BAND_BYTES, _TURNED = 32 << 20, 16 << 20
_ROWS, _FEWEST_ROWS = 16, 4
_ROW_BORDER = 80  # columns of the loops in C beyond a row's end
# Bytes in C of eight turned kernels, for each channel and pixel of their boxes.
_BATCH_BYTES = 145
# Maxima that are kept of a band, and of all bands until the next one: the best ones.
MOST = 16_384
# A pixel of the picture shows some background if it lies closer to the turned kernel's border.
_BORDER = 0.3


@dataclass(frozen=True)
class Grid:
    """The poses of a first look: all angles at each scale.

    Attributes
    ----------
    angles : float64 array [A]
        In radians, rising.
    scales : float64 array [S]
        Logs of the scales, in pixels of the levels.
    is_cyclic : bool
        Whether the first angle follows the last.
    near : int
        Angles of so many steps or fewer are neighbours: the kernel does not tell them apart.
    """

    angles: Floats
    scales: Floats
    is_cyclic: bool
    near: int = 1

    @property
    def poses(self) -> Floats:
        """All poses [S x A, 2], the angles of a scale together."""
        scales, angles = np.meshgrid(self.scales, self.angles, indexing="ij")
        return np.stack([angles.ravel(), scales.ravel()], 1)


def look(
    plane: Plane,
    kernel: KernelPlane,
    grid: Grid,
    metric: str,
    full: float,
    bar: float,
    threads: int,
    most: int = MOST,
    band_bytes: int = BAND_BYTES,
    tell: Callable[[float], None] | None = None,
) -> tuple[Floats, Floats]:
    """Return poses [n, 4] that are local maxima of at least `bar`, and their scores [n].

    A maximum is no worse than its neighbours in place and angle. Of more than `most` the best are
    returned, of equals the first by scale, angle and place; so neither threads nor memory change
    them. Poses are as `plain.refine` takes them. A thread holds about so many bytes of a band.
    `tell` is called with the share of the places and poses that were looked at, up to 1.
    """
    together, rows = _band_of(plane, kernel, grid, band_bytes)
    # Boxes of one size, because float pictures are rounded as fits the size.
    radius = _radius(kernel, grid.scales)
    places, values = np.empty((0, 3), np.int64), np.empty(0)
    for first in range(0, len(grid.scales), together):
        some_scales = replace(grid, scales=grid.scales[first : first + together])
        before = np.array([first * len(grid.angles), 0, 0])
        for done, more, scores in _look_in_bands(
            plane, kernel, some_scales, metric=metric, full=full, bar=bar, threads=threads,
            most=most, rows=rows, radius=radius,
        ):  # fmt: skip
            if tell is not None:
                tell((first + done * len(some_scales.scales)) / len(grid.scales))
            places = np.concatenate([places, more + before])
            values = np.concatenate([values, scores])
            if len(values) > 2 * most:
                places, values = _best(places, values, most)
    places, values = _best(places, values, most)
    poses = np.empty((len(places), 4))
    poses[:, 0], poses[:, 1] = places[:, 2], places[:, 1]
    poses[:, 2:] = grid.poses[places[:, 0]]
    _move_to_centre(poses, kernel)
    return poses, values


def _best(places: NDArray[np.int64], values: Floats, most: int) -> tuple[NDArray[np.int64], Floats]:
    """Return the best `most` of places [n, 3] of pose, row and column, of equals the first."""
    order = np.argsort(-values, kind="stable")
    ranked = values[order]
    if (ranked[1:] == ranked[:-1]).any():  # which is rare
        order = np.lexsort((*places.T[::-1], -values))
    order = order[:most]
    return places[order], values[order]


def _look_in_bands(
    plane: Plane,
    kernel: KernelPlane,
    grid: Grid,
    *,
    metric: str,
    full: float,
    bar: float,
    threads: int,
    most: int,
    rows: int,
    radius: int,
) -> Iterator[tuple[float, NDArray[np.int64], Floats]]:
    """Yield the maxima of each band of so many rows: pose, row and column, and their scores.

    Before them comes the share of the bands that are done.
    """
    is_rounded = plane.values.dtype == np.uint8 and metric in ("zncc", "ncc")
    shapes = turned(
        kernel, grid.poses, radius, metric if is_rounded else None, shares_masks=grid.near > 1
    )
    bounds = _bounds(shapes, plane)
    first, last = int(bounds[:, 0].min()), int(bounds[:, 1].max())
    if first > last:
        return
    rows = min(rows, max(_FEWEST_ROWS, math.ceil((last + 1 - first) / threads)))

    def maxima(top: int) -> tuple[NDArray[np.int64], Floats]:
        bottom = min(top + rows, last + 1)
        wanted = range(max(top - 1, 0), min(bottom + 1, plane.height))
        scores = loops.scores(plane, shapes, metric, full, wanted, bounds, bar)
        above = top - max(top - 1, 0)
        local_maxima, value = loops.maxima(
            scores, (len(grid.scales), len(grid.angles)), (above, above + bottom - top),
            plane.width, bar, 2 * most, is_cyclic=grid.is_cyclic, near=grid.near,
        )  # fmt: skip
        places: NDArray[np.int64] = local_maxima.astype(np.int64)
        places[:, 1] += top - above
        return places, value

    bands = range(first, last + 1, rows)
    with closing(in_order(maxima, bands, threads)) as scored:
        for number, (places, values) in enumerate(scored, 1):
            yield number / len(bands), places, values


def _band_of(plane: Plane, kernel: KernelPlane, grid: Grid, most_bytes: int) -> tuple[int, int]:
    """Return how many scales are looked at together, and in how many rows, for so many bytes."""
    side = side_of(kernel, grid)
    row = plane.width + side + _ROW_BORDER
    # Scores, and in C the pixels with the prefix sums of them and of their squares, 4 bytes each.
    pixel_bytes, score_bytes = 12 * kernel.channels * row, 4 * len(grid.angles) * row
    together = len(grid.scales)
    free = most_bytes - side * pixel_bytes - _BATCH_BYTES * side**2 * kernel.channels
    # Those of each scale are made before they are put together; of one scale they lie beside.
    shapes = (together + 1) * turned_bytes(side, kernel.channels, len(grid.angles))
    rows = (free - shapes) // (pixel_bytes + together * score_bytes) - 2
    if together == 1 or rows < _ROWS or shapes > _TURNED:
        together = 1
        rows = free // (pixel_bytes + score_bytes) - 2
    return together, max(_FEWEST_ROWS, rows)


def side_of(kernel: KernelPlane, grid: Grid) -> int:
    """Return the side of the boxes that hold a kernel in all poses of a grid."""
    return 2 * _radius(kernel, grid.scales) + 1


def turned_bytes(side: int, channels: int, angles: int) -> int:
    """Return the bytes of kernels turned by so many angles, with masks, in boxes of this side.

    All threads read the same ones.
    """
    return angles * side**2 * 5 * channels


def least_band_bytes(width: int, channels: int, angles: int, side: int) -> int:
    """Return the memory of a thread for the fewest rows of a picture and kernels turned there.

    Parameters
    ----------
    width, channels : int
        Of the picture, at the level of the first look.
    angles, side : int
        How many turned kernels of a scale there are, and the side of their boxes, in pixels.
    """
    score_bytes, pixel_bytes = (
        (_FEWEST_ROWS + 2) * 4 * angles,
        (_FEWEST_ROWS + 2 + side) * 12 * channels,
    )
    return (width + side + _ROW_BORDER) * (
        score_bytes + pixel_bytes
    ) + _BATCH_BYTES * side**2 * channels


def _bounds(shapes: Turned, plane: Plane) -> NDArray[np.int32]:
    """Return the first and last row and column of each pose's centre, [P, 4]."""
    half = shapes.half - SLACK - 0.5
    low = np.maximum(0, np.ceil(half))
    high = np.array([plane.height, plane.width]) - 1 - low
    return np.stack([low[:, 0], high[:, 0], low[:, 1], high[:, 1]], 1).astype(np.int32)


def _about_a_pixel(kernel: KernelPlane) -> KernelPlane:
    """Return a kernel whose centre is a pixel's: rows and columns that do not count are added.

    It has no pixels yet, because they depend on the scale.

    Unturned, its pixels then lie on the picture's. The centre of an even number of pixels lies
    between two, where detail of one pixel would be grey.
    """
    about = copy(kernel)
    down, right = _middle(kernel)
    about.height, about.width = 2 * down + 1, 2 * right + 1
    about.centre = float(down), float(right)
    about.half = down + 0.5, right + 0.5
    about.weights = _padded(kernel.weights, kernel, about)
    return about


def _padded(planes: Array, kernel: KernelPlane, about: KernelPlane) -> Array:
    """Return planes of a kernel in the size of another that is no smaller, in whole pieces.

    What is added is 0.
    """
    pitch = -(-about.width // PIECE) * PIECE
    padded = np.zeros((len(planes), about.height, pitch), np.float32)
    padded[:, : kernel.height, : kernel.width] = planes[:, :, : kernel.width]
    return padded


def _repeated(planes: Array, kernel: KernelPlane, about: KernelPlane) -> Array:
    """Return what `_padded` does, with the last row and column repeated."""
    padded, height, width = _padded(planes, kernel, about), kernel.height, kernel.width
    padded[:, :height, width:] = padded[:, :height, width - 1 : width]
    padded[:, height:] = padded[:, height - 1 : height]
    return padded


def _middle(kernel: KernelPlane) -> tuple[int, int]:
    """Return the pixel (y, x) nearest to a kernel's centre, the later of two."""
    down, right = (math.floor(centre + 0.5) for centre in kernel.centre)
    return down, right


def _move_to_centre(poses: Floats, kernel: KernelPlane) -> None:
    """Move poses [n, 4] of the pixel that `_about_a_pixel` takes for the centre to the centre."""
    down, right = np.subtract(kernel.centre, _middle(kernel))
    cos, sin = (np.exp(poses[:, 3]) * f(poses[:, 2]) for f in (np.cos, np.sin))
    poses[:, 0] += right * cos + down * sin
    poses[:, 1] += down * cos - right * sin


def _radius(kernel: KernelPlane, log_scales: Floats) -> int:
    """Return how far turned kernels reach from the pixel that they are turned about, at most."""
    reach = math.hypot(*(pixel + 0.5 for pixel in _middle(kernel)))
    return math.ceil(reach * math.exp(float(log_scales.max())) + 0.5)


def turned(
    kernel: KernelPlane,
    poses: NDArray[np.float64],
    radius: int | None = None,
    rounded_for: str | None = None,
    *,
    shares_masks: bool = False,
) -> Turned:
    """Return a kernel in poses [P, 2] of angle and log scale, in boxes of a radius that suffices.

    Without one it is the least. `rounded_for` and `shares_masks` are what `plain_look.turn` has.
    """
    scales = np.exp(poses[:, 1])
    about = _about_a_pixel(kernel)
    radius = _radius(kernel, poses[:, 1]) if radius is None else radius
    # Poses of one scale lie together; where it is small they are of a smoother kernel.
    starts = [0, *(1 + np.flatnonzero(np.diff(poses[:, 1]))), len(poses)]

    def of_scale(start: int, end: int) -> tuple[Array, NDArray[np.bool_]]:
        taps = kernel.softened(math.exp(poses[start, 1]))
        about.taps = _repeated(taps, kernel, about)
        return loops.turn(
            about, poses[start:end], radius, _BORDER, rounded_for, shares_masks=shares_masks
        )

    values, mask = of_scale(0, starts[1])
    if len(starts) > 2:  # arrays of one scale, which may be large, are not copied
        first = values, mask
        values, mask = (np.empty((len(poses), *a.shape[1:]), a.dtype) for a in first)
        values[: starts[1]], mask[: starts[1]] = first
        for start, end in pairwise(starts[1:]):
            values[start:end], mask[start:end] = of_scale(start, end)
    cos, sin = np.abs(np.cos(poses[:, 0])), np.abs(np.sin(poses[:, 0]))
    height, width = kernel.half
    half = np.stack([width * sin + height * cos, width * cos + height * sin], 1) * scales[:, None]
    return Turned(poses, values, mask, half)
