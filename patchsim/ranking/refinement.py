"""Finer bounds for the blocks that a search leaves open, as far as they pay."""

from __future__ import annotations

from collections.abc import Sequence

from patchsim.engines import Search
from patchsim.ranking.finer_bounds import FinerBounds, Piece
from patchsim.ranking.search_budget import SearchBudget
from patchsim.ranking.searched_blocks import SearchedBlocks

# The share of the time of the direct search of all windows that all finer bounds may take together,
# and that of the time of comparing the windows that some could exclude.
_REFINING_OF_DIRECT, _REFINING_OF_WINDOWS = 0.5, 1.0
# And the share of the time of the direct search of the blocks that get them.
_REFINING_OF_BLOCKS = 0.4
# Finer bounds are made for windows up to so many times as different as the best one: those that
# could be next best.
_NEXT = 1.25

# Finer bounds of a sample must decide this share of its blocks, so that they pay for the others.
_PAYS_REFINED = 0.2
_SAMPLE_REFINED = 8  # blocks that get finer bounds as a sample
_SHARE_SECONDS = 3e-4  # what it takes to estimate whether finer bounds pay


class Refinement:
    """Decides which blocks get finer bounds.

    Parameters
    ----------
    search : Search
    finer : FinerBounds
    blocks : SearchedBlocks
    budget : SearchBudget
    seconds : float
        The seconds of the direct search of all windows, of all threads together.
    """

    def __init__(
        self,
        search: Search,
        finer: FinerBounds,
        blocks: SearchedBlocks,
        budget: SearchBudget,
        seconds: float,
    ) -> None:
        self.levels = search.levels
        self._finer, self._blocks, self._budget = finer, blocks, budget
        self._seconds_left = _REFINING_OF_DIRECT * seconds

    def seconds_of_windows(self, blocks: Sequence[int]) -> float:
        """Return the estimated seconds of comparing the open windows of blocks one by one."""
        share = self._finer.open_share(blocks, self._blocks.incumbent)
        return self._finer.seconds_of_windows(blocks, share)

    def refine(self, level: int, blocks: list[int]) -> bool:
        """Give those of the blocks that have a level the next one; return whether it paid."""
        wanted = [block for block in blocks if self._finer.levels[block] == level]
        return not wanted or self._refine_to(level, wanted)

    def _refine_to(self, level: int, blocks: list[int]) -> bool:
        """Give blocks the finer bounds of a level; return whether it paid."""
        if self._budget.cheap_seconds < _SHARE_SECONDS:
            return False
        floor = 1 - (1 - self._blocks.incumbent) * _NEXT
        share = self._finer.open_share(blocks, floor)
        most = min(
            _REFINING_OF_WINDOWS * self._finer.seconds_of_windows(blocks, share),
            _REFINING_OF_BLOCKS * self._budget.direct_seconds(len(blocks)),
            self._seconds_left,
        )
        if self._finer.least_seconds(level, len(blocks), share) > most:
            return False
        seconds = self._finer.seconds(level, self._finer.pieces(blocks), share)
        if seconds > most:
            return False
        self._seconds_left -= seconds
        sample, spent = self._finer.sample(blocks, _SAMPLE_REFINED), self._budget.spent
        left = self._refine_pieces(level, self._finer.pieces(sample), floor)
        others = set(blocks) - set(sample)
        expected = (self._budget.spent - spent) / len(sample) * len(others)
        share_left = left / len(sample)
        is_decisive = share_left <= 1 - _PAYS_REFINED
        if not is_decisive or not self._budget.invest(
            expected, len(blocks), share_left * len(blocks)
        ):
            return False
        self._refine_pieces(level, self._finer.pieces(others), floor)
        return True

    def _refine_pieces(self, level: int, pieces: list[Piece], floor: float) -> int:
        """Give pieces the finer bounds of a level; return how many blocks are still open."""
        left = 0
        upper_bounds, seconds = self._finer.refine(level, pieces, floor)
        self._budget.spent += seconds
        for block, bound in upper_bounds.items():
            self._blocks.upper_bounds[block] = min(self._blocks.upper_bounds[block], bound)
            left += self._blocks.upper_bounds[block] >= self._blocks.incumbent
        return left
