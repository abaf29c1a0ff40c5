"""Pictures and kernels as the pose search reads them: padded planes, a channel each."""

from __future__ import annotations

import math
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchsim.metrics import Kernel, Visibility
from patchsim.registration import native
from patchsim.registration.levels import (
    KernelLevels,
    Levels,
    filled,
    halved,
    limits_for,
    neighbours_mean,
    softness,
)
from patchsim.types import Pixels

# Pixels of the border around a plane, repeated, so that a sampler need not look where it is.
PAD = 8
PIECE = 16  # pixels of a kernel's row that are taken or left out together
# The score of a place that is not looked at: less than any other.
OUTSIDE = -9.0
_UNITS = 255.0
_BLOCK = 8  # pixels of a side of a block of a kernel that is taken or left out


@dataclass(frozen=True)
class Unit:
    """The straight line that brings pixels near 0 to 255, where float32 has digits for all."""

    low: float
    gain: float

    @classmethod
    def of(cls, pixels: Pixels) -> Unit:
        """Return the line that brings the least of the pixels to 0 and the largest to 255."""
        if pixels.dtype == np.uint8:
            return cls(0.0, 1.0)
        low, high = float(pixels.min()), float(pixels.max())
        return cls(low, _UNITS / (high - low) if high > low else 1.0)

    def apply(self, pixels: Pixels) -> NDArray[np.float32]:
        return ((pixels.astype(np.float64) - self.low) * self.gain).astype(np.float32)


@dataclass(frozen=True)
class Plane:
    """A level of a picture.

    Attributes
    ----------
    values : uint8 or float32 array [C, H + 2 PAD, pitch]
    visible : uint8 array [H + 2 PAD, pitch], optional
        From 0 to 255.
    height, width : int
    limits : float32 array [C, 2]
        The ends of the data range in each channel; infinite where there is none.
    """

    values: NDArray[Any]
    visible: NDArray[np.uint8] | None
    height: int
    width: int
    limits: NDArray[np.float32]


def _padded(planes: NDArray[Any]) -> NDArray[Any]:
    """Return planes [C, H, W] with their border repeated, and rows of whole vectors."""
    channels, height, width = planes.shape
    pitch = (width + 2 * PAD + 63) // 64 * 64
    out = np.empty((channels, height + 2 * PAD, pitch), planes.dtype)
    out[:, PAD:-PAD, PAD : PAD + width] = planes
    _repeat_border(out, height, width)
    return out


def halve(planes: NDArray[Any], out: NDArray[Any]) -> None:
    """Write the 2x2 means of planes [C, 2 rows, 2 columns] to out [C, rows, columns]."""
    out[:] = halved(planes.transpose(1, 2, 0)).transpose(2, 0, 1)


def _repeat_border(out: NDArray[Any], height: int, width: int) -> None:
    out[:, PAD : PAD + height, :PAD] = out[:, PAD : PAD + height, PAD : PAD + 1]
    right = out[:, PAD : PAD + height, PAD + width - 1 : PAD + width]
    out[:, PAD : PAD + height, PAD + width :] = right
    out[:, :PAD] = out[:, PAD : PAD + 1]
    out[:, PAD + height :] = out[:, PAD + height - 1 : PAD + height]


class Planes:
    """The levels of a picture; each is made when it is first asked for.

    Parameters
    ----------
    picture : array [H, W, C]
    visible : Visibility, optional
    limits : float64 array [C, 2], optional
        The ends of the data range in each channel.
    """

    def __init__(
        self, picture: Pixels, visible: Visibility | None, limits: NDArray[np.float64] | None = None
    ) -> None:
        picture = filled(picture, visible)
        self.unit = Unit.of(picture)
        values = picture if picture.dtype == np.uint8 else self.unit.apply(picture)
        seen = None
        if visible is not None:
            levels = visible.levels.astype(np.float64) * (255 / visible.full_level)
            seen = _padded(np.rint(levels).astype(np.uint8)[None])
        height, width, _ = picture.shape
        first = _padded(values.transpose(2, 0, 1))
        with np.errstate(over="ignore"):  # of a range that is far wider than the values
            ends = self.unit.apply(limits_for(limits, picture.shape[2]))
        full_size = Plane(first, None if seen is None else seen[0], height, width, ends)
        self._levels = Levels(full_size, _halved)

    def __getitem__(self, level: int) -> Plane:
        return self._levels[level]


def _halved(plane: Plane) -> Plane:
    """Return the level below: 2x2 means; an odd last row or column counts twice."""
    height, width = (plane.height + 1) // 2, (plane.width + 1) // 2
    seen = None if plane.visible is None else plane.visible[None]
    values, visible = (
        None if a is None else _halved_planes(a, plane.height, plane.width)
        for a in (plane.values, seen)
    )
    assert values is not None
    return Plane(values, None if visible is None else visible[0], height, width, plane.limits)


def _halved_planes(planes: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    rows, columns = (height + 1) // 2, (width + 1) // 2
    pitch = (columns + 2 * PAD + 63) // 64 * 64
    out = np.empty((len(planes), rows + 2 * PAD, pitch), planes.dtype)
    extension = native.extension(len(planes))
    if extension is not None and planes.dtype == np.uint8:
        extension.halve(
            planes=planes, out=out, height=height, width=width, variant=native.variant()
        )
        _repeat_border(out, rows, columns)
        return out
    # The border is the last row and column again, so that they count twice where they are odd.
    inside = planes[:, PAD : PAD + 2 * rows, PAD : PAD + 2 * columns]
    halve(inside, out[:, PAD : PAD + rows, PAD : PAD + columns])
    _repeat_border(out, rows, columns)
    return out


class KernelPlane:
    """A level of a kernel.

    Attributes
    ----------
    taps : float32 array [C, h, pitch]
        The pixels; beyond the kernel's width 0.
    weights : float32 array [1 or C, h, pitch]
        From 0 to 1.
    centre : (y, x)
        The kernel's centre, counted from the centre of the top-left pixel.
    half : (height, width)
        Half the kernel's size, in pixels of the level.
    told_apart : dict
        Of spacings of angles and log scales, which share of the spacing leads to every angle
        between; `looked_poses` fills it.
    """

    def __init__(self, levels: KernelLevels, k: int, unit: Unit) -> None:
        self.told_apart: dict[tuple[float, float], float] = {}
        kernel: Kernel = levels[k]
        self._kernel, self._gain = kernel, unit.gain
        self.height, self.width, self.channels = kernel.pixels.shape
        pitch = -(-self.width // PIECE) * PIECE
        self.taps = np.zeros((self.channels, self.height, pitch), np.float32)
        self.taps[:, :, : self.width] = unit.apply(kernel.pixels).transpose(2, 0, 1)
        shades = 1 if kernel.weights is None or kernel.weights.ndim == 2 else self.channels
        self.weights = np.zeros((shades, self.height, pitch), np.float32)
        if kernel.weights is None:
            self.weights[:, :, : self.width] = 1
        else:
            weights = np.atleast_3d(kernel.weights).transpose(2, 0, 1)
            self.weights[:, :, : self.width] = weights / np.float32(weights.max() or 1)
        self.half = levels.size[0] / 2 ** (k + 1), levels.size[1] / 2 ** (k + 1)
        self.centre = self.half[0] - 0.5, self.half[1] - 0.5
        self.is_masked = kernel.weights is not None

    @cached_property
    def smoothing(self) -> NDArray[np.float32]:
        """Each pixel's mean with its neighbours less the pixel, [C, h, pitch] as `taps`."""
        change = np.zeros_like(self.taps)
        apart = neighbours_mean(self._kernel) - self._kernel.pixels
        change[:, :, : self.width] = (apart * self._gain).transpose(2, 0, 1)
        return change

    def softened(self, pixel: float) -> NDArray[np.float32]:
        """Return the taps as they are compared where a pixel has this size in the picture's."""
        share = softness(pixel)
        return self.taps + np.float32(share) * self.smoothing if share else self.taps

    @cached_property
    def counted(self) -> int:
        """How many pixels count."""
        if not self.is_masked:
            return int(self.height * self.width)
        return int(np.count_nonzero((self.weights > 0).any(0)))

    @property
    def contrast(self) -> float:
        """The variance of the values about their channel's mean."""
        if not self.is_masked:
            return float(self.taps[:, :, : self.width].var((1, 2)).mean())
        taps = self.taps.astype(np.float64)
        weights = np.broadcast_to(self.weights, taps.shape)
        count = np.maximum(weights.sum((1, 2), keepdims=True), 1e-9)
        mean = (weights * taps).sum((1, 2), keepdims=True) / count
        return float((weights * (taps - mean) ** 2).sum() / count.sum())

    @property
    def reach(self) -> float:
        """The distance of a corner from the centre, in pixels of the level."""
        return math.hypot(*self.half)

    def sampled(self, most: int) -> KernelPlane:
        """Return the kernel with little more than `most` of its pixels, in blocks from all over it.

        If no more count, it is the kernel itself.
        """
        share, sample = most / max(self.counted, 1), self
        while share < 1:
            sample = copy(self)
            sample.__dict__.pop("counted", None)
            sample.weights = np.zeros_like(self.weights)
            sample.is_masked = True
            # The shorter side first: of a long thin kernel all of it is taken.
            short = _blocks(min(self.height, self.width), share ** (1 / 2))
            of_it = len(short) / min(self.height, self.width)
            long = _blocks(max(self.height, self.width), share / of_it)
            rows, columns = (short, long) if self.height <= self.width else (long, short)
            index = np.ix_(np.arange(len(self.weights)), rows, columns)
            sample.weights[index] = self.weights[index]
            if sample.counted >= most:
                break
            share *= 1.2  # where little of the blocks counts
        return sample if share < 1 else self

    def every(self, most: int) -> int:
        """Return which share of the pieces to take for about `most` pixels: one of so many."""
        return max(1, self.counted // most)


def _blocks(side: int, share: float) -> NDArray[np.intp]:
    """Return which pixels of a side lie in blocks that are so much of it, from end to end."""
    if side <= 2 * _BLOCK:
        return np.arange(side)
    count = max(2, math.ceil(side * share / _BLOCK))
    starts = np.rint(np.linspace(0, side - _BLOCK, count)).astype(np.intp)
    return np.unique(starts[:, None] + np.arange(_BLOCK))


class KernelPlanes:
    """The levels of a kernel in one flip; each is made when it is first asked for."""

    def __init__(self, levels: KernelLevels, unit: Unit) -> None:
        self.levels = levels
        self.unit = unit
        self._planes: dict[int, KernelPlane] = {}
        self._contrasts: dict[int, float] = {}

    @classmethod
    def of_bytes(cls, kernel: Kernel) -> KernelPlanes:
        """Return the levels of an unmirrored kernel as pictures of bytes are compared with."""
        return cls(KernelLevels(kernel), Unit(0.0, 1.0))

    @property
    def deepest(self) -> int:
        return self.levels.deepest

    def size(self, level: int) -> tuple[int, int]:
        """Return the height and width of a level, in pixels."""
        height, width = self.levels.size
        return height >> level, width >> level

    def contrast(self, level: int) -> float:
        """Return the contrast of a level as a share of that of level 0; 1 for flat kernels."""
        for k in (0, level):
            if k not in self._contrasts:
                self._contrasts[k] = self[k].contrast
        full_size = self._contrasts[0]
        return self._contrasts[level] / full_size if full_size > 0 else 1.0

    def __getitem__(self, level: int) -> KernelPlane:
        if level not in self._planes:
            self._planes[level] = KernelPlane(self.levels, level, self.unit)
        return self._planes[level]


@dataclass(frozen=True)
class Turned:
    """A kernel in several poses, each in a box of side x side about its centre, which is a pixel's.

    Attributes
    ----------
    poses : float64 array [P, 2]
        The angle in radians and the log of the scale in pixels of the levels.
    values : float32 array [P, C, side, side]
        0 where nothing counts.
    mask : bool array [P, 1 or C, side, side]
        What counts.
    half : float64 array [P, 2]
        Half the height and width of the upright box about each turned kernel.
    """

    poses: NDArray[np.float64]
    values: NDArray[np.float32]
    mask: NDArray[np.bool_]
    half: NDArray[np.float64]


def in_passes(poses: NDArray[np.float64]) -> NDArray[np.int32]:
    """Return the order [P] of poses [P, 2] in which so many as are neighbours share a pass.

    Kernels turned by half a turn lie over the same pixels, so that a pass over them has less to
    do; scales follow each other.
    """
    halves = np.round(poses[:, 0] % np.pi, 9) % np.pi
    return np.lexsort((halves, poses[:, 1])).astype(np.int32)
