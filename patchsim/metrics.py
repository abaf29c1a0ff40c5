"""How each score is defined: its formula, its range, and the exact score of one window."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from patchsim.checks import is_number
from patchsim.errors import InputError, titled
from patchsim.geometry import tiles
from patchsim.numerics.array_api import Array, like, namespace
from patchsim.types import Pixels, Weights

if TYPE_CHECKING:
    from torch import Tensor

Exact = Callable[[int, int], float]
_Scores = TypeVar("_Scores", float, NDArray[np.float64], "Tensor")

DEFAULT = "sad"

# A float channel is flat if its variance is at most this fraction of its mean square. An integer
# channel is flat if all its values are equal.
FLAT = 1e-12

# How many values are converted to int64 or float64 at a time.
_WIDE_VALUES = 1 << 16

# The largest value of each integer type, which is its default data range R.
INTEGER_RANGE = {"uint8": 255, "uint16": 65535}


@cache
def type_name(dtype: np.dtype[Any]) -> str:
    """Return the name of a type, which NumPy composes anew whenever it is asked."""
    return dtype.name


def check_range(data_range: tuple[float, float]) -> float:
    """Return the width R of a data range (low, high).

    Raises
    ------
    InputError
        If the range is not two finite numbers, the second larger than the first.
    """
    ends = data_range if isinstance(data_range, tuple | list | np.ndarray) else ()
    if len(ends) != 2 or not all(is_number(end) for end in ends):
        raise InputError(f"data range {data_range!r} is not two numbers; give (LO, HI)")
    first, second = ends
    low, high = float(first), float(second)
    if not 0 < high - low < math.inf:  # false for NaN, too
        raise InputError(f"data range {first}:{second} is empty or endless; give LO < HI")
    return high - low


@dataclass(frozen=True)
class Kernel:
    """The picture that is searched for.

    Attributes
    ----------
    pixels : array [h, w, C]
    weights : uint8 array [h, w] or [h, w, C], optional
        The weight of each pixel, or of each of its values; 0 leaves it out. Without weights all
        values count equally.
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
        The level of each pixel; 0 is invisible.
    full_level : int
        The level of a fully visible pixel.
    """

    levels: Weights
    full_level: int

    def crop(self, index: Any) -> Visibility:
        """Return the visibility of a part of the image, given as an index into [H, W]."""
        return Visibility(self.levels[index], self.full_level)

    def window_weights(
        self, weights: Weights | None, y: int, x: int, size: tuple[int, int]
    ) -> NDArray[Any] | None:
        """Return a kernel's weights times the visibility of the window at (y, x).

        Parameters
        ----------
        weights : uint8 array [h, w] or [h, w, C], optional
            The kernel's weights.
        y, x : int
            The window's top-left pixel.
        size : (h, w)

        Returns
        -------
        uint16 array [h, w] or [h, w, C], or `weights`
            `weights` itself if every pixel that counts is fully visible.
        """
        levels = self.levels[y : y + size[0], x : x + size[1]].astype(np.uint16)
        if weights is None:
            return None if (levels == self.full_level).all() else levels
        levels = levels if weights.ndim == 2 else levels[..., None]
        # A window that hides no counting pixel must get exactly the score that it has without
        # visibility, so its weights must not be scaled.
        return (
            weights
            if np.array_equal(weights * levels, weights * np.uint16(self.full_level))
            else weights * levels
        )


def has_scores(kernel: Kernel, metric: str) -> bool:
    """Return whether a metric is defined for a kernel.

    `zncc` is undefined for a flat kernel, `ncc` for one that is zero everywhere.
    """
    if metric not in ("ncc", "zncc"):
        return True
    return _Moments.from_pixels(kernel.pixels, metric, kernel.weights).spread != 0


def check_kernel(kernel: Kernel, metric: str, name: str, *, left_out: bool = False) -> None:
    """Check that a metric is defined for a kernel.

    Parameters
    ----------
    kernel : Kernel
    metric : str
        One of `choices.METRICS`.
    name : str
        The kernel's name in the message.
    left_out : bool
        True if channels with weight 0 were left out; the message then says so.

    Raises
    ------
    InputError
        If the kernel is flat and the metric is `zncc`, or all zero and the metric is `ncc`.
    """
    if not has_scores(kernel, metric):
        defect = "flat: each channel has one value" if metric == "zncc" else "zero everywhere"
        pixels = kernel.pixels
        if metric == "zncc" and pixels.dtype.kind == "f" and np.ptp(pixels, (0, 1)).any():
            defect = "flat: it varies by less than a millionth of its values"
        if kernel.weights is not None and (kernel.weights == 0).any():
            defect += " where its mask lets it count"
        if left_out:
            defect += " in the channels that count"
        raise InputError(
            f"{titled('kernel', name)} is {defect}, so {metric} has nothing to correlate;"
            " use --metric sad (metric='sad')"
        )


def similarity(difference_sum: _Scores, taps: int | NDArray[np.float64], span: float) -> _Scores:
    """Return the `sad` or `ssd` score, 1 - mean / R or 1 - mean / R².

    Parameters
    ----------
    difference_sum : float, float64 array or Tensor
        The sum of a window's absolute or squared differences over all channels; an exact integer
        for integer pixels.
    taps : int or float64 array
        The number of values in a window, height x width x channels, or the sum of their weights.
    span : float
        The data range R; for `ssd` its square.
    """
    # A single division of exact numbers: equal ratios give equal floats, whatever the number of
    # channels and the type of the pixels.
    score: Any = difference_sum / (taps * span)
    return 1.0 - score  # type: ignore[no-any-return] # a tensor divides to Any


def correlation(products: Array, spread: Array, kernel_spread: float | Array) -> Array:
    """Return the `ncc` or `zncc` score, products / sqrt(spread x kernel_spread).

    Parameters
    ----------
    products : float64 array or Tensor
        The sum of products of window and kernel, for `zncc` after their means are subtracted. All
        three arguments may be scaled by one common factor.
    spread : float64 array or Tensor
        The window's sum of squares, for `zncc` after its mean is subtracted; of the same shape.
    kernel_spread : float, or float64 array or Tensor
        The kernel's, one for all windows or one for each.

    Returns
    -------
    float64 array or Tensor
        From -1 to 1; 0 where a spread is 0.
    """
    # The square root of the product comes first: for equal spreads it is exact, so a perfect
    # correlation scores exactly 1.
    xp = namespace(spread)
    scores = xp.empty_like(spread)
    with np.errstate(all="ignore"):
        xp.multiply(spread, kernel_spread, out=scores)
        xp.divide(products, xp.sqrt(scores, out=scores), out=scores)
        undefined = ~xp.isfinite(scores)
        if undefined.any():
            # A spread is 0, or the product of both underflowed to 0.
            kernel_spreads = xp.broadcast_to(
                xp.asarray(kernel_spread, **like(spread)), spread.shape
            )[undefined]
            roots = xp.sqrt(spread[undefined]) * xp.sqrt(kernel_spreads)
            scores[undefined] = xp.where(roots > 0, products[undefined] / roots, 0.0)
    return xp.clip(scores, -1.0, 1.0, out=scores)


def exact(
    pixels: Pixels,
    kernel: Pixels,
    metric: str,
    span: float,
    weights: Weights | None = None,
    visible: Visibility | None = None,
) -> Exact:
    """Return the function (y, x) -> score of the window with that top-left pixel.

    Integer pixels are summed in integers, float pixels in float64. Ranks, ties and thresholds use
    this score, whatever engine computed the map. With weights, every sum and mean of the metric is
    a weighted one. Where the image is partly transparent, the weights are multiplied by its
    visibility, so that the kernel's sums and means count visible pixels alone.

    Parameters
    ----------
    pixels : array [H, W, C]
        The image.
    kernel : array [h, w, C]
    metric : str
        One of `choices.METRICS`.
    span : float
        The data range R.
    weights : uint8 array [h, w] or [h, w, C], optional
        The kernel's weights.
    visible : Visibility, optional
        The image's. An invisible window scores 0.

    Returns
    -------
    function (y, x) -> float
    """
    size = kernel.shape[:2]
    height, width = size
    correlates = metric in ("ncc", "zncc")
    kernel_moments = _Moments.from_pixels(kernel, metric, weights) if correlates else None
    weight_sum = total_weight(kernel.shape, weights)

    def score(y: int, x: int) -> float:
        window = pixels[y : y + height, x : x + width]
        scaled = weights if visible is None else visible.window_weights(weights, y, x, size)
        if kernel_moments is None:
            count = weight_sum if scaled is weights else total_weight(kernel.shape, scaled)
            return _difference_score(window, kernel, metric, span, scaled, count)
        reference = kernel_moments
        if scaled is not weights:
            reference = _Moments.from_pixels(kernel, metric, scaled)
        moments = _Moments.from_pixels(window, metric, scaled)
        products = moments.products(reference, window, kernel, scaled)
        return float(correlation(_array(products), _array(moments.spread), float(reference.spread)))

    return score


def _difference_score(
    window: Pixels,
    kernel: Pixels,
    metric: str,
    span: float,
    weights: NDArray[Any] | None,
    weight_sum: int,
) -> float:
    """Return the `sad` or `ssd` score of a window; 0 if the weights sum to 0."""
    if weight_sum == 0:
        return 0.0
    squared = metric == "ssd"
    magnitude = np.square if squared else np.abs
    total = 0
    for chunk_weights, values, taps in _chunks(weights, window, kernel):
        difference = np.subtract(values, taps, out=values)
        total += (chunk_weights * magnitude(difference, out=difference)).sum().item()
    return float(similarity(float(total), weight_sum, span * span if squared else span))


def uniform_score(kernel: Kernel, metric: str, span: float) -> float:
    """Return the score of a uniform window whose value in each channel is the kernel's mean."""
    pixels, weights = kernel.pixels, kernel.weights
    if weights is not None:
        weights = np.broadcast_to(np.atleast_3d(weights), pixels.shape)
        # The mean of a channel with weight 0 does not matter, but must not divide by 0.
        weights = np.where(weights.any((0, 1)), weights, np.uint8(1))
    means = np.average(pixels, (0, 1), weights)
    if pixels.dtype.kind == "u":
        means = np.rint(means)
    window = np.broadcast_to(means.astype(pixels.dtype), pixels.shape)
    return exact(window, pixels, metric, span, kernel.weights)(0, 0)


def total_weight(shape: tuple[int, ...], weights: NDArray[Any] | None) -> int:
    """Return the sum of the weights of a window [h, w, C]; without weights each value weighs 1."""
    return sum(_channel_weights(shape, weights))


def _channel_weights(shape: tuple[int, ...], weights: NDArray[Any] | None) -> list[int]:
    """Return the sum of the weights of each channel."""
    if weights is None:
        return [shape[0] * shape[1]] * shape[2]
    sums = weights.sum((0, 1), dtype=np.int64)
    return [int(sums)] * shape[2] if weights.ndim == 2 else [int(channel) for channel in sums]


def _array(value: float) -> NDArray[np.float64]:
    return np.asarray(float(value))


def _chunks(weights: NDArray[Any] | None, *pictures: Pixels) -> Iterator[tuple[Any, ...]]:
    """Yield weights and pixels as int64 or float64, a part at a time, so that memory is bounded."""
    wide = np.int64 if pictures[0].dtype.kind == "u" else np.float64
    height, width, channels = pictures[0].shape
    limit = _WIDE_VALUES
    if weights is not None:
        weights = weights.reshape(height, width, -1)
        # A square of a 16-bit value takes 32 bits, a uint16 weight up to 16 more. The sum of 2^15
        # such products fits into 63 bits.
        limit >>= weights.itemsize - 1
    cols = min(width, max(1, limit // channels))
    for tile in tiles.split((height, width), (max(1, limit // (cols * channels)), cols)):
        chunk_weights = 1 if weights is None else weights[tile.index].astype(wide)
        yield chunk_weights, *(picture[tile.index].astype(wide) for picture in pictures)


@dataclass(frozen=True)
class _Moments:
    """Sums over a picture, in Python's unbounded integers or float64.

    For `zncc` the squares and products of integers after subtraction of the mean are fractions.
    They are scaled by a common multiple of the channels' weight sums, so that they stay integers.

    Attributes
    ----------
    means : float64 array [C] or None
        The channels' means; None for integers and for `ncc`.
    sums : list of int
        The channels' sums; empty for floats and for `ncc`.
    spread : float
        The sum of squares, for `zncc` after the mean is subtracted, times `scale`.
    scale : int
    shares : list of int
        `scale` divided by each channel's weight sum.
    """

    means: NDArray[np.float64] | None
    sums: list[int]
    spread: float
    scale: int
    shares: list[int]

    @classmethod
    def from_pixels(
        cls, pixels: Pixels, metric: str, weights: NDArray[Any] | None = None
    ) -> _Moments:
        """Return the sums that the metric needs of one picture [h, w, C]."""
        if metric == "ncc":
            energy = sum((w * chunk * chunk).sum().item() for w, chunk in _chunks(weights, pixels))
            return cls(None, [], energy, 1, [])
        # Every sum of a channel with weight 0 is 0, so any divisor gives its mean.
        counts = [count or 1 for count in _channel_weights(pixels.shape, weights)]
        scale = math.lcm(*counts)
        shares = [scale // count for count in counts]
        sums = [(w * chunk).sum((0, 1)) for w, chunk in _chunks(weights, pixels)]
        squares = [(w * chunk * chunk).sum((0, 1)) for w, chunk in _chunks(weights, pixels)]
        if pixels.dtype.kind == "u":
            totals = [sum(channel) for channel in zip(*(s.tolist() for s in sums), strict=True)]
            square = sum(int(chunk.sum()) for chunk in squares)
            spread = scale * square - _dot(shares, totals, totals)
            return cls(None, totals, spread, scale, shares)
        means = np.sum(sums, axis=0) / counts
        spreads = [(w * (chunk - means) ** 2).sum((0, 1)) for w, chunk in _chunks(weights, pixels)]
        spread = np.sum(spreads, axis=0)
        is_flat = np.all(spread <= FLAT * np.sum(squares, axis=0))
        return cls(means, [], 0.0 if is_flat else float(spread.sum()), 1, [])

    def products(
        self, kernel: _Moments, pixels: Pixels, taps: Pixels, weights: NDArray[Any] | None
    ) -> float:
        """Return the sum of products of a window and a kernel, scaled like `spread`."""
        if self.means is not None and kernel.means is not None:
            chunks = _chunks(weights, pixels, taps)
            centred = ((w * (a - self.means) * (b - kernel.means)).sum() for w, a, b in chunks)
            return float(sum(centred))
        total: float = sum((w * a * b).sum().item() for w, a, b in _chunks(weights, pixels, taps))
        return self.scale * total - _dot(self.shares, self.sums, kernel.sums)


def _dot(*factors: list[int]) -> int:
    return sum(math.prod(terms) for terms in zip(*factors, strict=True))


def divided_by_gcd(levels: NDArray[Any]) -> NDArray[Any]:
    """Divide integers by their greatest common divisor."""
    factor = math.gcd(*np.unique(levels).tolist()) or 1
    return levels if factor == 1 else levels // levels.dtype.type(factor)
