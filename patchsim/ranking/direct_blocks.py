"""Blocks of windows that a search without a map leaves open, scored directly."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import closing

import numpy as np
from numpy.typing import NDArray

from patchsim.engines import Bounds, Problem
from patchsim.geometry import tiles
from patchsim.geometry.blocks import BLOCK
from patchsim.geometry.tiles import Tile
from patchsim.metrics import Exact, Indices
from patchsim.ranking.score_map import ScoreMap

EvaluateBlocks = Callable[[Iterable[Tile]], Generator[tuple[Tile, Bounds], None, None]]


class DirectBlocks:
    """Scores blocks of the map of one problem.

    Parameters
    ----------
    problem : Problem
    evaluate_blocks : tiles -> (tile, scores)
        Scores of blocks, in tiles that hold them.
    exact : int64 arrays (y, x) -> float64 array, optional
        The exact scores of windows, if those of `evaluate_blocks` have an error.
    score_exactly : Tile -> Bounds, optional
        Exact scores of many windows of a block: of all, or of those that equal others in it.
    """

    def __init__(
        self,
        problem: Problem,
        evaluate_blocks: EvaluateBlocks,
        exact: Exact | None,
        score_exactly: Callable[[Tile], Bounds] | None,
    ) -> None:
        self._kernel, self._stride = problem.match_size, problem.stride
        self._evaluate_blocks = evaluate_blocks
        self._exact, self._score_exactly = exact, score_exactly

    def scores(self, blocks: Iterable[Tile]) -> Generator[tuple[Tile, ScoreMap], None, None]:
        """Yield each of these blocks with the scores of its windows."""
        wanted = set(blocks)
        with closing(self._evaluate_blocks(list(wanted))) as scored:
            for tile, bounds in scored:
                for part in tiles.split((tile.rows, tile.cols), (BLOCK, BLOCK)):
                    at = Tile(tile.top + part.top, tile.left + part.left, part.rows, part.cols)
                    if at in wanted:
                        yield at, self._scores_of(at, part, bounds)
                del bounds  # free them before the next tile is scored

    def _scores_of(self, block: Tile, part: Tile, bounds: Bounds) -> ScoreMap:
        """Return the scores of a block, which lie at `part` in the bounds of a tile."""
        stride_y, stride_x = self._stride
        exact, score_exactly = self._exact, self._score_exactly

        def exactly(y: Indices, x: Indices) -> NDArray[np.float64]:
            assert exact is not None, "the scores have errors"
            return exact(block.top * stride_y + y, block.left * stride_x + x)

        def all_exactly(_wanted: list[Tile]) -> Generator[tuple[Tile, Bounds], None, None]:
            assert score_exactly is not None
            yield whole, score_exactly(block)

        whole = Tile(0, 0, block.rows, block.cols)
        scores = ScoreMap(
            (block.rows, block.cols),
            self._kernel,
            self._stride,
            exactly,
            evaluate_blocks=all_exactly if score_exactly else None,
        )
        error = bounds.error if isinstance(bounds.error, float) else bounds.error[part.index]
        scores.put(whole, Bounds(bounds.map[part.index], error))
        return scores
