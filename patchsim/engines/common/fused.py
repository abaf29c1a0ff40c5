"""`ssd`, `ncc`, `zncc` and `sad` within a tolerance, in C: from pixels to scores in one pass.

`_correlation.h` has the method and the formulas. The products of windows with the kernel come from
Fourier transforms (the engine `fft`), or from direct sums (the engine `simd`), which are faster for
small kernels. The scores are float32; their errors are stated for each block of windows.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from patchsim.engines.common import kernel_limit, kernel_parts, kernel_taps, lowrank, sad_terms
from patchsim.engines.common.fitted import Fit
from patchsim.engines.common.fused_costs import (
    FORMATS,
    at_once,
    can_keep_double_spectra,
    cut_of,
    cut_of_tile,
    planes_of,
    taps_at_once,
)
from patchsim.engines.common.fused_costs import best_tile as best_tile
from patchsim.engines.common.fused_costs import kernel_bytes as kernel_bytes
from patchsim.engines.common.fused_costs import seconds as seconds
from patchsim.engines.common.fused_costs import working_bytes as working_bytes
from patchsim.engines.common.kernel_parts import Value, aligned
from patchsim.engines.common.sad_terms import NARROW_TYPES, Values
from patchsim.engines.contract import BlockBounds, Bounds, Seen, SharedScorer
from patchsim.engines.problem import Problem
from patchsim.engines.tile_cache import Shared
from patchsim.geometry import blocks
from patchsim.machine import extensions
from patchsim.metrics import INTEGER_RANGE, Kernel
from patchsim.numerics.precision import EXACT_IN_FLOAT64

# Transforms for a window, over those of all channels and the way back; with more, longer transforms
# are faster (`fft.scores`), except of floats. Measured with kernels of 128 to 400 on an AMD EPYC;
# those of `sad` with kernels of 400 to 1500 on an Intel Xeon, of which none was faster by others.
_MOST_TRANSFORMS = {"uint8": 1.6e-4, "uint16": 1.6e-4, "floats": 1e-3, "sad": 1e-3}


def can_take(problem: Problem, *, is_direct: bool = False) -> bool:
    """Return whether the C extension was built and scores this problem as it is asked for."""
    return refusal(problem, is_direct=is_direct) is None


def refusal(problem: Problem, *, is_direct: bool) -> str | None:
    """Return why it does not score this problem, or None."""
    extension = kernel_parts.extension()
    if extension is None:
        return extensions.refusal("_correlation")
    if problem.device != "cpu":
        return "it runs on the cpu"
    if problem.metric == "sad":
        return _refusal_of_sad(problem, is_direct=is_direct)
    if problem.dtype not in FORMATS:
        return f"it takes {', '.join(FORMATS)}, not {problem.dtype}"
    if problem.exact:
        return "its scores are rounded to float32"
    if problem.weight_sum is not None or problem.opaque_level is not None:
        return f"its {problem.metric} takes no masks"
    if problem.kernel[2] > extension.MOST_CHANNELS:
        return f"its {problem.metric} takes up to {extension.MOST_CHANNELS} channels"
    if not _is_exact(problem):
        return "its sums over so many pixels are not exact; use a smaller kernel"
    if is_direct:
        return _refusal_of_direct_sums(problem)
    kind = problem.dtype if problem.dtype in INTEGER_RANGE else "floats"
    if _is_too_large(problem, _MOST_TRANSFORMS[kind]):
        return "its transforms are too short for the kernel"
    return None


def _refusal_of_sad(problem: Problem, *, is_direct: bool) -> str | None:
    if is_direct or lowrank.products_needed(problem) is None:
        return "it approximates sad, within a tolerance"
    if problem.dtype not in NARROW_TYPES:
        return f"its sad takes {', '.join(NARROW_TYPES)}, not {problem.dtype}"
    if problem.opaque_level is not None:
        return "its sad takes images all visible"
    if problem.kernel[2] > sad_terms.MOST_CHANNELS:
        return f"its sad takes up to {sad_terms.MOST_CHANNELS} channels"
    if _is_too_large(problem, _MOST_TRANSFORMS["sad"]):
        return "its transforms are too short for the kernel"
    return None


def _is_too_large(problem: Problem, most: float) -> bool:
    planes, is_near = planes_of(problem), problem.metric == "sad"
    cut_for = partial(kernel_parts.best_cut, planes, is_near=is_near)
    return kernel_limit.is_too_large(planes, (1, 1), most, cut_for)


def _refusal_of_direct_sums(problem: Problem) -> str | None:
    extension = kernel_parts.extension()
    assert extension is not None
    if problem.stride != (1, 1):
        return f"its {problem.metric} takes a stride of 1"
    if not taps_at_once(problem):
        return f"this processor has no instruction for its {problem.metric} of {problem.dtype}"
    if max(problem.kernel[:2]) > extension.SIDE:
        return f"its {problem.metric} takes kernels of up to {extension.SIDE} pixels a side"
    if problem.dtype == "uint8" and problem.taps * 255 * 128 >= 1 << 31:
        return "its sums over so many pixels do not fit 32 bits; use a smaller kernel"
    return None


def _is_exact(problem: Problem) -> bool:
    """Return whether E is exact, in float64, and so are its parts, in their types."""
    height, width, channels = problem.kernel
    if problem.dtype not in INTEGER_RANGE:
        return True
    largest = INTEGER_RANGE[problem.dtype] ** 2
    if problem.dtype == "uint8" and height * channels * largest >= 1 << 31:
        return False  # squares are summed along columns in 32 bits
    return height * width * channels * largest < EXACT_IN_FLOAT64


def prepare(kernel: Kernel, problem: Problem, *, is_direct: bool = False) -> SharedScorer:
    """Prepare a kernel; the result scores tiles of an image all visible.

    The kernel may have weights if the metric is `sad`.
    """
    values = _values_of(kernel, problem)
    return partial(_Together([kernel], [problem], values=values, is_direct=is_direct).score, 0)


def prepare_together(kernels: Sequence[Kernel], problems: Sequence[Problem]) -> list[SharedScorer]:
    """As `prepare`, by transforms; kernels of one size share those of a tile.

    Those of `sad` have the same functions of the image, too, so that each has the scores that it
    has alone.
    """
    alike = defaultdict(list)
    values_of = [_values_of(*pair) for pair in zip(kernels, problems, strict=True)]
    for number, (problem, values) in enumerate(zip(problems, values_of, strict=True)):
        alike[problem.kernel, values and values.key].append(number)
    scorers: dict[int, SharedScorer] = {}
    for numbers in alike.values():
        pairs = [(kernels[number], problems[number]) for number in numbers]
        together = _Together(*zip(*pairs, strict=True), values=values_of[numbers[0]])
        scorers |= {number: partial(together.score, i) for i, number in enumerate(numbers)}
    return [scorers[number] for number in range(len(kernels))]


def _values_of(kernel: Kernel, problem: Problem) -> Values | None:
    """Return the functions of the image's values that `sad` takes."""
    return sad_terms.of(kernel, problem) if problem.metric == "sad" else None


class _Waiting:
    """Kept of a tile: the scores of kernels whose turn has not come yet."""

    def __init__(self) -> None:
        self.bounds: dict[tuple[_Together, int, tuple[int, int]], Bounds] = {}


class _Prepared(NamedTuple):
    """Kernels for a cut."""

    spectra: NDArray[np.float32]  # [kernels, values]
    summaries: NDArray[np.float64]  # [kernels, 1 + parts x terms]


class _Together:
    """Kernels of one size, prepared; as many at a time are scored as `at_once` says.

    Those of `sad` have the same functions of the image, `values`.
    """

    def __init__(
        self,
        kernels: Sequence[Kernel],
        problems: Sequence[Problem],
        *,
        values: Values | None,
        is_direct: bool = False,
    ) -> None:
        problem = problems[0]
        built = kernel_parts.extension()
        assert built is not None, "takes says so"
        self._problem, self._built, self._is_direct = problem, built, is_direct
        height, width, channels = problem.kernel
        terms = values.products if values else 1
        self._taps = np.empty((len(kernels), terms * channels, height, width))
        self._means = np.empty((len(kernels), (2 if values else 1) * channels))
        self._numbers = np.empty((len(kernels), 5))
        self._arguments: dict[str, Any] = {
            "metric": problem.metric,
            "limit": kernel_parts.error_limit(problem),
            "stride_y": problem.stride[0],
            "stride_x": problem.stride[1],
            "block": blocks.BLOCK,
            "is_direct": is_direct,
            "terms": terms,
            "variant": kernel_parts.variant(),
            "curves": values.curves if isinstance(values, Fit) else None,
        }
        for number, (kernel, problem_of_kernel) in enumerate(zip(kernels, problems, strict=True)):
            taps, numbers = self._taps[number], self._numbers[number]
            taps[...], self._means[number], numbers[1:] = kernel_taps.of(
                kernel, problem_of_kernel, values
            )
            # Near 1, so that no square overflows or vanishes; the power of two changes no digit.
            # With taps of 0, as those of `ncc` of one value, what is made of the means is near 1.
            largest = float(abs(taps).max() or abs(self._means[number]).max())
            numbers[0] = 2.0 ** math.frexp(largest)[1]
            taps /= numbers[0]
        # By cuts: that of large tiles, and the one that was used last of small ones.
        self._cut = kernel_parts.uncut() if is_direct else cut_of(problem)
        self._prepared_by_cut = {self._cut: self._prepared(self._cut)}
        # A lone kernel's transforms in float64, which tiles of little contrast take, by cut: made
        # for the second such tile, if they are small.
        self._double_spectra: dict[kernel_parts.Cut, NDArray[np.float64] | None] = {}
        self._can_keep_doubles = can_keep_double_spectra(problem)
        self._latest: tuple[tuple[int, int], kernel_parts.Cut] | None = None

    def _prepared(self, cut: kernel_parts.Cut) -> _Prepared:
        """Return the transforms of all kernels, and what scores take of their values beside."""
        terms, parts = self._arguments["terms"], math.prod(cut.parts)
        summaries = np.empty((len(self._taps), 1 + parts * terms))
        for taps, out in zip(self._taps, summaries, strict=True):
            self._built.summary(taps=taps, out=out, terms=terms, **cut.arguments)
        return _Prepared(self._transformed(cut, np.float32), summaries)

    def _transformed(self, cut: kernel_parts.Cut, dtype: type[Value]) -> NDArray[Value]:
        """Return the transforms of all kernels, [kernels, values]."""
        count, planes = self._taps.shape[:2]
        values = cut.kernel_values * planes
        spectra = aligned(0 if self._is_direct else count * values, dtype).reshape(count, -1)
        for taps, out in zip(self._taps, spectra, strict=True):
            if not self._is_direct:
                self._built.spectrum(
                    taps=taps,
                    out=out,
                    terms=self._arguments["terms"],
                    variant=self._arguments["variant"],
                    **cut.arguments,
                )
        return spectra

    def _cut_for(self, windows: tuple[int, int]) -> tuple[kernel_parts.Cut, _Prepared]:
        """Return the cut for a tile, and the kernels for it; several threads may ask."""
        latest = self._latest
        if self._is_direct:
            cut = self._cut
        elif latest is not None and latest[0] == windows:
            cut = latest[1]
        else:
            cut = cut_of_tile(self._problem, windows)
            self._latest = windows, cut
        prepared = self._prepared_by_cut.get(cut)
        if prepared is None:
            prepared = self._prepared(cut)
            self._prepared_by_cut = {self._cut: self._prepared_by_cut[self._cut], cut: prepared}
        return cut, prepared

    def _double_spectra_of(self, cut: kernel_parts.Cut) -> NDArray[np.float64] | None:
        """Return a lone kernel's transforms in float64, if it needed them; threads may ask."""
        kept = self._double_spectra
        if cut not in kept:
            return None
        spectra = kept[cut]
        if spectra is None:
            spectra = self._transformed(cut, np.float64)
            self._double_spectra = {cut: spectra}
        return spectra

    def score(
        self, number: int, shared: Shared, windows: tuple[int, int], _seen: Seen | None = None
    ) -> Bounds:
        """Return the scores of one kernel, and keep those of the next ones for their turns."""
        if len(self._taps) == 1:
            return self._scores(slice(0, 1), shared, windows)[0]
        waiting = shared.fields(_Waiting).bounds
        bounds = waiting.pop((self, number, windows), None)
        if bounds is not None:
            return bounds
        first, last = number, min(number + at_once(self._problem, *windows), len(self._taps))
        first_bounds, *others = self._scores(slice(first, last), shared, windows)
        for i, bounds in enumerate(others):
            waiting[self, first + 1 + i, windows] = bounds
        return first_bounds

    def _scores(self, kernels: slice, shared: Shared, windows: tuple[int, int]) -> list[Bounds]:
        problem, grid = self._problem, blocks.grid_shape(windows)
        pixels = shared.under(windows, problem.kernel[:2], problem.stride)
        taps = self._taps[kernels]
        cut, prepared = self._cut_for(windows)
        scores = np.empty((len(taps), *windows), np.float32)
        maxima, errors = (np.empty((len(taps), *grid), np.float32) for _ in range(2))
        _, repeated = self._built.scores(
            image=kernel_parts.rows_without_gaps(pixels),
            spectra=prepared.spectra[kernels],
            summaries=prepared.summaries[kernels],
            double_spectra=self._double_spectra_of(cut),
            taps=taps,
            means=self._means[kernels],
            numbers=self._numbers[kernels],
            map=scores,
            maxima=maxima,
            errors=errors,
            **self._arguments,
            **cut.arguments,
        )
        if repeated and self._can_keep_doubles and cut not in self._double_spectra:
            self._double_spectra = {cut: None}
        return [
            Bounds(scores[i], float(errors[i].max()), blocks=BlockBounds(maxima[i], errors[i]))
            for i in range(len(taps))
        ]
