"""What each score means: its formula, its range, and the exact score of one window."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from patchsim.errors import InputError, shown

if TYPE_CHECKING:
    from torch import Tensor

Pixels = NDArray[Any]  # [H, W, C] of uint8, uint16, float32 or float64
Exact = Callable[[int, int], float]
_Scores = TypeVar("_Scores", float, NDArray[np.float64], "Tensor")

# Names and formulas; I is the window, K the kernel, ~ less each channel's mean, R the data range.
METRICS = {
    "sad": "1 - mean |I-K| / R",
    "ssd": "1 - mean (I-K)^2 / R^2",
    "ncc": "sum I K / sqrt(sum I^2 sum K^2)",
    "zncc": "sum I~ K~ / sqrt(sum I~^2 sum K~^2)",
}
DEFAULT = "sad"

# A float channel is flat if its variance is at most so much of its mean square; an integer channel
# if all its values are equal.
FLAT = 1e-12

_WIDE_VALUES = 1 << 16

# Largest value of each integer type: the data range R where none is given.
INTEGER_RANGE = {"uint8": 255, "uint16": 65535}


def check_name(name: str) -> str:
    if not isinstance(name, str) or name not in METRICS:
        raise InputError(f"metric {name!r} is unknown; there is {', '.join(METRICS)}")
    return name


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
    if not (math.isfinite(high - low) and low < high):
        raise InputError(f"data range {low:g}:{high:g} is empty or endless; give LO < HI")
    return high - low


def check_kernel(kernel: Pixels, metric: str, name: str) -> None:
    """Refuse a kernel that the metric gives no score.

    Raises
    ------
    InputError
        If it is flat and the metric is `zncc`, or all zero and the metric is `ncc`.
    """
    if metric in ("ncc", "zncc") and _Moments.of(kernel, metric).spread == 0:
        what = "flat: each channel has one value" if metric == "zncc" else "zero everywhere"
        if metric == "zncc" and kernel.dtype.kind == "f" and np.ptp(kernel, (0, 1)).any():
            what = "flat: it varies by less than a millionth of its values"
        raise InputError(
            f"kernel {shown(name)} is {what}, so {metric} has nothing to correlate;"
            " use --metric sad (metric='sad')"
        )


def similarity(difference_sum: _Scores, taps: int, span: float) -> _Scores:
    """The `sad` or `ssd` score, 1 - mean / R or 1 - mean / R^2, from sums of differences.

    Parameters
    ----------
    difference_sum : float, float64 array or Tensor
        Sums over all channels of a window of absolute or squared differences; for integer pixels
        exact integers.
    taps : int
        Values in a window: height x width x channels.
    span : float
        The data range R, for `ssd` its square.
    """
    # One division of exact numbers: equal rationals give equal floats, whatever the channels
    # or the depth they were summed over.
    return 1.0 - difference_sum / (taps * span)


def correlation(
    products: NDArray[np.float64], spread: NDArray[np.float64], kernel_spread: float
) -> NDArray[np.float64]:
    """The `ncc` or `zncc` score, products / sqrt(spread x kernel spread), within [-1, 1].

    0 where the spread is 0. All three may be scaled by one factor.
    """
    # The root of a product of equal numbers is that number: what correlates perfectly scores 1.
    scores = np.empty_like(spread)
    with np.errstate(all="ignore"):
        np.multiply(spread, kernel_spread, out=scores)
        np.divide(products, np.sqrt(scores, out=scores), out=scores)
    odd = ~np.isfinite(scores)
    if odd.any():
        # No spread, or so little that the product of both was none.
        roots = np.sqrt(spread[odd]) * math.sqrt(kernel_spread)
        scores[odd] = np.divide(products[odd], roots, out=np.zeros_like(roots), where=roots > 0)
    return np.clip(scores, -1.0, 1.0, out=scores)


def exact(pixels: Pixels, kernel: Pixels, metric: str, span: float) -> Exact:
    """The function (y, x) -> score of the one window whose top-left pixel is there.

    Integer pixels are summed in integers, float pixels in float64. This is the value that
    ranks, ties and thresholds use, whatever engine drew the map.
    """
    height, width, _ = kernel.shape
    if metric in ("ncc", "zncc"):
        reference = _Moments.of(kernel, metric)

        def correlated(y: int, x: int) -> float:
            window = pixels[y : y + height, x : x + width]
            found = _Moments.of(window, metric)
            products = found.products(reference, window, kernel)
            score = correlation(_array(products), _array(found.spread), float(reference.spread))
            return float(score)

        return correlated

    squared = metric == "ssd"
    scale = span * span if squared else span

    def score(y: int, x: int) -> float:
        total = 0
        for window, taps in _chunks(pixels[y : y + height, x : x + width], kernel):
            difference = np.subtract(window, taps, out=window)
            size = np.square if squared else np.abs
            total += size(difference, out=difference).sum().item()
        return float(similarity(float(total), kernel.size, scale))

    return score


def _array(value: float) -> NDArray[np.float64]:
    return np.asarray(float(value))


def _chunks(*pictures: Pixels) -> Iterator[tuple[Pixels, ...]]:
    """Some rows at a time, as int64 or float64, so that wide copies take no memory."""
    wide = np.int64 if pictures[0].dtype.kind == "u" else np.float64
    height, width, channels = pictures[0].shape
    step = max(1, _WIDE_VALUES // (width * channels))
    for top in range(0, height, step):
        yield tuple(picture[top : top + step].astype(wide) for picture in pictures)


@dataclass(frozen=True)
class _Moments:
    """Sums over a picture, in Python's integers (which have no end) or float64.

    Scaled by the number of pixels where integers are less their mean, so that they stay integers.
    """

    means: NDArray[np.float64] | None  # of the channels; for integers None
    sums: list[int]  # of the channels; for floats empty
    spread: float

    @classmethod
    def of(cls, pixels: Pixels, metric: str) -> _Moments:
        """What of the picture alone goes into the metric."""
        count = pixels.shape[0] * pixels.shape[1]
        if metric == "ncc":
            return cls(None, [], sum((part * part).sum().item() for (part,) in _chunks(pixels)))
        sums = [part.sum((0, 1)) for (part,) in _chunks(pixels)]
        squares = [(part * part).sum((0, 1)) for (part,) in _chunks(pixels)]
        if pixels.dtype.kind == "u":
            totals = [sum(channel) for channel in zip(*(s.tolist() for s in sums), strict=True)]
            square = sum(int(part.sum()) for part in squares)
            return cls(None, totals, count * square - sum(total * total for total in totals))
        means = np.sum(sums, axis=0) / count
        spread = np.sum([((part - means) ** 2).sum((0, 1)) for (part,) in _chunks(pixels)], axis=0)
        flat = np.all(spread <= FLAT * np.sum(squares, axis=0))
        return cls(means, [], 0.0 if flat else float(spread.sum()))

    def products(self, kernel: _Moments, pixels: Pixels, taps: Pixels) -> float:
        """Sums of products of window and kernel, scaled as `spread` is."""
        if self.means is not None and kernel.means is not None:
            parts = _chunks(pixels, taps)
            return float(sum(((a - self.means) * (b - kernel.means)).sum() for a, b in parts))
        total: float = sum((a * b).sum().item() for a, b in _chunks(pixels, taps))
        if self.sums:
            count = pixels.shape[0] * pixels.shape[1]
            total = count * total - sum(a * b for a, b in zip(self.sums, kernel.sums, strict=True))
        return total
