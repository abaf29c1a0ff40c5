"""Shapes beside all borders, drawn by their formulas: no range of angles loses one."""

from __future__ import annotations

import math

import numpy as np
from helpers.grids import thinned

from patchsim.metrics import Kernel
from patchsim.registration import PoseSearch, Range
from patchsim.registration.fitted import corners

SIDE, HEIGHT, WIDTH, FINE = 57, 260, 340, 4
GROUND, FACE, NOISE = 60.0, 190.0, 2.0
ONCE = Range(1.0, 1.0)
RANGES = {
    "narrow": Range(-5.0, 5.0),
    "tens": Range(-10.0, 10.0),
    "one side": Range(0.0, 10.0),
    "quarter": Range(0.0, 90.0),
    "any": Range(0.0, 360.0),
    "step 1": Range(0.0, 360.0, step=1.0),
    "step 5": Range(0.0, 360.0, step=5.0),
    "step 15": Range(0.0, 360.0, step=15.0),
    "list": Range(0.0, 350.0, tuple(float(a) for a in range(0, 360, 10))),
}


def drawn(shape, height, width, x, y, degrees):
    """The share of each pixel that a shape covers, by 4x4 samples of its formula."""
    rows, columns = ((np.arange(n * FINE) + 0.5) / FINE for n in (height, width))
    right, down = columns - x, (rows - y)[:, None]
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    u, v = right * cos - down * sin, right * sin + down * cos
    far = np.hypot(u, v)
    covered = {
        "ring": (far < 24) & (far > 14.4),
        "square": np.maximum(abs(u), abs(v)) < 17,
        "bar": (abs(u) < 24) & (abs(v) < 4.8),
    }[shape]
    return covered.reshape(height, FINE, width, FINE).mean((1, 3))


def beside_borders(seed):
    """Places beside the four borders and in two corners, half a pixel to three from touching."""
    rng = np.random.default_rng(seed)
    near = SIDE / 2 + rng.uniform(0.5, 3.0, 8)
    along = rng.uniform(-8, 8, 4)
    return [
        (near[0], near[1]), (WIDTH / 2 + along[0], near[2]), (WIDTH - near[3], 100 + along[1]),
        (WIDTH / 2 + along[2], HEIGHT - near[4]), (near[5], 160 + along[3]),
        (WIDTH - near[6], HEIGHT - near[7]),
    ]  # fmt: skip


@thinned(
    shape=["ring", "square", "bar"],
    metric=["zncc", "sad"],
    angles=list(RANGES),
    threshold=[0.93, None],
    seed=[0, 1, 2],
)
def test_no_range_of_angles_loses_shapes_beside_the_borders(shape, metric, angles, threshold, seed):
    rng = np.random.default_rng(seed)
    places = beside_borders(seed)
    # Upright, all frames lie inside, and all ranges have the angle.
    cover = sum(drawn(shape, HEIGHT, WIDTH, x, y, 0) for x, y in places)
    image = GROUND + (FACE - GROUND) * cover + rng.normal(0, NOISE, (HEIGHT, WIDTH))
    image = np.rint(image).astype(np.uint8)[..., None]
    kernel = GROUND + (FACE - GROUND) * drawn(shape, SIDE, SIDE, SIDE / 2, SIDE / 2, 0)
    kernel = Kernel(np.rint(kernel).astype(np.uint8)[..., None])
    found = PoseSearch(image, metric, 255.0).find(
        kernel, ONCE, RANGES[angles], threshold=threshold, most=len(places)
    )
    for x, y in places:
        here = [fit for fit in found if math.hypot(fit.x - x, fit.y - y) < 0.5]
        assert here, (x, y)
        best = max(here, key=lambda fit: fit.score)
        assert best.score > (0.985 if metric == "zncc" else 0.975)
        for across, down in corners(best.size, best.x, best.y, best.pose):
            assert -1 <= across <= WIDTH + 1
            assert -1 <= down <= HEIGHT + 1
