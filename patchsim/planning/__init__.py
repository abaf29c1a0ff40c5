"""How a search is done: with which engine, on which device, in which tiles, and why.

It may use `engines` and what lies below. Others use `planner` (`Plan`, `make`),
`batching.Group` (kernels that are searched for together) and `score_memory.budget_of`;
`candidates` holds what was considered.
"""
