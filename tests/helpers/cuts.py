"""All ways to cut a kernel for transforms, beside which that of the plan is compared."""

from __future__ import annotations

import itertools
import math

from helpers.correlation import extension


def all_cuts(kernel, windows):
    """Each as (folds, down, across, parts, pairs, rows): a tile has sides (down, across).

    rows: those of the map whose products are made at once.
    """
    for folds, rows, across in itertools.product((1, 2), *[extension.SIDES] * 2):
        down = folds * rows
        for parts in itertools.product(range(1, 5), repeat=2):
            size = [-(-length // count) for length, count in zip(kernel, parts, strict=True)]
            if size[0] >= down or size[1] >= across:
                continue
            if any((n - 1) * s >= k for n, s, k in zip(parts, size, kernel, strict=True)):
                continue
            tiles_down = -(-windows[0] // (down + 1 - size[0]))
            tiles_across = 1
            left, most = windows[1], across + 1 - size[1]
            while left > most:  # all but the last tile have whole vectors
                left -= most - most % 16 if most > 16 else most
                tiles_across += 1
            tiles = tiles_down * tiles_across
            pairs = tiles if folds > 1 else -(-tiles // 2)
            rows = -(-windows[0] // tiles_down)
            if folds == 1 and tiles_across % 2:
                rows = min(windows[0], 2 * rows)
            yield folds, down, across, math.prod(parts), pairs, rows
