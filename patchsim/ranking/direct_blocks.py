"""Blocks of windows that a search without a map leaves open, scored directly."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from patchsim.engines import Bounds, Problem
from patchsim.geometry.blocks import block_index
from patchsim.geometry.tiles import Tile
from patchsim.metrics import Exact, Indices
from patchsim.ranking.block_grid import BlockGrid
from patchsim.ranking.score_map import ScoreMap

EvaluateBlocks = Callable[[Iterable[Tile]], Generator[tuple[Tile, Bounds], None, None]]


class ScoredTile(NamedTuple):
    """Scores of a tile of whole blocks, and the upper bound of each block in it, row by row."""

    tile: Tile
    bounds: Bounds
    upper_bounds: NDArray[np.float64]


class DirectBlocks:
    """Scores blocks of the map of one problem.

    Parameters
    ----------
    problem : Problem
    evaluate_blocks : tiles -> (tile, scores)
        Scores of blocks, in tiles that hold them.
    seconds : tiles -> float
        What that takes, estimated.
    exact : int64 arrays (y, x) -> float64 array, optional
        The exact scores of windows, if those of `evaluate_blocks` have an error.
    score_exactly : Tile -> Bounds, optional
        Exact scores of many windows of a block: of all, or of those that equal others in it.
    """

    def __init__(
        self,
        problem: Problem,
        evaluate_blocks: EvaluateBlocks,
        seconds: Callable[[Iterable[Tile]], float],
        exact: Exact | None,
        score_exactly: Callable[[Tile], Bounds] | None,
    ) -> None:
        self._kernel, self._stride = problem.match_size, problem.stride
        self._shape = problem.map_shape
        self._evaluate_blocks, self.seconds = evaluate_blocks, seconds
        self._exact, self._score_exactly = exact, score_exactly

    def scored(self, blocks: Iterable[Tile]) -> Generator[ScoredTile, None, None]:
        """Score blocks, and yield the tiles that hold them, and maybe others."""
        grid = BlockGrid(self._shape, keeps_scores=False, keeps_errors=False)
        with closing(self._evaluate_blocks(list(blocks))) as scored:
            for tile, bounds in scored:
                grid.put(tile, bounds)
                yield ScoredTile(tile, bounds, grid.upper_bounds[block_index(tile)].ravel())
                del bounds  # free them before the next tile is scored

    def scores(self, block: Tile, of: ScoredTile) -> ScoreMap:
        """Return the scores of the windows of a block, which lies in a tile that was scored."""
        bounds, tile = of.bounds, of.tile
        inside = Tile(block.top - tile.top, block.left - tile.left, block.rows, block.cols)
        stride_y, stride_x = self._stride
        exact, score_exactly = self._exact, self._score_exactly

        def exactly(y: Indices, x: Indices) -> NDArray[np.float64]:
            assert exact is not None, "the scores have errors"
            return exact(block.top * stride_y + y, block.left * stride_x + x)

        def all_exactly(_wanted: list[Tile]) -> Generator[tuple[Tile, Bounds], None, None]:
            assert score_exactly is not None
            yield windows, score_exactly(block)

        windows = Tile(0, 0, block.rows, block.cols)
        score_map = ScoreMap(
            (block.rows, block.cols),
            self._kernel,
            self._stride,
            exactly,
            evaluate_blocks=all_exactly if score_exactly else None,
        )
        error = bounds.error if isinstance(bounds.error, float) else bounds.error[inside.index]
        score_map.put(windows, Bounds(bounds.map[inside.index], error))
        return score_map
