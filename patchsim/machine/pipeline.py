"""How items that arrive one by one are processed on several threads, with results in order."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Generic, TypeVar

from patchsim.errors import MachineError
from patchsim.machine.threads import cancel_by

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class _End:
    """The items are used up, or their iterator raised an error."""

    error: BaseException | None


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
            result = entry.result()
            line.room.release()
            yield result
        if entry.error is not None:
            raise entry.error
    finally:
        line.close()


class _Line(Generic[_Item, _Result]):
    """The threads of `as_they_come` and what passes between them."""

    def __init__(
        self, work: Callable[[_Item], _Result], todo: Iterable[_Item], parallel: int
    ) -> None:
        self._work, self._todo = work, todo
        self._tasks: queue.SimpleQueue[tuple[Future[_Result], _Item] | None] = queue.SimpleQueue()
        self._is_closing = threading.Event()
        self._workers = [
            threading.Thread(target=self._process, name=f"patchsim_picture_{i}", daemon=True)
            for i in range(parallel)
        ]
        self._begun = 0
        self.order: queue.SimpleQueue[Future[_Result] | _End] = queue.SimpleQueue()
        self.room = threading.Semaphore(2 * parallel)

    def start(self) -> None:
        try:
            for worker in self._workers:
                worker.start()
                self._begun += 1
        except (RuntimeError, MemoryError) as error:
            if not self._begun:  # else fewer threads do the work
                raise MachineError("the system gives no thread; close other programs") from error
        try:
            threading.Thread(target=self._feed, name="patchsim_feeder", daemon=True).start()
        except (RuntimeError, MemoryError) as error:
            raise MachineError("the system gives no thread; close other programs") from error

    def close(self) -> None:
        """Let no further item start, cancel those in progress; the feeder may be waiting."""
        self._is_closing.set()
        self.room.release()
        for _ in range(self._begun):
            self._tasks.put(None)
        for worker in self._workers[: self._begun]:
            worker.join()

    def _feed(self) -> None:
        error: BaseException | None = None
        try:
            for item in self._todo:
                self.room.acquire()
                if self._is_closing.is_set():
                    return
                future: Future[_Result] = Future()
                self.order.put(future)
                self._tasks.put((future, item))
        except BaseException as raised:  # raised again where the results are taken
            error = raised
        finally:
            self.order.put(_End(error))

    def _process(self) -> None:
        cancel_by(self._is_closing)
        while (entry := self._tasks.get()) is not None:
            future, item = entry
            if self._is_closing.is_set():
                return
            try:
                future.set_result(self._work(item))
            except BaseException as error:  # raised again where the result is taken
                future.set_exception(error)
            del entry, future, item  # what they hold is not needed until the next comes
