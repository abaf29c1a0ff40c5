"""Direct sums of differences on NVIDIA cards, by one fused kernel in Triton.

`planes` says how the kernel is fed, `triton_kernel` how it computes. Triton comes with builds of
torch for CUDA. It may use what engines may; others load it by its name, and `layer` uses its parts.
Each plan asks whether it refuses; the rest is loaded where a card is asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from patchsim.engines.common import visibility
from patchsim.engines.common.metrics import refused_metric
from patchsim.engines.problem import Problem
from patchsim.metrics import INTEGER_RANGE

if TYPE_CHECKING:
    from patchsim.engines.cuda.fused_sums import (
        kernel_bytes,
        prepare,
        prepare_together,
        seconds,
        start_up,
        working_bytes,
    )

_LATE = {"kernel_bytes", "prepare", "prepare_together", "seconds", "start_up", "working_bytes"}

__all__ = [
    "HAS_MAP", "IS_EXACT", "OWN_THREADS", "SHARES", "best_tile", "can_bound_blocks",
    "kernel_bytes", "prepare", "prepare_together", "refuse", "seconds", "start_up", "working_bytes",
]  # fmt: skip

OWN_THREADS = False
HAS_MAP = True
IS_EXACT = True
SHARES = True


def refuse(problem: Problem) -> str | None:
    if (why := refused_metric("cuda", problem.metric)) is not None:
        return why
    if not problem.device.startswith("cuda"):
        return "it runs on NVIDIA cards (--device cuda)"
    from patchsim.engines.cuda import launch  # with a card alone

    if (missing := launch.missing()) is not None:
        return missing
    if problem.exact and problem.dtype not in INTEGER_RANGE:
        return f"its sums over {problem.dtype} are rounded"
    if problem.dtype == "uint16" and problem.metric == "ssd":
        return "its squares of uint16 do not fit 32 bits"
    if problem.dtype == "uint16" and problem.max_weight > 1:
        return "its differences of uint16 with shades do not fit 32 bits"
    if problem.opaque_level is not None and problem.metric != "sad":
        return f"of images that are not visible everywhere it computes sad, not {problem.metric}"
    return None


def can_bound_blocks(problem: Problem) -> bool:  # noqa: ARG001 - equal for all problems
    return False


def best_tile(problem: Problem) -> tuple[int, int] | None:
    return visibility.best_tile(problem)


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.fused_sums"), name)
    globals()[name] = value
    return value
