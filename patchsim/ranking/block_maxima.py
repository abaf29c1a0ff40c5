"""The windows of one kernel by blocks: an upper bound of the scores of each.

A block whose turn comes is opened: its scores are read from the map, or, where memory is short and
no map is kept, the block is scored again, exactly if an engine can. It stays in a cache that all
kernels of a search share. A full cache evicts the block that was used least recently; only the best
score left in that block is kept, and the block is opened again if its turn comes again. So the
matches do not depend on how many blocks fit the cache.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from patchsim.engines import Bounds
from patchsim.geometry.blocks import grid_shape
from patchsim.geometry.overlaps import Box
from patchsim.geometry.tiles import Tile
from patchsim.metrics import Exact, Indices
from patchsim.ranking.best_window import best_contender, contenders
from patchsim.ranking.block_cache import BlockCache, OpenBlock
from patchsim.ranking.block_grid import BlockGrid
from patchsim.ranking.block_queue import BlockQueue
from patchsim.ranking.cell_queue import SUPPRESSED
from patchsim.ranking.contract import Closest
from patchsim.ranking.removed_windows import RemovedWindows
from patchsim.ranking.score_map import ScoreMap

# For each so many blocks of all kernels, one more may be scored again to tell the closest window.
_WORTH_OPENING = 200

Rescore = Callable[[list[Tile]], Generator[tuple[Tile, Bounds], None, None]]


class BlockMaxima:
    """The best score of each block of windows; implements `contract.Windows`.

    Parameters
    ----------
    shape : (rows, cols)
    kernel : (height, width)
    stride : (y, x)
    exact : int64 arrays (y, x) -> float64 array
        The exact scores of the windows with these top-left pixels.
    rescore : list of Tile -> (Tile, Bounds), optional
        Scores these blocks again, in tiles that hold them. Without it the scores are kept, and
        every tile that is put has `Bounds.blocks`.
    cache : BlockCache
    evaluate_block : Tile -> Bounds, optional
        Exact scores of windows of a block, for a block whose scores are not exact; scores with an
        error of 0 are exact, others are ignored.
    keeps_map : bool
        Show the scores in `map`.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        kernel: tuple[int, int],
        stride: tuple[int, int],
        exact: Exact,
        rescore: Rescore | None,
        cache: BlockCache,
        *,
        evaluate_block: Callable[[Tile], Bounds] | None = None,
        keeps_map: bool = False,
    ) -> None:
        self.kernel = kernel
        self.blocks_evaluated = 0  # those that were only read from the map do not count
        self.windows_evaluated = 0
        self.grid = BlockGrid(
            shape, keeps_scores=keeps_map or rescore is None, keeps_errors=rescore is None
        )
        self.removed = RemovedWindows(shape, kernel, stride)
        self._seen: set[int] = set()  # blocks whose best window was found while they were closed
        self._queue: BlockQueue | None = None
        self.cache = cache
        self._keeps_map = keeps_map
        self.stride = stride
        self._exact, self._evaluate_block, self._rescore = exact, evaluate_block, rescore

    @staticmethod
    def count_blocks(shape: tuple[int, int]) -> int:
        """Return the number of blocks of a map."""
        return math.prod(grid_shape(shape))

    @classmethod
    def estimate_bytes(cls, shape: tuple[int, int], *, keeps_map: bool = False) -> int:
        """Return the bytes that the maxima of a map of this shape take, beside the cache."""
        score_map = 4 * math.prod(shape) if keeps_map else 0
        return score_map + BlockQueue.estimate_bytes(cls.count_blocks(shape))

    def put(self, tile: Tile, bounds: Bounds) -> None:
        """Take the scores of a tile; several threads may put different tiles at once."""
        self.grid.put(tile, bounds)

    def put_bounds(self, top: int, upper_bounds: NDArray[np.float64], error: float) -> None:
        """Take the upper bounds of rows of blocks that are scored again when asked for."""
        self.grid.put_bounds(top, upper_bounds, error)

    @property
    def error(self) -> float:
        """The largest error of a score that was put."""
        return self.grid.error

    @property
    def map(self) -> NDArray[np.float32] | None:
        """The scores of all windows, if they were asked for."""
        return self.grid.scores if self._keeps_map else None

    @property
    def block_count(self) -> int:
        """The number of blocks of the map."""
        return self.grid.upper_bounds.size

    @property
    def upper_bound(self) -> float:
        """The score that no window left exceeds."""
        if self._queue is None:  # until then, blocks can be swept
            return self._highest()
        first = self._queue.first
        return -first[0] if first is not None else SUPPRESSED

    def _highest(self) -> float:
        highest = float(self.grid.upper_bounds.max())
        if math.isnan(highest):
            raise ValueError("there are blocks without a score")
        return highest

    @property
    def can_sweep(self) -> bool:
        """Whether `best_of` serves: blocks are scored again, and were not asked for in order."""
        return self._rescore is not None and self._queue is None

    def best_of(
        self, block: int, floor: float, together: Iterable[int]
    ) -> tuple[int, int, float] | None:
        """Return y, x and the exact score of the best window left of a block, from `floor` on.

        A block that is not open is opened with all `together`, one of which it is; they fit the
        cache. The upper bounds in `grid` are those of windows left while there is no queue.
        """
        if self.cache.get(self.grid, block) is None:
            self._open(one for one in together if self.cache.get(self.grid, one) is None)
        opened = self.cache.get(self.grid, block)
        assert opened is not None, "it is one of them"
        best = self._best_in(block, opened, floor)
        return best and (best[0] * self.stride[0], best[1] * self.stride[1], best[2])

    def _filled_queue(self) -> BlockQueue:
        if self._queue is None:
            self._highest()
            self._queue = BlockQueue(self.grid.upper_bounds)
        return self._queue

    def best(self, floor: float) -> tuple[int, int, float] | None:
        """Return y, x and the exact score of the best window left; as for `contract.Windows`."""
        queue = self._filled_queue()
        at_once = 1
        while (first := queue.first) is not None and -first[0] >= floor:
            minus_score, is_exact, row, col, block, removals = first
            if is_exact and removals == self.removed.removals:
                return row * self.stride[0], col * self.stride[1], -minus_score
            opened = self.cache.get(self.grid, block)
            if opened is None and self._rescore is None:
                best = self._best_of_closed(block)
                if best is not None:
                    row, col, score = best
                    queue.replace_first((-score, True, row, col, block, self.removed.removals))
                    continue
                tile = self.grid.tile(block)
                opened = self._open_block(block, tile, self.grid.bounds(tile))
                self.cache.put(self.grid, block, opened)
            if opened is None:
                # Blocks that will be asked for are scored together. Otherwise their number doubles:
                # one block if the first is good, many together if it takes many.
                self._open(self._closed_contenders(floor, at_once))
                at_once = min(2 * at_once, self.cache.capacity)
                continue
            opened.remove(self.removed.boxes(block))
            bound = opened.scores.highest_bound
            if SUPPRESSED < bound < queue.second_bound:  # windows of other blocks come first
                queue.replace_first((-bound, False, 0, 0, block, 0))
                continue
            best = self._best_in(block, opened, floor)
            if best is not None:
                row, col, score = best
                queue.replace_first((-score, True, row, col, block, self.removed.removals))
                continue
            # No window reaches the floor, but a later floor may be lower.
            bound = math.nextafter(min(-minus_score, floor), SUPPRESSED)
            if bound > SUPPRESSED:
                queue.replace_first((-bound, False, 0, 0, block, 0))
            else:
                queue.drop_first()  # every window of the block was removed
        return None

    def _best_of_closed(self, block: int) -> tuple[int, int, float] | None:
        """Return row, col and score of the best window of a block whose scores are kept.

        None if the block has to be opened for that: windows of it are removed, many could be the
        best, or it was asked for before.
        """
        if block in self._seen or self.removed.boxes(block) or self.removed.windows(block):
            return None
        self._seen.add(block)
        tile = self.grid.tile(block)
        kept = self.grid.bounds(tile)
        if kept.hidden is not None:
            return None
        assert isinstance(kept.error, float)
        numbers = contenders(kept.map, float(kept.map.max()), kept.error)
        if not numbers:
            return None
        self.windows_evaluated += len(numbers)
        corner = tile.top, tile.left
        return best_contender(kept.map, numbers, self._exact, corner, self.stride)

    def _closed_contenders(self, floor: float, most: int) -> list[int]:
        """Return the best blocks that are not open and could hold the best window."""
        assert self._queue is not None
        entries = self._queue.in_order()
        first = next(entries)
        contenders = [first[4]]
        for entry in islice(entries, most - 1):
            if entry[1] or -entry[0] < floor:
                break
            contenders.append(entry[4])
        return [block for block in contenders if self.cache.get(self.grid, block) is None]

    def _open(self, blocks: Iterable[int]) -> None:
        """Score blocks again and put them into the cache."""
        assert self._rescore is not None
        wanted = {block: self.grid.tile(block) for block in blocks}
        with closing(self._rescore(list(wanted.values()))) as scored:
            for tile, bounds in scored:
                for block in self.grid.blocks(tile):
                    cells = wanted.get(block)
                    if cells is not None:
                        score_map = self._open_block(
                            block, cells, _part(bounds, cells.within(tile))
                        )
                        self.cache.put(self.grid, block, score_map)
                del bounds  # free them before the next tile is scored
        self.blocks_evaluated += len(wanted)

    def _open_block(self, block: int, cells: Tile, bounds: Bounds) -> OpenBlock:
        """Make the scores of a block from their bounds."""
        top, left = self._corner(cells)
        # The cache has the block, which would keep this store and the image until a collection.
        maxima: BlockMaxima = weakref.proxy(self)

        def evaluate_blocks(wanted: list[Tile]) -> Generator[tuple[Tile, Bounds], None, None]:
            assert maxima._evaluate_block is not None
            maxima.blocks_evaluated += int(maxima.grid.has_errors)
            yield wanted[0], maxima._evaluate_block(cells)

        def exact(y: Indices, x: Indices) -> NDArray[np.float64]:
            maxima.windows_evaluated += len(y)
            return maxima._exact(y + top, x + left)

        score_map = ScoreMap(
            (cells.rows, cells.cols),
            self.kernel,
            self.stride,
            exact,
            evaluate_blocks=evaluate_blocks if self._evaluate_block else None,
            kept=None if self.grid.scores is None else self.grid.scores[cells.index],
        )
        score_map.put(Tile(0, 0, cells.rows, cells.cols), bounds)
        for y, x in self.removed.windows(block):
            score_map.suppress(y - top, x - left)
        return OpenBlock(score_map, (top, left))

    def _best_in(
        self, block: int, opened: OpenBlock, floor: float
    ) -> tuple[int, int, float] | None:
        """Return row, col and score of the best window of an open block."""
        tile = self.grid.tile(block)
        opened.remove(self.removed.boxes(block))
        best = opened.best(floor)
        if best is None:
            return None
        y, x, score = best
        row, col = tile.top + y // self.stride[0], tile.left + x // self.stride[1]
        if self.grid.scores is not None:
            self.grid.scores[row, col] = score
        return row, col, score

    def closest(self, among: int) -> Closest | None:
        """Look at the block with the highest bound alone; as for `contract.Windows`."""
        queue = self._filled_queue()
        first = queue.first
        if first is None:
            return None
        bound, block, others = -first[0], first[4], queue.second_bound
        opened = self.cache.get(self.grid, block)
        is_worth_opening = self.block_count * among >= _WORTH_OPENING
        if opened is None and not self.grid.has_errors and is_worth_opening:
            self._open([block])
            opened = self.cache.get(self.grid, block)
        tile = self.grid.tile(block)
        top, left = self._corner(tile)
        if opened is not None:
            inside = opened.scores.closest()
            if inside is None or inside.place is None:
                return Closest(None, bound)
            y, x, score = inside.place
            return Closest((top + y, left + x, score), max(others, min(bound, inside.at_most)))
        if not self.grid.has_errors:
            return Closest(None, bound)
        kept = self.grid.bounds(tile)
        scores = kept.map if kept.hidden is None else np.where(kept.hidden, SUPPRESSED, kept.map)
        row, col = divmod(int(scores.argmax()), tile.cols)
        y, x = top + row * self.stride[0], left + col * self.stride[1]
        score = float(self._exact(np.array([y]), np.array([x]))[0])
        self.windows_evaluated += 1
        return Closest((y, x, score), max(score, bound))

    def suppress(self, y: int, x: int) -> None:
        """Remove one window."""
        block = self.grid.block(y // self.stride[0], x // self.stride[1])
        self.removed.add_window(block, y, x)
        opened = self.cache.get(self.grid, block)
        if opened is not None:
            top, left = self._corner(self.grid.tile(block))
            opened.scores.suppress(y - top, x - left)

    def suppress_overlapping(self, box: Box, overlap: float) -> None:
        """Remove windows whose intersection over union with the box (y, x, h, w) is larger."""
        self.removed.add_box(box, overlap)

    def _corner(self, tile: Tile) -> tuple[int, int]:
        """Return y and x of the top-left pixel of a tile's first window."""
        return tile.top * self.stride[0], tile.left * self.stride[1]


def _part(bounds: Bounds, index: tuple[slice, slice]) -> Bounds:
    """Return the bounds of some of the windows."""
    error = bounds.error
    if not isinstance(error, float):
        error = np.asarray(error)
        error = error[index] if error.ndim else float(error)
    return Bounds(bounds.map[index], error, None if bounds.hidden is None else bounds.hidden[index])
