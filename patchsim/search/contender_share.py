"""Estimates the share of blocks that scores within a tolerance leave open, from some windows.

Blocks whose windows score alike, within the error, are scored again exactly to rank them. Of noise
and of flat images that is every block: the exact map alone takes less then, and the plan must know.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from patchsim.engines import Problem
from patchsim.engines.common import lowrank
from patchsim.metrics import Kernel
from patchsim.options import Options
from patchsim.planning import candidates
from patchsim.planning.batching import Group
from patchsim.scene.build import Scene

if TYPE_CHECKING:
    from patchsim.search.window_sample import Sample

# A block is open if one of its windows scores within two errors of the best ones. Few of its
# windows are looked at, and the best ones of the image are not: with so many windows a side and so
# many errors the estimate is near what was open in photographs and in noise.
_A_SIDE = 2
_ERRORS = 1.5
# Similar images have one plan. The least share is that of a sample of which next to none is open.
_STEPS, _LEAST = 8, 1 / 32


def is_needed(groups: Sequence[Group]) -> bool:
    """Return whether to choose anew: the scores of an engine that was chosen have errors.

    Ranking only adds to its time. Where another one is faster without it, it stays so.
    """
    return any(candidates.has_tolerated_errors(group.common.chosen) for group in groups)


def with_shares(
    scene: Scene,
    kernels: Sequence[Kernel],
    options: Options,
    problems: Callable[[], list[Problem]],
) -> list[Problem]:
    """Return the problems of kernels with the shares of their blocks that are to be ranked."""
    from patchsim.search import window_sample  # as below, where it is to be chosen anew

    if not window_sample.is_possible(scene):
        return problems()
    pairs = zip(kernels, problems(), strict=True)
    return [one._replace(open_share=_share(scene, kernel, one, options)) for kernel, one in pairs]


def _share(scene: Scene, kernel: Kernel, problem: Problem, options: Options) -> float:
    """Estimate the share of a kernel's blocks, in eighths, or less; 0 if it is not known."""
    if problem.products is None:
        return 0.0
    from patchsim.search import window_sample

    sample = window_sample.of(scene, kernel, problem.metric, a_side=_A_SIDE)
    if sample is None:
        return 0.0
    # The best one may overlap a match, which needs no ranking; the next matches lie beside it.
    places = (options.top or 1) + options.is_margin_wanted(keeps_map=True)
    level = _score_of_place(max(2, places), sample, problem.kernel)
    values = lowrank.range_of(kernel, problem)
    error = lowrank.residual(kernel, values) / (problem.total_weight * problem.data_range)
    is_open = (sample.scores >= level - _ERRORS * error).reshape(-1, _A_SIDE**2).any(axis=1)
    blocks = float(is_open.mean())
    if options.top == 1 and not options.is_margin_wanted(keeps_map=True):
        blocks /= 2  # the kernel may be there: then its window is the only open one
    return max(_LEAST, round(_STEPS * blocks) / _STEPS)


def _score_of_place(number: int, sample: Sample, kernel: tuple[int, int, int]) -> float:
    """Return the score of a window of the sample, the best beside the better ones, by its number.

    It is that of the last one if there are fewer that lie apart.
    """
    scores, level = sample.scores.copy(), -math.inf
    for _ in range(number):
        best = int(scores.argmax())
        if scores[best] == -math.inf:
            break
        level = float(scores[best])
        is_over = (abs(sample.y - sample.y[best]) <= kernel[0] // 2) & (
            abs(sample.x - sample.x[best]) <= kernel[1] // 2
        )
        scores[is_over] = -math.inf
    return level
