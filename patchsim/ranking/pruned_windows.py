"""The best windows of one kernel without a map: branch and bound over blocks of windows.

Each block has an upper bound of its windows' scores. Blocks are searched in the order of their
bounds, and the best window found so far, the incumbent, excludes blocks with lower bounds. A block
whose windows take too long gets finer bounds, then all its scores by a direct engine, so that
no block costs much more than that, however loose the bounds are. Where bounds leave too much open
(`search_budget`), the direct search of all windows takes over.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from patchsim.engines import REMOVED, Bounds, LowerBounds, Search
from patchsim.geometry import tiles
from patchsim.geometry.blocks import BLOCK, block_index, grid_shape
from patchsim.geometry.overlaps import Box
from patchsim.geometry.tiles import Tile
from patchsim.machine.threads import in_order
from patchsim.metrics import Exact
from patchsim.ranking.contract import Closest, Windows
from patchsim.ranking.direct_blocks import DirectBlocks, EvaluateBlocks
from patchsim.ranking.finer_bounds import FinerBounds, Piece
from patchsim.ranking.score_map import ScoreMap
from patchsim.ranking.search_budget import SearchBudget
from patchsim.ranking.window_bounds import WindowBounds

# The share of the direct engine's time for a block that may go into comparing its windows one by
# one, before and after finer bounds, before the block is left to that engine.
_BEFORE, _AFTER = 0.05, 0.4
# At most this share of all rows of windows in a block is compared before finer bounds, which take
# less time than more rows do. As many rows as take so many seconds are compared anyway: the look at
# the block takes about as long.
_ROWS_BEFORE, _ROWS_SECONDS = 1 / 128, 2e-5
# The share of what is cheap that each of the best blocks may take first.
_FIRST = 0.08
# The share of the time of the direct search of all windows that all finer bounds may take together,
# and that of the time of comparing the windows that some could exclude.
_REFINING_OF_DIRECT, _REFINING_OF_WINDOWS = 0.5, 1.0
# All windows are left to the direct search once more than this share of the blocks would be scored:
# their scores would take too much memory.
_MOST_SCORED = 0.7
# Finer bounds are made for windows up to so many times as different as the best one: those that
# could be next best.
_NEXT = 1.25

# The share of a sample of blocks that the search must decide, before and after finer bounds, so
# that it pays to search the others.
_PAYS_BEFORE, _PAYS_REFINED, _PAYS_AFTER = 0.4, 0.2, 0.3
_SAMPLE = 16  # blocks, or fewer, at least so few, if looks at them would take a larger share of
_FEWEST = 2  # the time of the direct search; a look takes as many seconds
_SAMPLING, _LOOK_SECONDS = 0.1, 5e-5
_SAMPLE_REFINED = 8  # blocks that get finer bounds as a sample
_FEW = 0.25  # the share of all blocks up to which finer bounds are followed by looks at each
_SHARE_SECONDS = 3e-4  # what it takes to estimate whether finer bounds pay
_AT_ONCE = 32  # blocks that a thread takes, best first
# `closest` looks at so many blocks, and values of the windows in each of them.
_CLOSEST_BLOCKS, _CLOSEST_VALUES = 4, 1 << 17
_BLOCK_BYTES = 400  # of a block beside its windows' bounds and scores: its tile, best and bound


@lru_cache(maxsize=1)
def _blocks(shape: tuple[int, int], side: int) -> list[Tile]:
    """Return the blocks of a map; kept, as many kernels have maps of one shape."""
    return list(tiles.split(shape, (side, side)))


class PrunedWindows:
    """The windows of one kernel, found by bounds; implements `contract.Windows`.

    Parameters
    ----------
    search : Search
    evaluate_blocks, exact, score_exactly : optional
        The direct search of some blocks of the map, as for `DirectBlocks`.
    threads : int
        Blocks that are searched at the same time.
    search_all : () -> Windows, optional
        The direct search of all windows, used once the search has taken `seconds`, or where bounds
        leave most blocks open.
    seconds, block_seconds : float
        The estimated seconds of `search_all`, and of `evaluate_blocks` for one block alone.
    tile : (rows, cols), optional
        The largest tile whose bounds may be made at once; a block without.
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
        search_all: Callable[[], Windows] | None = None,
        seconds: float = math.inf,
        block_seconds: float = math.inf,
        tile: tuple[int, int] = (BLOCK, BLOCK),
        keeps_bounds: bool = True,
    ) -> None:
        problem = search.problem
        self.kernel = problem.match_size
        self._stride = problem.stride
        self._threads = threads
        self._search = search
        self._blocks_directly = (
            DirectBlocks(problem, evaluate_blocks, exact, score_exactly)
            if evaluate_blocks
            else None
        )
        self._search_all, self._exact = search_all, exact
        self._budget = SearchBudget(seconds, block_seconds, threads)
        self._direct: Windows | None = None  # once `search_all` has taken over
        looks = _SAMPLING * min(seconds, 1.0) * threads / _LOOK_SECONDS
        self._sample = int(min(_SAMPLE, max(_FEWEST, looks)))
        self._refining_left = _REFINING_OF_DIRECT * seconds * threads
        # So many rows of a block's windows are compared one by one.
        self._rows_most = sys.maxsize
        rows, cols = problem.map_shape
        self._blocks = _blocks((rows, cols), BLOCK)
        self._bounds = WindowBounds(search, self._blocks, keeps_all=keeps_bounds)
        self._block_scores: dict[int, ScoreMap] = {}  # of blocks that were scored as a whole
        count = len(self._blocks)
        self._finer = FinerBounds(search, self._bounds, self._blocks, tile, threads)
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

        That is the score map of `search_all`. Bounds, and the scores of blocks, are freed before,
        and take less: `_MOST_SCORED` limits the number of these blocks.
        """
        return ScoreMap.estimate_bytes(shape) + math.prod(grid_shape(shape)) * _BLOCK_BYTES

    @property
    def windows_evaluated(self) -> int:
        """The number of windows that were scored one by one."""
        maps: list[Windows] = [*self._block_scores.values()]
        maps += [] if self._direct is None else [self._direct]
        return int(self._windows_compared.sum()) + sum(one.windows_evaluated for one in maps)

    @property
    def blocks_evaluated(self) -> int:
        """The number of blocks that were scored as a whole."""
        return len(self._blocks) if self._direct is not None else len(self._block_scores)

    @property
    def block_count(self) -> int:
        """The number of blocks of the map."""
        return len(self._blocks)

    def bound(self, tile: Tile) -> tuple[Tile, LowerBounds]:
        """Compute the bounds of a tile, and return the least of each block in it, for `put`."""
        return tile, self._bounds.compute(tile)

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
        if self._direct is not None:
            return self._direct.upper_bound
        return float(self._upper_bounds.max())

    def best(self, floor: float, wanted: float = math.inf) -> tuple[int, int, float] | None:
        """Return y, x and the exact score of the best window left, or None below the floor."""
        if self._direct is None and self._budget.is_spent:
            self._take_over()
        if self._direct is None:
            self._search_all_blocks(floor)
        if self._direct is not None:
            return self._direct.best(floor, wanted)
        return self._best_of_blocks(floor)

    def _take_over(self) -> None:
        """Free the bounds and scores of blocks, and search all windows directly, if that can be."""
        if self._search_all is None:
            return
        self._search.clear()
        self._bounds.clear()
        self._block_scores = {}
        self._blocks_directly = None  # with the kernel that was prepared for it
        self._direct = self._search_all()
        for y, x in self._bounds.suppressed:
            self._direct.suppress(y, x)
        for box, overlap in self._bounds.boxes:
            self._direct.suppress_overlapping(box, overlap)

    def _search_all_blocks(self, floor: float) -> None:
        """Search blocks until none is left that could hold the best window, or all directly."""
        while self._direct is None:
            self._incumbent = max(floor, float(self._best_scores.max()))
            is_open = self._upper_bounds > self._best_scores
            blocks = np.flatnonzero(is_open & (self._upper_bounds >= self._incumbent))
            if not blocks.size:
                return
            self._search_blocks(blocks[np.argsort(-self._upper_bounds[blocks])].tolist())

    def _best_of_blocks(self, floor: float) -> tuple[int, int, float] | None:
        score = float(self._best_scores.max())
        if score < floor or score == -math.inf:
            return None
        row, col = min(self._best_cells[self._best_scores == score].tolist())
        return row * self._stride[0], col * self._stride[1], score

    def closest(self, among: int) -> Closest | None:
        """Compare a few windows of the blocks with the highest bounds; as for `contract.Windows`.

        To find the best window below a threshold can take many times as long as to find that none
        reaches it, so the search is not gone on with.
        """
        if self._direct is not None:
            return self._direct.closest(among)
        # Blocks in which nothing reached the threshold have that as their bound; their least
        # bounds tell more of them.
        order = np.lexsort((self._least_bounds.ravel(), -self._upper_bounds))
        at_most = float(self._upper_bounds.max())
        if at_most == -math.inf:
            return None
        if self._exact is None:
            return Closest(None, at_most)
        cells = np.concatenate([self._closest_in(block) for block in order[:_CLOSEST_BLOCKS]])
        y, x = (cells * self._stride).T
        scores = self._exact(y, x)
        best = int(scores.argmax())
        score = float(scores[best])
        return Closest((int(y[best]), int(x[best]), score), max(score, at_most))

    def _closest_in(self, block: int) -> NDArray[np.int64]:
        """Return row and column [n, 2] of the windows of a block with the least bounds."""
        (bounds, place), tile = self._bounds.of_block(block), self._blocks[block]
        values = bounds[place.index].ravel()
        count = max(1, _CLOSEST_VALUES // math.prod(self._search.problem.kernel))
        first = np.arange(len(values))
        if count < len(values):
            first = np.argpartition(values, count)[:count]
        first = first[values[first] != REMOVED]
        return np.column_stack([tile.top + first // tile.cols, tile.left + first % tile.cols])

    def suppress(self, y: int, x: int) -> None:
        """Remove one window."""
        if self._direct is not None:
            self._direct.suppress(y, x)
            return
        self._bounds.suppress(y, x)
        self._forget_suppressed()

    def suppress_overlapping(self, box: Box, overlap: float) -> None:
        """Remove windows whose intersection over union with the box (y, x, h, w) is larger."""
        if self._direct is not None:
            self._direct.suppress_overlapping(box, overlap)
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
        # Their scores are known first.
        self._decide_all([block for block in blocks if block in self._block_scores])
        blocks = self._still_open(block for block in blocks if block not in self._block_scores)
        rows = int(BLOCK * BLOCK * self._search.problem.kernel[0] * _ROWS_BEFORE)
        rows = min(rows, self._rows_worth(len(blocks), _BEFORE))
        self._rows_most = max(rows, int(_ROWS_SECONDS / self._search.row_seconds))
        first = self._decide_first(blocks[:_FEWEST])
        blocks = self._still_open(first + blocks[_FEWEST:])
        undecided = self._decide_where_it_pays(blocks, _PAYS_BEFORE, _FEWEST)
        undecided = self._refine(undecided)
        self._rows_most = self._rows_worth(len(undecided), _AFTER)
        # Bounds that left so few blocks mostly let the best window be found soon.
        few = len(undecided) if len(undecided) <= _FEW * len(self._blocks) else 0
        undecided = self._decide_where_it_pays(undecided, _PAYS_AFTER, few)
        undecided = self._still_open(undecided)
        # Their scores stay in memory, beside those of blocks that were left before.
        kept = len(undecided) + len(self._block_scores)
        if self._budget.leaves_all(len(undecided)) or kept > _MOST_SCORED * len(self._blocks):
            self._take_over()
        elif undecided and self._blocks_directly:
            numbers = {self._blocks[block]: block for block in undecided}
            self._search.clear()  # the memory is for the direct search
            with closing(self._blocks_directly.scores(numbers)) as scored:
                for tile, scores in scored:
                    self._block_scores[numbers[tile]] = scores

    def _still_open(self, blocks: Iterable[int]) -> list[int]:
        """Return the blocks that could hold the best window."""
        return [block for block in blocks if self._upper_bounds[block] >= self._incumbent]

    def _refine(self, blocks: list[int]) -> list[int]:
        """Give blocks finer bounds, level by level as far as it pays; return those still open."""
        for level in range(self._search.levels):
            todo = [block for block in blocks if self._finer.levels[block] == level]
            if todo and not self._refine_to(level, todo):
                break
            blocks = self._still_open(blocks)
        self._search.clear()
        return sorted(blocks, key=lambda block: -self._upper_bounds[block])

    def _refine_to(self, level: int, blocks: list[int]) -> bool:
        """Give blocks the finer bounds of a level; return whether it paid."""
        if self._budget.cheap_seconds < _SHARE_SECONDS:
            return False
        floor = 1 - (1 - self._incumbent) * _NEXT
        pieces, share = self._finer.pieces(blocks), self._finer.open_share(blocks, floor)
        seconds = self._finer.seconds(level, pieces, share)
        most = _REFINING_OF_WINDOWS * self._finer.seconds_of_windows(blocks, share)
        direct = min(self._refining_left, self._budget.direct_seconds(len(blocks)))
        if seconds > min(most, direct):
            return False
        self._refining_left -= seconds
        sample, spent = self._finer.sample(blocks, _SAMPLE_REFINED), self._budget.spent
        left = self._refine_pieces(level, self._finer.pieces(sample), floor)
        others = set(blocks) - set(sample)
        expected = (self._budget.spent - spent) / len(sample) * len(others)
        if not self._pays(_PAYS_REFINED, expected, len(blocks), left / len(sample)):
            return False
        self._refine_pieces(level, self._finer.pieces(others), floor)
        return True

    def _pays(self, decided: float, seconds: float, blocks: int, left: float) -> bool:
        """Return whether a step for blocks pays, of which it left this share of a sample open."""
        return left <= 1 - decided and self._budget.invest(seconds, blocks, left * blocks)

    def _refine_pieces(self, level: int, pieces: list[Piece], floor: float) -> int:
        """Give pieces the finer bounds of a level; return how many blocks are still open."""
        left = 0
        upper_bounds, seconds = self._finer.refine(level, pieces, floor)
        self._budget.spent += seconds
        for block, bound in upper_bounds.items():
            self._upper_bounds[block] = min(self._upper_bounds[block], bound)
            left += self._upper_bounds[block] >= self._incumbent
        return left

    def _rows_worth(self, blocks: int, share: float) -> int:
        """Return the rows of a block that take a share of the direct search of so many blocks."""
        if self._blocks_directly is None:
            return sys.maxsize
        each = self._budget.direct_seconds(blocks) / max(1, blocks)
        return int(min(share * each / self._search.row_seconds, sys.maxsize))

    def _decide_where_it_pays(self, blocks: list[int], share: float, fewest: int) -> list[int]:
        """Return the blocks left undecided; the rest is left, too, if a sample says so.

        At least `fewest` are looked at, however little time is left.
        """
        if self._blocks_directly is None:
            return self._decide_all(blocks)
        count = max(fewest, self._sample_count(self._look_seconds()))
        if not count:
            return blocks
        # The best blocks give an incumbent, without which the sample would tell nothing. The first
        # ones tell what a look takes.
        spent = self._budget.spent
        undecided = self._decide_all(blocks[:_FEWEST])
        each = (self._budget.spent - spent) / _FEWEST
        count = max(_FEWEST, fewest, min(count, self._sample_count(each)))
        undecided += self._decide_all(blocks[_FEWEST:count])
        others = self._still_open(blocks[count:])
        step = max(1, len(others) // count)
        sample, spent = others[::step], self._budget.spent
        undecided_sample = self._decide_all(sample)
        rest = [block for number, block in enumerate(others) if number % step]
        left = len(undecided_sample) / max(1, len(sample))
        expected = (self._budget.spent - spent) / max(1, len(sample)) * len(rest)
        if rest and self._pays(share, expected, len(rest), left):
            rest = self._decide_all(rest)
        return sorted(
            undecided + undecided_sample + rest, key=lambda block: -self._upper_bounds[block]
        )

    def _decide_first(self, blocks: list[int]) -> list[int]:
        """Return which of the best blocks are left undecided; more of their rows are compared.

        An incumbent that they give excludes most of the others.
        """
        rows = self._rows_most
        more = _FIRST * self._budget.cheap_seconds / self._search.row_seconds
        self._rows_most = int(min(max(rows, more), sys.maxsize))
        undecided = self._decide_all(blocks)
        self._rows_most = rows
        return undecided

    def _look_seconds(self) -> float:
        """Return the estimated seconds of a look at a block."""
        return _LOOK_SECONDS + self._rows_most * self._search.row_seconds

    def _sample_count(self, look_seconds: float) -> int:
        """Return how many of the best blocks, and as many others, are looked at as a sample."""
        if look_seconds <= 0:  # where the clock of threads is coarse
            return self._sample
        count = min(self._sample, self._budget.cheap_seconds / (2 * look_seconds))
        return int(count) if count >= _FEWEST else 0

    def _decide_all(self, blocks: list[int]) -> list[int]:
        """Return the blocks that `_decide` leaves undecided."""

        def undecided_of(chunk: list[int]) -> tuple[list[int], float]:
            started = time.thread_time()
            undecided = [block for block in chunk if not self._decide(block)]
            return undecided, time.thread_time() - started

        # The first block alone: it gives an incumbent for the others.
        (undecided, seconds), others = undecided_of(blocks[:1]), blocks[1:]
        self._budget.spent += seconds
        size = max(1, min(_AT_ONCE, -(-len(others) // self._threads)))
        chunks = [others[i : i + size] for i in range(0, len(others), size)]
        parallel = min(self._threads, max(1, len(chunks)))
        with closing(in_order(undecided_of, chunks, parallel)) as results:
            for result, seconds in results:
                undecided += result
                self._budget.spent += seconds
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

    def _compare(self, block: int) -> bool:
        """Compare the windows of a block that could be the best; False if that takes too long."""
        incumbent = self._incumbent
        look = self._search.look(
            self._blocks[block],
            *self._bounds.of_block(block),
            incumbent,
            self._rows_most - int(self._rows_compared[block]),
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
