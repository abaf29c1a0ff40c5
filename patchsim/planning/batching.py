"""Which kernels are searched for together: those of about one size, by one plan."""

from __future__ import annotations

import math
import sys
import threading
from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial

from patchsim.engines import Problem
from patchsim.planning import planner
from patchsim.planning.candidates import Candidate
from patchsim.planning.planner import Plan

# More share a tile's transforms for little less time each, and take memory for their own.
_MOST = 32
_STEPS = 4  # in which sides double: those within a step are about the same


# Plans that are kept, for images of one shape and type, and at most so many.
_MOST_KEPT = 256
_SLOW_IMPORTS = ("scipy.fft", "torch")
_kept: dict[Hashable, list[Group]] = {}
_lock = threading.Lock()


@dataclass(frozen=True)
class Group:
    """Kernels whose tiles lie in the same places, in the order of their sizes.

    Attributes
    ----------
    members : tuple of int
        Which of the problems.
    plans : tuple of Plan
        One for each.
    common : Plan
        What they were made from.
    """

    members: tuple[int, ...]
    plans: tuple[Plan, ...]
    common: Plan


def make(
    problems: Sequence[Problem],
    *,
    engine: str,
    device: str,
    memory: int,
    held: int,
    searching: int | None = None,
) -> list[Group]:
    """Plan all problems as `planner.make` plans one; plans for the CPU are kept.

    A plan depends on its arguments and on what is imported by now, which costs time at first use.
    What other devices have free changes, so that their plans are made anew.
    """
    loaded = tuple(name in sys.modules for name in _SLOW_IMPORTS)
    key = tuple(problems), engine, device, memory, held, searching, loaded
    with _lock:
        groups = _kept.get(key)
    if groups is None:
        groups = _make(
            problems, engine=engine, device=device, memory=memory, held=held, searching=searching
        )
        if all(
            candidate.problem.device == "cpu" for g in groups for candidate in g.common.candidates
        ):
            with _lock:
                if len(_kept) >= _MOST_KEPT:
                    _kept.clear()
                _kept[key] = groups
    return list(groups)


def forget() -> None:
    """Forget the plans that are kept."""
    with _lock:
        _kept.clear()


def _make(
    problems: Sequence[Problem],
    *,
    engine: str,
    device: str,
    memory: int,
    held: int,
    searching: int | None,
) -> list[Group]:
    alike = defaultdict(list)
    for number, problem in enumerate(problems):
        alike[_kind(problem)].append(number)
    made = []
    for members in alike.values():
        members.sort(key=lambda number: problems[number].kernel)
        own = [problems[number] for number in members]
        chosen = planner.make(
            _envelope(own),
            engine=engine,
            device=device,
            memory=memory,
            held=held,
            searching=searching,
        )
        chosen = replace(chosen, about=len({problem.kernel for problem in own}) > 1)
        each = cache(partial(_for, chosen))  # many are equal
        # The rest of the memory may not be enough for as many.
        most = chosen.problem.kernel_count
        for first in range(0, len(members), most):
            part = members[first : first + most]
            plans = tuple(each(problems[number]) for number in part)
            made.append(Group(tuple(part), plans, chosen))
    return made


def plans(grouped: Sequence[Group]) -> list[Plan]:
    """Of all groups, in the order of the problems."""
    pairs = [pair for group in grouped for pair in zip(group.members, group.plans, strict=True)]
    return [chosen for _, chosen in sorted(pairs, key=lambda pair: pair[0])]


def _kind(problem: Problem) -> Hashable:
    """Equal for those that one plan will do for."""
    sides = tuple(math.floor(_STEPS * math.log2(side)) for side in problem.kernel[:2])
    alike = replace(
        problem,
        kernel=(0, 0, problem.kernel[2]),
        weight_sum=None,
        full_cells=None,
        min_visible_weight=0,
    )
    # Whether there are weights, and cells where they count, decides which engines there are.
    return sides, alike, problem.weight_sum is None, problem.full_cells == 0


def _envelope(problems: list[Problem]) -> Problem:
    """One that is as much work as any of these: the largest kernel, the largest map."""
    heights, widths, channels = zip(*(problem.kernel for problem in problems), strict=True)
    height, width, _ = problems[0].image
    more = max(heights) - min(heights), max(widths) - min(widths)
    parts = -(-len(problems) // _MOST)
    return replace(
        problems[0],
        image=(height + more[0], width + more[1], channels[0]),
        kernel=(max(heights), max(widths), channels[0]),
        weight_sum=_most([p.weight_sum for p in problems]),
        full_cells=_most([p.full_cells for p in problems]),
        min_visible_weight=max(p.min_visible_weight for p in problems),
        kernel_count=-(-len(problems) // parts),
    )


def _most(counts: Sequence[int | None]) -> int | None:
    return max((count for count in counts if count is not None), default=None)


def _for(common: Plan, problem: Problem) -> Plan:
    """The plan of one of them."""

    def own(candidate: Candidate) -> Candidate:
        sizes = replace(
            candidate.problem,
            image=problem.image,
            kernel=problem.kernel,
            weight_sum=problem.weight_sum,
            full_cells=problem.full_cells,
            min_visible_weight=problem.min_visible_weight,
        )
        return replace(candidate, problem=sizes)

    direct = common.direct
    if direct is not None:
        direct = replace(direct, chosen=own(direct.chosen))
    return replace(common, chosen=own(common.chosen), direct=direct, about=False)
