"""Scores kept so that the best windows come first, exact as far as they are asked for.

It may use `execution` and what lies below. Others use `contract.Windows`, the interface of every
kind, and the kinds: `score_map.ScoreMap`, `block_maxima.BlockMaxima` and
`pruned_windows.PrunedWindows`; `score_memory` chooses between them within the memory that there is.
`block_grid`, `removed_windows`, `block_cache` and `block_queue` serve `block_maxima`;
`searched_blocks`, `compared_windows`, `window_bounds`, `refinement` with `finer_bounds`,
`search_budget` and `direct_blocks` serve `pruned_windows`; `equal_windows` scores windows that
equal each other.
"""
