"""The scores of one kernel's windows, made exact only where the matches need it.

The scores of an engine have an error that it states; matches have none. Windows are taken in the
order of their upper bounds, evaluated exactly, and put back; the window that is first with an exact
score is the best one. A block in which many windows are taken is evaluated exactly as a whole.
"""

from __future__ import annotations

import math
from contextlib import closing
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from patchsim.engines import Bounds
from patchsim.geometry.blocks import BLOCK, grid_shape
from patchsim.geometry.overlaps import Box, overlapping
from patchsim.geometry.tiles import Tile
from patchsim.metrics import Exact, Indices
from patchsim.ranking.cell_queue import SUPPRESSED, CellQueue
from patchsim.ranking.contract import Closest
from patchsim.ranking.evaluated_blocks import SINGLES, EvaluateBlocks, EvaluatedBlocks

# Windows of a block that are evaluated in one call, which takes as long as several windows.
TOGETHER = 32
# Windows that `closest` evaluates, one by one.
_LOOKS = 8
_SAMPLE = 1 << 12  # windows of which `level` is estimated
ROUNDING = 2.0**-51  # more than the rounding error of a sum of two values within +-2


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
        bound the scores of windows that are not exact yet.
    has_exact_blocks : bool
        Whether `evaluate_blocks` takes less for a block than its windows take one by one.
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
        evaluate_blocks: EvaluateBlocks | None = None,
        has_exact_blocks: bool = True,
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
        self.windows_evaluated = 0
        self.error = 0.0  # the largest error of a score in the map
        self._begins_exact = False  # whether scores that were put are exact
        self._lock = Lock()
        self._exact = exact
        self._blocks = (
            None
            if evaluate_blocks is None
            else EvaluatedBlocks(evaluate_blocks, kernel, is_quick=has_exact_blocks)
        )
        self._queue: CellQueue | None = None  # once the best window is asked for

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
            upper_bounds[bounds.hidden] = SUPPRESSED
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
        if self._blocks is not None and self._blocks.is_check_due:
            self.evaluate_contenders()
        elif self._blocks is not None and self._blocks.is_due(corner):
            self._evaluate_all(self._blocks, [self._block(*corner)])
        if not self.is_exact[row, col]:
            count = self._evaluate_rivals(row, col)
            if self._blocks is not None:
                self._blocks.count(corner, count)

    def _evaluate_rivals(self, row: int, col: int) -> int:
        """Evaluate a window, and others of its block that could be better; return their number."""
        block = self._block(row - row % BLOCK, col - col % BLOCK)
        bounds, is_open = self.upper_bounds[block.index], ~self.is_exact[block.index]
        # Its true score is lower than its bound by twice the error at most.
        error = self.error if self._blocks is None else min(self.error, self._blocks.error)
        floor = self.upper_bounds[row, col] - 2 * (error + ROUNDING)
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
        if self.error == 0 or self._blocks is None:
            return
        before = len(self._blocks)
        self._evaluate_all(self._blocks, self._contenders())
        self._blocks.checked(has_evaluated=len(self._blocks) > before)

    def _evaluate_all(self, evaluated: EvaluatedBlocks, blocks: list[Tile]) -> None:
        if todo := evaluated.left(blocks):
            with closing(evaluated.evaluate(todo)) as scored:
                for tile, bounds in scored:
                    evaluated.error = self._store_exact(tile, bounds)
                    evaluated.add(tile)
                    del bounds  # free them before the next tile is scored

    def _store_exact(self, tile: Tile, bounds: Bounds) -> float:
        """Store a tile of whole blocks: its exact scores; bounds of others, where they are closer.

        Returns the error of the bounds of all windows that are left, infinite if it is unknown.
        """
        is_new = np.equal(bounds.error, 0.0) & ~self.is_exact[tile.index]
        if self.map is not None:
            np.copyto(self.map[tile.index], bounds.map, where=is_new, casting="same_kind")
        upper_bounds = self.upper_bounds[tile.index]
        np.copyto(upper_bounds, bounds.map, where=is_new & (upper_bounds > SUPPRESSED))
        self.is_exact[tile.index] |= is_new
        largest = float(np.max(bounds.error))
        if largest == 0 or math.isinf(largest):
            return math.inf
        # The engine rounds its sums of floats.
        lower = bounds.map + (bounds.error + ROUNDING)
        np.minimum(upper_bounds, lower, out=upper_bounds, where=~self.is_exact[tile.index])
        return largest if upper_bounds.shape == self.upper_bounds.shape else math.inf

    def _contenders(self) -> list[Tile]:
        """Return the blocks with many windows that could be the best of those left."""
        # A good window whose score is exact leaves fewer that could be better.
        first = divmod(int(self.upper_bounds.argmax()), self.upper_bounds.shape[1])
        if not self.is_exact[first] and self.upper_bounds[first] > SUPPRESSED:
            self._evaluate_windows(*(np.array([index], np.int64) for index in first))
        elif self.upper_bounds[first] == SUPPRESSED:
            return []
        rows, cols = self.upper_bounds.shape
        is_only = self.windows_evaluated == 1 and not self._begins_exact
        if is_only and max(rows, cols) <= BLOCK and self.upper_bounds[first] > SUPPRESSED:
            # One block, of which this window alone is exact.
            contenders = np.count_nonzero(self.upper_bounds >= self.upper_bounds[first])
            return [self._block(0, 0)] if contenders - 1 > SINGLES else []
        best_exact = float(np.max(self.upper_bounds, initial=SUPPRESSED, where=self.is_exact))
        return self._open_blocks(best_exact)

    def _open_blocks(self, lowest: float) -> list[Tile]:
        """Return the blocks with many windows that are not exact and may have such a score."""
        blocks, (rows, cols) = [], self.upper_bounds.shape
        for top in range(0, rows, BLOCK):
            band = np.s_[top : top + BLOCK]
            contends = (self.upper_bounds[band] >= lowest) & ~self.is_exact[band]
            counts = np.add.reduceat(contends.sum(0), range(0, cols, BLOCK))
            lefts = BLOCK * np.flatnonzero(counts > SINGLES)
            blocks += [self._block(top, left) for left in lefts.tolist()]
        return blocks

    @property
    def can_list(self) -> bool:
        """Whether all windows from a score on can be made exact at once, as blocks can."""
        return self.error == 0 or (self._blocks is not None and self._blocks.is_quick)

    def evaluate_from(self, lowest: float) -> None:
        """Make the scores of all windows exact that may have such a score or a higher one."""
        if self.error == 0:
            return
        if self._blocks is not None:
            self._evaluate_all(self._blocks, self._open_blocks(lowest))
        is_open = (self.upper_bounds >= lowest) & ~self.is_exact
        rows, cols = np.divmod(np.flatnonzero(is_open), is_open.shape[1])
        if len(rows):
            self._evaluate_windows(rows, cols)

    def level(self, count: int) -> float:
        """Return a score that about so many of the windows left have, estimated from a sample."""
        step = self.upper_bounds.size // _SAMPLE | 1
        sample = self.upper_bounds.ravel()[::step]
        rank = min(len(sample), count // step + 1)
        return float(np.partition(sample, len(sample) - rank)[len(sample) - rank])

    def all_from(self, lowest: float) -> tuple[Indices, Indices, NDArray[np.float64]]:
        """Return y, x and the score of all windows left that have such a score or a higher one.

        They are exact after `evaluate_from`.
        """
        reaching = np.flatnonzero(self.upper_bounds >= lowest)
        rows, cols = np.divmod(reaching, self.upper_bounds.shape[1])
        return rows * self.stride[0], cols * self.stride[1], self.upper_bounds[rows, cols]

    def is_left(self, y: int, x: int) -> bool:
        """Return whether a window was not suppressed."""
        return bool(self.upper_bounds[y // self.stride[0], x // self.stride[1]] > SUPPRESSED)

    def are_left(self, y: Indices, x: Indices) -> NDArray[np.bool_]:
        """Return which of some windows were not suppressed."""
        return self.upper_bounds[y // self.stride[0], x // self.stride[1]] > SUPPRESSED

    @property
    def blocks_evaluated(self) -> int:
        """The number of blocks that were scored exactly as a whole."""
        return 0 if self._blocks is None else len(self._blocks)

    @property
    def block_count(self) -> int:
        """The number of blocks of the map."""
        rows, cols = self.upper_bounds.shape
        return math.prod(grid_shape((rows, cols)))

    def _block(self, top: int, left: int) -> Tile:
        rows, cols = self.upper_bounds.shape
        return Tile(top, left, min(BLOCK, rows - top), min(BLOCK, cols - left))

    @property
    def highest_bound(self) -> float:
        """The highest bound of a window left, before they are put in order."""
        return float(self.upper_bounds.max())

    @property
    def upper_bound(self) -> float:
        """The score that no window left exceeds."""
        first = self._filled_queue().first
        return -first[0] if first is not None else SUPPRESSED

    def _filled_queue(self) -> CellQueue:
        if self._queue is None:
            has_errors = self.error > 0
            self._queue = CellQueue(self.upper_bounds, self.is_exact, has_errors=has_errors)
        return self._queue

    def best(self, floor: float) -> tuple[int, int, float] | None:
        """Return y, x and the exact score of the best window left, or None below the floor."""
        queue = self._filled_queue()
        while (first := queue.first) is not None and -first[0] >= floor:
            minus_score, is_exact, row, col, _ = first
            # Cells that were suppressed stay in the queue until their turn.
            if self.upper_bounds[row, col] == -minus_score:
                if is_exact:
                    return row * self.stride[0], col * self.stride[1], -minus_score
                self.evaluate(row, col)
            queue.replace_first()
        return None

    def closest(self, among: int = 1) -> Closest | None:  # noqa: ARG002 - all scores are there
        """Evaluate the first few windows one by one; as for `contract.Windows`."""
        nearest: tuple[int, int, float] | None = None
        queue = self._filled_queue()
        for _ in range(_LOOKS):
            if (first := queue.first) is None:
                break
            minus_score, is_exact, row, col, _ = first
            if self.upper_bounds[row, col] == -minus_score:
                if not is_exact:
                    self._evaluate_windows(np.array([row]), np.array([col]))
                score = float(self.upper_bounds[row, col])
                if nearest is None or score > nearest[2]:
                    nearest = row * self.stride[0], col * self.stride[1], score
                if is_exact:
                    break
            queue.replace_first()
        if nearest is None:
            return None
        return Closest(nearest, max(nearest[2], self.upper_bound))

    def suppress(self, y: int, x: int) -> None:
        """Remove one window."""
        self.upper_bounds[y // self.stride[0], x // self.stride[1]] = SUPPRESSED

    def suppress_overlapping(self, box: Box, overlap: float) -> None:
        """Remove windows whose intersection over union with the box (y, x, h, w) is larger."""
        shape = self.upper_bounds.shape
        for index, is_over in overlapping(shape, self.kernel, self.stride, box, overlap):
            self.upper_bounds[index][is_over] = SUPPRESSED
