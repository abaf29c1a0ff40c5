"""The progress of a search in several phases, as one share that grows steadily."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from patchsim.events import Observer

Tell = Callable[[float], None]

_UNITS = 1000  # of a round, of which progress is told


class Progress:
    """Tells an observer how much of some rounds of a search is done; what it tells never falls.

    Parameters
    ----------
    observer : Observer
    rounds : int
        Parts of the search that take about as long as each other.
    """

    def __init__(self, observer: Observer, rounds: int = 1) -> None:
        self._observer, self._total = observer, rounds * _UNITS
        self._told = 0

    def tell(self, before: float, share: float) -> None:
        """Tell of a share of a round, before which so many rounds are over."""
        done = min(math.floor((before + share) * _UNITS + 1e-6), self._total)
        if done > self._told:
            self._told = done
            self._observer.progress(done, self._total)


def untold(share: float) -> None:
    """Take a share of which nobody is told."""


def part_of(tell: Tell, before: float, size: float) -> Tell:
    """Return what takes shares of a part; of the whole, a share of `before` lies before it."""
    return lambda share: tell(before + size * share)
