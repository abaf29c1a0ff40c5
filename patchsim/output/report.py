"""The result of a search as values, and in the forms of other packages.

`Match` and `Report` are public as `patchsim.Match` and `patchsim.Report`, and name that module as
their own. Annotations are therefore evaluated here, where their names are known.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Protocol, overload

import numpy as np
from numpy.typing import NDArray

from patchsim.errors import InputError, printable
from patchsim.geometry.area import Region
from patchsim.planning.planner import Plan
from patchsim.scene.unusable import SkippedKernel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame

COLUMNS = ("x", "y", "width", "height", "score", "kernel")
MARGIN_COLUMNS = ("margin",)
SUBPIXEL_COLUMNS = ("x_subpixel", "y_subpixel")
POSE_COLUMNS = ("scale", "angle", "flip", "corners")
STRETCH_COLUMNS = ("scale_x", "scale_y")
INVERT_COLUMNS = ("inverted",)
FRAME_COLUMNS = ("frame",)
CRITERIA_COLUMNS = {"worst": ("worst",), "pixel_tolerance": ("differing", "max_difference")}
CENTER_COLUMNS = ("center_x", "center_y")


@dataclass(frozen=True, slots=True)
class Match:
    """One match: a window of the image, and its score.

    Attributes
    ----------
    x, y : int
        The column and row of its top-left pixel in the image, from 0; negative where the window
        hangs over the border, as with padding, or where a margin of the kernel does not count.
    width, height : int
        Its size in pixels: the kernel's, or that of the upright box around the posed kernel.
    score : float
        The exact score in the metric of the search; 1 is identical. That of a scaled or turned pose
        is `patchsim.registration.score`: the kernel's pixels against the image between its pixels.
    kernel : str
        The name of the kernel that was found.
    x_subpixel, y_subpixel : float or None
        The position of its top-left corner between the pixels; with a pose, that of the upright box
        around its `corners`. Scaled and turned poses always have it. Otherwise it is None without
        ``subpixel``, or where the pixels do not determine it.
    margin : float or None
        Its score less that of the best place that is no match and overlaps none. None without
        ``margin``, or where no such place is left.
    scale, angle : float
        The size and the rotation of the kernel in this match. Angles are degrees counter-clockwise
        as seen: as given in a range, from 0 to 360 in a list. Of scales along width and height that
        differ, `scale` is the geometric mean.
    flip : str
        The side change of the kernel before it was scaled and turned: ``none``; ``h``, left and
        right; ``v``, top and bottom.
    corners : tuple of four (x, y), or None
        The positions of the kernel's top-left, top-right, bottom-right and bottom-left corner in
        the image, to a fraction of a pixel; a pixel spans from x to x + 1. The match is the upright
        box around them, its edges rounded to whole pixels. None without poses.
    inverted : bool
        Whether the kernel was found in the other polarity, light on dark; see ``invert``.
    frame : int or None
        The frame or page of the image in which it was found, from 0; None if none was asked for.
    worst : float or None
        The lowest score of a block of the kernel (`patchsim.metrics.local_differences`). None
        without ``worst``.
    differing : int or None
        The number of pixels that differ by more than ``pixel_tolerance``. None without it.
    max_difference : float or None
        The largest difference of a channel of a pixel, in 255ths of the data range. None without
        ``pixel_tolerance``.
    stretch : (scale_y, scale_x), or None
        The scales along the kernel's height and width, before it was turned, if they differ.
    """

    __module__ = "patchsim"

    x: int
    y: int
    width: int
    height: int
    score: float
    kernel: str
    x_subpixel: float | None = None
    y_subpixel: float | None = None
    margin: float | None = None
    scale: float = 1.0
    angle: float = 0.0
    flip: str = "none"
    corners: tuple[tuple[float, float], ...] | None = None
    inverted: bool = False
    frame: int | None = None
    worst: float | None = None
    differing: int | None = None
    max_difference: float | None = None
    stretch: tuple[float, float] | None = None

    def __repr__(self) -> str:
        shown = [(one.name, getattr(self, one.name), one.default) for one in fields(self)]
        return f"Match({', '.join(f'{k}={v!r}' for k, v, usual in shown if v != usual)})"

    @property
    def scale_x(self) -> float:
        """The scale along the kernel's width, before it was turned."""
        return self.scale if self.stretch is None else self.stretch[1]

    @property
    def scale_y(self) -> float:
        """The scale along the kernel's height, before it was turned."""
        return self.scale if self.stretch is None else self.stretch[0]

    @property
    def center(self) -> tuple[float, float]:
        """The middle of the box, (x, y) in pixels; the box spans from x to x + width."""
        return self.x + self.width / 2, self.y + self.height / 2

    @property
    def click(self) -> tuple[int, int]:
        """The pixel in the middle of the box, (x, y), as a mouse is moved to it."""
        return self.x + self.width // 2, self.y + self.height // 2


@dataclass(frozen=True)
class KernelReport:
    """One kernel of a search.

    Attributes
    ----------
    name : str
    width, height : int
        The size of the kernel in pixels.
    engine : str
        The engines that computed its scores, with commas between them; ``poses`` where poses were
        fitted without scores of windows; ``none`` where nothing was searched, because the threshold
        ``auto`` has too few places in such a picture.
    tolerance : float
        The largest error of the scores in its map.
    heatmap, map : str or None
        The files that were written.
    origin : (x, y)
        The position of the map's first window, as that of a match: of the whole kernel.
    threshold : float or None
        The lowest score of its matches, as given or as found.
    empty_score : float
        The score of the kernel in an empty area, which has the kernel's mean colour. A lower
        threshold is reached by places without the kernel.
    """

    name: str
    width: int
    height: int
    engine: str
    tolerance: float
    heatmap: str | None
    map: str | None
    origin: tuple[int, int]
    threshold: float | None
    empty_score: float


@dataclass(frozen=True)
class BestBelow:
    """The best place of a search without a match, as far as little work tells it.

    Attributes
    ----------
    kernel : str
        The name of the kernel.
    x, y : int or None
        The top-left pixel of the best window, or of the box of the best pose, that was looked at.
    score : float or None
        Its exact score. Without a look all three are None.
    at_most : float or None
        The score that no window exceeds; that of `score` if it is the best of all. None for poses
        that are searched coarse to fine, of which others may score more.
    """

    kernel: str
    x: int | None
    y: int | None
    score: float | None
    at_most: float | None


@dataclass(frozen=True)
class FrameReport:
    """One frame of a search in frames or pages of an image.

    Attributes
    ----------
    frame : int
        Its number, from 0.
    width, height : int
        Its size in pixels.
    threshold : float or None
        The lowest score of its matches, as given or as found.
    """

    frame: int
    width: int
    height: int
    threshold: float | None


@dataclass(frozen=True)
class PosesReport:
    """The poses of a search, each scale with each angle and flip.

    Attributes
    ----------
    scales, angles : tuple of float
        The values in rising order; a range has those of its steps and its end, or without a step
        its two ends.
    scale_step, angle_step : float or None
        The step of a range; None for a list and for a range without a step.
    flips : tuple of str
        ``none``, and ``h`` and ``v`` if they were asked for.
    exhaustive : bool
        Whether every pose was compared with every window.
    count : int or None
        The number of poses of a kernel that differ, of the values in `scales` and `angles`. A flip
        of top and bottom is a flip of left and right and half a turn. None for a range without a
        step, unless `exhaustive`; then it is the number of poses of the largest kernel.
    stretches : tuple of (scale_y, scale_x)
        The scales along height and width that differ, in rising order; x first in JSON.
    """

    scales: tuple[float, ...]
    angles: tuple[float, ...]
    scale_step: float | None
    angle_step: float | None
    flips: tuple[str, ...]
    exhaustive: bool
    count: int | None
    stretches: tuple[tuple[float, float], ...] = ()


class Display(Protocol):
    """What shows reports of one image: `patchsim.output.notebook.ImageDisplay`."""

    def as_html(self, report: "Report") -> str:
        """Return HTML for a notebook."""

    def show(self, report: "Report") -> None:
        """Open a picture in the system's viewer."""

    def plot(self, report: "Report", ax: "Axes | None") -> "Axes":
        """Draw into axes of Matplotlib."""


@dataclass(frozen=True)
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
    display: Display | None = field(default=None, repr=False, compare=False)

    def __repr__(self) -> str:
        return f"<patchsim.Report: {self.summary}>"

    def _repr_html_(self) -> str | None:
        return None if self.display is None else self.display.as_html(self)

    @property
    def summary(self) -> str:
        """What was found, in one line."""
        count, names = len(self.matches), [kernel.name for kernel in self.kernels]
        sought = names[0] if len(names) == 1 else f"{len(names)} kernels"
        text = f"{count} match{'es' * (count != 1)} of {sought} in {self.image}"
        if (best := self.best) is not None:
            text += f", best score {best.score:.6g} at x {best.x}, y {best.y}"
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
        try:
            import pandas
        except ModuleNotFoundError:
            raise InputError(
                "to_pandas needs pandas, which is not installed; pip install pandas"
            ) from None
        return pandas.DataFrame(objects(self), columns=list(_keys(self)))

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
        names = dict.fromkeys(searched)
        numbers = {name: number for number, name in enumerate(names, 1)}
        annotations = [
            {
                "image_id": image_id,
                "category_id": numbers[match.kernel],
                "bbox": [match.x, match.y, match.width, match.height],
                "score": match.score,
            }
            for match in self.matches
        ]
        categories = [{"id": number, "name": name} for name, number in numbers.items()]
        return {"annotations": annotations, "categories": categories}

    def row_col(self) -> NDArray[np.int64]:
        """Return the matches' top-left pixels in the order of axes that scikit-image has.

        Returns
        -------
        int64 array [N, 2]
            The row and column of each match's top-left pixel, from 0, in the order of `matches`.
        """
        return np.array([(m.y, m.x) for m in self.matches], np.int64).reshape(-1, 2)

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
        corners = [m.corners or box(m) for m in self.matches]
        edges: NDArray[np.float64] = np.array(corners, np.float64).reshape(-1, 4, 2)
        # Each corner moves half a pixel inwards along both sides. Then all move by half a pixel,
        # because napari has the centres of pixels at whole numbers.
        ahead, back = np.roll(edges, -1, 1) - edges, np.roll(edges, 1, 1) - edges
        for side in (ahead, back):
            edges += side / np.linalg.norm(side, axis=2, keepdims=True) / 2
        return edges[..., ::-1] - 0.5


def box(match: Match) -> list[tuple[int, int]]:
    """List a match's corners (x, y), clockwise from the top-left one."""
    right, bottom = match.x + match.width, match.y + match.height
    return [(match.x, match.y), (right, match.y), (right, bottom), (match.x, bottom)]


def columns(report: Report) -> tuple[str, ...]:
    """List the names of what is printed of each match: `COLUMNS`, then what was asked for."""
    margin = MARGIN_COLUMNS if report.margin else ()
    subpixel = SUBPIXEL_COLUMNS if report.subpixel else ()
    frame = FRAME_COLUMNS if report.frames else ()
    criteria = tuple(name for one in report.criteria for name in CRITERIA_COLUMNS[one])
    posed = POSE_COLUMNS if report.posed else ()
    inverted = INVERT_COLUMNS if report.inverts else ()
    stretched = STRETCH_COLUMNS if report.poses is not None and report.poses.stretches else ()
    return COLUMNS + margin + subpixel + posed + inverted + frame + criteria + stretched


def objects(report: Report) -> list[dict[str, Any]]:
    """Return the matches as JSON objects."""
    keys = _keys(report)
    return [{key: value(match, key) for key in keys} for match in report.matches]


def value(match: Match, key: str) -> Any:
    """Return what a match has under one of `choices.COLUMNS`."""
    if key in ("center_x", "center_y"):
        return match.center[key == "center_y"]
    if key in ("click_x", "click_y"):
        return match.click[key == "click_y"]
    if key[1:].isdecimal():  # x1, y1 and so on
        return (match.corners or box(match))[int(key[1:]) - 1][key[0] == "y"]
    return getattr(match, key)


def _keys(report: Report) -> tuple[str, ...]:
    """List the keys of `objects`."""
    *box, score, kernel = COLUMNS
    asked = columns(report)[len(COLUMNS) :]
    return *box, "center_x", "center_y", score, kernel, *asked, "click_x", "click_y"
