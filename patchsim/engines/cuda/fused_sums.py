"""The time, the memory and the scores of the engine `cuda`."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from patchsim import metrics
from patchsim.engines.common import hidden_pixels, sharing, visibility
from patchsim.engines.contract import Bounds, Scorer, Seen, SharedScorer
from patchsim.engines.cuda import config as cuda_config
from patchsim.engines.cuda import launch
from patchsim.engines.cuda import planes as cuda_planes
from patchsim.engines.problem import Problem
from patchsim.engines.tile_cache import Cached, Shared
from patchsim.geometry import tiles
from patchsim.machine import devices
from patchsim.metrics import Kernel
from patchsim.numerics import array_api
from patchsim.types import Pixels, Weights

if TYPE_CHECKING:
    from torch import Tensor

# Instructions of one lane for a difference, by words, whether it is squared and whether there are
# weights: in what ptxas makes of the innermost loop for sm_90, which tests/engines/test_cuda.py
# counts; of float64 twice as many, since only half of the lanes compute it.
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
_SUM_BYTES = 8
# Compiling one configuration, where Triton has not kept it from another process; Linux, a core of
# an AMD EPYC (Zen 4), for sm_90: tests/engines/test_cuda.py.
_COMPILE_SECONDS = 1.5


def start_up(problem: Problem) -> float:
    kind = _kind(problem)
    count = len(_configs(problem)) if _is_worth_trying(problem) else 1
    compiling = 0.0 if kind in launch.compiled else count * _COMPILE_SECONDS
    return devices.start_up(problem.device) + compiling


def _configs(problem: Problem) -> list[cuda_config.Config]:
    return _kind(problem).configs(-(-problem.kernel[0] // problem.stride[0]))


def _is_worth_trying(problem: Problem) -> bool:
    """Return whether the search takes longer than compiling all configurations."""
    return seconds(problem) > len(_configs(problem)) * _COMPILE_SECONDS


def seconds(problem: Problem) -> float:
    kind = _kind(problem)
    instructions = _INSTRUCTIONS[kind.word, kind.squared, problem.weight_sum is not None]
    work = problem.differences * instructions / _LANE_RATE
    rows, cols = problem.map_shape
    pixels = math.prod(problem.image) * np.dtype(problem.dtype).itemsize / problem.kernel_count
    copied = (pixels + rows * cols * _SUM_BYTES) / devices.BUS_BANDWIDTH
    planes = cuda_planes.plane_count((problem.kernel[2], *problem.kernel[:2]), problem.stride)
    laid = (
        planes * (1 + 9 / problem.kernel_count) * devices.OPERATION_SECONDS
    )  # of a tile, of a kernel
    return (work + copied + laid) * visibility.rounds(problem) + visibility.seconds(problem)


def working_bytes(problem: Problem, rows: int, cols: int) -> int:
    word = np.dtype(cuda_planes.word_of(problem.dtype)).itemsize
    height, width = tiles.extent((rows, cols), problem.kernel[:2], problem.stride)
    # The tile, pinned here and on the card, and there once more in planes.
    pixels = 3 * height * width * problem.kernel[2] * np.dtype(problem.dtype).itemsize
    # With what is beside them; of bytes before they are words.
    values = cuda_planes.plane_words(problem.kernel, problem.stride, rows, cols)
    planes = values * word + (values if problem.dtype == "uint8" else 0)
    kernel_bytes = 0 if problem.kernel_count > 1 else _own_bytes(problem, rows, cols)
    return pixels + planes + kernel_bytes + visibility.working_bytes(problem, rows, cols)


def kernel_bytes(problem: Problem, rows: int, cols: int) -> int:
    return _own_bytes(problem, rows, cols) + visibility.kernel_bytes(problem, rows, cols)


def _own_bytes(problem: Problem, rows: int, cols: int) -> int:
    word = np.dtype(cuda_planes.word_of(problem.dtype)).itemsize
    # Rows of the kernel, repeated, twice while they are put together; those of a mask, too.
    kernel = (
        problem.taps
        * word
        * (2 * cuda_config.REPEATS + 2)
        * (1 if problem.weight_sum is None else 2)
    )
    # Sums of whole blocks, as they are put together, and of windows here and there.
    return kernel + 3 * (cuda_config.block_cells(rows, cols) + rows * cols) * _SUM_BYTES


def _kind(problem: Problem) -> cuda_config.Kind:
    max_weight = 0 if problem.weight_sum is None else problem.max_weight
    return cuda_config.Kind(cuda_planes.word_of(problem.dtype), problem.metric == "ssd", max_weight)


def prepare(
    kernel: Pixels,
    problem: Problem,
    weights: Weights | None = None,
    config: cuda_config.Config | None = None,
) -> Scorer:
    """Prepare a kernel; without a configuration, the fastest is timed where that pays."""
    (scorer,) = prepare_together([Kernel(kernel, weights)], [problem], config)
    return sharing.of_one(scorer, problem)


def prepare_together(
    kernels: Sequence[Kernel],
    problems: Sequence[Problem],
    config: cuda_config.Config | None = None,
) -> list[SharedScorer]:
    """Prepare kernels that share a tile's pixels; one launch compares those of one size."""
    if config is None and not _is_worth_trying(problems[0]):
        config = _configs(problems[0])[0]
    alike: dict[Hashable, list[int]] = defaultdict(list)
    for number, (kernel, problem) in enumerate(zip(kernels, problems, strict=True)):
        # Where pixels differ in visibility, each kernel needs sums of its own.
        unshared = None if problem.opaque_level is None else number
        alike[kernel.pixels.shape, _shades(kernel), unshared].append(number)
    scorers: dict[int, SharedScorer] = {}
    for members in alike.values():
        sums = _Sums([kernels[number] for number in members], problems[members[0]], config)
        for place, number in enumerate(members):
            scorers[number] = _score(sums, place, kernels[number], problems[number])
    return [scorers[number] for number in range(len(kernels))]


def _shades(kernel: Kernel) -> int:
    """Return 0 without weights, 1 for masks, 2 for shades: each has code of its own."""
    return 0 if kernel.weights is None else min(2, int(kernel.weights.max()))


class _TileSums:
    """Sums of a tile, for kernels that are compared in one launch."""

    def __init__(self) -> None:
        self.of: defaultdict[_Sums, Cached[NDArray[Any]]] = defaultdict(Cached)


class _Sums:
    """Sums of differences between the patches of a tile and kernels of one size."""

    def __init__(
        self, kernels: Sequence[Kernel], problem: Problem, config: cuda_config.Config | None
    ) -> None:
        self._device, self._config = problem.device, config
        self._stride, self._squared = problem.stride, problem.metric == "ssd"
        self._kernels = self._placed([kernel.pixels for kernel in kernels])
        self._weights = None
        if kernels[0].weights is not None:
            shape = kernels[0].pixels.shape
            given = [
                np.atleast_3d(kernel.weights) for kernel in kernels if kernel.weights is not None
            ]
            self._weights = self._placed([np.broadcast_to(kernel, shape) for kernel in given])
        self._taps = self._laid(self._kernels)

    def _placed(self, arrays: Sequence[NDArray[Any]]) -> Tensor:  # each [h, w, C] -> [N, C, h, w]
        return array_api.tensor(np.stack(arrays).transpose(0, 3, 1, 2), self._device)

    def _laid(self, kernels: Tensor) -> cuda_planes.Taps:
        return cuda_planes.taps(kernels, self._stride, squared=self._squared, weights=self._weights)

    def over(self, pixels: Pixels, one: int | None = None) -> NDArray[Any]:
        """Return the sums [kernels, rows, cols], int64 or float64; of kernel `one` if given."""
        import torch

        with devices.one_torch_thread(), torch.inference_mode():
            image = array_api.tensor_planes(pixels, self._device)[None]
            sums = launch.difference_sums(image, self._taps.only(one), self._config)
            if image.dtype == torch.float32 and not sums.isfinite().all():
                # The sums pass the largest float32; they fit float64.
                taps = self._laid(self._kernels.double()).only(one)
                sums = launch.difference_sums(image.double(), taps, self._config)
            return array_api.to_numpy(sums[0])


def _score(sums: _Sums, place: int, kernel: Kernel, problem: Problem) -> SharedScorer:
    """Return the score of one of the kernels, which is at `place` in the sums."""
    squared, integers = problem.metric == "ssd", kernel.pixels.dtype.kind == "u"
    rounding = 0.0 if integers else _rounding(problem)
    size, stride = problem.kernel[:2], problem.stride
    if problem.opaque_level is not None:
        partly = hidden_pixels.differences(
            lambda pixels: sums.over(pixels, place)[0].astype(np.float64),
            rounding,
            kernel.pixels,
            problem,
            kernel.weights,
        )

        def score_visible(
            tile: Shared, windows: tuple[int, int], seen: Seen | None = None
        ) -> Bounds:
            return partly(tile.under(windows, size, stride), seen)

        return score_visible
    span = problem.data_range**2 if squared else problem.data_range
    # Squares of the smallest numbers lose digits.
    lost = float(np.finfo(np.float32).smallest_subnormal) / span if squared else 0.0

    def score(tile: Shared, windows: tuple[int, int], _seen: Seen | None = None) -> Bounds:
        pixels = tile.under(windows, size, stride)
        if tile.extent is None:
            (one,) = sums.over(pixels, place)
        else:
            one = tile.fields(_TileSums).of[sums].get(lambda: sums.over(pixels))[place]
        difference_sums = one.astype(np.float64)
        scores = metrics.similarity(difference_sums, problem.total_weight, span)
        if integers:
            return Bounds(scores)
        # The subtraction from 1 adds 2 u of float64.
        exact = (difference_sums == 0) & (lost == 0)
        return Bounds(scores, np.where(exact, 0.0, (1 - scores) * rounding + lost + 2.0**-52))

    return score


def _rounding(problem: Problem) -> float:
    """Return the relative error of a sum, as in the engine `simd`."""
    unit = 2.0**-53 if problem.dtype == "float64" else 2.0**-24
    # A square rounds twice what its root did, and once more; a product with a shade once; one more
    # than there are, as there.
    more = 1 + (2 if problem.metric == "ssd" else 0) + (1 if problem.max_weight > 1 else 0)
    return (cuda_config.ROUNDINGS + more) * unit + 2.0 * (problem.taps + 5) * 2.0**-53
