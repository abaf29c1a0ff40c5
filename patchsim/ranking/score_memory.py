"""How the scores of all kernels are kept in the memory that there is.

The classes that allocate the memory estimate it; this module chooses between them.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from patchsim.engines import Problem, pruned
from patchsim.planning import batching
from patchsim.ranking.block_cache import BlockCache
from patchsim.ranking.score_map import ScoreMap

# The largest score maps of several kernels together. Larger ones take longer to write, and are
# hardly read again, than it takes to score a few blocks again.
_LARGEST_SCORE_MAPS = 1 << 28
# The most that the scores of an image that is read by windows take, whether all are kept or those
# of open blocks. A share of the memory would let it grow with the image's height.
_LARGEST_BY_WINDOWS = 1 << 26


class Budget(NamedTuple):
    """Bytes for the scores of all kernels.

    Attributes
    ----------
    resident : int
        For score maps, or for the maxima of blocks and the cache of open blocks; and for maps.
    resident_without_map : int
        These bytes with an engine that draws no map.
    cache : int or None
        The part of both for the cache of open blocks; None where score maps fit.
    """

    resident: int
    resident_without_map: int
    cache: int | None


def budget_of(
    problems: Sequence[Problem],
    memory: int,
    *,
    kept: bool,
    by_blocks: bool = False,
    by_windows: bool = False,
) -> Budget:
    """Choose how scores are kept within a memory, of which tiles take a part.

    Parameters
    ----------
    problems : sequence of Problem
    memory : int
        Bytes; with 0 the scores get as few as possible.
    kept : bool
        Whether maps of all scores are kept, too.
    by_blocks : bool
        Of each block its highest possible score alone is kept, even where all scores would fit, as
        where scores are made elsewhere.
    by_windows : bool
        The image is read by windows, so that scores take a fixed part of the memory at most.
    """
    shapes = [problem.map_shape for problem in problems]
    score_maps = sum(ScoreMap.estimate_bytes(shape, keeps_map=kept) for shape in shapes)
    most = min(memory // 2, _LARGEST_SCORE_MAPS) if len(problems) > 1 else memory // 2
    if by_windows and not kept:
        most = min(most, _LARGEST_BY_WINDOWS)
    if score_maps <= most and not by_blocks:
        return Budget(score_maps, _without_map(problems), None)
    from patchsim.ranking.block_maxima import BlockMaxima  # where the memory is short

    maps = sum(4 * math.prod(shape) for shape in shapes) if kept else 0
    maxima = sum(BlockMaxima.estimate_bytes(shape, keeps_map=kept) for shape in shapes)
    blocks = sum(BlockMaxima.count_blocks(shape) for shape in shapes)
    share = (memory - maps) // 4
    if by_windows:
        share = min(share, _LARGEST_BY_WINDOWS)
    cache = min(BlockCache.estimate_bytes(blocks), max(BlockCache.estimate_bytes(2), share))
    if score_maps <= maxima + cache and not by_blocks:
        return Budget(score_maps, _without_map(problems), None)
    return Budget(maxima + cache, _without_map(problems, cache), cache)


def _without_map(problems: Sequence[Problem], cache: int | None = None) -> int:
    """Return the bytes of scores with an engine that draws no map; 0 where a map is wanted.

    `cache`: those of the cache of open blocks, where memory is short.
    """
    if any(problem.map_wanted for problem in problems):
        return 0
    from patchsim.ranking.pruned_windows import PrunedWindows  # as its engine is

    is_short = cache is not None
    bounds = sum(
        PrunedWindows.estimate_bytes(problem.map_shape, is_short=is_short) for problem in problems
    )
    return bounds + _copied(problems) + (cache or 0)


def _copied(problems: Sequence[Problem]) -> int:
    """Return the bytes of the 8-bit copies that searches without a map hold: one for each group."""
    if len(problems) == 1:  # its kind does not matter, and takes long to tell in a small search
        return pruned.held_bytes(problems[0])
    held = defaultdict(list)
    for problem in problems:
        if copy := pruned.held_bytes(problem):
            held[batching.kind(problem)].append(copy)
    return sum(max(copies) * -(-len(copies) // batching.MOST) for copies in held.values())


def largest_bytes(problem: Problem) -> int:
    """Return the bytes of one kernel's scores with the engine that needs most."""
    from patchsim.ranking.pruned_windows import PrunedWindows

    shape = problem.map_shape
    copied = pruned.held_bytes(problem)
    return max(ScoreMap.estimate_bytes(shape), PrunedWindows.estimate_bytes(shape) + copied)
