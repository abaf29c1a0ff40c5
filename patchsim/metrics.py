"""What each score means: its formula, its range, and the exact score of one window."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from patchsim.errors import InputError, printable
from patchsim.geometry import tiles
from patchsim.numerics.array_api import Array, like, namespace
from patchsim.types import Pixels, Weights

if TYPE_CHECKING:
    from torch import Tensor

Exact = Callable[[int, int], float]
_Scores = TypeVar("_Scores", float, NDArray[np.float64], "Tensor")

DEFAULT = "sad"

# A float channel is flat if its variance is at most so much of its mean square; an integer channel
# if all its values are equal.
FLAT = 1e-12

_WIDE_VALUES = 1 << 16

# Largest value of each integer type: the data range R where none is given.
INTEGER_RANGE = {"uint8": 255, "uint16": 65535}


def check_range(data_range: tuple[float, float]) -> float:
    """The width R of a data range (low, high).

    Raises
    ------
    InputError
        If it is not two finite numbers, the second larger.
    """
    try:
        low, high = map(float, data_range)
    except (TypeError, ValueError):
        raise InputError(f"data range {data_range!r} is not two numbers; give (LO, HI)") from None
    if not 0 < high - low < math.inf:  # nor NaN
        raise InputError(f"data range {low:g}:{high:g} is empty or endless; give LO < HI")
    return high - low


@dataclass(frozen=True)
class Kernel:
    """What is searched for.

    Attributes
    ----------
    pixels : array [h, w, C]
    weights : uint8 array [h, w] or [h, w, C], optional
        How much each pixel counts, or each of its values, 0 not at all; without weights all count
        the same.
    """

    pixels: Pixels
    weights: Weights | None = None

    @property
    def nbytes(self) -> int:
        return self.pixels.nbytes + (0 if self.weights is None else self.weights.nbytes)


@dataclass(frozen=True)
class Visibility:
    """How much of an image is visible.

    Attributes
    ----------
    levels : uint8 array [H, W]
        Of each pixel, 0 not at all.
    full_level : int
        The level of a pixel that hides nothing.
    """

    levels: Weights
    full_level: int

    def crop(self, index: Any) -> Visibility:
        """Of a part of the image."""
        return Visibility(self.levels[index], self.full_level)

    def window_weights(
        self, weights: Weights | None, y: int, x: int, size: tuple[int, int]
    ) -> NDArray[Any] | None:
        """A kernel's weights where it lies over this window, [h, w] or [h, w, C]."""
        seen = self.levels[y : y + size[0], x : x + size[1]].astype(np.uint16)
        if weights is None:
            return None if (seen == self.full_level).all() else seen
        seen = seen if weights.ndim == 2 else seen[..., None]
        # What hides nothing that counts gives the very score that it has without visibility.
        return (
            weights
            if np.array_equal(weights * seen, weights * np.uint16(self.full_level))
            else weights * seen
        )


def has_scores(kernel: Kernel, metric: str) -> bool:
    """Whether the metric gives a kernel scores: `zncc` none to a flat one, `ncc` none to zeros."""
    if metric not in ("ncc", "zncc"):
        return True
    return _Moments.of(kernel.pixels, metric, kernel.weights).spread != 0


def check_kernel(kernel: Kernel, metric: str, name: str, *, left_out: bool = False) -> None:
    """Refuse a kernel that the metric gives no score, if channels were left out of those left.

    Raises
    ------
    InputError
        If it is flat and the metric is `zncc`, or all zero and the metric is `ncc`.
    """
    if not has_scores(kernel, metric):
        what = "flat: each channel has one value" if metric == "zncc" else "zero everywhere"
        pixels = kernel.pixels
        if metric == "zncc" and pixels.dtype.kind == "f" and np.ptp(pixels, (0, 1)).any():
            what = "flat: it varies by less than a millionth of its values"
        if kernel.weights is not None and (kernel.weights == 0).any():
            what += " where its mask lets it count"
        if left_out:
            what += " in the channels that count"
        raise InputError(
            f"kernel {printable(name)} is {what}, so {metric} has nothing to correlate;"
            " use --metric sad (metric='sad')"
        )


def similarity(difference_sum: _Scores, taps: int | NDArray[np.float64], span: float) -> _Scores:
    """The `sad` or `ssd` score, 1 - mean / R or 1 - mean / R^2, from sums of differences.

    Parameters
    ----------
    difference_sum : float, float64 array or Tensor
        Sums over all channels of a window of absolute or squared differences; for integer pixels
        exact integers.
    taps : int or float64 array
        Values in a window, height x width x channels, or the sum of their weights.
    span : float
        The data range R, for `ssd` its square.
    """
    # One division of exact numbers: equal rationals give equal floats, whatever the channels
    # or the depth they were summed over.
    score: Any = difference_sum / (taps * span)
    return 1.0 - score  # type: ignore[no-any-return] # a tensor divides to Any


def correlation(products: Array, spread: Array, kernel_spread: float | Array) -> Array:
    """The `ncc` or `zncc` score, products / sqrt(spread x kernel spread), within [-1, 1].

    0 where a spread is 0. All three may be scaled by one factor; all are float64, NumPy's or
    torch's, of one shape, but the kernel's spread may be one for all windows.
    """
    # The root of a product of equal numbers is that number: what correlates perfectly scores 1.
    xp = namespace(spread)
    scores = xp.empty_like(spread)
    with np.errstate(all="ignore"):
        xp.multiply(spread, kernel_spread, out=scores)
        xp.divide(products, xp.sqrt(scores, out=scores), out=scores)
        odd = ~xp.isfinite(scores)
        if odd.any():
            # No spread, or so little that the product of both was none.
            own = xp.broadcast_to(xp.asarray(kernel_spread, **like(spread)), spread.shape)[odd]
            roots = xp.sqrt(spread[odd]) * xp.sqrt(own)
            scores[odd] = xp.where(roots > 0, products[odd] / roots, 0.0)
    return xp.clip(scores, -1.0, 1.0, out=scores)


def exact(
    pixels: Pixels,
    kernel: Pixels,
    metric: str,
    span: float,
    weights: Weights | None = None,
    visible: Visibility | None = None,
) -> Exact:
    """The function (y, x) -> score of the one window whose top-left pixel is there.

    Integer pixels are summed in integers, float pixels in float64. This is the value that
    ranks, ties and thresholds use, whatever engine drew the map. With weights every sum and mean
    in the metrics is a weighted one. Where not all of the image is visible the weights are times
    that: the kernel's sums and means, too, are over what is visible. A window of which nothing is
    scores 0.
    """
    size = kernel.shape[:2]
    height, width = size
    squared = metric == "ssd"
    scale = span * span if squared else span

    everything = total_weight(kernel.shape, weights)

    def differing(window: Pixels, weighing: NDArray[Any] | None) -> float:
        count = everything if weighing is weights else total_weight(kernel.shape, weighing)
        if count == 0:
            return 0.0
        total = 0
        for part, values, taps in _chunks(weighing, window, kernel):
            difference = np.subtract(values, taps, out=values)
            sized = np.square if squared else np.abs
            total += (part * sized(difference, out=difference)).sum().item()
        return float(similarity(float(total), count, scale))

    def moments(weighing: NDArray[Any] | None) -> _Moments:
        return _Moments.of(kernel, metric, weighing)

    correlates = metric in ("ncc", "zncc")
    whole = moments(weights) if correlates else None

    def score(y: int, x: int) -> float:
        window = pixels[y : y + height, x : x + width]
        weighing = weights if visible is None else visible.window_weights(weights, y, x, size)
        if whole is None:
            return differing(window, weighing)
        reference = whole if weighing is weights else moments(weighing)
        found = _Moments.of(window, metric, weighing)
        products = found.products(reference, window, kernel, weighing)
        return float(correlation(_array(products), _array(found.spread), float(reference.spread)))

    return score


def uniform_score(kernel: Kernel, metric: str, span: float) -> float:
    """The score of a window that has each channel's mean of the kernel everywhere."""
    pixels, weights = kernel.pixels, kernel.weights
    if weights is not None:
        weights = np.broadcast_to(np.atleast_3d(weights), pixels.shape)
        # A channel that does not count at all may have any mean.
        weights = np.where(weights.any((0, 1)), weights, np.uint8(1))
    means = np.average(pixels, (0, 1), weights)
    if pixels.dtype.kind == "u":
        means = np.rint(means)
    window = np.broadcast_to(means.astype(pixels.dtype), pixels.shape)
    return exact(window, pixels, metric, span, kernel.weights)(0, 0)


def total_weight(shape: tuple[int, ...], weights: NDArray[Any] | None) -> int:
    """How many values of a window [h, w, C] count, or the sum of their weights."""
    return sum(_counts(shape, weights))


def _counts(shape: tuple[int, ...], weights: NDArray[Any] | None) -> list[int]:
    """The same of each channel."""
    if weights is None:
        return [shape[0] * shape[1]] * shape[2]
    sums = weights.sum((0, 1), dtype=np.int64)
    return [int(sums)] * shape[2] if weights.ndim == 2 else [int(each) for each in sums]


def _array(value: float) -> NDArray[np.float64]:
    return np.asarray(float(value))


def _chunks(weights: NDArray[Any] | None, *pictures: Pixels) -> Iterator[tuple[Any, ...]]:
    """Weights and pixels of some rows, as int64 or float64, so that wide copies take no memory."""
    wide = np.int64 if pictures[0].dtype.kind == "u" else np.float64
    height, width, channels = pictures[0].shape
    limit = _WIDE_VALUES
    if weights is not None:
        weights = weights.reshape(height, width, -1)
        # Squares of 16 bits times weights of 16: so many of them fit into 63.
        limit >>= weights.itemsize - 1
    cols = min(width, max(1, limit // channels))
    for tile in tiles.split((height, width), (max(1, limit // (cols * channels)), cols)):
        part = 1 if weights is None else weights[tile.index].astype(wide)
        yield part, *(picture[tile.index].astype(wide) for picture in pictures)


@dataclass(frozen=True)
class _Moments:
    """Sums over a picture, in Python's integers (which have no end) or float64.

    Where integers are less their mean, they are scaled by a common multiple of how many pixels
    count in each channel, or of their weights, so that they stay integers.
    """

    means: NDArray[np.float64] | None  # of the channels; for integers None
    sums: list[int]  # of the channels; for floats empty
    spread: float
    scale: int
    shares: list[int]  # the scale by how many pixels of each channel count

    @classmethod
    def of(cls, pixels: Pixels, metric: str, weights: NDArray[Any] | None = None) -> _Moments:
        """What of the picture alone goes into the metric."""
        if metric == "ncc":
            energy = sum((w * part * part).sum().item() for w, part in _chunks(weights, pixels))
            return cls(None, [], energy, 1, [])
        # Of a channel that does not count at all every sum is 0.
        counts = [count or 1 for count in _counts(pixels.shape, weights)]
        scale = math.lcm(*counts)
        shares = [scale // count for count in counts]
        sums = [(w * part).sum((0, 1)) for w, part in _chunks(weights, pixels)]
        squares = [(w * part * part).sum((0, 1)) for w, part in _chunks(weights, pixels)]
        if pixels.dtype.kind == "u":
            totals = [sum(channel) for channel in zip(*(s.tolist() for s in sums), strict=True)]
            square = sum(int(part.sum()) for part in squares)
            spread = scale * square - _dot(shares, totals, totals)
            return cls(None, totals, spread, scale, shares)
        means = np.sum(sums, axis=0) / counts
        spreads = [(w * (part - means) ** 2).sum((0, 1)) for w, part in _chunks(weights, pixels)]
        spread = np.sum(spreads, axis=0)
        flat = np.all(spread <= FLAT * np.sum(squares, axis=0))
        return cls(means, [], 0.0 if flat else float(spread.sum()), 1, [])

    def products(
        self, kernel: _Moments, pixels: Pixels, taps: Pixels, weights: NDArray[Any] | None
    ) -> float:
        """Sums of products of window and kernel, scaled as `spread` is."""
        if self.means is not None and kernel.means is not None:
            parts = _chunks(weights, pixels, taps)
            moved = ((w * (a - self.means) * (b - kernel.means)).sum() for w, a, b in parts)
            return float(sum(moved))
        total: float = sum((w * a * b).sum().item() for w, a, b in _chunks(weights, pixels, taps))
        return self.scale * total - _dot(self.shares, self.sums, kernel.sums)


def _dot(*factors: list[int]) -> int:
    return sum(math.prod(each) for each in zip(*factors, strict=True))


def reduced(levels: NDArray[Any]) -> NDArray[Any]:
    """Whole numbers, less their common factor."""
    factor = math.gcd(*np.unique(levels).tolist()) or 1
    return levels if factor == 1 else levels // levels.dtype.type(factor)
