"""The search of pictures of 16 bits or floats: by 8-bit copies, then by the values themselves.

`byte_copy` says how far differences in the copies may be off. A window whose bytes differ by more
than the best one's values allow is not the best; the few others are compared as they are.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from patchsim import metrics
from patchsim.engines import contract
from patchsim.engines.contract import REMOVED, Look, LowerBounds
from patchsim.engines.problem import Problem
from patchsim.engines.pruned import byte_copy, compiled
from patchsim.engines.pruned.byte_copy import TYPES, ByteCopy
from patchsim.engines.pruned.byte_search import Search, values_from
from patchsim.engines.pruned.score_scale import total
from patchsim.geometry.tiles import Tile
from patchsim.types import Pixels, Weights

# A difference of floats is rounded as it is summed, a score as it is made of it.
_ROUNDED_SUM = 1e-9
_ROUNDED_SCORE = 2.0**-51

# So many windows of a tile are scored by `metrics.exact`, or more where as many rows may be
# compared as these take: each takes as long as so many windows in the extension. The integers of 16
# bits do not need it.
_SINGLES = 64
_WINDOWS_FOR_ONE = 16

# A bound that is less than a part of the limit lies so far below that its window is compared first:
# it may set a lower limit for the others.
_FAR_BELOW = 1.5

# A row of values takes as long as so many rows of bytes.
_ROWS_FOR_ONE = {"H": 4, "f": 8}


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
        self._total = total(problem)
        # A difference that a score may not show, however small the score's distance from 1.
        self._unseen = self._total * _ROUNDED_SCORE
        self._type = TYPES[problem.dtype]
        self._kernel = np.ascontiguousarray(kernel)
        self._squared = problem.metric == "ssd"
        self._exact = metrics.exact(image, kernel, problem.metric, problem.data_range, weights)
        self._copy: ByteCopy = (
            beside._copy if beside else byte_copy.make(image, self._kernel, problem.data_range)
        )
        pixels, self._off = byte_copy.of_kernel(
            self._kernel, weights, self._copy, squares=self._squared
        )
        self._bytes: Search = Search(
            self._copy.pixels,
            pixels,
            replace(problem, dtype="uint8", data_range=255.0),
            weights,
            beside._bytes if beside else None,
        )
        self.row_seconds = self._bytes.row_seconds
        self.levels = self._bytes.levels
        # For the extension, of all windows.
        self._arguments = compiled.of_windows(self._kernel, problem, weights) | {
            "type": self._type,
            "step_x": problem.stride[1] * problem.kernel[2],
            "rounding": self._unseen,
        }

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
        limit = self._largest_difference(floor)
        return -1 if limit < 0 else self._of_bytes(limit)

    def clear(self) -> None:
        self._bytes.clear()

    def upper_bounds(self, bounds: LowerBounds) -> NDArray[np.float64]:
        """Return upper bounds of scores from lower bounds of the bytes' differences."""
        lowest, step = self._bytes.least_differences(bounds), self._copy.step
        if self._squared:
            differences = (np.maximum(np.sqrt(lowest) - self._off, 0) * step) ** 2
        else:
            differences = np.maximum(lowest - self._off, 0) * step
        differences *= 1 - _ROUNDED_SUM
        return np.where(bounds == REMOVED, -np.inf, self._scores(differences))

    def look(self, tile: Tile, bounds: LowerBounds, place: Tile, floor: float, most: int) -> Look:
        limit = self._largest_difference(floor)
        if limit < 0:
            return _nothing(0, 0, is_done=True)
        limit, rows = self._limit_of_first(tile, bounds[place.index], limit)
        places, differences, rows_of_bytes, done = self._bytes.screen(
            tile, bounds, place, self._of_bytes(limit), most
        )
        rows = rows * _ROWS_FOR_ONE[self._type] + rows_of_bytes
        if not len(places):
            return _nothing(0, rows, is_done=done)
        places = places[np.argsort(differences, kind="stable")]
        sums, rows_compared = self._compare(tile, places, limit)
        rows += rows_compared * _ROWS_FOR_ONE[self._type]
        contends = sums <= min(limit, self._contending(sums))
        places, sums = places[contends], sums[contends]
        singles = max(_SINGLES, most // (_WINDOWS_FOR_ONE * self.problem.kernel[0]))
        scores, all_scored = self._exact_scores(tile, places, sums, singles)
        best = scores.max(initial=-math.inf)
        if best < floor or best == -math.inf:
            return _nothing(len(sums), rows, is_done=done and all_scored)
        row, col = divmod(int(places[scores == best].min()), tile.cols)
        return Look(float(best), row, col, len(sums), rows, done and all_scored)

    def _limit_of_first(self, tile: Tile, bounds: LowerBounds, limit: float) -> tuple[float, int]:
        """Lower the limit to what the window of the least bound allows; return rows compared."""
        bound = int(bounds.min())
        if bound == REMOVED or bound * self._bytes.unit * _FAR_BELOW > self._of_bytes(limit):
            return limit, 0
        first = np.array([bounds.argmin()], np.int32)
        sums, rows = self._compare(tile, first, limit)
        return min(limit, self._contending(sums)), rows

    def _exact_scores(
        self, tile: Tile, places: NDArray[np.int32], sums: NDArray[np.float64], singles: int
    ) -> tuple[NDArray[np.float64], bool]:
        """Return the scores of windows, -inf beyond so many singles, and whether all are known."""
        if self._type == "H":
            return self._scores(sums), True
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
            pixels = image = np.ascontiguousarray(image[source])
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

    def _contending(self, sums: NDArray[np.float64]) -> float:
        """Return the largest difference that could be as good as the least of these."""
        return float(sums.min()) * (1 + _ROUNDED_SUM) + self._unseen

    def _largest_difference(self, score: float) -> float:
        """Return a difference that no window with at least this score exceeds."""
        return (1 - score) * self._total * (1 + _ROUNDED_SUM) + self._unseen

    def _of_bytes(self, difference: float) -> int:
        """Return the largest difference that the bytes of windows up to this difference have."""
        if self._squared:
            root = math.sqrt(difference) / self._copy.step + self._off
            bytes_apart = root * root  # infinite where `**` raises OverflowError
        else:
            bytes_apart = difference / self._copy.step + self._off
        return int(min(bytes_apart * (1 + _ROUNDED_SUM) + 1, 2.0**62))

    def _scores(self, differences: NDArray[np.float64]) -> NDArray[np.float64]:
        span = self.problem.data_range
        scale = span * span if self._squared else span
        return metrics.similarity(differences, self.problem.total_weight, scale)


def _nothing(evaluated: int, compared: int, *, is_done: bool) -> Look:
    """Return the result of a look that found no window above the floor."""
    return Look(-math.inf, -1, -1, evaluated, compared, is_done)
