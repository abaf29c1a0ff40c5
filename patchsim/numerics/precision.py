"""Which numbers each type holds exactly."""

from __future__ import annotations

import numpy as np

SINGLE, DOUBLE, LONG = np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.int64)

UNIT_ROUNDOFF = 2.0**-53  # the relative rounding error of one operation in float64
EXACT_IN_INT64 = 2.0**62  # int64 holds integers up to this one, with one bit to spare
EXACT_IN_FLOAT64 = 2.0**53  # float64 holds every integer up to this one
ROUNDING_MARGIN = 0.25  # a value that is off by less than this rounds to the right integer
