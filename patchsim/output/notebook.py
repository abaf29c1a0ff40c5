"""A report as a notebook and a figure show it: the image with boxes, and the first matches."""

from __future__ import annotations

import base64
import html
import io
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from patchsim.errors import InputError, printable
from patchsim.output import report as reports
from patchsim.output.exporters import overlay
from patchsim.pictures.reader import open_picture
from patchsim.types import Pixels

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from patchsim.output.report import Report

_SIDE = 900  # pixels of the longer side of a preview, which is about as wide as a notebook
_ROWS = 10  # matches in the table of a preview


def preview(report: Report) -> Image.Image:
    """Draw the image with boxes around the matches, reduced to a longer side of 900 pixels.

    Raises
    ------
    InputError
        The image is not there any more: it came from standard input, its file is gone, or the
        report was pickled.
    """
    pixels, span, low = _shown(report)
    file = io.BytesIO()
    overlay.draw(pixels, span, low, report.matches, file)
    picture = Image.open(file)
    picture.thumbnail((_SIDE, _SIDE))
    return picture


def as_png(report: Report) -> bytes:
    """Return the preview as the bytes of a PNG."""
    file = io.BytesIO()
    preview(report).save(file, "PNG")
    return file.getvalue()


def as_html(report: Report) -> str:
    """Return the preview and a table of the first matches as HTML; the preview only if it can be.

    Texts are escaped, and nothing is loaded from elsewhere.
    """
    columns = [name for name in reports.columns(report) if name != "corners"]
    head = "".join(f"<th>{name}</th>" for name in columns)
    rows = [
        "".join(f"<td>{_cell(reports.value(match, name))}</td>" for name in columns)
        for match in report[:_ROWS]
    ]
    more = len(report) - len(rows)
    parts = [f"<p>{html.escape(summary(report))}</p>"]
    try:
        data = base64.b64encode(as_png(report)).decode()
        parts.append(
            f'<img alt="the image with {len(report)} boxes" src="data:image/png;base64,{data}">'
        )
    except InputError as error:
        parts.append(f"<p>{html.escape(printable(str(error)))}</p>")
    if rows:
        body = "".join(f"<tr>{row}</tr>" for row in rows)
        parts.append(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")
    parts += [f"<p>and {more} more</p>"] if more else []
    return "".join(parts)


def summary(report: Report) -> str:
    """Say in one line what was found."""
    count = len(report)
    kernels = [kernel.name for kernel in report.kernels]
    sought = kernels[0] if len(kernels) == 1 else f"{len(kernels)} kernels"
    text = f"{count} match{'es' * (count != 1)} of {printable(sought)} in {printable(report.image)}"
    if (best := report.best) is not None:
        text += f", best score {best.score:.6g} at x {best.x}, y {best.y}"
    return text


def plot(report: Report, ax: Axes | None) -> Axes:
    """Draw the image and the outlines of the matches into axes of Matplotlib; see `Report.plot`."""
    try:
        from matplotlib import patches, patheffects
    except ImportError:
        raise InputError(
            "plot needs Matplotlib, which is not installed; pip install matplotlib"
        ) from None
    if ax is None:
        from matplotlib import pyplot

        ax = pyplot.subplots()[1]
    pixels, span, low = _shown(report)
    height, width = pixels.shape[:2]
    # A pixel spans from x to x + 1, as in the matches.
    ax.imshow(overlay.displayable(pixels, span, low), extent=(0, width, height, 0))
    # Yellow between black, which shows on any picture.
    halo = {"color": "yellow", "path_effects": [patheffects.withStroke(linewidth=3)]}
    for number, match in enumerate(report, 1):
        corners = match.corners or reports.box(match)
        ax.add_patch(patches.Polygon(np.array(corners), fill=False, **halo))
        ax.annotate(str(number), corners[0], va="bottom", **halo)
    ax.set_title(summary(report), wrap=True)
    return ax


def _shown(report: Report) -> tuple[Pixels, float, float]:
    """Open the image again: its pixels, and the width and lower end of their range."""
    if report.source is None:
        raise InputError(
            f"the image {printable(report.image)} is not there any more; search it again to show it"
        )
    pixels = open_picture(report.source, name=report.image).pixels
    if pixels.dtype == np.uint8:
        return pixels, 255.0, 0.0
    low, high = float(pixels.min()), float(pixels.max())
    return pixels, (high - low) or 1.0, low


def _cell(value: Any) -> str:
    return html.escape(printable(f"{value:.6g}" if isinstance(value, float) else str(value)))
