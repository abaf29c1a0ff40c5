"""Scores kept so that the best windows come first, exact as far as they are asked for.

It may use `execution` and what lies below. Others use `contract.Windows`, what is asked of every
kind, and the kinds: `score_map.Field`, `block_maxima.Sketch`, `pruned_windows.Candidates`
and `listed.Listed`.
"""
