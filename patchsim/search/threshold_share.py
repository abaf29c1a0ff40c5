"""Estimates the share of an image's windows that a threshold asks for, from a sample of them.

An engine that finds the best windows first takes long where many are wanted; the plan must know.
"""

from __future__ import annotations

import math

import numpy as np

from patchsim.metrics import Kernel
from patchsim.options import AUTO, Options
from patchsim.scene.build import Scene
from patchsim.search import window_sample

# So many of the sample must reach the threshold: one alone may be the kernel itself.
_FEWEST = 2


def share(scene: Scene, kernel: Kernel, options: Options) -> float:
    """Estimate the share of windows that are to be matches, or overlap some.

    Returns
    -------
    float
        A power of two, so that similar images have one plan; 0 if few are wanted, or if
        nothing says how many.
    """
    threshold = options.threshold
    if options.top is not None or threshold == AUTO or not window_sample.is_possible(scene):
        return 0.0
    if threshold is None:
        return 1.0
    sample = window_sample.of(scene, kernel, options.metric)
    if sample is None:
        return 0.0
    reaching = int(np.count_nonzero(sample.scores >= float(threshold)))
    return 0.0 if reaching < _FEWEST else 2.0 ** round(math.log2(reaching / len(sample.scores)))
