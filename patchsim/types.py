"""How the arrays of pixels and weights are typed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[Any]  # [H, W, C] of uint8, uint16, float32 or float64
# [h, w], one for each pixel of a kernel, or [h, w, C], one for each value.
Weights = NDArray[np.uint8]
