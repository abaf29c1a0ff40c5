"""Items are taken from a slow iterable by a thread, ahead of who needs them."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Generator, Iterable
from typing import Generic, TypeVar

from patchsim.machine.threads import start

_Item = TypeVar("_Item")
_PAUSE = 0.1  # seconds until a thread that waits for room looks whether it is needed any more


def taken(
    items: Iterable[_Item], most: int, counted: Callable[[int], None]
) -> Generator[_Item, None, None]:
    """Yield the items in their order, of which a thread takes up to `most` ahead.

    Parameters
    ----------
    items : iterable
        It is iterated in the thread.
    most : int
    counted : callable
        Told, in the thread, how many items there are, as soon as that is known.

    Raises
    ------
    Exception
        The error of `items`, behind the items before it.
    """
    thread = _Thread(items, most, counted)
    start(thread)
    try:
        while True:
            item, is_over = thread.line.get()
            if is_over:
                if thread.error is not None:
                    raise thread.error
                return
            assert item is not None
            yield item
    finally:
        thread.is_left.set()


class _Thread(threading.Thread, Generic[_Item]):
    def __init__(self, items: Iterable[_Item], most: int, counted: Callable[[int], None]) -> None:
        super().__init__(name="patchsim_ahead", daemon=True)
        self._items, self._counted = items, counted
        self.line: queue.Queue[tuple[_Item | None, bool]] = queue.Queue(most)
        self.is_left = threading.Event()
        self.error: Exception | None = None

    def run(self) -> None:
        count = 0
        try:
            for item in self._items:
                count += 1
                self._put((item, False))
                if self.is_left.is_set():
                    return
            self._counted(count)
        except Exception as error:  # of any type: who takes the items raises it
            self.error = error
        self._put((None, True))

    def _put(self, entry: tuple[_Item | None, bool]) -> None:
        """Put an entry into the line once there is room, unless nobody needs it any more."""
        while not self.is_left.is_set():
            with contextlib.suppress(queue.Full):
                self.line.put(entry, timeout=_PAUSE)
                return
