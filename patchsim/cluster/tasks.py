"""Tasks that are run on workers until each has a result, or is known to have none.

Dask runs a task again whose worker died, but only a few times: a healthy task that meets several
deaths ends with `KilledWorker`, and a task that kills its workers does, too. The client tells them
apart: it submits such a task again alone, then in halves, and gives up what still kills. A task
that no worker has any more, or whose result was lost on its way several times, goes the same way. A
task may take as long as it does: after a while the scheduler and the workers are asked for it, and
a notice says which worker has been at it for long.
"""

from __future__ import annotations

import pickle
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from patchsim.cluster.link import Link
from patchsim.cluster.on_worker import Done, Fault
from patchsim.cluster.submitted import Place, Submitted

_PAUSE = 0.03  # seconds between looks for results
_POLL = 2.0  # seconds between looks at the workers
PATIENCE = 60.0  # seconds without a result, after which a task is asked for
LONG_SECONDS = 300.0  # that a task runs, after which a notice tells of it
MOST_DEATHS = 5  # of a task and its halves
_ALONE_DEATHS = 3  # of a task that has no halves
_MOST_FAULTS = 2  # errors of a task that are no deaths
_MOST_LOSSES = 3  # of a task's result on its way; each further one counts as a death


class Task(Protocol):
    """A part of the work, which can be pickled."""

    @property
    def title(self) -> str:
        """The task, as the object of a sentence."""

    def halves(self) -> Sequence[Task]:
        """Return the task in two parts, or nothing if it cannot be split."""


class Source(Protocol):
    """The tasks that there are to do."""

    def take(self, most: int) -> Sequence[Task] | None:
        """Return tasks that are there now, at most so many; None if no further will come."""


@dataclass(frozen=True)
class Failure:
    """A task has no result.

    Attributes
    ----------
    reason : str
        Why, as the rest of a sentence.
    is_input : bool
        A picture is at fault, and not the machine.
    """

    reason: str
    is_input: bool


@dataclass
class _Pending:
    """A task that was submitted, or will be, and how often it failed."""

    task: Task
    deaths: int = 0
    faults: int = 0
    losses: int = 0
    avoid: str | None = None  # the worker where it failed
    since: float = 0.0  # when it was submitted
    has_told: bool = False  # a notice said that it runs for long


@dataclass
class Run:
    """One function that is run on the workers for each task.

    Attributes
    ----------
    link : Link
    function : (constants, key, task) -> bytes
        One of `on_worker`.
    constants : bytes
        Its first argument, sent once to each worker.
    key : str
    source : Source
    failed : callable
        Told of each error of a task that is tried again; it may raise an error that ends the run.
    most_deaths : int
        So often a task and its halves may kill their workers before they are given up.
    """

    link: Link
    function: Callable[[bytes, str, bytes], bytes]
    constants: bytes
    key: str
    source: Source
    failed: Callable[[Fault], None] = lambda _fault: None
    most_deaths: int = MOST_DEATHS
    _suspects: deque[_Pending] = field(default_factory=deque)
    _flying: dict[str, _Pending] = field(default_factory=dict)
    _missed: set[str] = field(default_factory=set)  # what no worker had when it was asked for
    _sent: Submitted = field(init=False)

    def results(self) -> Generator[tuple[Task, Any], None, None]:
        """Yield each task with the function's value, or with a `Failure`, as they come.

        A task that was split stands for its parts, and is not yielded itself.

        Raises
        ------
        MachineError
            If the scheduler or all workers are lost.
        """
        self._sent = self.link.submitted()
        polled, looked = 0.0, time.monotonic()
        try:
            while True:
                is_over = self._fill()
                if not self._flying and is_over and not self._suspects:
                    return
                done = self._sent.completed()
                for name, kind, value in done:
                    if name in self._flying:
                        yield from self._taken(self._flying.pop(name), kind, value)
                if time.monotonic() - polled > _POLL:
                    self.link.check(is_waiting=bool(self._flying))
                    polled = time.monotonic()
                if time.monotonic() - looked > PATIENCE:
                    yield from self._looked_for()
                    looked = time.monotonic()
                if not done:
                    time.sleep(_PAUSE)
        finally:
            self._sent.cancel()

    def _fill(self) -> bool:
        """Submit as many tasks as keep the workers busy; return whether no more will come."""
        room = self.link.window - len(self._flying)
        tasks: Sequence[Task] | None = ()
        if room >= max(1, self.link.window // 4):
            tasks = self.source.take(room)
            if tasks:
                self._submit([_Pending(task) for task in tasks])
        if not self._flying and self._suspects and not tasks:
            self._submit([self._suspects.popleft()])
        return tasks is None

    def _submit(self, tasks: list[_Pending]) -> None:
        avoid = tasks[0].avoid
        names = self._sent.submit(
            self.function,
            self.constants,
            self.key,
            [pickle.dumps(one.task) for one in tasks],
            avoid=avoid,
            never=self.link.refused,
        )
        now = time.monotonic()
        for name, pending in zip(names, tasks, strict=True):
            pending.since = now
            self._flying[name] = pending

    def _taken(
        self, pending: _Pending, kind: str, value: Any
    ) -> Generator[tuple[Task, Any], None, None]:
        """Take the end of a task: ``done`` with bytes, ``died`` or ``error`` with a text."""
        if kind == "done":
            outcome = pickle.loads(value)
            if isinstance(outcome, Done):
                yield pending.task, outcome.value
                return
            if outcome.is_memory:
                yield from self._died(pending, f"{outcome.text} on {outcome.host}")
                return
            yield from self._faulty(pending, outcome)
        elif kind == "died":
            yield from self._died(pending, value)
        elif kind == "lost":  # on its way: nobody is to blame, unless it goes on
            pending.losses += 1
            if pending.losses > _MOST_LOSSES:
                yield from self._died(pending, "its result was lost on its way again and again")
            else:
                self._suspects.append(pending)
        else:
            yield from self._faulty(pending, Fault(value, "a worker", ""))

    def _died(self, pending: _Pending, reason: str) -> Generator[tuple[Task, Any], None, None]:
        """Try a task again alone, then in halves; give it up if it still kills its workers."""
        deaths = pending.deaths + 1
        parts = pending.task.halves() if deaths > 1 else ()
        if deaths >= self.most_deaths or (deaths >= _ALONE_DEATHS and not parts):
            yield pending.task, Failure(reason, is_input=False)
            return
        self._suspects.extend(
            _Pending(task, deaths, losses=pending.losses) for task in parts or (pending.task,)
        )

    def _faulty(self, pending: _Pending, fault: Fault) -> Generator[tuple[Task, Any], None, None]:
        """Try a task once more on another worker."""
        if fault.is_version and fault.address not in self.link.refused:
            self.link.refuse([fault.address])
        if fault.address in self.link.refused:  # of which the task knows nothing
            self._submit([pending])
            return
        self.failed(fault)
        faults = pending.faults + 1
        if faults < _MOST_FAULTS:
            avoid = fault.address or None
            self._suspects.append(replace(pending, faults=faults, avoid=avoid))
            return
        reason = f"{fault.text} (on {fault.host})"
        yield pending.task, Failure(reason, is_input=fault.is_input)

    def _looked_for(self) -> Generator[tuple[Task, Any], None, None]:
        """Take the old tasks as lost that no worker had when they were asked for twice.

        Tell of those that a worker has been at for long.
        """
        now = time.monotonic()
        old = [name for name, one in self._flying.items() if now - one.since > PATIENCE]
        places = self._sent.places(old) if old else {}
        missed = set(old) - places.keys()
        for name in missed & self._missed:
            yield from self._died(self._flying.pop(name), "no worker has it any more")
        self._missed = missed
        for name, place in places.items():
            if place.seconds > LONG_SECONDS and not self._flying[name].has_told:
                self._flying[name].has_told = True
                self.link.tell(_long_text(self._flying[name].task, place))


def _long_text(task: Task, place: Place) -> str:
    since = time.strftime("%H:%M:%S", time.localtime(time.time() - place.seconds))
    return (
        f"the worker at {place.host} has been at {task.title} since {since}, for more than"
        f" {LONG_SECONDS:.0f} s, and is waited for; if it hangs, end it, and another one takes over"
    )
