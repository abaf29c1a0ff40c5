"""Tiles on accelerators: dispatched to devices, copied there while others are computed.

Each thread that scores tiles has a device, and a queue of its own on it: with two threads a device,
the pixels of one tile are copied while those of the other are compared. Nothing here depends on
what is computed.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

from patchsim.engines import Bounds
from patchsim.machine import devices

_Prepared = TypeVar("_Prepared")
_Tile = ParamSpec("_Tile")  # the arguments of a scorer


@dataclass
class _Queue:
    """A queue of a device, and the thread that uses it or used it last."""

    device: str
    handle: Any = None
    thread: threading.Thread | None = None

    @property
    def is_free(self) -> bool:
        return self.thread is None or not self.thread.is_alive()


class DeviceQueues:
    """The assignment of threads to the queues of some devices.

    Parameters
    ----------
    names : sequence of str
        The devices.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._queues = [_Queue(name) for name in names]
        self._lock = threading.Lock()
        self._local = threading.local()

    @contextmanager
    def assigned(self) -> Iterator[str]:
        """Give the calling thread's device; its work there does not wait for other threads."""
        if not hasattr(self._local, "queue"):
            with self._lock:
                self._local.queue = self._assign()
        queue = self._local.queue
        if queue.handle is None:
            queue.handle = devices.new_queue(queue.device)
        with devices.using_queue(queue.device, queue.handle):
            yield queue.device

    def _assign(self) -> _Queue:
        """Return a queue on the device with the fewest threads: a free one or a new one."""
        busy = Counter[str]()
        for queue in self._queues:
            busy[queue.device] += not queue.is_free
        device = min(busy, key=lambda name: busy[name])
        free = [queue for queue in self._queues if queue.is_free and queue.device == device]
        if not free:
            free = [_Queue(device)]
            self._queues += free
        free[0].thread = threading.current_thread()
        return free[0]

    def dispatch(self, scorers: Mapping[str, Callable[_Tile, Bounds]]) -> Callable[_Tile, Bounds]:
        """Return a scorer that calls the one of the thread's device."""

        def score(*tile: _Tile.args, **keywords: _Tile.kwargs) -> Bounds:
            with self.assigned() as name:
                return scorers[name](*tile, **keywords)

        return score


def prepare_on_each(
    names: Sequence[str], prepare: Callable[[str], _Prepared]
) -> dict[str, _Prepared]:
    """Return what `prepare` makes on every device, ready for all threads."""
    prepared = {name: prepare(name) for name in names}
    for name in names:
        devices.synchronize(name)
    return prepared
