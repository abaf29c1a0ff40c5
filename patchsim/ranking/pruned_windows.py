"""The best windows of one kernel without a map: branch and bound over blocks of windows.

Each block has an upper bound of its windows' scores. Blocks are searched in the order of their
bounds, and the best window found so far, the incumbent, excludes blocks with lower bounds. A block
whose windows take too long gets finer bounds, then all its scores by a direct engine, so that
no block costs much more than that, however loose the bounds are. When the search has taken longer
than the direct search of all windows, that takes over.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from patchsim.engines import REMOVED, Bounds, LowerBounds, Search
from patchsim.geometry import tiles
from patchsim.geometry.blocks import BLOCK, block_index, grid_shape, reduce_blocks
from patchsim.geometry.overlaps import Box
from patchsim.geometry.tiles import Tile
from patchsim.machine.threads import in_order
from patchsim.metrics import Exact
from patchsim.ranking.score_map import ScoreMap
from patchsim.ranking.window_bounds import WindowBounds

# The share of the direct engine's time for a block that may go into comparing its windows one by
# one, before and after finer bounds, before the block is left to that engine.
_BEFORE, _AFTER = 0.05, 0.4
# Of all rows of windows in a block, this share is compared before finer bounds at most: these take
# less time than more rows do.
_ROWS_BEFORE = 1 / 128

# The share of a sample of blocks that the search must decide, before and after finer bounds, so
# that it pays to search the others.
_PAYS_BEFORE, _PAYS_AFTER = 0.1, 0.3
_SAMPLE = 16  # blocks
_AT_ONCE = 32  # blocks that a thread takes, best first

EvaluateBlocks = Callable[[Iterable[Tile]], Generator[tuple[Tile, Bounds], None, None]]


@lru_cache(maxsize=1)
def _blocks(shape: tuple[int, int], side: int) -> list[Tile]:
    """Return the blocks of a map; kept, as many kernels have maps of one shape."""
    return list(tiles.split(shape, (side, side)))


class PrunedWindows:
    """The windows of one kernel, found by bounds; implements `contract.Windows`.

    Parameters
    ----------
    search : Search
    evaluate_blocks : tiles -> (tile, scores), optional
        The direct search of some blocks of the map.
    exact : (y, x) -> float, optional
        The exact score of a window, for those of `evaluate_blocks` that have an error.
    score_exactly : Tile -> Bounds, optional
        Exact scores of many windows of a block: of all, or of those that equal others in it.
    threads : int
        Blocks that are searched at the same time.
    search_all : () -> ScoreMap, optional
        The direct search of all windows, used once the search has taken `seconds`.
    seconds, block_seconds : float
        The estimated seconds of `search_all`, and of `evaluate_blocks` for one block alone.
    keeps_bounds : bool
        Keep the bounds of all windows. Otherwise they are made again for the blocks that are
        searched: most are never read again, and writing them takes longer than making some twice.
    """

    map: NDArray[np.float32] | None = None
    error = 0.0

    def __init__(
        self,
        search: Search,
        evaluate_blocks: EvaluateBlocks | None,
        threads: int,
        *,
        exact: Exact | None = None,
        score_exactly: Callable[[Tile], Bounds] | None = None,
        search_all: Callable[[], ScoreMap] | None = None,
        seconds: float = math.inf,
        block_seconds: float = math.inf,
        keeps_bounds: bool = True,
    ) -> None:
        problem = search.problem
        self.kernel = problem.kernel[:2]
        self._stride = problem.stride
        self._threads = threads
        self._search = search
        self._evaluate_blocks = evaluate_blocks
        self._exact, self._score_exactly = exact, score_exactly
        self._search_all = search_all
        self._seconds_left = seconds
        self._score_map: ScoreMap | None = None  # once `search_all` has taken over
        self._seconds, self._block_seconds = seconds, block_seconds
        # So many rows of a block's windows are compared one by one, before and after finer bounds.
        self._rows_before = self._rows_after = sys.maxsize
        rows, cols = problem.map_shape
        self._blocks = _blocks((rows, cols), BLOCK)
        self._bounds = WindowBounds(search, self._blocks, keeps_all=keeps_bounds)
        self._block_scores: dict[int, ScoreMap] = {}  # of blocks that were scored as a whole
        count = len(self._blocks)
        self._is_refined = np.zeros(count, np.bool_)
        self._windows_compared = np.zeros(count, np.int64)
        self._rows_compared = np.zeros(count, np.int64)
        # For each block: the upper bound of its scores; its best score and cell, where known.
        self._upper_bounds = np.full(count, -math.inf)
        grid = grid_shape((rows, cols))
        self._least_bounds: LowerBounds = np.full(grid, REMOVED, np.uint16)
        self._best_scores = np.full(count, -math.inf)
        self._best_cells = np.zeros((count, 2), np.int64)
        self._incumbent = -math.inf  # a window left has at least this score

    @staticmethod
    def estimate_bytes(shape: tuple[int, int]) -> int:
        """Return the bytes that the windows of a map of this shape take.

        Without `keeps_bounds` they take as much once all blocks have been searched. The score map
        of `search_all` takes less, and comes after these are freed.
        """
        bound = 2
        return math.prod(shape) * bound + ScoreMap.estimate_bytes(shape)

    @property
    def windows_evaluated(self) -> int:
        """The number of windows that were scored one by one."""
        maps = [*self._block_scores.values()]
        maps += [] if self._score_map is None else [self._score_map]
        return int(self._windows_compared.sum()) + sum(one.windows_evaluated for one in maps)

    @property
    def blocks_evaluated(self) -> int:
        """The number of blocks that were scored as a whole."""
        return len(self._blocks) if self._score_map is not None else len(self._block_scores)

    @property
    def block_count(self) -> int:
        """The number of blocks of the map."""
        return len(self._blocks)

    def bound(self, tile: Tile) -> tuple[Tile, LowerBounds]:
        """Compute the bounds of a tile, and return the least of each block in it, for `put`."""
        return tile, reduce_blocks(np.minimum, self._bounds.compute(tile), tile)

    def put(self, tile: Tile, least_bounds: LowerBounds) -> None:
        """Store the least bounds of the blocks in a tile; `ready` comes after all tiles."""
        stored = self._least_bounds[block_index(tile)]
        np.minimum(stored, least_bounds, out=stored)

    def ready(self) -> None:
        """Make the blocks' upper bounds, once all tiles were put."""
        self._upper_bounds = self._search.upper_bounds(self._least_bounds.ravel())

    @property
    def upper_bound(self) -> float:
        """The score that no window left exceeds."""
        if self._score_map is not None:
            return self._score_map.upper_bound
        return float(self._upper_bounds.max())

    def best(self, floor: float) -> tuple[int, int, float] | None:
        """Return y, x and the exact score of the best window left, or None below the floor."""
        if self._score_map is None and self._search_all and self._seconds_left < 0:
            self._score_map = self._take_over(self._search_all)
        if self._score_map is not None:
            return self._score_map.best(floor)
        started = time.perf_counter()
        best = self._best(floor)
        self._seconds_left -= time.perf_counter() - started
        return best

    def _take_over(self, search_all: Callable[[], ScoreMap]) -> ScoreMap:
        """Free the bounds and scores of blocks, and search all windows directly."""
        self._search.clear()
        self._bounds.clear()
        self._block_scores = {}
        self._evaluate_blocks = None  # with the kernel that was prepared for it
        score_map = search_all()
        for y, x in self._bounds.suppressed:
            score_map.suppress(y, x)
        for box, overlap in self._bounds.boxes:
            score_map.suppress_overlapping(box, overlap)
        return score_map

    def _best(self, floor: float) -> tuple[int, int, float] | None:
        while True:
            self._incumbent = max(floor, float(self._best_scores.max()))
            is_open = self._upper_bounds > self._best_scores
            blocks = np.flatnonzero(is_open & (self._upper_bounds >= self._incumbent))
            if not blocks.size:
                break
            self._search_blocks(blocks[np.argsort(-self._upper_bounds[blocks])].tolist())
        score = float(self._best_scores.max())
        if score < floor or score == -math.inf:
            return None
        row, col = min(self._best_cells[self._best_scores == score].tolist())
        return row * self._stride[0], col * self._stride[1], score

    def suppress(self, y: int, x: int) -> None:
        """Remove one window."""
        if self._score_map is not None:
            self._score_map.suppress(y, x)
            return
        self._bounds.suppress(y, x)
        self._forget_suppressed()

    def suppress_overlapping(self, box: Box, overlap: float) -> None:
        """Remove windows whose intersection over union with the box (y, x, h, w) is larger."""
        if self._score_map is not None:
            self._score_map.suppress_overlapping(box, overlap)
            return
        self._bounds.suppress_overlapping(box, overlap)
        self._forget_suppressed()

    def _forget_suppressed(self) -> None:
        """Forget the best windows of blocks in which they were suppressed."""
        for block in np.flatnonzero(self._best_scores > -math.inf).tolist():
            bounds, place = self._bounds.of_block(block)
            tile, (row, col) = self._blocks[block], self._best_cells[block].tolist()
            if bounds[place.top + row - tile.top, place.left + col - tile.left] == REMOVED:
                self._best_scores[block] = -math.inf

    def _search_blocks(self, blocks: list[int]) -> None:
        """Find the best window of these blocks, or that none of them is the best of all."""
        rows = int(BLOCK * BLOCK * self.kernel[0] * _ROWS_BEFORE)
        self._rows_before = min(rows, self._rows_worth(len(blocks), _BEFORE))
        undecided = self._decide_where_it_pays(self._decide, blocks, _PAYS_BEFORE)
        self._rows_after = self._rows_worth(len(undecided), _AFTER)
        undecided = self._decide_where_it_pays(self._decide_refined, undecided, _PAYS_AFTER)
        undecided = [block for block in undecided if self._upper_bounds[block] >= self._incumbent]
        if undecided and self._evaluate_blocks:
            wanted = {self._blocks[block]: block for block in undecided}
            self._search.clear()  # the memory is for the direct search
            with closing(self._evaluate_blocks(list(wanted))) as scored:
                for tile, bounds in scored:
                    for part in tiles.split((tile.rows, tile.cols), (BLOCK, BLOCK)):
                        at = Tile(tile.top + part.top, tile.left + part.left, part.rows, part.cols)
                        if at in wanted:
                            self._block_scores[wanted[at]] = self._scores_of(at, part, bounds)
                    del bounds  # free them before the next tile is scored

    def _rows_worth(self, blocks: int, share: float) -> int:
        """Return the rows of a block that take a share of the direct search of so many blocks."""
        if self._evaluate_blocks is None:
            return sys.maxsize
        # Blocks together cost less than each alone, where windows share transforms.
        each = min(self._block_seconds, self._seconds / max(1, blocks)) * self._threads
        return int(min(share * each / self._search.row_seconds, sys.maxsize))

    def _scores_of(self, block: Tile, part: Tile, bounds: Bounds) -> ScoreMap:
        """Return the scores of a block, which lie at `part` in the bounds of a tile."""
        stride_y, stride_x = self._stride
        exact, score_exactly = self._exact, self._score_exactly

        def exactly(y: int, x: int) -> float:
            assert exact is not None, "the scores have errors"
            return exact(block.top * stride_y + y, block.left * stride_x + x)

        def all_exactly(_wanted: list[Tile]) -> Generator[tuple[Tile, Bounds], None, None]:
            assert score_exactly is not None
            yield whole, score_exactly(block)

        whole = Tile(0, 0, block.rows, block.cols)
        scores = ScoreMap(
            (block.rows, block.cols),
            self.kernel,
            self._stride,
            exactly,
            evaluate_blocks=all_exactly if score_exactly else None,
        )
        error = bounds.error if isinstance(bounds.error, float) else bounds.error[part.index]
        scores.put(whole, Bounds(bounds.map[part.index], error))
        return scores

    def _decide_where_it_pays(
        self, decide: Callable[[int], bool], blocks: list[int], share: float
    ) -> list[int]:
        """Return the blocks left undecided; the rest is left, too, if too few of a sample are."""
        if self._evaluate_blocks is None:
            return self._decide_all(decide, blocks)
        # The best blocks give an incumbent, without which the sample would tell nothing.
        best, others = blocks[:_SAMPLE], blocks[_SAMPLE:]
        undecided = self._decide_all(decide, best)
        step = max(1, len(others) // _SAMPLE)
        sample = others[::step]
        undecided_sample = self._decide_all(decide, sample)
        rest = [block for number, block in enumerate(others) if number % step]
        if len(undecided_sample) <= (1 - share) * len(sample):
            rest = self._decide_all(decide, rest)
        return sorted(
            undecided + undecided_sample + rest, key=lambda block: -self._upper_bounds[block]
        )

    def _decide_all(self, decide: Callable[[int], bool], blocks: list[int]) -> list[int]:
        """Return the blocks that `decide` leaves undecided."""

        def undecided_of(chunk: list[int]) -> list[int]:
            return [block for block in chunk if not decide(block)]

        # The first block alone: it gives an incumbent for the others.
        undecided, others = undecided_of(blocks[:1]), blocks[1:]
        size = max(1, min(_AT_ONCE, -(-len(others) // self._threads)))
        chunks = [others[i : i + size] for i in range(0, len(others), size)]
        parallel = min(self._threads, max(1, len(chunks)))
        with closing(in_order(undecided_of, chunks, parallel)) as results:
            for result in results:
                undecided += result
        return undecided

    def _decide(self, block: int) -> bool:
        """Find the best window of a block; False if too many would have to be compared."""
        upper_bound = self._upper_bounds[block]
        if upper_bound < self._incumbent or upper_bound == self._best_scores[block]:
            return True
        scores = self._block_scores.get(block)
        if scores is None:
            return self._compare(block)
        bounds, place = self._bounds.of_block(block)
        scores.upper_bounds[bounds[place.index] == REMOVED] = -math.inf
        incumbent = self._incumbent
        best = scores.best(incumbent)
        if best is None:
            self._upper_bounds[block] = math.nextafter(incumbent, -math.inf)
        else:
            y, x, score = best
            self._store_best(block, y // self._stride[0], x // self._stride[1], score)
        return True

    def _decide_refined(self, block: int) -> bool:
        """Find the best window of a block with finer bounds; False as for `_decide`."""
        if self._decide(block):  # with the incumbent of now
            return True
        if self._is_refined[block]:
            return False
        self._is_refined[block] = True
        self._search.refine(self._blocks[block], *self._bounds.of_block(block))
        return self._decide(block)

    def _compare(self, block: int) -> bool:
        """Compare the windows of a block that could be the best; False if that takes too long."""
        incumbent = self._incumbent
        most = self._rows_after if self._is_refined[block] else self._rows_before
        look = self._search.look(
            self._blocks[block],
            *self._bounds.of_block(block),
            incumbent,
            most - int(self._rows_compared[block]),
        )
        self._windows_compared[block] += look.evaluated
        self._rows_compared[block] += look.compared
        if look.row >= 0:
            if look.done:
                self._store_best(block, look.row, look.col, look.score)
            self._incumbent = max(self._incumbent, look.score)
        elif look.done:
            self._upper_bounds[block] = math.nextafter(incumbent, -math.inf)
        return look.done

    def _store_best(self, block: int, row: int, col: int, score: float) -> None:
        """Store the best window of a block; row and col are those within the block."""
        tile = self._blocks[block]
        self._best_cells[block] = tile.top + row, tile.left + col
        self._upper_bounds[block] = self._best_scores[block] = score
        self._incumbent = max(self._incumbent, score)
