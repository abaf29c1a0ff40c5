"""A report as a notebook and a figure show it: the image with boxes, and the first matches.

What draws is imported when something is shown: every search makes an `ImageDisplay`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from patchsim.errors import InputError, printable
from patchsim.output import columns, rgb
from patchsim.output.report import Report
from patchsim.output.report_parts import box
from patchsim.pictures.opening import open_picture
from patchsim.types import Pixels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from PIL import Image

    from patchsim.pictures.reader import Source

_SIDE = 900  # pixels of the longer side of a preview, which is about as wide as a notebook
_ROWS = 10  # matches in the table of a preview


@dataclass(frozen=True)
class ImageDisplay:
    """Shows reports of one image, which is opened again each time; a `report.Display`.

    Attributes
    ----------
    source : path, PIL image, array or None
        The image as it was given. None if it came from standard input, and after pickling.
    """

    source: Source | None

    def __getstate__(self) -> dict[str, None]:
        return {"source": None}

    def preview(self, report: Report) -> Image.Image:
        """Draw the image with boxes around the matches, reduced to a longer side of 900 pixels.

        Raises
        ------
        InputError
            The image is not there any more.
        """
        from patchsim.output.exporters import overlay

        picture, _ = overlay.drawn(*self._shown(report), report.matches)
        picture.thumbnail((_SIDE, _SIDE))
        return picture

    def thumbnail(self, report: Report, side: int) -> Image.Image:
        """Return the image without boxes, reduced to a longer side of so many pixels.

        Raises
        ------
        InputError
            The image is not there any more.
        """
        picture = rgb.picture(*self._shown(report))
        picture.thumbnail((side, side))
        return picture

    def show(self, report: Report) -> None:
        """Open the preview in the system's viewer."""
        self.preview(report).show(report.image)

    def as_html(self, report: Report) -> str:
        """Return the preview, if the image is still there, and a table of the first matches.

        Texts are escaped, and nothing is loaded from elsewhere.
        """
        import base64
        import io
        from html import escape

        names = [name for name in report.columns if name != "corners"]
        head = "".join(f"<th>{name}</th>" for name in names)
        rows = [
            "".join(f"<td>{escape(_text(columns.value(match, name)))}</td>" for name in names)
            for match in report[:_ROWS]
        ]
        more = len(report) - len(rows)
        parts = [f"<p>{escape(report.summary)}</p>"]
        try:
            file = io.BytesIO()
            self.preview(report).save(file, "PNG")
            data = base64.b64encode(file.getvalue()).decode()
            parts.append(
                f'<img alt="the image with {len(report)} boxes" src="data:image/png;base64,{data}">'
            )
        except InputError as error:
            parts.append(f"<p>{escape(printable(str(error)))}</p>")
        if rows:
            body = "".join(f"<tr>{row}</tr>" for row in rows)
            parts.append(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")
        parts += [f"<p>and {more} more</p>"] if more else []
        return "".join(parts)

    def plot(self, report: Report, ax: Axes | None) -> Axes:
        """Draw into axes of Matplotlib; see `Report.plot`."""
        try:
            from matplotlib import patches, patheffects
        except ModuleNotFoundError:
            raise InputError(
                "plot needs Matplotlib, which is not installed; pip install matplotlib"
            ) from None
        if ax is None:
            from matplotlib import pyplot

            ax = pyplot.subplots()[1]
        pixels, span, low = self._shown(report)
        height, width = pixels.shape[:2]
        # A pixel spans from x to x + 1, as in the matches.
        ax.imshow(rgb.picture(pixels, span, low), extent=(0, width, height, 0))
        # Yellow between black, which shows on any picture.
        halo = {"color": "yellow", "path_effects": [patheffects.withStroke(linewidth=3)]}
        for number, match in enumerate(report, 1):
            corners = match.corners or box(match)
            ax.add_patch(patches.Polygon(np.array(corners), fill=False, **halo))
            ax.annotate(str(number), corners[0], va="bottom", **halo)
        ax.set_title(report.summary, wrap=True)
        return ax

    def _shown(self, report: Report) -> tuple[Pixels, float, float]:
        """Open the image again: its pixels, and the width and lower end of their range."""
        if self.source is None:
            raise InputError(
                f"the image {printable(report.image)} is not there any more; search it again to"
                " show it"
            )
        pixels = open_picture(self.source, name=report.image).pixels
        if pixels.dtype == np.uint8:
            return pixels, 255.0, 0.0
        low, high = float(pixels.min()), float(pixels.max())
        return pixels, (high - low) or 1.0, low


def _text(value: Any) -> str:
    return printable(f"{value:.6g}" if isinstance(value, float) else str(value))
