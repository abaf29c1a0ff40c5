"""Kernels of about one size are searched for together, by one plan."""

from __future__ import annotations

import math
import sys
import threading
from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import NamedTuple

from patchsim.engines import Problem
from patchsim.planning import planner
from patchsim.planning.candidates import Candidate
from patchsim.planning.planner import Plan

# The largest number of kernels together: more would hardly save time by sharing the transforms of a
# tile, and would take memory for their own.
MOST = 32
_STEPS = 4  # sides double in so many steps; kernels of the same step are of about one size

# The largest number of calls whose groups are kept, and of plans in the groups of all these calls,
# each of about a kilobyte. The last call's groups are kept, however many plans they have.
_MOST_KEPT, _MOST_PLANS = 256, 4096
_SLOW_IMPORTS = ("scipy.fft", "torch")
_kept: dict[Hashable, list[Group]] = {}  # the least recently used first
_lock = threading.Lock()


class Group(NamedTuple):
    """Kernels with the same tiles, in the order of their sizes.

    Attributes
    ----------
    members : tuple of int
        The indices of their problems.
    plans : tuple of Plan
        One for each member.
    common : Plan
        The plan for the envelope of the members, from which theirs were made.
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
    resident: int,
    resident_without_map: int | None = None,
) -> list[Group]:
    """Plan all problems as `planner.make` plans one; plans for the CPU are kept.

    A plan depends on its arguments and on which slow modules are imported by now. The free memory
    of other devices changes, so that plans for them are made anew.
    """
    loaded = tuple(name in sys.modules for name in _SLOW_IMPORTS)
    key = tuple(problems), engine, device, memory, resident, resident_without_map, loaded
    groups = _taken(key)
    if groups is None:
        groups = _make(
            problems,
            engine=engine,
            device=device,
            memory=memory,
            resident=resident,
            resident_without_map=resident_without_map,
        )
        if all(
            candidate.problem.device == "cpu" for g in groups for candidate in g.common.candidates
        ):
            _keep(key, groups)
    return list(groups)


def _taken(key: Hashable) -> list[Group] | None:
    """Return the groups that are kept for a key, which are now the most recently used."""
    with _lock:
        groups = _kept.pop(key, None)
        if groups is not None:
            _kept[key] = groups
    return groups


def _keep(key: Hashable, groups: list[Group]) -> None:
    """Keep groups, and forget those least recently used where there are too many."""
    with _lock:
        _kept[key] = groups
        plan_counts = [sum(len(group.plans) for group in kept) for kept in _kept.values()]
        total = sum(plan_counts)
        for oldest, count in list(zip(_kept, plan_counts, strict=True))[:-1]:
            if len(_kept) <= _MOST_KEPT and total <= _MOST_PLANS:
                break
            del _kept[oldest]
            total -= count


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
    resident: int,
    resident_without_map: int | None,
) -> list[Group]:
    by_kind = defaultdict(list)
    for number, problem in enumerate(problems):
        by_kind[kind(problem)].append(number)
    groups = []
    for members in by_kind.values():
        members.sort(key=lambda number: problems[number].kernel)
        of_kind = [problems[number] for number in members]
        common = planner.make(
            _envelope(of_kind),
            engine=engine,
            device=device,
            memory=memory,
            resident=resident,
            resident_without_map=resident_without_map,
            kernel_total=len(problems),
        )
        common = replace(common, is_envelope=len({problem.kernel for problem in of_kind}) > 1)
        plan_of = cache(partial(_plan_of_member, common))  # many problems are equal
        size = common.problem.kernel_count  # fewer than asked for, where memory does not suffice
        for first in range(0, len(members), size):
            group = members[first : first + size]
            plans = tuple(plan_of(problems[number]) for number in group)
            groups.append(Group(tuple(group), plans, common))
    return groups


def plans(groups: Sequence[Group]) -> list[Plan]:
    """Return the plans of all groups, in the order of the problems."""
    pairs = [pair for group in groups for pair in zip(group.members, group.plans, strict=True)]
    return [plan for _, plan in sorted(pairs, key=lambda pair: pair[0])]


def kind(problem: Problem) -> Hashable:
    """Return a key that is equal for problems that one plan suits."""
    sides = tuple(math.floor(_STEPS * math.log2(side)) for side in problem.kernel[:2])
    alike = problem._replace(
        kernel=(0, 0, problem.kernel[2]),
        weight_sum=None,
        full_cells=None,
        min_visible_weight=0,
        share_wanted=0.0,
        products=None,
        open_share=0.0,
        whole_kernel=None,
    )
    # Engines differ in whether they take weights, and kernels without cells that count.
    return sides, alike, problem.weight_sum is None, problem.full_cells == 0


def _envelope(problems: list[Problem]) -> Problem:
    """Return a problem as large as any of these: the largest kernel, the largest map."""
    heights, widths, channels = zip(*(problem.kernel for problem in problems), strict=True)
    height, width, _ = problems[0].image
    more = max(heights) - min(heights), max(widths) - min(widths)
    groups = -(-len(problems) // MOST)
    together = -(-len(problems) // groups)
    sizes = len({problem.kernel for problem in problems})
    return problems[0]._replace(
        image=(height + more[0], width + more[1], channels[0]),
        kernel=(max(heights), max(widths), channels[0]),
        weight_sum=_most([p.weight_sum for p in problems]),
        full_cells=_most([p.full_cells for p in problems]),
        products=max((p.products for p in problems if p.products), default=None),
        min_visible_weight=max(p.min_visible_weight for p in problems),
        share_wanted=sum(p.share_wanted for p in problems) / len(problems),
        open_share=sum(p.open_share for p in problems) / len(problems),
        kernel_count=together,
        same_size=max(1, min(together, len(problems) // sizes)),
    )


def _most(counts: Sequence[int | None]) -> int | None:
    return max((count for count in counts if count is not None), default=None)


def _plan_of_member(common: Plan, problem: Problem) -> Plan:
    """Return the plan of one problem, made from that of its group."""

    def resized(candidate: Candidate) -> Candidate:
        member = candidate.problem._replace(
            image=problem.image,
            kernel=problem.kernel,
            weight_sum=problem.weight_sum,
            full_cells=problem.full_cells,
            products=problem.products,
            min_visible_weight=problem.min_visible_weight,
            share_wanted=problem.share_wanted,
            whole_kernel=problem.whole_kernel,
        )
        return candidate._replace(problem=member)

    def of_member(plan: Plan | None) -> Plan | None:
        if plan is None:
            return None
        others = of_member(plan.exact_plan), of_member(plan.direct_plan)
        return replace(
            plan,
            chosen=resized(plan.chosen),
            candidates=tuple(map(resized, plan.candidates)),  # of which `for_blocks` is one
            exact_plan=others[0],
            direct_plan=others[1],
        )

    member_plan = of_member(common)
    assert member_plan is not None
    return replace(member_plan, is_envelope=False)
