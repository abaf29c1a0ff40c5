"""Kernels that stay prepared: during a search, and from one image to the next."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import partial
from threading import Lock
from typing import Any, TypeVar, cast
from weakref import WeakKeyDictionary

from patchsim.engines import SharedTileScorer, TileScorer
from patchsim.engines.tile_cache import Cached
from patchsim.execution import runner
from patchsim.metrics import ExactKernel, Kernel
from patchsim.planning import candidates, planner
from patchsim.planning.planner import Plan

_Value = TypeVar("_Value")

# The bytes that kernels may take which stay prepared for the next image, and the share of the
# memory that a search may take. An RGB kernel of 512x512 takes 24 MB, and a fourth of the time of a
# search in 1920x1080 is that of preparing it.
_KEPT_BYTES, _KEPT_SHARE = 64 << 20, 1 / 64
# About how many images are searched for the kernels of a `Matcher`. The plan counts the time that
# prepares a kernel as spread over them.
_IMAGES = 8
# Bytes of the Python objects that hold a prepared kernel: its key, problems, closures.
_OBJECT_BYTES = 2048


class KeptKernels:
    """Prepared kernels for images of one shape and type, kept for the next such image.

    The kernel that was used least recently is forgotten first. Several threads may use it at once.
    A pickle or copy of it is empty.

    Attributes
    ----------
    image_count : int
        About how many images are searched for the kernels.
    """

    def __init__(self, image_count: int = _IMAGES) -> None:
        self.image_count = image_count
        self._lock = Lock()
        # The least recently used come first: bytes, a value, and the kernels, whose ids are in the
        # key and stay theirs.
        self._kept: dict[Hashable, tuple[int, Any, Sequence[Kernel]]] = {}

    def __reduce__(self) -> tuple[type[KeptKernels], tuple[int]]:
        return KeptKernels, (self.image_count,)

    @property
    def nbytes(self) -> int:
        """The bytes of what is kept, with the objects that hold it."""
        with self._lock:
            return sum(size for size, _, _ in self._kept.values())

    @staticmethod
    def has_room(size: int, memory: int) -> bool:
        """Return whether a search that may take so much memory keeps so many bytes."""
        return size + _OBJECT_BYTES <= _most(memory)

    def get(
        self,
        make: Callable[[], _Value],
        kernels: Sequence[Kernel],
        key: Hashable,
        *,
        size: int,
        memory: int,
    ) -> _Value:
        """Return what was made of these kernels for this key, or make it.

        Parameters
        ----------
        make : () -> value
        kernels : sequence of Kernel
        key : hashable
            What the value depends on beside the kernels.
        size : int
            The bytes that the value takes.
        memory : int
            The bytes that the search may take.
        """
        if not self.has_room(size, memory):
            return make()
        full_key = key, tuple(map(id, kernels))
        with self._lock:
            entry = self._kept.pop(full_key, None)
            if entry is not None:
                self._kept[full_key] = entry
                return cast(_Value, entry[1])
        value = make()
        with self._lock:
            self._kept[full_key] = size + _OBJECT_BYTES, value, kernels
            total, most = sum(size for size, _, _ in self._kept.values()), _most(memory)
            for oldest, (of_oldest, _, _) in list(self._kept.items()):
                if total <= most:
                    break
                del self._kept[oldest]
                total -= of_oldest
        return value


def _most(memory: int) -> int:
    """Return the bytes that kernels may take which stay prepared."""
    return min(_KEPT_BYTES, int(memory * _KEPT_SHARE))


class PreparedKernels:
    """The prepared kernels of one search, whose number is limited.

    Those of a search on the CPU come from `kept`, if it is given, where searches of other images
    left them.

    For exact plans, which score a block at a time, `planner.MOST_PREPARED` are kept; for others,
    which score many blocks at a time, the last one. The kernel that was used least recently is
    freed first, and prepared again when it is needed.
    """

    def __init__(self, kept: KeptKernels | None = None) -> None:
        self._from_before = kept
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

    def exact_score(self, plan: Plan, kernel: Kernel) -> ExactKernel:
        """Return what exact scores of windows take of a kernel."""
        problem = plan.problem
        make = partial(
            ExactKernel, kernel.pixels, problem.metric, problem.data_range, kernel.weights
        )
        if self._from_before is None:
            return make()
        return self._from_before.get(
            make,
            [kernel],
            (problem.metric, problem.data_range),
            size=ExactKernel.estimate_bytes(kernel),
            memory=plan.memory,
        )

    def alone(self, plan: Plan, kernel: Kernel) -> TileScorer:
        """Return a kernel, prepared by `runner.prepare`."""
        return self._kept_or(lambda: runner.prepare(plan, kernel), [plan], [kernel])

    def together(self, plans: Sequence[Plan], kernels: Sequence[Kernel]) -> list[SharedTileScorer]:
        """Return kernels, prepared by `runner.prepare_together`."""
        if len(plans) == 1:
            scorer = self.alone(plans[0], kernels[0])
            return [lambda shared, _windows: scorer(shared.pixels, shared.levels)]
        return self._kept_or(lambda: runner.prepare_together(plans, kernels), plans, kernels)

    def _kept_or(
        self, make: Callable[[], _Value], plans: Sequence[Plan], kernels: Sequence[Kernel]
    ) -> _Value:
        if self._from_before is None or plans[0].problem.device != "cpu":
            return make()
        return self._from_before.get(
            make,
            kernels,
            (plans[0].engine, tuple(plan.problem for plan in plans)),
            size=sum(candidates.kernel_bytes(plan.chosen, plan.tile) for plan in plans),
            memory=plans[0].memory,
        )

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
        self._score: Cached[TileScorer] = Cached()

    def __call__(self) -> TileScorer:
        scorer = self._score.get(lambda: self._others.alone(self.plan, self._kernel))
        self._others.keep(self)
        return scorer

    def clear(self) -> None:
        """Free what was prepared."""
        self._score.clear()
