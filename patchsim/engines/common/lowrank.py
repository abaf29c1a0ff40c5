"""|a-b| of two bytes as a short sum of products, f1(a) g1(b) + f2(a) g2(b) + ... + offset(b).

A sum of absolute differences is then a few sums of products, whatever the kernel's size. The f are
cosines and sines of odd multiples of pi a / 256, of which the Fourier series of |a-b| as a triangle
wave is made (they leave less over than as many singular vectors of the table of |a-b|). For each b
the g(b) and the offset are those with the least largest error over all a, by Lawson's iteration:
least squares whose weights grow where the error is (C. L. Lawson, Contributions to the theory of
linear least maximum approximation, 1961). What is left over for any a bounds the error for any
picture.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from patchsim.engines.problem import Problem

VALUES = 256  # of a byte
_ROUNDS = 30

# Grey levels that approximations with 1, 2, 3 ... products are off at the most; they are made when
# they are needed, which takes longer than to know this.
LARGEST_ERRORS = (
    63.943,
    15.61,
    14.436,
    7.263,
    6.98,
    4.534,
    4.452,
    3.299,
    3.252,
    2.565,
    2.534,
    2.108,
    2.137,
    1.796,
    1.769,
    1.564,
)


@dataclass(frozen=True)
class Terms:
    """An approximation of |a-b|.

    Attributes
    ----------
    image, kernel : float64 array [terms, 256]
        f(a) and g(b).
    offset : float64 array [256]
        Of each b.
    residual : float64 array [256]
        No a is further off than this, for each b.
    """

    image: NDArray[np.float64]
    kernel: NDArray[np.float64]
    offset: NDArray[np.float64]
    residual: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.image)


@functools.cache
def terms_of(count: int) -> Terms:
    """The approximation with that many products."""
    values = np.arange(VALUES, dtype=np.float64)
    table = np.abs(values[:, None] - values)
    angles = np.pi * (values - values.mean()) / VALUES
    waves = [wave(odd * angles) for odd in range(1, count + 1, 2) for wave in (np.sin, np.cos)]
    basis = np.column_stack([*waves[:count], np.ones(VALUES)])  # [a, terms and the offset]
    squares = (basis[:, :, None] * basis[:, None]).reshape(VALUES, -1)
    weights = np.full_like(table, 1 / VALUES)
    factors = np.zeros((VALUES, count + 1))
    residual = np.full(VALUES, np.inf)
    for _ in range(_ROUNDS):
        # Least squares for each b, with its own weights for the a.
        normal = (weights.T @ squares).reshape(VALUES, count + 1, count + 1)
        right = (weights * table).T @ basis
        solved = np.linalg.solve(normal, right[..., None])[..., 0]
        errors = np.abs(table - basis @ solved.T)
        largest = errors.max(0)
        better = largest < residual
        factors[better], residual[better] = solved[better], largest[better]
        weights *= errors / largest + 1e-3
        weights /= weights.sum(0)
    return Terms(basis[:, :-1].T, factors[:, :-1].T, factors[:, -1], residual)


def products_needed(problem: Problem) -> int | None:
    """For a channel, or None if the tolerance is too small."""
    error = 0.0 if problem.exact else problem.tolerance * problem.data_range
    return next((n for n, most in enumerate(LARGEST_ERRORS, 1) if most <= error), None)
