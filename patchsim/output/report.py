"""The result of a search.

`Report` is public as `patchsim.Report`, and names that module as its own. Annotations are therefore
evaluated here, where their names are known.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, overload

import numpy as np
from numpy.typing import NDArray

from patchsim.errors import InputError, printable
from patchsim.geometry.area import Region
from patchsim.metrics.written import told
from patchsim.output import columns
from patchsim.output.report_parts import BestBelow, FrameReport, KernelReport, Match, PosesReport
from patchsim.planning.planner import Plan
from patchsim.scene.unusable import SkippedKernel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame
    from PIL.Image import Image


class Display(Protocol):
    """A display of reports of one image, as `patchsim.output.notebook.ImageDisplay` is."""

    def as_html(self, report: "Report") -> str:
        """Return HTML for a notebook."""

    def as_png(self, report: "Report") -> bytes | None:
        """Return the preview as a PNG file, or None if there is no image."""

    def show(self, report: "Report") -> None:
        """Open a picture in the system's viewer."""

    def plot(self, report: "Report", ax: "Axes | None") -> "Axes":
        """Draw into axes of Matplotlib."""

    def preview(self, report: "Report") -> "Image":
        """Draw the image with boxes around the matches, as large as a screen shows."""

    def thumbnail(self, report: "Report", side: int) -> "Image":
        """Return the image without boxes, reduced to a longer side of so many pixels."""


@dataclass(frozen=True, repr=False)
class Report:
    """The result of `match`.

    A report is a sequence of its matches: it iterates them in their order, ``report[0]`` is the
    first and ``report[:3]`` a tuple of three, `len` counts them, and it is false when nothing was
    found.

    Attributes
    ----------
    image : str
        The image's name.
    width, height : int
        Its size in pixels, as displayed.
    metric : str
        How windows were compared: ``sad``, ``ssd``, ``ncc`` or ``zncc``.
    stride : (y, x)
        The step between windows in pixels.
    device : str
        The device that the first kernel was searched on.
    kernels : tuple of KernelReport
        One for each kernel that was searched for, in the order in which they were given.
    matches : tuple of Match
        Best first; with ``per_kernel`` kernel by kernel; with ``sort="reading"`` in the order in
        which people read them.
    maps : tuple of float32 arrays [rows, cols]
        The scores of all windows, one array for each kernel, if ``map`` was asked for; otherwise,
        and of an image that is read by windows, the tuple is empty.
    plans : tuple of Plan
        How each kernel was searched for in windows; empty where poses were fitted without.
    notices : tuple of str
        What the user should know about the pictures and how they were read.
    seconds : float
        The time that the search and the writing of its files took.
    color : str
        The colour space in which image and kernels were compared, as asked.
    subpixel : bool
        Whether positions between the pixels were asked for.
    region : (x, y, width, height) or None
        The part of the image that was searched, if not all of it.
    padding : str
        How the image or region was continued beyond its border.
    margin : bool
        Whether margins were looked for.
    threshold : float or None
        The lowest score of a match, as given or as found by ``auto``. None without a threshold,
        where no match stands out, and where each kernel has its own, which is in `kernels`.
    min_visible : float or None
        The smallest visible share of a match, if a part of the image is transparent.
    channel_weights : tuple of float or None
        The weight of each channel, if weights were given.
    poses : PosesReport or None
        The poses that were searched, if any were asked for.
    skipped : tuple of SkippedKernel
        Kernels that could not be used.
    best_below : BestBelow or None
        How close the best place came, if nothing reached the threshold.
    frames : tuple of FrameReport
        The frames or pages that were searched, if one was asked for or all. What else is of one
        image is that of the first. Without ``frame`` it is empty.
    criteria : tuple of str
        The options about single places of a match that were given: ``worst``, ``pixel_tolerance``.
    inverts : bool
        Whether the kernels were also searched inverted.
    missing : tuple of (x, y, width, height)
        The parts of the image whose windows could not be scored, because workers of a cluster
        failed there: matches inside may be missing. Otherwise it is empty.
    level : int
        The level of a pyramid that was searched, 0 for the largest: places and sizes are its own.
    display : Display or None
        Shows the report in notebooks and figures. It keeps the path or the array of the image,
        and opens it again; not after pickling.
    """

    __module__ = "patchsim"

    image: str
    width: int
    height: int
    metric: str
    stride: tuple[int, int]
    device: str
    kernels: tuple[KernelReport, ...]
    matches: tuple[Match, ...]
    maps: tuple[NDArray[np.float32], ...] = field(repr=False, compare=False)
    plans: tuple[Plan, ...] = field(repr=False, compare=False)
    notices: tuple[str, ...]
    seconds: float
    color: str
    subpixel: bool
    region: Region | None
    padding: str
    margin: bool
    threshold: float | None
    min_visible: float | None = None
    channel_weights: tuple[float, ...] | None = None
    poses: PosesReport | None = None
    skipped: tuple[SkippedKernel, ...] = ()
    best_below: BestBelow | None = None
    frames: tuple[FrameReport, ...] = ()
    criteria: tuple[str, ...] = ()
    inverts: bool = False
    missing: tuple[Region, ...] = ()
    level: int = 0
    display: Display | None = field(default=None, repr=False, compare=False)

    def __repr__(self) -> str:
        return f"<patchsim.Report: {self.summary}>"

    def _repr_html_(self) -> str | None:
        return None if self.display is None else self.display.as_html(self)

    def _repr_png_(self) -> bytes | None:
        return None if self.display is None else self.display.as_png(self)

    @property
    def summary(self) -> str:
        """The number of matches and the best one, in one line."""
        count, names = len(self.matches), [kernel.name for kernel in self.kernels]
        sought = names[0] if len(names) == 1 else f"{len(names)} kernels"
        text = f"{count} match{'es' * (count != 1)} of {sought} in {self.image}"
        if (best := self.best) is not None:
            text += f", best score {told(best.score)} at x {best.x}, y {best.y}"
        return printable(text)

    def show(self) -> None:
        """Open the image with boxes around the matches in the system's viewer of pictures.

        Raises
        ------
        InputError
            The image is not there any more.
        """
        self._display().show(self)

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw the image and the outlines of the matches with Matplotlib.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw; by default the axes of a new figure. Coordinates are those of the
            matches: a pixel spans from x to x + 1.

        Returns
        -------
        matplotlib.axes.Axes
            The axes that were given or made.

        Raises
        ------
        InputError
            Matplotlib is not installed, or the image is not there any more.
        """
        return self._display().plot(self, ax)

    def _display(self) -> Display:
        if self.display is None:
            raise InputError("this report was not made by a search, so that it has no image")
        return self.display

    def __bool__(self) -> bool:
        return bool(self.matches)

    def __len__(self) -> int:
        return len(self.matches)

    def __iter__(self) -> Iterator[Match]:
        return iter(self.matches)

    @overload
    def __getitem__(self, index: int) -> Match: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Match, ...]: ...

    def __getitem__(self, index: int | slice) -> Match | tuple[Match, ...]:
        return self.matches[index]

    @property
    def posed(self) -> bool:
        """Whether poses were asked for."""
        return self.poses is not None

    @property
    def best(self) -> Match | None:
        """The best match, or None where nothing reached the threshold."""
        return max(self.matches, key=lambda match: match.score, default=None)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of what is printed of each match."""
        return columns.usual(
            margin=self.margin,
            subpixel=self.subpixel,
            posed=self.posed,
            inverts=self.inverts,
            frames=bool(self.frames),
            criteria=self.criteria,
            stretched=self.poses is not None and bool(self.poses.stretches),
        )

    @property
    def map(self) -> NDArray[np.float32] | None:
        """The only kernel's map, float32 [rows, cols], or None if it was not asked for.

        Raises
        ------
        InputError
            The search had several kernels; `maps` has the map of each.
        """
        if len(self.kernels) > 1:
            raise InputError(f"there are {len(self.kernels)} kernels; use report.maps[i]")
        return self.maps[0] if self.maps else None

    def to_pandas(self) -> "DataFrame":
        """Return the matches as a table of pandas.

        Returns
        -------
        pandas.DataFrame
            One row for each match, in the order of `matches`. The columns are the keys that a match
            has in the JSON output; without a match the table has the columns and no rows.

        Raises
        ------
        InputError
            A ValueError: pandas is not installed.
        """
        from patchsim.output import conversions

        return conversions.to_pandas(self.matches, columns.keys(self.columns))

    def to_coco(self, image_id: int = 0) -> dict[str, list[dict[str, Any]]]:
        """Return the matches in the format that COCO has for detections.

        Parameters
        ----------
        image_id : int
            The number that the image has in the COCO data set.

        Returns
        -------
        dict
            ``annotations``, with ``image_id``, ``category_id``, ``bbox`` ([x, y, width, height] in
            pixels, from the top-left corner) and ``score``; ``categories``, with ``id``, from 1 in
            the order in which the kernels were given, and ``name``. Kernels of one name are one
            category.
        """
        searched = [kernel.name for kernel in self.kernels]
        for one in self.skipped:  # in order, so that each takes its place
            searched.insert(one.number, one.name)
        from patchsim.output import conversions

        return conversions.to_coco(self.matches, searched, image_id)

    def row_col(self) -> NDArray[np.int64]:
        """Return the matches' top-left pixels in the order of axes that scikit-image has.

        Returns
        -------
        int64 array [N, 2]
            The row and column of each match's top-left pixel, from 0, in the order of `matches`.
        """
        from patchsim.output import conversions

        return conversions.row_col(self.matches)

    def row_col_rectangles(self) -> NDArray[np.float64]:
        """Return the matches' corners as the shapes layer of napari takes rectangles.

        Returns
        -------
        float64 array [N, 4, 2]
            The row and column, in pixels, of the centres of each match's four corner pixels, in the
            order of `matches`. Centres of pixels are at whole numbers. The corners go clockwise
            from the top-left one. With poses they start at the kernel's own top-left corner, and go
            counter-clockwise where the kernel is mirrored.
        """
        from patchsim.output import conversions

        return conversions.row_col_rectangles(self.matches)
