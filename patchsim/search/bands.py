"""Maps scored in bands of rows, each by itself, perhaps by another process: blocks' upper bounds.

Of a band only the highest possible score of each block is kept, 8 bytes for 4096 windows. That is
all that a search needs to know of windows that are scored elsewhere: `ranking.block_maxima` scores
the few blocks again in which matches may be.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from patchsim.engines import Bounds
from patchsim.geometry import tiles
from patchsim.geometry.area import Region
from patchsim.geometry.blocks import grid_shape
from patchsim.geometry.tiles import Tile
from patchsim.ranking.block_grid import BlockGrid
from patchsim.search import windows
from patchsim.search.jobs import Job
from patchsim.search.prepared import PreparedKernels


@dataclass(frozen=True, eq=False)
class BandBounds:
    """The highest possible scores of the blocks of a band of one job's map.

    Attributes
    ----------
    job : int
        The job's number in `Exhaustive.jobs`.
    top, rows : int
        The band: its first row of the map, a multiple of `geometry.blocks.BLOCK`, and the number of
        its rows. It has all columns.
    upper_bounds : float64 array [block rows, block columns]
        At least the true score of each window of a block; -inf where too little of every window is
        visible.
    error : float
        The largest error of a score.
    is_missing : bool
        The band could not be scored, and no match is found there.
    """

    job: int
    top: int
    rows: int
    upper_bounds: NDArray[np.float64]
    error: float
    is_missing: bool = False

    @classmethod
    def missing(cls, job: int, top: int, rows: int, cols: int) -> BandBounds:
        """Return a band that could not be scored."""
        lowest = np.full(grid_shape((rows, cols)), -math.inf)
        return cls(job, top, rows, lowest, 0.0, is_missing=True)

    def box(self, job: Job) -> Region:
        """Return the pixels (x, y, width, height) that the band's windows cover.

        The box may hang over the image's border, as the windows of padded images do.
        """
        problem = job.plan.problem
        height, width = tiles.extent(
            (self.rows, problem.map_shape[1]), problem.match_size, problem.stride
        )
        return job.origin[1], job.origin[0] + self.top * problem.stride[0], width, height


class BandSource(Protocol):
    """Where the bounds of bands come from, if not from this process."""

    def bounds(
        self, jobs: Sequence[Job], parts: Sequence[Sequence[int]]
    ) -> Generator[BandBounds, None, None]:
        """Yield the bounds of all bands of all jobs' maps, in any order, each band once.

        Parameters
        ----------
        jobs : sequence of Job
            Those of the search in this process. `Exhaustive` makes the same jobs, in the same
            order, of the same image, kernels and options in any process; their plans may differ.
        parts : sequence of sequences of int
            The numbers of the jobs that are best scored together.
        """


class _BandGrid:
    """The blocks of a band, which gets the scores of tiles of the whole map."""

    def __init__(self, shape: tuple[int, int], top: int) -> None:
        self.blocks = BlockGrid(shape, keeps_scores=False, keeps_errors=False)
        self._top = top

    def put(self, tile: Tile, bounds: Bounds) -> None:
        self.blocks.put(Tile(tile.top - self._top, tile.left, tile.rows, tile.cols), bounds)


def score(
    jobs: Sequence[Job],
    numbers: Sequence[int],
    top: int,
    rows: int,
    prepared: PreparedKernels,
    opposites: Mapping[int, int] = windows.NONE,
) -> list[BandBounds]:
    """Score a band of the maps of jobs that are searched together.

    Parameters
    ----------
    jobs : sequence of Job
        All jobs of the search.
    numbers : sequence of int
        Which of them to score; their plans have one tile.
    top, rows : int
        The band: its first row, a multiple of `geometry.blocks.BLOCK`, and the number of its rows.
        Maps that are shorter have fewer there, or none.
    prepared : PreparedKernels
        The kernels that stay prepared from band to band.
    opposites : mapping from int to int
        For jobs, by number, the number of another of them that has the same scores with the other
        sign.

    Returns
    -------
    list of BandBounds
        One for each job whose map has rows in the band.
    """
    members = [jobs[i] for i in numbers]
    place_of = {i: place for place, i in enumerate(numbers)}
    shapes = [job.plan.problem.map_shape for job in members]
    heights = [max(0, min(rows, shape[0] - top)) for shape in shapes]
    grids = [
        _BandGrid((height, shape[1]), top) for height, shape in zip(heights, shapes, strict=True)
    ]
    size = max(heights), max(shape[1] for shape in shapes)
    todo = (
        Tile(top + tile.top, tile.left, tile.rows, tile.cols)
        for tile in tiles.split(size, members[0].plan.tile)
    )
    windows.score_all(
        [job.plan for job in members],
        members[0].pixels,
        [job.kernel for job in members],
        grids,
        visible=members[0].visible,
        advance=lambda _tile: None,
        prepared=prepared,
        opposites={place_of[i]: place_of[opposites[i]] for i in numbers if i in opposites},
        todo=todo,
    )
    return [
        BandBounds(i, top, height, grid.blocks.upper_bounds, grid.blocks.error)
        for i, height, grid in zip(numbers, heights, grids, strict=True)
        if height
    ]
