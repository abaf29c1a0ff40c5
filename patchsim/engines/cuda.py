"""Direct sums of differences on NVIDIA cards, by one fused kernel in Triton.

`cuda_sums` says how the kernel is fed, `cuda_kernel` how it computes. Triton comes with builds of
torch for CUDA.
"""

from __future__ import annotations

import importlib.util

import numpy as np
from numpy.typing import NDArray

from patchsim import devices, metrics, tiles
from patchsim.engines import Bounds, Problem, Score, cuda_sums, visibility
from patchsim.metrics import INTEGER_RANGE, Pixels, Weights

OWN_THREADS = False

# Instructions of one lane for a difference, by words, whether it is squared and whether there are
# weights: in what ptxas makes of the innermost loop for sm_90, which tests/test_cuda.py counts; of
# float64 twice as many, since only half of the lanes compute it.
_INSTRUCTIONS = {
    ("uint32", False, False): 0.3,
    ("uint32", True, False): 0.6,
    ("uint32", False, True): 0.7,
    ("uint32", True, True): 0.9,
    ("float32", False, False): 2.2,
    ("float32", True, False): 2.4,
    ("float32", False, True): 2.6,
    ("float32", True, True): 3.6,
    ("float64", False, False): 5.1,
    ("float64", True, False): 5.1,
    ("float64", False, True): 6.0,
    ("float64", True, True): 7.0,
}
# Such instructions a second. No card was at hand: half of what an H200 can issue (132 processors of
# 128 lanes at 1.98 GHz).
_LANE_RATE = 1.6e13


def refuse(problem: Problem) -> str | None:
    if problem.metric not in ("sad", "ssd"):
        return f"it computes sad and ssd, not {problem.metric}"
    if not problem.device.startswith("cuda"):
        return "it runs on NVIDIA cards (--device cuda)"
    if importlib.util.find_spec("triton") is None:
        return "Triton is not here (pip install triton)"
    if problem.exact and problem.dtype not in INTEGER_RANGE:
        return f"its sums over {problem.dtype} are rounded"
    if problem.dtype == "uint16" and problem.metric == "ssd":
        return "its squares of uint16 do not fit 32 bits"
    if problem.dtype == "uint16" and problem.heaviest > 1:
        return "its differences of uint16 with shades do not fit 32 bits"
    if problem.most_visible is not None and problem.metric != "sad":
        return f"of images that are not visible everywhere it computes sad, not {problem.metric}"
    return None


def start_up(problem: Problem) -> float:  # noqa: ARG001 - the same for all
    return devices.torch_start_up()


def seconds(problem: Problem) -> float:
    word, squared = cuda_sums.word_of(problem.dtype), problem.metric == "ssd"
    work = (
        problem.differences * _INSTRUCTIONS[word, squared, problem.weight is not None] / _LANE_RATE
    )
    return work * visibility.rounds(problem) + visibility.seconds(problem)


def best_tile(problem: Problem) -> tuple[int, int] | None:
    return None if problem.most_visible is None else visibility.best_tile(problem)


def working_bytes(problem: Problem, rows: int, cols: int) -> int:
    word = np.dtype(cuda_sums.word_of(problem.dtype)).itemsize
    height, width = tiles.extent((rows, cols), problem.kernel[:2], problem.stride)
    # The tile on the card; in planes, with what is beside them; of bytes before they are words.
    pixels = height * width * problem.kernel[2] * np.dtype(problem.dtype).itemsize
    values = cuda_sums.plane_words(problem.kernel, problem.stride, rows, cols)
    planes = values * word + (values if problem.dtype == "uint8" else 0)
    # Rows of the kernel, repeated, twice while they are put together; those of a mask, too.
    kernel = (
        problem.taps * word * (2 * cuda_sums.REPEATS + 2) * (1 if problem.weight is None else 2)
    )
    # Sums of whole blocks, as they are put together, and scores.
    sums = cuda_sums.block_cells(rows, cols) * 8 * 3 + rows * cols * 24
    return pixels + planes + kernel + sums + visibility.working_bytes(problem, rows, cols)


def prepare(
    kernel: Pixels,
    problem: Problem,
    weights: Weights | None = None,
    config: cuda_sums.Config | None = None,
) -> Score:
    """As an engine has it; with a configuration of the kernel, or the fastest is looked for."""
    import torch

    device = torch.device(problem.device)

    def tensor(pixels: Pixels) -> torch.Tensor:  # [H, W, C] -> [C, H, W]
        # A copy, because torch takes no read-only arrays.
        return torch.from_numpy(np.array(pixels.transpose(2, 0, 1), order="C")).to(device)

    counts = None if weights is None else tensor(np.atleast_3d(weights))
    squared = problem.metric == "ssd"

    def laid(values: torch.Tensor) -> cuda_sums.Taps:
        return cuda_sums.taps(values[None], problem.stride, squared=squared, weights=counts)

    reference = tensor(kernel)
    taps = laid(reference)
    integers = kernel.dtype.kind == "u"

    def differences(pixels: Pixels) -> NDArray[np.float64]:
        with devices.one_torch_thread(), torch.inference_mode():
            image = tensor(pixels)[None]
            sums = cuda_sums.difference_sums(image, taps, config)
            if kernel.dtype == np.float32 and not sums.isfinite().all():
                # Past the largest float32, which float64 is far from.
                sums = cuda_sums.difference_sums(image.double(), laid(reference.double()), config)
            found: NDArray[np.float64] = sums[0, 0].cpu().numpy().astype(np.float64)
        return found

    rounding = 0.0 if integers else _rounding(problem)
    if problem.most_visible is not None:
        return visibility.differences(differences, rounding, kernel, problem, weights)
    span = problem.span**2 if squared else problem.span
    # Squares of the smallest numbers lose digits.
    lost = float(np.finfo(np.float32).smallest_subnormal) / span if squared else 0.0

    def score(pixels: Pixels) -> Bounds:
        sums = differences(pixels)
        scores = metrics.similarity(sums, problem.total_weight, span)
        if integers:
            return Bounds(scores)
        # And 2 u of float64 for the subtraction from 1.
        exact = (sums == 0) & (lost == 0)
        return Bounds(scores, np.where(exact, 0.0, (1 - scores) * rounding + lost + 2.0**-52))

    return score


def _rounding(problem: Problem) -> float:
    """The share of a sum that it may be off by, as in the engine `simd`."""
    unit = 2.0**-53 if problem.dtype == "float64" else 2.0**-24
    # A square rounds twice what its root did, and once more; a product with a shade once; one more
    # than there are, as there.
    more = 1 + (2 if problem.metric == "ssd" else 0) + (1 if problem.heaviest > 1 else 0)
    return (cuda_sums.ROUNDINGS + more) * unit + 2.0 * (problem.taps + 5) * 2.0**-53
