"""How work runs on several threads, with its results in order."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import chain, islice
from typing import Generic, TypeVar

from patchsim.errors import MachineError
from patchsim.machine import devices

# More threads than this, or than there are CPUs, help nothing; plans try each number of them.
_MOST = 256

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Cancelled(BaseException):
    """Ends work in a thread whose result nobody wants any more."""


_cancellations = threading.local()  # the event that cancels the work of a thread, if there is one


def start(thread: threading.Thread) -> None:
    """Start a thread.

    Raises
    ------
    MachineError
        If the system gives none.
    """
    try:
        thread.start()
    except (RuntimeError, MemoryError) as error:
        # Python makes such an error of a signal's, where the signal comes while `start` waits.
        cause = error.__context__
        if cause is not None and not isinstance(cause, Exception):
            raise cause from None
        raise MachineError("the system gives no thread; close other programs") from error


def cancel_by(event: threading.Event) -> None:
    """Let `check_cancellation` raise `Cancelled` in the calling thread once an event is set."""
    _cancellations.event = event


def check_cancellation() -> None:
    """Raise `Cancelled` if the work of the calling thread is cancelled."""
    event = getattr(_cancellations, "event", None)
    if event is not None and event.is_set():
        raise Cancelled


def in_order(
    work: Callable[[_Item], _Result], todo: Iterable[_Item], parallel: int
) -> Generator[_Result, None, None]:
    """Yield `work(item)` for each item, in the items' order, with `parallel` items at a time.

    The calling thread works too. If it only waited, Linux would often wake the other threads on
    the processor that it leaves, and two tiles of a few milliseconds would run one after the
    other. At most `results_held` items are begun before their results are taken. Where the system
    gives fewer threads, those do the work. Between two items it ends if its work is cancelled.
    """
    if parallel == 1:
        for item in todo:
            check_cancellation()
            yield work(item)
        return
    todo = iter(todo)
    first_two = list(islice(todo, 2))
    if len(first_two) < 2:
        yield from map(work, first_two)
        return
    todo = chain(first_two, todo)
    pool = _Pool(work, parallel - 1)
    pending: deque[_Pending[_Item, _Result]] = deque()
    try:
        for item in todo:
            check_cancellation()
            pending.append(_Pending(item, pool.submit(item)))
            full = len(pending) == results_held(parallel)
            while full and not pending[0].future.done() and _work_here(work, pending):
                pass
            while pending and (pending[0].future.done() or len(pending) == results_held(parallel)):
                yield pending.popleft().future.result()
        while pending:
            check_cancellation()
            while not pending[0].future.done() and _work_here(work, pending):
                pass
            yield pending.popleft().future.result()
    except BaseException as error:
        if not isinstance(error, Exception | GeneratorExit):  # a signal's, from anywhere in here
            pool.abandon()
            raise
        _close(pool, pending)
        raise
    else:
        _close(pool, pending)


def _close(pool: _Pool[_Item, _Result], pending: Iterable[_Pending[_Item, _Result]]) -> None:
    """Let no further item start, and wait for what is in progress."""
    for entry in pending:
        entry.future.cancel()
    pool.close()


def results_held(parallel: int) -> int:
    """Return how many results `in_order` holds at most, those in progress included."""
    return 2 * parallel if parallel > 1 else 1


@dataclass(eq=False, repr=False)
class _Pending(Generic[_Item, _Result]):
    item: _Item
    future: Future[_Result]


def _work_here(
    work: Callable[[_Item], _Result], pending: Iterable[_Pending[_Item, _Result]]
) -> bool:
    """Process the first item that no thread has begun; return False if there is none."""
    for entry in pending:
        if entry.future.cancel():
            entry.future = Future()
            entry.future.set_result(work(entry.item))
            return True
    return False


class _Pool(Generic[_Item, _Result]):
    """Threads that process items; there are fewer than asked for where the system gives no more.

    `ThreadPoolExecutor` fails where a thread cannot start, and an item that it took is lost then.
    """

    def __init__(self, work: Callable[[_Item], _Result], most: int) -> None:
        self._work = work
        self._most = most
        self._queue: queue.SimpleQueue[tuple[Future[_Result], _Item] | None] = queue.SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._threads: list[threading.Thread] = []
        self._busy: list[threading.Lock] = []  # of each thread, held while it works
        self._is_abandoned = False

    def submit(self, item: _Item) -> Future[_Result]:
        """Let a thread process an item; if there is none, its future stays pending."""
        future: Future[_Result] = Future()
        self._queue.put((future, item))
        if not self._idle.acquire(blocking=False) and len(self._threads) < self._most:
            number = len(self._threads)
            busy = threading.Lock()
            thread = threading.Thread(
                target=self._run, args=(busy,), name=f"patchsim_{number}", daemon=True
            )
            self._busy.append(busy)
            self._threads.append(thread)
            try:
                start(thread)
            except MachineError:
                self._most = number
                self._threads.pop()
        return future

    def close(self) -> None:
        """Let the threads end, and wait for what they process now."""
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            if thread.ident is not None:  # else a signal came before it started
                thread.join()

    def abandon(self) -> None:
        """Wait for what the threads process now, and let them process no more, after a signal.

        Its exception may have been raised within a lock of a future, or of a thread that starts,
        which stays locked then. So neither is waited for.
        """
        self._is_abandoned = True
        for busy in self._busy:
            busy.acquire()
        for _ in self._threads:
            self._queue.put(None)

    def _run(self, busy: threading.Lock) -> None:
        while (entry := self._queue.get()) is not None:
            future, item = entry
            if future.set_running_or_notify_cancel():
                try:
                    with busy:
                        if self._is_abandoned:
                            return
                        result = self._work(item)
                    future.set_result(result)
                    del result
                except BaseException as error:  # raised again where the result is taken
                    future.set_exception(error)
            del entry, future, item  # what they hold is not needed until the next comes
            self._idle.release()


def clamp(asked: int) -> int:
    """Return how many of the threads that were asked for can be of use."""
    return min(asked, max(_MOST, devices.cpu_count()))
