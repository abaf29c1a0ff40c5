"""The best windows without a map: bounds from block sums, and sums that end at a limit.

The sums over a cell of the window and of the kernel differ by at most what their n values do:

    sad   sum |I-K|   >= |sum I - sum K|
    ssd   sum (I-K)^2 >= (sum I - sum K)^2 / n

so a grid of cells gives a least difference of every window for the cost of a few sums. Windows
that it does not exclude get a finer grid, with the channels apart, and then their own difference,
a few rows at a time until it passes what the best one has. Where the kernel has weights, cells lie
where all pixels have one, and their differences count as often as the least of these.

It may use what engines may; others load it by its name, and use `cells` to say what a problem
allows.
"""

from __future__ import annotations

import math
import os
import threading
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from patchsim import metrics
from patchsim.engines import contract, extensions
from patchsim.engines.contract import REMOVED, Look, LowerBounds, Problem
from patchsim.engines.pruned import cells
from patchsim.engines.pruned.cells import Cells
from patchsim.geometry import tiles
from patchsim.geometry.blocks import BLOCK
from patchsim.geometry.tiles import Tile
from patchsim.types import Pixels, Weights

OWN_THREADS = False
HAS_MAP = False
SHARES = False

_Boxes = NDArray[np.uint16]  # sums over the boxes of cells, shifted to fit 16 bits
_Differences = TypeVar("_Differences", float, NDArray[np.float64])

# Mean differences a value from here on are as good as any; less leaves more digits.
_FAR = 64

_VARIANTS = ("avx512", "avx2", "sse2", "portable")  # best first; the last runs everywhere

# Scores must be as many as the sums.
_DISTINCT = 2.0**50

# Seconds of a thread for each pixel's boxes, each cell of a window's bound, the rest of a window
# and, for what bounds leave, each difference; and for the calls from Python. Linux, one core of an
# AMD EPYC (Zen 4), gcc 12, photographs of 1080x1920 and 2160x3840 RGB with kernels cut from them.
_BOX_SECONDS = 1e-9
_CELL_SECONDS = 3e-11
_WINDOW_SECONDS = 4e-9
_DIFFERENCE_SECONDS = 1e-13
_CALL_SECONDS = 1e-3


def refuse(problem: Problem) -> str | None:
    if problem.map_wanted or problem.exact:
        return (
            "it draws no map; give --no-heatmap and no --map, and with --threshold auto"
            " --engine pruned"
        )
    if problem.metric not in ("sad", "ssd"):
        return f"it computes sad and ssd, not {problem.metric}"
    if problem.opaque_level is not None:
        return "it takes images that are visible everywhere"
    if problem.full_cells == 0:
        return "no pixel of the mask counts in all channels, so there is nothing to sum"
    if problem.device != "cpu":
        return "it runs on the cpu"
    if problem.dtype != "uint8":
        return f"it takes uint8, not {problem.dtype}"
    if _total(problem) > _DISTINCT:
        return "the data range is so wide that different sums have one score"
    if _extension() is None:
        return extensions.refusal("_pruned")
    return None


def start_up(problem: Problem) -> float:  # noqa: ARG001 - equal for all problems
    return 0.0


def seconds(problem: Problem) -> float:
    rows, cols = problem.map_shape
    height, width, _ = problem.image
    count = problem.full_cells or len(cells.lattice(*problem.kernel[:2], cells.COARSE).places)
    bounds = height * width * _BOX_SECONDS
    bounds += rows * cols * (_WINDOW_SECONDS + count * _CELL_SECONDS)
    left = problem.differences * _DIFFERENCE_SECONDS
    return _CALL_SECONDS + (bounds + left) / problem.threads


def best_tile(problem: Problem) -> tuple[int, int]:
    rows, cols = problem.map_shape
    # The boxes of the rows below a tile are made again for the next one.
    return min(rows, max(256, 4 * problem.kernel[0]) // problem.stride[0] + 1), cols


def working_bytes(problem: Problem, rows: int, cols: int) -> int:
    """Return the bytes of the kernel and of a tile's bounds, or a block's finer ones if larger."""

    def boxes(windows: tuple[int, int], planes: int) -> int:
        height, width = tiles.extent(windows, problem.kernel[:2], problem.stride)
        pixels = height * width * problem.kernel[2]  # where they have to be copied
        sums = width * (2 * problem.kernel[2] + 16)
        return 2 * planes * height * (width + problem.stride[1]) + pixels + sums

    block = min(BLOCK, problem.map_shape[0]), min(BLOCK, problem.map_shape[1])
    finer = boxes(block, problem.kernel[2])
    kernel = (2 if problem.weight_sum is None else 3) * problem.taps
    return max(boxes((rows, cols), 1), finer, 4 * problem.taps) + 2 * rows * (cols + 64) + kernel


@dataclass(frozen=True)
class _Grid:
    """Cells in a window, and how their sums are kept."""

    cells: Cells
    planes: int  # 1: channels are summed together
    up: int  # boxes are (sum << up) >> down
    down: int
    unit: float  # a bound of 1 is a difference of so much
    stride: tuple[int, int]

    @classmethod
    def of(cls, problem: Problem, weights: Weights | None, target: int, *, apart: bool) -> _Grid:
        (height, width, channels), squared = problem.kernel, problem.metric == "ssd"
        if weights is None:
            used = cells.lattice(height, width, target)
        else:
            used = cells.inside(weights, target)
        planes = channels if apart else 1
        values = used.height * used.width * (channels // planes)
        most = used.area * channels * _FAR
        up = down = 0
        while values * 255 >> down > 65535 or (not squared and most >> down > 65535):
            down += 1
        while squared and values * 255 << (up + 1) <= 65535:
            up += 1
        unit = 2.0**down
        if squared:
            unit = 4.0 ** (down - up) * 65536 / values
        return cls(
            cells=used,
            planes=planes,
            up=up,
            down=down,
            unit=unit * used.weight,
            stride=problem.stride,
        )

    def pitches(self, width: int) -> tuple[int, int]:
        """Return the boxes from row to row, and from phase to phase, in a picture of this width."""
        phase = -(-width // self.stride[1])
        return phase * self.stride[1], phase

    def offsets(self, height: int, width: int) -> NDArray[np.int64]:
        """Return the offsets of the cells' boxes in a picture of this size."""
        row, phase = self.pitches(width)
        lines = height - self.cells.height + 1
        y, x = self.cells.places.T
        across = x % self.stride[1] * phase + x // self.stride[1]
        planes = np.arange(self.planes) * lines * row
        offsets: NDArray[np.int64] = (planes[:, None] + y * row + across).ravel()
        return offsets

    def sums(self, kernel: NDArray[np.uint32]) -> tuple[_Boxes, _Boxes]:
        """Return the boxes of the kernel, from its `cells.integral`, rounded down and up.

        They come in the order of `offsets`. A box of the image that lies below the first, or above
        the second, does so by as much as they say at least, although it was rounded down itself.
        """
        sums = self.cells.sums(kernel).reshape(len(self.cells.places), self.planes, -1)
        exact = sums.sum(2, dtype=np.int64).T.ravel() << self.up
        below = np.maximum((exact >> self.down) - (self.down > 0), 0)
        above = np.minimum(-(-exact >> self.down), 65535)  # as no box is above that
        return below.astype(np.uint16), above.astype(np.uint16)


class _LastBoxes(threading.local):
    """The boxes that a thread made last, and the tile and grid that they belong to."""

    of: tuple[Tile, tuple[int, ...]] | None = None
    boxes: _Boxes


class Search:
    """The differences between one kernel and the windows of an image.

    Searches for kernels of one size share boxes with the search `beside` them, tile by tile.
    """

    def __init__(
        self,
        image: Pixels,
        kernel: Pixels,
        problem: Problem,
        weights: Weights | None = None,
        beside: contract.Search | None = None,
    ) -> None:
        extension = _extension()
        assert extension is not None, "refuse says so"
        self._extension = extension
        self.problem = problem
        self._image = image
        assert beside is None or isinstance(beside, Search)
        self._last: _LastBoxes = beside._last if beside else _LastBoxes()
        self._kernel = np.ascontiguousarray(kernel)
        self._squared = problem.metric == "ssd"
        self._weights = None  # of every value
        if weights is not None:
            every = np.broadcast_to(np.atleast_3d(weights), kernel.shape)
            self._weights = np.ascontiguousarray(every)
        self._coarse = _Grid.of(problem, weights, cells.COARSE, apart=False)
        self._fine = _Grid.of(problem, weights, cells.FINE, apart=True)
        above = cells.integral(self._kernel)
        self._sums = {grid: grid.sums(above) for grid in (self._coarse, self._fine)}
        self._variant = _variant(extension)

    def bounds(self, tile: Tile) -> LowerBounds:
        """Return lower bounds of the windows' differences, in units."""
        return self._bounds(tile, self._coarse)

    def refine(self, tile: Tile, bounds: LowerBounds, place: Tile) -> None:
        """Raise the bounds of a tile, which lie at `place` in `bounds`, by the finer grid."""
        finer = self._bounds(tile, self._fine)
        ratio = self._fine.unit / self._coarse.unit
        if ratio != 1:
            finer = np.minimum(finer * ratio, REMOVED - 1).astype(np.uint16)
        part = bounds[place.index]
        np.maximum(part, finer, out=part)

    def _bounds(self, tile: Tile, grid: _Grid) -> LowerBounds:
        problem, extension = self.problem, self._extension
        height, width = tiles.extent((tile.rows, tile.cols), problem.kernel[:2], problem.stride)
        channels = problem.kernel[2]
        row_pitch, phase_pitch = grid.pitches(width)
        tall, wide = grid.cells.height, grid.cells.width
        lines = height - tall + 1
        which = tile, (height, width, grid.planes, tall, wide, grid.up, grid.down)
        if self._last.of != which:
            boxes = np.empty(grid.planes * lines * row_pitch + extension.PADDING, np.uint16)
            pixels, pitch = self._pixels(tile)
            extension.boxes(
                image=pixels,
                pitch=pitch,
                channels=channels,
                width=width,
                planes=grid.planes,
                cell_height=tall,
                cell_width=wide,
                rows=lines,
                stride_x=problem.stride[1],
                up=grid.up,
                down=grid.down,
                out=boxes,
                row_pitch=row_pitch,
                phase_pitch=phase_pitch,
                variant=self._variant,
            )
            self._last.of, self._last.boxes = which, boxes
        boxes = self._last.boxes
        padded = -(-tile.cols // extension.PADDING) * extension.PADDING
        least = np.empty((tile.rows, padded), np.uint16)
        below, above = self._sums[grid]
        extension.bounds(
            boxes=boxes,
            offsets=grid.offsets(height, width),
            below=below,
            above=above,
            row_step=problem.stride[0] * row_pitch,
            rows=tile.rows,
            cols=tile.cols,
            squared=self._squared,
            out=least,
            out_pitch=padded,
            variant=self._variant,
        )
        return least[:, : tile.cols]

    def _pixels(self, tile: Tile) -> tuple[Pixels, int]:
        """Return the pixels from the tile's first one on, and the bytes from row to row."""
        (stride_y, stride_x), image = self.problem.stride, self._image
        if image.flags.c_contiguous:
            return _from(image, tile.top * stride_y, tile.left * stride_x), image.strides[0]
        part = np.ascontiguousarray(
            image[tile.source(self.problem.kernel[:2], self.problem.stride)]
        )
        return part, part.strides[0]

    def clear(self) -> None:
        self._last.of, self._last.boxes = None, np.empty(0, np.uint16)

    def look(self, tile: Tile, bounds: LowerBounds, place: Tile, limit: int, most: int) -> Look:
        problem = self.problem
        height, width, channels = problem.kernel
        pixels, pitch = self._pixels(tile)
        found = self._extension.look(
            image=pixels,
            pitch=pitch,
            kernel=self._kernel,
            weights=self._weights,
            run=width * channels,
            height=height,
            stride_y=problem.stride[0],
            step_x=problem.stride[1] * channels,
            bounds=_from(bounds, place.top, place.left),
            bounds_pitch=bounds.shape[1],
            rows=tile.rows,
            cols=tile.cols,
            squared=self._squared,
            scale=(1 - 1e-12) / self._coarse.unit,
            limit=limit,
            most=most,
            variant=self._variant,
        )
        return Look(*found)

    def score(self, difference: int) -> float:
        return self._similarity(float(difference))

    def upper_bounds(self, bounds: LowerBounds) -> NDArray[np.float64]:
        """Return upper bounds of scores from lower bounds of differences; -inf for `REMOVED`."""
        lowest = bounds.astype(np.float64) * (self._coarse.unit * (1 - 1e-12))
        return np.where(bounds == REMOVED, -np.inf, self._similarity(lowest))

    def _similarity(self, difference: _Differences) -> _Differences:
        scale = self.problem.data_range ** (2 if self._squared else 1)
        return metrics.similarity(difference, self.problem.total_weight, scale)

    def largest_difference(self, score: float) -> int:
        """Return the largest difference that has at least this score, or -1."""
        most = self.problem.total_weight * 255 ** (2 if self._squared else 1)
        guess = min(max((1 - score) * _total(self.problem), -1.0), most)
        difference = int(guess)
        while difference < most and self.score(difference + 1) >= score:
            difference += 1
        while difference >= 0 and self.score(difference) < score:
            difference -= 1
        return difference


search = Search


def _from(array: NDArray[Any], row: int, col: int) -> NDArray[Any]:
    """Return all values of a contiguous array from this row and column on."""
    return array.reshape(-1)[(row * array.shape[1] + col) * math.prod(array.shape[2:]) :]


def _total(problem: Problem) -> float:
    """Return the difference that scores 0."""
    return float(problem.total_weight * problem.data_range ** (2 if problem.metric == "ssd" else 1))


def _variant(extension: ModuleType) -> str:
    """Return the best variant that runs here, or the forced one if this engine has it."""
    forced = os.environ.get(extensions.VARIANT_SETTING)
    for name in _VARIANTS[:-1]:
        if forced in (None, name) and extension.runs_here(name):
            return name
    return _VARIANTS[-1]


_extension = partial(extensions.extension, "_pruned")
