"""The search of an 8-bit image for an 8-bit kernel: bounds from cells, and single windows."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from patchsim import metrics
from patchsim.engines import contract
from patchsim.engines.contract import REMOVED, Look, LowerBounds, Problem
from patchsim.engines.pruned import cells, compiled
from patchsim.engines.pruned.cells import Cells
from patchsim.geometry import tiles
from patchsim.geometry.tiles import Tile
from patchsim.types import Pixels, Weights

_Boxes = NDArray[np.uint16]  # sums over the boxes of cells, shifted to fit 16 bits
_Differences = TypeVar("_Differences", float, NDArray[np.float64])

# Mean differences a value from here on are as good as any; less leaves more digits.
_FAR = 64


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


# Seconds of a thread for a row of a window, and for each value of it, without and with weights, for
# vectors of 64 bytes on one core of an AMD EPYC (Zen 4), gcc 12. They say when the windows of a
# block have taken as long as a direct search of it, of whose time others know as little.
_ROW_SECONDS = 1.5e-9
_VALUE_SECONDS, _WEIGHTED_SECONDS = 2e-11, 1e-10


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
        extension = compiled.extension()
        assert extension is not None, "refuse says so"
        self._extension = extension
        self.problem = problem
        self._image = image
        assert beside is None or isinstance(beside, Search)
        value_seconds = _VALUE_SECONDS if weights is None else _WEIGHTED_SECONDS
        self.row_seconds = _ROW_SECONDS + problem.kernel[1] * problem.kernel[2] * value_seconds
        self._last: _LastBoxes = beside._last if beside else _LastBoxes()
        self._kernel = np.ascontiguousarray(kernel)
        self._squared = problem.metric == "ssd"
        self._weights = of_every_value(weights, kernel.shape)
        self._coarse = _Grid.of(problem, weights, cells.COARSE, apart=False)
        self._fine = _Grid.of(problem, weights, cells.FINE, apart=True)
        above = cells.integral(self._kernel)
        self._sums = {grid: grid.sums(above) for grid in (self._coarse, self._fine)}
        self._variant = compiled.variant(extension)
        # For the extension, of all windows.
        self._arguments = {
            "kernel": self._kernel,
            "weights": self._weights,
            "run": problem.kernel[1] * problem.kernel[2],
            "height": problem.kernel[0],
            "stride_y": problem.stride[0],
            "step_x": problem.stride[1] * problem.kernel[2],
            "squared": self._squared,
            "scale": (1 - 1e-12) / self._coarse.unit,
            "variant": self._variant,
        }

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
            return values_from(image, tile.top * stride_y, tile.left * stride_x), image.strides[0]
        part = np.ascontiguousarray(
            image[tile.source(self.problem.kernel[:2], self.problem.stride)]
        )
        return part, part.strides[0]

    def clear(self) -> None:
        self._last.of, self._last.boxes = None, np.empty(0, np.uint16)

    def look(self, tile: Tile, bounds: LowerBounds, place: Tile, floor: float, most: int) -> Look:
        difference, row, col, evaluated, compared, done = self._extension.look(
            **self._windows(tile, bounds, place), limit=self.largest_difference(floor), most=most
        )
        score = self.score(difference) if row >= 0 else -math.inf
        return Look(score, row, col, evaluated, compared, done)

    def screen(
        self, tile: Tile, bounds: LowerBounds, place: Tile, limit: int, most: int
    ) -> tuple[NDArray[np.int32], NDArray[np.uint64], int, bool]:
        """List the windows of a tile that differ by at most a limit.

        Returns
        -------
        places, differences : arrays [n]
            Row x columns + column of each window in the tile, and its difference.
        compared : int
            Number of rows of windows that were compared with the kernel.
        done : bool
            Whether all windows were compared whose bounds allow it, before `most` rows were.
        """
        places, differences = np.empty(tile.cells, np.int32), np.empty(tile.cells, np.uint64)
        count, compared, done = self._extension.screen(
            **self._windows(tile, bounds, place),
            limit=limit,
            most=most,
            places=places,
            sums=differences,
        )
        return places[:count], differences[:count], compared, done

    def _windows(self, tile: Tile, bounds: LowerBounds, place: Tile) -> dict[str, Any]:
        """Return the arguments of the extension for the windows of a tile."""
        pixels, pitch = self._pixels(tile)
        return self._arguments | {
            "image": pixels,
            "pitch": pitch,
            "bounds": values_from(bounds, place.top, place.left),
            "bounds_pitch": bounds.shape[1],
            "rows": tile.rows,
            "cols": tile.cols,
        }

    def score(self, difference: int) -> float:
        """Return the score of a window with this difference."""
        return self._similarity(float(difference))

    def upper_bounds(self, bounds: LowerBounds) -> NDArray[np.float64]:
        """Return upper bounds of scores from lower bounds of differences; -inf for `REMOVED`."""
        lowest = self.least_differences(bounds)
        return np.where(bounds == REMOVED, -np.inf, self._similarity(lowest))

    @property
    def unit(self) -> float:
        """The difference that a bound of 1 stands for."""
        return self._coarse.unit

    def least_differences(self, bounds: LowerBounds) -> NDArray[np.float64]:
        """Return lower bounds in differences rather than in units."""
        return bounds.astype(np.float64) * (self._coarse.unit * (1 - 1e-12))

    def _similarity(self, difference: _Differences) -> _Differences:
        scale = self.problem.data_range ** (2 if self._squared else 1)
        return metrics.similarity(difference, self.problem.total_weight, scale)

    def largest_difference(self, score: float) -> int:
        """Return the largest difference that has at least this score, or -1."""
        most = self.problem.total_weight * 255 ** (2 if self._squared else 1)
        guess = min(max((1 - score) * total(self.problem), -1.0), most)
        difference = int(guess)
        while difference < most and self.score(difference + 1) >= score:
            difference += 1
        while difference >= 0 and self.score(difference) < score:
            difference -= 1
        return difference


def of_every_value(weights: Weights | None, shape: tuple[int, ...]) -> Weights | None:
    """Return the weight of every value of a kernel, in its order."""
    if weights is None:
        return None
    return np.ascontiguousarray(np.broadcast_to(np.atleast_3d(weights), shape))


def values_from(array: NDArray[Any], row: int, col: int) -> NDArray[Any]:
    """Return all values of a contiguous array from this row and column on."""
    return array.reshape(-1)[(row * array.strides[0] + col * array.strides[1]) // array.itemsize :]


def total(problem: Problem) -> float:
    """Return the difference that scores 0."""
    return float(problem.total_weight * problem.data_range ** (2 if problem.metric == "ssd" else 1))
