"""Arithmetic on arrays, those of NumPy and torch alike, that knows nothing of a search.

It may use `machine` and what lies below. Others use `array_api` (what both kinds of arrays can do),
`precision`, `box_sums`, `overlap_save` (sums of products by transforms) and `bspline`.
"""
