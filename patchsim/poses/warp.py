"""The poses of a kernel: mirrored, scaled and turned copies of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from patchsim.metrics import Kernel, divided_by_gcd
from patchsim.numerics.bspline import TAIL

FLIPS = ("none", "h", "v")
DECIMALS = 4  # of scales and angles: what is printed is what was scored

_SHADES = 255
# Pixels whose centre lies so near the border show what is behind the kernel, too; and those that
# are less opaque than the kernel's own there.
_BORDER = 0.4
_OPAQUE = 0.9

_Floats = NDArray[np.float32]


@dataclass(frozen=True, order=True, slots=True)
class Pose:
    """How a kernel is shown: mirrored, then scaled, then turned, about its middle.

    Attributes
    ----------
    scale : float
        1 is as it is.
    angle : float
        Degrees, counter-clockwise as seen.
    flip : str
        ``none``; ``h``, left and right change sides; ``v``, top and bottom do.
    """

    scale: float = 1.0
    angle: float = 0.0
    flip: str = "none"

    def box(self, kernel: tuple[int, int]) -> tuple[int, int]:
        """Height and width of the upright box around a kernel of (height, width)."""
        return Frame.of(kernel, self).size

    @property
    def key(self) -> tuple[float, float, bool]:
        """The same for the same picture: upside down is left to right half a turn on."""
        angle = self.angle + 180.0 if self.flip == "v" else self.angle
        return self.scale, round(angle % 360.0, DECIMALS), self.flip != "none"

    def __str__(self) -> str:
        flip = "" if self.flip == "none" else f", flip {self.flip}"
        return f"scale {self.scale:g}, angle {self.angle:g}{flip}"


UNCHANGED = Pose()


@dataclass(frozen=True)
class Frame:
    """Where a posed kernel lies in the upright box around it.

    Attributes
    ----------
    size : (height, width)
        Of the box, in whole pixels.
    corners : tuple of four (x, y)
        From the box's top-left corner: the kernel's own top-left, top-right, bottom-right and
        bottom-left corner. They may lie up to half a pixel outside the box.
    """

    size: tuple[int, int]
    corners: tuple[tuple[float, float], ...]

    @classmethod
    def of(cls, kernel: tuple[int, int], pose: Pose) -> Frame:
        """Of a kernel of (height, width)."""
        tall, wide = kernel[0] * pose.scale, kernel[1] * pose.scale
        cos, sin = _direction(pose.angle)
        height = max(1, round(wide * abs(sin) + tall * abs(cos)))
        width = max(1, round(wide * abs(cos) + tall * abs(sin)))
        left, top = -wide / 2, -tall / 2
        corners = [(left, top), (-left, top), (-left, -top), (left, -top)]
        if pose.flip == "h":
            corners = [(-x, y) for x, y in corners]
        elif pose.flip == "v":
            corners = [(x, -y) for x, y in corners]
        # Counter-clockwise as seen, with y down.
        turned = tuple(
            (width / 2 + x * cos + y * sin, height / 2 - x * sin + y * cos) for x, y in corners
        )
        return cls((height, width), turned)


def _direction(angle: float) -> tuple[float, float]:
    """Cosine and sine, of quarter turns exactly."""
    quarter, rest = divmod(angle, 90)
    if rest:
        return math.cos(math.radians(angle)), math.sin(math.radians(angle))
    return ((1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0))[int(quarter) % 4]


class PoseRenderer:
    """A kernel's poses, each in the upright box around it.

    Half and quarter turns and mirror images are exact. Smaller ones are averaged over the pixels
    that become one (Pillow's antialiased bicubic filter), larger and turned ones are interpolated
    by cubic splines; no value leaves the range of the kernel's own. Pixels of the box outside the
    kernel, or on its border, get weight 0, as do those that would be less opaque than the kernel
    there: what is behind it shows through them. Colours count as much as their pixels' weights do.

    Parameters
    ----------
    kernel : Kernel
    kept : int
        Of so many scales what is interpolated is kept.
    """

    def __init__(self, kernel: Kernel, kept: int = 32) -> None:
        self.kernel = kernel
        pixels, weights = kernel.pixels, kernel.weights
        self._size = pixels.shape[:2]
        # Less their mean, floats of any offset keep their digits in 32 bits.
        self._means = pixels.mean((0, 1), dtype=np.float64)
        values = (pixels - self._means).astype(np.float32)
        if weights is None:
            self._range = pixels.min((0, 1)), pixels.max((0, 1))
            planes = values
        else:
            cover = (weights / np.float32(weights.max())).reshape(*self._size, -1)
            opaque = np.where(cover > 0, pixels, np.nan)
            self._range = np.nanmin(opaque, (0, 1)), np.nanmax(opaque, (0, 1))
            planes = np.concatenate([values * cover, cover, cover], 2)
        self._planes = np.ascontiguousarray(planes.transpose(2, 0, 1))
        # The planes of colours and of how much they count are interpolated; the last are not: how
        # much the nearest pixel of the kernel counts.
        own = 0 if weights is None else cover.shape[2]
        self._smooth = len(self._planes) - own
        self._scaled = lru_cache(kept)(self._scaled_to)
        self._splines = lru_cache(kept)(self._splines_of)

    def __call__(self, pose: Pose) -> Kernel | None:
        """The kernel in a pose; None if no pixel of it is left."""
        pixels, weights = self.kernel.pixels, self.kernel.weights
        turns, rest = divmod(pose.angle, 90)
        if rest:
            return self._restored(*self._turned(pose))
        if pose.scale != 1:
            planes = self._scaled(pose.flip, pose.scale)
            return self._restored(np.rot90(planes, int(turns), (1, 2)), None)
        pixels = np.rot90(_flipped(pixels, pose.flip, 0), int(turns))
        if weights is not None:
            weights = np.ascontiguousarray(np.rot90(_flipped(weights, pose.flip, 0), int(turns)))
        return Kernel(np.ascontiguousarray(pixels), weights)

    def _scaled_to(self, flip: str, scale: float) -> _Floats:
        """The planes at another scale, about their middle; beyond the border its nearest values."""
        planes = _flipped(self._planes, flip, 1)
        if scale == 1:
            return planes
        size = [max(1, round(length * scale)) for length in self._size]
        # What the new pixels cover may be up to half of one more than there is.
        reach = [(n / scale - own) / 2 for n, own in zip(size, self._size, strict=True)]
        margin = [max(0, math.ceil(length)) for length in reach]
        if any(margin):
            around = ((0, 0), (margin[0], margin[0]), (margin[1], margin[1]))
            planes = np.pad(planes, around, "edge")
        box = (
            margin[1] - reach[1],
            margin[0] - reach[0],
            margin[1] + self._size[1] + reach[1],
            margin[0] + self._size[0] + reach[0],
        )
        bicubic, nearest = Image.Resampling.BICUBIC, Image.Resampling.NEAREST
        scaled = [
            Image.fromarray(plane).resize(
                (size[1], size[0]), bicubic if i < self._smooth else nearest, box=box
            )
            for i, plane in enumerate(planes)
        ]
        return np.stack([np.asarray(plane) for plane in scaled])

    def _splines_of(self, flip: str, scale: float) -> _Floats:
        """Coefficients of cubic splines through the planes, with `TAIL` more at each border."""
        from scipy import ndimage

        margin = (TAIL, TAIL)
        planes = np.pad(self._scaled(flip, scale), ((0, 0), margin, margin), "edge")
        for i in range(self._smooth):
            planes[i] = ndimage.spline_filter(planes[i], 3, np.float32, "mirror")
        return planes

    def _turned(self, pose: Pose) -> tuple[_Floats, NDArray[np.bool_]]:
        """The planes of a pose, and which pixels of its box they cover."""
        from scipy import ndimage

        # What becomes smaller is averaged before it is turned.
        first = min(pose.scale, 1.0)
        splines = self._splines(pose.flip, first)
        size = pose.box(self._size)
        cos, sin = (part * first / pose.scale for part in _direction(pose.angle))
        back = np.array([[cos, sin], [-sin, cos]])  # from (y, x) of the box to those of the planes
        middle = [(length - 1) / 2 for length in splines.shape[1:]]
        offset = middle - back @ ((np.array(size) - 1) / 2)
        planes = np.stack(
            [
                ndimage.affine_transform(
                    plane, back, offset, size, order=3 if i < self._smooth else 0, prefilter=False
                )
                for i, plane in enumerate(splines)
            ]
        )
        inside = np.ones(size, bool)
        rows, cols = np.arange(size[0])[:, None], np.arange(size[1])
        for axis in (0, 1):
            place = back[axis, 0] * rows + (back[axis, 1] * cols + offset[axis] - middle[axis])
            half = self._size[axis] * pose.scale / 2
            place *= pose.scale / first
            inside &= np.abs(place) <= half - min(_BORDER, half / 4)
        return planes, inside

    def _restored(self, planes: _Floats, inside: NDArray[np.bool_] | None) -> Kernel | None:
        """The kernel that its planes show."""
        weights, channels = self.kernel.weights, self.kernel.pixels.shape[2]
        values = planes[:channels].transpose(1, 2, 0)
        shades = None if inside is None else inside.astype(np.uint8)
        if weights is not None:
            cover, own = np.split(planes[channels:].transpose(1, 2, 0), 2, axis=2)
            cover = np.where(cover < _OPAQUE * own, 0, cover)
            if inside is not None:
                cover = cover * inside[..., None]
            shades = np.rint(np.clip(cover, 0, 1) * _SHADES).astype(np.uint8)
            counted = np.broadcast_to(shades > 0, values.shape)
            values = np.divide(values, cover, out=np.zeros_like(values), where=counted)
            shades = divided_by_gcd(shades[..., 0] if weights.ndim == 2 else shades)
        if shades is not None and not shades.any():
            return None
        if shades is not None and shades.min() == shades.max():
            shades = None
        restored = np.clip(values + self._means, *self._range)
        dtype = self.kernel.pixels.dtype
        if dtype.kind == "u":
            restored = np.rint(restored)
        if shades is not None:
            shades = np.ascontiguousarray(shades)
        return Kernel(np.ascontiguousarray(restored, dtype), shades)


def _flipped(array: NDArray[Any], flip: str, first: int) -> NDArray[Any]:
    """Mirrored in the axes `first` (top and bottom) or the next (left and right)."""
    return array if flip == "none" else np.flip(array, first + (flip == "h"))
