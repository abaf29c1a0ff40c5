"""All ways to cut a kernel for transforms, beside which that of the plan is compared."""

from __future__ import annotations

import itertools
import math

from helpers.correlation import extension


def all_cuts(kernel, windows):
    """Each as (folds, down, across, parts, pairs): a tile has sides (down, across)."""
    for folds, rows, across in itertools.product((1, 2), *[extension.SIDES] * 2):
        down = folds * rows
        for parts in itertools.product(range(1, 5), repeat=2):
            size = [-(-length // count) for length, count in zip(kernel, parts, strict=True)]
            if size[0] >= down or size[1] >= across:
                continue
            if any((n - 1) * s >= k for n, s, k in zip(parts, size, kernel, strict=True)):
                continue
            of_tile = down + 1 - size[0], across + 1 - size[1]
            tiles = math.prod(-(-n // of) for n, of in zip(windows, of_tile, strict=True))
            yield folds, down, across, math.prod(parts), tiles if folds > 1 else -(-tiles // 2)
