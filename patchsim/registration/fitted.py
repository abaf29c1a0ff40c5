"""A kernel's place and pose in a picture, between the pixels."""

from __future__ import annotations

from dataclasses import dataclass

from patchsim.poses.pose import Pose, direction

Corner = tuple[float, float]


def corners(kernel: tuple[float, float], x: float, y: float, pose: Pose) -> tuple[Corner, ...]:
    """Return the corners of a kernel of (height, width) whose centre lies at (x, y).

    Returns
    -------
    tuple of four (x, y)
        The top-left, top-right, bottom-right and bottom-left corner of the kernel before its pose,
        in pixels from the picture's top-left corner.
    """
    cos, sin = direction(pose.angle)
    down, right = (side * scale / 2 for side, scale in zip(kernel, pose.scales, strict=True))
    right, down = (-right if pose.flip == "h" else right), (-down if pose.flip == "v" else down)
    # y points down, so the signs of the sines differ from the usual rotation matrix.
    u_x, u_y, v_x, v_y = right * cos, right * sin, down * sin, down * cos
    return (
        (x - u_x - v_x, y + u_y - v_y),
        (x + u_x - v_x, y - u_y - v_y),
        (x + u_x + v_x, y - u_y + v_y),
        (x - u_x + v_x, y + u_y + v_y),
    )


@dataclass(frozen=True, slots=True)
class Fitted:
    """A kernel's place and pose in a picture, and its score there.

    Attributes
    ----------
    x, y : float
        The kernel's centre in pixels. The picture's top-left corner is (0, 0), so that the pixel in
        row 0 and column 0 has its centre at (0.5, 0.5).
    pose : Pose
        Scale, angle in degrees counter-clockwise as displayed, and flip; not rounded.
    score : float
        As `registration.score` defines it.
    size : (height, width)
        The kernel's size before its pose, in pixels.
    """

    x: float
    y: float
    pose: Pose
    score: float
    size: tuple[int, int]

    @property
    def corners(self) -> tuple[Corner, ...]:
        """The kernel's corners, as `corners` orders them."""
        return corners(self.size, self.x, self.y, self.pose)
