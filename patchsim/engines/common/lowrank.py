"""|a-b| of two values as a short sum of products, f1(a) g1(b) + f2(a) g2(b) + ... + a constant.

A sum of absolute differences is then a few sums of products, whatever the kernel's size. Over all
differences of values of a range R, |a-b| is a period of a triangle wave, and about
R (1/2 + c1 cos x + c3 cos 3x + ...) with x = pi (a-b) / R. A cosine of a difference is two
products: cos n(p-q) = sin np sin nq + cos np cos nq. What the cosines leave over bounds the error
for any picture.

A range may be that of the kernel's values alone, because |a-b| is |a'-b| + |a-a'| for every b of
the range if a' is its value that is nearest to a. The last part depends on the image alone: it is
summed over windows without any product. So kernels of a narrow range need fewer products.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from patchsim.engines.problem import Problem
from patchsim.metrics import INTEGER_RANGE, Kernel
from patchsim.types import Pixels

# Coefficients of 1, 2, 3 ... cosines, of odd multiples of x, whose largest error over all
# differences is least (by linear programming), and that error.
_COSINES = (
    ((-0.43928,), 0.06073),
    ((-0.40906, -0.06354), 0.02741),
    ((-0.40673, -0.04679, -0.02923), 0.01727),
    ((-0.40603, -0.04586, -0.01724, -0.01834), 0.01254),
    ((-0.40574, -0.04552, -0.01676, -0.00895, -0.01322), 0.00982),
    ((-0.40559, -0.04535, -0.01656, -0.00867, -0.00549, -0.01029), 0.00806),
    ((-0.40551, -0.04526, -0.01645, -0.00854, -0.00531, -0.00371, -0.0084), 0.00684),
    ((-0.40545, -0.0452, -0.01639, -0.00846, -0.00521, -0.00359, -0.00268, -0.00709), 0.00594),
)
# The largest error of 2, 4, 6 ... products, over the range.
LARGEST_ERRORS = {2 * count: error for count, (_, error) in enumerate(_COSINES, 1)}
FEWEST_PRODUCTS = min(LARGEST_ERRORS)

# Shares of a kernel's values that may lie beyond each end of the range.
_BEYOND = (0.0, 0.002, 0.01, 0.03, 0.08)

# Narrower ranges, of floats alone, count as one value, so that no quotient overflows in float32.
_LEAST_HALF = 1e-30


class Range(NamedTuple):
    """Values of which |a-b| is approximated, and with how many products.

    Attributes
    ----------
    products : int
        For a channel.
    middles, halves : float64 arrays [C]
        The middle of each channel's range and half of its width, exact in float32.
    """

    products: int
    middles: NDArray[np.float64]
    halves: NDArray[np.float64]

    @property
    def key(self) -> tuple[int, bytes, bytes]:
        """Return what is equal of equal ranges."""
        return self.products, self.middles.tobytes(), self.halves.tobytes()

    def angles(self, pixels: Pixels) -> NDArray[np.float64]:
        """Return x, from -pi/2 to pi/2, of the values of the range nearest to pixels [..., C]."""
        widths = np.where(self.halves > 0, self.halves, 1.0)
        shares = ((pixels - self.middles) / widths).clip(-1.0, 1.0)
        return np.where(self.halves > 0, shares, 0.0) * (math.pi / 2)

    def beyond(self, pixels: Pixels) -> NDArray[np.float64]:
        """Return how far pixels [..., C] lie beyond the range."""
        return np.maximum(np.abs(pixels - self.middles) - self.halves, 0.0)


def waves(angles: NDArray[np.float64], products: int) -> Iterator[NDArray[np.float64]]:
    """Yield sin x, cos x, sin 3x, cos 3x ... of angles, as many as there are products."""
    odds = range(1, products, 2)
    return (wave(odd * angles) for odd in odds for wave in (np.sin, np.cos))


def factors(kernel: Pixels, values: Range) -> Iterator[NDArray[np.float64]]:
    """Yield what a kernel's pixels [h, w, C] multiply the image's waves by, for each product."""
    cosines, _ = _COSINES[values.products // 2 - 1]
    of_waves = waves(values.angles(kernel), values.products)
    widths = 2 * values.halves
    return (widths * cosines[i // 2] * wave for i, wave in enumerate(of_waves))


def residual(kernel: Kernel, values: Range) -> float:
    """Return how far the sum of products of a window may be off, with the kernel's weights."""
    pixels, weights = kernel.pixels, np.ones((1, 1, 1))
    if kernel.weights is not None:
        weights = np.atleast_3d(kernel.weights).astype(np.float64)
    widths = 2 * values.halves * np.broadcast_to(weights, pixels.shape)
    beyond = (weights * values.beyond(pixels)).sum()
    return LARGEST_ERRORS[values.products] * float(widths.sum()) + float(beyond)


def full_range(problem: Problem) -> Range:
    """Return the range of all values of an integer type."""
    products = products_needed(problem)
    assert products is not None, "refuse says so"
    half = np.full(problem.kernel[2], INTEGER_RANGE[problem.dtype] / 2)
    return Range(products, half, half)


def range_of(kernel: Kernel, problem: Problem) -> Range:
    """Return a range of a kernel's values that needs fewest products within the tolerance.

    What lies beyond a range is summed without weights, so that a kernel with weights has the range
    of its type.
    """
    most = products_needed(problem)
    assert most is not None, "refuse says so"
    if kernel.weights is not None:
        return full_range(problem)
    flat = kernel.pixels.reshape(-1, kernel.pixels.shape[2])
    # Channels apart and bytes by their digits, which takes a tenth of the time.
    kind: Literal["stable"] | None = "stable" if flat.itemsize == 1 else None
    ordered = np.sort(np.ascontiguousarray(flat.T), axis=1, kind=kind).T
    counts = [int(share * len(ordered)) for share in _BEYOND]
    ranges = [between(*ordered[[count, -1 - count]].astype(np.float64)) for count in counts]
    widths = np.array([2 * one.halves.mean() for one in ranges])
    # Only the ends lie beyond a range.
    ends = [np.concatenate([ordered[:count], ordered[-count - 1 :]]) for count in counts]
    beyond = np.array(
        [one.beyond(end).sum() / flat.size for one, end in zip(ranges, ends, strict=True)]
    )
    for products, error in LARGEST_ERRORS.items():
        left = error * widths + beyond
        best = int(np.argmin(left))
        if products == most and INTEGER_RANGE.get(problem.dtype) == problem.data_range:
            break  # nothing is beyond the type's range, nor has to be summed
        if products == most or left[best] <= problem.tolerance * problem.data_range:
            return ranges[best]._replace(products=products)
    return full_range(problem)


def between(low: NDArray[np.float64], high: NDArray[np.float64]) -> Range:
    """Return the range from one value of each channel to another."""
    middles = ((low + high) / 2).astype(np.float32).astype(np.float64)
    exact = np.maximum(high - middles, middles - low)
    halves = exact.astype(np.float32)
    halves = np.where(halves < exact, np.nextafter(halves, np.float32(np.inf)), halves)
    return Range(0, middles, np.where(halves < _LEAST_HALF, 0.0, halves.astype(np.float64)))


def products_needed(problem: Problem) -> int | None:
    """Return how many products any kernel needs for a channel, or None if too many.

    Values of 16 bits and floats lie within the data range. Those of bytes, and of kernels with
    weights, are taken to have the range of their type, which floats do not have.
    """
    if problem.exact or problem.tolerance * problem.data_range <= _LEAST_HALF:
        return None
    share, errors = _share_of_range(problem), LARGEST_ERRORS.items()
    return next((n for n, error in errors if error * share <= problem.tolerance), None)


def least_error(problem: Problem) -> float:
    """Return how far the most products may be off; infinite where nothing bounds the values."""
    return min(LARGEST_ERRORS.values()) * _share_of_range(problem)


def _share_of_range(problem: Problem) -> float:
    """Return the range of the values that any kernel may have, over the data range."""
    if problem.dtype == "uint8" or problem.weight_sum is not None:
        return INTEGER_RANGE.get(problem.dtype, math.inf) / problem.data_range
    return 1.0
