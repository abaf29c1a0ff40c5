"""The best window of a small picture by `sad`, in two calls of the extension."""

from __future__ import annotations

import math

import numpy as np

from patchsim.engines.contract import LowerBounds
from patchsim.engines.problem import Problem
from patchsim.engines.pruned import byte_copy, byte_search, cells, compiled
from patchsim.engines.pruned.cells import Cells
from patchsim.engines.pruned.score_scale import ScoreScale
from patchsim.types import Pixels

_MOST_VALUES = 1 << 20  # of a picture; the bounds of larger ones are made tile by tile
_TARGETS = (cells.FINE, cells.FINEST, 2 * cells.FINEST, 4 * cells.FINEST)
_LEAST_SIDE = 4  # pixels of a finer cell
_SHARE = 0.6  # of the time of other ways that comparing windows may take
_LEAST_SECONDS = 2e-5  # that it may take anyway
_COMPARED = 0.5  # the share of an open window's rows that are compared, about


def _of_lattice(lattice: Cells) -> tuple[int, int, int, int]:
    """Return height and width of the cells, and how many lie down and across."""
    across = int(np.count_nonzero(lattice.places[:, 0] == 0))
    return lattice.height, lattice.width, len(lattice.places) // across, across


def _costs(lattice: Cells, problem: Problem, group: int) -> tuple[float, float]:
    """Return the seconds of a lattice's boxes in a picture, and of the bounds of a group."""
    count = len(lattice.places) * problem.kernel[2]
    return (
        math.prod(problem.image) * byte_search.BOX_SECONDS,
        group * (count * byte_search.CELL_SECONDS + byte_search.OPEN_SECONDS),
    )


def can_find(problem: Problem) -> bool:
    """Return whether `BestFinder` takes a problem that the engine does not refuse."""
    return (
        problem.metric == "sad"
        and problem.dtype in ("uint8", *byte_copy.TYPES)
        and problem.weight_sum is None
        and problem.stride == (1, 1)
        and math.prod(problem.image) <= _MOST_VALUES
    )


class BestFinder:
    """Finds the best window of one kernel in pictures of one shape.

    Parameters
    ----------
    kernel : uint8 array [h, w, C]
    problem : Problem
        One of bytes that `can_find` takes.
    seconds : float
        What another way takes; comparing windows one by one may take a part of it.
    rows_for_one : float
        Comparing a row of a window takes as long as so many rows of bytes.

    Attributes
    ----------
    working_bytes : int
        The memory that a search takes.
    most : int
        So many rows of windows may be compared.
    """

    def __init__(
        self, kernel: Pixels, problem: Problem, seconds: float, rows_for_one: float = 1.0
    ) -> None:
        extension = compiled.extension()
        assert extension is not None, "refuse says so"
        self._extension = extension
        kernel = np.ascontiguousarray(kernel)
        height, width, channels = kernel.shape
        self._problem, self._scale = problem, ScoreScale(problem)
        row_seconds = byte_search.seconds_of_row(problem, None) * rows_for_one
        self.most = int(
            min(max(_SHARE * seconds, _LEAST_SECONDS) / (row_seconds * _COMPARED), 2.0**40)
        )
        lattices = [cells.lattice(height, width, cells.COARSE)]
        targets = (cells.COARSE, *_TARGETS) if channels > 1 else _TARGETS
        lattices += [
            cells.lattice(height, width, target)
            for target in targets
            if target == cells.COARSE or min(height, width) >= target * _LEAST_SIDE
        ]
        self.working_bytes = (
            2 * (math.prod(problem.image) + math.prod(problem.map_shape))  # boxes and bounds
            + 16 * problem.image[1] * (channels + 1)
        )
        above = cells.integral(kernel)
        self._windows = compiled.of_windows(kernel, problem, None) | {
            "step_x": channels,
            "rows": problem.map_shape[0],
            "cols": problem.map_shape[1],
            "bounds_pitch": problem.map_shape[1],
            "most": self.most,
        }
        self._narrow = {
            "channels": channels,
            "width": problem.image[1],
            "rows": problem.map_shape[0],
            "kernel": kernel,
            "kernel_height": height,
            "kernel_width": width,
            "levels": np.array([_of_lattice(one) for one in lattices], np.int64),
            "sums": np.concatenate([one.sums(above) for one in lattices]),
            "costs": np.array([_costs(one, problem, extension.GROUP) for one in lattices])
            / row_seconds,
            "most": int(self.most * _COMPARED),
            "variant": compiled.variant(),
        }

    def __call__(self, pixels: Pixels) -> tuple[int, int, float] | None:
        """Return y, x and score of the best window of a picture.

        None if comparing its windows would take too long, or the pixels do not lie row by row.
        """
        if not pixels.flags.c_contiguous or (narrowed := self.narrowed(pixels, 0)) is None:
            return None
        bounds, limit, unit = narrowed
        difference, row, col, _, _, done = self._extension.look(
            image=pixels,
            pitch=pixels.strides[0],
            bounds=bounds,
            scale=(1 - 1e-12) / unit,
            limit=limit,
            **self._windows,
        )
        return (row, col, self._scale.score(difference)) if done else None

    def narrowed(self, pixels: Pixels, slack: int) -> tuple[LowerBounds, int, float] | None:
        """Return lower bounds of all windows, the least difference found, and the bounds' unit.

        They are as fine as pays to find the windows that differ by so much more at most; None if
        comparing these would take too long. The pixels lie row by row.
        """
        bounds: LowerBounds = np.empty(self._problem.map_shape, np.uint16)
        limit, unit, left, _ = self._extension.narrow(
            image=pixels, pitch=pixels.strides[0], bounds=bounds, slack=slack, **self._narrow
        )
        if left * self._problem.kernel[0] > self.most:
            return None
        return bounds, limit, unit
