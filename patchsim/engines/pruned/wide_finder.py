"""The best window of a small picture of 16 bits or floats by `sad`, from its 8-bit copy."""

from __future__ import annotations

import math

import numpy as np

from patchsim.engines.problem import Problem
from patchsim.engines.pruned import byte_copy
from patchsim.engines.pruned.best_finder import BestFinder
from patchsim.engines.pruned.wide_search import WideSearch
from patchsim.geometry.tiles import Tile
from patchsim.types import Pixels

_LISTED_BYTES = 28  # of a window in lists of places, differences, their order and sums


class WideFinder:
    """Finds the best window of one kernel in pictures of one shape, of 16 bits or floats.

    Their copies have the range of values of the first picture. Others are found all the same, but
    values beyond that range tell no windows apart before these are compared.

    Parameters
    ----------
    kernel : uint16, float32 or float64 array [h, w, C]
    problem : Problem
        One that `best_finder.can_find` takes.
    seconds : float
        As for `BestFinder`.
    image : array [H, W, C]
        The first picture.

    Attributes
    ----------
    working_bytes : int
        The memory that a search takes.
    """

    def __init__(self, kernel: Pixels, problem: Problem, seconds: float, image: Pixels) -> None:
        kernel = np.ascontiguousarray(kernel)
        search = WideSearch(image, kernel, problem)
        copied = search.copied
        taps, self._off = byte_copy.of_kernel(
            kernel, None, copied._replace(rounding=0.0), squares=False
        )
        # Later pictures take the range alone: the first one is freed.
        self._copy = copied._replace(pixels=np.empty((0, 0, 1), np.uint8))
        self._taps = kernel.size
        self._windows = Tile(0, 0, *problem.map_shape)
        self._search = search.on(image[:0], self._copy, 0.0)
        bytes_alike = problem._replace(dtype="uint8", data_range=255.0)
        # Windows that bounds leave are compared as bytes first, then as values.
        self._finder = BestFinder(taps, bytes_alike, seconds, 1 + self._search.rows_for_one)
        self.working_bytes = (
            self._finder.working_bytes
            + math.prod(problem.image)
            + _LISTED_BYTES * self._windows.cells
        )

    def __call__(self, pixels: Pixels) -> tuple[int, int, float] | None:
        """Return y, x and score of the best window of a picture.

        None if comparing its windows would take too long, or the pixels do not lie row by row.
        """
        if not pixels.flags.c_contiguous:
            return None
        copied = byte_copy.again(pixels, self._copy)
        off = (copied.rounding * self._taps + self._off) * (1 + 1e-9)
        # The bytes of a window as good as the best one are expected to differ by so much more than
        # its bytes at most. `look` settles it, as values that are clipped may differ by more.
        narrowed = self._finder.narrowed(copied.pixels, math.ceil(2 * off))
        if narrowed is None:
            return None
        search, windows = self._search.on(pixels, copied, off), self._windows
        look = search.look(windows, narrowed[0], windows, -math.inf, self._finder.most)
        return (look.row, look.col, look.score) if look.done and look.row >= 0 else None
