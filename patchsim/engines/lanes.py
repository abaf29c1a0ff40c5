"""Tiles on accelerators: dealt out to the devices, copied while others are computed.

Each thread that brings tiles has a device, and a queue of its own there: with two threads a device
the pixels of one tile are on their way while those of the other are compared. Nothing here knows
what is computed.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from patchsim import devices
from patchsim.engines import Bounds

_Prepared = TypeVar("_Prepared")


class Lanes:
    """Which of some devices the calling thread uses.

    Parameters
    ----------
    names : sequence of str
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._coming = itertools.count()
        self._own = threading.local()

    @contextmanager
    def taken(self) -> Iterator[str]:
        """The thread's device; what it does there waits for no other thread's."""
        if not hasattr(self._own, "name"):
            self._own.name = self._names[next(self._coming) % len(self._names)]
        with devices.queue(self._own.name, self._own):
            yield self._own.name

    def dealt(self, scores: Mapping[str, Callable[..., Bounds]]) -> Callable[..., Bounds]:
        """A score of all the devices', given those of each, which take the same."""

        def score(*tile: Any) -> Bounds:
            with self.taken() as name:
                return scores[name](*tile)

        return score


def on_each(names: Sequence[str], prepare: Callable[[str], _Prepared]) -> dict[str, _Prepared]:
    """What is prepared on every device, ready for all threads."""
    prepared = {name: prepare(name) for name in names}
    for name in names:
        devices.finish(name)
    return prepared
