"""Quick ways to search an array like the one before, left out for some images where they gave up.

A search by bounds takes a fraction of the time of a direct one where they exclude most windows.
Where they do not, as for many kernels that are not in the picture, it gives up, and what it did
until then is lost. So do scores within a tolerance, which take less time than exact ones unless
many windows score alike and have to be ranked. Images that follow each other are often alike.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING

from patchsim import engines
from patchsim.engines import Finder
from patchsim.engines.common import sad_terms
from patchsim.planning import batching, candidates
from patchsim.planning.candidates import Candidate
from patchsim.planning.planner import NoRoomError

if TYPE_CHECKING:
    from patchsim.matching.best_alone import BestAlone
    from patchsim.metrics import Kernel
    from patchsim.output.report import Report
    from patchsim.pictures.reader import Source
    from patchsim.planning.planner import Plan
    from patchsim.types import Pixels

    # The search of an array that began at some second of `time.perf_counter`; None if the array
    # takes a search of its own.
    SearchArray = Callable[[Source, float], Report | None]

_LONGEST_PAUSE = 63  # images for which a way that gave up is left out


class Pause:
    """Leaves a way out for 1, 3, 7 ... images, as long as it gives up whenever it is taken."""

    def __init__(self) -> None:
        self._length = self._left_out = 0

    def is_over(self) -> bool:
        """Return whether the way is taken for the next image, or count it as left out."""
        if self._left_out > 0:
            self._left_out -= 1
            return False
        return True

    def tell(self, *, gave_up: bool) -> None:
        """Tell whether the way gave up in an image for which it was taken."""
        self._length = min(2 * self._length + 1, _LONGEST_PAUSE) if gave_up else 0
        self._left_out = self._length


class Directly:
    """The direct search, in place of a quick one while that pauses.

    A quick search gave up if it left windows to the direct one and took longer than that.

    Parameters
    ----------
    make : () -> SearchArray or None
        Called once the direct search is needed.
    is_near : bool
        The direct search takes about as long. It is tried first, and a quick one gave up if it took
        longer, whatever it left.
    """

    def __init__(self, make: Callable[[], SearchArray | None], *, is_near: bool = False) -> None:
        self._pause, self._make, self._is_near = Pause(), make, is_near
        self._seconds = 0.0  # the least that a direct search took, once there was one

    @cached_property
    def _search(self) -> SearchArray | None:
        return self._make()

    def for_next(self) -> SearchArray | None:
        """Return the direct search if the quick one is left out for the next image."""
        is_first = self._is_near and not self._seconds
        is_left_out = is_first or not self._pause.is_over()
        return self._timed if is_left_out and self._search is not None else None

    def _timed(self, image: Source, started: float) -> Report | None:
        assert self._search is not None, "for_next says so"
        begun = time.perf_counter()
        report = self._search(image, started)
        seconds = time.perf_counter() - begun
        if report is not None:  # else the image is left to a search of its own
            self._seconds = min(self._seconds or seconds, seconds)
        return report

    def tell(self, blocks_evaluated: int, seconds: float) -> None:
        """Tell how many blocks a quick search left to the direct one, and how long it took."""
        is_doubtful = self._is_near or blocks_evaluated > 0
        self._pause.tell(gave_up=is_doubtful and seconds > self._seconds)


class Soonest:
    """A finder with a pause after images in which it gave up."""

    def __init__(self, finder: Finder) -> None:
        self._finder, self._pause = finder, Pause()

    def best_of(self, pixels: Pixels) -> tuple[int, int, float] | None:
        """Return y, x and score of the best window, or None if another way is to find it."""
        if not self._pause.is_over():
            return None
        best = self._finder(pixels)
        self._pause.tell(gave_up=best is None)
        return best


def soonest(
    plan: Plan, kernel: Kernel, alone: BestAlone | None, image: Pixels
) -> tuple[Soonest, BestAlone] | None:
    """Return what finds the best window soonest, if memory suffices, and what reports it.

    That may be another engine than the plan's: its time for one picture has a part that a finder
    does not take.
    """
    if alone is None or alone.place_count > 1 or alone.keeps_map:
        return None
    for candidate in plan.candidates:
        engine, problem = engines.load(candidate.engine), candidate.problem
        if candidate.refusal is not None or not engines.is_search(engine):
            continue
        directly = plan if plan.engine != candidate.engine else plan.direct_plan
        seconds = math.inf if directly is None else directly.seconds_of(*problem.map_shape)
        finder = engine.finder(kernel, problem, seconds, image)
        if finder is not None and plan.resident + finder.working_bytes <= plan.memory:
            bounding = replace(plan, chosen=candidate, direct_plan=directly)
            return Soonest(finder), alone.with_plan(bounding)
    return None


def quickly(
    plan: Plan, kernel: Kernel, search_by: Callable[[Plan], SearchArray | None]
) -> tuple[Plan, Directly | None]:
    """Return the plan of a quick search, and what is in its place if it may give up.

    Parameters
    ----------
    plan : Plan
        That of a search for a lone kernel.
    kernel : Kernel
    search_by : plan -> SearchArray or None
    """
    quick_plan, direct_plan = _quick_and_direct(plan, kernel)
    if direct_plan is None:
        return quick_plan, None
    is_near = direct_plan is plan  # one by bounds takes a fraction of a direct search
    return quick_plan, Directly(partial(search_by, direct_plan), is_near=is_near)


def _quick_and_direct(plan: Plan, kernel: Kernel) -> tuple[Plan, Plan | None]:
    """Return the plan of a quick search, and of the direct one if the quick one may give up."""
    able = [candidate for candidate in plan.candidates if candidate.refusal is None]
    tolerant = [one for one in able if candidates.has_tolerated_errors(one)]
    unranked = [_without_ranking(one, kernel) for one in tolerant]
    if not engines.load(plan.engine).HAS_MAP:
        exact = [one for one in able if engines.load(one.engine).HAS_MAP and one not in tolerant]
        direct = min([*exact, *unranked], key=_seconds, default=None)
        return plan, direct and _plan_of(direct, plan)
    if not plan.problem.open_share or plan.chosen in tolerant:
        return plan, None
    # Whether many windows score alike was estimated, and is seen once images are searched.
    quick = min(unranked, key=_seconds, default=plan.chosen)
    quick_plan = _plan_of(quick, plan) if quick.seconds < plan.chosen.seconds else None
    return (plan, None) if quick_plan is None else (quick_plan, plan)


def _without_ranking(candidate: Candidate, kernel: Kernel) -> Candidate:
    """Return a candidate as if no window scored like another, with the products of the kernel."""
    problem = candidate.problem._replace(open_share=0.0)
    problem = sad_terms.counted(problem, kernel, "exact", "always")
    return candidates.consider(problem, (candidate.engine,))[0]


def _seconds(candidate: Candidate) -> float:
    return candidate.seconds


def _plan_of(candidate: Candidate, plan: Plan) -> Plan | None:
    """Return the plan of another candidate of a plan, or None if memory does not suffice."""
    try:
        (group,) = batching.make(
            [candidate.problem],
            engine=candidate.engine,
            device=candidate.problem.device,
            memory=plan.memory,
            resident=plan.resident,
        )
    except NoRoomError:
        return None
    return group.plans[0]
