"""A stand-in for other processes: each band of a search is scored in this one, from a pickle."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field

import numpy as np

from patchsim.cluster import work
from patchsim.search.bands import BandBounds


@dataclass
class InTurn:
    """Scores bands one after the other, in no order.

    Attributes
    ----------
    seconds : float
        Those of a band.
    lost : set of int
        The numbers of bands that are not scored.
    done : list of Band
        Those that were scored.
    """

    seconds: float = 1e-9
    lost: set[int] = field(default_factory=set)
    done: list[work.Band] = field(default_factory=list)
    title = "a stand-in"

    def band_source(self, matcher, image, *, region, memory, observer):  # noqa: ARG002
        self.work = work.Work.of(matcher, image, region)
        return self

    def bounds(self, jobs, parts):
        sent = pickle.loads(pickle.dumps(self.work))
        search = work.opened(sent, threads=1, memory=1 << 28)
        bands = work.bands_of(jobs, parts, seconds=self.seconds)
        for number in np.random.default_rng(len(bands)).permutation(len(bands)):
            band = bands[number]
            if number in self.lost:
                for job in band.jobs:
                    rows, cols = jobs[job].plan.problem.map_shape
                    left = min(band.rows, rows - band.top)
                    if left > 0:
                        yield BandBounds.missing(job, band.top, left, cols)
                continue
            self.done.append(band)
            for part in band.halves() or [band]:
                yield from pickle.loads(pickle.dumps(work.score_band(search, sent, part)))
