"""The questions of `benchmarks/compare.py`, one file each, and what they share.

A question is a module with `CASES` and `run(case)`, which returns the times of contestants. `cases`
makes the pictures, `contestants` has the programs, `timing` runs them and `plot` draws the times.
"""
