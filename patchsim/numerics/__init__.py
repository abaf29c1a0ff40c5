"""How arrays of NumPy and torch are summed, transformed and interpolated, apart from any search.

It may use `machine` and the rooms below it. Other rooms use `array_api` (one interface to both
kinds of arrays), `precision`, `box_sums`, `overlap_save` (cross-correlation by Fourier transforms)
and `bspline`.
"""
