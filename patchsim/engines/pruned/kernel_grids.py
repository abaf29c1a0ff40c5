"""The grids of cells whose sums bound the differences of one kernel, and the kernel's own sums."""

from __future__ import annotations

from patchsim.engines.problem import Problem
from patchsim.engines.pruned import cells
from patchsim.engines.pruned.cells import Cells
from patchsim.engines.pruned.grids import Boxes, Grid, far
from patchsim.types import Pixels, Weights

_SMALLEST_SIDE = 4  # pixels of a cell of the finest grid


class KernelGrids:
    """The grids of one kernel: a coarse one for all windows, and finer ones for some.

    Parameters
    ----------
    problem : Problem
    kernel : uint8 array [h, w, C]
    weights : uint8 array [h, w] or [h, w, C], or None
    """

    def __init__(self, problem: Problem, kernel: Pixels, weights: Weights | None) -> None:
        self._problem, self._kernel, self._weights = problem, kernel, weights
        self._cells_of: dict[int, Cells] = {}  # by their number along a side
        self._sums_of: dict[Grid, tuple[Boxes, Boxes]] = {}
        self._targets = _finer_targets(problem)
        coarse = self._cells(cells.COARSE)
        self.coarse = Grid.of(problem, coarse, far(problem, coarse), apart=False)

    @property
    def levels(self) -> int:
        """The number of finer grids."""
        return len(self._targets)

    def cells(self, level: int) -> Cells:
        """Return the cells of a finer grid."""
        return self._cells(self._targets[level])

    def finer(self, level: int, limit: int) -> Grid:
        """Return a finer grid for windows that could differ by at most a limit."""
        return Grid.of(self._problem, self.cells(level), 1.05 * limit, apart=True)

    def _cells(self, target: int) -> Cells:
        if target not in self._cells_of:
            self._cells_of[target] = (
                cells.lattice(*self._problem.kernel[:2], target)
                if self._weights is None
                else cells.inside(self._weights, target)
            )
        return self._cells_of[target]

    def sums(self, grid: Grid) -> tuple[Boxes, Boxes]:
        """Return the sums of the kernel in the cells of a grid, for bounds below and above."""
        if grid not in self._sums_of:
            self._sums_of[grid] = grid.sums(cells.integral(self._kernel))
        return self._sums_of[grid]


def _finer_targets(problem: Problem) -> tuple[int, ...]:
    """Return the cells along a side of the finer grids, whose channels are apart."""
    targets = [cells.FINE]
    if problem.kernel[2] > 1:
        targets.insert(0, cells.COARSE)
    if min(problem.kernel[:2]) >= cells.FINEST * _SMALLEST_SIDE:
        targets.append(cells.FINEST)
    return tuple(targets)
