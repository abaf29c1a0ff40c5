"""The contract between engines and the rooms that use them: types and protocols.

An engine is a module, or a package whose `__init__` has the names of one of the protocols. Every
engine declares what it can do by constants: `HAS_MAP`, that it scores all windows of a tile
(`MapEngine`; otherwise it is a `SearchEngine`), and `SHARES`, that several kernels can share what
is computed from one tile (`SharingEngine`). One with a map has `IS_EXACT`, too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol, TypeGuard

import numpy as np
from numpy.typing import NDArray

from patchsim.engines.problem import Problem
from patchsim.engines.tile_cache import Shared
from patchsim.geometry.blocks import reduce_blocks
from patchsim.geometry.tiles import Tile
from patchsim.metrics import Kernel
from patchsim.types import Pixels, Weights


class BlockBounds(NamedTuple):
    """The largest score and error of each block of a tile; blocks as in `geometry.blocks`.

    Attributes
    ----------
    maxima : float32 array [blocks, blocks]
        The largest score in the map.
    errors : float32 array [blocks, blocks]
        The largest error of a score. Where it is 0, the scores are exact.
    """

    maxima: NDArray[np.float32]
    errors: NDArray[np.float32]


class Bounds(NamedTuple):
    """Scores of a tile, and how far each may be off.

    Attributes
    ----------
    map : float64 or float32 array [rows, cols]
        Scores; the true score of a cell lies within ``map ± error``.
    error : float or array [rows, cols]
        0 where the map holds the very values that `metrics.exact` gives.
    hidden : bool array [rows, cols], optional
        Windows of which too little is visible: no matches, with 0 in the map. An engine that
        `can_bound_blocks` states them, for others `common.visibility` does.
    blocks : BlockBounds, optional
        Given by an engine that `can_bound_blocks`, for blocks that begin at the tile's first cell.
    """

    map: NDArray[np.float64] | NDArray[np.float32]
    error: float | NDArray[np.floating[Any]] = 0.0
    hidden: NDArray[np.bool_] | None = None
    blocks: BlockBounds | None = None

    def opposite(self) -> Bounds:
        """Return the bounds of scores with the other sign."""
        blocks = None
        if self.blocks is not None:
            visible = self.map if self.hidden is None else np.where(self.hidden, np.inf, self.map)
            block_minima = reduce_blocks(np.minimum, visible, Tile(0, 0, *self.map.shape))
            blocks = BlockBounds((-block_minima).astype(np.float32), self.blocks.errors)
        # Less than 0, and not times -1, so that no score is minus 0.
        return Bounds(0 - self.map, self.error, self.hidden, blocks)

    @staticmethod
    def estimate_bytes(rows: int, cols: int) -> int:
        """Return the bytes of so many scores with an error each."""
        score_bytes, error_bytes = 8, 8
        return rows * cols * (score_bytes + error_bytes)


@dataclass(frozen=True, eq=False, repr=False)
class Seen:
    """Visibility of a tile whose pixels are not all equally visible.

    Attributes
    ----------
    levels : uint8 array [H, W]
        Visibility of the tile's pixels.
    count : levels -> int64 array [C, rows, cols]
    """

    levels: NDArray[np.uint8]
    count: Callable[[NDArray[np.uint8]], NDArray[np.int64]]

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """For each window, the sum of the kernel's weights times the level of the pixel under each.

        An engine that states `Bounds.hidden` has no use for them.
        """
        return self.count(self.levels)

    @property
    def total(self) -> NDArray[np.float64]:
        """The counts summed over all channels, whole numbers; 1 where nothing is visible."""
        # Times a squared data range it may be more than 64 bits hold.
        counts: NDArray[np.float64] = np.maximum(self.counts.sum(0), 1).astype(np.float64)
        return counts


LowerBounds = NDArray[np.uint16]  # [rows, cols], of differences, in a unit of the engine
REMOVED = 65535  # stands for a window that was removed


class Look(NamedTuple):
    """The result of a look at some windows.

    Attributes
    ----------
    score : float
    row, col : int
        The best window evaluated, if it reaches the floor; otherwise the row is -1.
    evaluated, compared : int
        Number of windows evaluated, and of their rows compared.
    done : bool
        Whether all windows were evaluated that could be the best.
    """

    score: float
    row: int
    col: int
    evaluated: int
    compared: int
    done: bool


class Scorer(Protocol):
    """Scores the windows of a tile, for one kernel."""

    def __call__(self, pixels: Pixels, seen: Seen | None = None, /) -> Bounds:
        """Return the scores.

        Parameters
        ----------
        pixels : array [h, w, C]
            The pixels under the tile.
        seen : Seen, optional
            Visibility of the tile; given if and only if the problem's pixels differ in it.
        """


class SharedScorer(Protocol):
    """Scores the windows of a tile, for one of several kernels that share its pixels."""

    def __call__(
        self, shared: Shared, windows: tuple[int, int], seen: Seen | None = None, /
    ) -> Bounds:
        """Return the scores of the first (rows, cols) windows of the tile.

        `seen` is their visibility, given if and only if the problem's pixels differ in it.
        """


class TileScorer(Protocol):
    """Scores the windows of a tile from pixels and their visibility, for one kernel."""

    def __call__(self, pixels: Pixels, levels: NDArray[np.uint8] | None = None, /) -> Bounds:
        """Return the scores.

        `levels` [h, w] is the visibility of the pixels [h, w, C], given if and only if it differs
        between the image's pixels.
        """


# Scores a tile for one of several kernels, from the tile, which holds its pixels and their
# visibility, and the number (rows, cols) of its first windows that count.
SharedTileScorer = Callable[[Shared, tuple[int, int]], Bounds]


class Engine(Protocol):
    """The names that every engine module has."""

    OWN_THREADS: bool
    """True if the engine uses `problem.threads` threads itself; otherwise tiles run in a pool."""

    HAS_MAP: bool
    """True if the engine scores all windows, as `MapEngine`; otherwise it is a `SearchEngine`."""

    SHARES: bool
    """True if kernels can share what is computed from a tile: a `SharingEngine`."""

    def refuse(self, problem: Problem) -> str | None:
        """Return why the engine cannot solve the problem as promised, or None."""

    def start_up(self, problem: Problem) -> float:
        """Return the seconds before the work: of imports, a GPU's context, and for each kernel.

        What prepares kernels counts for each image by the problem's `image_count`.
        """

    def seconds(self, problem: Problem) -> float:
        """Estimate the seconds of the work itself; on one accelerator, if there are several."""

    def best_tile(self, problem: Problem) -> tuple[int, int] | None:
        """Return the tile (rows, cols) that wastes least, or None if any will do.

        Memory may force a smaller one.
        """

    def working_bytes(self, problem: Problem, rows: int, cols: int) -> int:
        """Return the peak memory, in bytes, of scoring a tile of rows x cols windows.

        The tile's pixels, which lie in the image, do not count, nor does `Bounds.estimate_bytes`.
        """


class MapEngine(Engine, Protocol):
    """An engine that scores every window of a tile."""

    IS_EXACT: bool
    """True if its scores of integers are exact unless blocks are bounded, asked for or not."""

    def can_bound_blocks(self, problem: Problem) -> bool:
        """Return whether scores are float32 and come with `Bounds.blocks`.

        These leave out windows of which too little is visible.
        """

    def prepare(self, kernel: Pixels, problem: Problem, weights: Weights | None = None) -> Scorer:
        """Do what needs the kernel alone, once; the result scores any tile's pixels."""

    def kernel_bytes(self, problem: Problem, rows: int, cols: int) -> int:
        """Return the bytes that a prepared kernel keeps, once it has scored rows x cols windows.

        They are part of `working_bytes` for one kernel alone, and come to it for each of several.
        """


class SharingEngine(MapEngine, Protocol):
    """An engine whose kernels can share what is computed from a tile."""

    def prepare_together(
        self, kernels: Sequence[Kernel], problems: Sequence[Problem]
    ) -> list[SharedScorer]:
        """Prepare kernels that share tiles; all have weights, or none has."""


class SearchEngine(Engine, Protocol):
    """An engine that finds the best windows without a map."""

    def search(
        self,
        image: Pixels,
        kernel: Pixels,
        problem: Problem,
        weights: Weights | None = None,
        beside: Search | None = None,
    ) -> Search:
        """Prepare the search of an image for a kernel.

        `beside` is another search of this engine in the same image, with which it may share work.
        """

    def finder(
        self, kernel: Kernel, problem: Problem, seconds: float, image: Pixels
    ) -> Finder | None:
        """Prepare to find the best window alone in one picture after another, like an image.

        It gives up where that could take longer than another way, which takes `seconds`. None if
        the engine has no quicker way than `search`.
        """


class Finder(Protocol):
    """Finds the best window of one kernel in pictures of one shape."""

    working_bytes: int
    """The bytes that it takes."""

    def __call__(self, pixels: Pixels, /) -> tuple[int, int, float] | None:
        """Return y, x and score of the best window, the first of equal ones, or None: given up."""


def has_map(engine: Engine) -> TypeGuard[MapEngine]:
    return engine.HAS_MAP


def can_share(engine: Engine) -> TypeGuard[SharingEngine]:
    return engine.SHARES


def is_search(engine: Engine) -> TypeGuard[SearchEngine]:
    return not engine.HAS_MAP


class Search(Protocol):
    """A search of one image for one kernel, by an engine without a map.

    `SearchEngine.search` makes it. Lower bounds of differences are 16-bit numbers in a unit of the
    engine; `REMOVED` stands for a window that was removed.
    """

    problem: Problem
    row_seconds: float
    """The estimated seconds of comparing a row of a window with one of the kernel."""

    def bound(self, tile: Tile, bounds: LowerBounds, place: Tile) -> LowerBounds:
        """Write lower bounds of the differences of a tile's windows at `place` in `bounds`.

        Returns the least of each block that has windows of the tile, as `blocks.block_index`.
        """

    @property
    def levels(self) -> int:
        """The number of finer bounds, each finer than the one before."""

    def finer_tile(self, tile: tuple[int, int]) -> tuple[int, int]:
        """Return the largest tile, in whole blocks, whose finer bounds take no more memory.

        `tile` is the largest one of `bounds`.
        """

    def refine_seconds(self, level: int, tile: Tile, share: float) -> float:
        """Return the estimated seconds of `refine`, if this share of the windows is bounded."""

    def refine(self, level: int, tile: Tile, bounds: LowerBounds, place: Tile, floor: float) -> int:
        """Raise the bounds of a tile, which lie at `place` in `bounds`, by finer ones of a level.

        Only windows that could score at least `floor`, and some beside them, get finer bounds.
        Returns the number of those that still could.
        """

    def could_reach(self, floor: float) -> int:
        """Return the largest bound of a window that could score at least `floor`; -1 if none."""

    def look(self, tile: Tile, bounds: LowerBounds, place: Tile, floor: float, most: int) -> Look:
        """Find the best window of a tile that scores at least `floor`, the first of equal ones.

        Windows are evaluated in the order of their bounds, the lowest first. The look ends when
        `most` rows of windows have been compared with the kernel, or as much else done as takes
        their time. It raises the bounds of the
        windows that it evaluated, at `place` in `bounds`.
        """

    def clear(self) -> None:
        """Free what the calling thread keeps of its last tile."""

    def upper_bounds(self, bounds: LowerBounds) -> NDArray[np.float64]:
        """Return upper bounds of scores from lower bounds of differences; -inf for `REMOVED`."""
