"""The maps of a search that are not kept: reduced for pictures, and written while they are made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from patchsim.engines import Problem
from patchsim.planning.replanning import PlanMarks
from patchsim.ranking.block_grid import Known
from patchsim.ranking.block_maxima import BlockMaxima
from patchsim.ranking.contract import ScoreTaker
from patchsim.ranking.reduced_map import ReducedMap
from patchsim.search.jobs import Job

if TYPE_CHECKING:
    from patchsim.events import Observer
    from patchsim.output.resumed_map import ResumedMap
    from patchsim.output.streamed_maps import StreamedMap, StreamedMaps
    from patchsim.output.targets import Outputs

_BOUND_BYTES = 8  # of a block


class Begun(NamedTuple):
    """The maps of jobs that are scored together.

    Attributes
    ----------
    reduced : list of ReducedMap
        One for each job, or none.
    takers : sequence of sequences of ScoreTaker
        Those of each job, if there are any.
    known : list of Known
        What is known of each job's windows from an earlier run, if anything can be.
    """

    reduced: list[ReducedMap]
    takers: Sequence[Sequence[ScoreTaker]]
    known: list[Known]


class UnkeptMaps:
    """The maps of all jobs of a search.

    Parameters
    ----------
    problems : sequence of Problem
    outputs : Outputs
        Which files are wanted.
    streamed : StreamedMaps or None
        The files of the maps themselves.
    side : int
        The most cells of a reduced map's side.
    share : int
        The bytes that reduced maps take together.

    Attributes
    ----------
    nbytes : int
        The bytes of all reduced maps, and of what is known of windows.
    """

    def __init__(
        self,
        problems: Sequence[Problem],
        outputs: Outputs,
        streamed: StreamedMaps | None,
        side: int,
        share: int,
    ) -> None:
        self._streamed = streamed
        self._factors: list[int] = []
        self.nbytes = 0
        if streamed:
            streamed.check([problem.map_shape for problem in problems])
        if self.marks is not None:
            self.nbytes = sum(
                _BOUND_BYTES * BlockMaxima.count_blocks(one.map_shape) for one in problems
            )
        if outputs.is_map_needed:
            share_of_map = share // len(problems)
            self._factors = [
                ReducedMap.factor_of(p.map_shape, side, share_of_map) for p in problems
            ]
            self.nbytes += sum(
                ReducedMap.estimate_bytes(problem.map_shape, factor)
                for problem, factor in zip(problems, self._factors, strict=True)
            )

    @property
    def marks(self) -> list[PlanMarks | None] | None:
        """The marks of the plans of an earlier run, if the maps go on where one ended."""
        return self._streamed.marks if self._streamed and self._streamed.is_resumed else None

    def begin(self, jobs: Sequence[Job], numbers: Sequence[int], observer: Observer) -> Begun:
        """Begin the maps of jobs that are scored together, which have these numbers."""
        reduced = [
            ReducedMap(job.plan.problem.map_shape, self._factors[number])
            for job, number in zip(jobs, numbers, strict=True)
            if self._factors
        ]
        files = self._opened(jobs)
        known = []
        for number, file in enumerate(files):
            if file.resumed is None:
                continue
            known.append(file.resumed.known)
            if file.resumed.notice:
                observer.notice(file.resumed.notice)
            if reduced:
                file.resumed.put_again(reduced[number])
        takers = [*zip(*(of_all for of_all in (reduced, files) if of_all), strict=True)]
        return Begun(reduced, takers, known)

    def _opened(self, jobs: Sequence[Job]) -> list[StreamedMap | ResumedMap]:
        """Begin the files of the maps of jobs, if they are written while they are made."""
        if not self._streamed:
            return []
        kernels = [job.number for job in jobs]
        return [
            self._streamed.open(
                job.number, job.plan.problem.map_shape, PlanMarks.of(job.plan, kernels)
            )
            for job in jobs
        ]
