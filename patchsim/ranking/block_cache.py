"""The blocks of windows that are open, of all kernels of a search."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from patchsim.geometry.blocks import BLOCK
from patchsim.geometry.overlaps import Box
from patchsim.ranking.score_map import ScoreMap

_OPEN_OVERHEAD = 4096  # bytes of an open block beside its scores: objects, heap, functions


@dataclass(eq=False, repr=False)
class OpenBlock:
    """The scores of a block whose first window has this top-left pixel (y, x)."""

    scores: ScoreMap
    corner: tuple[int, int]
    _removed: int = 0  # boxes whose windows were removed
    _is_ranked: bool = False

    def remove(self, boxes: Sequence[tuple[Box, float]]) -> None:
        """Remove the windows that overlap boxes; those of earlier calls come first again."""
        top, left = self.corner
        for (y, x, height, width), overlap in boxes[self._removed :]:
            self.scores.suppress_overlapping((y - top, x - left, height, width), overlap)
        self._removed = len(boxes)

    def best(self, floor: float) -> tuple[int, int, float] | None:
        """Return the best window left, as `ScoreMap.best` does."""
        if not self._is_ranked:  # not before: windows that were removed need not be ranked
            self.scores.evaluate_contenders()
            self._is_ranked = True
        return self.scores.best(floor)


class BlockCache:
    """The scores of blocks that are open, of all kernels; the least recently used go first.

    Parameters
    ----------
    memory : int
        Bytes for the blocks; two fit at least.
    users : int
        The number of kernels whose blocks it holds.
    """

    def __init__(self, memory: int, users: int = 1) -> None:
        self.capacity = max(2, memory // self.estimate_bytes(1))
        self.share = max(1, self.capacity // users)  # so many of each do not evict each other
        self._blocks: OrderedDict[tuple[Hashable, int], OpenBlock] = OrderedDict()

    @staticmethod
    def estimate_bytes(blocks: int) -> int:
        """Return the bytes that so many open blocks take."""
        return blocks * (ScoreMap.estimate_bytes((BLOCK, BLOCK)) + _OPEN_OVERHEAD)

    def get(self, grid: Hashable, block: int) -> OpenBlock | None:
        """Return a block if it is open. A store is known by its grid, which holds no pixels."""
        opened = self._blocks.get((grid, block))
        if opened is not None:
            self._blocks.move_to_end((grid, block))
        return opened

    def put(self, grid: Hashable, block: int, opened: OpenBlock) -> None:
        self._blocks[grid, block] = opened
        while len(self._blocks) > self.capacity:
            self._blocks.popitem(last=False)
