"""How a search is done: with which engine, on which device, in which tiles, and why.

It may use `engines` and what lies below. Others use `planner` (`Plan`, `make`),
and `batching.Group` (kernels that are searched for together); `candidates` holds the engines that
were considered, and `tiling` chooses the tiles.
"""
