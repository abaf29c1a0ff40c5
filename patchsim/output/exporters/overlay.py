"""The image with a box around every match, and labels beside the boxes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from patchsim.geometry.polygons import Corners, bounds
from patchsim.output import labels, picture_file, rgb
from patchsim.output.contract import Finished
from patchsim.output.report_parts import Match
from patchsim.types import Pixels

SUFFIXES = picture_file.SUFFIXES
IS_PER_KERNEL = False
NEEDS_MAP = False
NEEDS_IMAGE = True


def working_bytes(cells: int, pixels: int) -> int:  # noqa: ARG001 - as `FileExporter` has it
    # Three bytes each for RGB, four in Pillow, and six where labels find their places.
    return 7 * pixels + 6 * min(pixels, 2**20)


def check_image(path: str, height: int, width: int) -> None:
    picture_file.check_side(path, width, height)


def write(file: BinaryIO, search: Finished, kernel: int, path: str) -> str:  # noqa: ARG001 - as `FileExporter` has it
    view = search.view
    matches = view.placed(search.report.matches)
    picture, missing = drawn(view.pixels, view.span, view.low, matches, search.labels)
    picture_file.save(picture, file, path)
    count = len(matches)
    room = f", {missing:,} without room for a label" if missing else ""
    reduced = f", each pixel the mean of {view.factor}x{view.factor}" if view.factor > 1 else ""
    return f": {count:,} box{'es' * (count != 1)}{room}{reduced}"


def drawn(
    pixels: Pixels,
    span: float,
    low: float,
    matches: Sequence[Match],
    words: Sequence[str] = labels.DEFAULT,
) -> tuple[Image.Image, int]:
    """Draw the image with a box around every match, and labels beside those that have room.

    Parameters
    ----------
    pixels : array [H, W, C]
        With three channels or more the first three are drawn as RGB, otherwise the first as grey.
    span, low : float
        The data range R, which is drawn as black to white, and its lower end.
    matches : sequence of Match
        The matches in the order of their numbers, which begin at 1.
    words : sequence of str
        What labels say, see `patchsim.output.labels`; none for no labels.

    Returns
    -------
    (PIL.Image.Image, int)
        The picture in RGB, and the number of labels for which there was no room.
    """
    picture = rgb.picture(pixels, span, low)
    canvas = ImageDraw.Draw(picture)
    side = min(picture.size)
    line = max(1, round(side / 400))
    texts = {
        number: text
        for number, match in enumerate(matches, 1)
        if (text := labels.text(number, match, words))
    }
    plates = _plates(canvas, matches, texts, line, picture.size)
    # The first match is drawn last, on top of the others.
    for match in reversed(matches):
        if match.corners is not None and not _is_upright(match):
            _draw_frame(canvas, match.corners, line, picture.height)
        else:
            _draw_box(canvas, match, line, picture.size)
    for plate in plates:
        _draw_label(canvas, plate, line)
    return picture, len(texts) - len(plates)


class _Plate(NamedTuple):
    """A label and the dark plate behind it."""

    text: str
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont
    box: labels.Box


def _plates(
    canvas: ImageDraw.ImageDraw,
    matches: Sequence[Match],
    texts: Mapping[int, str],
    line: int,
    size: tuple[int, int],
) -> list[_Plate]:
    """Place labels beside their matches, those of the best first."""
    if not texts:
        return []
    usual = float(np.median([min(match.width, match.height) for match in matches]))
    font = ImageFont.load_default(size=max(10, min(round(min(size) / 40), round(usual / 2))))
    frames = [_outer(match, line) for match in matches]
    places = labels.Places(size, frames, 3 * line)
    plates = []
    for number, text in texts.items():
        left, top, right, bottom = canvas.textbbox((0, 0), text, font=font)
        width, height = round(right - left) + 4 * line, round(bottom - top) + 4 * line
        frame, match = frames[number - 1], matches[number - 1]
        turned = None if _is_upright(match) else match.corners
        corner = places.place(frame, turned, width, height)
        if corner is not None:
            x, y = corner
            plates.append(_Plate(text, font, (x, y, x + width, y + height)))
    return plates


def _outer(match: Match, line: int) -> labels.Box:
    """Return the box of a match with its lines."""
    frame = 3 * line
    return (
        match.x - frame,
        match.y - frame,
        match.x + match.width + frame,
        match.y + match.height + frame,
    )


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


def _draw_frame(canvas: ImageDraw.ImageDraw, corners: Corners, line: int, height: int) -> None:
    """Draw a bright ring between two dark ones around a match that is turned.

    A ring has the pixels whose centres lie in it, to a fraction of a pixel, which lines of Pillow
    between whole pixels do not have.
    """
    spans = [_spans(corners, outset, height) for outset in (0, line, 2 * line, 3 * line)]
    for inner, outer, color in zip(spans, spans[1:], ("black", "yellow", "black"), strict=False):
        for row, (start, end) in outer.items():
            left, right = inner.get(row, (end, end))
            for first, last in ((start, left - 1), (right, end - 1)):
                if first <= last:
                    canvas.rectangle((first, row, last, row), fill=color)


def _spans(corners: Corners, outset: float, height: int) -> dict[int, tuple[int, int]]:
    """Return the first column and the end in each row of a rectangle with sides moved outwards."""
    middle = np.mean(corners, axis=0)
    _, top, _, bottom = bounds(corners)
    reach = 2 * outset  # of a corner, whose two sides are moved
    rows = np.arange(max(0, math.floor(top - reach)), min(height, math.ceil(bottom + reach)))
    left, right = np.full(len(rows), -np.inf), np.full(len(rows), np.inf)
    for i, (x, y) in enumerate(corners):
        before_x, before_y = corners[i - 1]
        length = math.dist((x, y), (before_x, before_y))
        across, down = (y - before_y) / length, (before_x - x) / length  # points out or in
        if across * (x - middle[0]) + down * (y - middle[1]) < 0:
            across, down = -across, -down
        across = across or 1e-12  # of a side that is level but for the rounding of its corners
        limit = (across * x + down * y + outset - down * (rows + 0.5)) / across
        if across > 0:
            right = np.minimum(right, limit)
        else:
            left = np.maximum(left, limit)
    # The centres of pixels lie at halves.
    first, end = np.ceil(left - 0.5).astype(int), np.ceil(right - 0.5).astype(int)
    return {
        row: (start, stop)
        for row, start, stop in zip(rows.tolist(), first.tolist(), end.tolist(), strict=True)
        if start < stop
    }


def _draw_label(canvas: ImageDraw.ImageDraw, plate: _Plate, line: int) -> None:
    """Draw a label on its dark plate."""
    x, y, right, bottom = plate.box
    left, top, _, _ = canvas.textbbox((0, 0), plate.text, font=plate.font)
    canvas.rectangle((x, y, right - 1, bottom - 1), fill="black", outline="yellow")
    at = x + 2 * line - left, y + 2 * line - top
    canvas.text(at, plate.text, font=plate.font, fill="yellow")
