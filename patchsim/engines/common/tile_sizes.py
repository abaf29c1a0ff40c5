"""The sizes of a tile's arrays, of which the modules beside it estimate memory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from patchsim.engines.problem import Problem
from patchsim.geometry import tiles
from patchsim.geometry.blocks import BLOCK
from patchsim.numerics.overlap_save import KEPT_SPECTRA, spectrum_bytes, transform_length


@dataclass(frozen=True, eq=False, repr=False)
class TileSizes:
    """A tile of rows x cols windows, the largest of a map."""

    problem: Problem
    rows: int
    cols: int

    @cached_property
    def extent(self) -> tuple[int, int]:
        return self._extent(self.rows, self.cols)

    @property
    def pixels(self) -> int:
        return self.extent[0] * self.extent[1]

    @property
    def uploaded(self) -> int:
        """Return the bytes of the tile's pixels on a device, as they are; on the CPU 0."""
        if self.problem.device == "cpu":
            return 0
        return self.pixels * self.problem.kernel[2] * np.dtype(self.problem.dtype).itemsize

    @property
    def windows(self) -> int:
        return self.rows * self.cols

    @property
    def is_whole_map(self) -> bool:
        """True if there is no other tile."""
        return (self.rows, self.cols) == self.problem.map_shape

    @cached_property
    def transform(self) -> tuple[int, int]:
        """The size of the tile's transforms."""
        return transform_length(self.extent[0]), transform_length(self.extent[1])

    def plane(self, itemsize: int) -> int:
        """Return the bytes of a plane as large as a transform."""
        return itemsize * self.transform[0] * self.transform[1]

    def spectrum(self, itemsize: int) -> int:
        """Return the bytes of a plane's spectrum."""
        return spectrum_bytes(self.transform, itemsize)

    def kernel_spectra(self, *itemsizes: int) -> int:
        """Return the bytes of a kernel plane's spectra, for values of these sizes.

        Kernels that share tiles have transforms of one size.
        """
        if self.problem.kernel_count > 1:
            return self._kept(self.spectrum(size) for size in itemsizes)
        return self.spectra(*itemsizes)

    def spectra(self, *itemsizes: int) -> int:
        """Return the bytes of a plane's spectra of tiles, which are smaller at the map's edges."""
        map_rows, map_cols = self.problem.map_shape
        if self.problem.exact and max(self.rows, self.cols) > BLOCK:
            sizes = [self.transform] * KEPT_SPECTRA  # some blocks of a map, of many sizes
        else:
            sizes = list({
                (transform_length(height), transform_length(width))
                for rows in (self.rows, map_rows % self.rows or self.rows)
                for cols in (self.cols, map_cols % self.cols or self.cols)
                for height, width in [self._extent(rows, cols)]
            })  # fmt: skip
        return self._kept(
            spectrum_bytes(size, itemsize) for size in sizes for itemsize in itemsizes
        )

    def _extent(self, rows: int, cols: int) -> tuple[int, int]:
        return tiles.extent((rows, cols), self.problem.kernel[:2], self.problem.stride)

    def _kept(self, spectra: Iterable[int]) -> int:
        most = KEPT_SPECTRA if self.problem.device == "cpu" else None
        return sum(sorted(spectra, reverse=True)[:most])
