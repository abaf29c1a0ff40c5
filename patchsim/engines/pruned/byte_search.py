"""The search of an 8-bit image for an 8-bit kernel: bounds from cells, and single windows."""

from __future__ import annotations

import copy
import math
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchsim.engines import contract
from patchsim.engines.contract import REMOVED, Look, LowerBounds
from patchsim.engines.problem import Problem
from patchsim.engines.pruned import compiled
from patchsim.engines.pruned.grids import Boxes, Grid
from patchsim.engines.pruned.kernel_grids import KernelGrids
from patchsim.engines.pruned.score_scale import ScoreScale
from patchsim.geometry import tiles
from patchsim.geometry.blocks import BLOCK, block_index
from patchsim.geometry.tiles import Tile
from patchsim.numerics.array_api import row_by_row
from patchsim.types import Pixels, Weights

# Seconds of a thread for a row of a window, and for each value of it, without and with weights, for
# vectors of 64 bytes on one core of an AMD EPYC (Zen 4), gcc 12. They say when the windows of a
# block have taken as long as a direct search of it, of whose time others know as little.
_ROW_SECONDS = 1.5e-9
_VALUE_SECONDS, _WEIGHTED_SECONDS = {"sad": 1.1e-11, "ssd": 2e-11}, 1e-10

# And of finer bounds: for each value's boxes, each cell of a window that could be the best, and
# each window that is looked at for that; and each whose bound is raised, by a search of blocks.
BOX_SECONDS, CELL_SECONDS, OPEN_SECONDS = 5e-10, 3e-11, 1e-10
_RAISED_SECONDS = 1e-9


class _LastBoxes(threading.local):
    """The boxes that a thread made last, and the tile and grid that they belong to.

    Its array is used again for fewer boxes: new memory takes as long as they do.
    """

    of: tuple[Tile, tuple[int, ...]] | None = None
    boxes: Boxes = np.empty(0, np.uint16)


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
        self._extension, self._variant = extension, compiled.variant()
        self.problem = problem
        self._image = image
        assert beside is None or isinstance(beside, Search)
        self.row_seconds = seconds_of_row(problem, weights)
        self._last: _LastBoxes = beside._last if beside else _LastBoxes()
        kernel = np.ascontiguousarray(kernel)
        self.scale = ScoreScale(problem)
        self._grids = KernelGrids(problem, kernel, weights)
        # For the extension, of all windows.
        self._arguments = compiled.of_windows(kernel, problem, weights) | {
            "step_x": problem.stride[1] * problem.kernel[2],
            "scale": (1 - 1e-12) / self.unit,
        }

    def on(self, image: Pixels) -> Search:
        """Return the same search of another image, of the same shape."""
        other = copy.copy(self)
        other._image = image
        return other

    def bound(self, tile: Tile, bounds: LowerBounds, place: Tile) -> LowerBounds:
        """Write lower bounds of the windows' differences, in units; return the blocks' least."""
        rows, cols = block_index(tile)
        block_minima = np.empty((rows.stop - rows.start, cols.stop - cols.start), np.uint16)
        self._extension.bounds(
            **self._under(tile, self._grids.coarse),
            out=values_from(bounds, place.top, place.left),
            out_pitch=bounds.shape[1],
            variant=self._variant,
            least=block_minima,
            block=BLOCK,
            down=tile.top % BLOCK,
            across=tile.left % BLOCK,
        )
        return block_minima

    def finer_tile(self, tile: tuple[int, int]) -> tuple[int, int]:
        return finer_tile(self.problem, tile)

    @property
    def levels(self) -> int:
        """The number of finer grids."""
        return self._grids.levels

    def refine_seconds(self, level: int, tile: Tile, share: float) -> float:
        """Return the estimated seconds of `refine`, if this share of the windows is bounded."""
        channels = self.problem.kernel[2]
        height, width = tiles.extent(
            (tile.rows, tile.cols), self.problem.kernel[:2], self.problem.stride
        )
        count = len(self._grids.cells(level).places) * channels
        of_open = count * CELL_SECONDS + _RAISED_SECONDS
        bounds = tile.cells * (share * of_open + OPEN_SECONDS)
        return height * width * channels * BOX_SECONDS + bounds

    def refine(self, level: int, tile: Tile, bounds: LowerBounds, place: Tile, floor: float) -> int:
        return self.refine_to(level, tile, bounds, place, self.scale.largest_difference(floor))

    def refine_to(
        self, level: int, tile: Tile, bounds: LowerBounds, place: Tile, limit: int
    ) -> int:
        """Raise bounds as `refine` does, of windows that could differ by at most a limit."""
        in_units = self.in_units(limit)
        if in_units < 0:
            return 0
        grid = self._grids.finer(level, limit)
        left: int = self._extension.raise_bounds(
            **self._under(tile, grid),
            out=values_from(bounds, place.top, place.left),
            out_pitch=bounds.shape[1],
            variant=self._variant,
            limit=in_units,
            ratio=grid.unit / self.unit * (1 - 1e-12),
        )
        return left

    def in_units(self, limit: int) -> int:
        """Return the largest bound of a window that could differ by at most a limit."""
        return int(min(max(limit / self.unit * (1 + 1e-9), -1), REMOVED - 1))

    def could_reach(self, floor: float) -> int:
        return self.in_units(self.scale.largest_difference(floor))

    def _under(self, tile: Tile, grid: Grid) -> dict[str, Any]:
        """Return the arguments of the extension for bounds of a tile: its boxes, and the kernel's.

        A thread keeps the boxes that it made last.
        """
        problem, extension = self.problem, self._extension
        height, width = tiles.extent((tile.rows, tile.cols), problem.kernel[:2], problem.stride)
        row_pitch, phase_pitch = grid.pitches(width)
        tall, wide = grid.cells.height, grid.cells.width
        lines = height - tall + 1
        which = tile, (height, width, grid.planes, tall, wide, grid.up, grid.down)
        below, above = self._grids.sums(grid)
        size = grid.planes * lines * row_pitch + extension.PADDING
        if self._last.of != which:
            self._last.of = None
            if len(self._last.boxes) < size:
                self._last.boxes = np.empty(0, np.uint16)  # freed before as much is allocated again
                self._last.boxes = np.empty(size, np.uint16)
            boxes = self._last.boxes[:size]
            pixels, pitch = self._pixels(tile)
            extension.boxes(
                image=pixels,
                pitch=pitch,
                channels=problem.kernel[2],
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
            self._last.of = which
        return {
            "boxes": self._last.boxes[:size],
            "offsets": grid.offsets(height, width),
            "below": below,
            "above": above,
            "row_step": problem.stride[0] * row_pitch,
            "rows": tile.rows,
            "cols": tile.cols,
            "squared": self.problem.metric == "ssd",
            "doublings": grid.doublings,
        }

    def _pixels(self, tile: Tile) -> tuple[Pixels, int]:
        """Return the pixels from the tile's first one on, and the bytes from row to row."""
        (stride_y, stride_x), image = self.problem.stride, self._image
        if image.flags.c_contiguous:
            return values_from(image, tile.top * stride_y, tile.left * stride_x), image.strides[0]
        window = row_by_row(image[tile.source(self.problem.kernel[:2], self.problem.stride)])
        return window, window.strides[0]

    def clear(self) -> None:
        self._last.of, self._last.boxes = None, np.empty(0, np.uint16)

    def look(self, tile: Tile, bounds: LowerBounds, place: Tile, floor: float, most: int) -> Look:
        difference, row, col, evaluated, compared, done = self._extension.look(
            **self._windows(tile, bounds, place),
            limit=self.scale.largest_difference(floor),
            most=most,
        )
        score = self.scale.score(difference) if row >= 0 else -math.inf
        return Look(score, row, col, evaluated, compared, done)

    def nearest(
        self, tile: Tile, bounds: LowerBounds, place: Tile, limit: int, most: int
    ) -> tuple[int, int]:
        """Find the window of a tile that differs least, and by at most a limit, as `look` does.

        Returns
        -------
        window : int
            Row x columns + column of the best one found before `most` rows of windows were
            compared, or -1.
        compared : int
            Number of rows that were compared with the kernel.
        """
        _, row, col, _, compared, _ = self._extension.look(
            **self._windows(tile, bounds, place), limit=limit, most=most
        )
        return row * tile.cols + col if row >= 0 else -1, compared

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

    def upper_bounds(self, bounds: LowerBounds) -> NDArray[np.float64]:
        """Return upper bounds of scores from lower bounds of differences; -inf for `REMOVED`."""
        lowest = self.least_differences(bounds)
        return np.where(bounds == REMOVED, -np.inf, self.scale.similarity(lowest))

    @property
    def unit(self) -> float:
        """The difference that a bound of 1 stands for."""
        return self._grids.coarse.unit

    def least_differences(self, bounds: LowerBounds) -> NDArray[np.float64]:
        """Return lower bounds in differences rather than in units."""
        return bounds.astype(np.float64) * (self.unit * (1 - 1e-12))


def seconds_of_row(problem: Problem, weights: Weights | None) -> float:
    """Return the estimated seconds of comparing a row of a window with one of the kernel."""
    value_seconds = _VALUE_SECONDS[problem.metric] if weights is None else _WEIGHTED_SECONDS
    return _ROW_SECONDS + problem.kernel[1] * problem.kernel[2] * value_seconds


def finer_tile(problem: Problem, tile: tuple[int, int]) -> tuple[int, int]:
    """Return the largest tile of whole blocks whose finer bounds take no more memory.

    Parameters
    ----------
    problem : Problem
    tile : (rows, cols)
        The tile whose coarse bounds take as much.

    Returns
    -------
    (rows, cols)
        One block, if even that takes more.
    """
    # Boxes of each channel. Two of one channel: bounds are copied, if they are not kept.
    planes, kernel, stride = max(2, problem.kernel[2]), problem.kernel[:2], problem.stride
    most = math.prod(tiles.extent(tile, kernel, stride)) // planes
    best = 1, 1
    for rows in range(1, -(-tile[0] // BLOCK) + 1):
        height = tiles.extent((rows * BLOCK, 1), kernel, stride)[0]
        wide = ((most // height - kernel[1]) // stride[1] + 1) // BLOCK
        best = max(best, (rows, min(wide, -(-tile[1] // BLOCK))), key=math.prod)
    return best[0] * BLOCK, best[1] * BLOCK


def values_from(array: NDArray[Any], row: int, col: int) -> NDArray[Any]:
    """Return all values of a contiguous array from this row and column on."""
    return array.reshape(-1)[(row * array.strides[0] + col * array.strides[1]) // array.itemsize :]
