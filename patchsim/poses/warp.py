"""How a kernel looks in a pose: mirrored, scaled and turned copies of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from patchsim.metrics import Kernel, divided_by_gcd
from patchsim.poses.pose import Pose, Stretch, direction

_LARGEST_WEIGHT = 255
# A pixel of the image shows some background if its centre lies closer than this to the border of
# the turned kernel, in pixels ...
_BORDER = 0.4
# ... or if the interpolated weights reach less than this share of the kernel's weight there.
_OPAQUE = 0.9

_CACHED_SCALES = 32  # of which the interpolation coefficients are kept

_Floats = NDArray[np.float32]


class PoseRenderer:
    """Renders a kernel in any pose, in the bounding box of the pose.

    Mirror images and quarter turns are exact. A smaller scale uses Pillow's antialiased bicubic
    filter; a larger scale or another angle interpolates by cubic splines. Values stay within the
    range of the kernel's values. Three kinds of pixels get weight 0, because the background shows
    in them: those outside the kernel, those on its border, and those whose interpolated weight is
    clearly less than the kernel's weight there. Colours are interpolated with their pixels'
    weights.

    Parameters
    ----------
    kernel : Kernel
    """

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        pixels, weights = kernel.pixels, kernel.weights
        self._size = kernel.size
        # Without their mean, floats with a large offset keep their digits in float32.
        self._means = pixels.mean(0, dtype=np.float64).mean(0)
        values = (pixels - self._means).astype(np.float32)
        if weights is None:
            self._range = pixels.min(0).min(0), pixels.max(0).max(0)
            planes = values
        else:
            opacity = (weights / np.float32(weights.max())).reshape(*self._size, -1)
            counted = np.where(opacity > 0, pixels, np.nan)
            self._range = np.nanmin(counted, (0, 1)), np.nanmax(counted, (0, 1))
            planes = np.concatenate([values * opacity, opacity, opacity], 2)
        self._planes = np.ascontiguousarray(planes.transpose(2, 0, 1))
        # The planes of colours and the first copy of the opacity are interpolated smoothly. The
        # second copy takes the nearest pixel: it is the kernel's opacity at that place.
        nearest_planes = 0 if weights is None else opacity.shape[2]
        self._smooth_planes = len(self._planes) - nearest_planes
        # Caches of methods would keep this object until a collection.
        self._scaled = scaled = lru_cache(_CACHED_SCALES)(
            partial(_scaled_planes, self._planes, self._size, self._smooth_planes)
        )
        self._splines = lru_cache(_CACHED_SCALES)(
            partial(_spline_coefficients, scaled, self._smooth_planes)
        )

    def __call__(self, pose: Pose) -> Kernel | None:
        """Return the kernel in a pose; None if every weight would be 0."""
        pixels, weights = self.kernel.pixels, self.kernel.weights
        turns, rest = divmod(pose.angle, 90)
        if rest:
            return self._to_kernel(*self._turned(pose))
        if pose.scales != (1.0, 1.0):
            planes = self._scaled(pose.flip, pose.scales)
            return self._to_kernel(np.rot90(planes, int(turns), (1, 2)), None)
        pixels = np.rot90(_flipped(pixels, pose.flip, 0), int(turns))
        if weights is not None:
            weights = np.ascontiguousarray(np.rot90(_flipped(weights, pose.flip, 0), int(turns)))
        return Kernel(np.ascontiguousarray(pixels), weights)

    def _turned(self, pose: Pose) -> tuple[_Floats, NDArray[np.bool_]]:
        """Return the planes of a turned pose, and which pixels of its box lie inside the kernel."""
        from scipy import ndimage

        # A smaller scale is filtered before the turn, which interpolates without a filter. Two
        # scales that differ belong to the kernel's own sides, and come before the turn, too.
        scales_before = pose.stretch or (min(pose.scale, 1.0),) * 2
        before, scale = scales_before[0], pose.scales[0]
        splines = self._splines(pose.flip, scales_before)
        size = pose.box(self._size)
        cos, sin = (factor * before / scale for factor in direction(pose.angle))
        # Maps (y, x) in the box to (y, x) in the planes.
        inverse = np.array([[cos, sin], [-sin, cos]])
        centre = [(length - 1) / 2 for length in splines.shape[1:]]
        offset = centre - inverse @ ((np.array(size) - 1) / 2)
        planes = np.stack(
            [
                ndimage.affine_transform(
                    plane,
                    inverse,
                    offset,
                    size,
                    order=3 if i < self._smooth_planes else 0,
                    prefilter=False,
                )
                for i, plane in enumerate(splines)
            ]
        )
        inside = np.ones(size, bool)
        rows, cols = np.arange(size[0])[:, None], np.arange(size[1])
        for axis in (0, 1):
            # The distance from the kernel's centre along its own axis, in pixels of the box.
            along_row = inverse[axis, 1] * cols + offset[axis] - centre[axis]
            position = inverse[axis, 0] * rows + along_row
            position *= scale / before
            half = self._size[axis] * pose.scales[axis] / 2
            inside &= np.abs(position) <= half - min(_BORDER, half / 4)
        return planes, inside

    def _to_kernel(self, planes: _Floats, inside: NDArray[np.bool_] | None) -> Kernel | None:
        """Return the kernel that transformed planes stand for; None if every weight is 0."""
        values = planes[: len(self._means)].transpose(1, 2, 0)
        weights = None if inside is None else inside.astype(np.uint8)
        if self.kernel.weights is not None:
            values, weights = self._divided_by_opacity(planes, inside)
        if weights is not None and not weights.any():
            return None
        if weights is not None and weights.min() == weights.max():
            weights = None
        pixels = np.clip(values + self._means, *self._range)
        dtype = self.kernel.pixels.dtype
        if dtype.kind == "u":
            pixels = np.rint(pixels)
        if weights is not None:
            weights = np.ascontiguousarray(weights)
        return Kernel(np.ascontiguousarray(pixels, dtype), weights)

    def _divided_by_opacity(
        self, planes: _Floats, inside: NDArray[np.bool_] | None
    ) -> tuple[_Floats, NDArray[np.uint8]]:
        """Return values [h, w, C] and weights of planes that are multiplied by their opacity."""
        channels = len(self._means)
        values = planes[:channels].transpose(1, 2, 0)
        opacity, nearest = np.split(planes[channels:].transpose(1, 2, 0), 2, axis=2)
        opacity = np.where(opacity < _OPAQUE * nearest, 0, opacity)
        if inside is not None:
            opacity = opacity * inside[..., None]
        weights = np.rint(np.clip(opacity, 0, 1) * _LARGEST_WEIGHT).astype(np.uint8)
        counted = np.broadcast_to(weights > 0, values.shape)
        values = np.divide(values, opacity, out=np.zeros_like(values), where=counted)
        per_channel = self.kernel.weights is not None and self.kernel.weights.ndim == 3
        return values, divided_by_gcd(weights if per_channel else weights[..., 0])


def _flipped(array: NDArray[Any], flip: str, row_axis: int) -> NDArray[Any]:
    """Return the array mirrored; its rows lie along `row_axis`, its columns along the next."""
    return array if flip == "none" else np.flip(array, row_axis + (flip == "h"))


def _scaled_planes(
    planes: _Floats, kernel: tuple[int, int], smooth_planes: int, flip: str, scales: Stretch
) -> _Floats:
    """Return the planes scaled about their centre; the border's values go on beyond it."""
    planes = _flipped(planes, flip, 1)
    if scales == (1.0, 1.0):
        return planes
    sides = list(zip(kernel, scales, strict=True))
    size = [max(1, round(length * scale)) for length, scale in sides]
    # The size is rounded, so the new pixels may cover up to half a new pixel more than the
    # kernel on each side.
    excess = [(n / scale - length) / 2 for n, (length, scale) in zip(size, sides, strict=True)]
    margin = [max(0, math.ceil(length)) for length in excess]
    if any(margin):
        padding = ((0, 0), (margin[0], margin[0]), (margin[1], margin[1]))
        planes = np.pad(planes, padding, "edge")
    box = (
        margin[1] - excess[1],
        margin[0] - excess[0],
        margin[1] + kernel[1] + excess[1],
        margin[0] + kernel[0] + excess[0],
    )
    bicubic, nearest = Image.Resampling.BICUBIC, Image.Resampling.NEAREST
    scaled = [
        Image.fromarray(plane).resize(
            (size[1], size[0]), bicubic if i < smooth_planes else nearest, box=box
        )
        for i, plane in enumerate(planes)
    ]
    return np.stack([np.asarray(plane) for plane in scaled])


def _spline_coefficients(
    scaled: Callable[[str, Stretch], _Floats], smooth_planes: int, flip: str, scales: Stretch
) -> _Floats:
    """Return cubic spline coefficients of the scaled planes, `TAIL` more at each border."""
    from scipy import ndimage

    from patchsim.numerics.bspline import TAIL  # for poses alone

    margin = (TAIL, TAIL)
    planes = np.pad(scaled(flip, scales), ((0, 0), margin, margin), "edge")
    for i in range(smooth_planes):
        planes[i] = ndimage.spline_filter(planes[i], 3, np.float32, "mirror")
    return planes
