"""Which numbers are exact in which type."""

from __future__ import annotations

import numpy as np

SINGLE, DOUBLE, LONG = np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.int64)

UNIT_ROUNDOFF = 2.0**-53  # the rounding of one operation in float64
EXACT_IN_INT64 = 2.0**62  # integers up to here are exact in 64 bits
EXACT_IN_FLOAT64 = 2.0**53  # and up to here in float64
ROUNDING_MARGIN = 0.25  # what is off by less than that rounds to the right integer
