"""The sum of products by which `sad` within a tolerance is approximated for a kernel."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

from patchsim.engines.common import fitted, kernel_parts, lowrank
from patchsim.engines.common.fitted import Fit
from patchsim.engines.common.lowrank import Range
from patchsim.engines.problem import Problem, Products
from patchsim.metrics import Kernel

# Types and channels that the extension's `sad` takes.
NARROW_TYPES = "uint8", "uint16", "float32"
MOST_CHANNELS = 16

# The functions of an image's values, for any kernel or for one.
Values: TypeAlias = Range | Fit

# How many products of a kernel are counted: the fewest that any kernel takes; about as many as it
# does; or those that it does.
Counting = Literal["fewest", "expected", "exact"]

# When functions are made for a kernel's values: never, as where others are compared with the same
# images, because each has its own; if the image has pixels enough that it is worth its time; or
# always, as once images follow each other.
Fitting = Literal["never", "worthwhile", "always"]

# A fit takes about 3 ms for a channel and saves 2 ns a product, or more, for each of its pixels:
# these are so many, of all images together.
_WORTH_FITTING = 1 << 20
# Scores are rounded beside it.
_SHARE_OF_TOLERANCE = 1 - 1e-4


def counted(problem: Problem, kernel: Kernel, counting: Counting, fitting: Fitting) -> Problem:
    """Return the problem with the products that its kernel takes, if it is one that takes some.

    Parameters
    ----------
    problem : Problem
    kernel : Kernel
    counting : Counting
    fitting : Fitting
    """
    if problem.metric != "sad" or lowrank.products_needed(problem) is None:
        return problem
    can_be_fitted = fitting != "never" and _can_be_fitted(problem)
    if fitting == "worthwhile":
        can_be_fitted &= math.prod(problem.image[:2]) * problem.image_count >= _WORTH_FITTING
    if counting == "fewest":
        return problem._replace(products=Products(1 if can_be_fitted else lowrank.FEWEST_PRODUCTS))
    most = lowrank.range_of(kernel, problem).products
    products = Products(most)
    if can_be_fitted and counting == "expected":
        products = Products(fitted.expected_products(kernel.pixels, _limit(problem), most))
    elif can_be_fitted:
        fit = fitted.of(kernel.pixels, _limit(problem), most - 1)
        products = products if fit is None else Products(fit.products, is_fitted=True)
    return problem._replace(products=products)


def of(kernel: Kernel, problem: Problem) -> Values:
    """Return the functions of the image for a kernel whose products are `counted`."""
    if problem.products is not None and problem.products.is_fitted:
        fit = fitted.of(kernel.pixels, _limit(problem), problem.products.each)
        assert fit is not None, "it was found before"
        return fit
    return lowrank.range_of(kernel, problem)


def residual(kernel: Kernel, problem: Problem) -> float:
    """Return how far the sum of a window's products may be off, with the kernel's weights."""
    values = of(kernel, problem)
    return values.residual if isinstance(values, Fit) else lowrank.residual(kernel, values)


def _can_be_fitted(problem: Problem) -> bool:
    """Return whether the extension is to score it, which takes curves, if it is not too large."""
    if problem.dtype not in NARROW_TYPES or problem.kernel[2] > MOST_CHANNELS:
        return False
    is_plain = problem.weight_sum is None and problem.opaque_level is None
    return is_plain and problem.device == "cpu" and kernel_parts.extension() is not None


def _limit(problem: Problem) -> float:
    return problem.tolerance * problem.data_range * _SHARE_OF_TOLERANCE
