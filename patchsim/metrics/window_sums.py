"""Sums over many single windows of an image, of which exact scores are made.

A C extension makes them, and NumPy where it was not built, with equal results: exact integers, or
float64 in the order that `plain_sums` describes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from patchsim.machine import extensions
from patchsim.metrics.formulas import FLAT, INTEGER_RANGE, type_name
from patchsim.types import Pixels

if TYPE_CHECKING:
    from patchsim.metrics import plain_sums

FITS_INT64 = 1 << 63
# Sums of squares of floats, of which two have a product that float64 holds, as in _windows.c. Those
# of float32 are in range, or 0.
_IN_RANGE = 2.0**-400, 2.0**400

Places = NDArray[np.int64]  # [n, 2], y and x of the top-left pixels of windows
Values = NDArray[np.float64]


extension = partial(extensions.extension, "_windows", "metrics")
_variant = partial(extensions.variant, "_windows", "metrics", has_few=True)


class Pair(NamedTuple):
    """An image and a kernel of its type, whose windows are summed.

    Attributes
    ----------
    image : array [H, W, C]
    kernel : array [h, w, C]
        Its values lie in one piece.
    weights : uint16 array [h, w, C] or None
    """

    image: Pixels
    kernel: Pixels
    weights: NDArray[np.uint16] | None

    @classmethod
    def of(cls, image: Pixels, kernel: Pixels, weights: NDArray[Any] | None = None) -> Pair:
        """Prepare pictures and integer weights [h, w] or [h, w, C] up to 65535."""
        every = None
        if weights is not None:
            every = np.empty(kernel.shape, np.uint16)
            every[...] = weights if weights.ndim == 3 else weights[..., None]
        return cls(image, np.ascontiguousarray(kernel), every)

    @property
    def is_integer(self) -> bool:
        return type_name(self.kernel.dtype) in INTEGER_RANGE

    def largest_sum(self) -> int:
        """Return what no sum of squares over a window exceeds; of integers."""
        largest: int = INTEGER_RANGE[type_name(self.kernel.dtype)]
        heaviest = 1 if self.weights is None else int(self.weights.max())
        return self.kernel.size * largest**2 * heaviest

    def differences(self, places: Places, *, squares: bool) -> Values:
        """Return the sum of absolute or squared differences of windows, [n]."""
        built = self._extension()
        if built is None:
            power: Any = np.square if squares else np.abs
            by_place = [self._plain(place, lambda a, b: power(a - b)) for place in places]
            return np.array([float(_total(sums)) for sums in by_place])
        sums = np.empty(len(places), np.int64 if self.is_integer else np.float64)
        for batch, image, at in self._calls(places):
            built.differences(
                **self._arguments(), image=image, places=at, squared=squares, sums=sums[batch]
            )
        return sums.astype(np.float64)

    def correlations(
        self, places: Places, *, sums_values: bool
    ) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Return sums of squares and of products with the kernel, [n], and of values, [n, C].

        Those of integers are exact, int64 or Python's. The last are empty unless asked for, of
        integers. Squares of floats are NaN where their sum is out of range; see `scaled`.
        """
        built, count, channels = self._extension(), len(places), self.kernel.shape[2]
        if built is None:
            return self._plain_correlations(places, sums_values=sums_values)
        of_type = np.int64 if self.is_integer else np.float64
        energies, products = np.empty(count, of_type), np.empty(count, of_type)
        sums = np.empty((count, channels if sums_values else 0), np.int64)
        for batch, image, at in self._calls(places):
            built.correlations(
                **self._arguments(),
                image=image,
                places=at,
                sums=sums[batch],
                energies=energies[batch],
                products=products[batch],
            )
        return energies, products, sums

    def centred(
        self, places: Places, counts: list[int], kernel_means: Values
    ) -> tuple[Values, Values, Values]:
        """Return the means of windows of floats, and sums after these are subtracted.

        Parameters
        ----------
        places : int64 array [n, 2]
        counts : list of int
            The sum of each channel's weights.
        kernel_means : float64 array [C]

        Returns
        -------
        means : float64 array [n, C]
        spreads, products : float64 arrays [n]
            Sums of squares, and of products with the kernel less its means. A spread is 0 if that
            of each channel is at most `FLAT` times its sum of squares, and NaN where the squares'
            sum is out of range; see `scaled`.
        """
        divisors, count = np.array(counts, np.float64), len(places)
        built = self._extension()
        if built is None:
            moments = [self._plain_centred(place, divisors, kernel_means) for place in places]
            means, spreads, products = map(np.array, zip(*moments, strict=True))
            return means, spreads, products
        means, spreads, products = np.empty((count, len(counts))), np.empty(count), np.empty(count)
        for batch, image, at in self._calls(places):
            built.centred(
                **self._arguments(),
                image=image,
                places=at,
                counts=divisors,
                kernel_means=kernel_means,
                flat=FLAT,
                means=means[batch],
                spreads=spreads[batch],
                products=products[batch],
            )
        return means, spreads, products

    def scores(self, places: Places, of_kernel: dict[str, Any]) -> Values:
        """Return the scores of windows, [n], which the C extension makes.

        Parameters
        ----------
        places : int64 array [n, 2]
        of_kernel : dict
            The arguments of the extension that are not named here: the metric, and what it takes
            of the kernel. The integers must fit its 64 bits.
        """
        built = extension()
        assert built is not None, "its caller asks first"
        scores, arguments = np.empty(len(places)), self._arguments()
        for batch, image, at in self._calls(places):
            built.scores(image=image, places=at, scores=scores[batch], **arguments, **of_kernel)
        return scores

    def scaled(self, place: NDArray[np.int64]) -> Pair:
        """Return a window of floats alone, with its values brought near 1, beside the kernel.

        The power of two changes no correlation, and no square of these values is lost.
        """
        window = near_1(self._window(*place.tolist()), self.weights)
        return Pair(window, self.kernel, self.weights)

    def _extension(self) -> ModuleType | None:
        """Return the extension if sums of integers fit its 64 bits."""
        return extension() if not self.is_integer or self.largest_sum() < FITS_INT64 else None

    def _arguments(self) -> dict[str, Any]:
        return {"kernel": self.kernel, "weights": self.weights, "variant": _variant()}

    def _calls(self, places: Places) -> Iterator[tuple[slice, Pixels, Places]]:
        """Yield which windows to sum in one call, their image, and where in it they lie."""
        image = self.image
        # There may be gaps between rows. An image that is read by windows has no strides.
        if image.strides and image[:1].flags.c_contiguous:
            yield slice(0, len(places)), image, np.ascontiguousarray(places)
            return
        for number, place in enumerate(places.tolist()):
            window = np.ascontiguousarray(self._window(*place))
            yield slice(number, number + 1), window, np.zeros((1, 2), np.int64)

    def _window(self, y: int, x: int) -> Pixels:
        return self.image[y : y + self.kernel.shape[0], x : x + self.kernel.shape[1]]

    def _plain(self, place: NDArray[np.int64], terms: plain_sums.Terms) -> NDArray[Any]:
        """Return the sums of each channel's terms in a window, float64 or Python's integers."""
        from patchsim.metrics import plain_sums  # few sums exceed 64 bits

        window = np.ascontiguousarray(self._window(*place.tolist()))
        if self.is_integer:
            sums = plain_sums.of_integers(window, self.kernel, self.weights, terms)
            return np.array(sums, object)
        with np.errstate(all="ignore"):  # of values far from 1, whose sums are told of
            return plain_sums.of_floats(window, self.kernel, self.weights, terms)

    def _plain_correlations(
        self, places: Places, *, sums_values: bool
    ) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        def each(terms: plain_sums.Terms) -> list[NDArray[Any]]:
            return [self._plain(place, terms) for place in places]

        of_type = object if self.is_integer else np.float64  # integers of any size
        energies, products = (
            np.array([_total(sums) for sums in each(terms)], of_type)
            for terms in (lambda a, _b: a * a, lambda a, b: a * b)
        )
        if not self.is_integer:
            energies = self._checked(energies, energies, places)
            products = np.where(energies > 0, products, 0.0)
        if not sums_values:
            return energies, products, np.empty((len(places), 0))
        return energies, products, np.array(each(lambda a, _b: a), of_type)

    def _plain_centred(
        self, place: NDArray[np.int64], counts: Values, kernel_means: Values
    ) -> tuple[Values, float, float]:
        def values_of(channels: Values, terms: NDArray[Any]) -> NDArray[Any]:
            return np.tile(channels, terms.shape[1] // len(channels))

        means: Values = self._plain(place, lambda a, _b: a) / counts
        squares = self._plain(place, lambda a, _b: a * a)
        spreads = self._plain(place, lambda a, _b: np.square(a - values_of(means, a)))
        products = self._plain(
            place, lambda a, b: (a - values_of(means, a)) * (b - values_of(kernel_means, b))
        )
        spread = 0.0 if (spreads <= FLAT * squares).all() else _total(spreads)
        energies = np.array([_total(squares)])
        (spread,) = self._checked(np.array([spread]), energies, place[None]).tolist()
        return means, spread, _total(products)

    def _checked(self, sums: Values, energies: Values, places: Places) -> Values:
        """Return sums over windows, or NaN where the windows' sums of squares are out of range."""
        is_in_range = (energies >= _IN_RANGE[0]) & (energies <= _IN_RANGE[1])
        checked = np.where(is_in_range, sums, np.nan)
        for number in np.flatnonzero(np.isnan(checked)):
            if not _counted(self._window(*places[number].tolist()), self.weights).any():
                checked[number] = 0.0
        return checked


def near_1(pixels: Pixels, weights: NDArray[Any] | None) -> Pixels:
    """Return floats times a power of two by which the largest that counts is 1/2 to 1.

    What does not count becomes 0. Weights are [h, w, C].
    """
    counted = _counted(pixels, weights)
    largest = float(np.abs(counted).max())
    scaled: Pixels = np.ldexp(counted, -math.frexp(largest)[1])
    return scaled


def _counted(pixels: Pixels, weights: NDArray[Any] | None) -> Pixels:
    return pixels if weights is None else np.where(weights > 0, pixels, pixels.dtype.type(0))


def _total(sums: NDArray[Any]) -> Any:
    """Add the sums of all channels, one after another."""
    return sum(sums.tolist())
