"""Sums of absolute differences on any device of torch, by the arithmetic of `unfold_tensors`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from patchsim import metrics
from patchsim.engines import unfold_tensors
from patchsim.engines.common import visibility
from patchsim.engines.common.metrics import refused_metric
from patchsim.engines.contract import Bounds, Scorer, Seen
from patchsim.engines.problem import Problem
from patchsim.geometry import tiles
from patchsim.machine import devices
from patchsim.metrics import INTEGER_RANGE
from patchsim.numerics import array_api
from patchsim.types import Pixels, Weights

if TYPE_CHECKING:
    from torch import Tensor

# Threads that work on tiles of their own wait for nothing; torch's, which share each operation,
# all wait for the slowest.
OWN_THREADS = False
HAS_MAP = True
IS_EXACT = True
SHARES = False

# Absolute differences a second and thread, by bytes of the type they are summed in; Linux, 2 cores
# of an AMD EPYC (Zen 4), torch 2.13.0: python benchmarks/engines.py
CPU_RATE = {4: 2.5e9, 8: 1.2e9}
# Seconds that a window costs beside its differences; same machine, a kernel of one pixel.
CPU_WINDOW_SECONDS = 1e-7
# No accelerator was at hand. A difference takes about 24 bytes of traffic there (write, read,
# write, read, each 4 bytes, and the kernel), so this is a card of 2.4 TB/s.
ACCELERATOR_RATE = 1.0e11


def refuse(problem: Problem) -> str | None:
    if (why := refused_metric("unfold", problem.metric)) is not None:
        return why
    if problem.exact and problem.dtype not in INTEGER_RANGE:
        return f"its sums over {problem.dtype} are rounded"
    if _work_size(problem) == 8 and not devices.has_float64(problem.device):
        return f"these sums need float64, which {problem.device} does not have; use --device cpu"
    return None


def start_up(problem: Problem) -> float:
    return devices.start_up(problem.device)


def seconds(problem: Problem) -> float:
    if problem.device != "cpu":
        return problem.differences / ACCELERATOR_RATE
    rows, cols = problem.map_shape
    alone = problem.differences / CPU_RATE[_work_size(problem)] + rows * cols * CPU_WINDOW_SECONDS
    # Differences times visibility: 300x300 RGB, a kernel of 32x32, on the same machine.
    alone *= 1.0 if problem.opaque_level is None else 1.15
    return alone / problem.threads + visibility.seconds(problem)


def can_bound_blocks(problem: Problem) -> bool:  # noqa: ARG001 - equal for all problems
    return False


def best_tile(problem: Problem) -> tuple[int, int] | None:
    return visibility.best_tile(problem)


def working_bytes(problem: Problem, rows: int, cols: int) -> int:
    size = _work_size(problem)
    height, width = tiles.extent((rows, cols), problem.kernel[:2], problem.stride)
    pixels = height * width * problem.kernel[2]
    cells = rows * cols
    block = min(cells * problem.taps * size, unfold_tensors.block_bytes(problem.device))
    block_rows = min(rows, max(1, block // (cols * problem.taps * size)))
    band = min(height, (block_rows - 1) * problem.stride[0] + problem.kernel[0])
    # The tile as a tensor, of floats in float64. Then a band of it in the type of the differences,
    # a block of these, and the sums. After that the sums twice, and what the scores are made from;
    # for floats with errors and the cells where these are 0.
    is_float = problem.dtype not in INTEGER_RANGE
    tile = pixels * (8 if is_float else np.dtype(problem.dtype).itemsize)
    comparing = band * width * problem.kernel[2] * size + block + 8 * cells
    scoring = cells * (41 if is_float else 32)
    peak = max(comparing, scoring) - Bounds.estimate_bytes(rows, cols)
    kept = tile + _taps_bytes(problem) + peak
    if problem.opaque_level is not None:
        kept += height * width * (1 + size) + visibility.working_bytes(problem, rows, cols)
    return kept


def kernel_bytes(problem: Problem, rows: int, cols: int) -> int:
    return _taps_bytes(problem) + visibility.kernel_bytes(problem, rows, cols)


def _taps_bytes(problem: Problem) -> int:
    return problem.taps * _work_size(problem)


def prepare(kernel: Pixels, problem: Problem, weights: Weights | None = None) -> Scorer:
    import torch

    block = unfold_tensors.block_bytes(problem.device)

    def tensor(pixels: Pixels) -> Tensor:  # [H, W, C] -> [C, H, W]
        on_device = array_api.tensor_planes(pixels, problem.device)
        # Sums of float pixels are certified in float64 alone.
        return on_device.double() if on_device.is_floating_point() else on_device

    reference = tensor(kernel)
    counts = None if weights is None else tensor(np.atleast_3d(weights))
    # u is half a unit in the last place; n additions in any order are off by at most n u, relative
    # to the sum (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., section 4.2).
    # Twice, since `metrics.exact` rounds as well. A sum of 0 is exact. Two more for a weight and
    # visibility.
    rounding = 2.0 * (problem.taps + 5) * 2.0**-53
    integers = kernel.dtype.kind == "u"

    def score(pixels: Pixels, seen: Seen | None = None) -> Bounds:
        with devices.one_torch_thread(), torch.inference_mode():
            image = tensor(pixels)[None]
            levels = None
            if seen is not None:
                levels = array_api.tensor(seen.levels, problem.device)
            sums = unfold_tensors.difference_sums(
                image, reference, problem.stride, block, counts, levels
            )[0]
            totals = array_api.to_numpy(sums).astype(np.float64)
        total = problem.total_weight if seen is None else seen.total
        scores = metrics.similarity(totals, total, problem.data_range)
        if integers:
            return Bounds(scores)
        # The subtraction from 1 adds 2 u.
        return Bounds(scores, np.where(totals == 0, 0.0, (1 - scores) * rounding + 2.0**-52))

    return score


def _work_size(problem: Problem) -> int:
    """Return the bytes of the type that differences are summed in; float64 for floats."""
    if problem.dtype in INTEGER_RANGE:
        row_weight = problem.kernel[1] * problem.kernel[2] * problem.max_weight
        row_weight *= problem.opaque_level or 1
        return unfold_tensors.integer_work_size(problem.dtype, row_weight)
    return 8
