"""Splines against the polynomials that they reproduce, and their derivatives."""

from __future__ import annotations

import numpy as np
import pytest

from patchsim.geometry.tiles import Tile
from patchsim.numerics import bspline

INSIDE = Tile(20, 25, 6, 9)  # a spline forgets the border so far from it


def cubic(y, x):
    """Of pixels scaled to 1, [..., 1]."""
    y, x = y[..., None] / 60, x[..., None] / 60
    return 0.3 + y - 2 * x + 3 * y * x + 4 * y**3 - 2 * x**3 + y**2 * x


@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.3, -0.7), (-1.0, 0.5), (0.999, 1.0)])
def test_a_cubic_polynomial_is_reproduced_between_pixels(shift):
    picture = cubic(*np.indices((50, 60)))
    found = bspline.coefficients(picture, INSIDE)
    value, slopes = bspline.weights(np.array(shift))
    y, x = np.indices((INSIDE.rows, INSIDE.cols))
    y, x = y + INSIDE.top + shift[0], x + INSIDE.left + shift[1]
    np.testing.assert_allclose(np.tensordot(value, found, 1), cubic(y, x), atol=1e-6)
    step = 1e-4
    for axis, (down, across) in enumerate(((step, 0), (0, step))):
        ahead, behind = cubic(y + down, x + across), cubic(y - down, x - across)
        wanted = (ahead - behind) / (2 * step)
        np.testing.assert_allclose(np.tensordot(slopes[:, axis], found, 1), wanted, atol=1e-6)


@pytest.mark.parametrize("tile", [Tile(0, 0, 30, 40), Tile(7, 3, 5, 6), Tile(28, 39, 2, 1)])
def test_a_slope_has_its_gradient_up_to_the_border(tile):
    y, x = np.indices((30, 40))[..., None]
    rising = np.concatenate([3.0 * y - 2 * x, 0.5 * x + 7], 2)
    found = bspline.gradient(rising, tile)
    assert found.shape == (2, tile.rows, tile.cols, 2)
    wanted = np.array([[3.0, 0.0], [-2.0, 0.5]])[:, None, None]
    np.testing.assert_allclose(found, np.broadcast_to(wanted, found.shape), atol=1e-6)
