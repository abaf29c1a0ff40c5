"""Criteria of a match that are stricter than its score, and what they say of each match."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from patchsim import metrics
from patchsim.errors import InputError
from patchsim.metrics import local_differences
from patchsim.metrics.local_differences import Differing
from patchsim.options import AUTO, Options
from patchsim.search.jobs import Job

_ROUNDING = 1e-9  # of a mean of scores


class Measured(NamedTuple):
    """What the criteria that are asked for say of a window; None without them."""

    worst: float | None
    differing: Differing | None


@dataclass
class Criteria:
    """The criteria of a search.

    Attributes
    ----------
    jobs : sequence of Job
    options : Options
    span : float
        The data range R.
    refused : int
        How many windows failed.
    first_refused : (job, y, x, Measured) or None
        The first of them, which is the best.
    """

    jobs: Sequence[Job]
    options: Options
    span: float
    refused: int = 0
    first_refused: tuple[Job, int, int, Measured] | None = None

    @classmethod
    def of(cls, jobs: Sequence[Job], options: Options, span: float) -> Criteria | None:
        """Return the criteria; None if none is asked for."""
        return cls(jobs, options, span) if options.has_criteria else None

    def accepts(self, index: int, y: int, x: int) -> bool:
        """Return whether a window of a job, (y, x) in its pixels, meets the criteria."""
        measured = self.measure(index, y, x)
        least, most = self.options.worst, self.options.max_differing
        is_met = measured.worst is None or least is None or measured.worst >= least
        if measured.differing is not None and most is not None:
            found = measured.differing
            is_met &= (found.pixels if isinstance(most, int) else found.share) <= most
        if not is_met:
            self.refused += 1
            if self.first_refused is None:
                self.first_refused = self.jobs[index], y, x, measured
        return is_met

    def measure(self, index: int, y: int, x: int) -> Measured:
        """Return what the criteria say of a window of a job."""
        job, options = self.jobs[index], self.options
        kernel, (height, width) = job.kernel, job.kernel.size
        window = job.pixels[y : y + height, x : x + width]
        weights = kernel.weights
        if job.visible is not None:
            weights = job.visible.window_weights(weights, y, x, (height, width))
        squares = metrics.formula_of(options.metric).squares
        arguments = window, kernel.pixels, weights, self.span
        worst = None
        if options.worst is not None:
            worst = local_differences.worst_block(*arguments, squares=squares)
        if options.pixel_tolerance is None:
            return Measured(worst, None)
        return Measured(worst, local_differences.differing(*arguments, options.pixel_tolerance))

    @property
    def lowest(self) -> float | None:
        """The score that every window which meets the criteria has at least; None if unknown.

        A score by `sad` or `ssd` is a mean of those of blocks, of which some cover all pixels.
        """
        options, formula = self.options, metrics.formula_of(self.options.metric)
        if formula.correlates:
            return None
        bounds = [] if options.worst is None else [options.worst]
        if options.max_differing is not None and options.pixel_tolerance is not None:
            share = max(_largest_share(job, options.max_differing) for job in self.jobs)
            step = min(1.0, (options.pixel_tolerance + 0.001) / local_differences.STEPS)
            step = step * step if formula.squares else step
            bounds.append(1 - share - (1 - share) * step)
        return max(bounds) - _ROUNDING

    def notices(self, *, is_found: bool) -> list[str]:
        """Say how many places were refused and how the best of them failed, or why all are."""
        if not self.refused and not is_found:
            return ["no match: no score is so high that --worst or --max-differing can be met"]
        if self.first_refused is None:
            return []
        job, y, x, measured = self.first_refused
        count = self.refused
        texts = []
        if measured.worst is not None:
            texts.append(f"its worst block scores {measured.worst:.6g}")
        if measured.differing is not None:
            found = measured.differing
            texts.append(f"{found.pixels:,} of its pixels differ, by up to {found.largest:.4g}")
        top, left = job.origin
        return [
            f"{count:,} place{'s' * (count != 1)} did not meet --worst or --max-differing (worst,"
            f" max_differing);\nof the best, at {x + left},{y + top}, {' and '.join(texts)}"
        ]


def check(options: Options) -> None:
    """Check that the criteria can be used with the other options.

    Raises
    ------
    InputError
        If they cannot.
    """
    if not options.has_criteria:
        return
    if options.poses is not None and not options.poses.are_whole:
        raise InputError(
            "worst and max-differing compare pixels one by one, which fitted poses do not have;\n"
            "give quarter turns (angles 0,90,180,270) and mirror images alone, or neither"
        )
    if options.threshold == AUTO:
        raise InputError(
            "threshold auto judges places by their scores alone; with worst or max-differing give"
            " a number"
        )
    if not metrics.formula_of(options.metric).correlates:
        return
    if options.worst is not None:
        raise InputError(
            f"worst is the lowest score of a block, and blocks of one colour have none by"
            f" {options.metric}; give --metric sad or ssd, or --max-differing"
        )
    if options.max_differing is not None and options.threshold is None:
        raise InputError(
            f"max-differing with {options.metric} compares every window unless there is a"
            " threshold; give --threshold, too"
        )


def _largest_share(job: Job, most: float) -> float:
    """Return the largest share of a kernel's weight that so many pixels, or such a share, have."""
    if not isinstance(most, int):
        return most
    if job.visible is not None:
        return 1.0 if most else 0.0
    if job.kernel.weights is None:
        height, width = job.kernel.size
        return min(1.0, most / (height * width))
    weights = job.kernel.weights
    weights = weights.astype(np.int64)
    weights = weights.sum(axis=2) if weights.ndim == 3 else weights
    return min(1.0, most * float(weights.max() / weights.sum()))
