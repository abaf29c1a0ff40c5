"""The parts of a report as values: its matches, kernels, frames and poses.

`Match` is public as `patchsim.Match`, and names that module as its own. Annotations are therefore
evaluated here, where their names are known.
"""

from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True, slots=True, repr=False)
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
        return f"Match({', '.join(f'{name}={value!r}' for name, value in self._told().items())})"

    def _repr_html_(self) -> str:
        from patchsim.output.html_table import table  # few matches are shown

        told = {name: value for name, value in self._told().items() if name != "corners"}
        return table([*told], [[*told.values()]])

    def _told(self) -> dict[str, Any]:
        """Return the attributes that are not as in most matches."""
        values = ((one.name, getattr(self, one.name), one.default) for one in fields(self))
        return {name: value for name, value, usual in values if value != usual}

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
    inverted : bool
        Whether it is of the kernel in the other polarity; see ``invert``.
    """

    kernel: str
    x: int | None
    y: int | None
    score: float | None
    at_most: float | None
    inverted: bool = False


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


def box(match: Match) -> list[tuple[int, int]]:
    """List a match's corners (x, y), clockwise from the top-left one."""
    right, bottom = match.x + match.width, match.y + match.height
    return [(match.x, match.y), (right, match.y), (right, bottom), (match.x, bottom)]
