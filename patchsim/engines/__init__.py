"""The ways to compute a map, one file each, and what all of them promise.

An engine is a module with the names of `Engine`; a new one is a new file, and its
name in `choices.ENGINES`.
Importing an engine must be cheap: what it needs to run (torch) it imports in `prepare`.

It may use `metrics`, `numerics`, `machine`, `geometry` and what lies below; an engine knows nothing
of plans, files or progress. Others use `Problem`, `Bounds`, `load` and the functions here.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from types import ModuleType
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from patchsim import choices
from patchsim.geometry import tiles
from patchsim.geometry.tiles import Tile
from patchsim.metrics import Kernel
from patchsim.types import Pixels, Weights


@dataclass(frozen=True)
class Bounds:
    """Scores of a tile, and how far each may be off.

    Attributes
    ----------
    map : float64 array [rows, cols]
        Scores; the true score of a cell lies within ``map ± error``.
    error : float or array [rows, cols]
        0 where the map holds the very values that `metrics.exact` gives.
    hidden : bool array [rows, cols], optional
        Windows of which too little is visible: no matches, with 0 in the map.
    """

    map: NDArray[np.float64]
    error: float | NDArray[np.floating[Any]] = 0.0
    hidden: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class Seen:
    """How much is visible of a tile, whose pixels are not all as visible.

    Attributes
    ----------
    levels : uint8 array [H, W]
        Of its pixels.
    counts : int64 array [C, rows, cols]
        Of its windows: the sum of the kernel's weights, times the level of the pixel under each.
    """

    levels: NDArray[np.uint8]
    counts: NDArray[np.int64]

    @property
    def total(self) -> NDArray[np.float64]:
        """Over all channels, whole numbers; 1 where nothing is visible."""
        # Times a squared data range it may be more than 64 bits hold.
        found: NDArray[np.float64] = np.maximum(self.counts.sum(0), 1).astype(np.float64)
        return found


@dataclass(frozen=True)
class Problem:
    """One kernel against one image: all that an engine needs to know to judge the work."""

    image: tuple[int, int, int]  # height, width, channels
    kernel: tuple[int, int, int]
    dtype: str  # of both: uint8, uint16, float32 or float64
    stride: tuple[int, int]  # y, x
    metric: str
    span: float  # the data range R
    device: str  # or several of one kind, with commas
    threads: int  # that take tiles
    tolerance: float = 0.0  # the largest error that scores may have beside their rounding
    exact: bool = False  # every score as `metrics.exact` gives it
    map_wanted: bool = True  # the scores of all windows, not the best ones alone
    weight: int | None = None  # the sum of the kernel's weights, if it has any
    heaviest: int = 1  # the largest of them
    cells: int | None = None  # cells.COARSE ones where the weights count, if it is of use
    per_channel: bool = False  # whether each value of a pixel has one of its own
    most_visible: int | None = None  # of the image's pixels, where not all are as visible
    least: int = 0  # weights times visibility of a window that is scored
    together: int = 1  # kernels of about this size that are compared with the same pixels in turn

    @property
    def map_shape(self) -> tuple[int, int]:
        return tiles.map_shape(self.image[:2], self.kernel[:2], self.stride)

    @property
    def taps(self) -> int:
        height, width, channels = self.kernel
        return height * width * channels

    @property
    def devices(self) -> tuple[str, ...]:
        return tuple(self.device.split(","))

    @property
    def total_weight(self) -> int:
        """How many values of a window count, or the sum of their weights."""
        if self.weight is None:
            return self.taps
        return self.weight if self.per_channel else self.weight * self.kernel[2]

    def where_visible(self, most: int, share: float) -> Problem:
        """The same in an image of which pixels are visible at the most so much, `Visibility.most`.

        Windows of which less than this share is are not scored.
        """
        least = _least(share, self.total_weight * most)
        return replace(self, most_visible=most, least=least)

    @property
    def differences(self) -> int:
        rows, cols = self.map_shape
        return rows * cols * self.taps


def _least(share: float, total: int) -> int:
    """The smallest whole number that is at least this share of the total."""
    least = math.ceil(share * total)
    # The product is rounded; the share itself is what a quotient of whole numbers rounds to.
    while (least - 1) / total >= share:
        least -= 1
    while least / total < share:
        least += 1
    return least


Least = NDArray[np.uint16]  # [rows, cols]
GONE = 65535


@dataclass(frozen=True)
class Look:
    """What was found among some windows.

    Attributes
    ----------
    difference, row, col : int
        Of the best window evaluated, if it is within the limit; else the row is -1.
    evaluated, compared : int
        How many windows were, and how many of their rows.
    done : bool
        Whether all were that could be the best.
    """

    difference: int
    row: int
    col: int
    evaluated: int
    compared: int
    done: bool


# Takes the pixels of a tile, and, where not all of the image is visible, their `Visibility` levels.
Score = Callable[..., Bounds]
# Takes the `Shared` of a tile, how many of its windows count, the first (rows, cols), and,
# where not all of the image is visible, their `Seen`.
SharedScore = Callable[..., Bounds]


class Engine(Protocol):
    """What every engine module has."""

    OWN_THREADS: bool
    """True if `score` uses `problem.threads` threads itself; otherwise tiles run in a pool."""

    def refuse(self, problem: Problem) -> str | None:
        """Why this cannot be done as promised, or None."""

    def start_up(self, problem: Problem) -> float:
        """Seconds that the first use would cost this process: imports, a GPU's context."""

    def seconds(self, problem: Problem) -> float:
        """Estimated seconds of the work itself; on one accelerator, if there are several."""

    def best_tile(self, problem: Problem) -> tuple[int, int] | None:
        """The tile (rows, cols) that wastes least, or None if any will do.

        Memory may force a smaller one.
        """

    def working_bytes(self, problem: Problem, rows: int, cols: int) -> int:
        """Memory that scoring a tile of rows x cols windows takes at its peak.

        The tile's pixels, which lie in the image, and the returned map do not count.
        """

    def prepare(self, kernel: Pixels, problem: Problem, weights: Weights | None = None) -> Score:
        """Do what is done once for the kernel; the result scores any tile's pixels [h, w, C].

        Where not all of the image is visible it takes the tile's `Seen`, too, and scores what is.

        An engine that draws no map has `search` instead.
        """


class Search(Protocol):
    """What an engine without a map finds of one kernel in an image, for `Candidates`.

    Made by the engine's ``search(image, kernel, problem, weights, beside)``; `beside` is another
    such search in the same image or None. Differences are integers, and bounds of them 16-bit
    numbers in a unit of the engine's own; GONE is no bound but a window dropped.
    """

    problem: Problem

    def bounds(self, tile: Tile) -> Least:
        """What the windows of a tile differ at least."""

    def refine(self, tile: Tile, least: Least, place: Tile) -> None:
        """Raise the bounds of a tile, which are in that place of `least`, at some cost."""

    def look(self, tile: Tile, least: Least, place: Tile, limit: int, most: int) -> Look:
        """The best window of a tile that differs by at most `limit`, of equal ones the first.

        The window of the least bound comes first. After `most` rows of windows have been compared
        with the kernel it ends as it is. In `least`, in which the tile's are in that place, bounds
        of windows that were evaluated are raised.
        """

    def score(self, difference: int) -> float:
        """The score of a window."""

    def largest(self, score: float) -> int:
        """The largest difference with at least this score, or -1."""

    def highest(self, least: Least) -> NDArray[np.float64]:
        """The best scores that windows of these bounds could have; -inf of dropped ones."""


def load(name: str) -> Engine:
    """The engine of that name.

    Raises
    ------
    InputError
        If there is none.
    """
    choices.check("engine", name, ("auto", *choices.ENGINES))
    return cast(Engine, importlib.import_module(f"patchsim.engines.{name}"))


@cache
def extension(name: str) -> ModuleType | None:
    """A C extension of the engines, or None if it was not built."""
    try:
        return importlib.import_module(f"patchsim.engines.{name}")
    except ImportError:
        return None


def shares(name: str) -> bool:
    """Whether an engine has `prepare_together`, for kernels that share what is made of a tile."""
    return hasattr(load(name), "prepare_together")


def prepare_together(
    name: str, kernels: Sequence[Kernel], problems: Sequence[Problem]
) -> list[SharedScore]:
    """What such an engine does once for some kernels; each has weights, or none has."""
    engine: Any = load(name)
    return cast("list[SharedScore]", engine.prepare_together(kernels, problems))


def kernel_bytes(name: str, problem: Problem, rows: int, cols: int) -> int:
    """Memory that such an engine takes for each kernel, beside that for a tile of rows x cols."""
    engine: Any = load(name)
    return int(engine.kernel_bytes(problem, rows, cols))


def searches(name: str) -> bool:
    """Whether an engine draws no map, but has `search`."""
    return hasattr(load(name), "search")


def search(
    name: str, image: Pixels, kernel: Kernel, problem: Problem, beside: Search | None = None
) -> Search:
    """What such an engine finds."""
    engine: Any = load(name)
    return cast(Search, engine.search(image, kernel.pixels, problem, kernel.weights, beside))
