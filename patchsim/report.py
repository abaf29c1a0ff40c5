"""What a search found, as values, rows and JSON objects."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchsim.area import Region
from patchsim.errors import InputError
from patchsim.plan import Plan

COLUMNS = ("x", "y", "width", "height", "score", "kernel")
SUBPIXEL_COLUMNS = ("x_subpixel", "y_subpixel")


@dataclass(frozen=True, slots=True)
class Match:
    """A window that was found.

    Attributes
    ----------
    x, y : int
        Its top-left pixel, from 0.
    width, height : int
        The kernel's.
    score : float
        1 is identical.
    kernel : str
        The kernel's name.
    x_subpixel, y_subpixel : float or None
        Its top-left corner between the pixels, if ``subpixel`` was asked for and the pixels tell.
    """

    x: int
    y: int
    width: int
    height: int
    score: float
    kernel: str
    x_subpixel: float | None = None
    y_subpixel: float | None = None

    @property
    def center(self) -> tuple[float, float]:
        """(x, y) of the box's middle; the box spans from x to x + width."""
        return self.x + self.width / 2, self.y + self.height / 2


@dataclass(frozen=True)
class KernelReport:
    """One kernel of a search: its size, how it was searched, the files that were written.

    `origin` is x and y of the map's first window.
    """

    name: str
    width: int
    height: int
    engine: str
    tolerance: float
    heatmap: str | None
    map: str | None
    origin: tuple[int, int]


@dataclass(frozen=True)
class Report:
    """The result of `match`.

    Attributes
    ----------
    image : str
        The image's name.
    width, height : int
        Its size in pixels, as displayed.
    metric : str
    stride : (y, x)
    device : str
        That the first kernel was searched on.
    kernels : tuple of KernelReport
    matches : tuple of Match
        Best first; with ``per_kernel`` kernel by kernel.
    maps : tuple of float32 arrays [rows, cols]
        One a kernel if ``map`` was asked for, else empty.
    plans : tuple of Plan
        One a kernel.
    notices : tuple of str
        What the user should know about the pictures and how they were read.
    seconds : float
        The search took so long.
    color : str
        What image and kernels were compared in, as asked.
    subpixel : bool
        Whether positions between the pixels were asked for.
    region : (x, y, width, height) or None
        The part of the image that was searched, if not all of it.
    padding : str
        How it was continued beyond its border.
    """

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

    @property
    def best(self) -> Match | None:
        """The best match, or None where nothing reached the threshold."""
        return max(self.matches, key=lambda match: match.score, default=None)

    @property
    def map(self) -> NDArray[np.float32] | None:
        """The only kernel's map, or None if it was not asked for.

        Raises
        ------
        InputError
            With several kernels: use `maps`.
        """
        if len(self.kernels) > 1:
            raise InputError(f"there are {len(self.kernels)} kernels; use report.maps[i]")
        return self.maps[0] if self.maps else None


def columns(report: Report) -> tuple[str, ...]:
    """The names of what `rows` has: `COLUMNS`, and behind them what was asked for."""
    return COLUMNS + SUBPIXEL_COLUMNS if report.subpixel else COLUMNS


def rows(report: Report) -> list[tuple[Any, ...]]:
    """A row of `columns` a match."""
    names = columns(report)
    return [tuple(getattr(match, name) for name in names) for match in report.matches]


def objects(report: Report) -> list[dict[str, Any]]:
    """A JSON object a match."""
    return [
        {
            "x": match.x,
            "y": match.y,
            "width": match.width,
            "height": match.height,
            "center_x": match.center[0],
            "center_y": match.center[1],
            "score": match.score,
            "kernel": match.kernel,
            **{name: getattr(match, name) for name in columns(report)[len(COLUMNS) :]},
        }
        for match in report.matches
    ]


def document(report: Report) -> dict[str, Any]:
    """One JSON object with all of the report but its arrays."""
    only = report.kernels[0] if len(report.kernels) == 1 else None
    stride_y, stride_x = report.stride
    return {
        "image": report.image,
        "width": report.width,
        "height": report.height,
        "metric": report.metric,
        "stride": [stride_x, stride_y],
        "device": report.device,
        "engine": only and only.engine,
        "tolerance": None if only is None else only.tolerance,
        "heatmap": only and only.heatmap,
        "map": only and only.map,
        "kernels": [asdict(kernel) for kernel in report.kernels],
        "matches": objects(report),
        "seconds": report.seconds,
        "color": report.color,
        "region": report.region and list(report.region),
        "padding": report.padding,
    }
