"""The pose search's loops: in C where the extension was built, otherwise in NumPy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from patchsim.registration import plain
from patchsim.registration.plain import Aim, maxima, refine, turn
from patchsim.registration.planes import Plane, Turned

Scores = Callable[[int, int, NDArray[np.int32]], NDArray[np.float32]]


def prepare_look(plane: Plane, shapes: Turned, metric: str, full: float) -> Scores:
    """Return the function (first row, last + 1, bounds) -> scores [P, rows, W] of all poses."""

    def scores(first: int, last: int, bounds: NDArray[np.int32]) -> NDArray[np.float32]:
        return plain.scores(plane, shapes, metric, full, range(first, last), bounds)

    return scores


__all__ = ["Aim", "Scores", "maxima", "prepare_look", "refine", "turn"]
