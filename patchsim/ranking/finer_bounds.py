"""Finer bounds for many blocks of windows at once, for the search without a map.

Neighbouring blocks share the sums that finer bounds are made of, so that blocks are joined to
pieces: runs of a row of blocks, or a whole band of such rows where its runs cover as many pixels.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import closing
from typing import NamedTuple

import numpy as np

from patchsim.engines import Search
from patchsim.geometry import tiles
from patchsim.geometry.blocks import BLOCK
from patchsim.geometry.tiles import Tile
from patchsim.machine.threads import in_order
from patchsim.ranking.window_bounds import WindowBounds

# Windows that could be the best lie together. If a share of all windows is open, so many times
# this share is bounded, because it lies side by side with open ones.
_BESIDE = 3

_PIECE_SECONDS, _BLOCK_SECONDS = 4e-5, 1e-5  # of the calls for a piece, and for a block of it
_COUNTED = 8  # blocks whose open windows are counted

# A window whose bound does not exclude it is compared row by row until it is too different, after
# about this share of its rows; so many seconds come to each window, and to each block. Kernels of
# 8 to 64 that are not in photographs of 512x512 and 1920x1080, one core of an AMD EPYC (Zen 4).
_ROWS_COMPARED, _WINDOW_SECONDS, _LOOK_SECONDS = 0.65, 1.8e-8, 5e-6


class Piece(NamedTuple):
    """Blocks that get finer bounds together, and the tile that holds them."""

    tile: Tile
    blocks: list[int]


class FinerBounds:
    """Which finer bounds the blocks of a map have, and what more would take.

    Parameters
    ----------
    search : Search
    bounds : WindowBounds
    blocks : sequence of Tile
    tile : (rows, cols)
        The largest tile whose coarse bounds are made at once.
    threads : int
    """

    def __init__(
        self,
        search: Search,
        bounds: WindowBounds,
        blocks: Sequence[Tile],
        tile: tuple[int, int],
        threads: int,
    ) -> None:
        self._search, self._bounds, self._blocks = search, bounds, blocks
        self._rows, self._cols = search.finer_tile(tile)
        self._threads = threads
        self.levels = np.zeros(len(blocks), np.int8)  # the number of finer bounds of each block

    def pieces(self, blocks: Iterable[int]) -> list[Piece]:
        """Join blocks to pieces of at most a tile."""
        by_band: dict[tuple[int, int], list[int]] = defaultdict(list)
        for block in sorted(blocks):
            tile = self._blocks[block]
            by_band[tile.top // self._rows, tile.left // self._cols].append(block)
        return [piece for band in by_band.values() for piece in self._pieces_of_band(band)]

    def _pieces_of_band(self, blocks: list[int]) -> list[Piece]:
        pieces = [Piece(self._around(run), run) for run in self._runs(blocks)]
        band = self._around(blocks)
        if self._pixels(band) <= sum(self._pixels(piece.tile) for piece in pieces):
            return [Piece(band, blocks)]
        return pieces

    def _runs(self, blocks: list[int]) -> list[list[int]]:
        """Divide blocks, which are sorted, into those that lie side by side."""
        runs: list[list[int]] = []
        for block in blocks:
            if runs and runs[-1][-1] == block - 1 and self._blocks[block].left > 0:
                runs[-1].append(block)
            else:
                runs.append([block])
        return runs

    def _around(self, blocks: list[int]) -> Tile:
        """Return the tile that holds blocks, which are sorted."""
        held = [self._blocks[block] for block in blocks]
        first, last = held[0], held[-1]
        left, right = min(tile.left for tile in held), max(tile.left + tile.cols for tile in held)
        return Tile(first.top, left, last.top + last.rows - first.top, right - left)

    def _pixels(self, tile: Tile) -> int:
        problem = self._search.problem
        return math.prod(tiles.extent((tile.rows, tile.cols), problem.kernel[:2], problem.stride))

    def sample(self, blocks: Iterable[int], most: int) -> list[int]:
        """Return some of these blocks that lie side by side, at most so many."""
        return max(self._runs(sorted(blocks)), key=len)[:most]

    def open_share(self, blocks: Sequence[int], floor: float) -> float:
        """Estimate the share of windows of these blocks that could score at least `floor`."""
        limit = self._search.could_reach(floor)
        shares = []
        step = -(-len(blocks) // _COUNTED)
        for block in blocks[step // 2 :: step] or blocks[-1:]:  # the best come first
            bounds, place = self._bounds.of_block(block)
            of_block = bounds[place.index]
            shares.append(np.count_nonzero(of_block <= limit) / of_block.size)
        return sum(shares) / len(shares)

    def seconds(self, level: int, pieces: Sequence[Piece], share: float) -> float:
        """Return the estimated seconds of all threads, if this share of the windows is open."""
        beside = min(1.0, _BESIDE * share)
        of_pieces = (self._search.refine_seconds(level, piece.tile, beside) for piece in pieces)
        blocks = sum(len(piece.blocks) for piece in pieces)
        return sum(of_pieces) + len(pieces) * _PIECE_SECONDS + blocks * _BLOCK_SECONDS

    def least_seconds(self, level: int, blocks: int, share: float) -> float:
        """Return what so many blocks would take as one piece, with no border, quickly estimated."""
        piece = Tile(0, 0, BLOCK, blocks * BLOCK)
        beside = min(1.0, _BESIDE * share)
        height = self._search.problem.kernel[0] - 1
        tall = BLOCK * self._search.problem.stride[0]
        return self._search.refine_seconds(level, piece, beside) * tall / (tall + height)

    def seconds_of_windows(self, blocks: Sequence[int], share: float) -> float:
        """Return the estimated seconds of comparing the open windows of blocks one by one."""
        of_block = math.prod(self._search.problem.map_shape) / len(self._blocks)
        windows = share * of_block * len(blocks)
        rows = max(1.0, _ROWS_COMPARED * self._search.problem.kernel[0])
        of_window = _WINDOW_SECONDS + rows * self._search.row_seconds
        return windows * of_window + len(blocks) * _LOOK_SECONDS

    def refine(
        self, level: int, pieces: Sequence[Piece], floor: float
    ) -> tuple[dict[int, float], float]:
        """Give pieces the finer bounds of a level.

        Returns
        -------
        upper_bounds : dict of int to float
            Of their blocks.
        seconds : float
            What it took, of all threads.
        """

        def refined(piece: Piece) -> tuple[dict[int, float], float]:
            started = time.thread_time()
            bounds, place = self._bounds.of_tile(piece.tile)
            self._search.refine(level, piece.tile, bounds, place, floor)
            block_minima = []
            for block in piece.blocks:
                self._bounds.keep(block, piece.tile, bounds)
                kept, at = self._bounds.of_block(block)
                block_minima.append(kept[at.index].min())
            upper_bounds = self._search.upper_bounds(np.array(block_minima)).tolist()
            return dict(zip(piece.blocks, upper_bounds, strict=True)), time.thread_time() - started

        bound_of: dict[int, float] = {}
        total = 0.0
        parallel = min(self._threads, max(1, len(pieces)))
        with closing(in_order(refined, pieces, parallel)) as results:
            for upper_bounds, seconds in results:
                bound_of |= upper_bounds
                total += seconds
        self.levels[list(bound_of)] = level + 1
        return bound_of, total
