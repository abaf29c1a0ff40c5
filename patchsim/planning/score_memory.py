"""How the scores of all kernels are kept in the memory that there is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from patchsim.engines import Problem
from patchsim.geometry.blocks import BLOCK
from patchsim.planning import planner

# What an open block takes: scores in float64, whether they are settled, and the rest.
OPEN_BYTES = BLOCK * BLOCK * (8 + 1) + 4096
# And any block: the best score, and its place among the others.
_BLOCK_BYTES = 256

# Whole fields of several kernels take no more than this: what is written once and hardly read
# again costs more time than to score a few blocks again.
_WHOLE_FIELDS = 1 << 28


@dataclass(frozen=True)
class Budget:
    """Bytes for the scores of all kernels.

    Attributes
    ----------
    resident : int
        For score maps, or for the maxima of blocks and the cache of open blocks; and for maps.
    resident_without_map : int
        The same with an engine that draws no map.
    cache : int or None
        The part of it for the cache of open blocks; None where score maps fit.
    """

    resident: int
    resident_without_map: int
    cache: int | None


def budget_of(problems: Sequence[Problem], memory: int, *, kept: bool) -> Budget:
    """How scores are kept, in this memory, of which tiles take some; with maps if `kept`.

    Without memory: in the least that is possible.
    """
    cells = [math.prod(problem.map_shape) for problem in problems]
    whole = sum(planner.map_bytes(problem, kept=kept) for problem in problems)
    most = min(memory // 2, _WHOLE_FIELDS) if len(problems) > 1 else memory // 2
    maps = 4 * sum(cells) if kept else 0
    blocks = sum(_block_count(problem) for problem in problems)
    shelf = min(blocks * OPEN_BYTES, max(2 * OPEN_BYTES, (memory - maps) // 4))
    sketches = maps + blocks * _BLOCK_BYTES + shelf
    if whole <= max(most, sketches):
        return Budget(whole, whole, None)
    return Budget(sketches, whole, shelf)


def _block_count(problem: Problem) -> int:
    return math.prod(-(-length // BLOCK) for length in problem.map_shape)
