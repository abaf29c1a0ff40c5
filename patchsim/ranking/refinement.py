"""Finer bounds for the blocks that a search leaves open, as far as they pay."""

from __future__ import annotations

from collections.abc import Sequence

from patchsim.engines import Search
from patchsim.ranking.finer_bounds import FinerBounds, Piece
from patchsim.ranking.search_budget import SearchBudget
from patchsim.ranking.searched_blocks import SearchedBlocks

# The share of the time of the direct search of all windows that all finer bounds may take together;
# and of the time that the blocks which get them would take without: of their direct search, and of
# comparing their open windows, whose estimate is less certain.
_REFINING_OF_DIRECT = 0.6
_REFINING_OF_BLOCKS, _REFINING_OF_WINDOWS = 0.75, 0.5
# Finer bounds that take less than this share of that are made without a sample, and a sample that
# takes more is not made, unless it is cheap beside the direct search of all windows.
_LITTLE = 0.1
# Finer bounds are made for windows up to so many times as different as the best one: those that
# could be next best.
_NEXT = 1.25

# Finer bounds of a sample must save this share of the time that its blocks would take, so that they
# pay for the others.
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
        directly = self._budget.direct_seconds(len(blocks))
        if _LITTLE * directly < _SHARE_SECONDS:
            return False
        floor = 1 - (1 - self._blocks.incumbent) * _NEXT
        share = self._finer.open_share(blocks, floor)
        of_windows = self.seconds_of_windows(blocks)
        most = min(_REFINING_OF_WINDOWS * of_windows, _REFINING_OF_BLOCKS * directly)
        most = min(most, self._seconds_left)
        if self._finer.least_seconds(level, len(blocks), share) > most:
            return False
        seconds = self._finer.seconds(level, self._finer.pieces(blocks), share)
        if seconds > most:
            return False
        self._seconds_left -= seconds
        rest = min(of_windows, directly)
        sample: list[int] = []
        if seconds > _LITTLE * rest:
            sample = self._finer.sample(blocks, _SAMPLE_REFINED)
            pieces = self._finer.pieces(sample)
            of_sample = self._finer.seconds(level, pieces, share)
            if of_sample > max(self._budget.cheap_seconds, _LITTLE * rest):
                return False
            before = self.seconds_of_windows(sample)
            left = self._refine_pieces(level, pieces, floor)
            after = self.seconds_of_windows(left) if left else 0.0
            of_left = self._budget.direct_seconds(len(left) / len(sample) * len(blocks))
            saved = rest - min(of_windows * after / before, of_left)
            if saved < _PAYS_REFINED * rest or not self._budget.invest(seconds, saved):
                return False
        self._refine_pieces(level, self._finer.pieces(set(blocks) - set(sample)), floor)
        return True

    def _refine_pieces(self, level: int, pieces: list[Piece], floor: float) -> list[int]:
        """Give pieces the finer bounds of a level; return the blocks that are still open."""
        upper_bounds, seconds = self._finer.refine(level, pieces, floor)
        self._budget.spent += seconds
        for block, bound in upper_bounds.items():
            self._blocks.upper_bounds[block] = min(self._blocks.upper_bounds[block], bound)
        return self._blocks.still_open(upper_bounds)
