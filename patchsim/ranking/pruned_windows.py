"""The best windows of one kernel without a map, block by block of windows.

Each block has the best score that a window of it could have. Blocks are looked into best first,
and the best window found so far is the limit for the others. A block whose windows take too
long gets finer bounds, then all its scores by the direct search: no block costs much more than
that, however little the bounds help. If many matches are wanted, the whole search takes over when
it would have been done.
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

from patchsim.engines import GONE, Bounds, Least, Search
from patchsim.geometry import tiles
from patchsim.geometry.blocks import BLOCK, block_index, reduce_blocks
from patchsim.geometry.overlaps import overlapping
from patchsim.geometry.tiles import Tile
from patchsim.machine.threads import in_order
from patchsim.ranking.score_map import Field

# What is compared one by one of a block's windows, before and after finer bounds, before it is left
# to the direct search, which compares some in the time of one.
_BEFORE, _AFTER = 1 / 128, 1 / 16

# The share of blocks that it has to decide so that it pays, and finer bounds; a sample tells.
_PAYS_BEFORE, _PAYS_AFTER = 0.1, 0.3
_SAMPLE = 16  # blocks
_AT_ONCE = 32  # blocks that a thread takes, best first

Direct = Callable[[Iterable[Tile]], Generator[tuple[Tile, Bounds], None, None]]


@lru_cache(maxsize=1)
def _blocks(shape: tuple[int, int], side: int) -> list[Tile]:
    """Those of a map; many kernels have maps of one shape."""
    return list(tiles.split(shape, (side, side)))


class Candidates:
    """The windows of one kernel, as `nms.Contest` asks for them.

    Parameters
    ----------
    search : Search
    direct : tiles -> (tile, exact scores), optional
        The direct search of some blocks of the map.
    threads : int
        Blocks that are looked into at the same time.
    whole : () -> Field, optional
        The direct search of all windows, for when looking has taken longer than `patience`.
    patience : float
        Seconds: what that search takes.
    keeps_bounds : bool
        Keep the bounds of all windows; or else find them again in the blocks that are looked into,
        as what is written once and hardly read again takes longer than that.
    """

    map: NDArray[np.float32] | None = None
    error = 0.0

    def __init__(
        self,
        search: Search,
        direct: Direct | None,
        threads: int,
        *,
        whole: Callable[[], Field] | None = None,
        patience: float = math.inf,
        keeps_bounds: bool = True,
    ) -> None:
        problem = search.problem
        self.kernel = problem.kernel[:2]
        self._stride = problem.stride
        self._threads = threads
        self._search = search
        self._direct = direct
        self._whole = whole
        self._patience = patience
        self._field: Field | None = None  # of the whole search
        self._rows = BLOCK * BLOCK * self.kernel[0] if direct else sys.maxsize  # of a block
        rows, cols = problem.map_shape
        self._shape = rows, cols
        self._least: Least | None = np.empty((rows, cols), np.uint16) if keeps_bounds else None
        self._found: dict[int, Least] = {}  # of blocks, where not all are kept
        self._cells: list[tuple[int, int]] = []  # dropped alone, y and x
        self._boxes: list[tuple[tuple[int, int, int, int], float]] = []  # with what overlaps more
        # Exact scores, of the blocks that are settled: the rest of it takes no memory.
        self._scores: NDArray[np.float64] = np.empty((rows, cols))
        self._tiles = _blocks((rows, cols), BLOCK)
        count = len(self._tiles)
        self._settled = np.zeros(count, np.bool_)
        self._refined = np.zeros(count, np.bool_)
        self._evaluated = np.zeros(count, np.int64)  # windows, and rows of them
        self._compared = np.zeros(count, np.int64)
        # Of each block: the best score that it could have; that of its best window, where known.
        self._highest = np.full(count, -math.inf)
        grid = -(-rows // BLOCK), -(-cols // BLOCK)
        self._lowest: Least = np.full(grid, GONE, np.uint16)  # bounds
        self._known = np.full(count, -math.inf)
        self._cell = np.zeros((count, 2), np.int64)
        self._surely = -math.inf  # a window that is left has at least this score

    @property
    def singly(self) -> int:
        """Windows evaluated alone so far."""
        return int(self._evaluated.sum())

    @property
    def blocks(self) -> int:
        """Blocks settled so far."""
        return int(self._settled.sum())

    @property
    def block_count(self) -> int:
        return len(self._tiles)

    def bound(self, tile: Tile) -> tuple[Tile, Least]:
        """Find the bounds of a tile, and the least of each block in it, for `put`."""
        least = self._search.bounds(tile)
        if self._least is not None:
            self._least[tile.index] = least
        return tile, reduce_blocks(np.minimum, least, tile)

    def put(self, tile: Tile, lowest: Least) -> None:
        """Take the least bounds of the blocks in a tile; `ready` comes after all tiles."""
        part = self._lowest[block_index(tile)]
        np.minimum(part, lowest, out=part)

    def ready(self) -> None:
        """Take note that all bounds are there."""
        self._highest = self._search.highest(self._lowest.ravel())

    @property
    def ceiling(self) -> float:
        """No window that is left scores more."""
        return float(self._highest.max()) if self._field is None else self._field.ceiling

    def best(self, floor: float) -> tuple[int, int, float] | None:
        """The best window left, y, x and its exact score, or None if none reaches the floor."""
        if self._field is None and self._whole and self._patience < 0:
            self._field = self._whole()
            for y, x in self._cells:
                self._field.drop(y, x)
            for box, overlap in self._boxes:
                self._field.drop_overlapping(box, overlap)
            self._least, self._found = None, {}
            self._settled[:] = True
            self._scores = np.empty((0, 0))
        if self._field is not None:
            return self._field.best(floor)
        started = time.perf_counter()
        found = self._best(floor)
        self._patience -= time.perf_counter() - started
        return found

    def _best(self, floor: float) -> tuple[int, int, float] | None:
        while True:
            self._surely = max(floor, float(self._known.max()))
            could = (self._highest >= self._surely) & (self._highest > self._known)
            blocks = np.flatnonzero(could)
            if not blocks.size:
                break
            self._look_into(blocks[np.argsort(-self._highest[blocks])].tolist())
        score = float(self._known.max())
        if score < floor or score == -math.inf:
            return None
        row, col = min(self._cell[self._known == score].tolist())
        return row * self._stride[0], col * self._stride[1], score

    def drop(self, y: int, x: int) -> None:
        """Drop one window."""
        if self._field is not None:
            self._field.drop(y, x)
            return
        self._cells.append((y, x))
        if self._least is not None:
            self._least[y // self._stride[0], x // self._stride[1]] = GONE
        for block, least in self._found.items():
            self._drop_in(block, least, [(y, x)], [])
        self._forget()

    def drop_overlapping(self, box: tuple[int, int, int, int], overlap: float) -> None:
        """Drop windows whose intersection over union with the box (y, x, h, w) is larger."""
        if self._field is not None:
            self._field.drop_overlapping(box, overlap)
            return
        self._boxes.append((box, overlap))
        if self._least is not None:
            over = overlapping(self._shape, self.kernel, self._stride, box, overlap)
            for part, gone in over:
                self._least[part][gone] = GONE
        for block, least in self._found.items():
            self._drop_in(block, least, [], [(box, overlap)])
        self._forget()

    def _forget(self) -> None:
        """Best windows of blocks that were dropped."""
        for block in np.flatnonzero(self._known > -math.inf).tolist():
            least, place = self._bounds(block)
            tile, (row, col) = self._tiles[block], self._cell[block].tolist()
            if least[place.top + row - tile.top, place.left + col - tile.left] == GONE:
                self._known[block] = -math.inf

    def _bounds(self, block: int) -> tuple[Least, Tile]:
        """An array that has the bounds of a block, and where."""
        tile = self._tiles[block]
        if self._least is not None:
            return self._least, tile
        if block not in self._found:
            least = np.ascontiguousarray(self._search.bounds(tile))
            self._drop_in(block, least, self._cells, self._boxes)
            self._found[block] = least
        return self._found[block], Tile(0, 0, tile.rows, tile.cols)

    def _drop_in(
        self,
        block: int,
        least: Least,
        cells: list[tuple[int, int]],
        boxes: list[tuple[tuple[int, int, int, int], float]],
    ) -> None:
        """Drop windows in the bounds of one block."""
        tile = self._tiles[block]
        top, left = tile.top * self._stride[0], tile.left * self._stride[1]
        for y, x in cells:
            row, col = (y - top) // self._stride[0], (x - left) // self._stride[1]
            if 0 <= row < tile.rows and 0 <= col < tile.cols:
                least[row, col] = GONE
        for (y, x, height, width), overlap in boxes:
            box = y - top, x - left, height, width
            over = overlapping(least.shape, self.kernel, self._stride, box, overlap)
            for part, gone in over:
                least[part][gone] = GONE

    def _look_into(self, blocks: list[int]) -> None:
        """Learn the best window of these blocks, or that it is none of the best."""
        left = self._where_it_pays(self._look, blocks, _PAYS_BEFORE)
        left = self._where_it_pays(self._look_closer, left, _PAYS_AFTER)
        left = [block for block in left if self._highest[block] >= self._surely]
        if left and self._direct:
            wanted = [self._tiles[block] for block in left]
            with closing(self._direct(wanted)) as scored:
                for tile, bounds in scored:
                    self._scores[tile.index] = bounds.map
            self._settled[left] = True

    def _where_it_pays(
        self, look: Callable[[int], bool], blocks: list[int], share: float
    ) -> list[int]:
        """Those that a look does not decide, and all others if it decides too few of a sample."""
        if self._direct is None:
            return self._each(look, blocks)
        # The best find a limit.
        best, others = blocks[:_SAMPLE], blocks[_SAMPLE:]
        left = self._each(look, best)
        step = max(1, len(others) // _SAMPLE)
        sample = others[::step]
        undecided = self._each(look, sample)
        rest = [block for number, block in enumerate(others) if number % step]
        if len(undecided) <= (1 - share) * len(sample):
            rest = self._each(look, rest)
        return sorted(left + undecided + rest, key=lambda block: -self._highest[block])

    def _each(self, look: Callable[[int], bool], blocks: list[int]) -> list[int]:
        """Those that a look does not decide."""
        # The first sets the limit for the others.
        each = min(_AT_ONCE, -(-(len(blocks) - 1) // self._threads))
        parts = [blocks[:1]] + [blocks[i : i + each] for i in range(1, len(blocks), max(1, each))]

        def undecided(part: list[int]) -> list[int]:
            return [block for block in part if not look(block)]

        left = undecided(parts[0])
        parallel = min(self._threads, max(1, len(parts) - 1))
        with closing(in_order(undecided, parts[1:], parallel)) as found:
            for part in found:
                left += part
        return left

    def _look(self, block: int) -> bool:
        """Learn the best window of a block; False if too many would have to be evaluated."""
        highest = self._highest[block]
        if highest < self._surely or highest == self._known[block]:
            return True
        if not self._settled[block]:
            return self._evaluate(block)
        tile = self._tiles[block]
        least, place = self._bounds(block)
        left = least[place.index] != GONE
        scores = np.where(left, self._scores[tile.index], -math.inf)
        row, col = divmod(int(scores.argmax()), tile.cols)
        self._know(block, row, col, float(scores[row, col]))
        return True

    def _look_closer(self, block: int) -> bool:
        """The same after finer bounds."""
        if self._look(block):  # with the limit that there is now
            return True
        if self._refined[block]:
            return False
        self._refined[block] = True
        self._search.refine(self._tiles[block], *self._bounds(block))
        return self._look(block)

    def _evaluate(self, block: int) -> bool:
        """Evaluate the windows of a block that could be the best, unless that takes too long."""
        surely, share = self._surely, _AFTER if self._refined[block] else _BEFORE
        found = self._search.look(
            self._tiles[block],
            *self._bounds(block),
            self._search.largest(surely),
            int(self._rows * share) - int(self._compared[block]),
        )
        self._evaluated[block] += found.evaluated
        self._compared[block] += found.compared
        if found.row >= 0:
            score = self._search.score(found.difference)
            if found.done:
                self._know(block, found.row, found.col, score)
            self._surely = max(self._surely, score)
        elif found.done:
            self._highest[block] = math.nextafter(surely, -math.inf)
        return found.done

    def _know(self, block: int, row: int, col: int, score: float) -> None:
        tile = self._tiles[block]
        self._cell[block] = tile.top + row, tile.left + col
        self._highest[block] = self._known[block] = score
        self._surely = max(self._surely, score)
