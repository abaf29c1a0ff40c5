"""A picture in a terminal that shows no pictures: two pixels in each character."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw
from rich.segment import Segment
from rich.style import Style

from patchsim.output.report_parts import Match, box

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

_UPPER = "\N{UPPER HALF BLOCK}"


class HalfBlocks:
    """A picture with boxes that rich prints; a pixel is half as high as a character, and a square.

    Parameters
    ----------
    picture : PIL.Image.Image
        In RGB.
    matches : sequence of Match
        Best first.
    size : (width, height)
        Of the image in which the matches were found.
    columns, rows : int
        The most characters of the width and height.
    """

    def __init__(
        self,
        picture: Image.Image,
        matches: Sequence[Match],
        size: tuple[int, int],
        columns: int,
        rows: int,
    ) -> None:
        factor = min(columns / picture.width, 2 * rows / picture.height)
        width = max(1, round(picture.width * factor))
        height = max(2, 2 * round(picture.height * factor / 2))
        small = picture.resize((width, height), Image.Resampling.BOX)
        canvas = ImageDraw.Draw(small)
        across, down = width / size[0], height / size[1]
        for match in reversed(matches):
            # Corners lie between pixels; a line covers the pixels inside.
            corners = [(x * across, y * down) for x, y in match.corners or box(match)]
            middle_x, middle_y = (sum(values) / 4 for values in zip(*corners, strict=True))
            inside = [
                (int(x - (x > middle_x) * 0.51), int(y - (y > middle_y) * 0.51)) for x, y in corners
            ]
            canvas.polygon(inside, outline="yellow")
        self.pixels = np.asarray(small)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for upper, lower in zip(self.pixels[::2], self.pixels[1::2], strict=True):
            for above, below in zip(upper.tolist(), lower.tolist(), strict=True):
                color, background = (f"#{r:02x}{g:02x}{b:02x}" for r, g, b in (above, below))
                yield Segment(_UPPER, Style(color=color, bgcolor=background))
            yield Segment.line()
