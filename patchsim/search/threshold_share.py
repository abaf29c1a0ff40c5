"""Estimates the share of an image's windows that a threshold asks for, from a sample of them.

An engine that finds the best windows first takes long where many are wanted; the plan must know.
"""

from __future__ import annotations

import math

import numpy as np

from patchsim import metrics
from patchsim.geometry import tiles
from patchsim.metrics import Kernel
from patchsim.options import AUTO, Options
from patchsim.pictures import windowed
from patchsim.scene.build import Scene

# Windows of the sample: fewer of a large kernel, so that they take a few milliseconds at most.
_MOST, _LEAST, _VALUES = 256, 32, 1 << 23
# So many of them must reach the threshold: one alone may be the kernel itself.
_FEWEST = 2

# Multiples of these, the whole parts left out, are spread evenly over a square (M. Roberts, The
# unreasonable effectiveness of quasirandom sequences, 2018).
_STEPS = 0.7548776662466927, 0.5698402909980532


def share(scene: Scene, kernel: Kernel, options: Options) -> float:
    """Estimate the share of windows that are to be matches, or overlap some.

    Returns
    -------
    float
        A power of two, so that similar images have one plan; 0 if few are wanted, or if
        nothing says how many.
    """
    height, width = kernel.pixels.shape[:2]
    image, threshold = scene.image, options.threshold
    is_unread = windowed.of(image) is not None  # and no engine asks that finds the best first
    if options.top is not None or threshold == AUTO or scene.visible is not None or is_unread:
        return 0.0
    if threshold is None:
        return 1.0
    if height > image.shape[0] or width > image.shape[1]:  # windows hang over the border
        return 0.0
    rows, cols = tiles.map_shape(image.shape[:2], (height, width), (1, 1))
    count = min(_MOST, max(_LEAST, _VALUES // kernel.pixels.size))
    places = np.arange(1, count + 1)
    y, x = (
        (np.modf(places * step)[0] * length).astype(np.int64)
        for step, length in zip(_STEPS, (rows, cols), strict=True)
    )
    exact = metrics.exact(image, kernel.pixels, options.metric, scene.span, kernel.weights)
    reaching = int(np.count_nonzero(exact(y, x) >= float(threshold)))
    return 0.0 if reaching < _FEWEST else 2.0 ** round(math.log2(reaching / count))
