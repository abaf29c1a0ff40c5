"""The image with a numbered box around every match."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from patchsim.output.contract import Finished
from patchsim.output.report_parts import Match
from patchsim.types import Pixels

SUFFIXES = (".png",)
IS_PER_KERNEL = False
NEEDS_MAP = False
NEEDS_IMAGE = True

_ROWS = 256  # rows that are converted at a time, so that temporary arrays stay small


def working_bytes(cells: int, pixels: int) -> int:  # noqa: ARG001
    return 7 * pixels  # three bytes each for RGB, and four in Pillow


def write(file: BinaryIO, search: Finished, kernel: int) -> str:  # noqa: ARG001
    draw(search.pixels, search.span, search.low, search.report.matches, file)
    count = len(search.report)
    return f": {count} box{'es' * (count != 1)}"


def draw(pixels: Pixels, span: float, low: float, matches: Sequence[Match], file: BinaryIO) -> None:
    """Draw the image with a numbered box around every match, as an 8-bit RGB PNG.

    The number is that of the match's row, from 1; behind it stand `worst`, `differing` and
    `max_difference` where they were asked for.

    Parameters
    ----------
    pixels : array [H, W, C]
        With three channels or more the first three are drawn as RGB, otherwise the first as grey.
    span, low : float
        The data range R, which is drawn as black to white, and its lower end.
    matches : sequence of Match
        The matches in the order of their numbers, which begin at 1.
    file : binary file
    """
    picture = displayable(pixels, span, low)
    canvas = ImageDraw.Draw(picture)
    side = min(picture.size)
    line = max(1, round(side / 400))
    font = ImageFont.load_default(size=max(10, round(side / 40)))
    # The first match is drawn last, on top of the others.
    for number, match in reversed(list(enumerate(matches, 1))):
        if match.corners is not None and not _is_upright(match):
            _draw_frame(canvas, match.corners, line)
        else:
            _draw_box(canvas, match, line, picture.size)
        _draw_label(canvas, match, label(number, match), font, line, picture.size)
    picture.save(file, "PNG")


def label(number: int, match: Match) -> str:
    """Return a match's number, and behind it what criteria that are stricter than a score say."""
    texts = []
    if match.worst is not None:
        texts.append(f"worst {math.floor(match.worst * 1000) / 1000:.3f}")
    if match.differing is not None:
        texts.append(f"{match.differing} differ, max {match.max_difference:.4g}")
    return " ".join([str(number), ", ".join(texts)]).rstrip()


def displayable(pixels: Pixels, span: float, low: float) -> Image.Image:
    """Convert pixels to an RGB picture whose values 0 to 255 are the data range."""
    channels = pixels[..., :3] if pixels.shape[2] >= 3 else pixels[..., 0]
    display = np.empty(channels.shape, dtype=np.uint8)
    low = float(low)  # the type of the pixels may be too narrow for it
    for top in range(0, len(channels), _ROWS):
        rows: NDArray[Any] = channels[top : top + _ROWS]
        if rows.dtype != np.uint8 or (span, low) != (255, 0):
            rows = np.rint((rows - low) * (255.0 / span))
        display[top : top + _ROWS] = rows
    picture = Image.fromarray(display)
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def _draw_box(canvas: ImageDraw.ImageDraw, match: Match, line: int, size: tuple[int, int]) -> None:
    """Draw a bright frame between two dark ones around a match; at the image's edge, on it."""
    left, top = match.x, match.y
    right, bottom = match.x + match.width - 1, match.y + match.height - 1
    for outset, color in ((3 * line, "black"), (2 * line, "yellow"), (line, "black")):
        inset = 3 * line - outset  # keeps the frames apart where they meet the edge
        corners = (
            max(left - outset, inset),
            max(top - outset, inset),
            min(right + outset, size[0] - 1 - inset),
            min(bottom + outset, size[1] - 1 - inset),
        )
        if corners[0] <= corners[2] and corners[1] <= corners[3]:
            canvas.rectangle(corners, outline=color, width=line)


def _is_upright(match: Match) -> bool:
    return match.angle % 90 == 0


def _draw_frame(
    canvas: ImageDraw.ImageDraw, corners: Sequence[tuple[float, float]], line: int
) -> None:
    """Draw a bright line on a dark one along the sides of a match that is turned."""
    around = [(round(x), round(y)) for x, y in (*corners, *corners[:2])]
    for width, color in ((3 * line, "black"), (line, "yellow")):
        canvas.line(around, fill=color, width=width, joint="curve")


def _draw_label(
    canvas: ImageDraw.ImageDraw,
    match: Match,
    text: str,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    line: int,
    size: tuple[int, int],
) -> None:
    """Draw a match's label on a dark plate: above the box if there is room, else below.

    That of a turned frame is above or below its highest or lowest corner.
    """
    left, top, right, bottom = canvas.textbbox((0, 0), text, font=font)
    pad = 2 * line
    width, height = right - left + 2 * pad, bottom - top + 2 * pad
    frame = 3 * line
    above = match.y - frame - height
    below = match.y + match.height + frame
    y = above if above >= 0 else min(below, max(0, size[1] - height))
    x: float = match.x - frame
    if match.corners is not None and not _is_upright(match):
        by_height = sorted(match.corners, key=lambda corner: corner[1])
        x = round(by_height[0 if above >= 0 else -1][0] - width / 2)
    x = min(max(0, x), max(0, size[0] - width))
    canvas.rectangle((x, y, x + width - 1, y + height - 1), fill="black", outline="yellow")
    canvas.text((x + pad - left, y + pad - top), text, font=font, fill="yellow")
