"""Which kernels are too large for the transforms in C."""

from __future__ import annotations

from collections.abc import Callable

from patchsim.engines.common import kernel_parts
from patchsim.engines.common.kernel_parts import Cut

_LARGE = 1 << 16, 1 << 16  # windows of a map in which the borders of tiles do not count
# The best cut of a kernel takes less than so many times the transforms that it takes uncut, in
# tiles of `SIDE`: it may take more than these, because other things count where it is chosen.
_BEST_OVER_UNCUT = 2


def is_too_large(
    kernel: tuple[int, ...],
    stride: tuple[int, int],
    most: float,
    cut_for: Callable[[tuple[int, int]], Cut],
) -> bool:
    """Return whether a kernel takes more than `most` transforms for each window of a large map.

    All cuts for such a map are compared for large kernels alone: that takes as long as the search
    for a small kernel in a small image.

    Parameters
    ----------
    kernel : (height, width, ...)
    stride : (y, x)
    most : float
        As `kernel_parts.Cut.transforms` counts them.
    cut_for : callable
        It returns the best cut for a map of (rows, cols).
    """
    height, width = kernel[:2]
    if stride == (1, 1) and max(height, width) <= min(kernel_parts.uncut().sides):
        uncut = kernel_parts.square_cut((height, width), _LARGE, stride)
        if uncut.transforms * _BEST_OVER_UNCUT <= most:
            return False
    return cut_for(_LARGE).transforms > most
