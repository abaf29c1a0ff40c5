"""The search of pictures of 16 bits or floats: by 8-bit copies, then by the values themselves.

`byte_copy` says how far differences in the copies may be off. A window whose bytes differ by more
than the best one's values allow is not the best; the few others are compared as they are.
"""

from __future__ import annotations

import copy
import math

import numpy as np
from numpy.typing import NDArray

from patchsim import metrics
from patchsim.engines import contract
from patchsim.engines.contract import REMOVED, Look, LowerBounds
from patchsim.engines.problem import Problem
from patchsim.engines.pruned import byte_copy, compiled
from patchsim.engines.pruned.byte_copy import TYPES, ByteCopy
from patchsim.engines.pruned.byte_search import Search, values_from
from patchsim.engines.pruned.wide_scale import WideScale
from patchsim.geometry.tiles import Tile
from patchsim.numerics.array_api import row_by_row
from patchsim.types import Pixels, Weights

# So many windows of a tile are scored by `metrics.exact`, or more where as many rows may be
# compared as these take: each takes as long as so many windows in the extension. The integers of 16
# bits do not need it.
_SINGLES = 64
_WINDOWS_FOR_ONE = 16

# A bound that is less than a part of the limit lies so far below that the window with the nearest
# bytes is compared first: it may set a lower limit for the others.
_FAR_BELOW = 1.5

# A row of values takes as long as so many rows of bytes.
_ROWS_FOR_ONE = {"H": 4, "f": 8, "d": 12}


class WideSearch:
    """The differences between one kernel and the windows of an image of 16 bits or floats.

    Searches for several kernels share the copy of the image, which the first one makes.
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
        assert beside is None or isinstance(beside, WideSearch)
        self._extension = extension
        self.problem = problem
        self._image = image
        self._type = TYPES[problem.dtype]
        kernel = np.ascontiguousarray(kernel)
        self._exact_kernel = metrics.ExactKernel(
            kernel, problem.metric, problem.data_range, weights
        )
        self._exact = self._exact_kernel.on(image)
        self.copied: ByteCopy = (
            beside.copied if beside else byte_copy.make(image, kernel, problem.data_range)
        )
        squares = problem.metric == "ssd"
        pixels, off = byte_copy.of_kernel(kernel, weights, self.copied, squares=squares)
        self._scale = WideScale(problem, self.copied.step, off)
        self._bytes: Search = Search(
            self.copied.pixels,
            pixels,
            problem._replace(dtype="uint8", data_range=255.0),
            weights,
            beside._bytes if beside else None,
        )
        self.row_seconds = self._bytes.row_seconds
        self.levels = self._bytes.levels
        self.rows_for_one = _ROWS_FOR_ONE[self._type]  # of bytes, for one of values
        # For the extension, of all windows.
        self._arguments = compiled.of_windows(kernel, problem, weights) | {
            "type": self._type,
            "step_x": problem.stride[1] * problem.kernel[2],
            "rounding": self._scale.unseen,
        }

    def on(self, image: Pixels, copied: ByteCopy, off: float) -> WideSearch:
        """Return the same search of another image, of the same shape and type.

        `off` is how far the differences in its copy, or their roots, may be off.
        """
        other = copy.copy(self)
        other._image, other.copied = image, copied
        other._exact = self._exact_kernel.on(image)
        other._bytes = self._bytes.on(copied.pixels)
        other._scale = WideScale(self.problem, copied.step, off)
        other._arguments = self._arguments | {"rounding": other._scale.unseen}
        return other

    def bound(self, tile: Tile, bounds: LowerBounds, place: Tile) -> LowerBounds:
        return self._bytes.bound(tile, bounds, place)

    def finer_tile(self, tile: tuple[int, int]) -> tuple[int, int]:
        return self._bytes.finer_tile(tile)

    def refine_seconds(self, level: int, tile: Tile, share: float) -> float:
        return self._bytes.refine_seconds(level, tile, share)

    def refine(self, level: int, tile: Tile, bounds: LowerBounds, place: Tile, floor: float) -> int:
        return self._bytes.refine_to(level, tile, bounds, place, self._bytes_reaching(floor))

    def could_reach(self, floor: float) -> int:
        return self._bytes.in_units(self._bytes_reaching(floor))

    def _bytes_reaching(self, floor: float) -> int:
        """Return the largest difference of the bytes of a window that scores at least `floor`."""
        limit = self._scale.largest_difference(floor)
        return -1 if limit < 0 else self._scale.of_bytes(limit)

    def clear(self) -> None:
        self._bytes.clear()

    def upper_bounds(self, bounds: LowerBounds) -> NDArray[np.float64]:
        """Return upper bounds of scores from lower bounds of the bytes' differences."""
        scores = self._scale.upper_bounds(self._bytes.least_differences(bounds))
        return np.where(bounds == REMOVED, -np.inf, scores)

    def look(self, tile: Tile, bounds: LowerBounds, place: Tile, floor: float, most: int) -> Look:
        limit = self._scale.largest_difference(floor)
        if limit < 0:
            return _nothing(0, 0, is_done=True)
        first, limit, rows = self._first(tile, bounds, place, limit, most)
        places, differences, rows_of_bytes, done = self._bytes.screen(
            tile, bounds, place, self._scale.of_bytes(limit), most - rows
        )
        rows += rows_of_bytes
        places = places[np.argsort(differences, kind="stable")]
        if not done and first not in places:  # it was not come to
            places = np.append(places, np.int32(first)) if first >= 0 else places
        if not len(places):
            return _nothing(0, rows, is_done=done)
        sums, rows_compared = self._compare(tile, places, limit)
        rows += rows_compared * self.rows_for_one
        contends = sums <= min(limit, self._scale.contending(sums))
        places, sums = places[contends], sums[contends]
        singles = max(_SINGLES, most // (_WINDOWS_FOR_ONE * self.problem.kernel[0]))
        scores, all_scored = self._exact_scores(tile, places, sums, singles)
        best = scores.max(initial=-math.inf)
        if best < floor or best == -math.inf:
            return _nothing(len(sums), rows, is_done=done and all_scored)
        row, col = divmod(int(places[scores == best].min()), tile.cols)
        return Look(float(best), row, col, len(sums), rows, done and all_scored)

    def _first(
        self, tile: Tile, bounds: LowerBounds, place: Tile, limit: float, most: int
    ) -> tuple[int, float, int]:
        """Lower the limit to what the window with the nearest bytes allows.

        Returns that window, or -1, the limit, and the rows of bytes that take as long.
        """
        bound, of_bytes = int(bounds[place.index].min()), self._scale.of_bytes(limit)
        if bound == REMOVED or bound * self._bytes.unit * _FAR_BELOW > of_bytes:
            return -1, limit, 0
        first, rows = self._bytes.nearest(tile, bounds, place, of_bytes, most)
        if first < 0:
            return -1, limit, rows
        sums, rows_compared = self._compare(tile, np.array([first], np.int32), limit)
        rows += rows_compared * self.rows_for_one
        return first, min(limit, self._scale.contending(sums)), rows

    def _exact_scores(
        self, tile: Tile, places: NDArray[np.int32], sums: NDArray[np.float64], singles: int
    ) -> tuple[NDArray[np.float64], bool]:
        """Return the scores of windows, -inf beyond so many singles, and whether all are known."""
        if self._type == "H":
            return self._scale.scores(sums), True
        scores = np.full(len(sums), -math.inf)
        scores[sums == 0] = 1.0
        rounded = np.flatnonzero(sums)
        stride_y, stride_x = self.problem.stride
        if scored := rounded[:singles].tolist():
            rows, cols = np.divmod(places[scored].astype(np.int64), tile.cols)
            scores[scored] = self._exact(
                (tile.top + rows) * stride_y, (tile.left + cols) * stride_x
            )
        return scores, len(rounded) <= singles

    def _compare(
        self, tile: Tile, places: NDArray[np.int32], limit: float
    ) -> tuple[NDArray[np.float64], int]:
        """Return the differences of windows, or parts of them above the limit, and rows compared.

        The limit becomes lower where a window's difference is so low that others cannot be as good.
        """
        (stride_y, stride_x), image = self.problem.stride, self._image
        if image.flags.c_contiguous:
            pixels = values_from(image, tile.top * stride_y, tile.left * stride_x)
        else:
            source = tile.source(self.problem.kernel[:2], self.problem.stride)
            pixels = image = row_by_row(image[source])
        sums = np.empty(len(places), np.uint64 if self._type == "H" else np.float64)
        rows = self._extension.compare(
            **self._arguments,
            image=pixels,
            pitch=image.strides[0],
            cols=tile.cols,
            places=places,
            count=len(places),
            limit=limit,
            out=sums,
        )
        # An integer that float64 rounds is rounded so in `metrics.exact`, too.
        return sums.astype(np.float64), rows


def _nothing(evaluated: int, compared: int, *, is_done: bool) -> Look:
    """Return the result of a look that found no window above the floor."""
    return Look(-math.inf, -1, -1, evaluated, compared, is_done)
