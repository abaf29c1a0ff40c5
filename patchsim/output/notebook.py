"""A report and a matcher as a notebook shows them, and a report as a figure.

What draws is imported when something is shown: every search makes an `ImageDisplay`.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from patchsim.errors import InputError, printable
from patchsim.output import columns
from patchsim.output.report import Report
from patchsim.output.report_parts import Match, box
from patchsim.pictures.opening import Opening

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from PIL import Image

    from patchsim.pictures.reader import Picture, Source

_SIDE = 900  # pixels of the longer side of a preview, which is about as wide as a notebook
_FIGURE_SIDE = 4096  # pixels of the longer side of a picture in a figure, at least half of them
_ROWS = 10  # matches in the table of a preview


class ShownFrame(NamedTuple):
    """The frame of an image that is shown, with the matches in it; most images have no frames."""

    frame: int | None
    width: int
    height: int
    matches: Sequence[Match]

    @classmethod
    def of(cls, report: Report) -> ShownFrame:
        """Return the part of a report that is shown: of several frames that of the best match."""
        if not report.frames:
            return cls(None, report.width, report.height, report.matches)
        best = report.best
        most_matched = next(
            (one for one in report.frames if best is not None and one.frame == best.frame),
            report.frames[0],
        )
        matches = [match for match in report.matches if match.frame == most_matched.frame]
        return cls(most_matched.frame, most_matched.width, most_matched.height, matches)


@dataclass(frozen=True, eq=False)
class ImageDisplay:
    """Shows reports of one image, which is opened again each time; a `report.Display`.

    Attributes
    ----------
    source : path, PIL image, array or None
        The image as it was given. None if it came from standard input, and after pickling.
    opening : Opening
        How it was opened. Its frame is that of the report.
    """

    source: Source | None
    opening: Opening = field(default_factory=Opening)
    # A report has its display: a reference back would keep both, and the image, until a collection.
    _latest: list[tuple[weakref.ref[Report], bytes]] = field(
        default_factory=list, init=False, repr=False, compare=False
    )

    def __getstate__(self) -> dict[str, object]:
        return {"source": None, "opening": self.opening, "_latest": []}

    def preview(self, report: Report) -> Image.Image:
        """Draw the image with boxes around the matches, reduced to a longer side of 900 pixels.

        Raises
        ------
        InputError
            The image is not there any more.
        """
        from patchsim.output.exporters import overlay
        from patchsim.output.reduced_image import placed

        small = self.thumbnail(report, _SIDE)
        view = ShownFrame.of(report)
        matches = placed(view.matches, view.width / small.width)
        picture, _ = overlay.drawn(np.asarray(small), 255, 0, matches)
        return picture

    def thumbnail(self, report: Report, side: int) -> Image.Image:
        """Return the image without boxes, reduced to a longer side of so many pixels.

        Raises
        ------
        InputError
            The image is not there any more, or is too large for the memory.
        """
        picture = self._reduced(report, side)
        picture.thumbnail((side, side))
        return picture

    def show(self, report: Report) -> None:
        """Open the preview in the system's viewer."""
        self.preview(report).show(report.image)

    def as_html(self, report: Report) -> str:
        """Return the preview, if the image is still there, and a table of the first matches.

        Texts are escaped, and nothing is loaded from elsewhere.
        """
        from patchsim.output import html_page
        from patchsim.output.html_table import paragraph, table

        names = [name for name in report.columns if name != "corners"]
        rows = [[columns.value(match, name) for name in names] for match in report[:_ROWS]]
        more = len(report) - len(rows)
        parts = [paragraph(report.summary)]
        try:
            address = html_page.data_url("png", self._drawn(report))
            parts.append(f'<img alt="the image with {len(report)} boxes" src="{address}">')
        except InputError as error:
            parts.append(paragraph(str(error)))
        parts += [table(names, rows)] if rows else []
        parts += [paragraph(f"and {more} more")] if more else []
        return "".join(parts)

    def as_png(self, report: Report) -> bytes | None:
        """Return the preview as a PNG file, or None if the image is not there any more."""
        try:
            return self._drawn(report)
        except InputError:  # which the HTML tells, too
            return None

    def _drawn(self, report: Report) -> bytes:
        """Return the preview as a PNG file; a notebook asks for the last one twice."""
        for drawn, data in self._latest:
            if drawn() is report:
                return data
        import io

        file = io.BytesIO()
        self.preview(report).save(file, "PNG")
        self._latest[:] = [(weakref.ref(report), file.getvalue())]
        return file.getvalue()

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
        view = ShownFrame.of(report)
        # A pixel spans from x to x + 1, as in the matches.
        ax.imshow(self._reduced(report, _FIGURE_SIDE), extent=(0, view.width, view.height, 0))
        # Yellow between black, which shows on any picture.
        halo: dict[str, Any] = {
            "color": "yellow",
            "path_effects": [patheffects.withStroke(linewidth=3, foreground="black")],
        }
        for number, match in enumerate(view.matches, 1):
            corners = match.corners or box(match)
            ax.add_patch(patches.Polygon(np.array(corners), fill=False, linewidth=1.5, **halo))
            ax.annotate(str(number), corners[0], va="bottom", **halo)
        ax.set_title(report.summary, fontsize="medium")
        return ax

    def _reduced(self, report: Report, side: int) -> Image.Image:
        """Open the image again, its longer side less than twice `side`."""
        if self.source is None:
            raise InputError(
                f"the image {printable(report.image)} is not there any more; search it again to"
                " show it"
            )
        from patchsim.output import thumbnails
        from patchsim.pictures.reduced import open_reduced

        way = self.opening._replace(frame=ShownFrame.of(report).frame)
        pixels = open_reduced(self.source, side, way, name=report.image)
        return thumbnails.stretched(pixels)


def kernels_as_html(summary: str, pictures: Sequence[Picture]) -> str:
    """Return a line and a table of the first kernels of a matcher, with their pictures."""
    import io

    from patchsim.output import html_page, thumbnails
    from patchsim.output.html_table import Markup, paragraph, table

    rows = []
    for picture in pictures[:_ROWS]:
        file = io.BytesIO()
        thumbnails.of_kernel(thumbnails.stretched(picture.pixels), picture.alpha).save(file, "PNG")
        address = html_page.data_url("png", file.getvalue())
        height, width = picture.pixels.shape[:2]
        rows.append([Markup(f'<img alt="" src="{address}">'), picture.name, width, height])
    more = len(pictures) - len(rows)
    parts = [paragraph(summary), table(["", "kernel", "width", "height"], rows)]
    return "".join(parts + ([paragraph(f"and {more} more")] if more else []))
