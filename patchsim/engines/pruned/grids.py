"""Grids of cells in a window, and how the sums over them are kept in 16 bits."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from patchsim.engines.problem import Problem
from patchsim.engines.pruned.cells import Cells

Boxes = NDArray[np.uint16]  # sums over the boxes of cells, shifted to fit 16 bits

LARGEST = 65534  # the largest bound, in units

# Mean differences a value from here on are as good as any; less leaves more digits.
_FAR = 64
_MOST_DOUBLINGS = 8


def far(problem: Problem, cells: Cells) -> float:
    """Return a difference over these cells that is as good as any larger one."""
    return float(cells.area * problem.kernel[2] * cells.weight * _FAR ** _power(problem))


def _power(problem: Problem) -> int:
    return 2 if problem.metric == "ssd" else 1


class Grid(NamedTuple):
    """Cells in a window, and how their sums are kept.

    Attributes
    ----------
    cells : Cells
    planes : int
        1 if the channels are summed together, else their number.
    up, down : int
        Boxes are (sum << up) >> down.
    doublings : int
        So often the difference of two boxes is doubled before it is squared.
    unit : float
        A bound of 1 is a difference of so much.
    stride : (y, x)
    """

    cells: Cells
    planes: int
    up: int
    down: int
    doublings: int
    unit: float
    stride: tuple[int, int]

    @classmethod
    def of(cls, problem: Problem, cells: Cells, most: float, *, apart: bool) -> Grid:
        """Return the grid with the most digits whose bounds reach a difference `most`.

        `take_level` in `_pruned_narrow.h` keeps sums of `sad` in the same way.
        """
        channels, power = problem.kernel[2], _power(problem)
        planes = channels if apart else 1
        values = cells.height * cells.width * (channels // planes)
        least_unit = min(most, far(problem, cells)) / cells.weight / LARGEST
        up = down = doublings = 0
        while values * 255 >> down > 65535:
            down += 1
        if power == 1:
            while 2**down < least_unit:
                down += 1
            unit = 2.0**down
        else:
            while values * 255 << (up + 1) <= 65535:
                up += 1

            def unit_of(shift: int) -> float:
                return 4.0**shift * 65536 / values

            while unit_of(down - up) < least_unit:
                up, down = (up - 1, down) if up else (up, down + 1)
            while doublings < _MOST_DOUBLINGS and unit_of(down - up - doublings - 1) >= least_unit:
                doublings += 1
            unit = unit_of(down - up - doublings)
        return cls(
            cells=cells,
            planes=planes,
            up=up,
            down=down,
            doublings=doublings,
            unit=unit * cells.weight,
            stride=problem.stride,
        )

    def pitches(self, width: int) -> tuple[int, int]:
        """Return the boxes from row to row, and from phase to phase, in a picture of this width."""
        phase = -(-width // self.stride[1])
        return phase * self.stride[1], phase

    def offsets(self, height: int, width: int) -> NDArray[np.int64]:
        """Return the offsets of the cells' boxes in a picture of this size."""
        row, phase = self.pitches(width)
        lines = height - self.cells.height + 1
        y, x = self.cells.places.T
        across = x % self.stride[1] * phase + x // self.stride[1]
        planes = np.arange(self.planes) * lines * row
        offsets: NDArray[np.int64] = (planes[:, None] + y * row + across).ravel()
        return offsets

    def sums(self, kernel: NDArray[np.uint32]) -> tuple[Boxes, Boxes]:
        """Return the boxes of the kernel, from its `cells.integral`, rounded down and up.

        They come in the order of `offsets`. A box of the image that lies below the first, or above
        the second, does so by as much as they say at least, although it was rounded down itself.
        """
        sums = self.cells.sums(kernel).reshape(len(self.cells.places), self.planes, -1)
        exact = sums.sum(2, dtype=np.int64).T.ravel() << self.up
        below = np.maximum((exact >> self.down) - (self.down > 0), 0)
        above = np.minimum(-(-exact >> self.down), 65535)  # as no box is above that
        return below.astype(np.uint16), above.astype(np.uint16)
