"""Kernels that stay prepared for the plans by which blocks of windows are scored."""

from __future__ import annotations

from weakref import WeakKeyDictionary

from patchsim.engines import TileScore
from patchsim.engines.tile_cache import Cached
from patchsim.execution import runner
from patchsim.metrics import Kernel
from patchsim.planning import planner
from patchsim.planning.planner import Plan


class PreparedKernels:
    """The prepared kernels of one search, whose number is limited.

    For exact plans, which score a block at a time, `planner.MOST_PREPARED` are kept; for others,
    which score many blocks at a time, the last one. The kernel that was used least recently is
    freed first, and prepared again when it is needed.
    """

    def __init__(self) -> None:
        # The least recently used come first: of plans that do not score exactly, and that do.
        self._kept: tuple[WeakKeyDictionary[PreparedKernel, None], ...] = (
            WeakKeyDictionary(),
            WeakKeyDictionary(),
        )

    def add(self, plan: Plan, kernel: Kernel) -> PreparedKernel:
        """Return a kernel that is prepared when it is first called."""
        return PreparedKernel(self, plan, kernel)

    def exactly(self, plan: Plan, kernel: Kernel) -> PreparedKernel | None:
        """Return a kernel that is prepared for the plan's exact plan, if it has one."""
        return self.add(plan.exact_plan, kernel) if plan.exact_plan else None

    def keep(self, used: PreparedKernel) -> None:
        """Keep a kernel as the one used last; free another if there are too many."""
        kept = self._kept[used.plan.problem.exact]
        kept.pop(used, None)
        kept[used] = None
        most = planner.MOST_PREPARED if used.plan.problem.exact else 1
        for oldest in list(kept)[:-most]:
            oldest.clear()
            del kept[oldest]


class PreparedKernel:
    """A kernel and a plan for it; a call returns the function that scores tiles."""

    def __init__(self, others: PreparedKernels, plan: Plan, kernel: Kernel) -> None:
        self.plan = plan
        self._others, self._kernel = others, kernel
        self._score: Cached[TileScore] = Cached()

    def __call__(self) -> TileScore:
        score = self._score.get(lambda: runner.prepare(self.plan, self._kernel))
        self._others.keep(self)
        return score

    def clear(self) -> None:
        """Free what was prepared."""
        self._score.clear()
