"""Time and memory of the scores of `fused`, and the tiles that take least of both."""

from __future__ import annotations

import math
from typing import Any

from patchsim.engines.common import cut_times, kernel_parts, lowrank
from patchsim.engines.common.kernel_parts import Cut, best_cut
from patchsim.engines.contract import Bounds
from patchsim.engines.problem import Problem
from patchsim.geometry import blocks

# The types of pixels that the extensions take, and their names there.
FORMATS = {"uint8": "B", "uint16": "H", "float32": "f", "float64": "d"}

# No score of `ssd` from transforms in float32 is off by so much.
_SSD_ERROR = 1e-3

# Seconds, by variant: of a transform of two tiles of a channel, there, with the product; and for
# bytes of a product in a direct sum; of a pixel of a channel, copied and summed; of a window's
# score. Linux, one core of an AMD EPYC (Zen 4), gcc 12, photographs of 64x64 to 1920x1080, kernels
# of 8 to 128. Beside direct sums, transforms by AVX-512 and AVX2 take 1.4 to 1.5 times as long on
# an Intel Xeon: theirs is the mean of both, which is off by less than a fourth on either.
COSTS = {
    "avx512": (1.6e-4, 4.4e-12, 6.5e-10, 9.5e-10),
    "avx2": (1.9e-4, 1.1e-11, 8.2e-10, 1.2e-9),
    "sse2": (2.9e-4, 2.6e-11, 1.0e-9, 1.8e-9),
}
# Seconds of a product in a direct sum of 16 bits, or of floats, in double precision; means of both.
DOUBLES = {"avx512": 3.6e-11, "avx2": 5.6e-11, "sse2": 1.5e-10}
# Products of bytes by AVX-VNNI take 0.55 of the time of those by AVX2 on an Intel Xeon.
COSTS["avxvnni"] = (COSTS["avx2"][0], 0.55 * COSTS["avx2"][1], *COSTS["avx2"][2:])
DOUBLES["avxvnni"] = DOUBLES["avx2"]
# Not measured, because no such machine was at hand; their vectors are as wide as those of SSE2.
for _name in ("dotprod", "neon", "portable"):
    COSTS[_name], DOUBLES[_name] = COSTS["sse2"], DOUBLES["sse2"]
# A tile's own transforms are taken, of which the kernel's are made, if they take less than this
# share of the time.
_WORTH_CUTTING = 0.8
# Seconds of the calls from Python that begin a search.
CALL_SECONDS = 1.3e-4
# About how many tiles of 256x256 have windows of next to none of their contrast: where correlations
# must be as exact as in a map, these are summed directly, or the tile is transformed again in
# double precision, which takes as long. The windows of large kernels have more contrast; the share
# falls with the square of the kernel's area over that of bytes or of other types. Fitted with the
# figures of `cut_times`.
_MADE_AGAIN = {"ncc": 0.03, "zncc": 0.8}
_AREA_OF_BYTES, _AREA_OF_WIDE = 2048, 3500
# The time of the pixels of `sad`, over that of the other metrics: what they add is summed once for
# all channels, and scores take no time beside that.
_PIXELS_OF_SAD = 0.9
# How much longer pixels, and the scores of windows, take than those of bytes, and how much longer
# pixels take that direct sums widen to double precision.
_PIXELS = {"uint8": 1.0, "uint16": 1.3, "float32": 1.6, "float64": 3.0}
_WINDOWS = {"uint8": 1.0, "uint16": 1.4, "float32": 2.2, "float64": 2.2}
_WIDENED = {"uint16": 1.9, "float32": 1.9, "float64": 1.4}
# Seconds of a call of direct sums, beside what is counted.
_DIRECT_SECONDS = 1e-5

# Windows of `sad` whose scores are equal within the tolerance are scored exactly, to rank them:
# for the best match 0.1 to 5 ms were measured, and more in larger maps. With these figures no exact
# map was left for one that takes a tenth longer, in 336 searches of four photographs of 256x256 to
# 1280x720 for the best match and for five. A plan that chooses these transforms counts what more
# matches take (`Problem.open_share`), too. And for each product each kernel value has a factor; to
# find functions for them takes more, which `sad_terms` weighs.
_SETTLING_SECONDS, _BLOCK_SECONDS, _WAVE_SECONDS = 1e-4, 6e-6, 1.2e-8
# A search by bounds, which has no map, takes less than its estimate where the kernel is in the
# image. It is left for these transforms only if they take so much less, because the choice looks at
# pixels.
_LEFT_SECONDS = 7e-4

# The time of a product with a kernel, over that of a transform: what kernels do not share of it.
_PRODUCT_SHARE = 0.8
# The most bytes of maps and products of kernels that are scored at once: half of the kernels share
# almost as much.
_AT_ONCE_BYTES = 64 << 20
# A kernel's transforms in float64 are kept up to so many bytes, a fourth of what a `Matcher` keeps.
_MOST_DOUBLE_BYTES = 16 << 20

# The time of a tile: short enough that progress moves and an interrupt is answered.
_TILE_SECONDS = 0.1
_WIDEST = 4096  # windows of a tile, whole blocks


def planes_of(problem: Problem) -> tuple[int, int, int]:
    """Return the kernel's size, with a plane for each term of each channel."""
    height, width, channels = problem.kernel
    return height, width, channels * term_count(problem)


def cut_of(problem: Problem) -> Cut:
    """Return how a kernel is cut, and the sides of transforms; equal ones for maps of one shape."""
    rows, cols = problem.map_shape
    # Each thread has a part of the map's rows.
    return _cut_for(problem, (-(-rows // problem.threads), cols))


def _cut_for(problem: Problem, windows: tuple[int, int]) -> Cut:
    planes = planes_of(problem)
    if problem.metric == "sad":
        return best_cut(planes, windows, problem.stride, is_near=True)
    again = _share_made_again(problem)
    return best_cut(planes, windows, problem.stride, share_made_again=again)


def _share_made_again(problem: Problem) -> float:
    """Return about how many tiles of 256x256 have windows that are made again."""
    if problem.metric not in _MADE_AGAIN or not kernel_parts.is_made_again(problem):
        return 0.0
    area = problem.kernel[0] * problem.kernel[1]
    of_type = _AREA_OF_BYTES if problem.dtype == "uint8" else _AREA_OF_WIDE
    return _MADE_AGAIN[problem.metric] / (1 + (area / of_type) ** 2)


def cut_of_tile(problem: Problem, windows: tuple[int, int]) -> Cut:
    """Return how a kernel is cut for a tile: anew for one that fills little of a transform.

    The kernel's transforms and those of the tile take no more memory then than those of a large
    tile.
    """
    cut = cut_of(problem)
    if problem.metric == "sad":
        return cut
    rows, cols = (-(-count // blocks.BLOCK) * blocks.BLOCK for count in windows)
    tile_cut = _cut_for(problem, (rows, cols))
    if tile_cut.arguments == cut.arguments:
        return cut
    seconds, of_tile = (_transforms(problem, one, windows) for one in (cut, tile_cut))
    kernels = problem.kernel_count * tile_cut.nbytes(planes_of(problem)[2])
    is_larger = kernels + _scratch(problem, *windows, cut=tile_cut) > _scratch(problem, *windows)
    return cut if is_larger or of_tile > _WORTH_CUTTING * seconds else tile_cut


def _transforms(problem: Problem, cut: Cut, windows: tuple[int, int]) -> float:
    """Return the time of the transforms of a tile of so many windows, over that of one."""
    tiles = cut.tiles(problem.kernel[:2], windows, problem.stride)
    planes = math.prod(cut.parts) * planes_of(problem)[2]
    return -(-tiles * cut.folds // 2) * cut.transform * (planes + cut_times.BACK)


def term_count(problem: Problem) -> int:
    if problem.metric != "sad":
        return 1
    if problem.products is not None:
        return problem.products.each
    return lowrank.products_needed(problem) or 1


def seconds(problem: Problem, *, is_direct: bool = False) -> float:
    """Estimate the seconds of the work."""
    if is_direct:
        return _seconds_of_direct_sums(problem)
    settling = 0.0
    if problem.metric == "sad":
        block_count = math.prod(problem.map_shape) / blocks.BLOCK**2
        settling = _SETTLING_SECONDS + block_count * _BLOCK_SECONDS
        settling += 0.0 if problem.map_wanted else _LEFT_SECONDS
    return _seconds_of_transforms(problem, at_once(problem, *best_tile(problem))) + settling


def preparing_seconds(problem: Problem) -> float:
    """Estimate the seconds, for an image, until a kernel is ready for transforms."""
    cut, planes = cut_of(problem), planes_of(problem)
    transform = COSTS[kernel_parts.variant()][0] * cut.transform
    seconds = transform * math.prod(cut.parts) * planes[2]
    is_kept = _can_stay_prepared(problem)
    if problem.metric == "sad":
        if not is_kept:
            seconds = 0.0  # they are counted with those of tiles
        seconds += term_count(problem) * problem.taps * _WAVE_SECONDS
    return seconds / problem.image_count if is_kept else seconds


def _can_stay_prepared(problem: Problem) -> bool:
    values, count = cut_of(problem).kernel_values, problem.kernel_count
    return kernel_parts.can_stay_prepared(planes_of(problem), values, count)


def _seconds_of_direct_sums(problem: Problem) -> float:
    _, product, pixel, window = COSTS[kernel_parts.variant()]
    rows, cols = problem.map_shape
    height, width, channels = problem.kernel
    taps, tall, wide = _summed_at_once(problem)
    # Registers have sums of so many windows, whether they lie in the map or beyond its edge.
    windows = -(-rows // tall) * tall * (-(-cols // wide) * wide)
    products = windows * channels * (height + 2) * (-(-width // taps) * taps)
    if problem.dtype != "uint8":
        product, pixel = DOUBLES[kernel_parts.variant()], pixel * _WIDENED[problem.dtype]
    # Rows of pixels under two bands of 96 windows are copied for both.
    pixels = problem.image[1] * channels * (rows + -(-rows // 96) * height)
    sums = pixels * pixel * _PIXELS[problem.dtype] + rows * cols * window * _WINDOWS[problem.dtype]
    return _DIRECT_SECONDS + (products * product + sums) / problem.threads


def _seconds_of_transforms(problem: Problem, together: int) -> float:
    """Estimate the seconds for a kernel, if so many share the transforms of a tile."""
    transform, _, pixel, window = COSTS[kernel_parts.variant()]
    rows, cols = problem.map_shape
    height, _, channels = problem.kernel
    cut = cut_of(problem)
    bands = -(-rows // cut.windows(problem.kernel[:2], problem.stride)[0])
    pairs = cut.pairs * problem.threads
    scoring = rows * cols * window * _WINDOWS[problem.dtype] + pairs * transform * cut_times.OF_PAIR
    transform *= cut.transform
    pixel *= _PIXELS[problem.dtype]
    summing = problem.image[1] * channels * (rows * problem.stride[0] + bands * height) * pixel
    planes = planes_of(problem)
    forward = pairs * transform * math.prod(cut.parts) * planes[2]
    backward = pairs * transform * cut_times.BACK
    if problem.metric == "sad":
        anew = 0.0 if _can_stay_prepared(problem) else kernel_parts.PREPARING * forward / pairs
        scoring, summing = anew, summing * _PIXELS_OF_SAD
    shared, unshared = forward + summing, backward + scoring
    share = _share_made_again(problem)
    again = cut_times.made_again(cut.sides, cut.folds, planes[2], share) - 1
    again *= forward + backward
    if together > 1:
        unshared += forward * _PRODUCT_SHARE
    return (shared / together + unshared + again) / problem.threads


def taps_at_once(problem: Problem) -> int:
    """Return how many taps an instruction multiplies in direct sums, 0 if there is none."""
    return _summed_at_once(problem)[0]


def _summed_at_once(problem: Problem) -> tuple[int, int, int]:
    """Return how many taps, and rows and columns of windows, direct sums take together."""
    extension = kernel_parts.extension()
    assert extension is not None, "takes says so"
    counts: tuple[int, int, int]
    counts = extension.at_once(kernel_parts.variant(), FORMATS[problem.dtype])
    return counts


def best_tile(problem: Problem, *, is_direct: bool = False) -> tuple[int, int]:
    """Return a tile of whole blocks, for each thread one or some of `_TILE_SECONDS`."""
    rows, cols = problem.map_shape
    # Those of one kernel, so that its tiles, and their rounding, are the same beside others.
    alone = _seconds_of_direct_sums(problem) if is_direct else _seconds_of_transforms(problem, 1)
    work = alone * problem.threads
    count = max(problem.threads, work / _TILE_SECONDS)
    wide = min(cols, _WIDEST)
    share = max(1, int(rows * cols / (count * wide)))
    block = blocks.BLOCK
    tall = -(-share // block) * block
    if not is_direct:  # whole transforms, in as many blocks as they fill
        height = cut_of(problem).windows(problem.kernel[:2], problem.stride)[0]
        filled = -(-share // height) * height // block * block
        tall = filled if filled >= share else tall
    return min(rows, tall), wide


def working_bytes(problem: Problem, rows: int, cols: int, *, is_direct: bool = False) -> int:
    """Return the bytes of scoring a tile, beside its pixels and `Bounds.estimate_bytes`."""
    extension = kernel_parts.extension()
    assert extension is not None, "takes says so"
    together = 1 if is_direct else at_once(problem, rows, cols)
    may_repeat = not is_direct and _can_repeat(problem)
    scratch = _scratch(
        problem, rows, cols, kernels=together, is_direct=is_direct, may_repeat=may_repeat
    )
    score_bytes = 4 * together * rows * cols
    kernel = 0 if problem.kernel_count > 1 else kernel_bytes(problem, is_direct=is_direct)
    if may_repeat and not can_keep_double_spectra(problem):
        scratch += 8 * cut_of(problem).kernel_values * problem.kernel[2]
    # Before, while a kernel is prepared, its values and what they are made of.
    preparing = 2 * 8 * term_count(problem) * problem.taps
    return max(scratch + score_bytes, preparing) + kernel - Bounds.estimate_bytes(rows, cols)


def _scratch(
    problem: Problem,
    rows: int,
    cols: int,
    *,
    kernels: int = 1,
    is_direct: bool = False,
    may_repeat: bool = False,
    cut: Cut | None = None,
) -> int:
    """Return the bytes that the extension allocates for a tile and so many kernels.

    `cut` is in place of that of large tiles.
    """
    extension = kernel_parts.extension()
    assert extension is not None, "takes says so"
    uncut: dict[str, Any] = {"parts_y": 1, "parts_x": 1}
    scratch: int = extension.scratch(
        format=FORMATS[problem.dtype],
        windows=(rows, cols),
        kernel_shape=problem.kernel,
        stride=problem.stride,
        block=blocks.BLOCK,
        is_direct=is_direct,
        **(uncut if is_direct else (cut or cut_of(problem)).arguments),
        terms=term_count(problem),
        variant=kernel_parts.variant(),
        kernels=kernels,
        may_repeat=may_repeat,
        is_sad=problem.metric == "sad",
    )
    return scratch


def at_once(problem: Problem, rows: int, cols: int) -> int:
    """Return how many kernels of one size are scored at once in a tile, as memory allows."""
    extension = kernel_parts.extension()
    assert extension is not None, "takes says so"
    most = min(problem.kernel_count, problem.same_size, extension.MOST_KERNELS)
    if most < 2:
        return 1
    first, second = (_scratch(problem, rows, cols, kernels=count) for count in (1, 2))
    kernel_bytes = second - first + 4 * rows * cols
    return int(max(1, min(most, _AT_ONCE_BYTES // kernel_bytes)))


def _can_repeat(problem: Problem) -> bool:
    """Return whether tiles whose scores could be off by too much are transformed in float64.

    Correlations of windows of little contrast may be. A score of `ssd` is off by no more than
    4e-4: R / 2 bounds the norms of a tile and of the kernel. Those of `sad` have a tolerance.
    """
    if problem.metric == "sad":
        return False
    return problem.metric != "ssd" or kernel_parts.error_limit(problem) < _SSD_ERROR


def can_keep_double_spectra(problem: Problem) -> bool:
    """Return whether a kernel's transforms in float64 are kept once tiles needed them.

    Larger ones would leave a `Matcher` no room to keep the kernel itself.
    """
    if problem.kernel_count > 1 or not _can_repeat(problem):
        return False
    return 8 * cut_of(problem).kernel_values * problem.kernel[2] <= _MOST_DOUBLE_BYTES


def kernel_bytes(problem: Problem, *, is_direct: bool = False) -> int:
    """Return the bytes of a prepared kernel: its transforms and its values as float64."""
    values = 0 if is_direct else cut_of(problem).kernel_values
    item = 12 if can_keep_double_spectra(problem) else 4  # in float64, too
    return term_count(problem) * (item * problem.kernel[2] * values + 8 * problem.taps)
