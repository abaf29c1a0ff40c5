"""Pictures of the result: the heatmap and the overlay."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from patchsim.metrics import Pixels

if TYPE_CHECKING:
    from patchsim.report import Match

COLOR_MAP = "inferno"
_ROWS = 256  # of a picture converted at a time, so that temporaries stay small


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
    picture.putpalette(_palette())
    text = PngInfo()
    text.add_text("Software", "patchsim")
    text.add_text("colormap", COLOR_MAP)
    text.add_text("score_min", repr(low))
    text.add_text("score_max", repr(high))
    picture.save(file, "PNG", pnginfo=text)
    return low, high


@cache
def _palette() -> bytes:
    from cmap import Colormap

    colors = Colormap(COLOR_MAP)(np.linspace(0, 1, 256))[:, :3]
    return np.rint(colors * 255).astype(np.uint8).tobytes()


def overlay(
    pixels: Pixels, span: float, low: float, matches: Sequence[Match], file: BinaryIO
) -> None:
    """Draw the image with a numbered box around every match, as an 8-bit PNG.

    Parameters
    ----------
    pixels : array [H, W, C]
        One or three channels.
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
        _box(draw, match, line)
        _label(draw, match, str(number), font, line, picture.size)
    picture.save(file, "PNG")


def _displayable(pixels: Pixels, span: float, low: float) -> Image.Image:
    shown = pixels[..., :3] if pixels.shape[2] >= 3 else pixels[..., 0]
    display = np.empty(shown.shape, dtype=np.uint8)
    for top in range(0, len(shown), _ROWS):
        part: NDArray[Any] = shown[top : top + _ROWS]
        if part.dtype != np.uint8 or (span, low) != (255, 0):
            part = np.rint((part - low) * (255.0 / span))
        display[top : top + _ROWS] = part
    return Image.fromarray(display).convert("RGB")


def _box(draw: ImageDraw.ImageDraw, match: Match, line: int) -> None:
    """A bright frame between two dark ones, around the match's pixels and not on them."""
    left, top = match.x, match.y
    right, bottom = match.x + match.width - 1, match.y + match.height - 1
    for outset, color in ((3 * line, "black"), (2 * line, "yellow"), (line, "black")):
        corners = (left - outset, top - outset, right + outset, bottom + outset)
        draw.rectangle(corners, outline=color, width=line)


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
