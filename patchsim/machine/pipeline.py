"""How items that arrive one by one are processed on several threads, with results in order."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

from patchsim.errors import MachineError
from patchsim.machine.threads import cancel_by, start

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
_Answer: TypeAlias = "queue.SimpleQueue[_Result | _Failure]"  # gets one entry


@dataclass(frozen=True)
class _End:
    """The items are used up, or their iterator raised an error."""

    error: BaseException | None


@dataclass(frozen=True)
class _Failure:
    """The work raised an error."""

    error: BaseException


def as_they_come(
    work: Callable[[_Item], _Result], todo: Iterable[_Item], parallel: int
) -> Generator[_Result, None, None]:
    """Yield `work(item)` for each item, in the items' order, with `parallel` items at a time.

    A result is yielded as soon as it and those before it are there; it does not wait for the next
    item. At most two items for each thread are taken before their results are. `todo` is iterated
    in a thread of its own, which may wait for ever for an item without holding up anything else.

    Raises
    ------
    MachineError
        If the system gives no thread.
    """
    line = _Line(work, todo, parallel)
    try:
        line.start()
        while not isinstance(entry := line.order.get(), _End):
            result = entry.get()
            line.room.put(None)
            if isinstance(result, _Failure):
                raise result.error
            yield result
        if entry.error is not None:
            raise entry.error
    finally:
        line.close()


class _Line(Generic[_Item, _Result]):
    """The threads of `as_they_come` and what passes between them.

    All that passes goes through queues written in C. A signal's exception that is raised within a
    future, a semaphore or another lock written in Python leaves it closed for ever.
    """

    def __init__(
        self, work: Callable[[_Item], _Result], todo: Iterable[_Item], parallel: int
    ) -> None:
        self._work, self._todo = work, todo
        self._tasks: queue.SimpleQueue[tuple[_Answer[_Result], _Item] | None] = queue.SimpleQueue()
        self._is_closing = threading.Event()
        self._workers = [
            threading.Thread(target=self._process, name=f"patchsim_picture_{i}", daemon=True)
            for i in range(parallel)
        ]
        self._begun = 0
        self.order: queue.SimpleQueue[_Answer[_Result] | _End] = queue.SimpleQueue()
        self.room: queue.SimpleQueue[None] = queue.SimpleQueue()  # an entry for each further item
        for _ in range(2 * parallel):
            self.room.put(None)

    def start(self) -> None:
        try:
            for worker in self._workers:
                start(worker)
                self._begun += 1
        except MachineError:
            if not self._begun:  # else fewer threads do the work
                raise
        start(threading.Thread(target=self._feed, name="patchsim_feeder", daemon=True))

    def close(self) -> None:
        """Let no further item start, cancel those in progress; the feeder may be waiting."""
        self._is_closing.set()
        self.room.put(None)
        for _ in self._workers:
            self._tasks.put(None)
        for worker in self._workers[: self._begun]:
            worker.join()

    def _feed(self) -> None:
        error: BaseException | None = None
        try:
            for item in self._todo:
                self.room.get()
                if self._is_closing.is_set():
                    return
                answer: _Answer[_Result] = queue.SimpleQueue()
                self.order.put(answer)
                self._tasks.put((answer, item))
        except BaseException as raised:  # raised again where the results are taken
            error = raised
        finally:
            self.order.put(_End(error))

    def _process(self) -> None:
        cancel_by(self._is_closing)
        while (entry := self._tasks.get()) is not None:
            answer, item = entry
            if self._is_closing.is_set():
                return
            try:
                answer.put(self._work(item))
            except BaseException as error:  # raised again where the result is taken
                answer.put(_Failure(error))
            del entry, answer, item  # what they hold is not needed until the next comes
