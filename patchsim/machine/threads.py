"""Work on a few threads, its results in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, islice
from typing import Generic, TypeVar

_Item = TypeVar("_Item")
_Done = TypeVar("_Done")


def in_order(
    work: Callable[[_Item], _Done], todo: Iterable[_Item], parallel: int
) -> Generator[_Done, None, None]:
    """What `work` makes of each item, so many at a time.

    The caller's thread takes part: if it only waited, Linux would often wake the others on the
    processor that it leaves, and two tiles of some milliseconds would run one after the other. At
    most twice as many items are begun and not yet asked for.
    """
    todo = iter(todo)
    first = list(islice(todo, 2))
    if parallel == 1 or len(first) < 2:
        yield from map(work, chain(first, todo))
        return
    todo = chain(first, todo)
    with ThreadPoolExecutor(parallel - 1, thread_name_prefix="patchsim") as pool:
        flying: deque[_Flight[_Item, _Done]] = deque()
        try:
            for item in todo:
                flying.append(_Flight(item, pool.submit(work, item)))
                full = len(flying) == 2 * parallel
                while full and not flying[0].future.done() and _take_part(work, flying):
                    pass
                while flying and (flying[0].future.done() or len(flying) == 2 * parallel):
                    yield flying.popleft().future.result()
            while flying:
                while not flying[0].future.done() and _take_part(work, flying):
                    pass
                yield flying.popleft().future.result()
        finally:
            # Interrupted, or not read to the end: what has not started must not start.
            for flight in flying:
                flight.future.cancel()


@dataclass
class _Flight(Generic[_Item, _Done]):
    item: _Item
    future: Future[_Done]


def _take_part(work: Callable[[_Item], _Done], flying: Iterable[_Flight[_Item, _Done]]) -> bool:
    """Do here what no thread has begun; False if there is nothing."""
    for flight in flying:
        if flight.future.cancel():
            flight.future = Future()
            flight.future.set_result(work(flight.item))
            return True
    return False
