"""How much two convex polygons overlap, as the frames of turned kernels are."""

from __future__ import annotations

from collections.abc import Sequence

Corners = Sequence[tuple[float, float]]  # (x, y) of a convex polygon, in order around it


def area(corners: Corners) -> float:
    """Return the area of a polygon, by the shoelace formula.

    Parameters
    ----------
    corners : sequence of (x, y)
        In order around the polygon, in either direction; fewer than three enclose nothing.
    """
    return abs(_signed_area(corners))


def intersection_area(first: Corners, second: Corners) -> float:
    """Return the area that two convex polygons share.

    The first is clipped at each side of the second in turn (I. E. Sutherland and G. W. Hodgman,
    "Reentrant Polygon Clipping", Comm. ACM 17, 1974). What is left is convex, and its area is in
    closed form.

    Parameters
    ----------
    first, second : sequence of (x, y)
        The corners of each polygon in order around it, in either direction.
    """
    left = list(first)
    if len(left) < 3:
        return 0.0
    sides = list(second) if _signed_area(second) > 0 else list(reversed(second))
    for i, end in enumerate(sides):
        left = _clipped(left, sides[i - 1], end)
        if len(left) < 3:
            return 0.0
    return area(left)


def bounds(corners: Corners) -> tuple[float, float, float, float]:
    """Return the upright box around a polygon: its left, top, right and bottom edge."""
    xs, ys = [x for x, _ in corners], [y for _, y in corners]
    return min(xs), min(ys), max(xs), max(ys)


def _signed_area(corners: Corners) -> float:
    """Return the area, negative where the corners go counter-clockwise as displayed (y down)."""
    total = 0.0
    # Differences from one corner keep the digits of small polygons far from the origin.
    left, top = corners[0] if corners else (0.0, 0.0)
    for i, (x, y) in enumerate(corners):
        before_x, before_y = corners[i - 1]
        total += (before_x - left) * (y - top) - (x - left) * (before_y - top)
    return total / 2


def _clipped(
    corners: list[tuple[float, float]], start: tuple[float, float], end: tuple[float, float]
) -> list[tuple[float, float]]:
    """Return the part of a convex polygon on the inner side of the line from start to end."""
    along_x, along_y = end[0] - start[0], end[1] - start[1]
    kept: list[tuple[float, float]] = []
    before_x, before_y = corners[-1]
    # Positive inside, because the sides go clockwise as displayed.
    depth_before = along_x * (before_y - start[1]) - along_y * (before_x - start[0])
    for x, y in corners:
        depth = along_x * (y - start[1]) - along_y * (x - start[0])
        if (depth > 0) != (depth_before > 0):
            share = depth_before / (depth_before - depth)
            kept.append((before_x + share * (x - before_x), before_y + share * (y - before_y)))
        if depth > 0:
            kept.append((x, y))
        before_x, before_y, depth_before = x, y, depth
    return kept
