"""How long a search by bounds may take, before the direct search of all windows does it.

Whether a kernel is in the picture is told by the search alone. One that is there is found in a
small share of the time of the direct search. For one that is not, bounds may leave most windows
open, so each step of the search must be worth its time: it is cheap beside the direct search, or
it is expected to save more of that than it takes. Then a kernel that is not there takes little
longer than the direct search alone.
"""

from __future__ import annotations

import math

# The share of the time of the direct search that samples, and steps that may bring nothing, may
# take together.
_CHEAP = 0.15
# Other steps may take this share of the time that they are expected to save.
_WORTH = 0.7
# Blocks take so many times as long as windows of a run of blocks, because of the gaps between runs,
# and so many seconds more for each run, of the calls from Python. There are so many times as many
# runs as if the open blocks lay anywhere: photographs of 512x512 and 1920x1080, one core of an AMD
# EPYC (Zen 4).
_WITH_GAPS, _RUN_CALLS, _RUNS = 1.1, 8e-5, 0.5
# If the blocks left take more than this share of the direct search of all windows, that is done;
# or more than the other one where a threshold asks for many matches, which are then listed at once.
_MOST_DIRECT, _MOST_DIRECT_OF_MANY = 0.85, 0.5


class SearchBudget:
    """The time of one search, in seconds of all threads together.

    Which way is taken depends on the times that are measured; the windows found do not.

    Parameters
    ----------
    seconds, block_seconds : float
        The estimated seconds of the direct search of all windows, and of those of a block in a run
        of some; infinite where there is none.
    threads : int
        How many work at the same time.
    block_count : int
        The number of blocks of the map.
    wants_many : bool
        Whether many matches are wanted.

    Attributes
    ----------
    spent : float
        What the search has taken; those who search add to it.
    """

    def __init__(
        self,
        seconds: float,
        block_seconds: float,
        threads: int,
        block_count: int,
        *,
        wants_many: bool = False,
    ) -> None:
        self._most_direct = _MOST_DIRECT_OF_MANY if wants_many else _MOST_DIRECT
        self._threads = threads
        self._all_seconds = seconds * threads
        self._block_seconds = block_seconds * threads * _WITH_GAPS
        self._block_count = block_count
        self.spent = 0.0
        self._invested = 0.0

    @property
    def is_spent(self) -> bool:
        """Whether the search has taken longer than the direct one of all windows."""
        return self.spent > self._all_seconds

    @property
    def cheap_seconds(self) -> float:
        """The seconds left for samples, and for steps that may bring nothing."""
        return max(0.0, _CHEAP * self._all_seconds + self._invested - self.spent)

    def direct_seconds(self, blocks: float) -> float:
        """Return the seconds that the direct search of so many blocks takes."""
        # Blocks together cost less than each alone, where windows share transforms.
        if not blocks:
            return 0.0
        runs = max(1.0, _RUNS * blocks * (1 - blocks / self._block_count))
        return min(self._block_seconds * blocks + _RUN_CALLS * runs, self._all_seconds)

    def is_as_long_as_all(self, blocks: int) -> bool:
        """Return whether so many blocks take at least as long as all windows."""
        return self.direct_seconds(blocks) >= self._all_seconds

    def is_all_quicker(self, seconds: float) -> bool:
        """Return whether the direct search of all windows is better than that of some blocks.

        `seconds` is what these take, as long as one thread works for itself.
        """
        return seconds * self._threads > self._most_direct * self._all_seconds

    def invest(self, seconds: float, saved: float) -> bool:
        """Return whether a step is to be taken, and allow its time.

        Parameters
        ----------
        seconds : float
            What the step is expected to take.
        saved : float
            The seconds of later steps that it is expected to save.
        """
        if math.isinf(self._all_seconds) or seconds <= self.cheap_seconds:
            return True
        is_worth = seconds <= _WORTH * saved
        if is_worth:
            self._invested += seconds
        return is_worth
