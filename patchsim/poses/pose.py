"""A pose of a kernel: mirrored, scaled and turned, and where it lies in its bounding box."""

from __future__ import annotations

import math
from typing import NamedTuple

FLIPS = ("none", "h", "v")
DECIMALS = 4  # decimals of scales and angles, so that printed poses are exactly the scored ones

Stretch = tuple[float, float]  # scales along a kernel's height and width that differ


class Pose(NamedTuple):
    """A transformation of a kernel: mirrored, then scaled, then turned about its centre.

    Attributes
    ----------
    scale : float
        1 keeps the size. With `stretch`, the geometric mean of the two.
    angle : float
        In degrees, counter-clockwise in the displayed image.
    flip : str
        ``none``, ``h`` (left and right swapped) or ``v`` (top and bottom swapped).
    stretch : (scale_y, scale_x), optional
        The scales along the kernel's own height and width, if they differ.
    """

    scale: float = 1.0
    angle: float = 0.0
    flip: str = "none"
    stretch: Stretch | None = None

    @classmethod
    def stretched(cls, stretch: Stretch) -> Pose:
        """Return the pose, neither turned nor mirrored, of scales along height and width."""
        return cls(math.sqrt(stretch[0] * stretch[1]), stretch=stretch)

    @property
    def scales(self) -> Stretch:
        """The scales along the kernel's height and width."""
        return self.stretch or (self.scale, self.scale)

    @property
    def unturned(self) -> Pose:
        """The pose of the same scale that is neither turned nor mirrored."""
        return Pose(self.scale, stretch=self.stretch)

    def box(self, kernel: tuple[int, int]) -> tuple[int, int]:
        """Return height and width of the bounding box of a kernel of (height, width)."""
        return Frame.of(kernel, self).size

    @property
    def key(self) -> tuple[Stretch, tuple[float, bool]]:
        """A key that is equal for poses that give the same picture."""
        return self.scales, facing(self.angle, self.flip)

    @property
    def deviation(self) -> tuple[bool, float]:
        """How far the pose is from the kernel as it is; of poses that tie the least is reported.

        Whether it is mirrored, then how far its angle in radians and the logarithms of its scales
        are from 0.
        """
        turn = math.radians((self.angle + 180) % 360 - 180)
        apart = math.hypot(turn, *map(math.log, self.scales))
        return self.flip != "none", round(apart, DECIMALS)

    def __str__(self) -> str:
        flip = "" if self.flip == "none" else f", flip {self.flip}"
        down, across = self.scales
        size = f"{across:g}" if self.stretch is None else f"{across:g}x{down:g}"
        return f"scale {size}, angle {self.angle:g}{flip}"


UNCHANGED = Pose()


class Frame(NamedTuple):
    """Where a posed kernel lies in its bounding box.

    Attributes
    ----------
    size : (height, width)
        The box's size, in whole pixels.
    corners : tuple of four (x, y)
        The kernel's top-left, top-right, bottom-right and bottom-left corner, in pixels from the
        box's top-left corner. They may lie up to half a pixel outside the box.
    """

    size: tuple[int, int]
    corners: tuple[tuple[float, float], ...]

    @classmethod
    def of(cls, kernel: tuple[int, int], pose: Pose) -> Frame:
        """Return the frame of a kernel of (height, width) in a pose."""
        scaled_height, scaled_width = (
            length * scale for length, scale in zip(kernel, pose.scales, strict=True)
        )
        cos, sin = direction(pose.angle)
        height = max(1, round(scaled_width * abs(sin) + scaled_height * abs(cos)))
        width = max(1, round(scaled_width * abs(cos) + scaled_height * abs(sin)))
        left, top = -scaled_width / 2, -scaled_height / 2
        corners = [(left, top), (-left, top), (-left, -top), (left, -top)]
        if pose.flip == "h":
            corners = [(-x, y) for x, y in corners]
        elif pose.flip == "v":
            corners = [(x, -y) for x, y in corners]
        # y points down, so the signs of the sines differ from the usual rotation matrix.
        turned = tuple(
            (width / 2 + x * cos + y * sin, height / 2 - x * sin + y * cos) for x, y in corners
        )
        return cls((height, width), turned)


def facing(angle: float, flip: str) -> tuple[float, bool]:
    """Return a key that is equal for turned mirror images that are equal.

    A vertical flip equals a horizontal flip and half a turn.
    """
    turned = angle + 180.0 if flip == "v" else angle
    return round(turned % 360.0, DECIMALS), flip != "none"


def direction(angle: float) -> tuple[float, float]:
    """Return cosine and sine of an angle in degrees; those of quarter turns are exact."""
    quarter, rest = divmod(angle, 90)
    if rest:
        return math.cos(math.radians(angle)), math.sin(math.radians(angle))
    return ((1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0))[int(quarter) % 4]
