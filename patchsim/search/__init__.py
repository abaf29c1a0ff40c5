"""Decides which windows of which poses are scored, and scores them.

It may use `output`, `events`, `matches` and what lies below. Others use `exhaustive`,
`coarse_to_fine.Sweep`, `jobs` (what is searched for) and `subpixel`.
"""
