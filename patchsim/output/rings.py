"""Rings around matches in a picture of a map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MOST = 1000  # rings of one picture; they would hide what lies between them


class Rings(NamedTuple):
    """The pixels of rings, sorted by rows.

    Attributes
    ----------
    rows, cols : int array [n]
    is_edge : bool array [n]
        Whether a pixel belongs to the dark edge, not to the bright line.
    """

    rows: NDArray[np.intp]
    cols: NDArray[np.intp]
    is_edge: NDArray[np.bool_]

    def within(self, top: int, bottom: int) -> Rings:
        """Return the pixels of the rows from `top` to before `bottom`, counted from `top`."""
        first, last = np.searchsorted(self.rows, (top, bottom))
        return Rings(self.rows[first:last] - top, self.cols[first:last], self.is_edge[first:last])


def around(centers: Sequence[tuple[float, float]], shape: tuple[int, int], radius: int) -> Rings:
    """Return a ring of this radius around each of the first `MOST` places, the first on top.

    A place inside an earlier one's ring has none of its own.

    Parameters
    ----------
    centers : sequence of (row, col)
    shape : (rows, cols)
        The picture, which cuts rings off.
    radius : int
        In pixels, from the center to the middle of a line of two pixels.
    """
    if not centers:
        none = np.zeros(0, np.intp)
        return Rings(none, none, none.astype(bool))
    reach = radius + 2
    down, across = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    off = np.abs(np.hypot(down, across) - radius)
    is_drawn = off <= 2
    down, across, is_edge = down[is_drawn], across[is_drawn], off[is_drawn] > 1
    # Lines last, on top of the edges of other rings, and of each the best match's.
    order = np.argsort(~is_edge, kind="stable")
    down, across, is_edge = down[order], across[order], is_edge[order]
    places = np.rint(_apart(np.array(centers[:MOST], float), radius)[::-1]).astype(np.intp)
    rows = (places[:, :1] + down).T.ravel()
    cols = (places[:, 1:] + across).T.ravel()
    edges = is_edge.repeat(len(places))
    inside = (rows >= 0) & (rows < shape[0]) & (cols >= 0) & (cols < shape[1])
    rows, cols, edges = rows[inside], cols[inside], edges[inside]
    order = np.argsort(rows, kind="stable")
    return Rings(rows[order], cols[order], edges[order])


def _apart(places: NDArray[np.float64], radius: int) -> NDArray[np.float64]:
    """Return the places that lie in no ring of an earlier one."""
    is_kept = np.ones(len(places), bool)
    for number, place in enumerate(places):
        if is_kept[number]:
            off = np.hypot(*(places[number + 1 :] - place).T)
            is_kept[number + 1 :] &= off >= radius
    return places[is_kept]
