"""The passes in C of the engine `fft`, and which of them takes a problem."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from patchsim.engines.common import fused
from patchsim.engines.contract import SharedScorer
from patchsim.engines.problem import Problem
from patchsim.metrics import Kernel


class Pass(Protocol):
    """The names that a pass has; they mean what they mean in `contract.MapEngine`."""

    def can_take(self, problem: Problem) -> bool:
        """Return whether the C extension was built and scores this problem as it is asked for."""

    def prepare_together(
        self, kernels: Sequence[Kernel], problems: Sequence[Problem]
    ) -> list[SharedScorer]: ...

    def seconds(self, problem: Problem) -> float: ...

    def best_tile(self, problem: Problem) -> tuple[int, int]: ...

    def working_bytes(self, problem: Problem, rows: int, cols: int) -> int: ...

    def kernel_bytes(self, problem: Problem) -> int: ...


def of(problem: Problem) -> Pass | None:
    """Return the pass that takes a problem, or None."""
    first: Pass = fused
    if first.can_take(problem):
        return first
    from patchsim.engines.common import fused_weighted  # where the first takes none

    second: Pass = fused_weighted
    return second if second.can_take(problem) else None
