"""The order in which people read boxes: line by line from the top, each from the left."""

from __future__ import annotations

from collections.abc import Sequence


def reading_order(boxes: Sequence[tuple[int, int, int, int]]) -> list[int]:
    """Return the numbers of boxes (x, y, width, height) in the order in which they are read.

    A line begins with the topmost box that is left; boxes that share half of their height with it,
    or half of its height, are on its line. Boxes at one place keep their order.
    """
    order: list[int] = []
    left = sorted(range(len(boxes)), key=lambda number: (boxes[number][1], boxes[number][0]))
    while left:
        _, top, _, height = boxes[left[0]]
        line = [number for number in left if _is_half_shared(boxes[number], top, height)]
        order += sorted(line, key=lambda number: (boxes[number][0], boxes[number][1]))
        kept = set(line)
        left = [number for number in left if number not in kept]
    return order


def _is_half_shared(box: tuple[int, int, int, int], top: int, height: int) -> bool:
    """Return whether a box overlaps the rows of another by half of the lower one's height."""
    _, y, _, box_height = box
    shared = min(top + height, y + box_height) - max(top, y)
    return 2 * shared >= min(height, box_height)
