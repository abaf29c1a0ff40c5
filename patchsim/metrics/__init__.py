"""The meaning of a score: the formula of each metric, and the exact score of one window.

It may use `numerics` and what lies below. Others use the names here: `formulas` has the metrics,
`weights` how much each pixel counts, `window_sums` the exact sums over windows, in C or by
`plain_sums`, `moments` what correlations take of them, `window_scores` the
scores, `empty_area` what a window without the kernel scores, and `written` how a score is written.
"""

from patchsim.metrics.empty_area import empty_score
from patchsim.metrics.formulas import (
    DEFAULT,
    FLAT,
    INTEGER_RANGE,
    Formula,
    check_range,
    correlation,
    formula_of,
    similarity,
    type_name,
)
from patchsim.metrics.weights import Kernel, Visibility, divided_by_gcd, total_weight
from patchsim.metrics.window_scores import (
    Exact,
    ExactKernel,
    Indices,
    check_kernel,
    exact,
    has_scores,
)

__all__ = [
    "DEFAULT",
    "FLAT",
    "INTEGER_RANGE",
    "Exact",
    "ExactKernel",
    "Formula",
    "Indices",
    "Kernel",
    "Visibility",
    "check_kernel",
    "check_range",
    "correlation",
    "divided_by_gcd",
    "empty_score",
    "exact",
    "formula_of",
    "has_scores",
    "similarity",
    "total_weight",
    "type_name",
]
