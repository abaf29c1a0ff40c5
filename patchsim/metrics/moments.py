"""The sums of a kernel that correlations need, and the scores of windows made of them."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from patchsim.metrics.formulas import Formula, correlation
from patchsim.metrics.weights import channel_totals
from patchsim.metrics.window_sums import FITS_INT64, Pair, Places, Values, near_1
from patchsim.types import Pixels

_ITSELF: Places = np.zeros((1, 2), np.int64)


class Moments(NamedTuple):
    """The sums of a kernel that correlations with it take.

    For `zncc` the squares and products of integers after subtraction of the mean are fractions.
    They are scaled by a common multiple of the channels' weight sums, so that they stay integers.

    Attributes
    ----------
    subtracts_means : bool
    counts : list of int
        The sum of each channel's weights, at least 1.
    means : float64 array [C] or None
        The channels' means; None for integers and for `ncc`.
    sums : object array [C] or None
        The channels' sums, Python's integers; None for floats and for `ncc`.
    spread : int or float
        The sum of squares, for `zncc` after the mean is subtracted and of integers times `scale`.
    scale : int
        A common multiple of the counts, or 1.
    """

    subtracts_means: bool
    counts: list[int]
    means: Values | None
    sums: NDArray[Any] | None
    spread: float
    scale: int

    @classmethod
    def from_pixels(
        cls, pixels: Pixels, formula: Formula, weights: NDArray[Any] | None = None
    ) -> Moments:
        """Return the moments of a kernel [h, w, C] with integer weights [h, w] or [h, w, C].

        Their spread is NaN if the squares of floats are out of range; see `of_kernel`.
        """
        # Every sum of a channel with weight 0 is 0, so any divisor gives its mean.
        counts = [count or 1 for count in channel_totals(pixels.shape, weights)]
        itself = Pair.of(pixels, pixels, weights)
        if formula.subtracts_means and not itself.is_integer:
            means, spreads, _ = itself.centred(_ITSELF, counts, np.zeros(len(counts)))
            return cls(True, counts, means[0], None, float(spreads[0]), 1)
        energies, _, sums = itself.correlations(_ITSELF, sums_values=formula.subtracts_means)
        if not formula.subtracts_means:
            return cls(False, counts, None, None, energies.tolist()[0], 1)
        exact = cls(True, counts, None, sums[0].astype(object), 0, math.lcm(*counts))
        spread = exact._less_means(energies.astype(object), sums.astype(object), exact.sums)
        return cls(True, counts, None, exact.sums, spread[0], exact.scale)

    def scores(self, pair: Pair, places: Places) -> Values:
        """Return the scores of windows, [n], with the kernel that these moments are of.

        They are NaN where the squares of floats are out of range; see `Pair.scaled`.
        """
        if self.means is not None:
            _, spreads, products = pair.centred(places, self.counts, self.means)
            return _scores(products, spreads, self.spread)
        energies, products, sums = pair.correlations(places, sums_values=self.subtracts_means)
        if not self.subtracts_means:
            return _scores(products, energies, self.spread)
        # Python's integers where those of 64 bits do not suffice.
        wide = np.int64 if self.scale * pair.largest_sum() < FITS_INT64 else object
        energies, products, sums = (values.astype(wide) for values in (energies, products, sums))
        kernel_sums = self.sums
        assert kernel_sums is not None
        return _scores(
            self._less_means(products, sums, kernel_sums.astype(wide)),
            self._less_means(energies, sums, sums),
            self.spread,
        )

    def _less_means(
        self, products: NDArray[Any], sums: NDArray[Any], others: NDArray[Any] | None
    ) -> NDArray[Any]:
        """Return `scale` times sums of products [n] after the means are subtracted."""
        assert others is not None
        shares = np.array([self.scale // count for count in self.counts], products.dtype)
        of_means: NDArray[Any] = (shares * sums * others).sum(-1)
        products_off_means: NDArray[Any] = self.scale * products - of_means
        return products_off_means


def of_kernel(
    pixels: Pixels, formula: Formula, weights: NDArray[Any] | None = None
) -> tuple[Pixels, Moments]:
    """Return a kernel whose sums are in range, and its moments.

    Floats that are very far from 1 are scaled by a power of two, which changes no score.
    """
    moments = Moments.from_pixels(pixels, formula, weights)
    if math.isnan(moments.spread):
        pixels = near_1(pixels, Pair.of(pixels, pixels, weights).weights)
        moments = Moments.from_pixels(pixels, formula, weights)
    return pixels, moments


def _scores(products: NDArray[Any], spreads: NDArray[Any], kernel_spread: float) -> Values:
    """Return correlations of sums that are exact or float64."""
    scores: Values = correlation(
        products.astype(np.float64), spreads.astype(np.float64), float(kernel_spread)
    )
    if spreads.dtype.kind == "f":
        scores[np.isnan(spreads)] = np.nan
    return scores
