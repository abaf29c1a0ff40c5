"""Products by Fourier transforms: `ssd`, `ncc`, `zncc` and, within a tolerance, `sad`.

`scores` says how the first three are made of sums over windows, `weighted` how they are where
pixels have weights or are hidden, `sad_lowrank` how `sad` is; `costs` what each takes. It may use
what engines may; others load it by its name.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchsim.engines.common import fused, fused_costs, lowrank, sharing
from patchsim.engines.contract import Scorer, SharedScorer
from patchsim.engines.fft import passes
from patchsim.engines.fft.costs import best_tile as best_tile
from patchsim.engines.fft.costs import kernel_bytes as kernel_bytes
from patchsim.engines.fft.costs import seconds as seconds
from patchsim.engines.fft.costs import working_bytes as working_bytes
from patchsim.engines.problem import Problem
from patchsim.machine import devices
from patchsim.metrics import INTEGER_RANGE, Kernel
from patchsim.numerics.precision import EXACT_IN_INT64
from patchsim.types import Pixels, Weights

OWN_THREADS = False
HAS_MAP = True
IS_EXACT = False
SHARES = True

_SCIPY_IMPORT_SECONDS = 0.25  # on the same machine


def refuse(problem: Problem) -> str | None:
    if problem.metric == "sad":
        refusal = _refusal_of_sad(problem)
        if refusal is not None:
            return refusal
    count = problem.kernel[0] * problem.kernel[1]
    if problem.metric == "zncc" and problem.dtype in INTEGER_RANGE:
        # The products of a window's sums and the kernel's, which are n / 2 at the most.
        largest = INTEGER_RANGE[problem.dtype]
        if count * count * problem.kernel[2] * largest / 2 >= EXACT_IN_INT64:
            return "its sums over so many pixels do not fit 64 bits; use a smaller kernel"
    if problem.exact and problem.dtype not in INTEGER_RANGE:
        return f"its sums over {problem.dtype} are rounded"
    if not devices.has_float64(problem.device):
        return f"its sums need 64 bits, which {problem.device} does not have; use --device cpu"
    return None


def _refusal_of_sad(problem: Problem) -> str | None:
    if problem.dtype != "uint8" and problem.device != "cpu":
        return f"its sad takes uint8, not {problem.dtype}"
    if lowrank.products_needed(problem) is None:
        error = lowrank.least_error(problem)
        if math.isinf(error):
            return f"its sad of {problem.dtype} takes no masks"
        return f"its sad may be off by {error:.3f}, more than the tolerance {problem.tolerance:g}"
    if problem.dtype != "uint8":  # of which the other transforms have no tables
        return fused.refusal(problem, is_direct=False)
    return None


def start_up(problem: Problem) -> float:
    if problem.device != "cpu":
        return devices.start_up(problem.device)
    if in_c := passes.of(problem):
        if in_c is not fused:
            return fused_costs.CALL_SECONDS
        preparing = fused_costs.preparing_seconds(problem)
        return fused_costs.CALL_SECONDS + preparing * problem.kernel_count
    return 0.0 if "scipy.fft" in sys.modules else _SCIPY_IMPORT_SECONDS


def can_bound_blocks(problem: Problem) -> bool:
    return passes.of(problem) is not None


def prepare(kernel: Pixels, problem: Problem, weights: Weights | None = None) -> Scorer:
    (scorer,) = prepare_together([Kernel(kernel, weights)], [problem])
    return sharing.of_one(scorer, problem)


def prepare_together(kernels: Sequence[Kernel], problems: Sequence[Problem]) -> list[SharedScorer]:
    """As `prepare`, for kernels that are compared with the same pixels in turn."""
    in_c = [taker for problem in problems if (taker := passes.of(problem))]
    if len(in_c) == len(problems):
        if len(set(in_c)) == 1:
            return in_c[0].prepare_together(kernels, problems)
        every = zip(in_c, kernels, problems, strict=True)
        return [one.prepare_together([kernel], [problem])[0] for one, kernel, problem in every]
    return _prepare_with_transforms(kernels, problems)


def _prepare_with_transforms(
    kernels: Sequence[Kernel], problems: Sequence[Problem]
) -> list[SharedScorer]:
    """Prepare what the pass in C does not take, by modules that few searches need."""
    from patchsim.engines.fft import sad_lowrank, scores, weighted
    from patchsim.engines.fft.sums import constants_of

    if problems[0].metric == "sad":
        return [sad_lowrank.prepare(*pair) for pair in zip(kernels, problems, strict=True)]
    constants = constants_of([kernel.pixels for kernel in kernels], problems[0].metric)
    offsets = [constants] * len(kernels)
    if problems[0].metric == "zncc":  # any constants would do; its own keep the most digits
        offsets = [_own_constants(kernel) for kernel in kernels]
    if kernels[0].weights is not None or problems[0].opaque_level is not None:
        return [weighted.prepare(*pair) for pair in zip(kernels, problems, offsets, strict=True)]
    return [scores.prepare(*pair) for pair in zip(kernels, problems, offsets, strict=True)]


def _own_constants(kernel: Kernel) -> NDArray[Any]:
    """Return one kernel's constants, by its weights: what does not count must not cost digits."""
    from patchsim.engines.fft.sums import constants_of

    pixels, weights = kernel.pixels, kernel.weights
    if weights is None:
        return constants_of([pixels], "zncc")
    values = np.broadcast_to(np.atleast_3d(weights), pixels.shape).astype(np.float64)
    # A channel that does not count at all has no mean.
    means: NDArray[Any] = (pixels * values).sum(0).sum(0) / np.maximum(values.sum(0).sum(0), 1)
    return np.rint(means).astype(np.int64) if pixels.dtype.kind == "u" else means
