"""Labels of boxes in an overlay: what they say, and where they hide nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import PurePath

import numpy as np
from numpy.typing import NDArray

from patchsim import choices
from patchsim.errors import InputError, printable
from patchsim.geometry.polygons import Corners
from patchsim.output.report_parts import Match

DEFAULT = ("number",)
_LONGEST_NAME = 24  # characters of a kernel's name
_GRID = 1000  # cells of the longer side in which it is noted what is drawn where

Box = tuple[int, int, int, int]  # left, top, right, bottom; the last two are not in it


def check(labels: str | Sequence[str] | None) -> tuple[str, ...]:
    """Return the words that say what labels have; none for boxes without labels.

    Raises
    ------
    InputError
        If a word is unknown, or ``none`` stands beside others.
    """
    if labels is None:
        return DEFAULT
    words = labels.split(",") if isinstance(labels, str) else labels
    checked = tuple(choices.check("labels", word, choices.LABELS) for word in words)
    if "none" not in checked:
        return checked
    if len(checked) > 1:
        raise InputError("labels 'none' stands beside others; give none alone, or leave it out")
    return ()


def text(number: int, match: Match, words: Sequence[str]) -> str:
    """Return what a label says, and behind it what criteria that are stricter than a score say."""
    said = {
        "number": str(number),
        "score": f"{_floored(match.score)}",
        "kernel": _shortened(printable(PurePath(match.kernel).name)),
    }
    texts = []
    if match.worst is not None:
        texts.append(f"worst {_floored(match.worst)}")
    if match.differing is not None:
        texts.append(f"{match.differing} differ, max {match.max_difference:.4g}")
    return " ".join([*(said[word] for word in words), ", ".join(texts)]).rstrip()


def _floored(score: float) -> str:
    """Write a score so that only an identical window has 1.000."""
    return f"{math.floor(score * 1000) / 1000:.3f}"


def _shortened(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 3]}..."


class Places:
    """Finds free places for labels, those of the best matches first.

    Parameters
    ----------
    size : (width, height)
        The picture.
    frames : sequence of Box
        The boxes of matches with their lines; labels stay off those of other matches where they
        can.
    line : int
        The thickness of these lines.
    """

    def __init__(self, size: tuple[int, int], frames: Sequence[Box], line: int) -> None:
        self._size = size
        self._cell = max(1, max(size) // _GRID)
        shape = (size[1] // self._cell + 2, size[0] // self._cell + 2)
        self._lines: NDArray[np.bool_] = np.zeros(shape, bool)
        self._labels: NDArray[np.bool_] = np.zeros(shape, bool)
        self._boxes: NDArray[np.int32] = np.zeros(shape, np.int32)  # how many cover a cell
        for frame in frames:
            self._boxes[self._cells(frame)] += 1
            left, top, right, bottom = frame
            for side in (
                (left, top, right, top + line),
                (left, bottom - line, right, bottom),
                (left, top, left + line, bottom),
                (right - line, top, right, bottom),
            ):
                self._lines[self._cells(side)] = True

    def place(
        self, frame: Box, corners: Corners | None, width: int, height: int
    ) -> tuple[int, int] | None:
        """Take the best place of a label; None if each would hide other labels.

        Parameters
        ----------
        frame : Box
            The box of the match, one of the frames.
        corners : sequence of (x, y), optional
            Those of a match that is turned, beside which the label stands.
        width, height : int
            The size of the label in pixels.

        Returns
        -------
        (x, y)
            The top-left pixel.
        """
        best: tuple[float, Box] | None = None
        self._boxes[self._cells(frame)] -= 1  # a label may stand in its own box
        for x, y in self._candidates(frame, corners, width, height):
            box = x, y, x + width, y + height
            cells = self._cells(box)
            if self._labels[cells].any():
                continue
            others = self._boxes[cells] > 0
            hidden = float(others.mean() + (self._lines[cells] & others).mean())
            if best is None or hidden < best[0]:
                best = hidden, box
            if not hidden:
                break
        self._boxes[self._cells(frame)] += 1
        if best is None:
            return None
        self._labels[self._cells(best[1])] = True
        return best[1][:2]

    def _candidates(
        self, frame: Box, corners: Corners | None, width: int, height: int
    ) -> Iterator[tuple[int, int]]:
        """List places that lie in the picture: above, below, beside and last in the box."""
        left, top, right, bottom = frame
        if corners is None:
            places = [
                (left, top - height), (left, bottom), (right - width, top - height),
                (right - width, bottom), (right, top), (left - width, top),
                (right, bottom - height), (left - width, bottom - height), (left, top),
                (right - width, top), (left, bottom - height), (right - width, bottom - height),
            ]  # fmt: skip
        else:
            highest, leftmost = (min(corners, key=lambda one: one[i]) for i in (1, 0))
            lowest, rightmost = (max(corners, key=lambda one: one[i]) for i in (1, 0))
            middle = (left + right - width) // 2, (top + bottom - height) // 2
            places = [
                (round(highest[0]) - width // 2, top - height),
                (round(lowest[0]) - width // 2, bottom),
                (right, round(rightmost[1]) - height // 2),
                (left - width, round(leftmost[1]) - height // 2),
                middle,
            ]
        for x, y in places:
            # Above and below a label may move along the border; it moves into no other place.
            inside = min(max(0, x), max(0, self._size[0] - width))
            if 0 <= y <= self._size[1] - height and (inside == x or y in (top - height, bottom)):
                yield inside, y
        if self._size[1] < height or self._size[0] < width:
            yield 0, 0

    def _cells(self, box: Box) -> tuple[slice, slice]:
        left, top, right, bottom = (max(0, value) for value in box)
        cell = self._cell
        return (
            slice(top // cell, max(top // cell + 1, -(-bottom // cell))),
            slice(left // cell, max(left // cell + 1, -(-right // cell))),
        )
