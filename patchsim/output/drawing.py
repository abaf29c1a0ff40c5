"""Pictures of the result: heatmap, overlay, matrix of matched slots."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from patchsim.types import Pixels

if TYPE_CHECKING:
    from patchsim.output.report import Match

COLOR_MAP = "inferno"
MATRIX_COLOR_MAP = "colorbrewer:RdBu_r"
_ROWS = 256  # of a picture converted at a time, so that temporaries stay small

# Pixels of a matrix's longer side, at most and about; of a cell; and from where lines leave room.
_MATRIX_SIDE = 1200
_CELL_MOST = 40
_CELL_FOR_LINES = 3


def heatmap(scores: NDArray[np.float32], file: BinaryIO) -> tuple[float, float]:
    """Draw a map as a PNG of its size, dark at the lowest and bright at the highest score.

    The range is written into the PNG's text as `score_min` and `score_max`. A map of one value
    is drawn bright.

    Parameters
    ----------
    scores : float32 [rows, cols]
    file : binary file

    Returns
    -------
    (lowest, highest)
    """
    low, high = float(scores.min()), float(scores.max())
    scale = 255.0 / (high - low) if high > low else 0.0
    index = np.full(scores.shape, 255, dtype=np.uint8)
    if scale:
        for top in range(0, len(scores), _ROWS):
            part = scores[top : top + _ROWS]
            index[top : top + _ROWS] = np.rint((part - np.float32(low)) * np.float32(scale))
    picture = Image.fromarray(index)
    picture.putpalette(_palette(COLOR_MAP))
    text = PngInfo()
    text.add_text("Software", "patchsim")
    text.add_text("colormap", COLOR_MAP)
    text.add_text("score_min", repr(low))
    text.add_text("score_max", repr(high))
    # Harder compression takes longer than most searches, and saves a fifth.
    picture.save(file, "PNG", pnginfo=text, compress_level=1)
    return low, high


@cache
def _palette(name: str) -> bytes:
    from cmap import Colormap

    colors = Colormap(name).lut(256)[:, :3]  # a call would import numpy.ma
    palette: bytes = np.rint(colors * 255).astype(np.uint8).tobytes()
    return palette


def overlay(
    pixels: Pixels, span: float, low: float, matches: Sequence[Match], file: BinaryIO
) -> None:
    """Draw the image with a numbered box around every match, as an 8-bit PNG.

    Parameters
    ----------
    pixels : array [H, W, C]
        Three channels or more are drawn as RGB by the first three, fewer as grey by the first.
    span, low : float
        The data range R, drawn as black to white, and where it begins.
    matches : sequence of Match
        Best first; numbered from 1.
    file : binary file
    """
    picture = _displayable(pixels, span, low)
    draw = ImageDraw.Draw(picture)
    side = min(picture.size)
    line = max(1, round(side / 400))
    font = ImageFont.load_default(size=max(10, round(side / 40)))
    # The best is drawn last, on top.
    for number, match in reversed(list(enumerate(matches, 1))):
        if match.corners is not None and not _upright(match):
            _frame(draw, match.corners, line)
        else:
            _box(draw, match, line, picture.size)
        _label(draw, match, str(number), font, line, picture.size)
    picture.save(file, "PNG")


def _displayable(pixels: Pixels, span: float, low: float) -> Image.Image:
    shown = pixels[..., :3] if pixels.shape[2] >= 3 else pixels[..., 0]
    display = np.empty(shown.shape, dtype=np.uint8)
    low = float(low)  # which may lie outside what the pixels' type can hold
    for top in range(0, len(shown), _ROWS):
        part: NDArray[Any] = shown[top : top + _ROWS]
        if part.dtype != np.uint8 or (span, low) != (255, 0):
            part = np.rint((part - low) * (255.0 / span))
        display[top : top + _ROWS] = part
    picture = Image.fromarray(display)
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def _box(draw: ImageDraw.ImageDraw, match: Match, line: int, size: tuple[int, int]) -> None:
    """A bright frame between two dark ones, around the match's pixels; at the edge, on them."""
    left, top = match.x, match.y
    right, bottom = match.x + match.width - 1, match.y + match.height - 1
    for outset, color in ((3 * line, "black"), (2 * line, "yellow"), (line, "black")):
        inset = 3 * line - outset  # frames that meet the edge stay beside each other
        corners = (
            max(left - outset, inset),
            max(top - outset, inset),
            min(right + outset, size[0] - 1 - inset),
            min(bottom + outset, size[1] - 1 - inset),
        )
        if corners[0] <= corners[2] and corners[1] <= corners[3]:
            draw.rectangle(corners, outline=color, width=line)


def _upright(match: Match) -> bool:
    return match.angle % 90 == 0


def _frame(draw: ImageDraw.ImageDraw, corners: Sequence[tuple[float, float]], line: int) -> None:
    """A bright frame on a dark one along the sides of a turned match."""
    around = [(round(x), round(y)) for x, y in (*corners, *corners[:2])]
    for width, color in ((3 * line, "black"), (line, "yellow")):
        draw.line(around, fill=color, width=width, joint="curve")


def _label(
    draw: ImageDraw.ImageDraw,
    match: Match,
    text: str,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    line: int,
    size: tuple[int, int],
) -> None:
    """The number on a dark plate, above the box where there is room, always in the picture."""
    left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
    pad = 2 * line
    width, height = right - left + 2 * pad, bottom - top + 2 * pad
    frame = 3 * line
    x = min(max(0, match.x - frame), max(0, size[0] - width))
    above = match.y - frame - height
    below = match.y + match.height + frame
    y = above if above >= 0 else min(below, max(0, size[1] - height))
    draw.rectangle((x, y, x + width - 1, y + height - 1), fill="black", outline="yellow")
    draw.text((x + pad - left, y + pad - top), text, font=font, fill="yellow")


def cosine_matrix(
    cosines: NDArray[np.floating[Any]],
    matched: NDArray[np.bool_],
    groups: Sequence[int],
    file: BinaryIO,
) -> None:
    """Draw a matrix of cosines as a PNG, its matched pairs framed.

    Colours run from -1 (blue) over 0 (white) to 1 (red).

    Parameters
    ----------
    cosines : array [n, m]
    matched : bool array [n, m]
    groups : sequence of int
        Lines part groups of so many rows and columns, thicker ones the later groups: the slots of
        an image, the slots of a view.
    file : binary file
    """
    rows, cols = cosines.shape
    cell = min(_CELL_MOST, max(1, _MATRIX_SIDE // max(rows, cols)))
    colors = np.frombuffer(_palette(MATRIX_COLOR_MAP), np.uint8).reshape(256, 3)
    index = np.rint((np.clip(cosines, -1, 1) + 1) * 127.5).astype(np.uint8)
    picture = Image.fromarray(colors[index].repeat(cell, axis=0).repeat(cell, axis=1))
    draw = ImageDraw.Draw(picture)
    if cell >= _CELL_FOR_LINES:
        for width, group in zip((1, 4), groups, strict=False):
            for line in range(group * cell, max(rows, cols) * cell, group * cell):
                draw.line((0, line, cols * cell, line), fill="gray", width=width)
                draw.line((line, 0, line, rows * cell), fill="gray", width=width)
    for row, col in np.argwhere(matched).tolist():
        corner = (col * cell, row * cell, (col + 1) * cell - 1, (row + 1) * cell - 1)
        draw.rectangle(corner, outline="black", width=max(1, cell // 8))
    text = PngInfo()
    text.add_text("Software", "patchsim")
    text.add_text("colormap", f"{MATRIX_COLOR_MAP}, cosines -1 to 1")
    picture.save(file, "PNG", pnginfo=text)
