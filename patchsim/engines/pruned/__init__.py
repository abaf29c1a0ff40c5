"""The best windows without a map: bounds from block sums, and sums that end at a limit.

The sums over a cell of the window and of the kernel differ by at most what their n values do:

    sad   sum |I-K|   >= |sum I - sum K|
    ssd   sum (I-K)^2 >= (sum I - sum K)^2 / n

so a grid of cells gives a least difference of every window for the cost of a few sums. Windows
that it does not exclude get a finer grid, with the channels apart, and then their own difference,
a few rows at a time until it passes what the best one has. Where the kernel has weights, cells lie
where all pixels have one, and their differences count as often as the least of these.

Pictures of 16 bits and floats are searched as copies of 8 bits (`byte_copy`), whose differences say
how small the true ones can be; the windows that this leaves are compared as they are
(`wide_search`).

It may use what engines may; others load it by its name, and use `cells` to say what a problem
allows.
"""

from __future__ import annotations

import math

from patchsim.engines import contract
from patchsim.engines.common.metrics import refused_metric
from patchsim.engines.problem import Problem
from patchsim.geometry import tiles
from patchsim.geometry.blocks import BLOCK
from patchsim.machine import extensions
from patchsim.metrics import Kernel
from patchsim.types import Pixels, Weights

OWN_THREADS = False
HAS_MAP = False
SHARES = False

# Scores must be as many as the sums.
_DISTINCT = 2.0**50

# Seconds of a thread for each pixel's boxes and each value in them, each cell of a window's bound,
# the rest of a window and, for what bounds leave, each difference; and for the calls from Python.
# Linux, one core of an AMD EPYC (Zen 4), gcc 12, photographs of 256x256 to 1920x1080, grey and RGB,
# with kernels of 8 to 64 that are in them.
_BOX_SECONDS, _VALUE_SECONDS = 4.5e-10, 1.7e-10
_CELL_SECONDS = 2.5e-11
_WINDOW_SECONDS = 2e-10
_DIFFERENCE_SECONDS = 1e-13
_CALL_SECONDS = 4e-4
# And of a window that is to be found, where many are: bounds cannot exclude its block. From where
# on a map is faster was measured with thresholds from 0.8 to 0.98 on the same photographs. One of
# 16 bits or floats is compared twice.
_FOUND_SECONDS, _WIDE_FOUND_SECONDS = 1.5e-6, 2.5e-6
# A kernel that is not in the picture, or a hard one, takes this time and then, at worst, the direct
# search; nothing tells them apart beforehand. So this engine is chosen where a kernel that is there
# takes h times as long directly. One that is not there takes up to (1 + h) / h times as long as
# directly: about h again.
_HEDGE = 1.6
# And in one thread for each value that is copied as a byte, and for more calls.
_COPY_SECONDS = 1e-9
_COPY_CALL_SECONDS = 1e-3


def refuse(problem: Problem) -> str | None:
    if problem.map_wanted or problem.exact:
        return (
            "it draws no map; leave out --map and --heatmap, and add --no-heatmap;"
            " --threshold auto asks for a map unless --engine pruned is given"
        )
    if problem.reading is not None:
        return "it looks at windows all over the image, and this image is not held in memory"
    from patchsim.engines.pruned import byte_copy, compiled  # as below, where no map is wanted
    from patchsim.engines.pruned.score_scale import total

    if (why := refused_metric("pruned", problem.metric)) is not None:
        return why
    if problem.opaque_level is not None:
        return "it takes images that are visible everywhere"
    if problem.full_cells == 0:
        return "no pixel of the mask counts in all channels, so there is nothing to sum"
    if problem.device != "cpu":
        return "it runs on the cpu"
    if problem.dtype not in ("uint8", *byte_copy.TYPES):
        return f"it takes uint8, {', '.join(byte_copy.TYPES)}, not {problem.dtype}"
    if problem.dtype == "uint8" and total(problem) > _DISTINCT:
        return "the data range is so wide that different sums have one score"
    if compiled.extension() is None:
        return extensions.refusal("_pruned")
    return None


def start_up(problem: Problem) -> float:  # noqa: ARG001 - equal for all problems
    return 0.0


def seconds(problem: Problem) -> float:
    from patchsim.engines.pruned import cells

    rows, cols = problem.map_shape
    height, width, channels = problem.image
    count = problem.full_cells or len(cells.lattice(*problem.kernel[:2], cells.COARSE).places)
    bounds = height * width * (_BOX_SECONDS + channels * _VALUE_SECONDS)
    bounds += rows * cols * (_WINDOW_SECONDS + count * _CELL_SECONDS)
    left = problem.differences * _DIFFERENCE_SECONDS
    of_wanted = _FOUND_SECONDS if problem.dtype == "uint8" else _WIDE_FOUND_SECONDS
    left += problem.share_wanted * rows * cols * of_wanted
    copy = 0.0
    if problem.dtype != "uint8":
        copy = math.prod(problem.image) * _COPY_SECONDS + _COPY_CALL_SECONDS
    return _HEDGE * (_CALL_SECONDS + copy + bounds / problem.threads) + left / problem.threads


def best_tile(problem: Problem) -> tuple[int, int]:
    rows, cols = problem.map_shape
    # The boxes of the rows below a tile are made again for the next one.
    return min(rows, max(256, 4 * problem.kernel[0]) // problem.stride[0] + 1), cols


def working_bytes(problem: Problem, rows: int, cols: int) -> int:
    """Return the bytes of the kernel and of a tile's boxes, or a block's finer ones if larger."""

    def boxes(windows: tuple[int, int], planes: int) -> int:
        height, width = tiles.extent(windows, problem.kernel[:2], problem.stride)
        # Where they have to be copied; copies of 8 bits lie in one piece.
        pixels = height * width * problem.kernel[2] if problem.dtype == "uint8" else 0
        sums = width * (2 * problem.kernel[2] + 16)
        return 2 * planes * height * (width + problem.stride[1]) + pixels + sums

    block = min(BLOCK, problem.map_shape[0]), min(BLOCK, problem.map_shape[1])
    finer = boxes(block, problem.kernel[2])  # of tiles `byte_search.finer_tile`
    kernel = (2 if problem.weight_sum is None else 3) * problem.taps
    sums = 4 * problem.taps  # of the kernel, over all boxes
    working = max(boxes((rows, cols), 1), finer) + sums + kernel
    if problem.dtype == "uint8":
        return working
    from patchsim.engines.pruned import byte_copy

    itemsize = byte_copy.ITEM_BYTES[problem.dtype]
    values = math.prod(tiles.extent(block, problem.kernel[:2], problem.stride)) * problem.kernel[2]
    looks = (values + problem.taps) * itemsize + 64 * math.prod(block)  # where pixels are copied
    bounds = 2 * math.prod(problem.map_shape)  # they are made after the copies
    return max(working + looks, byte_copy.kernel_bytes(problem.taps) - bounds)


def held_bytes(problem: Problem) -> int:
    """Return the bytes of the 8-bit copy that searches of one image hold together."""
    return 0 if problem.dtype == "uint8" else math.prod(problem.image)


def search(
    image: Pixels,
    kernel: Pixels,
    problem: Problem,
    weights: Weights | None = None,
    beside: contract.Search | None = None,
) -> contract.Search:
    if problem.dtype == "uint8":
        from patchsim.engines.pruned.byte_search import Search  # each when it is used

        return Search(image, kernel, problem, weights, beside)
    from patchsim.engines.pruned.wide_search import WideSearch

    return WideSearch(image, kernel, problem, weights, beside)


def finder(
    kernel: Kernel, problem: Problem, seconds: float, image: Pixels
) -> contract.Finder | None:
    from patchsim.engines.pruned import best_finder

    if not best_finder.can_find(problem):
        return None
    if problem.dtype == "uint8":
        return best_finder.BestFinder(kernel.pixels, problem, seconds)
    from patchsim.engines.pruned.wide_finder import WideFinder

    return WideFinder(kernel.pixels, problem, seconds, image)
