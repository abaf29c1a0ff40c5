"""Estimates the share of blocks that scores within a tolerance leave open, from some windows.

Blocks whose windows score alike, within the error, are scored again exactly to rank them. Of noise
and of flat images that is every block: the exact map alone takes less then, and the plan must know.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from patchsim.engines import Problem
from patchsim.engines.common import sad_terms
from patchsim.engines.common.sad_terms import Fitting
from patchsim.metrics import Kernel
from patchsim.options import Options
from patchsim.planning import candidates
from patchsim.scene.build import Scene

if TYPE_CHECKING:
    from patchsim.search.memory_plan import Planned, Room
    from patchsim.search.window_sample import Sample

# A block is open if one of its windows scores within two errors of the best ones. Few of its
# windows are looked at, and the best ones of the image are not: with so many windows a side and so
# many errors the estimate is near what was open in photographs and in noise.
_A_SIDE = 2
_ERRORS = 1.5
# Similar images have one plan. The least share is that of a sample of which next to none is open.
_STEPS, _LEAST = 8, 1 / 32


def fitting(kernels: Sequence[Kernel], *, is_repeated: bool) -> Fitting:
    """Return when the products of kernels are fitted to them."""
    if len(kernels) > 1:
        return "never"
    return "always" if is_repeated else "worthwhile"


def chosen_anew(
    planned: Planned, room: Room, described: Callable[..., list[Problem]], fitting: Fitting
) -> Planned:
    """Return the plans of a search of an image in memory, once more is known of it if that matters.

    Ranking only adds to the time of an engine whose scores have errors, and so do products. Where
    another one is faster without them, it stays so.

    Parameters
    ----------
    planned : Planned
        The plans without ranking, and with fewest products.
    room : Room
    described : (counting) -> list of Problem
        The searches for the kernels, with products so counted.
    fitting : Fitting
        When products are fitted to kernels.
    """
    if not _has_errors(planned):
        return planned
    problems = _with_shares(room.scene, room.kernels, room.options, described(counting="expected"))
    planned = room.planned_anew(problems)
    if not _has_errors(planned):
        return planned
    pairs = zip(problems, room.kernels, strict=True)
    return room.planned_anew([sad_terms.counted(*pair, "exact", fitting) for pair in pairs])


def _has_errors(planned: Planned) -> bool:
    """Return whether an engine was chosen whose scores have errors within the tolerance."""
    return any(candidates.has_tolerated_errors(group.common.chosen) for group in planned.groups)


def _with_shares(
    scene: Scene, kernels: Sequence[Kernel], options: Options, problems: list[Problem]
) -> list[Problem]:
    """Return the problems of kernels with the shares of their blocks that are to be ranked."""
    from patchsim.search import window_sample  # as below, where it is to be chosen anew

    if not window_sample.is_possible(scene):
        return problems
    pairs = zip(kernels, problems, strict=True)
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
    error = sad_terms.residual(kernel, problem) / (problem.total_weight * problem.data_range)
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
