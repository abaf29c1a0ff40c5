"""The expected seconds of an exhaustive search of poses: of its scores, contests and fits."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from patchsim.options import Options
from patchsim.search.jobs import Job

# The seconds that fit a pose, beside its values and for each of them. Measured: 6 to 43 ms for
# kernels of 2,000 to 74,000 values.
_FIT_SECONDS, _VALUE_SECONDS = 4e-3, 4e-7


class PoseSeconds(NamedTuple):
    """The seconds of an exhaustive search of poses.

    Attributes
    ----------
    scores : float
        Of the scores, or bounds, of all windows.
    contests : float
        Of the search for the best windows of all poses of a scale. Where there are bounds alone,
        most poses have nothing that stands out, so that about all windows are scored.
    fits : float
        Of the fits of the best windows.
    """

    scores: float
    contests: float
    fits: float

    @classmethod
    def of(cls, jobs: Sequence[Job], fitted_each: int, options: Options) -> PoseSeconds:
        """Estimate the seconds of jobs, so many windows of which are fitted for each scale."""
        scores = sum(job.plan.chosen.seconds for job in jobs)
        contests = sum(
            job.plan.direct_plan.seconds_of(*job.plan.problem.map_shape)
            for job in jobs
            if job.plan.direct_plan is not None
        )
        scales = {(job.number, job.pose.unturned): job for job in jobs}.values()
        return cls(scores, contests, fitted_each * seconds_of_fits(scales, options))

    @property
    def total(self) -> float:
        """The seconds of all together."""
        return sum(self)

    def shares(self, together: float) -> tuple[float, float, float]:
        """Return the shares of scores, contests and fits, which are so much together."""
        scores, contests, fits = (seconds / self.total * together for seconds in self)
        return scores, contests, fits


def seconds_of_fits(jobs: Iterable[Job], options: Options) -> float:
    """Estimate how long it takes to fit one window of each of these jobs."""
    values = [math.prod(job.kernel.pixels.shape) for job in jobs]
    return (len(values) * _FIT_SECONDS + sum(values) * _VALUE_SECONDS) / options.threads
