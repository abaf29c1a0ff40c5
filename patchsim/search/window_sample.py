"""Scores of a sample of an image's windows, spread evenly, which tell a plan what to expect."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from patchsim import metrics
from patchsim.geometry import tiles
from patchsim.geometry.blocks import BLOCK
from patchsim.metrics import Indices, Kernel
from patchsim.pictures import windowed
from patchsim.scene.build import Scene

# Windows of the sample: fewer of a large kernel, so that they take a few milliseconds at most.
_MOST, _LEAST, _VALUES = 256, 32, 1 << 23

# Multiples of these, the whole parts left out, are spread evenly over a square (M. Roberts, The
# unreasonable effectiveness of quasirandom sequences, 2018).
_STEPS = 0.7548776662466927, 0.5698402909980532


class Sample(NamedTuple):
    """The top-left pixels of windows, and their exact scores, [n] each."""

    y: Indices
    x: Indices
    scores: NDArray[np.float64]


def is_possible(scene: Scene) -> bool:
    """Return whether all pixels are visible and in memory."""
    return scene.visible is None and windowed.of(scene.image) is None


def of(scene: Scene, kernel: Kernel, metric: str, *, a_side: int = 1) -> Sample | None:
    """Score some windows, or none if the kernel is larger than the image; it `is_possible`.

    Parameters
    ----------
    a_side : int
        Take so many rows of so many windows from each of fewer blocks, one block after another.
    """
    height, width = kernel.pixels.shape[:2]
    image = scene.image
    if height > image.shape[0] or width > image.shape[1]:  # windows hang over the border
        return None
    rows, cols = tiles.map_shape(image.shape[:2], (height, width), (1, 1))
    count = min(_MOST, max(_LEAST, _VALUES // kernel.pixels.size))
    places = np.arange(1, count // a_side**2 + 1)
    in_block = np.indices((a_side, a_side)).reshape(2, 1, -1) * (BLOCK // a_side)
    y, x = (
        ((np.modf(places * step)[0] * length).astype(np.int64)[:, None] + along).ravel() % length
        for step, length, along in zip(_STEPS, (rows, cols), in_block, strict=True)
    )
    exact = metrics.exact(image, kernel.pixels, metric, scene.span, kernel.weights)
    return Sample(y, x, exact(y, x))
