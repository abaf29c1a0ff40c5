"""What arrays hold: the names of their shapes and types."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[Any]  # [H, W, C] of uint8, uint16, float32 or float64
Weights = NDArray[np.uint8]  # [h, w] of a kernel's pixels, or [h, w, C] of their values
