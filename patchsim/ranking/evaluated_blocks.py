"""When it is quicker to evaluate a block as a whole than its windows one by one."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Generator

from patchsim.engines import Bounds
from patchsim.geometry.blocks import BLOCK
from patchsim.geometry.tiles import Tile

# Windows of a block that are evaluated by themselves. With a kernel of 64x64 one takes 1 to 10
# microseconds, and all 4096 of the block together take about a millisecond.
SINGLES = 128
# Pixels of the windows that are evaluated in the time of a call, about 60 microseconds.
_CALL_PIXELS = 1 << 16
# Calls in whose time a block is scored at least, however small the kernel.
_FEWEST_CALLS = 8
# Windows that are evaluated before all blocks are checked for contenders, which takes as long as
# some hundred windows.
_MANY = 512

# Yields scores of tiles in tiles that hold them; those with an error of 0 are exact.
EvaluateBlocks = Callable[[list[Tile]], Generator[tuple[Tile, Bounds], None, None]]


class EvaluatedBlocks:
    """The blocks that were evaluated as a whole, and the windows of others that were asked for.

    Parameters
    ----------
    evaluate : list of Tile -> (Tile, Bounds)
        Scores blocks.
    kernel : (height, width)
    is_quick : bool
        Whether a block takes less than its windows take one by one.

    Attributes
    ----------
    error : float
        The error of the bounds of all windows that were left when all were evaluated, or infinity.
    """

    def __init__(
        self, evaluate: EvaluateBlocks, kernel: tuple[int, int], *, is_quick: bool = True
    ) -> None:
        self.evaluate, self.is_quick = evaluate, is_quick
        self.error = math.inf
        self._call = _CALL_PIXELS // math.prod(kernel)  # windows
        self._until_check = _MANY  # windows before all blocks are checked again
        self._requests: dict[tuple[int, int], int] = defaultdict(int)  # windows, by their block
        self._done: set[tuple[int, int]] = set()  # the corners of blocks

    def __len__(self) -> int:
        """Return the number of blocks that were evaluated."""
        return len(self._done)

    @property
    def is_check_due(self) -> bool:
        """Whether all blocks are to be checked for many windows that could be the best."""
        return self._until_check < 0

    def checked(self, *, has_evaluated: bool) -> None:
        """Note that all blocks were checked, and whether any was evaluated then."""
        # With few contenders in each block, the next check soon would take longer than they do.
        self._until_check = _MANY if has_evaluated else 4 * _MANY

    def is_due(self, corner: tuple[int, int]) -> bool:
        """Return whether windows of a block took so much time that all are to be scored."""
        return self._requests[corner] >= max(SINGLES, _FEWEST_CALLS * self._call)

    def count(self, corner: tuple[int, int], windows: int) -> None:
        """Note that windows of a block were evaluated by themselves, in one call."""
        self._requests[corner] += windows + self._call
        self._until_check -= windows

    def left(self, blocks: list[Tile]) -> list[Tile]:
        """Return the blocks that were not evaluated yet."""
        return [block for block in blocks if (block.top, block.left) not in self._done]

    def add(self, tile: Tile) -> None:
        """Note that the whole blocks of a tile were evaluated."""
        self._done |= {
            (tile.top + top, tile.left + left)
            for top in range(0, tile.rows, BLOCK)
            for left in range(0, tile.cols, BLOCK)
        }
