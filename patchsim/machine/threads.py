"""How work runs on several threads, with its results in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, islice
from typing import Generic, TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def in_order(
    work: Callable[[_Item], _Result], todo: Iterable[_Item], parallel: int
) -> Generator[_Result, None, None]:
    """Yield `work(item)` for each item, in the items' order, with `parallel` items at a time.

    The calling thread works too. If it only waited, Linux would often wake the other threads on
    the processor that it leaves, and two tiles of a few milliseconds would run one after the
    other. At most `results_held` items are begun before their results are taken.
    """
    if parallel == 1:
        yield from map(work, todo)
        return
    todo = iter(todo)
    first_two = list(islice(todo, 2))
    if len(first_two) < 2:
        yield from map(work, first_two)
        return
    todo = chain(first_two, todo)
    with ThreadPoolExecutor(parallel - 1, thread_name_prefix="patchsim") as pool:
        pending: deque[_Pending[_Item, _Result]] = deque()
        try:
            for item in todo:
                pending.append(_Pending(item, pool.submit(work, item)))
                full = len(pending) == results_held(parallel)
                while full and not pending[0].future.done() and _work_here(work, pending):
                    pass
                while pending and (
                    pending[0].future.done() or len(pending) == results_held(parallel)
                ):
                    yield pending.popleft().future.result()
            while pending:
                while not pending[0].future.done() and _work_here(work, pending):
                    pass
                yield pending.popleft().future.result()
        finally:
            # After an interruption, or if the results are not read to the end, no further item
            # may start.
            for entry in pending:
                entry.future.cancel()


def results_held(parallel: int) -> int:
    """Return how many results `in_order` holds at most, those in progress included."""
    return 2 * parallel if parallel > 1 else 1


@dataclass
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
