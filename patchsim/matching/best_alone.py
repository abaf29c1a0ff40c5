"""The report of an array like the one before, if its best few matches alone are asked for."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from patchsim.output.notebook import ImageDisplay
from patchsim.output.report import Report
from patchsim.output.report_parts import Match

if TYPE_CHECKING:
    from patchsim.options import Options
    from patchsim.pictures.reader import Source
    from patchsim.planning.planner import Plan
    from patchsim.search.jobs import Job

_MOST = 32  # matches that are found one by one in the whole map


class BestAlone(NamedTuple):
    """The values that the reports of arrays of one kind have in common.

    Attributes
    ----------
    of_report, of_match : dict
        The values of a report's attributes, and those of a match.
    origin : (y, x)
        The place in the image that the whole kernel has in the first window.
    keeps_map : bool
        Put the map into the report.
    top : int
        The number of matches.
    has_margins : bool
        Tell how far they are ahead of the next place.
    """

    of_report: dict[str, Any]
    of_match: dict[str, Any]
    origin: tuple[int, int]
    keeps_map: bool
    top: int
    has_margins: bool

    @classmethod
    def of(cls, report: Report, job: Job, options: Options, *, keeps_map: bool) -> BestAlone | None:
        """Return what a report has in common with the next ones.

        None if their matches depend on more than the best few windows, as by a threshold.

        Parameters
        ----------
        report : Report
            It has one kernel, in one pose, and no notices.
        job : Job
        options : Options
        keeps_map : bool
        """
        if options.top is None or options.threshold is not None or not report:
            return None
        if options.top > _MOST or (options.top > 1 and options.sort != "score"):
            return None
        of_report = {one.name: getattr(report, one.name) for one in fields(report)}
        of_report |= {"matches": (), "maps": (), "display": None}  # which hold the image
        of_match = {one.name: getattr(report[0], one.name) for one in fields(report[0])}
        return cls(of_report, of_match, job.origin, keeps_map, options.top, report.margin)

    @property
    def place_count(self) -> int:
        """The number of places that are to be found: one more than matches for their margins."""
        return self.top + self.has_margins

    def with_plan(self, plan: Plan) -> BestAlone:
        """Return the same for reports of a search by another plan."""
        return self._replace(of_report={**self.of_report, "plans": (plan,)})

    def report(
        self,
        places: Sequence[tuple[int, int, float]],
        error: float | NDArray[np.floating],
        score_map: NDArray[np.floating] | None,
        image: Source,
        started: float,
    ) -> Report:
        """Return the report of an image.

        Parameters
        ----------
        places : sequence of (y, x, score)
            Its best windows that do not overlap, `place_count` of them.
        error : float or array [rows, cols]
            The largest error of a score, or that of each.
        score_map : float array [rows, cols] or None
            The scores of all windows, if they were kept.
        image : array
        started : float
            When the search began, in seconds of `time.perf_counter`.
        """
        largest_error = error if isinstance(error, float) else float(error.max())
        down, across = self.origin
        next_score = places[self.top][2] if self.has_margins else None
        matches = tuple(
            Match(
                **{
                    **self.of_match,
                    "x": x + across,
                    "y": y + down,
                    "score": score,
                    "margin": None if next_score is None else score - next_score,
                }
            )
            for y, x, score in places[: self.top]
        )
        (kernel,) = self.of_report["kernels"]
        if kernel.tolerance != largest_error:
            kernel = replace(kernel, tolerance=largest_error)
        maps: tuple[NDArray[np.float32], ...] = ()
        if self.keeps_map:
            assert score_map is not None, "it was asked for"
            maps = (score_map.astype(np.float32, copy=False),)
        changed = {
            "matches": matches,
            "kernels": (kernel,),
            "maps": maps,
            "display": ImageDisplay(image),
            "seconds": time.perf_counter() - started,
        }
        return Report(**{**self.of_report, **changed})
