"""A small picture of the matches above the table, where the terminal shows pictures.

kitty, iTerm2 and terminals with sixels are drawn to by textual-image, the extra `preview`; other
terminals show half blocks when a preview is asked for. Nothing here is imported without one.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from patchsim.cli import console as console_lines
from patchsim.errors import PatchsimError

if TYPE_CHECKING:
    from PIL import Image

    from patchsim.output.report import Display, Report

_COLUMNS = 64  # characters of the widest preview
_SIDE = 4 * _COLUMNS  # pixels that half blocks are made of
_SHARE = 0.5  # of the terminal's rows
# The names of terminals that show pictures, in TERM and in TERM_PROGRAM.
_TERMS = ("xterm-kitty", "foot", "foot-extra", "mlterm", "contour", "xterm-ghostty")
_PROGRAMS = ("iTerm.app", "WezTerm", "ghostty")


def is_wanted(asked: bool | None, form: str, *, quiet: bool) -> bool:
    """Return whether to draw a preview above results that go to a terminal.

    Parameters
    ----------
    asked : bool or None
        The flag; None leaves it to the terminal.
    form : str
        How results are printed.
    """
    if asked is not None:
        return asked
    return form == "table" and not quiet and can_show_pictures(os.environ) and _has_library()


def can_show_pictures(environment: Mapping[str, str]) -> bool:
    """Return whether the terminal says of itself that it shows pictures.

    One inside tmux or screen does not, whatever surrounds these.
    """
    if "TMUX" in environment or environment.get("TERM", "").startswith(("screen", "tmux")):
        return False
    return (
        "KITTY_WINDOW_ID" in environment
        or environment.get("TERM") in _TERMS
        or environment.get("TERM_PROGRAM") in _PROGRAMS
    )


def _has_library() -> bool:
    return importlib.util.find_spec("textual_image") is not None


def draw(report: Report) -> None:
    """Draw the image with boxes; nothing if it is not there any more, as from standard input."""
    if report.display is None:
        return
    from rich.console import Console

    console = Console(file=sys.stdout)
    columns = min(_COLUMNS, console.width)
    rows = max(1, int(console.height * _SHARE))
    with _told():
        drawn = _picture(report, report.display, columns, rows)
        if drawn is None and not console.no_color:
            from patchsim.output.half_blocks import HalfBlocks

            small = report.display.thumbnail(report, _SIDE)
            size = report.width, report.height
            drawn = HalfBlocks(small, report.matches, size, columns, rows)
        if drawn is not None:
            console.print(drawn)


@contextmanager
def _told() -> Iterator[None]:
    """Tell why there is no preview: the matches must not be lost with it."""
    try:
        yield
    except Exception as error:  # of the library, which talks with the terminal, too
        text = (
            str(error) if isinstance(error, PatchsimError) else f"{type(error).__name__}: {error}"
        )
        console_lines.say(f"no preview: {text}")


def _picture(report: Report, display: Display, columns: int, rows: int) -> Any:
    """Return the preview as a picture of the terminal's, or None if it shows none."""
    # The library asks the terminal by way of standard input.
    is_asked = sys.stdin is not None and sys.stdin.isatty()
    if is_asked and can_show_pictures(os.environ) and _has_library():
        from textual_image import renderable as kinds

        if kinds.Image in (kinds.TGPImage, kinds.SixelImage):
            picture = display.preview(report)
            return kinds.Image(picture, *_cells(picture, columns, rows))
    return None


def _cells(picture: Image.Image, columns: int, rows: int) -> tuple[int | str, int | str]:
    """Return the width and height in characters, one of them as the other demands."""
    if picture.height * columns > 2 * rows * picture.width:  # a character is twice as high as wide
        return "auto", rows
    return columns, "auto"
