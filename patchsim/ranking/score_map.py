"""The scores of one kernel's windows, made exact only where the matches need it.

The scores of an engine have an error that it states; matches have none. Windows are taken in the
order of their upper bounds, evaluated exactly, and put back; the window that is first with an exact
score is the best one. A block in which many windows are taken is evaluated exactly as a whole.
"""

from __future__ import annotations

import heapq
import math
from collections import defaultdict
from collections.abc import Callable, Generator
from contextlib import closing
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from patchsim.engines import Bounds
from patchsim.geometry.blocks import BLOCK, grid_shape, reduce_blocks
from patchsim.geometry.overlaps import Box, overlapping
from patchsim.geometry.tiles import Tile
from patchsim.metrics import Exact
from patchsim.ranking.contract import Closest

# Windows of a block that are evaluated by themselves. With a kernel of 64x64 one takes 1 to 10
# microseconds, and all 4096 of the block together take about a millisecond.
SINGLES = 128
# Windows of a block that are evaluated in one call, which takes as long as several windows.
TOGETHER = 32
# Windows that are evaluated before all blocks are checked for contenders, which takes as long as
# some hundred windows.
_MANY = 512
# Windows that `closest` evaluates, one by one.
_LOOKS = 8
ROUNDING = 2.0**-51  # more than the rounding error of a sum of two values within +-2
_UNKNOWN = -1  # the row and column of a block's first cell before they are looked up
_SUPPRESSED = -np.inf  # a match, or a window that overlaps one


class ScoreMap:
    """The scores of one kernel's windows, exact where that was asked for.

    Parameters
    ----------
    shape : (rows, cols)
    kernel : (height, width)
    stride : (y, x)
    exact : int64 arrays (y, x) -> float64 array
        The exact scores of the windows with these top-left pixels.
    evaluate_blocks : list of Tile -> (Tile, Bounds), optional
        Scores of these tiles, in tiles that hold them; scores with an error of 0 are exact, others
        are ignored.
    keeps_map : bool
        Keep the scores in `map`, too.
    kept : float32 array [rows, cols], optional
        The scores that will be put, kept elsewhere: they are made exact there, too.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        kernel: tuple[int, int],
        stride: tuple[int, int],
        exact: Exact,
        *,
        evaluate_blocks: (
            Callable[[list[Tile]], Generator[tuple[Tile, Bounds], None, None]] | None
        ) = None,
        keeps_map: bool = False,
        kept: NDArray[np.float32] | None = None,
    ) -> None:
        # The exact score where `is_exact`, elsewhere an upper bound.
        self.upper_bounds: NDArray[np.float64] = np.empty(shape)
        self.upper_bounds.fill(np.nan)
        self.is_exact: NDArray[np.bool_] = np.zeros(shape, dtype=bool)
        self.map = kept
        self._is_kept_elsewhere = kept is not None
        if keeps_map:
            self.map = np.full(shape, np.nan, dtype=np.float32)
        self.kernel = kernel
        self.stride = stride
        self.windows_evaluated, self.blocks_evaluated = 0, 0
        self.error = 0.0  # the largest error of a score in the map
        self._begins_exact = False  # whether scores that were put are exact
        self._lock = Lock()
        self._exact = exact
        self._evaluate_blocks = evaluate_blocks
        self._until_check = _MANY  # windows before all blocks are checked again
        self._requests: dict[tuple[int, int], int] = defaultdict(int)  # windows asked for, by block
        self._done: set[tuple[int, int]] = set()  # blocks that were evaluated as a whole
        # The first cell of each block: minus its score, is exact, row, col, the block's corner.
        self._heap: list[tuple[float, bool, int, int, tuple[int, int]]] | None = None

    @staticmethod
    def estimate_bytes(shape: tuple[int, int], *, keeps_map: bool = False) -> int:
        """Return the bytes that a score map of this shape allocates."""
        upper_bound, is_exact, score_bytes = 8, 1, 4
        return math.prod(shape) * (upper_bound + is_exact + (score_bytes if keeps_map else 0))

    def put(self, tile: Tile, bounds: Bounds) -> None:
        """Store the scores of a tile; several threads may store different tiles at once."""
        upper_bounds, is_exact = self.upper_bounds[tile.index], self.is_exact[tile.index]
        if self.map is not None and not self._is_kept_elsewhere:
            self.map[tile.index] = bounds.map
        if isinstance(bounds.error, float) and bounds.error == 0:
            upper_bounds[...] = bounds.map
            is_exact[...] = True
            self._begins_exact = True
        elif isinstance(bounds.error, float):
            self._put_off_by(bounds.error, bounds, upper_bounds)
        else:
            self._put_inexact(bounds, upper_bounds, is_exact)
            self._begins_exact = True
        if bounds.hidden is not None:
            upper_bounds[bounds.hidden] = _SUPPRESSED
            is_exact[bounds.hidden] = True

    def _put_off_by(self, error: float, bounds: Bounds, upper_bounds: NDArray[np.float64]) -> None:
        """Fill a tile of `upper_bounds` with scores that have one error."""
        upper_bounds[...] = bounds.map
        # The sum of a score and its error must not be rounded to less than the true score.
        upper_bounds += math.nextafter(error + ROUNDING, math.inf)
        with self._lock:
            self.error = max(self.error, error)

    def _put_inexact(
        self, bounds: Bounds, upper_bounds: NDArray[np.float64], is_exact: NDArray[np.bool_]
    ) -> None:
        """Fill a tile of `upper_bounds` and `is_exact`."""
        np.equal(bounds.error, 0.0, out=is_exact)
        np.add(bounds.map, bounds.error, out=upper_bounds, dtype=np.float64)
        # The sum of a score and its error must not be rounded to less than the true score.
        np.add(upper_bounds, ROUNDING, out=upper_bounds)
        np.copyto(upper_bounds, bounds.map, where=is_exact)
        error = float(np.max(bounds.error))
        with self._lock:
            self.error = max(self.error, error)

    def evaluate(self, row: int, col: int) -> None:
        """Make a window's score exact, together with its block or others where that is quicker."""
        corner = row - row % BLOCK, col - col % BLOCK
        if self._evaluate_blocks is not None and self._until_check < 0:
            self.evaluate_contenders()
        elif self._evaluate_blocks is not None and self._requests[corner] >= SINGLES:
            self._evaluate_all([self._block(*corner)])
        if not self.is_exact[row, col]:
            count = self._evaluate_rivals(row, col)
            self._requests[corner] += count
            self._until_check -= count

    def _evaluate_rivals(self, row: int, col: int) -> int:
        """Evaluate a window, and others of its block that could be better; return their number."""
        block = self._block(row - row % BLOCK, col - col % BLOCK)
        bounds, is_open = self.upper_bounds[block.index], ~self.is_exact[block.index]
        # Its true score is lower than its bound by twice the error at most.
        floor = self.upper_bounds[row, col] - 2 * (self.error + ROUNDING)
        is_rival = is_open & (bounds >= floor)
        is_rival[row - block.top, col - block.left] = False
        rivals = np.flatnonzero(is_rival)
        if len(rivals) > TOGETHER:
            values = bounds.ravel()[rivals]
            rivals = rivals[np.argpartition(values, -TOGETHER)[-TOGETHER:]]
        rows, cols = np.divmod(rivals, block.cols)
        self._evaluate_windows(np.append(rows + block.top, row), np.append(cols + block.left, col))
        return len(rows) + 1

    def _evaluate_windows(self, rows: NDArray[np.int64], cols: NDArray[np.int64]) -> None:
        scores = self._exact(rows * self.stride[0], cols * self.stride[1])
        self.upper_bounds[rows, cols] = scores
        self.is_exact[rows, cols] = True
        self.windows_evaluated += len(scores)
        if self.map is not None:
            self.map[rows, cols] = scores

    def evaluate_contenders(self) -> None:
        """Evaluate all blocks with many windows that could be the best."""
        if self.error == 0 or self._evaluate_blocks is None:
            return
        before = self.blocks_evaluated
        self._evaluate_all(self._contenders())
        # With few contenders in each block, the next check soon would take longer than they do.
        self._until_check = _MANY if self.blocks_evaluated > before else 4 * _MANY

    def _evaluate_all(self, blocks: list[Tile]) -> None:
        assert self._evaluate_blocks is not None
        todo = [block for block in blocks if (block.top, block.left) not in self._done]
        if todo:
            with closing(self._evaluate_blocks(todo)) as scored:
                for tile, bounds in scored:
                    self._store_exact(tile, bounds)
                    del bounds  # free them before the next tile is scored

    def _store_exact(self, tile: Tile, bounds: Bounds) -> None:
        """Store the exact scores of a tile that holds whole blocks."""
        is_new = np.equal(bounds.error, 0.0) & ~self.is_exact[tile.index]
        if self.map is not None:
            np.copyto(self.map[tile.index], bounds.map, where=is_new, casting="same_kind")
        upper_bounds = self.upper_bounds[tile.index]
        np.copyto(upper_bounds, bounds.map, where=is_new & (upper_bounds > _SUPPRESSED))
        self.is_exact[tile.index] |= is_new
        self._done |= {
            (tile.top + top, tile.left + left)
            for top in range(0, tile.rows, BLOCK)
            for left in range(0, tile.cols, BLOCK)
        }
        self.blocks_evaluated = len(self._done)

    def _contenders(self) -> list[Tile]:
        """Return the blocks with many windows that could be the best of those left."""
        # A good window whose score is exact leaves fewer that could be better.
        first = divmod(int(self.upper_bounds.argmax()), self.upper_bounds.shape[1])
        if not self.is_exact[first] and self.upper_bounds[first] > _SUPPRESSED:
            self._evaluate_windows(*(np.array([index], np.int64) for index in first))
        rows, cols = self.upper_bounds.shape
        is_only = self.windows_evaluated == 1 and not self._begins_exact
        if is_only and max(rows, cols) <= BLOCK and self.upper_bounds[first] > _SUPPRESSED:
            # One block, of which this window alone is exact.
            contenders = np.count_nonzero(self.upper_bounds >= self.upper_bounds[first])
            return [self._block(0, 0)] if contenders - 1 > SINGLES else []
        best_exact = float(np.max(self.upper_bounds, initial=_SUPPRESSED, where=self.is_exact))
        blocks = []
        for top in range(0, rows, BLOCK):
            band = np.s_[top : top + BLOCK]
            contends = (self.upper_bounds[band] >= best_exact) & ~self.is_exact[band]
            counts = np.add.reduceat(contends.sum(0), range(0, cols, BLOCK))
            lefts = BLOCK * np.flatnonzero(counts > SINGLES)
            blocks += [self._block(top, left) for left in lefts.tolist()]
        return blocks

    @property
    def block_count(self) -> int:
        """The number of blocks of the map."""
        rows, cols = self.upper_bounds.shape
        return math.prod(grid_shape((rows, cols)))

    def _block(self, top: int, left: int) -> Tile:
        rows, cols = self.upper_bounds.shape
        return Tile(top, left, min(BLOCK, rows - top), min(BLOCK, cols - left))

    @property
    def upper_bound(self) -> float:
        """The score that no window left exceeds."""
        heap = self._filled_heap()
        return -heap[0][0] if heap else _SUPPRESSED

    def _filled_heap(self) -> list[tuple[float, bool, int, int, tuple[int, int]]]:
        """Return the heap, whose first cell is known."""
        if self._heap is None:
            self._heap = []
            self._fill_heap()
        while self._heap and self._heap[0][2] == _UNKNOWN:
            *_, corner = heapq.heappop(self._heap)
            self._push(*corner)
        return self._heap

    def _fill_heap(self) -> None:
        """Put the highest value of each block into the heap; its cell is looked up in its turn."""
        assert self._heap is not None
        rows, cols = self.upper_bounds.shape
        if max(rows, cols) <= BLOCK:
            self._push(0, 0)
            return
        highest = reduce_blocks(np.maximum, self.upper_bounds, Tile(0, 0, rows, cols))
        for down, across in np.argwhere(np.isnan(highest))[:1].tolist():
            self._push(down * BLOCK, across * BLOCK)  # it says which score is missing
        for (down, across), value in np.ndenumerate(highest):
            if value > _SUPPRESSED:
                corner = down * BLOCK, across * BLOCK
                self._heap.append((-float(value), False, _UNKNOWN, _UNKNOWN, corner))
        heapq.heapify(self._heap)

    def best(
        self,
        floor: float,
        wanted: float = math.inf,  # noqa: ARG002 - all scores are there
    ) -> tuple[int, int, float] | None:
        """Return y, x and the exact score of the best window left, or None below the floor."""
        while (heap := self._filled_heap()) and -heap[0][0] >= floor:
            minus_score, is_exact, row, col, corner = heap[0]
            # Cells that were suppressed stay in the heap until their turn.
            if self.upper_bounds[row, col] == -minus_score:
                if is_exact:
                    return row * self.stride[0], col * self.stride[1], -minus_score
                self.evaluate(row, col)
            heapq.heappop(heap)
            self._push(*corner)
        return None

    def closest(self, among: int = 1) -> Closest | None:  # noqa: ARG002 - all scores are there
        """Evaluate the first few windows one by one; as for `contract.Windows`."""
        nearest: tuple[int, int, float] | None = None
        for _ in range(_LOOKS):
            if not (heap := self._filled_heap()):
                break
            minus_score, is_exact, row, col, corner = heap[0]
            if self.upper_bounds[row, col] == -minus_score:
                if not is_exact:
                    self._evaluate_windows(np.array([row]), np.array([col]))
                score = float(self.upper_bounds[row, col])
                if nearest is None or score > nearest[2]:
                    nearest = row * self.stride[0], col * self.stride[1], score
                if is_exact:
                    break
            heapq.heappop(heap)
            self._push(*corner)
        if nearest is None:
            return None
        return Closest(nearest, max(nearest[2], self.upper_bound))

    def _push(self, top: int, left: int) -> None:
        """Put the first cell of a block into the heap."""
        assert self._heap is not None
        row, col = self._first(top, left)
        value = float(self.upper_bounds[row, col])
        if math.isnan(value):
            raise ValueError(f"there is no score in row {row}, col {col}")
        if value > _SUPPRESSED:
            # Among equal values inexact ones come first, as their scores may be lower.
            is_exact = bool(self.is_exact[row, col])
            heapq.heappush(self._heap, (-value, is_exact, row, col, (top, left)))

    def suppress(self, y: int, x: int) -> None:
        """Remove one window."""
        self.upper_bounds[y // self.stride[0], x // self.stride[1]] = _SUPPRESSED

    def _first(self, top: int, left: int) -> tuple[int, int]:
        """Return row and col of a block's highest cell; inexact ones come before exact ones."""
        block = np.s_[top : top + BLOCK, left : left + BLOCK]
        values = self.upper_bounds[block]
        row, col = divmod(int(values.argmax()), values.shape[1])
        is_exact = self.is_exact[block]
        if self.error > 0 and is_exact[row, col] and values[row, col] > _SUPPRESSED:
            # An equal cell that is not exact could prove to be worse: it is evaluated first.
            is_open = (values == values[row, col]) & ~is_exact
            if is_open.any():
                row, col = divmod(int(is_open.argmax()), values.shape[1])
        return top + row, left + col

    def suppress_overlapping(self, box: Box, overlap: float) -> None:
        """Remove windows whose intersection over union with the box (y, x, h, w) is larger."""
        shape = self.upper_bounds.shape
        for index, is_over in overlapping(shape, self.kernel, self.stride, box, overlap):
            self.upper_bounds[index][is_over] = _SUPPRESSED
