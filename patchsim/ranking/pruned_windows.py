"""The best windows of one kernel without a map: branch and bound over blocks of windows.

Each block has an upper bound of its windows' scores. Blocks are searched in the order of their
bounds, and the best window found so far, the incumbent, excludes blocks with lower bounds. A block
whose windows take too long gets finer bounds, then all its scores by a direct engine, so that
no block costs much more than that, however loose the bounds are. Where bounds leave too much open
(`search_budget`), the direct search of all windows takes over.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from contextlib import closing

import numpy as np
from numpy.typing import NDArray

from patchsim.engines import REMOVED, Bounds, LowerBounds, Search
from patchsim.geometry.blocks import BLOCK, grid_shape
from patchsim.geometry.overlaps import Box, is_overlapping
from patchsim.geometry.tiles import Tile
from patchsim.metrics import Exact
from patchsim.ranking.compared_windows import AT_ONCE, ComparedWindows
from patchsim.ranking.contract import Closest, Windows
from patchsim.ranking.direct_blocks import DirectBlocks, EvaluateBlocks, ScoredTile
from patchsim.ranking.finer_bounds import FinerBounds
from patchsim.ranking.refinement import Refinement
from patchsim.ranking.score_map import ScoreMap
from patchsim.ranking.search_budget import SearchBudget
from patchsim.ranking.searched_blocks import SearchedBlocks
from patchsim.ranking.window_bounds import WindowBounds

# The share of what is cheap that each of the best blocks may take first, and their number.
_FIRST, _FIRST_BLOCKS = 0.05, 2
# The open windows of blocks are compared one by one if that is expected to take this share of the
# direct search of the blocks, until it has taken the other one. A few blocks are looked at anyway.
_EXPECTED, _COMPARED, _FEW_BLOCKS = 0.6, 0.8, 4
# Where that is expected, the best of the blocks are compared before finer bounds are made, for this
# share of what is cheap: mostly one has about the best window, and that excludes others.
_BEFORE_FINER = 0.25
# All windows are left to the direct search once more than this share of the blocks would be scored:
# their scores would take too much memory. Where memory is short, the bounds of as many blocks are
# kept, and those of a few in any case.
_MOST_SCORED, _MOST_SCORED_OF_SHORT, _LEAST_SCORED_OF_SHORT = 0.7, 0.05, 16
# `closest` looks at so many blocks, and values of the windows in each of them.
_CLOSEST_BLOCKS, _CLOSEST_VALUES = 4, 1 << 17
_BLOCK_BYTES = 400  # of a block beside its windows' bounds and scores: its tile, best and bound
_BOUND_BYTES = 2  # of a window


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
    is_short : bool
        Memory is short: `search_all` keeps block maxima, and the bounds of windows are made again
        for the blocks that are searched, of which few are kept. Otherwise those of all windows are.
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
        is_short: bool = False,
    ) -> None:
        problem = search.problem
        self.kernel = problem.match_size
        self._search, self._search_all, self._exact = search, search_all, exact
        self._direct: Windows | None = None  # once `search_all` has taken over
        self._blocks_directly = (
            DirectBlocks(problem, evaluate_blocks, seconds_of_blocks, exact, score_exactly)
            if evaluate_blocks and seconds_of_blocks
            else None
        )
        self._blocks = blocks = SearchedBlocks(problem.map_shape, BLOCK)
        count, wants_many = len(blocks.tiles), problem.share_wanted > 0
        self._budget = SearchBudget(seconds, block_seconds, threads, count, wants_many=wants_many)
        self._most_scored = _most_of_short(count) if is_short else int(_MOST_SCORED * count)
        most_kept = self._most_scored if is_short else None
        self._bounds = WindowBounds(search, blocks.tiles, most_kept)
        self._compared = ComparedWindows(search, self._bounds, blocks, self._budget, threads)
        finer = FinerBounds(search, self._bounds, blocks.tiles, tile, threads)
        self._refinement = Refinement(search, finer, blocks, self._budget, seconds * threads)

    @staticmethod
    def estimate_bytes(shape: tuple[int, int], *, is_short: bool = False) -> int:
        """Return the bytes that the windows of a map of this shape take.

        That is the score map of `search_all`. Bounds, and the scores of blocks, are freed before,
        and take less: `_MOST_SCORED` limits the number of these blocks. Where memory is short, it
        is those, or the block maxima of `search_all` beside the cache of open blocks.
        """
        count = math.prod(grid_shape(shape))
        if not is_short:
            return ScoreMap.estimate_bytes(shape) + count * _BLOCK_BYTES
        from patchsim.ranking.block_maxima import BlockMaxima  # where the memory is short

        of_block = ScoreMap.estimate_bytes((BLOCK, BLOCK)) + _BOUND_BYTES * BLOCK**2
        kept = min(count, _most_of_short(count)) * of_block
        return max(kept, BlockMaxima.estimate_bytes(shape)) + count * _BLOCK_BYTES

    @property
    def windows_evaluated(self) -> int:
        """The number of windows that were scored one by one."""
        directly = 0 if self._direct is None else self._direct.windows_evaluated
        return self._compared.windows_evaluated + directly

    @property
    def blocks_evaluated(self) -> int:
        """The number of blocks that were scored as a whole."""
        return len(self._blocks.tiles if self._direct is not None else self._compared.score_maps)

    @property
    def block_count(self) -> int:
        """The number of blocks of the map."""
        return len(self._blocks.tiles)

    def bound(self, tile: Tile) -> tuple[Tile, LowerBounds]:
        """Compute the bounds of a tile, and return the least of each block in it, for `put`."""
        return tile, self._bounds.compute(tile)

    def put(self, tile: Tile, least_bounds: LowerBounds) -> None:
        """Store the least bounds of the blocks in a tile; `ready` comes after all tiles."""
        self._blocks.put(tile, least_bounds)

    def ready(self) -> None:
        """Make the blocks' upper bounds, once all tiles were put."""
        self._blocks.upper_bounds = self._search.upper_bounds(self._blocks.least_bounds.ravel())

    @property
    def upper_bound(self) -> float:
        """The score that no window left exceeds."""
        if self._direct is not None:
            return self._direct.upper_bound
        return float(self._blocks.upper_bounds.max())

    def best(self, floor: float) -> tuple[int, int, float] | None:
        """Return y, x and the exact score of the best window left, or None below the floor."""
        if self._direct is None and self._budget.is_spent:
            self._take_over()
        if self._direct is None:
            self._search_all_blocks(floor)
        if self._direct is not None:
            return self._direct.best(floor)
        best = self._blocks.best(floor)
        if best is None:
            return None
        row, col, score = best
        stride = self._search.problem.stride
        return row * stride[0], col * stride[1], score

    def _take_over(self) -> None:
        """Free the bounds and scores of blocks, and search all windows directly, if that can be."""
        if self._search_all is None:
            return
        self._search.clear()
        self._bounds.clear()
        self._compared.score_maps = {}
        self._blocks_directly = None  # with the kernel that was prepared for it
        self._direct = self._search_all()
        for y, x in self._bounds.suppressed:
            self._direct.suppress(y, x)
        for box, overlap in self._bounds.boxes:
            self._direct.suppress_overlapping(box, overlap)

    def _search_all_blocks(self, floor: float) -> None:
        """Search blocks until none is left that could hold the best window, or all directly."""
        while self._direct is None:
            blocks = self._blocks.open_from(floor)
            if not blocks:
                return
            self._search_blocks(blocks)

    def closest(self, among: int) -> Closest | None:
        """Compare a few windows of the blocks with the highest bounds; as for `contract.Windows`.

        To find the best window below a threshold can take many times as long as to find that none
        reaches it, so the search is not gone on with.
        """
        if self._direct is not None:
            return self._direct.closest(among)
        # Blocks in which nothing reached the threshold have that as their bound; their least
        # bounds tell more of them.
        order = np.lexsort((self._blocks.least_bounds.ravel(), -self._blocks.upper_bounds))
        at_most = float(self._blocks.upper_bounds.max())
        if at_most == -math.inf:
            return None
        if self._exact is None:
            return Closest(None, at_most)
        cells = np.concatenate([self._closest_in(block) for block in order[:_CLOSEST_BLOCKS]])
        y, x = (cells * self._search.problem.stride).T
        scores = self._exact(y, x)
        best = int(scores.argmax())
        score = float(scores[best])
        return Closest((int(y[best]), int(x[best]), score), max(score, at_most))

    def _closest_in(self, block: int) -> NDArray[np.int64]:
        """Return row and column [n, 2] of the windows of a block with the least bounds."""
        (bounds, place), tile = self._bounds.of_block(block), self._blocks.tiles[block]
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
        down, across = self._search.problem.stride
        self._blocks.forget(lambda row, col: (row * down, col * across) == (y, x))

    def suppress_overlapping(self, box: Box, overlap: float) -> None:
        """Remove windows whose intersection over union with the box (y, x, h, w) is larger."""
        if self._direct is not None:
            self._direct.suppress_overlapping(box, overlap)
            return
        self._bounds.suppress_overlapping(box, overlap)
        down, across = self._search.problem.stride
        self._blocks.forget(
            lambda row, col: is_overlapping((row * down, col * across, *self.kernel), box, overlap)
        )

    def _search_blocks(self, blocks: list[int]) -> None:
        """Find the best window of these blocks, or that none of them is the best of all."""
        score_maps = self._compared.score_maps
        # Their scores are known first.
        self._compared.decide_all([block for block in blocks if block in score_maps])
        blocks = self._blocks.still_open(block for block in blocks if block not in score_maps)
        while blocks and self._bounds.is_removed(blocks[0]):  # around a match
            self._blocks.exclude(blocks.pop(0), -math.inf)
        # An incumbent that the best give excludes most of the others.
        self._compared.allow(_FIRST * self._budget.cheap_seconds)
        undecided = self._compared.decide_all(blocks[:_FIRST_BLOCKS])
        blocks = self._blocks.still_open(undecided + blocks[_FIRST_BLOCKS:])
        undecided = self._blocks.still_open(self._narrow(blocks))
        # Their scores stay in memory, beside those of blocks that were left before.
        kept = len(undecided) + len(score_maps)
        wanted = [self._blocks.tiles[block] for block in undecided]
        if not self._blocks_directly or not wanted:
            return
        if (
            kept > self._most_scored
            or self._budget.is_as_long_as_all(len(wanted))
            or self._budget.is_all_quicker(self._blocks_directly.seconds(wanted))
        ):
            self._take_over()
        else:
            self._search.clear()  # the memory is for the direct search
            self._score_directly(undecided)

    def _score_directly(self, blocks: list[int]) -> None:
        """Score blocks, so that their best windows, or lower upper bounds, are known."""
        assert self._blocks_directly is not None
        wanted = [self._blocks.tiles[block] for block in blocks]
        with closing(self._blocks_directly.scored(wanted)) as scored:
            for tile in scored:
                self._take_scores(tile)
                del tile

    def _take_scores(self, scored: ScoredTile) -> None:
        """Lower the upper bounds of blocks that were scored, and search those still open.

        The scores of these alone are kept.
        """
        assert self._blocks_directly is not None
        blocks = self._blocks
        numbers = blocks.numbers(scored.tile)
        upper_bounds = np.minimum(blocks.upper_bounds[numbers], scored.upper_bounds)
        blocks.upper_bounds[numbers] = upper_bounds
        for block in numbers[np.argsort(-upper_bounds)].tolist():
            if blocks.upper_bounds[block] < blocks.incumbent:
                break
            if blocks.upper_bounds[block] > blocks.best_scores[block]:
                score_map = self._blocks_directly.scores(blocks.tiles[block], scored)
                self._compared.score_maps[block] = score_map
                self._compared.decide(block)

    def _narrow(self, blocks: list[int]) -> list[int]:
        """Compare windows, after finer bounds where these pay; return the blocks left undecided."""
        if self._blocks_directly and self._share_of_direct(blocks) <= _EXPECTED:
            blocks = self._compare_some(blocks)
        for level in range(self._refinement.levels):
            if len(blocks) <= _FEW_BLOCKS or not self._refinement.refine(level, blocks):
                break
            blocks = self._blocks.still_open(blocks)
        self._search.clear()
        blocks = self._blocks.best_first(blocks)
        if self._share_of_direct(blocks) <= _EXPECTED:
            return self._compare_while_it_pays(blocks)
        return blocks

    def _share_of_direct(self, blocks: list[int]) -> float:
        """Return how long comparing the open windows of blocks takes beside a direct search."""
        if self._blocks_directly is None or len(blocks) <= _FEW_BLOCKS:
            return 0.0
        expected = self._refinement.seconds_of_windows(blocks)
        direct = self._budget.direct_seconds(len(blocks))
        return expected / direct if direct > 0 else math.inf

    def _compare_some(self, blocks: list[int]) -> list[int]:
        """Look at the best blocks, for the time of their direct search; return those undecided."""
        seconds = _BEFORE_FINER * self._budget.cheap_seconds
        self._compared.allow(min(self._budget.direct_seconds(1), seconds))
        return self._compared.decide_until(blocks, self._budget.spent + seconds, 1)

    def _compare_while_it_pays(self, blocks: list[int]) -> list[int]:
        """Look at blocks, the best first, for most of the time of their direct search at most."""
        direct = self._budget.direct_seconds(len(blocks))
        self._compared.allow(direct / max(1, len(blocks)))
        return self._compared.decide_until(blocks, self._budget.spent + _COMPARED * direct, AT_ONCE)


def _most_of_short(blocks: int) -> int:
    """Return how many of the blocks may be scored, and their bounds kept, in little memory."""
    return max(_LEAST_SCORED_OF_SHORT, int(_MOST_SCORED_OF_SHORT * blocks))
