"""Scores as brightness: by their rank among all windows, so that the best hundredth stands out.

Between the lowest and the highest score of a map nearly all windows lie close together, and a match
is one pixel. So half of the brightness belongs to the best hundredth of the windows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from patchsim.metrics.written import rounded_down

# Shares of all windows that score less, and the brightness of a score that exceeds just these.
SHARES = (0.0, 0.5, 0.9, 0.99, 0.999, 1.0)
BRIGHTNESS = (0.0, 0.05, 0.25, 0.5, 0.8, 1.0)
_SAMPLE = 2**14  # scores that tell the shares, which then are off by about a thousandth
_STEPS = 2**12  # steps from the lowest to the highest score


@dataclass(frozen=True, eq=False, repr=False)
class Stretch:
    """How the scores of one map become brightness.

    Attributes
    ----------
    levels : tuple of float
        The scores that the shares of `SHARES` do not exceed, from the lowest to the highest. Inner
        ones come from a sample of the windows.
    """

    levels: tuple[float, ...]

    @classmethod
    def of(cls, scores: NDArray[np.float32]) -> Stretch:
        """Measure a map.

        Parameters
        ----------
        scores : float32 array [rows, cols]
        """
        step = max(1, scores.size // _SAMPLE)
        while math.gcd(step, scores.shape[1]) > 1:  # else few columns would be seen
            step += 1
        sample = scores.reshape(-1)[::step]
        places = [round(share * (len(sample) - 1)) for share in SHARES[1:-1]]
        inner = np.partition(sample, places)[places]
        return cls((float(scores.min()), *map(float, inner), float(scores.max())))

    @property
    def low(self) -> float:
        """The lowest score."""
        return self.levels[0]

    @property
    def high(self) -> float:
        """The highest score."""
        return self.levels[-1]

    @property
    def described(self) -> str:
        """The scores that are dark and bright, for people."""
        if self.high <= self.low:
            return f"all scores are {rounded_down(self.high)}"
        return f"scores {rounded_down(self.low)} (dark) to {rounded_down(self.high)} (bright)"

    def indices(self, scores: NDArray[np.float32], largest: int) -> NDArray[np.uint8]:
        """Return the brightness of scores as whole numbers from 0 to `largest`.

        A map of one value is bright.

        Parameters
        ----------
        scores : float32 array [rows, cols]
            A part of the map.
        largest : int
            At most 255.
        """
        values = scores - np.float32(self.low)
        values *= np.float32(_STEPS / (self.high - self.low) if self.high > self.low else 0.0)
        table = np.rint(self._brightness * largest).astype(np.uint8)
        return table.take(values.astype(np.uint16))

    @cached_property
    def _brightness(self) -> NDArray[np.float64]:
        """The brightness of each step, 0 to 1: that of the lowest score in it.

        So a score that many windows share, as those of an empty area, is as dark as its rank says.
        """
        if self.high <= self.low:
            return np.ones(_STEPS + 1)
        steps = np.linspace(self.low, self.high, _STEPS + 1)
        # Ends of levels that are equal are left out: `interp` could take any of them.
        levels, first = np.unique(self.levels, return_index=True)
        brightness: NDArray[np.float64] = np.interp(steps, levels, np.array(BRIGHTNESS)[first])
        brightness[-1] = 1.0
        return brightness
