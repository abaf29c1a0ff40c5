"""Criteria of a match that are stricter than its score, and what they say of each match."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from patchsim import metrics
from patchsim.errors import InputError
from patchsim.metrics import Kernel, Visibility
from patchsim.metrics.written import told
from patchsim.options import AUTO, Options
from patchsim.search.jobs import Job

if TYPE_CHECKING:
    from patchsim.matches.pose_selection import Candidate
    from patchsim.metrics.local_differences import Measured

_ROUNDING = 1e-9  # of a mean of scores


@dataclass(eq=False, repr=False)
class Criteria:
    """The criteria of a search.

    Attributes
    ----------
    options : Options
    span : float
        The data range R.
    jobs : sequence of Job
        Those whose windows are asked about; empty where poses are fitted without.
    refused : int
        How many windows or poses failed.
    first_refused : (x, y, Measured) or None
        The best of them, and where it lies in the image.
    """

    options: Options
    span: float
    jobs: Sequence[Job] = ()
    refused: int = 0
    first_refused: tuple[float, float, Measured] | None = None
    _best_refused: float = -math.inf

    def is_met(self, index: int, y: int, x: int) -> bool:
        """Return whether a window of a job, (y, x) in its pixels, meets the criteria.

        Better windows are asked about before others.
        """
        top, left = self.jobs[index].origin
        return self._is_met(self.measure(index, y, x), x + left, y + top, -self.refused)

    def is_met_by_pose(self, candidate: Candidate) -> bool:
        """Return whether a fitted pose meets the criteria."""
        assert candidate.measured is not None
        x, y = np.floor(np.min(candidate.corners, axis=0) + 0.5).astype(int).tolist()
        return self._is_met(candidate.measured, x, y, candidate.score)

    def _is_met(self, measured: Measured, x: float, y: float, rank: float) -> bool:
        worst, max_differing = self.options.worst, self.options.max_differing
        is_met = measured.worst is None or worst is None or measured.worst >= worst
        if measured.differing is not None and max_differing is not None:
            differing = measured.differing
            is_met &= (
                differing.pixels if isinstance(max_differing, int) else differing.share
            ) <= max_differing
        if not is_met:
            self.refused += 1
            if self.first_refused is None or rank > self._best_refused:
                self.first_refused, self._best_refused = (x, y, measured), rank
        return is_met

    def measure(self, index: int, y: int, x: int) -> Measured:
        """Return what the criteria say of a window of a job."""
        job = self.jobs[index]
        kernel, (height, width) = job.kernel, job.kernel.size
        window = np.asarray(job.pixels[y : y + height, x : x + width])
        weights = kernel.weights
        if job.visible is not None:
            weights = job.visible.window_weights(weights, y, x, (height, width))
        return measured(window, kernel.pixels, weights, self.options, self.span)

    @property
    def lowest(self) -> float | None:
        """The score that every window which meets the criteria has at least; None if unknown."""
        most = self.options.max_differing or 0
        shares = [_largest_share(job.kernel, job.visible, most) for job in self.jobs]
        return lowest(self.options, max(shares, default=1.0))

    def notices(self) -> list[str]:
        """Say how many places were refused, and how the best of them failed."""
        if self.first_refused is None:
            return []
        x, y, measures = self.first_refused
        texts = []
        if measures.worst is not None:
            texts.append(f"its worst block scores {told(measures.worst)}")
        if measures.differing is not None:
            pixels, _, largest = measures.differing
            texts.append(f"{pixels:,} of its pixels differ, by up to {largest:.4g}")
        count = self.refused
        return [
            f"{count:,} place{'s' * (count != 1)} did not meet {self._asked(' or ')};\n"
            f"of the best, at {x},{y}, {' and '.join(texts)}"
        ]

    @property
    def named(self) -> str:
        """The criteria, all of which a place must meet."""
        return self._asked(" and ")

    def _asked(self, conjunction: str) -> str:
        """Return the options that places must meet, and their names in Python in brackets."""
        given = {"worst": self.options.worst, "max_differing": self.options.max_differing}
        names = [name for name, value in given.items() if value is not None]
        flags = [f"--{name.replace('_', '-')}" for name in names]
        return f"{conjunction.join(flags)} ({', '.join(names)})"


def measured(
    window: NDArray[Any],
    kernel: NDArray[Any],
    weights: NDArray[Any] | None,
    options: Options,
    span: float,
) -> Measured:
    """Return what the criteria say of a window [h, w, C] and a kernel."""
    from patchsim.metrics import local_differences  # few searches have criteria

    arguments = window, kernel, weights, span
    worst = None
    if options.worst is not None:
        worst = local_differences.worst_block(*arguments, metrics.formula_of(options.metric))
    if options.pixel_tolerance is None:
        return local_differences.Measured(worst, None)
    return local_differences.Measured(
        worst, local_differences.differing(*arguments, options.pixel_tolerance)
    )


def lowest(options: Options, largest_share: float = 1.0) -> float | None:
    """Return the score that all places have which meet the criteria; None if it is unknown.

    The score of a place is a mean of those of blocks, of which some cover all pixels.

    Parameters
    ----------
    options : Options
    largest_share : float
        The largest share of the weight that `max_differing` pixels may have.
    """
    formula = metrics.formula_of(options.metric)
    bounds = [] if options.worst is None else [options.worst]
    if options.max_differing is not None and options.pixel_tolerance is not None:
        from patchsim.metrics import local_differences

        most = options.max_differing
        share = largest_share if isinstance(most, int) and most else float(most)
        step = min(1.0, (options.pixel_tolerance + 0.001) / local_differences.STEPS)
        step = step * step if formula.squares else step
        bounds += [] if formula.correlates else [1 - share - (1 - share) * step]
    return max(bounds) - _ROUNDING if bounds else None


def least_score(options: Options) -> float | None:
    """Return the score that fitted poses need for the threshold and the criteria; None for any."""
    if options.threshold == AUTO:
        return None
    bounds = [options.numeric_threshold, lowest(options) if options.has_criteria else None]
    return max((one for one in bounds if one is not None), default=None)


def check(options: Options) -> None:
    """Check that the criteria can be used with the other options.

    Raises
    ------
    InputError
        If they cannot.
    """
    is_open = options.threshold is None and options.worst is None
    correlates = metrics.formula_of(options.metric).correlates
    if correlates and options.max_differing is not None and is_open:
        raise InputError(
            f"max-differing with {options.metric} compares every window unless there is a"
            " threshold; give --threshold or --worst, too"
        )


def _largest_share(kernel: Kernel, visible: Visibility | None, most: float) -> float:
    """Return the largest share of a kernel's weight that so many pixels have."""
    if visible is not None or not isinstance(most, int):
        return 1.0
    if kernel.weights is None:
        return min(1.0, most / math.prod(kernel.size))
    weights = kernel.weights.astype(np.int64)
    weights = weights.sum(axis=2) if weights.ndim == 3 else weights
    return min(1.0, most * float(weights.max() / weights.sum()))
