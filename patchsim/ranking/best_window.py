"""The best window of a whole map, where one block alone can hold it, and the best few windows."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from patchsim.engines import Bounds
from patchsim.geometry.blocks import BLOCK
from patchsim.geometry.overlaps import overlapping
from patchsim.metrics import Exact
from patchsim.ranking.score_map import ROUNDING, TOGETHER

_LEAST = np.float32(-math.inf)
_MOST_AGAIN = 16  # of so many windows one is scored again


def contenders(scores: NDArray[np.floating], largest: float, error: float) -> list[int]:
    """Return the numbers of the windows of a block that could be the best of it, row by row.

    Parameters
    ----------
    scores : float32 array [rows, cols]
    largest : float
        The largest of them.
    error : float
        What a score may be off by.

    Returns
    -------
    list of int
        It is empty if the windows are too many to be scored exactly together, or if a score is
        missing.
    """
    # In the type of the scores, and not rounded up.
    floor = np.float32(largest - 2 * (error + ROUNDING))
    # `nonzero` of two axes takes several times as long.
    numbers = np.flatnonzero(scores >= np.nextafter(floor, _LEAST))
    return numbers.tolist() if len(numbers) <= TOGETHER else []


def best_contender(
    scores: NDArray[np.floating],
    numbers: list[int],
    exact: Exact,
    corner: tuple[int, int],
    stride: tuple[int, int],
) -> tuple[int, int, float]:
    """Score windows of a block exactly, and return row, col and score of the best.

    Parameters
    ----------
    scores : float32 array [rows, cols]
        The scores of the block, which become exact there.
    numbers : list of int
        Those of `contenders`.
    exact : int64 arrays (y, x) -> float64 array
        The exact scores of the windows with these top-left pixels.
    corner : (row, col)
        The first window of the block in the map.
    stride : (y, x)
    """
    top, left = corner
    places = [divmod(number, scores.shape[1]) for number in numbers]
    values = exact(
        np.array([(top + row) * stride[0] for row, _ in places]),
        np.array([(left + col) * stride[1] for _, col in places]),
    ).tolist()
    for place, value in zip(places, values, strict=True):
        scores[place] = value
    best = max(values)
    row, col = places[values.index(best)]
    return top + row, left + col, best


def best_window(
    bounds: Bounds, exact: Exact, stride: tuple[int, int]
) -> tuple[int, int, float] | None:
    """Return y, x and the exact score of the best window of a map, whose cell becomes exact.

    This takes a fraction of the time of a store, which tells the order of many windows.

    Parameters
    ----------
    bounds : Bounds
        Those of the whole map, with `blocks`, with an error of each score, or without one; no
        window is hidden.
    exact : int64 arrays (y, x) -> float64 array
        The exact scores of the windows with these top-left pixels.
    stride : (y, x)

    Returns
    -------
    (y, x, score) or None
        None if a store has to tell: windows of several blocks could be the best, or many.
    """
    blocks = bounds.blocks
    if blocks is None and np.ndim(bounds.error) > 0:
        return _best_of_each_error(bounds, exact, stride)
    if blocks is None:
        assert bounds.error == 0, "scores are exact"
        row, col = divmod(int(bounds.map.argmax()), bounds.map.shape[1])
        return row * stride[0], col * stride[1], float(bounds.map[row, col])
    upper_bounds = np.add(blocks.maxima, blocks.errors, dtype=np.float64)
    row, col = divmod(int(upper_bounds.argmax()), upper_bounds.shape[1])
    top, left = row * BLOCK, col * BLOCK
    scores = bounds.map[top : top + BLOCK, left : left + BLOCK]
    numbers = contenders(scores, float(blocks.maxima[row, col]), float(blocks.errors[row, col]))
    if not numbers:
        return None
    best = best_contender(scores, numbers, exact, (top, left), stride)
    upper_bounds[row, col] = -math.inf
    if not float(upper_bounds.max()) + ROUNDING < best[2]:
        return None
    return best[0] * stride[0], best[1] * stride[1], best[2]


def _best_of_each_error(
    bounds: Bounds, exact: Exact, stride: tuple[int, int]
) -> tuple[int, int, float] | None:
    """Return y, x and score of the best window of scores with an error each, as `best_window`."""
    scores = bounds.map
    floor = float((scores - bounds.error).max()) - 2 * ROUNDING
    numbers = np.flatnonzero(scores + bounds.error >= floor)
    # More would take as long as all scores did.
    if len(numbers) == 0 or len(numbers) > max(TOGETHER, scores.size // _MOST_AGAIN):
        return None
    row, col, score = best_contender(scores, numbers.tolist(), exact, (0, 0), stride)
    return row * stride[0], col * stride[1], score


def best_places(
    bounds: Bounds,
    exact: Exact,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    *,
    overlap: float,
    count: int,
) -> list[tuple[int, int, float]] | None:
    """Return y, x and the exact scores of the best windows of a map, whose cells become exact.

    They are those that `nms.BestFirst` finds, in a fraction of its time if the map is small.

    Parameters
    ----------
    bounds : Bounds
        Those of the whole map, with one error; no window is hidden.
    exact, stride
        As for `best_window`.
    kernel : (height, width)
        The size of a match.
    overlap : float
        Two of the windows have at most this intersection over union.
    count : int

    Returns
    -------
    list of (y, x, score), or None
        Best first. None if a store has to tell: there are fewer, or many could be the next.
    """
    error, scores, left = bounds.error, bounds.map, bounds.map.copy()
    assert isinstance(error, float), "it is that of one tile"
    cells: list[tuple[int, int]] = []
    for _ in range(count):
        cell = divmod(int(left.argmax()), left.shape[1])
        largest = float(left[cell])
        if not largest > -math.inf:  # nothing is left, or a score is missing
            return None
        if error:
            numbers = contenders(left, largest, error)
            if not numbers:
                return None
            if len(numbers) > 1:
                row, col, _ = best_contender(scores, numbers, exact, (0, 0), stride)
                cell = row, col
        cells.append(cell)
        y, x = cell[0] * stride[0], cell[1] * stride[1]
        left[cell] = -math.inf
        for index, is_over in overlapping(left.shape, kernel, stride, (y, x, *kernel), overlap):
            left[index][is_over] = -math.inf
    rows, cols = np.array(cells).T
    ys, xs = rows * stride[0], cols * stride[1]
    if error:  # of a window that had rivals for the second time, which takes no further call
        values = exact(ys, xs)
        scores[rows, cols] = values
    else:
        values = scores[rows, cols]
    return list(zip(ys.tolist(), xs.tolist(), values.tolist(), strict=True))
