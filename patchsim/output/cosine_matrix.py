"""A matrix of cosines as a picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from patchsim.output import mark, palette

COLOR_MAP = "colorbrewer:RdBu_r"
_LONGER_SIDE = 1200  # pixels of the matrix, about, if it has fewer entries
_LARGEST_CELL = 40  # pixels of an entry's side
_SMALLEST_CELL_WITH_LINES = 3
_FONT = 13  # pixels
_BAR = 14  # pixels of the height of the scale
_SCALE = 208  # pixels of its width
_GAP = 6
_CLOSEST_TICKS = 34  # pixels between numbers at an axis


class Axes(NamedTuple):
    """The texts beside a matrix.

    Attributes
    ----------
    unit, title : str
        What numbers count; what the matrix shows.
    first : int
        The number of the first group of each axis.
    group : int
        Entries in a group, which a number names; 1 numbers the entries.
    repeat : int
        Groups after which numbers begin anew, as those of a second view.
    """

    unit: str
    title: str
    first: int
    group: int
    repeat: int


def draw(
    cosines: NDArray[np.floating[Any]],
    matched: NDArray[np.bool_],
    groups: Sequence[int],
    axes: Axes,
    file: BinaryIO,
) -> None:
    """Draw a matrix of cosines as a PNG, with a frame around each matched pair.

    Colours run from -1 (blue) over 0 (white) to 1 (red), as the scale below the matrix shows. Where
    the matrix lies in the picture stands in the PNG's text `matrix`: x,y,width,height.

    Parameters
    ----------
    cosines : array [n, m]
    matched : bool array [n, m]
    groups : sequence of one or two int
        Sizes of groups in rows and columns: the slots of an image, the slots of a view. Thin lines
        separate groups of the first size, thick lines those of the second.
    axes : Axes
    file : binary file
    """
    matrix = _matrix(cosines, matched, groups)
    font = ImageFont.load_default(size=_FONT)
    cell = matrix.width // cosines.shape[1]
    left, top = 5 * _FONT, 3 * _FONT + _GAP
    words = max(round(font.getlength(axes.title)), _SCALE)
    width = left + max(matrix.width, words) + 2 * _FONT
    picture = Image.new("RGB", (width, top + matrix.height + _BAR + 3 * _FONT + 3 * _GAP), "white")
    picture.paste(matrix, (left, top))
    canvas = ImageDraw.Draw(picture)
    canvas.text((left, _GAP), axes.title, font=font, fill="black")
    canvas.text((_GAP, top - _FONT - _GAP), axes.unit, font=font, fill="black")
    for at, number in _ticks(matrix.width, cell, axes):
        canvas.line((left + at, top - 4, left + at, top - 1), fill="black")
        canvas.text((left + at, top - 5), number, font=font, fill="black", anchor="mb")
    for at, number in _ticks(matrix.height, cell, axes):
        canvas.line((left - 4, top + at, left - 1, top + at), fill="black")
        canvas.text((left - 6, top + at), number, font=font, fill="black", anchor="rm")
    _draw_scale(canvas, picture, (left, top + matrix.height + 2 * _GAP), font)
    text = PngInfo()
    text.add_text("Software", mark.SOFTWARE)
    text.add_text("colormap", f"{COLOR_MAP}, cosines -1 to 1")
    text.add_text("matrix", f"{left},{top},{matrix.width},{matrix.height}")
    picture.save(file, "PNG", pnginfo=text)


def _matrix(
    cosines: NDArray[np.floating[Any]], matched: NDArray[np.bool_], groups: Sequence[int]
) -> Image.Image:
    """Draw the entries, their groups and the matched pairs."""
    rows, cols = cosines.shape
    cell = min(_LARGEST_CELL, max(1, _LONGER_SIDE // max(rows, cols)))
    index = np.rint((np.clip(cosines, -1, 1) + 1) * 127.5).astype(np.uint8)
    picture = Image.fromarray(_colors()[index].repeat(cell, axis=0).repeat(cell, axis=1))
    canvas = ImageDraw.Draw(picture)
    if cell >= _SMALLEST_CELL_WITH_LINES:
        for width, group in zip((1, 4), groups, strict=False):
            for line in range(group * cell, max(rows, cols) * cell, group * cell):
                canvas.line((0, line, cols * cell, line), fill="gray", width=width)
                canvas.line((line, 0, line, rows * cell), fill="gray", width=width)
    for row, col in np.argwhere(matched).tolist():
        corner = (col * cell, row * cell, (col + 1) * cell - 1, (row + 1) * cell - 1)
        canvas.rectangle(corner, outline="black", width=max(1, cell // 8))
    return picture


def _colors() -> NDArray[np.uint8]:
    return np.frombuffer(palette.colors(COLOR_MAP), np.uint8).reshape(256, 3)


def _ticks(length: int, cell: int, axes: Axes) -> Iterator[tuple[int, str]]:
    """Yield the middles of groups along an axis with their numbers, as many as have room."""
    size = axes.group * cell
    every = -(-_CLOSEST_TICKS // size) if axes.group > 1 or size < _FONT else 1
    for group in range(length // size):
        number = group % axes.repeat
        if number % every == 0:
            yield round((group + 0.5) * size), str(axes.first + number)


def _draw_scale(
    canvas: ImageDraw.ImageDraw, picture: Image.Image, corner: tuple[int, int], font: Any
) -> None:
    """Draw the colours from -1 to 1 with five numbers below."""
    left, top = corner
    index = np.rint(np.linspace(0, 255, _SCALE)).astype(np.uint8)
    picture.paste(Image.fromarray(_colors()[np.tile(index, (_BAR, 1))]), corner)
    canvas.rectangle((left, top, left + _SCALE - 1, top + _BAR - 1), outline="black")
    for value in (-1, -0.5, 0, 0.5, 1):
        at = left + round((value + 1) / 2 * (_SCALE - 1))
        canvas.line((at, top + _BAR, at, top + _BAR + 3), fill="black")
        canvas.text((at, top + _BAR + 4), f"{value:g}", font=font, fill="black", anchor="mt")
    words = "cosine; framed pairs are matched"
    canvas.text((left, top + _BAR + 5 + _FONT), words, font=font, fill="black")
