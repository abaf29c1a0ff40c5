"""Non-maximum suppression block by block, where the scores of a block are made again.

Best first, each match lies in another block than the one before it. Where not all blocks fit the
memory, they would be scored again for each of their matches. But a window is a match as soon as no
better one is left that overlaps it, whatever is elsewhere. So the blocks are gone through in
strips, and only matches of neighbouring blocks are found in the order of their scores.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

import numpy as np

from patchsim.geometry.blocks import BLOCK
from patchsim.geometry.overlaps import is_overlapping
from patchsim.ranking.block_maxima import BlockMaxima

_Peak = tuple[float, int, int, int]  # minus the score, y, x, index: in the order of matches


def peaks_from(
    maxima: Sequence[BlockMaxima],
    origins: Sequence[tuple[int, int]],
    lowest: float,
    *,
    overlap: float,
    accepts: Callable[[int, int, int], bool] | None,
) -> list[tuple[int, int, float, int]]:
    """Return y, x, score and index of the matches, best first, and suppress what overlaps them.

    Parameters
    ----------
    maxima : sequence of BlockMaxima
        The windows of each kernel, all of which `can_sweep`.
    origins, overlap, accepts
        As for `nms.BestFirst`.
    lowest : float
        The lowest score of a match.
    """
    sweep = _Sweep(maxima, origins, lowest, overlap, accepts)
    for index, block in sweep.blocks():
        sweep.use_up(index, block)
    return [(y, x, -minus_score, index) for minus_score, y, x, index in sorted(sweep.peaks)]


class _Sweep:
    """The matches so far, and the best windows of blocks in which there are more."""

    def __init__(
        self,
        maxima: Sequence[BlockMaxima],
        origins: Sequence[tuple[int, int]],
        lowest: float,
        overlap: float,
        accepts: Callable[[int, int, int], bool] | None,
    ) -> None:
        self.peaks: list[_Peak] = []
        self._maxima, self._origins, self._accepts = maxima, origins, accepts
        self._lowest, self._overlap = max(lowest, -sys.float_info.max), overlap
        # Blocks in a row of a strip: the rows of blocks that a match touches fit the memory.
        tall = 2 * max(one.kernel[0] for one in maxima)
        self._wide = min(
            max(1, one.cache.share // (4 * (2 + tall // (BLOCK * one.stride[0])))) for one in maxima
        )
        # The best windows left, by kernel and block, as far as they are known.
        self._bests: list[dict[int, _Peak]] = [{} for _ in maxima]

    def blocks(self) -> Iterator[tuple[int, int]]:
        """Yield kernel and block where there may be matches, strip by strip, from top to bottom."""
        rows, cols = np.max([one.grid.upper_bounds.shape for one in self._maxima], 0).tolist()
        for left in range(0, cols, self._wide):
            for row in range(rows):
                for index in range(len(self._maxima)):
                    for block in self._blocks_from(index, row, left, 1):
                        yield index, block

    def _blocks_from(self, index: int, top: int, left: int, tall: int) -> Iterator[int]:
        """Yield a kernel's blocks where there may be matches, in so many rows of a strip."""
        bounds = self._maxima[index].grid.upper_bounds
        for row in range(top, min(top + tall, len(bounds))):
            in_strip = bounds[row, left : left + self._wide]
            for col in np.flatnonzero(in_strip >= self._lowest).tolist():
                if in_strip[col] >= self._lowest:  # still
                    yield row * bounds.shape[1] + left + col

    def use_up(self, index: int, block: int) -> None:
        """Find the matches of a block, and better ones around it on which they depend."""
        uphill = [(index, block)]  # each with a better window than the one before
        while uphill:
            index, block = uphill[-1]
            best = self._best_of(index, block)
            better = best and self._better_beside(best, block)
            if better:
                uphill.append(better)
                continue
            if best:
                self._take(best, block)
            if not best or len(uphill) > 1:
                uphill.pop()

    def _best_of(self, index: int, block: int) -> _Peak | None:
        """Return the best window left of a block, if it may be a match."""
        best = self._bests[index].get(block)
        one, (top, left) = self._maxima[index], self._origins[index]
        bounds = one.grid.upper_bounds.reshape(-1)
        if best or bounds[block] < self._lowest:
            return best
        place = one.best_of(block, self._lowest, self._behind(index, block))
        if place is None:
            bounds[block] = math.nextafter(self._lowest, -math.inf)
            return None
        y, x, score = place
        bounds[block] = score
        best = self._bests[index][block] = -score, y + top, x + left, index
        return best

    def _behind(self, index: int, block: int) -> Iterator[int]:
        """Yield a block and some behind it in its strip, which are worth scoring together."""
        one = self._maxima[index]
        rows, cols = one.grid.upper_bounds.shape
        row, col = divmod(block, cols)
        left = col - col % self._wide
        yield block
        several = islice(self._blocks_from(index, row, left, rows), one.cache.share // 4)
        yield from (other for other in several if other > block)

    def _better_beside(self, best: _Peak, block: int) -> tuple[int, int] | None:
        """Return kernel and block of a better window that may overlap the best one of a block."""
        minus_score, y, x, index = best
        size = self._maxima[index].kernel
        rivals = [
            (-one.grid.upper_bounds.item(near), other, near)
            for other, (one, (top, left)) in enumerate(
                zip(self._maxima, self._origins, strict=True)
            )
            for near in one.removed.blocks_touching((y - top, x - left, *size))
            if one.grid.upper_bounds.item(near) >= -minus_score and (other, near) != (index, block)
        ]
        for _, other, near in sorted(rivals):
            rival = self._best_of(other, near)
            if rival and rival < best:
                return other, near
        return None

    def _take(self, best: _Peak, block: int) -> None:
        """Make a window a match, unless it is refused, and suppress what overlaps it."""
        _, y, x, index = best
        taken, (top, left) = self._maxima[index], self._origins[index]
        taken.suppress(y - top, x - left)
        del self._bests[index][block]
        if self._accepts is not None and not self._accepts(index, y - top, x - left):
            return
        self.peaks.append(best)
        for one, (down, across), bests in zip(
            self._maxima, self._origins, self._bests, strict=True
        ):
            one.suppress_overlapping((y - down, x - across, *taken.kernel), self._overlap)
            for near in one.removed.blocks_touching((y - down, x - across, *taken.kernel)):
                left_there = bests.get(near)
                if left_there and is_overlapping(
                    (*left_there[1:3], *one.kernel), (y, x, *taken.kernel), self._overlap
                ):
                    del bests[near]
