"""The windows of one kernel in little memory: of each block the most that a window could score.

A block whose turn comes is scored again, exactly if some engine can, and stays on a shelf that all
kernels of a search share. What has not been asked for longest goes first when that is full: it
leaves the best score of what was left of the block, and is scored once more if its turn comes
again. So the matches are the same as of all scores kept, whatever fits on the shelf.
"""

from __future__ import annotations

import heapq
import math
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from dataclasses import dataclass
from itertools import takewhile
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from patchsim.engines import Bounds
from patchsim.geometry.blocks import BLOCK, block_index, reduce_blocks
from patchsim.geometry.tiles import Tile
from patchsim.metrics import Exact
from patchsim.planning.score_memory import OPEN_BYTES
from patchsim.ranking.score_map import ROUNDING, Field

_GONE = -math.inf

Again = Callable[[list[Tile]], Generator[tuple[Tile, Bounds], None, None]]


@dataclass
class _Open:
    """A block that was scored again, and how many of the boxes dropped it has heard of."""

    field: Field
    boxes: int = 0


class Shelf:
    """The blocks that are open, of all kernels.

    Parameters
    ----------
    memory : int
        Bytes that they may take; room for two is the least.
    """

    def __init__(self, memory: int) -> None:
        self.room = max(2, memory // OPEN_BYTES)
        self._blocks: OrderedDict[tuple[Sketch, int], _Open] = OrderedDict()

    def find(self, sketch: Sketch, block: int) -> _Open | None:
        found = self._blocks.get((sketch, block))
        if found is not None:
            self._blocks.move_to_end((sketch, block))
        return found

    def put(self, sketch: Sketch, block: int, opened: _Open) -> None:
        self._blocks[sketch, block] = opened
        while len(self._blocks) > self.room:
            self._blocks.popitem(last=False)


class Sketch:
    """As `contract.Windows`.

    Parameters
    ----------
    shape : (rows, cols)
    kernel : (height, width)
    stride : (y, x)
    exact : (y, x) -> float
        The exact score of the window whose top-left pixel is there.
    again : list of Tile -> (Tile, Bounds)
        The scores of these blocks once more, in tiles that hold them.
    equal : Tile -> Bounds, optional
        Exact scores of a block, as far as they are easily told, where `again` has none.
    shelf : Shelf
    keeps_map : bool
        Keep the scores in `map`.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        kernel: tuple[int, int],
        stride: tuple[int, int],
        exact: Exact,
        again: Again,
        shelf: Shelf,
        *,
        equal: Callable[[Tile], Bounds] | None = None,
        keeps_map: bool = False,
    ) -> None:
        self.kernel = kernel
        self.map: NDArray[np.float32] | None = None
        if keeps_map:
            self.map = np.full(shape, np.nan, dtype=np.float32)
        self.error = 0.0
        self.blocks = 0
        self.singly = 0
        self._shape, self._stride = shape, stride
        self._exact, self._again, self._equal = exact, again, equal
        self._shelf = shelf
        self._lock = Lock()
        grid = -(-shape[0] // BLOCK), -(-shape[1] // BLOCK)
        self._highest: NDArray[np.float64] = np.full(grid, np.nan)
        self._boxes: list[tuple[tuple[int, int, int, int], float]] = []
        self._gone: dict[int, list[tuple[int, int]]] = {}  # windows dropped alone, by block
        self._changes = 0
        # Of each block: minus the most that it could score, or what its best window does score
        # unless something was dropped since; whether it is that; row, col, block, changes.
        self._heap: list[tuple[float, bool, int, int, int, int]] | None = None

    def put(self, tile: Tile, bounds: Bounds) -> None:
        """Take the scores of a tile; several threads may at once, of different tiles."""
        if self.map is not None:
            self.map[tile.index] = bounds.map
        error = np.asarray(bounds.error)
        off = float(error.max())
        # The sum of a score and its error must not be rounded to less than the true score.
        highest = bounds.map + error + ROUNDING if off else bounds.map
        if bounds.hidden is not None:
            highest = np.where(bounds.hidden, _GONE, highest)
        best = reduce_blocks(np.maximum, highest, tile)
        if np.isnan(best).any():
            raise ValueError(f"there are windows without a score in {tile}")
        with self._lock:
            self.error = max(self.error, off)
            part = self._highest[block_index(tile)]
            np.fmax(part, best, out=part)

    @property
    def block_count(self) -> int:
        return self._highest.size

    @property
    def ceiling(self) -> float:
        """No window that is left scores more."""
        heap = self._ready()
        return -heap[0][0] if heap else _GONE

    def _ready(self) -> list[tuple[float, bool, int, int, int, int]]:
        if self._heap is None:
            if np.isnan(self._highest).any():
                raise ValueError("there are blocks without a score")
            values = self._highest.ravel().tolist()
            self._heap = [
                (-value, False, 0, 0, block, 0)
                for block, value in enumerate(values)
                if value > _GONE
            ]
            heapq.heapify(self._heap)
        return self._heap

    def best(self, floor: float) -> tuple[int, int, float] | None:
        """The best window left, y, x and its exact score, or None if none reaches the floor."""
        heap = self._ready()
        at_once = 1
        while heap and -heap[0][0] >= floor:
            minus, settled, row, col, block, changes = heap[0]
            if settled and changes == self._changes:
                return row * self._stride[0], col * self._stride[1], -minus
            opened = self._shelf.find(self, block)
            if opened is None:
                # Twice as many each time: few if the first is good, together if it takes many.
                self._open(self._closed(floor, min(at_once, self._shelf.room)))
                at_once *= 2
                continue
            found = self._best_of(block, opened, floor)
            if found is None:
                # None reaches the floor, which may be lower another time.
                heapq.heapreplace(
                    heap, (-math.nextafter(min(-minus, floor), _GONE), False, 0, 0, block, 0)
                )
                if heap[0][0] == math.inf:
                    heapq.heappop(heap)
            else:
                heapq.heapreplace(heap, (-found[2], True, *found[:2], block, self._changes))
        return None

    def _closed(self, floor: float, most: int) -> list[int]:
        """The best blocks that are not open, could reach the floor, and be the best."""
        assert self._heap is not None
        reach = heapq.nsmallest(most, (entry for entry in self._heap if -entry[0] >= floor))
        could = takewhile(lambda entry: not entry[1] or entry is reach[0], reach)
        return [entry[4] for entry in could if self._shelf.find(self, entry[4]) is None]

    def _open(self, blocks: Iterable[int]) -> None:
        wanted = {block: self._tile(block) for block in blocks}
        with closing(self._again(list(wanted.values()))) as scored:
            for tile, bounds in scored:
                for block, part in wanted.items():
                    if _inside(part, tile):
                        self._shelf.put(self, block, self._opened(block, part, tile, bounds))
        self.blocks += len(wanted)

    def _opened(self, block: int, part: Tile, tile: Tile, bounds: Bounds) -> _Open:
        index = part.within(tile)
        error = np.asarray(bounds.error)
        if error.ndim:
            error = error[index]
        step_y, step_x = self._stride
        top, left = part.top * step_y, part.left * step_x

        def equal(wanted: list[Tile]) -> Generator[tuple[Tile, Bounds], None, None]:
            assert self._equal is not None
            yield wanted[0], self._equal(part)

        def exact(y: int, x: int) -> float:
            self.singly += 1
            return self._exact(y + top, x + left)

        field = Field(
            (part.rows, part.cols),
            self.kernel,
            self._stride,
            exact,
            blocks=equal if self._equal else None,
        )
        hidden = None if bounds.hidden is None else bounds.hidden[index]
        field.put(Tile(0, 0, part.rows, part.cols), Bounds(bounds.map[index], error, hidden))
        field.settle_contenders()
        if self.map is not None:
            known = field.settled & (field.highest > _GONE)
            np.copyto(self.map[part.index], field.highest, where=known, casting="same_kind")
        for y, x in self._gone.get(block, ()):
            field.drop(y - top, x - left)
        return _Open(field)

    def _best_of(self, block: int, opened: _Open, floor: float) -> tuple[int, int, float] | None:
        """Row, col and score."""
        tile = self._tile(block)
        top, left = tile.top * self._stride[0], tile.left * self._stride[1]
        for (y, x, height, width), overlap in self._boxes[opened.boxes :]:
            opened.field.drop_overlapping((y - top, x - left, height, width), overlap)
        opened.boxes = len(self._boxes)
        found = opened.field.best(floor)
        if found is None:
            return None
        y, x, score = found
        row, col = tile.top + y // self._stride[0], tile.left + x // self._stride[1]
        if self.map is not None:
            self.map[row, col] = score
        return row, col, score

    def drop(self, y: int, x: int) -> None:
        """Drop one window."""
        row, col = y // self._stride[0], x // self._stride[1]
        block = row // BLOCK * self._highest.shape[1] + col // BLOCK
        self._gone.setdefault(block, []).append((y, x))
        opened = self._shelf.find(self, block)
        if opened is not None:
            tile = self._tile(block)
            opened.field.drop(y - tile.top * self._stride[0], x - tile.left * self._stride[1])
        self._changes += 1

    def drop_overlapping(self, box: tuple[int, int, int, int], overlap: float) -> None:
        """Drop windows whose intersection over union with the box (y, x, h, w) is larger."""
        self._boxes.append((box, overlap))
        self._changes += 1

    def _tile(self, block: int) -> Tile:
        rows, cols = self._shape
        down, across = divmod(block, self._highest.shape[1])
        top, left = down * BLOCK, across * BLOCK
        return Tile(top, left, min(BLOCK, rows - top), min(BLOCK, cols - left))


def _inside(part: Tile, tile: Tile) -> bool:
    return (
        tile.top <= part.top < tile.top + tile.rows
        and tile.left <= part.left < tile.left + tile.cols
    )
