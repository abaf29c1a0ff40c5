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
from patchsim.ranking.direct_blocks import DirectBlocks, EvaluateBlocks, ScoredTile
from patchsim.ranking.finer_bounds import FinerBounds, Piece
from patchsim.ranking.score_map import ScoreMap
from patchsim.ranking.search_budget import SearchBudget
from patchsim.ranking.window_bounds import WindowBounds

# The share of what is cheap that each of the best blocks may take first, and their number.
_FIRST, _FIRST_BLOCKS = 0.05, 2
# The share of what is cheap in which the direct search may score the best blocks, where windows are
# not to be compared one by one.
_FIRST_SCORED = 0.25
# As many rows of windows as take so many seconds are compared in each anyway: the look at the block
# takes about as long.
_ROWS_SECONDS = 2e-5
# The open windows of blocks are compared one by one if that is expected to take this share of the
# direct search of the blocks, until it has taken the other one. A few blocks are looked at anyway.
_EXPECTED, _COMPARED, _FEW_BLOCKS = 0.6, 0.8, 4
# The share of the time of the direct search of all windows that all finer bounds may take together,
# and that of the time of comparing the windows that some could exclude.
_REFINING_OF_DIRECT, _REFINING_OF_WINDOWS = 0.5, 1.0
# And the share of the time of the direct search of the blocks that get them.
_REFINING_OF_BLOCKS = 0.2
# All windows are left to the direct search once more than this share of the blocks would be scored:
# their scores would take too much memory.
_MOST_SCORED = 0.7
# Finer bounds are made for windows up to so many times as different as the best one: those that
# could be next best.
_NEXT = 1.25

# Finer bounds of a sample must decide this share of its blocks, so that they pay for the others.
_PAYS_REFINED = 0.2
_SAMPLE_REFINED = 8  # blocks that get finer bounds as a sample
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
    evaluate_blocks, seconds_of_blocks, exact, score_exactly : optional
        The direct search of some blocks of the map, as for `DirectBlocks`.
    threads : int
        Blocks that are searched at the same time.
    search_all : () -> Windows, optional
        The direct search of all windows, used once the search has taken `seconds`, or where bounds
        leave most blocks open.
    seconds, block_seconds : float
        The estimated seconds of `search_all`, and of `evaluate_blocks` for a block in a
        run of some.
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
        seconds_of_blocks: Callable[[Iterable[Tile]], float] | None = None,
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
            DirectBlocks(problem, evaluate_blocks, seconds_of_blocks, exact, score_exactly)
            if evaluate_blocks and seconds_of_blocks
            else None
        )
        self._search_all, self._exact = search_all, exact
        self._direct: Windows | None = None  # once `search_all` has taken over
        self._refining_left = _REFINING_OF_DIRECT * seconds * threads
        # So many rows of a block's windows are compared one by one.
        self._rows_most = sys.maxsize
        rows, cols = problem.map_shape
        self._blocks = _blocks((rows, cols), BLOCK)
        self._budget = SearchBudget(seconds, block_seconds, threads, len(self._blocks))
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
        undecided = self._decide_first(blocks[:_FIRST_BLOCKS])
        blocks = self._still_open(undecided + blocks[_FIRST_BLOCKS:])
        undecided = self._narrow(blocks)
        undecided = self._still_open(undecided)
        # Their scores stay in memory, beside those of blocks that were left before.
        kept = len(undecided) + len(self._block_scores)
        wanted = [self._blocks[block] for block in undecided]
        if not self._blocks_directly or not wanted:
            return
        if (
            kept > _MOST_SCORED * len(self._blocks)
            or self._budget.take_all(len(wanted))
            or self._budget.leaves_all(self._blocks_directly.seconds(wanted))
        ):
            self._take_over()
        else:
            self._search.clear()  # the memory is for the direct search
            self._score_directly(undecided)

    def _score_directly(self, blocks: list[int]) -> None:
        """Score blocks, so that their best windows, or lower upper bounds, are known."""
        assert self._blocks_directly is not None
        wanted = [self._blocks[block] for block in blocks]
        with closing(self._blocks_directly.scored(wanted)) as scored:
            for found in scored:
                self._take_scores(found)
                del found

    def _take_scores(self, found: ScoredTile) -> None:
        """Lower the upper bounds of blocks that were scored, and search those still open.

        The scores of these alone are kept.
        """
        assert self._blocks_directly is not None
        down, across = block_index(found.tile)
        columns = self._least_bounds.shape[1]
        rows = np.arange(down.start, down.stop) * columns
        numbers = np.add.outer(rows, np.arange(across.start, across.stop)).ravel()
        upper_bounds = np.minimum(self._upper_bounds[numbers], found.upper_bounds)
        self._upper_bounds[numbers] = upper_bounds
        for block in numbers[np.argsort(-upper_bounds)].tolist():
            if self._upper_bounds[block] < self._incumbent:
                break
            if self._upper_bounds[block] > self._best_scores[block]:
                self._block_scores[block] = self._blocks_directly.scores(self._blocks[block], found)
                self._decide(block)

    def _still_open(self, blocks: Iterable[int]) -> list[int]:
        """Return the blocks that could hold the best window."""
        return [block for block in blocks if self._upper_bounds[block] >= self._incumbent]

    def _narrow(self, blocks: list[int]) -> list[int]:
        """Compare windows, after finer bounds where these pay; return the blocks left undecided."""
        pays = self._pays_to_compare(blocks)
        if not pays and (count := self._count_cheap(blocks)):
            # Their scores, mostly with about the best one, leave fewer of the others open.
            self._score_directly(blocks[:count])
            blocks = self._still_open(blocks[count:])
            pays = self._pays_to_compare(blocks)
        for level in range(self._search.levels):
            todo = [block for block in blocks if self._finer.levels[block] == level]
            if pays or (todo and not self._refine_to(level, todo)):
                break
            blocks = self._still_open(blocks)
            pays = self._pays_to_compare(blocks)
        self._search.clear()
        blocks.sort(key=lambda block: -self._upper_bounds[block])
        return self._compare_while_it_pays(blocks) if pays else blocks

    def _pays_to_compare(self, blocks: list[int]) -> bool:
        """Return whether the open windows of blocks take less, one by one, than a direct search."""
        if self._blocks_directly is None or len(blocks) <= _FEW_BLOCKS:
            return True
        share = self._finer.open_share(blocks, self._incumbent)
        expected = self._finer.seconds_of_windows(blocks, share)
        return expected <= _EXPECTED * self._budget.direct_seconds(len(blocks))

    def _count_cheap(self, blocks: list[int]) -> int:
        """Return how many blocks the direct search may score as a try."""
        each = self._budget.direct_seconds(1)
        count = min(int(_FIRST_SCORED * self._budget.cheap_seconds / each), len(blocks) // 4)
        return count if count >= _FEW_BLOCKS else 0

    def _compare_while_it_pays(self, blocks: list[int]) -> list[int]:
        """Look at blocks, the best first, for most of the time of their direct search at most."""
        direct = self._budget.direct_seconds(len(blocks))
        self._rows_most = self._rows_worth(direct / max(1, len(blocks)))
        end = self._budget.spent + _COMPARED * direct
        undecided: list[int] = []
        while blocks and self._budget.spent < end:
            at_once = _AT_ONCE * self._threads
            undecided += self._decide_all(blocks[:at_once])
            blocks = self._still_open(blocks[at_once:])
        return undecided + blocks

    def _refine_to(self, level: int, blocks: list[int]) -> bool:
        """Give blocks the finer bounds of a level; return whether it paid."""
        if self._budget.cheap_seconds < _SHARE_SECONDS:
            return False
        floor = 1 - (1 - self._incumbent) * _NEXT
        share = self._finer.open_share(blocks, floor)
        most = min(
            _REFINING_OF_WINDOWS * self._finer.seconds_of_windows(blocks, share),
            _REFINING_OF_BLOCKS * self._budget.direct_seconds(len(blocks)),
            self._refining_left,
        )
        if self._finer.least_seconds(level, len(blocks), share) > most:
            return False
        seconds = self._finer.seconds(level, self._finer.pieces(blocks), share)
        if seconds > most:
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

    def _rows_worth(self, seconds: float) -> int:
        """Return the rows of windows that are compared in so many seconds."""
        return int(min(max(seconds, _ROWS_SECONDS) / self._search.row_seconds, sys.maxsize))

    def _decide_first(self, blocks: list[int]) -> list[int]:
        """Return which of the best blocks are left undecided.

        An incumbent that they give excludes most of the others.
        """
        self._rows_most = self._rows_worth(_FIRST * self._budget.cheap_seconds)
        return self._decide_all(blocks)

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
