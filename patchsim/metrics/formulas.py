"""The formula of each metric: which sums of a window it takes, and how they make a score."""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from patchsim.checks import is_number
from patchsim.errors import InputError
from patchsim.numerics.array_api import Array, like, namespace

if TYPE_CHECKING:
    from torch import Tensor

_Scores = TypeVar("_Scores", float, NDArray[np.float64], "Tensor")

DEFAULT = "sad"

# A float channel is flat if its variance is at most this fraction of its mean square. An integer
# channel is flat if all its values are equal.
FLAT = 1e-12

# The largest value of each integer type, which is its default data range R.
INTEGER_RANGE = {"uint8": 255, "uint16": 65535}


class Formula(NamedTuple):
    """The sums of a window and a kernel from which a metric makes its score.

    Attributes
    ----------
    correlates : bool
        It sums products of window and kernel (`correlation`), otherwise their differences
        (`similarity`).
    squares : bool
        Differences are squared, otherwise their absolute values are taken.
    subtracts_means : bool
        The mean of each channel is subtracted before the products.
    """

    correlates: bool = False
    squares: bool = False
    subtracts_means: bool = False


_FORMULAS = {
    "sad": Formula(),
    "ssd": Formula(squares=True),
    "ncc": Formula(correlates=True),
    "zncc": Formula(correlates=True, subtracts_means=True),
}


def formula_of(metric: str) -> Formula:
    """Return the formula of a metric.

    Raises
    ------
    NotImplementedError
        If the metric has none, although it may be one of `choices.METRICS`. It must not be scored
        by the formula of another metric.
    """
    if metric not in _FORMULAS:
        raise NotImplementedError(f"the metric {metric!r} has no formula in patchsim.metrics")
    return _FORMULAS[metric]


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
    # Compilers of PyTorch know comparisons of numbers, and no functions of them.
    if -math.inf < low < high < math.inf and high - low == math.inf:
        raise InputError(
            f"data range {first}:{second} is wider than a float can hold, which is about 1.8e308;"
            " give a narrower one"
        )
    if not 0 < high - low < math.inf:  # false for NaN, too
        raise InputError(f"data range {first}:{second} is empty or endless; give LO < HI")
    return high - low


def similarity(
    difference_sum: _Scores,
    taps: int | NDArray[np.float64],
    full_difference: float,
    out: NDArray[np.float64] | None = None,
) -> _Scores:
    """Return the `sad` or `ssd` score, 1 - mean / R or 1 - mean / R².

    Parameters
    ----------
    difference_sum : float, float64 array or Tensor
        The sum of a window's absolute or squared differences over all channels; an exact integer
        for integer pixels.
    taps : int or float64 array
        The number of values in a window, height x width x channels, or the sum of their weights.
    full_difference : float
        The difference of a value that scores 0: the data range R, for `ssd` its square.
    out : float64 array, optional
        Where the scores of an array go, which may be the sums themselves.
    """
    # A single division of exact numbers: equal ratios give equal floats, whatever the number of
    # channels and the type of the pixels.
    if out is not None:
        np.divide(difference_sum, taps * full_difference, out=out)
        return np.subtract(1.0, out, out=out)  # type: ignore[return-value] # sums are an array, too
    mean_difference: Any = difference_sum / (taps * full_difference)
    return 1.0 - mean_difference  # type: ignore[no-any-return] # a tensor divides to Any


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
        The spread of the kernel, one for all windows or one for each.

    Returns
    -------
    float64 array or Tensor
        From -1 to 1; 0, without a sign, where a spread is 0.
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
    scores += 0.0  # never -0, whose sign would be that of rounding
    return xp.clip(scores, -1.0, 1.0, out=scores)
