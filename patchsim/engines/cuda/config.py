"""Configurations of the kernel in `triton_kernel`: what it computes, how it is compiled."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

# Words of a row whose loop the kernel may unroll.
WIDEST = 8
# Rows of such groups that floats are summed over before the sum goes to a float64, and so
# `ROUNDINGS` of a sum: of the difference, in a group, over the rows. Differences of 16 bits, 255
# times 65,793 of them, are exact in float32 that far.
_FLOAT_ROWS = 32
ROUNDINGS = 1 + WIDEST + _FLOAT_ROWS

# Kernel rows stand one below the other so often: `triton_kernel.REPEATS`.
REPEATS = 8

# Windows of a program next to each other, at the most.
_LARGEST = 512


@dataclass(frozen=True)
class Config:
    """Parameters that the kernel is compiled with.

    Attributes
    ----------
    rows, cols : int
        Windows of a program: powers of two, at most 8 rows; columns are a multiple of its threads.
    group : int
        Words of a kernel row whose loop is unrolled, at most 8.
    warps : int
    registers : int or None
        The most registers of a thread; None leaves the choice to the compiler.
    """

    rows: int
    cols: int
    group: int
    warps: int
    registers: int | None = None

    def fitted(self, cols: int) -> Config:
        """Return the configuration narrowed to a map of `cols` columns."""
        narrowed = self
        while narrowed.cols > 32 and narrowed.cols // 2 >= cols:
            half = narrowed.cols // 2
            narrowed = replace(narrowed, cols=half, warps=min(narrowed.warps, half // 32))
        return narrowed


def options(config: Config) -> dict[str, Any]:
    """Return the options that Triton compiles with."""
    arguments: dict[str, Any] = {
        "num_warps": config.warps,
        "num_stages": 1,  # loads are from the cache, without copies in shared memory
        "enable_fp_fusion": False,  # what is fused says so
    }
    return arguments if config.registers is None else {**arguments, "maxnreg": config.registers}


@dataclass(frozen=True)
class Kind:
    """The kind of sums that the kernel computes; each kind has code of its own.

    Attributes
    ----------
    word : str
        uint32, four bytes; float32 or float64.
    squared : bool
        Differences are squared, not absolute.
    max_weight : int
        The largest weight, 0 without weights.
    """

    word: str
    squared: bool
    max_weight: int

    @property
    def has_shades(self) -> bool:
        return self.max_weight > 1

    @property
    def most(self) -> int:
        """The number of rows of `WIDEST` words that may be summed in a word."""
        if self.word != "uint32":
            return _FLOAT_ROWS
        word = 4 * (255 * 255 if self.squared else 255) * max(1, self.max_weight)
        return (2**32 - 1) // (word * WIDEST)

    def configs(self, height: int) -> list[Config]:
        """Return the configurations that may be the fastest for kernels of that height."""
        if self.word == "uint32" and self.squared and self.has_shades:
            configs = [Config(4, 128, 1, 8)]
        elif self.word == "uint32" and self.has_shades:
            # With eight rows Triton 3.7, which torch 2.13 asks for, spills a register on sm_90.
            configs = [Config(4, 256, 4, 4), Config(8, 256, 4, 4)]
        elif self.word == "uint32" and self.max_weight:
            configs = [Config(8, 256, 4, 4), Config(4, 256, 4, 4)]
        elif self.max_weight or self.word == "float64":
            configs = [Config(8, 256, 4, 2, 200), Config(4, 256, 4, 2)]
        else:
            configs = [Config(8, 512, 8, 2), Config(8, 256, 8, 1), Config(4, 512, 8, 2)]
        # Rows of pixels are height + rows - 1 to a program, each compared with all its rows.
        low = Config(1, 512, 4, 4)
        return [low] if height == 1 else [*configs, low] if height < REPEATS else configs


def block_cols(cols: int) -> int:
    """Return the windows in a row of the widest block, for maps of `cols` columns."""
    return Config(REPEATS, _LARGEST, 1, 1).fitted(cols).cols


def block_cells(rows: int, cols: int) -> int:
    """Return the windows of a map of that shape, rounded up to whole blocks of the largest size."""
    across = block_cols(cols)
    return -(-rows // REPEATS) * REPEATS * -(-cols // across) * across
