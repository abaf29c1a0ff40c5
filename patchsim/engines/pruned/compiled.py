"""The C extension of the engine, and which variant of it runs here."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from patchsim.engines.problem import Problem
from patchsim.machine import extensions
from patchsim.types import Pixels, Weights

extension = partial(extensions.extension, "_pruned")
variant = partial(extensions.variant, "_pruned", has_few=True)


def of_windows(kernel: Pixels, problem: Problem, weights: Weights | None) -> dict[str, Any]:
    """Return the arguments that the extension's comparisons of windows have in common."""
    return {
        "kernel": kernel,
        "weights": of_every_value(weights, kernel.shape),
        "run": problem.kernel[1] * problem.kernel[2],
        "height": problem.kernel[0],
        "stride_y": problem.stride[0],
        "squared": problem.metric == "ssd",
        "variant": variant(),
    }


def of_every_value(weights: Weights | None, shape: tuple[int, ...]) -> Weights | None:
    """Return the weight of every value of a kernel, in its order."""
    if weights is None:
        return None
    return np.ascontiguousarray(np.broadcast_to(np.atleast_3d(weights), shape))
