"""Tiles on accelerators: dealt out to the devices, copied while others are computed.

Each thread that brings tiles has a device, and a queue of its own there: with two threads a device
the pixels of one tile are on their way while those of the other are compared. Nothing here knows
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
_Tile = ParamSpec("_Tile")  # the arguments of a score


@dataclass
class _Lane:
    """A queue of a device, and the thread that uses it, or did."""

    name: str
    queue: Any = None
    thread: threading.Thread | None = None


class Lanes:
    """Which of some devices the calling thread uses.

    Parameters
    ----------
    names : sequence of str
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._lanes = [_Lane(name) for name in names]
        self._lock = threading.Lock()
        self._own = threading.local()

    @contextmanager
    def taken(self) -> Iterator[str]:
        """The thread's device; what it does there waits for no other thread's."""
        if not hasattr(self._own, "lane"):
            with self._lock:
                self._own.lane = self._free()
        lane = self._own.lane
        if lane.queue is None:
            lane.queue = devices.new_queue(lane.name)
        with devices.using_queue(lane.name, lane.queue):
            yield lane.name

    def _free(self) -> _Lane:
        """One of a thread that has ended, or another on the device that has fewest."""
        me, alive = threading.current_thread(), Counter[str]()
        for lane in self._lanes:
            alive[lane.name] += lane.thread is not None and lane.thread.is_alive()
        ended = [lane for lane in self._lanes if not (lane.thread and lane.thread.is_alive())]
        name = min(alive, key=lambda name: alive[name])
        found = next((lane for lane in ended if lane.name == name), None)
        if found is None:
            found = _Lane(name)
            self._lanes.append(found)
        found.thread = me
        return found

    def dealt(self, scores: Mapping[str, Callable[_Tile, Bounds]]) -> Callable[_Tile, Bounds]:
        """A score of all the devices', given those of each, which take the same."""

        def score(*tile: _Tile.args, **keywords: _Tile.kwargs) -> Bounds:
            with self.taken() as name:
                return scores[name](*tile, **keywords)

        return score


def on_each(names: Sequence[str], prepare: Callable[[str], _Prepared]) -> dict[str, _Prepared]:
    """What is prepared on every device, ready for all threads."""
    prepared = {name: prepare(name) for name in names}
    for name in names:
        devices.synchronize(name)
    return prepared
